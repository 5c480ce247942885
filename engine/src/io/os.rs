//! The real file system: std, with the calls that std lacks picked from [`super::platform`] or, where
//! that is not built, from [`super::portable`].
//!
//! # Invariants
//! 1. No file is opened through a symbolic link, and only regular files are opened.
//! 2. `Ok` of [`File::sync`] and [`Fs::sync_dir`] means that the system has reported the bytes, resp.
//!    names, as durable; an error is passed on and never tried again here.
//!
//! # Crash behaviour
//! As the operating system's: what was not synced may be there in part.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::config::Access;

use super::lock::{LOCK_TEXT_LEN_MAX, OsLock};
use super::{DirEntry, File, Fs, OpenMode};

/// What differs between platforms.
#[derive(Clone, Copy)]
pub(super) struct Calls {
    /// Opens a regular file, refusing a symbolic link.
    pub(super) open: fn(&Path, OpenMode, Access) -> io::Result<std::fs::File>,
    /// Opens or creates the lock file without changing its content, refusing a symbolic link.
    pub(super) open_lock: fn(&Path, Access) -> io::Result<std::fs::File>,
    /// Free bytes for an ordinary user.
    pub(super) free_bytes: fn(&Path) -> io::Result<Option<u64>>,
    /// The host's name; empty when unknown.
    pub(super) host: fn() -> String,
}

/// The calls that this build prefers.
#[cfg(all(unix, feature = "platform"))]
pub(super) const BEST_CALLS: Calls = super::platform::CALLS;
/// The calls that this build prefers.
#[cfg(not(all(unix, feature = "platform")))]
pub(super) const BEST_CALLS: Calls = super::portable::CALLS;

/// The file system of the operating system.
#[derive(Clone)]
pub struct OsFs {
    calls: Calls,
    access: Access,
}

impl OsFs {
    /// With the platform's own calls where this build has them.
    #[must_use]
    pub const fn new() -> Self {
        Self { calls: BEST_CALLS, access: Access::Owner }
    }

    /// With std alone, as on a platform that datestone does not know.
    #[must_use]
    pub const fn portable() -> Self {
        Self { calls: super::portable::CALLS, access: Access::Owner }
    }

    /// The same, but what is created may be read by others too.
    #[must_use]
    pub const fn readable_by(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

impl Default for OsFs {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for OsFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OsFs")
    }
}

impl Fs for OsFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        create_dir(path, self.access)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile { file: (self.calls.open)(path, mode, self.access)? }))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that touches files")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that touches files")]
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // The metadata of the entry itself, not of what a symbolic link points to.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the directory was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let is_file = metadata.is_file();
            let len = if is_file { metadata.len() } else { 0 };
            entries.push(DirEntry { name: entry.file_name(), len, is_file });
        }
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match std::fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn map(&self, path: &Path) -> io::Result<bytes::Bytes> {
        super::mmap::map((self.calls.open)(path, OpenMode::Read, self.access)?)
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut file = (self.calls.open_lock)(path, self.access)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(std::fs::TryLockError::Error(e)) => return Err(e),
        }
        // Only the holder changes the content. It is for people, so it need not be durable.
        file.set_len(0)?;
        file.write_all(owner.as_bytes())?;
        Ok(Box::new(OsLock::new(file)))
    }

    fn read_lock(&self, path: &Path) -> io::Result<String> {
        let file = (self.calls.open)(path, OpenMode::Read, self.access)?;
        let mut text = Vec::new();
        file.take(LOCK_TEXT_LEN_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        (self.calls.free_bytes)(path)
    }
}

/// Creates a directory.
#[cfg(unix)]
fn create_dir(path: &Path, access: Access) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(access.dir_mode()).create(path)
}

/// Creates a directory.
#[cfg(not(unix))]
fn create_dir(path: &Path, _: Access) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Makes a directory's entries durable. Windows has no such call: its file systems write names
/// through their journal in order.
#[cfg(not(windows))]
#[expect(clippy::disallowed_methods, reason = "this is the layer that touches files")]
fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// Makes a directory's entries durable. Windows has no such call: its file systems write names
/// through their journal in order.
#[cfg(windows)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::metadata(dir).map(drop)
}

/// What is said of a path that must be a regular file and is not.
pub(super) fn not_a_regular_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file; symbolic links are not followed",
    )
}

/// An open file of the operating system.
#[derive(Debug)]
struct OsFile {
    file: std::fs::File,
}

impl File for OsFile {
    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, offset)
    }

    #[cfg(unix)]
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, buf, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buf, offset)
    }

    #[cfg(windows)]
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.file, buf, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = buf.get(n..).ok_or(io::ErrorKind::InvalidData)?;
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that touches files")]
    fn sync(&self) -> io::Result<()> {
        // fdatasync where it exists, F_FULLFSYNC on Apple systems.
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
