//! Open files and held locks of [`super::MemFs`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::directory::Node;
use super::{FaultOp, State};
use crate::io::File;
use crate::sync::Mutex;

/// An open file.
pub(super) struct MemFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) node: Node,
    /// What it was opened as.
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

impl std::fmt::Debug for MemFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemFile").field(&self.path).finish()
    }
}

impl MemFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file was opened for reading"))
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // The state stays locked, so that a crash sees one moment of all files.
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Read, &self.path)?;
        Ok(self.node.lock().read_at(buf, offset))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state.lock();
        state.watch.counts.written_bytes += buf.len() as u64;
        let outcome = state.watch.before(FaultOp::Write, &self.path);
        let free = state.free_bytes();
        let mut image = self.node.lock();
        if let Err(e) = outcome {
            image.write_at(&buf[..buf.len() / 2], offset)?;
            return Err(e);
        }
        let fits = match free {
            None => buf.len() as u64,
            Some(free) => (image.live().len() as u64 + free).saturating_sub(offset),
        };
        // A full device takes what fits.
        match usize::try_from(fits).ok().and_then(|fits| buf.split_at_checked(fits)) {
            Some((head, rest)) if !rest.is_empty() => {
                image.write_at(head, offset)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => image.write_at(buf, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let outcome = state.watch.before(FaultOp::Sync, &self.path);
        let mut image = self.node.lock();
        match outcome {
            Ok(()) => image.sync(),
            Err(_) => image.fail_sync(),
        }
        outcome
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.node.lock().live().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::SetLen, &self.path)?;
        let free = state.free_bytes();
        let mut image = self.node.lock();
        let growth = len.saturating_sub(image.live().len() as u64);
        if free.is_some_and(|free| growth > free) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.set_len(len)
    }
}

/// A held lock file.
pub(super) struct MemLock {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) path: PathBuf,
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.state.lock().locked.remove(&self.path);
    }
}
