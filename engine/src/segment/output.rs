//! [`Output`]: the file that a segment writer appends to, in large writes.
//!
//! Where it may have a thread, it writes and syncs behind the back of whoever encodes, so that a
//! merge waits for the device only at its end.

use super::write_behind::WriteBehind;
use crate::error::{Error, Result};
use crate::io::{File, Fs, OpenMode, Threads};
use crate::planted::{Bug, planted};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes gathered before they are given to the file.
const WRITE_LEN: usize = 1 << 20;

/// A new file that is removed again when it is dropped before it was sealed.
#[derive(Debug)]
pub(super) struct Output {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Not yet given to the file; belongs at `written`.
    buffer: Vec<u8>,
    written: u64,
    sealed: bool,
    /// Where the thread that writes comes from, if there may be one.
    threads: Option<Arc<dyn Threads>>,
    behind: Option<WriteBehind>,
}

impl Output {
    /// Creates the file, which must not exist.
    pub(super) fn create(fs: &Arc<dyn Fs>, path: PathBuf) -> Result<Self> {
        let file =
            fs.open(&path, OpenMode::CreateNew).map_err(|e| Error::io("creating", &path, e))?;
        let fs = Arc::clone(fs);
        let (threads, behind) = (None, None);
        Ok(Self { fs, path, file, buffer: Vec::new(), written: 0, sealed: false, threads, behind })
    }

    /// Lets a thread write, once there is enough to be worth one.
    pub(super) fn set_threads(&mut self, threads: Arc<dyn Threads>) {
        self.threads = Some(threads);
    }

    /// Where the next byte goes.
    pub(super) const fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > WRITE_LEN {
            self.flush()?;
        }
        if bytes.len() >= WRITE_LEN {
            self.buffer.extend_from_slice(bytes);
            return self.flush();
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends zeros up to a multiple of `unit`.
    pub(super) fn align(&mut self, unit: u64) {
        let padding = self.position().next_multiple_of(unit) - self.position();
        self.buffer.extend((0..padding).map(|_| 0));
    }

    /// Writes what is left and syncs the file, which stays from then on.
    pub(super) fn seal(&mut self) -> Result<()> {
        self.flush()?;
        if let Some(behind) = self.behind.take() {
            behind.finish().map_err(|e| Error::io("writing", &self.path, e))?;
        }
        if !planted(Bug::SegmentSyncSkipped) {
            self.file.sync().map_err(|e| Error::io("syncing", &self.path, e))?;
        }
        self.sealed = true;
        Ok(())
    }

    /// Gives the buffer to the file, or to the thread that writes it.
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.behind.is_none()
            && let Some(threads) =
                self.threads.as_deref().filter(|_| self.buffer.len() >= WRITE_LEN / 2)
        {
            // Without a thread it is written here.
            self.behind = WriteBehind::start(threads, Arc::clone(&self.file), self.written).ok();
            self.threads = None;
        }
        let len = self.buffer.len() as u64;
        let result = match &mut self.behind {
            Some(behind) => behind.write(&mut self.buffer),
            None => self.file.write_all_at(&self.buffer, self.written),
        };
        self.buffer.clear();
        self.written += len;
        result.map_err(|e| Error::io("writing", &self.path, e))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.sealed {
            if let Some(behind) = self.behind.take() {
                // The file is removed: how its writing went is of no interest.
                let _ = behind.finish();
            }
            // What cannot be removed now is an orphan, and the next open removes it.
            let _ = self.fs.remove_file(&self.path);
        }
    }
}
