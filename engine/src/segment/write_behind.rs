//! [`WriteBehind`]: a thread that writes a file from its end on while somebody else goes on working.
//!
//! # Invariants
//! 1. Buffers are written in the order in which they were given, without gaps.
//! 2. After the first failure nothing more is written, and `finish` returns that failure; no sync is
//!    repeated after it.
//! 3. At most `BUFFERS_MAX` buffers wait.

use crate::io::{File, JoinHandle, Threads};
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, Sender, bounded};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Buffers that may wait for the thread.
const BUFFERS_MAX: usize = 4;
/// Bytes after which the thread syncs, so that the last sync has little to do.
const SYNC_LEN: usize = 16 << 20;

/// A thread that appends to a file.
pub(super) struct WriteBehind {
    full: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    failure: Arc<Mutex<Option<io::Error>>>,
    thread: Box<dyn JoinHandle>,
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").finish_non_exhaustive()
    }
}

impl WriteBehind {
    /// Starts a thread that writes `file` from offset `at` on.
    pub(super) fn start(threads: &dyn Threads, file: Arc<dyn File>, at: u64) -> io::Result<Self> {
        let (full, to_write) = bounded(BUFFERS_MAX);
        let (written, empty) = bounded(BUFFERS_MAX);
        let failure = Arc::new(Mutex::new(None));
        let outcome = Arc::clone(&failure);
        let work = move || {
            if let Err(e) = write_all(&*file, at, &to_write, &written) {
                *outcome.lock() = Some(e);
            }
        };
        let thread = threads.spawn("datestone-write", Box::new(work))?;
        Ok(Self { full, empty, failure, thread })
    }

    /// Hands the content of `buffer` over and puts an empty one in its place. Waits when too much
    /// is on its way.
    pub(super) fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let fresh = self.empty.try_recv().unwrap_or_default();
        let content = std::mem::replace(buffer, fresh);
        // The thread ends early only because it failed, which `finish` tells.
        self.full.send(content).map_err(|_| self.take_failure())
    }

    /// Waits until everything is written; not all of it is synced.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { full, empty: _, failure, thread } = self;
        drop(full);
        if thread.join().is_err() {
            return Err(io::Error::other("the writing thread panicked"));
        }
        failure.lock().take().map_or(Ok(()), Err)
    }

    fn take_failure(&self) -> io::Error {
        // The channel closes just before the failure is stored, at worst.
        let known = self.failure.lock().as_ref().map(io::Error::kind);
        known.map_or_else(|| io::Error::other("the writing thread has failed"), io::Error::from)
    }
}

fn write_all(
    file: &dyn File,
    mut at: u64,
    to_write: &Receiver<Vec<u8>>,
    written: &Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut unsynced = 0;
    for mut buffer in to_write {
        file.write_all_at(&buffer, at)?;
        at += buffer.len() as u64;
        unsynced += buffer.len();
        if unsynced >= SYNC_LEN {
            file.sync()?;
            unsynced = 0;
        }
        buffer.clear();
        // Nobody may want it back any more.
        let _ = written.try_send(buffer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Goal: what is written behind is what was given, and a failure is told. Method: the in-memory
    //! file system with a real thread.

    use super::*;
    use crate::io::{FaultOp, Fs as _, MemFs, OpenMode, OsThreads};
    use std::path::Path;

    fn start(fs: &MemFs) -> WriteBehind {
        let file = fs.open(Path::new("/file"), OpenMode::CreateNew).unwrap();
        WriteBehind::start(&OsThreads, file, 3).unwrap()
    }

    #[test]
    fn buffers_follow_each_other() {
        let fs = MemFs::new();
        let mut behind = start(&fs);
        let mut expected = vec![0; 3];
        for n in 0..50_u8 {
            let mut buffer = vec![n; usize::from(n) * 7];
            expected.extend_from_slice(&buffer);
            behind.write(&mut buffer).unwrap();
            assert!(buffer.is_empty());
        }
        behind.finish().unwrap();
        assert_eq!(fs.read_file(Path::new("/file")).unwrap(), expected);
    }

    #[test]
    fn the_first_failure_is_told() {
        let fs = MemFs::new();
        let mut behind = start(&fs);
        fs.fail_nth(FaultOp::Write, 2, io::ErrorKind::StorageFull);
        let mut failed = None;
        for n in 0..50_u8 {
            if let Err(e) = behind.write(&mut vec![n; 10]) {
                failed = Some(e);
                break;
            }
        }
        let finished = behind.finish();
        assert!(failed.is_some() || finished.is_err());
        if let Err(e) = finished {
            assert_eq!(e.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(fs.read_file(Path::new("/file")).unwrap().len(), 3 + 10 + 5);
    }
}
