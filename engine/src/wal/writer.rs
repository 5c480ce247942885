//! [`WalWriter`]: appends frames, gives them to the operating system, syncs.
//!
//! There is one writer; the leader of a commit group has it exclusively. Frames gather in a buffer;
//! [`WalWriter::write`] hands them over, [`WalWriter::sync`] makes them durable.
//!
//! # Invariants
//! 1. Between calls `active` is `None` or has its header durable, and the buffer is what belongs at
//!    `written..active.end`.
//! 2. `durable_seqno <= last_seqno`; without an active file they are equal.
//! 3. An append that fails without poisoning has had no effect: space is reserved, by zeros, before
//!    the first frame is encoded; where the device is full all the same (a file system that copies
//!    on write), the frames are taken back: zeros in their place are made durable.
//!
//! # Crash behaviour
//! A fresh file is zeroed a piece ahead of its frames: commits then overwrite, which is faster than
//! extending, and a full device is noticed before anything depends on it.

use super::files::{ActiveFile, Source, WalShared, write_zeros};
use super::{FRAMES_START, files};
use crate::error::{Error, ErrorKind, Result};
use crate::format::crc32;
use crate::format::wal_frame::{
    FrameHeader, WAL_FRAME_CLOSE, WAL_FRAME_COMMIT, WAL_FRAME_HEADER_LEN, frame_len,
};
use crate::limits::COMMIT_LEN_MAX;
use crate::planted::{Bug, planted};
use crate::sync::atomic::Ordering;
use crate::types::SeqNo;
use std::path::Path;
use std::sync::Arc;

/// Frames are handed to the operating system at the latest when this many bytes have gathered.
const BUFFER_LEN_MAX: usize = 256 << 10;
/// A payload of this length is not copied into the buffer.
const DIRECT_LEN_MIN: usize = 256 << 10;
/// A fresh file is zeroed ahead in pieces of this many bytes.
const ZERO_AHEAD_LEN: u64 = 256 << 10;

/// A commit record to append.
#[derive(Clone, Copy, Debug)]
pub struct FrameIn<'a> {
    /// The record.
    pub payload: &'a [u8],
    /// Its CRC-32, computed by the committing thread so that the leader need not.
    pub payload_crc: u32,
}

impl<'a> FrameIn<'a> {
    /// A frame of `payload`, with its checksum computed here.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { payload, payload_crc: crc32(payload) }
    }
}

/// The one writer of the WAL.
#[derive(Debug)]
pub struct WalWriter {
    shared: Arc<WalShared>,
    active: Option<ActiveFile>,
    /// Encoded frames that the operating system has not got yet.
    buffer: Vec<u8>,
    /// Where in the active file the buffer belongs.
    written: u64,
    last_seqno: SeqNo,
    durable_seqno: SeqNo,
    /// Where the latest append began.
    appended: Option<Start>,
    /// Why nothing is written any more.
    stopped: Option<Stop>,
}

/// The writer before an append.
#[derive(Clone, Copy, Debug)]
struct Start {
    end: u64,
    buffer_len: usize,
    written: u64,
    last_seqno: SeqNo,
}

#[derive(Clone, Debug)]
enum Stop {
    Poisoned(Arc<str>),
    Closed,
}

impl WalWriter {
    pub(super) fn new(shared: Arc<WalShared>, last_seqno: SeqNo) -> Self {
        Self {
            shared,
            active: None,
            buffer: Vec::new(),
            written: 0,
            last_seqno,
            durable_seqno: last_seqno,
            appended: None,
            stopped: None,
        }
    }

    /// The part that background steps use.
    #[must_use]
    pub const fn shared(&self) -> &Arc<WalShared> {
        &self.shared
    }

    /// The seqno given last.
    #[must_use]
    pub const fn last_seqno(&self) -> SeqNo {
        self.last_seqno
    }

    /// The last seqno known to be durable.
    #[must_use]
    pub const fn durable_seqno(&self) -> SeqNo {
        self.durable_seqno
    }

    /// The error that every call returns once the writer has stopped.
    pub fn check(&self) -> Result<()> {
        match &self.stopped {
            None => Ok(()),
            Some(Stop::Poisoned(cause)) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
            Some(Stop::Closed) => Err(Error::Closed),
        }
    }

    /// Appends one frame for each of `frames`, all or none, and returns the last one's seqno. They
    /// are durable after the next [`WalWriter::sync`].
    ///
    /// # Errors
    /// After [`ErrorKind::NoSpace`] nothing has happened and the call may be repeated. After any
    /// other error of the operating system while writing frames, the writer is poisoned.
    pub fn append(&mut self, frames: &[FrameIn<'_>]) -> Result<SeqNo> {
        self.check()?;
        self.appended = None;
        if let Some(long) = frames.iter().find(|frame| frame.payload.len() > COMMIT_LEN_MAX) {
            return Err(Error::invalid(format!(
                "a commit of {} bytes; at most {COMMIT_LEN_MAX} are allowed",
                long.payload.len()
            )));
        }
        if !frames.is_empty() {
            self.reserve(frames.iter().map(|frame| frame_len(frame.payload.len())).sum())?;
        }
        self.appended = self.active.as_ref().map(|active| Start {
            end: active.end,
            buffer_len: self.buffer.len(),
            written: self.written,
            last_seqno: self.last_seqno,
        });
        let put = frames.iter().try_for_each(|frame| self.put(WAL_FRAME_COMMIT, frame));
        self.or_take_back(put)?;
        Ok(self.last_seqno)
    }

    /// `outcome`, after the latest append was taken back if the device was full. For an append
    /// itself, and for the [`write`](Self::write) or [`sync`](Self::sync) that follows it while
    /// nobody was told yet that it has happened.
    ///
    /// # Errors
    /// That of `outcome`; after [`ErrorKind::NoSpace`] the append has not happened. When it cannot
    /// be taken back the writer is poisoned and the error is of another kind.
    pub fn or_take_back<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(e) = &outcome
            && e.kind() == ErrorKind::NoSpace
        {
            self.take_back()?;
        }
        outcome
    }

    /// Makes the latest append not to have happened: what may be in the file of its frames becomes
    /// zeros, durably, so that no recovery finds any of them, nor behind later ones.
    fn take_back(&mut self) -> Result<()> {
        let Some(start) = self.appended.take() else { return Ok(()) };
        let Some(active) = &mut self.active else {
            return Err(Error::Internal { what: "an append without a WAL file".into() });
        };
        let frames_len = active.end - start.end;
        let erased =
            write_zeros(&*active.file, start.end, active.end).and_then(|()| active.file.sync());
        if let Err(e) = erased {
            return Err(self.poison("taking back frames of", e));
        }
        active.end = start.end;
        self.last_seqno = start.last_seqno;
        if self.written == start.written {
            self.buffer.truncate(start.buffer_len);
        } else {
            // The buffer was handed over since, with what it held before.
            self.buffer.clear();
            self.written = start.end;
        }
        // ORDERING: Relaxed, figures.
        self.shared.last_seqno.store(self.last_seqno.0, Ordering::Relaxed);
        self.shared.written_bytes.fetch_sub(frames_len, Ordering::Relaxed);
        Ok(())
    }

    /// Hands all frames to the operating system.
    ///
    /// # Errors
    /// After [`ErrorKind::NoSpace`] the frames are still in the buffer and the call may be repeated:
    /// the same bytes are then written again. After any other error the writer is poisoned.
    pub fn write(&mut self) -> Result<()> {
        self.check()?;
        let Some(active) = self.active.as_ref().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        if let Err(e) = active.file.write_all_at(&self.buffer, self.written) {
            return Err(self.write_failed(e));
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes all frames durable and returns the last one's seqno. Does nothing when they are.
    pub fn sync(&mut self) -> Result<SeqNo> {
        self.write()?;
        let is_durable = self.durable_seqno == self.last_seqno;
        let Some(active) = self.active.as_mut().filter(|_| !is_durable) else {
            return Ok(self.durable_seqno);
        };
        let again = |_| active.file.sync();
        let synced = match planted(Bug::WalSyncSkipped) {
            true => Ok(()),
            false if planted(Bug::FailedSyncRetried) => active.file.sync().or_else(again),
            false => active.file.sync(),
        };
        if let Err(e) = synced {
            return Err(self.poison("syncing", e));
        }
        active.len.durable = active.len.now;
        self.durable_seqno = self.last_seqno;
        // ORDERING: Relaxed, figures.
        self.shared.durable_seqno.store(self.durable_seqno.0, Ordering::Relaxed);
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(self.durable_seqno)
    }

    /// Ends the WAL: everything is made durable, with a mark that the shutdown was clean. Later
    /// calls return [`Error::Closed`]. A session that has written nothing leaves no mark.
    pub fn close(&mut self) -> Result<()> {
        self.check()?;
        if self.active.is_some() {
            match self.reserve(frame_len(0)) {
                Ok(()) => self.put(WAL_FRAME_CLOSE, &FrameIn::new(&[]))?,
                // The mark is no loss: all it says is that nothing was torn.
                Err(e) if e.kind() == ErrorKind::NoSpace => {}
                Err(e) => return Err(e),
            }
            self.sync()?;
        }
        self.stopped = Some(Stop::Closed);
        Ok(())
    }

    /// Takes a new file, so that no file which has ever held a frame is needed any longer: also when
    /// nothing was appended since the WAL was opened, as the newest file stays until there is another.
    pub fn renew(&mut self) -> Result<()> {
        self.check()?;
        self.rotate(0, Source::New)
    }

    /// Makes room for `len` bytes of frames at the end of the active file, or in a new one.
    fn reserve(&mut self, len: u64) -> Result<()> {
        let fits = |active: &ActiveFile| active.end.saturating_add(len) <= active.len_max;
        if !self.active.as_ref().is_some_and(fits) {
            self.rotate(len, Source::SpareOrNew)?;
        }
        let Some(active) = &mut self.active else {
            return Err(Error::Internal { what: "no WAL file after rotation".into() });
        };
        let end = active.end + len;
        if end > active.len.now {
            let to = end.next_multiple_of(ZERO_AHEAD_LEN).min(active.len_max).max(end);
            write_zeros(&*active.file, active.len.now, to)
                .map_err(|e| Error::io("reserving space in", &active.path, e))?;
            active.len.now = to;
            // ORDERING: Relaxed, a figure.
            self.shared.active_len.store(to, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Seals the active file, durable as it then is, and takes the next one.
    fn rotate(&mut self, len: u64, source: Source) -> Result<()> {
        self.sync()?;
        if let Some(active) = self.active.take() {
            self.shared.seal(&active, self.last_seqno);
        }
        let next = self.last_seqno.next();
        match self.shared.acquire(next, len, source) {
            Ok(active) => {
                self.written = FRAMES_START;
                self.active = Some(active);
                Ok(())
            }
            Err(files::AcquireError { error, is_poison: false }) => Err(error),
            Err(files::AcquireError { error, is_poison: true }) => {
                self.stopped = Some(Stop::Poisoned(error.to_string().into()));
                Err(error)
            }
        }
    }

    /// Encodes one frame where `reserve` has made room.
    fn put(&mut self, kind: u8, frame: &FrameIn<'_>) -> Result<()> {
        let Some(active) = &mut self.active else {
            return Err(Error::Internal { what: "a frame without a WAL file".into() });
        };
        let header = FrameHeader {
            payload_len: frame.payload.len() as u32,
            payload_crc: frame.payload_crc,
            kind,
            seqno: self.last_seqno.next(),
            durable_seqno: self.durable_seqno,
            file_offset: active.end,
        };
        let frame_len = header.frame_len();
        active.end += frame_len;
        self.last_seqno = header.seqno;
        // ORDERING: Relaxed, figures.
        self.shared.last_seqno.store(header.seqno.0, Ordering::Relaxed);
        self.shared.written_bytes.fetch_add(frame_len, Ordering::Relaxed);
        let salt = active.salt;
        self.buffer.extend_from_slice(&header.encode(salt));
        if frame.payload.len() < DIRECT_LEN_MIN {
            self.buffer.extend_from_slice(frame.payload);
        } else {
            self.write()?;
            self.write_direct(frame.payload)?;
        }
        let padding = frame_len as usize - WAL_FRAME_HEADER_LEN - frame.payload.len();
        self.buffer.resize(self.buffer.len() + padding, 0);
        if self.buffer.len() >= BUFFER_LEN_MAX {
            self.write()?;
        }
        Ok(())
    }

    /// Hands a long payload over as it is; the buffer is empty.
    fn write_direct(&mut self, payload: &[u8]) -> Result<()> {
        let Some(active) = &self.active else {
            return Err(Error::Internal { what: "a payload without a WAL file".into() });
        };
        if let Err(e) = active.file.write_all_at(payload, self.written) {
            return Err(self.write_failed(e));
        }
        self.written += payload.len() as u64;
        Ok(())
    }

    /// A write that failed because the device is full has left nothing that the system calls
    /// written, so it may be repeated or taken back; every other failure is poison.
    fn write_failed(&mut self, source: std::io::Error) -> Error {
        let path =
            self.active.as_ref().map(|active| active.path.as_path()).unwrap_or(Path::new(""));
        let kind = source.kind();
        match Error::io("writing", path, std::io::Error::from(kind)) {
            full @ Error::NoSpace { .. } => full,
            _ => self.poison("writing", source),
        }
    }

    /// I5 of the module: nothing is written after a failed write or sync. The caller of the failing
    /// call learns that its commit may have happened, whatever the operating system's reason.
    fn poison(&mut self, what: &'static str, source: std::io::Error) -> Error {
        let path = self.active.as_ref().map(|active| active.path.clone()).unwrap_or_default();
        let error = Error::Io { what, path, source: Arc::new(source) };
        debug_assert_eq!(error.kind(), ErrorKind::Io);
        self.stopped = Some(Stop::Poisoned(error.to_string().into()));
        error
    }
}
