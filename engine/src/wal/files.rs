//! [`WalShared`]: which files the WAL has, and which of them wait for another use.
//!
//! The writer takes files from here when it rotates; background steps put zero-filled files in
//! ([`WalShared::prepare_spare`]) and give flushed ones back ([`WalShared::release`]). Neither
//! holds up a commit: no file is touched while the list is locked.
//!
//! # Crash behaviour
//! A new file is made under a temporary name and renamed when its first bytes are durable, so a
//! file with a WAL name was complete once. Temporary files are removed when the WAL is opened.

use super::{FRAMES_START, WalOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::format::wal_frame::{FileHeader, salt};
use crate::io::{File, Fs, OpenMode};
use crate::planted::{Bug, planted};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::SeqNo;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros are written in pieces of this size, in bytes.
const ZERO_LEN: usize = 1 << 20;
static ZEROS: [u8; ZERO_LEN] = [0; ZERO_LEN];

/// The place of a file: the number in its name.
pub(super) type Slot = u32;

/// A file in `dir`, with its final name.
pub(super) fn log_path(dir: &Path, slot: Slot) -> PathBuf {
    dir.join(format!("wal-{slot:04}.log"))
}

fn temporary_path(dir: &Path, slot: Slot) -> PathBuf {
    dir.join(format!("wal-{slot:04}.tmp"))
}

/// The slot of a file name, and whether the name is the final one; `None` for other files.
pub(super) fn parse_name(name: &str) -> Option<(Slot, bool)> {
    let (digits, is_log) = match name.strip_prefix("wal-")?.split_once('.')? {
        (digits, "log") => (digits, true),
        (digits, "tmp") => (digits, false),
        _ => return None,
    };
    let slot = digits.parse::<Slot>().ok()?;
    (format!("{slot:04}") == digits).then_some((slot, is_log))
}

/// Writes zeros to `from..to`.
pub(super) fn write_zeros(file: &dyn File, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let len = ZERO_LEN.min(usize::try_from(to - at).unwrap_or(ZERO_LEN));
        file.write_all_at(ZEROS.get(..len).unwrap_or(&ZEROS), at)?;
        at += len as u64;
    }
    Ok(())
}

/// The length of a file, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileLen {
    /// As it is now.
    pub(super) now: u64,
    /// As much of it as certainly survives a power cut.
    pub(super) durable: u64,
}

/// A file full of frames: `first..=last`, nothing when `last` is before `first`.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) slot: Slot,
    pub(super) first: SeqNo,
    pub(super) last: SeqNo,
    pub(super) len: FileLen,
}

/// A file that waits for another use.
#[derive(Clone, Debug)]
pub(super) struct Spare {
    pub(super) slot: Slot,
    pub(super) len: FileLen,
}

/// The file that the writer appends to.
#[derive(Debug)]
pub(super) struct ActiveFile {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) slot: Slot,
    pub(super) salt: u32,
    pub(super) first: SeqNo,
    /// Where the next frame goes, also when the frames before it are still in the writer's buffer.
    pub(super) end: u64,
    /// Everything below `len.now` has its place on the device: was written before, if only as
    /// zeros.
    pub(super) len: FileLen,
    /// Frames end at or before this offset.
    pub(super) len_max: u64,
}

/// Where the writer's next file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A spare if there is one: behind its header it has the frames of its last use.
    SpareOrNew,
    /// A new file, which has nothing of earlier frames.
    New,
}

/// Why the writer got no file.
pub(super) struct AcquireError {
    pub(super) error: Error,
    /// Whether a sync failed, after which the writer must not go on.
    pub(super) is_poison: bool,
}

impl AcquireError {
    fn harmless(error: Error) -> Self {
        Self { error, is_poison: false }
    }

    fn from_sync(error: Error) -> Self {
        Self { is_poison: error.kind() != ErrorKind::NoSpace, error }
    }
}

/// Figures of the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalStats {
    /// Count of files, spares included.
    pub files: usize,
    /// Count of files that wait for another use.
    pub spares: usize,
    /// Bytes on disk of all files.
    pub file_bytes: u64,
    /// Bytes of the files that are not released: what a recovery would read at most.
    pub retained_bytes: u64,
    /// The oldest seqno in a file that is not released; one beyond the last when there is none.
    pub first_seqno: SeqNo,
    /// The seqno given last.
    pub last_seqno: SeqNo,
    /// The last seqno known to be durable.
    pub durable_seqno: SeqNo,
    /// Syncs of frames since the WAL was opened.
    pub syncs: u64,
    /// Bytes of frames since the WAL was opened.
    pub written_bytes: u64,
}

/// The files of the WAL, shared between the writer and background steps.
#[derive(Debug)]
pub struct WalShared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    database: u128,
    options: WalOptions,
    /// Protects the list only; never held over I/O.
    files: Mutex<Files>,
    /// Written by the writer alone, read for figures: `Relaxed` throughout.
    pub(super) last_seqno: AtomicU64,
    pub(super) durable_seqno: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) active_len: AtomicU64,
}

/// What recovery found, and what the writer goes on with.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Full files in the order of their numbers.
    pub(super) sealed: Vec<Sealed>,
    pub(super) spares: Vec<Spare>,
    /// Slots of files that nobody needs and that could not be removed: they are tried again by whoever
    /// must see old frames gone.
    pub(super) stuck: BTreeSet<Slot>,
    /// Slots whose names are taken, whatever is there.
    pub(super) slots: BTreeSet<Slot>,
    pub(super) next_number: u64,
    pub(super) active: Option<(Slot, SeqNo)>,
    pub(super) is_preparing: bool,
}

impl Files {
    fn take_slot(&mut self) -> Slot {
        let mut slot = 1;
        for taken in &self.slots {
            if *taken > slot {
                break;
            }
            slot = slot.max(taken.saturating_add(1));
        }
        self.slots.insert(slot);
        slot
    }
}

impl WalShared {
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        database: u128,
        options: WalOptions,
        files: Files,
        last_seqno: SeqNo,
    ) -> Self {
        Self {
            fs,
            dir: dir.into(),
            database,
            options,
            files: Mutex::new(files),
            last_seqno: AtomicU64::new(last_seqno.0),
            durable_seqno: AtomicU64::new(last_seqno.0),
            syncs: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            active_len: AtomicU64::new(0),
        }
    }

    /// The options that the WAL was opened with.
    #[must_use]
    pub const fn options(&self) -> &WalOptions {
        &self.options
    }

    /// The directory that the files are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The next file, with a durable header, for frames from `first` on with `len` bytes to begin
    /// with. Whatever the failure, nothing of it is found by a recovery as more than an empty file.
    pub(super) fn acquire(
        &self,
        first: SeqNo,
        len: u64,
        source: Source,
    ) -> std::result::Result<ActiveFile, AcquireError> {
        let wanted = FRAMES_START.saturating_add(len);
        let (number, spare, slot) = {
            let mut files = self.files.lock();
            let number = files.next_number;
            files.next_number += 1;
            let fits = source == Source::SpareOrNew && wanted <= self.options.file_len;
            let spare = if fits { files.spares.pop() } else { None };
            let slot = spare.as_ref().map_or_else(|| files.take_slot(), |spare| spare.slot);
            (number, spare, slot)
        };
        let header = FileHeader {
            database: self.database,
            file_number: number,
            first_seqno: first,
            file_len: spare.as_ref().map_or(FRAMES_START, |spare| spare.len.durable),
        };
        let path = log_path(&self.dir, slot);
        let made = match &spare {
            Some(_) => self.rewrite_header(&path, &header),
            None => self.create(slot, &path, &header),
        };
        let file = match made {
            Ok(file) => file,
            Err(e) => {
                self.abandon(slot);
                return Err(e);
            }
        };
        self.files.lock().active = Some((slot, first));
        let len = spare.map_or(FRAMES_START, |spare| spare.len.now);
        // ORDERING: Relaxed, a figure.
        self.active_len.store(len, Ordering::Relaxed);
        Ok(ActiveFile {
            file,
            path,
            slot,
            salt: salt(self.database, number),
            first,
            end: FRAMES_START,
            // The sync of the header covered the length.
            len: FileLen { now: len, durable: len },
            len_max: self.options.file_len.max(wanted),
        })
    }

    fn rewrite_header(
        &self,
        path: &Path,
        header: &FileHeader,
    ) -> std::result::Result<Arc<dyn File>, AcquireError> {
        let failed = |what| move |e| Error::io(what, path, e);
        let file = self
            .fs
            .open(path, OpenMode::ReadWrite)
            .map_err(|e| AcquireError::harmless(failed("opening")(e)))?;
        file.write_all_at(&header.encode(), 0)
            .map_err(|e| AcquireError::harmless(failed("writing the header of")(e)))?;
        file.sync().map_err(|e| AcquireError::from_sync(failed("syncing")(e)))?;
        Ok(file)
    }

    fn create(
        &self,
        slot: Slot,
        path: &Path,
        header: &FileHeader,
    ) -> std::result::Result<Arc<dyn File>, AcquireError> {
        let temporary = temporary_path(&self.dir, slot);
        let failed = |what| move |e| Error::io(what, path, e);
        let file = self
            .fs
            .open(&temporary, OpenMode::CreateNew)
            .map_err(|e| AcquireError::harmless(failed("creating")(e)))?;
        file.write_all_at(&header.encode(), 0)
            .map_err(|e| AcquireError::harmless(failed("writing the header of")(e)))?;
        file.sync().map_err(|e| AcquireError::from_sync(failed("syncing")(e)))?;
        self.fs
            .rename(&temporary, path)
            .map_err(|e| AcquireError::harmless(failed("renaming")(e)))?;
        self.fs
            .sync_dir(&self.dir)
            .map_err(|e| AcquireError::from_sync(failed("syncing the directory of")(e)))?;
        Ok(file)
    }

    /// Gets rid of a file that could not be made ready. A file that cannot be removed either stays:
    /// it holds no frame of its number, so a recovery takes it for an empty one.
    fn abandon(&self, slot: Slot) {
        let removed = [temporary_path(&self.dir, slot), log_path(&self.dir, slot)]
            .map(|path| is_gone(&self.fs.remove_file(&path)));
        let mut files = self.files.lock();
        if removed == [true, true] {
            files.slots.remove(&slot);
        } else {
            files.stuck.insert(slot);
        }
    }

    /// The writer is done with its file: everything in it is durable.
    pub(super) fn seal(&self, active: &ActiveFile, last: SeqNo) {
        let mut files = self.files.lock();
        files.active = None;
        // ORDERING: Relaxed, a figure.
        self.active_len.store(0, Ordering::Relaxed);
        files.sealed.push(Sealed { slot: active.slot, first: active.first, last, len: active.len });
    }

    /// Gives the files back whose commits are all flushed: the caller has made the manifest edit
    /// durable that says so. They become spares, or are removed when there are enough.
    pub fn release(&self, flushed_seqno: SeqNo) -> Result<()> {
        let mut surplus = Vec::new();
        {
            let mut files = self.files.lock();
            // I3: without an active file the newest sealed one must keep its header.
            let newest = files.sealed.len().saturating_sub(1);
            let limit = if files.active.is_some() { files.sealed.len() } else { newest };
            let count = files
                .sealed
                .iter()
                .take(limit)
                .take_while(|sealed| sealed.last <= flushed_seqno || planted(Bug::WalReusedEarly))
                .count();
            for sealed in files.sealed.drain(..count).collect::<Vec<_>>() {
                let fits = sealed.len.now <= self.options.file_len;
                if fits && files.spares.len() < self.options.spares_max {
                    files.spares.push(Spare { slot: sealed.slot, len: sealed.len });
                } else {
                    surplus.push(sealed.slot);
                }
            }
        }
        self.remove(&surplus)
    }

    /// Removes the files that wait for another use, with the old frames in them, and those that could
    /// not be removed before; how many. The directory is synced.
    pub fn remove_spares(&self) -> Result<u64> {
        let slots: Vec<Slot> = {
            let mut files = self.files.lock();
            let stuck = std::mem::take(&mut files.stuck);
            files.spares.drain(..).map(|spare| spare.slot).chain(stuck).collect()
        };
        self.remove(&slots)?;
        self.fs.sync_dir(&self.dir).map_err(|e| Error::io("syncing", &self.dir, e))?;
        Ok(slots.len() as u64)
    }

    /// Removes files that nobody needs. A crash may bring one back, which a recovery then finds to
    /// be flushed, so the directory is not synced. A file that cannot be removed keeps its slot.
    pub(super) fn remove(&self, slots: &[Slot]) -> Result<()> {
        let mut outcome = Ok(());
        for &slot in slots {
            let path = log_path(&self.dir, slot);
            match self.fs.remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    self.files.lock().stuck.insert(slot);
                    outcome = Err(Error::io("removing", &path, e));
                }
                _ => {
                    self.files.lock().slots.remove(&slot);
                }
            }
        }
        outcome
    }

    /// Makes a zero-filled spare file when there is none and enough was written to expect its use.
    /// A background step; returns whether it did anything. Nothing is locked meanwhile.
    pub fn prepare_spare(&self) -> Result<bool> {
        // ORDERING: Relaxed, a figure.
        if self.written_bytes.load(Ordering::Relaxed) <= self.options.spare_after_bytes {
            return Ok(false);
        }
        let slot = {
            let mut files = self.files.lock();
            if files.is_preparing || !files.spares.is_empty() || self.options.spares_max == 0 {
                return Ok(false);
            }
            files.is_preparing = true;
            files.take_slot()
        };
        let made = self.create_spare(slot);
        if made.is_err() {
            self.abandon(slot);
        }
        let mut files = self.files.lock();
        files.is_preparing = false;
        made?;
        let len = self.options.file_len;
        files.spares.push(Spare { slot, len: FileLen { now: len, durable: len } });
        Ok(true)
    }

    fn create_spare(&self, slot: Slot) -> Result<()> {
        let temporary = temporary_path(&self.dir, slot);
        let in_file = temporary.as_path();
        let failed = |what| move |e| Error::io(what, in_file, e);
        let file = self.fs.open(&temporary, OpenMode::CreateNew).map_err(failed("creating"))?;
        write_zeros(&*file, 0, self.options.file_len).map_err(failed("zeroing"))?;
        file.sync().map_err(failed("syncing"))?;
        let path = log_path(&self.dir, slot);
        self.fs.rename(&temporary, &path).map_err(|e| Error::io("renaming", &path, e))?;
        self.fs.sync_dir(&self.dir).map_err(|e| Error::io("syncing", &self.dir, e))
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        // ORDERING: Relaxed throughout, figures that need not agree with each other.
        let active_len = self.active_len.load(Ordering::Relaxed);
        let last_seqno = self.last_seqno.load(Ordering::Relaxed);
        let files = self.files.lock();
        let sealed_len: u64 = files.sealed.iter().map(|sealed| sealed.len.now).sum();
        let spare_len: u64 = files.spares.iter().map(|spare| spare.len.now).sum();
        let oldest = files.sealed.iter().map(|sealed| sealed.first);
        WalStats {
            files: files.sealed.len() + files.spares.len() + usize::from(files.active.is_some()),
            spares: files.spares.len(),
            file_bytes: sealed_len + spare_len + active_len,
            retained_bytes: sealed_len + active_len,
            first_seqno: oldest
                .chain(files.active.map(|(_, first)| first))
                .min()
                .unwrap_or(SeqNo(last_seqno.saturating_add(1))),
            last_seqno: SeqNo(last_seqno),
            durable_seqno: SeqNo(self.durable_seqno.load(Ordering::Relaxed)),
            syncs: self.syncs.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Makes the first file of a log without frames, durable with its name, in a directory that has none.
///
/// # Errors
/// What the file system meets.
pub fn create_first(fs: &Arc<dyn Fs>, dir: &Path, database: u128, first: SeqNo) -> Result<()> {
    let files = Files { next_number: 1, ..Files::default() };
    let last = SeqNo(first.0.saturating_sub(1));
    let shared = WalShared::new(Arc::clone(fs), dir, database, WalOptions::default(), files, last);
    shared.acquire(first, 0, Source::New).map(drop).map_err(|e| e.error)
}

fn is_gone(removed: &std::io::Result<()>) -> bool {
    match removed {
        Ok(()) => true,
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(parse_name("wal-0001.log"), Some((1, true)));
        assert_eq!(parse_name("wal-12345.tmp"), Some((12345, false)));
        for name in ["wal-1.log", "wal-00001.log", "wal-0001", "wal-000x.log", "wal-+001.log"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_least_free_slot_is_taken() {
        let mut files = Files { slots: BTreeSet::from([1, 2, 4]), ..Files::default() };
        assert_eq!([files.take_slot(), files.take_slot(), files.take_slot()], [3, 5, 6]);
    }
}
