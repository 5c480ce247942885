//! The only layer that touches the operating system: files, clock and threads, all injected.
//!
//! [`Fs`] has a real implementation ([`OsFs`]) and an in-memory one ([`MemFs`]) that keeps what was
//! written apart from what would survive a power cut. Everything above takes an [`Env`].
//!
//! Calls that differ between platforms sit in one file, `platform.rs`; `portable.rs` does the same on
//! std alone and is built and tested beside it.

mod clock;
mod lock;
mod memory;
mod mmap;
mod os;
#[cfg(all(unix, feature = "platform"))]
mod platform;
mod portable;
mod threads;

#[cfg(test)]
mod tests;

pub use clock::{ManualClock, OsClock};
pub use lock::LockOwner;
pub use memory::{CrashPlan, Fault, FaultOp, MemFs, OpCounts};
pub use os::OsFs;
#[cfg(datestone_shuttle)]
pub use threads::ShuttleThreads;
pub use threads::{NoThreads, OsThreads};

use crate::config::Access;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    ReadWrite,
    /// Reading and writing a file that must not exist yet.
    CreateNew,
}

/// A file system. Paths are used as given; nothing follows a symbolic link out of the database.
///
/// A change of a directory (create, rename, link, remove) is durable only after [`Fs::sync_dir`] of that
/// directory; a change of a file's content or length only after [`File::sync`].
pub trait Fs: Send + Sync + Debug + 'static {
    /// Creates one directory, whose parent exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a regular file. A symbolic link at `path` is refused.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Gives `from` the name `to`, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives `from` the further name `to`, which must be free.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether something has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The whole content of a sealed file (one that is never written again), mapped where possible.
    fn map(&self, path: &Path) -> io::Result<bytes::Bytes>;
    /// Takes the lock file at `path`, creating it if need be, and writes `owner` into it. `Err` of
    /// kind [`io::ErrorKind::WouldBlock`] when somebody else has it; then
    /// [`Fs::read_lock`] tells who. Released by dropping.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Send + Sync>>;
    /// What the holder of the lock file wrote into it.
    fn read_lock(&self, path: &Path) -> io::Result<String>;
    /// Free bytes on the device for an ordinary user, `None` when unknown.
    fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>>;
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: std::ffi::OsString,
    /// Length in bytes (0 for what is not a regular file).
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// An open file; all access is positioned, so that it may be shared between threads.
pub trait File: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; 0 only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf` at `offset`, extending the file if need be.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or zero-extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads exactly `buf.len()` bytes at `offset`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = buf.get_mut(n..).ok_or(io::ErrorKind::InvalidData)?;
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Time and chance.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Time since an arbitrary fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Seconds since 1970, for people only: nothing is decided by it.
    fn unix_seconds(&self) -> u64;
    /// Lets the calling thread pause.
    fn sleep(&self, how_long: Duration);
    /// A number that other databases do not have, for identifiers.
    fn random_u64(&self) -> u64;
}

/// A thread that can be waited for.
pub trait JoinHandle: Send {
    /// Waits for the thread's end; `Err` when it panicked.
    fn join(self: Box<Self>) -> std::thread::Result<()>;
}

/// Where background threads come from.
pub trait Threads: Send + Sync + Debug + 'static {
    /// Starts a thread.
    fn spawn(
        &self,
        name: &str,
        work: Box<dyn FnOnce() + Send + 'static>,
    ) -> io::Result<Box<dyn JoinHandle>>;
}

/// Everything that the engine takes from outside.
#[derive(Clone, Debug)]
pub struct Env {
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Background threads.
    pub threads: Arc<dyn Threads>,
}

impl Env {
    /// The operating system's files, clock and threads.
    #[must_use]
    pub fn os() -> Self {
        Self::os_readable_by(Access::Owner)
    }

    /// The same, but what is created may be read by others too.
    #[must_use]
    pub fn os_readable_by(access: Access) -> Self {
        let fs = Arc::new(OsFs::new().readable_by(access));
        Self { fs, clock: Arc::new(OsClock), threads: Arc::new(OsThreads) }
    }

    /// Everything in memory, for tests that repeat exactly: the files of `fs`, its clock, which moves
    /// by hand ([`MemFs::clock`]), and no threads, so that background steps are run by the caller.
    #[must_use]
    pub fn memory(fs: MemFs) -> Self {
        Self { clock: Arc::new(fs.clock().clone()), fs: Arc::new(fs), threads: Arc::new(NoThreads) }
    }
}
