//! [`Tail`]: reads the log of a database that somebody else may be writing, and changes nothing.
//!
//! The writer appends frames, starts files, recycles files whose commits are flushed, and may take
//! back frames that it has not acknowledged. A tail remembers the last frame that it has read; as
//! long as that one is still where it was, everything before it is what it was too, for frames are
//! taken back from the end. Whatever else it meets that does not go on from there means that the
//! files have moved on: the reader starts anew from the manifest.
//!
//! # Invariants
//! 1. The frames visited are a prefix of those that the writer has written, in order, each once.
//! 2. A frame that is not whole yet is the end for now.

use super::FRAMES_START;
use super::files::{Slot, log_path, parse_name};
use super::reader::{FileReader, Found};
use super::recovery::{ReplayFrame, check_frame};
use crate::error::{Error, Result};
use crate::format::wal_frame::{
    FileHeader, FileState, FrameHeader, WAL_FORMAT_VERSION, WAL_FRAME_COMMIT, WAL_FRAME_HEADER_LEN,
};
use crate::io::{DirEntry, File, Fs, OpenMode};
use crate::types::SeqNo;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far a log was read.
#[derive(Debug)]
pub struct Tail {
    database: u128,
    /// The last commit that was visited or is flushed.
    last: SeqNo,
    place: Option<Place>,
}

/// Where the next frame is expected.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: Slot,
    header: FileHeader,
    /// The seqno of the next frame.
    expected: SeqNo,
    /// Where it starts.
    offset: u64,
    /// The frame before it in this file, and where it is.
    before: Option<(u64, FrameHeader)>,
}

/// How reading a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Everything that is there was visited.
    End,
    /// What was visited, or should come next, is not there any more.
    Lost,
}

/// A file with a header of this database.
struct Numbered {
    slot: Slot,
    path: PathBuf,
    file: Arc<dyn File>,
    header: FileHeader,
}

impl Tail {
    /// The tail of the log of `database`, of which the commits up to `flushed` are not wanted.
    #[must_use]
    pub const fn new(database: u128, flushed: SeqNo) -> Self {
        Self { database, last: flushed, place: None }
    }

    /// The last commit that was visited, or the flushed one before it.
    #[must_use]
    pub const fn last_seqno(&self) -> SeqNo {
        self.last
    }

    /// Hands every commit that has come since to `visit`. `entries` are those of the directory
    /// `dir`, listed just now. After [`Followed::Lost`] and after an error the tail is of no use any
    /// more.
    ///
    /// # Errors
    /// [`Error::Corruption`], [`Error::FormatTooNew`]; whatever `visit` returns; failures of the
    /// operating system.
    pub fn read(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        entries: &[DirEntry],
        visit: &mut dyn FnMut(ReplayFrame<'_>) -> Result<()>,
    ) -> Result<Followed> {
        let files = self.list(fs, dir, entries)?;
        let is_first = self.place.is_none();
        if is_first && files.is_empty() && self.last.0 == 0 {
            return Ok(Followed::End); // Nothing was ever logged.
        }
        let Some(mut place) = self.start(&files)? else { return Ok(Followed::Lost) };
        loop {
            let Some(at) = files.iter().position(|file| place.is_in(file)) else {
                return Ok(Followed::Lost);
            };
            let (Some(file), next) = (files.get(at), files.get(at + 1)) else {
                return Ok(Followed::Lost);
            };
            let limit = next.map(|next| next.header.first_seqno);
            let fits = self.file(file, &mut place, limit, visit)?;
            self.place = Some(place);
            match next {
                Some(next) if fits && next.header.first_seqno == place.expected => {
                    place = Place::first(next);
                }
                None if fits && is_first => return self.check_end(file, &place),
                None if fits => return Ok(Followed::End),
                // The header of the next file is written when these frames are all there.
                _ => return Ok(Followed::Lost),
            }
        }
    }

    /// Tells the end of the log from damage (row t3 of recovery's table): nothing behind it may have
    /// known more to be durable.
    fn check_end(&self, numbered: &Numbered, place: &Place) -> Result<Followed> {
        let salts = [numbered.header.salt()];
        let mut reader = FileReader::new(&*numbered.file, &numbered.path)?;
        let knows_more = |frame: &FrameHeader| frame.durable_seqno > self.last;
        let Some(later) = reader.find_header(place.offset, &salts, knows_more)? else {
            return Ok(Followed::End);
        };
        // Written meanwhile, or damaged.
        let mut again = FileReader::new(&*numbered.file, &numbered.path)?;
        if matches!(again.frame(place.offset, numbered.header.salt())?, Found::Frame(..)) {
            return Ok(Followed::Lost);
        }
        let (last, at, durable) = (self.last, later.file_offset, later.durable_seqno);
        let what =
            format!("no frame after {last}, but the one at {at} knew {durable} to be durable");
        Err(Error::corruption(&numbered.path, place.offset, what))
    }

    /// The files in use, in order of their numbers.
    fn list(&self, fs: &dyn Fs, dir: &Path, entries: &[DirEntry]) -> Result<Vec<Numbered>> {
        let mut files = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_file) {
            let Some((slot, true)) = entry.name.to_str().and_then(parse_name) else { continue };
            let path = log_path(dir, slot);
            let file = match fs.open(&path, OpenMode::Read) {
                // Removed meanwhile.
                Err(e) if e.kind() == IoErrorKind::NotFound => continue,
                opened => opened.map_err(|e| Error::io("opening", &path, e))?,
            };
            let state = FileHeader::decode(FileReader::new(&*file, &path)?.header()?);
            match state {
                FileState::InUse(header) if header.database != self.database => {
                    let what = "the file belongs to another database";
                    return Err(Error::corruption(&path, 16, what));
                }
                FileState::InUse(header) => files.push(Numbered { slot, path, file, header }),
                FileState::TooNew(found) => {
                    let max = WAL_FORMAT_VERSION;
                    return Err(Error::FormatTooNew { file: path.as_path().into(), found, max });
                }
                // A spare, or one whose header is being written.
                FileState::Zero | FileState::Damaged(_) => {}
            }
        }
        files.sort_by_key(|file| file.header.file_number);
        Ok(files)
    }

    /// Where to go on; `None` when that is not to be found, or what was read is not there any more.
    fn start(&self, files: &[Numbered]) -> Result<Option<Place>> {
        let Some(place) = self.place else {
            let next = self.last.next();
            let start = files.iter().rfind(|file| file.header.first_seqno <= next);
            return Ok(start.map(Place::first));
        };
        let Some(file) = files.iter().find(|file| place.is_in(file)) else { return Ok(None) };
        // A later file that has what was read here already: it was taken back and written again.
        let overtaken = files.iter().any(|later| {
            later.header.file_number > place.header.file_number
                && later.header.first_seqno < place.expected
        });
        if overtaken {
            return Ok(None);
        }
        if let Some((offset, before)) = place.before {
            let mut reader = FileReader::new(&*file.file, &file.path)?;
            let bytes = reader.bytes(offset, WAL_FRAME_HEADER_LEN)?;
            if FrameHeader::decode(bytes, file.header.salt(), offset) != Some(before) {
                return Ok(None);
            }
        }
        Ok(Some(place))
    }

    /// Reads what has come in one file, up to the first seqno of the next; whether it fits.
    fn file(
        &mut self,
        numbered: &Numbered,
        place: &mut Place,
        next: Option<SeqNo>,
        visit: &mut dyn FnMut(ReplayFrame<'_>) -> Result<()>,
    ) -> Result<bool> {
        let mut reader = FileReader::new(&*numbered.file, &numbered.path)?;
        while next != Some(place.expected) {
            let offset = place.offset;
            let Found::Frame(frame, payload) = reader.frame(offset, numbered.header.salt())? else {
                break;
            };
            if check_frame(&frame, place.expected).is_err() {
                return Ok(false);
            }
            if frame.seqno > self.last {
                if frame.kind == WAL_FRAME_COMMIT {
                    visit(ReplayFrame {
                        seqno: frame.seqno,
                        payload,
                        file: &numbered.path,
                        payload_offset: offset + WAL_FRAME_HEADER_LEN as u64,
                    })?;
                }
                self.last = frame.seqno;
            }
            place.expected = frame.seqno.next();
            place.offset += frame.frame_len();
            place.before = Some((offset, frame));
        }
        // Read for another use of the file, the frames were none of these.
        let now =
            FileReader::new(&*numbered.file, &numbered.path)?.header().map(FileHeader::decode);
        Ok(matches!(now?, FileState::InUse(header) if header == numbered.header))
    }
}

impl Place {
    /// Before the first frame of a file.
    const fn first(file: &Numbered) -> Self {
        let Numbered { slot, header, .. } = file;
        Self {
            slot: *slot,
            header: *header,
            expected: header.first_seqno,
            offset: FRAMES_START,
            before: None,
        }
    }

    fn is_in(&self, file: &Numbered) -> bool {
        self.slot == file.slot && self.header == file.header
    }
}
