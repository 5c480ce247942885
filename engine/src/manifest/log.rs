//! [`ManifestLog`]: the manifest file of an open database.
//!
//! [`open`](ManifestLog::open) reads the newest file and at once writes its state into a new one,
//! so a file is appended to only by the process that published it: whatever an earlier process may
//! have left in the page cache only, is durable before anything is built on it or removed because
//! of it.
//!
//! # Invariants
//! 1. An edit is synced before it is part of the state, and before the next one is written.
//! 2. A file gets its final name after it was synced; older files are removed after the directory
//!    was synced. A process uses a number for one attempt only; temporary files of earlier
//!    processes are removed, durably, before their names can be used again.
//! 3. After a failure that leaves open what is on disk, nothing more is written ("poisoned"). No
//!    data is synced twice.
//! 4. The state in memory is what every recovery finds that comes after the last success: after a
//!    failed append it is without the edit, which then certainly did not happen
//!    ([`Error::NoSpace`], [`Error::Poisoned`]) or may have ([`Error::Io`]): until the database
//!    is opened again, the caller must keep the files that either outcome refers to.
//!
//! # Crash behaviour
//! An append is there wholly or not at all. A roll changes nothing that recovery can see.

use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::manifest_edit::Edit;
use crate::format::manifest_frame::{
    FrameBuilder, MANIFEST_FILE_LEN_MAX, MANIFEST_FORMAT_VERSION, ManifestHeader,
};
use crate::io::{DirEntry, File, Fs, OpenMode};
use crate::manifest::directory::{
    DirectoryState, find, manifest_name, parse_temporary_name, temporary_name,
};
use crate::manifest::replay::{ReplaySummary, replay};
use crate::manifest::state::ManifestState;
use crate::planted::{Bug, planted};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file is rolled when its edits outgrow this many snapshots..
const ROLL_SNAPSHOTS: u64 = 4;
/// ..and this many bytes.
const ROLL_LEN_MIN: u64 = 64 << 10;

/// The manifest of an open database. Whoever has it also has the database's lock.
#[derive(Debug)]
pub struct ManifestLog {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    current: Published,
    state: ManifestState,
    /// Number of the next file that is tried.
    next_number: u64,
    /// Length of the current file at which it is rolled.
    roll_at: u64,
    /// Replaced files that could not be removed yet.
    replaced: Vec<PathBuf>,
    poison: Option<Arc<str>>,
    roll_error: Option<Error>,
}

/// A manifest file under its final name, written by this process.
#[derive(Debug)]
struct Published {
    file: Arc<dyn File>,
    path: PathBuf,
    number: u64,
    /// Header checksum, which seeds those of the frames.
    seed: u32,
    last_crc: u32,
    last_edit_no: u64,
    /// Length of the file up to the end of its snapshot.
    snapshot_end: u64,
    len: u64,
}

/// The bytes of a new manifest file, with what the next frame needs to know of them.
struct NewFile {
    bytes: Vec<u8>,
    seed: u32,
    crc: u32,
    edit_no: u64,
}

/// Why a new manifest file was not published.
enum PublishError {
    /// There certainly is none under the final name.
    Absent(Error),
    /// There may be one.
    Unknown(Error),
}

impl ManifestLog {
    /// Publishes the manifest of a new database in `dir`. The caller makes `dir` itself durable in
    /// its parent directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is a manifest; what [`find`] says of other directories.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path, uuid: u128) -> Result<Self> {
        let entries = list(&*fs, dir)?;
        if find(dir, &entries)? != DirectoryState::New {
            return Err(Error::AlreadyExists { what: format!("a database in {}", dir.display()) });
        }
        Self::publish_first(fs, dir, ManifestState::new(uuid), 1, 0, &entries)
    }

    /// Reads the manifest in `dir` and rolls it into a new file; see the module.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the directory is empty, [`Error::Corruption`],
    /// [`Error::FormatTooNew`]; failures of the file system leave everything as it was for the next
    /// attempt.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<(Self, ManifestState)> {
        let entries = list(&*fs, dir)?;
        let (state, summary, mut replaced) = load_listed(&*fs, dir, &entries)?;
        let number = summary.number.checked_add(1).ok_or_else(|| {
            Error::corruption(&dir.join(manifest_name(summary.number)), 0, "no number is left")
        })?;
        let copy = state.clone();
        let last_edit_no = summary.last_edit_no;
        let mut log = Self::publish_first(fs, dir, state, number, last_edit_no, &entries)?;
        replaced.push(dir.join(manifest_name(summary.number)));
        log.replaced.extend(replaced);
        log.remove_replaced();
        Ok((log, copy))
    }

    fn publish_first(
        fs: Arc<dyn Fs>,
        dir: &Path,
        state: ManifestState,
        number: u64,
        last_edit_no: u64,
        entries: &[DirEntry],
    ) -> Result<Self> {
        remove_temporaries(&*fs, dir, entries)?;
        let current = match publish(&*fs, dir, number, &state, last_edit_no) {
            Ok(current) => current,
            Err(PublishError::Absent(e) | PublishError::Unknown(e)) => return Err(e),
        };
        let roll_at = current.roll_at();
        Ok(Self {
            fs,
            dir: dir.to_path_buf(),
            next_number: number.saturating_add(1),
            current,
            state,
            roll_at,
            replaced: Vec::new(),
            poison: None,
            roll_error: None,
        })
    }

    /// What the manifest says now.
    #[must_use]
    pub const fn state(&self) -> &ManifestState {
        &self.state
    }

    /// Number of the current file.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.current.number
    }

    /// Length of the current file, in bytes.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.current.len
    }

    /// The failure of the last roll that [`append`](Self::append) tried, if it failed.
    #[must_use]
    pub const fn roll_error(&self) -> Option<&Error> {
        self.roll_error.as_ref()
    }

    /// Makes `edit` durable, then part of the state. Rolls the file when it has grown; a failure of
    /// that does not fail the append.
    ///
    /// # Errors
    /// The edit certainly did not happen after [`Error::Internal`] (it contradicts the state or a
    /// limit), [`Error::NoSpace`] (try again after space was freed) and [`Error::Poisoned`]; it may
    /// have happened after [`Error::Io`], which also poisons the log.
    pub fn append(&mut self, edit: &Edit) -> Result<()> {
        self.check_poison()?;
        if edit.ops.is_empty() {
            return Ok(());
        }
        let staged = self.state.stage(edit).map_err(|e| Error::Internal { what: e.to_string() })?;
        let mut bytes = Vec::new();
        let frame = FrameBuilder::begin(&mut bytes);
        let edit_no = self.current.last_edit_no + 1;
        let Published { seed, last_crc, .. } = self.current;
        let crc = edit
            .encode(&mut bytes)
            .and_then(|()| frame.finish(&mut bytes, seed, last_crc, edit_no))
            .map_err(|e| Error::Internal { what: e.what })?;
        let end = self.current.len.saturating_add(bytes.len() as u64);
        if end > MANIFEST_FILE_LEN_MAX {
            // Only after rolls have failed for a long time.
            self.roll()?;
            return self.append(edit);
        }
        self.write_frame(&bytes)?;
        self.current.len = end;
        (self.current.last_crc, self.current.last_edit_no) = (crc, edit_no);
        self.state.commit(staged);
        self.roll_when_grown();
        Ok(())
    }

    /// Writes the state as the snapshot of a new file, which becomes the current one.
    ///
    /// # Errors
    /// The log goes on with the current file, except when it is open which file recovery would
    /// take: then the log is poisoned. The state is safe in both cases.
    pub fn roll(&mut self) -> Result<()> {
        self.check_poison()?;
        let number = self.next_number;
        self.next_number += 1;
        let last_edit_no = self.current.last_edit_no;
        match publish(&*self.fs, &self.dir, number, &self.state, last_edit_no) {
            Ok(published) => {
                let old = std::mem::replace(&mut self.current, published);
                self.replaced.push(old.path);
                self.roll_at = self.current.roll_at();
                self.roll_error = None;
                self.remove_replaced();
                Ok(())
            }
            Err(PublishError::Absent(e)) => Err(e),
            Err(PublishError::Unknown(e)) => {
                self.poison(&e);
                Err(e)
            }
        }
    }

    fn roll_when_grown(&mut self) {
        if self.current.len < self.roll_at {
            return;
        }
        if let Err(e) = self.roll() {
            // Not at every append: only after the file has grown by as much again.
            self.roll_at = self.current.len.saturating_add(self.current.roll_at());
            self.roll_error = Some(e);
        }
    }

    /// Writes and syncs a frame at the end of the current file (I1).
    fn write_frame(&mut self, bytes: &[u8]) -> Result<()> {
        let Published { file, path, len, .. } = &self.current;
        let Err(e) = file.write_all_at(bytes, *len) else {
            if planted(Bug::ManifestSyncSkipped) {
                return Ok(());
            }
            let Err(e) = file.sync() else { return Ok(()) };
            return Err(self.poisoned_by("syncing the manifest", e));
        };
        // A full device is no reason to stop for ever: take back what was written. When that is
        // durable the edit certainly did not happen, and the next one finds a whole file.
        let no_space = Error::io("writing", path, io::Error::new(e.kind(), "no space"));
        let full = matches!(no_space, Error::NoSpace { .. });
        if full && file.set_len(*len).and_then(|()| file.sync()).is_ok() {
            return Err(no_space);
        }
        Err(self.poisoned_by("writing the manifest", e))
    }

    /// Poisons the log because of `e`, and returns the error of an edit that may have happened:
    /// [`Error::Io`] also for a full device, as [`Error::NoSpace`] says that nothing happened.
    fn poisoned_by(&mut self, what: &'static str, e: io::Error) -> Error {
        let error = Error::Io { what, path: self.current.path.clone(), source: Arc::new(e) };
        self.poison(&error);
        error
    }

    fn poison(&mut self, cause: &Error) {
        if self.poison.is_none() {
            self.poison = Some(cause.to_string().into());
        }
    }

    fn check_poison(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }

    /// Removes replaced files as far as it can; recovery does not look at them.
    fn remove_replaced(&mut self) {
        let fs = &*self.fs;
        self.replaced.retain(|path| match fs.remove_file(path) {
            Ok(()) => false,
            Err(e) => e.kind() != io::ErrorKind::NotFound,
        });
    }
}

impl Published {
    /// Length at which the file is rolled.
    fn roll_at(&self) -> u64 {
        let edits = self.snapshot_end.saturating_mul(ROLL_SNAPSHOTS).max(ROLL_LEN_MIN);
        self.snapshot_end.saturating_add(edits)
    }
}

/// Reads the manifest in `dir` and changes nothing: for tools that look at a database.
///
/// # Errors
/// [`Error::NotFound`] when the directory is empty, [`Error::Corruption`], [`Error::FormatTooNew`].
pub fn load(fs: &dyn Fs, dir: &Path) -> Result<(ManifestState, ReplaySummary)> {
    let (state, summary, _) = load_listed(fs, dir, &list(fs, dir)?)?;
    Ok((state, summary))
}

/// The state, where it was read, and the paths of older files.
fn load_listed(
    fs: &dyn Fs,
    dir: &Path,
    entries: &[DirEntry],
) -> Result<(ManifestState, ReplaySummary, Vec<PathBuf>)> {
    let DirectoryState::Database { number, replaced } = find(dir, entries)? else {
        return Err(Error::NotFound { what: format!("database in {}", dir.display()) });
    };
    let path = dir.join(manifest_name(number));
    let (state, summary) = replay(&read_file(fs, &path)?, &path, number)?;
    let replaced = replaced.into_iter().map(|number| dir.join(manifest_name(number))).collect();
    Ok((state, summary, replaced))
}

/// The bytes of a manifest file.
///
/// # Errors
/// [`Error::Corruption`] when it is longer than a manifest may be, and what the file system says.
pub fn read_file(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io("reading", path, e);
    let file = fs.open(path, OpenMode::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    if len > MANIFEST_FILE_LEN_MAX {
        return Err(Error::corruption(path, 0, format!("a manifest of {len} bytes")));
    }
    let mut bytes = Vec::new();
    let size = usize::try_from(len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    bytes.try_reserve_exact(size).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    bytes.resize(size, 0);
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    Ok(bytes)
}

/// Removes manifests that were never finished, durably, so that their names can be used (I2).
fn remove_temporaries(fs: &dyn Fs, dir: &Path, entries: &[DirEntry]) -> Result<()> {
    let mut removed = false;
    for entry in entries {
        if entry.is_file && entry.name.to_str().and_then(parse_temporary_name).is_some() {
            let path = dir.join(&entry.name);
            fs.remove_file(&path).map_err(|e| Error::io("removing", &path, e))?;
            removed = true;
        }
    }
    if removed { sync_dir(fs, dir) } else { Ok(()) }
}

/// Writes `state` as the first manifest of a directory that has none, durably.
///
/// # Errors
/// What the file system meets.
pub fn publish_first(fs: Arc<dyn Fs>, dir: &Path, state: &ManifestState) -> Result<()> {
    match publish(&*fs, dir, 1, state, 0) {
        Ok(_) => Ok(()),
        Err(PublishError::Absent(e) | PublishError::Unknown(e)) => Err(e),
    }
}

/// Writes `state` as the first edit of a new file and gives it its final name, durably.
fn publish(
    fs: &dyn Fs,
    dir: &Path,
    number: u64,
    state: &ManifestState,
    last_edit_no: u64,
) -> std::result::Result<Published, PublishError> {
    let temporary = dir.join(temporary_name(number));
    let path = dir.join(manifest_name(number));
    let new = encode_file(state, number, last_edit_no.saturating_add(1))
        .map_err(|e| PublishError::Absent(Error::Internal { what: e.what }))?;
    let absent = |what, path: &Path, e| PublishError::Absent(Error::io(what, path, e));
    let file = write_new(fs, &temporary, &new.bytes).map_err(|e| {
        // Best effort; the next open removes it otherwise.
        let _ = fs.remove_file(&temporary);
        absent("writing", &temporary, e)
    })?;
    if let Err(e) = fs.rename(&temporary, &path) {
        return Err(match fs.exists(&path) {
            Ok(false) => absent("publishing", &path, e),
            Ok(true) | Err(_) => PublishError::Unknown(Error::io("publishing", &path, e)),
        });
    }
    if !planted(Bug::ManifestNameUnsynced) {
        sync_dir(fs, dir).map_err(PublishError::Unknown)?;
    }
    let len = new.bytes.len() as u64;
    let NewFile { seed, crc: last_crc, edit_no: last_edit_no, .. } = new;
    Ok(Published { file, path, number, seed, last_crc, last_edit_no, snapshot_end: len, len })
}

fn encode_file(
    state: &ManifestState,
    number: u64,
    edit_no: u64,
) -> std::result::Result<NewFile, FormatError> {
    let format_version = MANIFEST_FORMAT_VERSION;
    let header = ManifestHeader { format_version, db_uuid: state.uuid(), number };
    let mut bytes = header.encode();
    let (_, seed) = ManifestHeader::decode(&bytes)?;
    let frame = FrameBuilder::begin(&mut bytes);
    state.encode_snapshot(&mut bytes)?;
    let crc = frame.finish(&mut bytes, seed, 0, edit_no)?;
    Ok(NewFile { bytes, seed, crc, edit_no })
}

fn write_new(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = fs.open(path, OpenMode::CreateNew)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    Ok(file)
}

fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<DirEntry>> {
    fs.list(dir).map_err(|e| Error::io("listing", dir, e))
}

fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    fs.sync_dir(dir).map_err(|e| Error::io("syncing the directory", dir, e))
}

#[cfg(test)]
mod tests;
