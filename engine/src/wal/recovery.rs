//! [`open`]: reads the WAL back after whatever ended its last use.
//!
//! # The table of decisions
//! Each row has a test of the same name in `wal/tests/decisions.rs`. `F` is the flushed seqno that
//! the caller knows from the manifest, `L` the seqno of the last good frame.
//!
//! | row | what is seen | what is done |
//! | --- | --- | --- |
//! | h1 | a temporary file | removed |
//! | h2 | a header of zeros, no frame of an expected number behind it | unused: a spare |
//! | h3 | a damaged header, no frame of an expected number behind it | torn when it was written: a spare |
//! | h4 | a header of zeros or damaged, behind it a frame of an expected number beyond `F` | corruption |
//! | h5 | a header of a newer format version | format too new |
//! | h6 | a header of another database | corruption |
//! | h7 | two headers with one number | corruption |
//! | h8 | a first seqno lower than that of an earlier number | corruption |
//! | h9 | a file that is needed and shorter than its header says | corruption |
//! | h10 | no header at all, though `F > 0` | corruption |
//! | h11 | the lowest first seqno is beyond `F + 1` | corruption |
//! | h12 | a file that holds nothing beyond `F` | not read: a spare |
//! | t1 | `L + 1` is the next file's first seqno | the next file goes on; what is left of this one is ignored |
//! | t2 | no good frame, and the next file's first seqno is beyond `L + 1` | corruption: its header was written when they were durable |
//! | t3 | no good frame in the last file, behind it a header that knew more than `L` to be durable | corruption |
//! | t4 | a good header with a bad payload in the last file, and not t3 | torn tail: cut |
//! | t5 | no good header, behind it headers that knew at most `L` to be durable | torn tail: cut |
//! | t6 | nothing of this use of the file any more | the end |
//! | t7 | a good frame whose seqno is not `L + 1` | corruption |
//! | t8 | a good frame of an unknown kind, or a close with a payload | corruption |
//! | t9 | a good frame that claims to be durable itself | corruption |
//! | t10 | good frames that no later frame calls durable | replayed, written once more and synced |
//!
//! A frame is *good* when the salted checksum of its header, its offset and the checksum of its
//! payload agree. t10: after a failed sync the operating system may show bytes that are not on the
//! device, and calls them clean; only writing them again makes a sync mean something.
//!
//! # Crash behaviour
//! Nothing but temporary and superfluous files is changed before everything was read, and t10
//! writes the bytes that are there, so a recovery that is cut short can be repeated.

use super::files::{FileLen, Files, Sealed, Slot, Spare, WalShared, log_path, parse_name};
use super::reader::{FileReader, Found};
use super::writer::WalWriter;
use super::{FRAMES_START, WalOptions};
use crate::error::{Error, Result};
use crate::format::wal_frame::{
    FileHeader, FileState, FrameHeader, WAL_FILE_HEADER_LEN, WAL_FORMAT_VERSION, WAL_FRAME_CLOSE,
    WAL_FRAME_COMMIT, WAL_FRAME_HEADER_LEN, WAL_NUMBER_MAX, salt,
};
use crate::io::{File, Fs, OpenMode};
use crate::types::SeqNo;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most file numbers that are tried on a file without a header.
pub(super) const NUMBERS_TRIED_MAX: usize = 64;
/// How far beyond the greatest number seen a lost header is looked for.
pub(super) const NUMBERS_AHEAD: u64 = 16;
/// Bytes behind a header of zeros that must be zeros too for the file to count as never used.
const ZERO_PROBE_LEN: usize = 1 << 20;

/// A commit that is replayed.
#[derive(Clone, Copy, Debug)]
pub struct ReplayFrame<'a> {
    /// Its seqno, beyond the flushed one; they come without gaps.
    pub seqno: SeqNo,
    /// The commit's record.
    pub payload: &'a [u8],
    /// The file that it is in, for error messages.
    pub file: &'a Path,
    /// Where in the file the payload starts, for error messages.
    pub payload_offset: u64,
}

/// Where a torn tail was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// The offset of the first frame that is gone.
    pub offset: u64,
}

/// What a recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Count of commits that were replayed.
    pub frames: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Count of files read.
    pub files: usize,
    /// The last seqno in use: the next commit gets the one after it.
    pub last_seqno: SeqNo,
    /// The torn tail that was cut, if there was one.
    pub torn: Option<TornTail>,
    /// Whether the last thing found is the mark of a clean shutdown.
    pub is_clean: bool,
}

/// Opens the WAL in `dir`, made for `database`, and hands every commit beyond `flushed_seqno` to
/// `visit`, in order. For a database without a WAL it finds nothing; files are made when something
/// is written. Temporary files are removed.
///
/// # Errors
/// As the module's table says; whatever `visit` returns; and failures of the operating system,
/// after which the call may be repeated.
pub fn open(
    fs: Arc<dyn Fs>,
    dir: &Path,
    database: u128,
    options: WalOptions,
    flushed_seqno: SeqNo,
    visit: &mut dyn FnMut(ReplayFrame<'_>) -> Result<()>,
) -> Result<(WalWriter, ReplaySummary)> {
    options.check()?;
    if flushed_seqno.0 > WAL_NUMBER_MAX {
        return Err(Error::corruption(dir, 0, format!("a flushed seqno of {flushed_seqno}")));
    }
    let scan = Scan::list(&*fs, dir, database)?;
    scan.check_order()?;
    scan.check_unnumbered(&*fs, flushed_seqno)?;
    let start = scan.start(dir, flushed_seqno)?;
    let needed = scan.numbered.get(start..).unwrap_or_default();
    let summary = ReplaySummary {
        frames: 0,
        bytes: 0,
        files: 0,
        last_seqno: SeqNo(0),
        torn: None,
        is_clean: false,
    };
    let mut replay = Replay { flushed_seqno, visit, summary };
    for (index, file) in needed.iter().enumerate() {
        replay.file(&*fs, file, needed.get(index + 1))?;
    }
    let mut summary = replay.summary;
    let last_found = summary.last_seqno;
    summary.last_seqno = summary.last_seqno.max(flushed_seqno);
    let (files, surplus) = scan.into_files(start, last_found, &options);
    let last = summary.last_seqno;
    let shared = Arc::new(WalShared::new(fs, dir, database, options, files, last));
    // Best effort: a file that stays is found to be superfluous the next time too.
    let _ = shared.remove(&surplus);
    Ok((WalWriter::new(shared, last), summary))
}

/// A file with a header.
#[derive(Debug)]
struct Numbered {
    slot: Slot,
    path: PathBuf,
    len: u64,
    header: FileHeader,
}

impl Numbered {
    fn corruption(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::corruption(&self.path, offset, what)
    }
}

/// A file without a usable header.
#[derive(Debug)]
struct Unnumbered {
    slot: Slot,
    path: PathBuf,
    len: u64,
    is_zero: bool,
}

/// What the directory holds.
#[derive(Debug)]
struct Scan {
    database: u128,
    /// In the order of their numbers.
    numbered: Vec<Numbered>,
    unnumbered: Vec<Unnumbered>,
    slots: BTreeSet<Slot>,
}

impl Scan {
    fn list(fs: &dyn Fs, dir: &Path, database: u128) -> Result<Self> {
        let mut scan =
            Self { database, numbered: Vec::new(), unnumbered: Vec::new(), slots: BTreeSet::new() };
        let entries = fs.list(dir).map_err(|e| Error::io("listing", dir, e))?;
        for entry in entries {
            match entry.name.to_str().and_then(parse_name) {
                Some((slot, true)) => {
                    scan.slots.insert(slot);
                    if entry.is_file {
                        scan.add(fs, slot, log_path(dir, slot))?;
                    }
                }
                // h1. A file that cannot be removed only costs its slot.
                Some((slot, false)) if fs.remove_file(&dir.join(&entry.name)).is_err() => {
                    scan.slots.insert(slot);
                }
                _ => {}
            }
        }
        scan.numbered.sort_by_key(|file| file.header.file_number);
        scan.unnumbered.sort_by_key(|file| file.slot);
        Ok(scan)
    }

    fn add(&mut self, fs: &dyn Fs, slot: Slot, path: PathBuf) -> Result<()> {
        let file = open_file(fs, &path, OpenMode::Read)?;
        let mut reader = FileReader::new(&*file, &path)?;
        let len = reader.len;
        let state = FileHeader::decode(reader.header()?);
        let is_zero = match state {
            FileState::InUse(header) if header.database != self.database => {
                // h6
                return Err(Error::corruption(&path, 16, "the file belongs to another database"));
            }
            FileState::InUse(header) => {
                self.numbered.push(Numbered { slot, path, len, header });
                return Ok(());
            }
            FileState::TooNew(found) => {
                // h5
                let (file, max) = (path.as_path().into(), WAL_FORMAT_VERSION);
                return Err(Error::FormatTooNew { file, found, max });
            }
            FileState::Zero => reader.is_zero_up_to(ZERO_PROBE_LEN)?,
            FileState::Damaged(_) => false,
        };
        self.unnumbered.push(Unnumbered { slot, path, len, is_zero });
        Ok(())
    }

    /// h7 and h8.
    fn check_order(&self) -> Result<()> {
        for (earlier, later) in self.numbered.iter().zip(self.numbered.iter().skip(1)) {
            let (number, first) = (later.header.file_number, later.header.first_seqno);
            if number == earlier.header.file_number {
                let other = earlier.path.display();
                return Err(later.corruption(32, format!("file number {number}, as has {other}")));
            }
            if first < earlier.header.first_seqno {
                let before = earlier.header.first_seqno;
                return Err(later.corruption(
                    40,
                    format!("first seqno {first} after an earlier file's {before}"),
                ));
            }
        }
        Ok(())
    }

    /// h2 to h4: a file whose header was lost must not hold anything that is needed.
    fn check_unnumbered(&self, fs: &dyn Fs, flushed_seqno: SeqNo) -> Result<()> {
        let salts = self.salts_missing();
        for unnumbered in self.unnumbered.iter().filter(|file| !file.is_zero) {
            let file = open_file(fs, &unnumbered.path, OpenMode::Read)?;
            let mut reader = FileReader::new(&*file, &unnumbered.path)?;
            let found =
                reader.find_header(FRAMES_START, &salts, |frame| frame.seqno > flushed_seqno)?;
            if let Some(frame) = found {
                let what = format!("damaged header of a file that holds commit {}", frame.seqno);
                return Err(Error::corruption(&unnumbered.path, 0, what));
            }
        }
        Ok(())
    }

    /// The salts of the file numbers that a lost header may have had: those between the numbers
    /// seen, and a few beyond.
    fn salts_missing(&self) -> Vec<u32> {
        let seen: BTreeSet<u64> =
            self.numbered.iter().map(|file| file.header.file_number).collect();
        let (first, last) = match (seen.first(), seen.last()) {
            (Some(first), Some(last)) => (*first, last.saturating_add(NUMBERS_AHEAD)),
            _ => (1, NUMBERS_TRIED_MAX as u64),
        };
        let missing = (first..=last).rev().filter(|number| !seen.contains(number));
        missing.take(NUMBERS_TRIED_MAX).map(|number| salt(self.database, number)).collect()
    }

    /// Index of the file that holds the commit after the flushed ones, or will hold it.
    fn start(&self, dir: &Path, flushed_seqno: SeqNo) -> Result<usize> {
        let next = flushed_seqno.next();
        let holds_next = |file: &Numbered| file.header.first_seqno <= next;
        match (self.numbered.first(), self.numbered.iter().rposition(holds_next)) {
            (_, Some(start)) => Ok(start),
            (None, None) if flushed_seqno.0 == 0 => Ok(0),
            // h10
            (None, None) => Err(Error::corruption(
                dir,
                0,
                format!(
                    "no WAL file with a header, though commits up to {flushed_seqno} are flushed"
                ),
            )),
            // h11
            (Some(oldest), None) => Err(oldest.corruption(
                40,
                format!("first seqno {}; commit {next} is missing", oldest.header.first_seqno),
            )),
        }
    }

    /// What the writer goes on with, and the files that are too many.
    fn into_files(
        self,
        start: usize,
        last_found: SeqNo,
        options: &WalOptions,
    ) -> (Files, Vec<Slot>) {
        let mut files = Files { slots: self.slots, next_number: 1, ..Files::default() };
        let mut unused = Vec::new();
        if let Some(newest) = self.numbered.last() {
            // In range: the decoder bounds the number.
            files.next_number = newest.header.file_number + 1;
        }
        let firsts: Vec<SeqNo> = self.numbered.iter().map(|file| file.header.first_seqno).collect();
        for (index, file) in self.numbered.into_iter().enumerate() {
            let len = FileLen { now: file.len, durable: file.header.file_len.min(file.len) };
            if index < start {
                unused.push((file.slot, len));
                continue;
            }
            let last = match firsts.get(index + 1) {
                Some(next) => SeqNo(next.0.saturating_sub(1)),
                None => last_found,
            };
            files.sealed.push(Sealed {
                slot: file.slot,
                first: file.header.first_seqno,
                last,
                len,
            });
        }
        for file in self.unnumbered {
            // A spare gets its name when its zeros are durable; of others the length is not known.
            let durable = if file.is_zero { file.len } else { FRAMES_START.min(file.len) };
            unused.push((file.slot, FileLen { now: file.len, durable }));
        }
        let mut surplus = Vec::new();
        for (slot, len) in unused {
            let fits = FRAMES_START <= len.now && len.now <= options.file_len;
            if fits && files.spares.len() < options.spares_max {
                files.spares.push(Spare { slot, len });
            } else {
                surplus.push(slot);
            }
        }
        (files, surplus)
    }
}

/// Reads the needed files in order.
struct Replay<'a> {
    flushed_seqno: SeqNo,
    visit: &'a mut dyn FnMut(ReplayFrame<'_>) -> Result<()>,
    summary: ReplaySummary,
}

/// How far one file was read.
struct Progress {
    /// The seqno that the next frame must have.
    expected: SeqNo,
    /// Where it would start.
    offset: u64,
    /// The last seqno that some frame calls durable.
    durable: SeqNo,
    /// From here on nothing is known to be durable.
    uncertain_from: u64,
}

impl Replay<'_> {
    fn file(&mut self, fs: &dyn Fs, numbered: &Numbered, next: Option<&Numbered>) -> Result<()> {
        let header = &numbered.header;
        if numbered.len < header.file_len {
            // h9
            let (len, was) = (numbered.len, header.file_len);
            return Err(numbered.corruption(len, format!("{len} bytes left of a file of {was}")));
        }
        let file = open_file(fs, &numbered.path, OpenMode::Read)?;
        let mut reader = FileReader::new(&*file, &numbered.path)?;
        let limit = next.map(|next| next.header.first_seqno);
        self.summary.files += 1;
        let before_first = SeqNo(header.first_seqno.0.saturating_sub(1));
        self.summary.last_seqno = before_first;
        let mut progress = Progress {
            expected: header.first_seqno,
            offset: FRAMES_START,
            durable: before_first,
            uncertain_from: FRAMES_START,
        };
        while limit != Some(progress.expected) {
            if !self.frame(numbered, &mut reader, &mut progress)? {
                return self.end(fs, numbered, next, &mut reader, &progress);
            }
        }
        Ok(()) // t1
    }

    /// Takes one frame; `false` when there is no good one.
    fn frame(
        &mut self,
        numbered: &Numbered,
        reader: &mut FileReader<'_>,
        progress: &mut Progress,
    ) -> Result<bool> {
        let offset = progress.offset;
        let Found::Frame(frame, payload) = reader.frame(offset, numbered.header.salt())? else {
            return Ok(false);
        };
        check_frame(&frame, progress.expected).map_err(|what| numbered.corruption(offset, what))?;
        if frame.durable_seqno > progress.durable {
            progress.durable = frame.durable_seqno;
            // A frame is encoded after the sync that it knows of, so it is the first uncertain one
            // when it says so; otherwise nothing of the file is taken for certain.
            let is_first = frame.durable_seqno.0 + 1 == frame.seqno.0;
            progress.uncertain_from = if is_first { offset } else { FRAMES_START };
        }
        self.summary.is_clean = frame.kind == WAL_FRAME_CLOSE;
        if frame.kind == WAL_FRAME_COMMIT && frame.seqno > self.flushed_seqno {
            self.summary.frames += 1;
            self.summary.bytes += payload.len() as u64;
            (self.visit)(ReplayFrame {
                seqno: frame.seqno,
                payload,
                file: &numbered.path,
                payload_offset: offset + WAL_FRAME_HEADER_LEN as u64,
            })?;
        }
        self.summary.last_seqno = frame.seqno;
        progress.expected = frame.seqno.next();
        progress.offset += frame.frame_len();
        Ok(true)
    }

    /// Decides what it means that no good frame follows.
    fn end(
        &mut self,
        fs: &dyn Fs,
        numbered: &Numbered,
        next: Option<&Numbered>,
        reader: &mut FileReader<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let (last, offset) = (self.summary.last_seqno, progress.offset);
        if let Some(next) = next {
            // t2: t1 has taken the case that nothing is missing.
            let (path, first) = (next.path.display(), next.header.first_seqno);
            return Err(numbered.corruption(
                offset,
                format!("no frame after {last}, but {path} goes on with {first}"),
            ));
        }
        let salts = [numbered.header.salt()];
        if let Some(later) =
            reader.find_header(offset, &salts, |frame| frame.durable_seqno > last)?
        {
            // t3
            let (place, durable) = (later.file_offset, later.durable_seqno);
            return Err(numbered.corruption(
                offset,
                format!(
                    "no frame after {last}, but the one at {place} knew {durable} to be durable"
                ),
            ));
        }
        // t4, t5 and t6.
        if reader.find_header(offset, &salts, |_| true)?.is_some() {
            self.summary.torn = Some(TornTail { file: numbered.path.clone(), offset });
            self.summary.is_clean = false;
        }
        if last > progress.durable.max(self.flushed_seqno) {
            mend(fs, numbered, reader, progress.uncertain_from..offset)?;
        }
        Ok(())
    }
}

/// t7 to t9.
pub(super) fn check_frame(frame: &FrameHeader, expected: SeqNo) -> std::result::Result<(), String> {
    let seqno = frame.seqno;
    if seqno != expected {
        return Err(format!("a frame with seqno {seqno} where {expected} belongs"));
    }
    match (frame.kind, frame.payload_len) {
        (WAL_FRAME_COMMIT, _) | (WAL_FRAME_CLOSE, 0) => {}
        (kind, len) => return Err(format!("a frame of kind {kind} with {len} bytes")),
    }
    if frame.durable_seqno >= seqno {
        return Err(format!("frame {seqno} claims that {} was durable", frame.durable_seqno));
    }
    Ok(())
}

/// t10: makes what was read durable by writing it again.
fn mend(
    fs: &dyn Fs,
    numbered: &Numbered,
    reader: &mut FileReader<'_>,
    range: std::ops::Range<u64>,
) -> Result<()> {
    let path = numbered.path.as_path();
    let failed = |what| move |e| Error::io(what, path, e);
    let file = open_file(fs, &numbered.path, OpenMode::ReadWrite)?;
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(ZERO_PROBE_LEN);
        let bytes = reader.bytes(at, len)?;
        file.write_all_at(bytes, at).map_err(failed("writing the last frames again to"))?;
        at += len as u64;
    }
    file.sync().map_err(failed("syncing"))
}

fn open_file(fs: &dyn Fs, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
    fs.open(path, mode).map_err(|e| Error::io("opening", path, e))
}

const _: () = assert!(WAL_FILE_HEADER_LEN <= ZERO_PROBE_LEN);
