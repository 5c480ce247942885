//! [`read_remains`]: every whole frame of a log that may be damaged anywhere.
//!
//! A recovery refuses a log with a hole; here what lies behind the hole is read too. What tells a hole
//! from a torn tail is the same (rows t2 to t6 of [`recovery`](super::recovery)): frames behind a torn
//! tail were never acknowledged and are left alone. A file whose header is damaged is found by the
//! frames in it, which are salted with its number. Nothing is changed.
//!
//! # Invariants
//! 1. Frames come in the order of their seqnos, each once.
//! 2. Time is linear in the length of the log, also for hostile bytes.

use super::FRAMES_START;
use super::files::{log_path, parse_name};
use super::reader::{FileReader, Found};
use super::recovery::{NUMBERS_AHEAD, NUMBERS_TRIED_MAX, ReplayFrame};
use crate::error::{Error, Result};
use crate::format::wal_frame::{
    FileHeader, FileState, FrameHeader, WAL_FORMAT_VERSION, WAL_FRAME_COMMIT, WAL_FRAME_HEADER_LEN,
    salt,
};
use crate::io::{Fs, OpenMode};
use crate::types::SeqNo;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that the search behind damage may look at, in units of a file's length.
const SEARCH_BUDGET: u64 = 16;
const DAMAGED: &str = "frames are damaged";

/// What is found in a log, in order.
#[derive(Clone, Debug)]
pub enum WalPiece<'a> {
    /// A commit.
    Commit(ReplayFrame<'a>),
    /// Damage, and the commits that are lost by it, as far as the frames around it tell.
    Damage {
        /// The file, or the directory.
        file: &'a Path,
        /// Where in it.
        offset: u64,
        /// The seqnos that are missing.
        seqnos: Range<u64>,
        /// What is wrong.
        what: String,
    },
}

/// Takes what is found.
type Visit<'v> = &'v mut dyn FnMut(WalPiece<'_>) -> Result<()>;

/// The database that the log in `dir` was made for, by the first file that says so.
///
/// # Errors
/// What the file system says.
pub fn database_of(fs: &dyn Fs, dir: &Path) -> Result<Option<u128>> {
    for path in log_files(fs, dir)? {
        let file = fs.open(&path, OpenMode::Read).map_err(|e| Error::io("opening", &path, e))?;
        if let FileState::InUse(header) =
            FileHeader::decode(FileReader::new(&*file, &path)?.header()?)
        {
            return Ok(Some(header.database));
        }
    }
    Ok(None)
}

/// Hands every whole commit beyond `flushed` of the log in `dir` to `visit`, and all damage. Without
/// `flushed` it hands out all that the log still has, wherever that begins.
///
/// # Errors
/// [`Error::FormatTooNew`], whatever `visit` returns, and what the file system says.
pub fn read_remains(
    fs: &dyn Fs,
    dir: &Path,
    database: u128,
    flushed: Option<SeqNo>,
    visit: Visit<'_>,
) -> Result<()> {
    let files = find_files(fs, dir, database, visit)?;
    let oldest = files.first().map_or(0, |oldest| oldest.first.saturating_sub(1));
    let flushed = flushed.unwrap_or(SeqNo(oldest));
    let next = flushed.0.saturating_add(1);
    let start = files.iter().rposition(|file| file.first <= next).unwrap_or(0);
    let needed = files.get(start..).unwrap_or_default();
    let expected = needed.first().map_or(next, |oldest| oldest.first.min(next));
    let mut scan = Scan { flushed, expected, visit };
    let Some(oldest) = needed.first() else {
        if flushed.0 > 0 {
            scan.damage(dir, 0, next, "no file of the log can be read")?;
        }
        return Ok(());
    };
    scan.jump(&oldest.path, FRAMES_START, oldest.first, "the log begins behind them")?;
    for (index, file) in needed.iter().enumerate() {
        scan.file(fs, file, needed.get(index + 1))?;
    }
    Ok(())
}

/// A file of the log.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    number: u64,
    first: u64,
    salt: u32,
    /// A length that it had once.
    len: u64,
    /// Whether its header is damaged.
    is_headless: bool,
}

fn log_files(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs.list(dir).map_err(|e| Error::io("listing", dir, e))?;
    let mut slots: Vec<_> = (entries.iter())
        .filter(|entry| entry.is_file)
        .filter_map(|entry| parse_name(entry.name.to_str()?))
        .filter_map(|(slot, is_log)| is_log.then_some(slot))
        .collect();
    slots.sort_unstable();
    Ok(slots.into_iter().map(|slot| log_path(dir, slot)).collect())
}

/// The files in the order of their numbers, those with lost headers among them.
fn find_files(fs: &dyn Fs, dir: &Path, database: u128, visit: Visit<'_>) -> Result<Vec<LogFile>> {
    let mut files = Vec::new();
    let mut unnumbered = Vec::new();
    for path in log_files(fs, dir)? {
        let file = fs.open(&path, OpenMode::Read).map_err(|e| Error::io("opening", &path, e))?;
        match FileHeader::decode(FileReader::new(&*file, &path)?.header()?) {
            FileState::InUse(header) if header.database == database => files.push(LogFile {
                number: header.file_number,
                first: header.first_seqno.0,
                salt: header.salt(),
                len: header.file_len,
                is_headless: false,
                path,
            }),
            FileState::InUse(_) => {
                let what = "the file of another database".into();
                visit(WalPiece::Damage { file: &path, offset: 16, seqnos: 0..0, what })?;
            }
            FileState::TooNew(found) => {
                let (file, max) = (path.as_path().into(), WAL_FORMAT_VERSION);
                return Err(Error::FormatTooNew { file, found, max });
            }
            FileState::Zero | FileState::Damaged(_) => unnumbered.push(path),
        }
    }
    let numbers = numbers_missing(&files);
    for path in unnumbered {
        files.extend(find_number(fs, path, database, &numbers)?);
    }
    files.sort_by_key(|file| file.number);
    // I1: of two with one number, or whose frames go back, the later is not believed.
    let mut last = (0, 0);
    files.retain(|file| {
        let follows = file.number > last.0 && file.first >= last.1;
        if follows {
            last = (file.number, file.first);
        }
        follows
    });
    Ok(files)
}

/// The numbers that lost headers may have had; see the recovery.
fn numbers_missing(files: &[LogFile]) -> Vec<u64> {
    let seen: BTreeSet<u64> = files.iter().map(|file| file.number).collect();
    let (first, last) = match (seen.first(), seen.last()) {
        // Files before the first one seen may be needed as well as those behind it.
        (Some(first), Some(last)) => {
            (first.saturating_sub(NUMBERS_AHEAD).max(1), last.saturating_add(NUMBERS_AHEAD))
        }
        _ => (1, NUMBERS_TRIED_MAX as u64),
    };
    let missing = (first..=last).rev().filter(|number| !seen.contains(number));
    missing.take(NUMBERS_TRIED_MAX).collect()
}

/// A file without a header, by the first frame that fits one of `numbers`.
fn find_number(
    fs: &dyn Fs,
    path: PathBuf,
    database: u128,
    numbers: &[u64],
) -> Result<Option<LogFile>> {
    let file = fs.open(&path, OpenMode::Read).map_err(|e| Error::io("opening", &path, e))?;
    let mut reader = FileReader::new(&*file, &path)?;
    let salts: Vec<u32> = numbers.iter().map(|number| salt(database, *number)).collect();
    let Some(frame) = reader.find_header(FRAMES_START, &salts, |_| true)? else { return Ok(None) };
    let bytes = reader.bytes(frame.file_offset, WAL_FRAME_HEADER_LEN)?;
    let is_of = |salt: &u32| FrameHeader::decode(bytes, *salt, frame.file_offset).is_some();
    let found = numbers.iter().zip(&salts).find(|(_, salt)| is_of(salt));
    let (number, salt) = found.map_or((0, 0), |(number, salt)| (*number, *salt));
    Ok(Some(LogFile { path, number, first: frame.seqno.0, salt, len: 0, is_headless: true }))
}

struct Scan<'v> {
    flushed: SeqNo,
    /// The seqno that comes next.
    expected: u64,
    visit: Visit<'v>,
}

impl Scan<'_> {
    /// Tells of damage at which nothing, or the commits from the expected one up to `seqno`, are lost.
    fn damage(&mut self, file: &Path, offset: u64, seqno: u64, what: &str) -> Result<()> {
        let from = self.expected.max(self.flushed.0.saturating_add(1));
        let (seqnos, what) = (from..seqno.max(from), what.into());
        (self.visit)(WalPiece::Damage { file, offset, seqnos, what })
    }

    /// Goes on at `seqno`; what lies before it and was not seen is lost.
    fn jump(&mut self, file: &Path, offset: u64, seqno: u64, what: &str) -> Result<()> {
        // What is flushed is not missed.
        if seqno > self.expected.max(self.flushed.0.saturating_add(1)) {
            self.damage(file, offset, seqno, what)?;
        }
        self.expected = self.expected.max(seqno);
        Ok(())
    }

    fn file(&mut self, fs: &dyn Fs, log: &LogFile, next: Option<&LogFile>) -> Result<()> {
        let path = log.path.as_path();
        let file = fs.open(path, OpenMode::Read).map_err(|e| Error::io("opening", path, e))?;
        let mut reader = FileReader::new(&*file, path)?;
        if log.is_headless {
            self.damage(path, 0, 0, "the header is damaged")?;
        }
        if reader.len < log.len {
            let what = format!("{} bytes left of a file of {}", reader.len, log.len);
            self.damage(path, reader.len, 0, &what)?;
        }
        let limit = next.map_or(u64::MAX, |next| next.first);
        let mut budget = reader.len.saturating_mul(SEARCH_BUDGET);
        let (mut at, mut hole) = (FRAMES_START, None);
        while self.expected < limit {
            if let Found::Frame(frame, payload) = reader.frame(at, log.salt)?
                && (self.expected..limit).contains(&frame.seqno.0)
            {
                // t7 to t9 do not matter here: the frame is what was written.
                self.jump(path, hole.take().unwrap_or(at), frame.seqno.0, DAMAGED)?;
                self.commit(path, at, &frame, payload)?;
                at += frame.frame_len();
                continue;
            }
            if hole.is_none() && !self.is_hole(&mut reader, log, at, next.is_some())? {
                return Ok(());
            }
            let start = *hole.get_or_insert(at);
            match self.next_whole(&mut reader, log, at, limit, &mut budget)? {
                Behind::Whole(place) => at = place,
                Behind::Nothing(end) => return self.jump(path, start, end, DAMAGED),
            }
        }
        Ok(())
    }

    /// Hands out a frame, if it is a commit that is not flushed.
    fn commit(&mut self, path: &Path, at: u64, frame: &FrameHeader, payload: &[u8]) -> Result<()> {
        let seqno = frame.seqno;
        self.expected = seqno.0.saturating_add(1);
        if frame.kind != WAL_FRAME_COMMIT || seqno <= self.flushed {
            return Ok(());
        }
        let payload_offset = at + WAL_FRAME_HEADER_LEN as u64;
        (self.visit)(WalPiece::Commit(ReplayFrame { seqno, payload, file: path, payload_offset }))
    }

    /// Whether it is certain that a commit is missing at `at`: a later file was begun when it was
    /// durable (t2), or a later frame knew it to be (t3). Otherwise this is the end of the log (t4 to
    /// t6), which is told of if there is anything behind it.
    fn is_hole(
        &mut self,
        reader: &mut FileReader<'_>,
        log: &LogFile,
        at: u64,
        is_followed: bool,
    ) -> Result<bool> {
        let (salts, expected) = ([log.salt], self.expected);
        if is_followed
            || reader.find_header(at, &salts, |frame| frame.durable_seqno.0 >= expected)?.is_some()
        {
            return Ok(true);
        }
        if reader.find_header(at, &salts, |frame| frame.seqno.0 >= expected)?.is_some() {
            let what =
                "torn or damaged end of the log; commits that nothing calls durable are left out";
            self.damage(&log.path, at, 0, what)?;
        }
        Ok(false)
    }

    /// The next whole frame behind the damage at `at`.
    fn next_whole(
        &self,
        reader: &mut FileReader<'_>,
        log: &LogFile,
        at: u64,
        limit: u64,
        budget: &mut u64,
    ) -> Result<Behind> {
        let salts = [log.salt];
        let wanted = self.expected..limit;
        // Where no file follows, at least what some frame speaks of was there.
        let mut end = if limit == u64::MAX { self.expected } else { limit };
        let mut at = at;
        while let Some(later) =
            reader.find_header(at, &salts, |frame| wanted.contains(&frame.seqno.0))?
        {
            if let Found::Frame(..) = reader.frame(later.file_offset, log.salt)? {
                return Ok(Behind::Whole(later.file_offset));
            }
            if limit == u64::MAX {
                end = end.max(later.seqno.0.max(later.durable_seqno.0).saturating_add(1));
            }
            at = later.file_offset.saturating_add(later.frame_len());
            match budget.checked_sub(later.frame_len()) {
                Some(left) => *budget = left,
                None => break,
            }
        }
        Ok(Behind::Nothing(end))
    }
}

/// What is behind damage.
enum Behind {
    /// A whole frame, and where.
    Whole(u64),
    /// None; the seqno up to which commits are lost.
    Nothing(u64),
}
