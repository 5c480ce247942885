//! [`Output`]: the file that a segment writer appends to, in large writes.

use crate::error::{Error, Result};
use crate::io::{File, Fs, OpenMode};
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
}

impl Output {
    /// Creates the file, which must not exist.
    pub(super) fn create(fs: &Arc<dyn Fs>, path: PathBuf) -> Result<Self> {
        let file =
            fs.open(&path, OpenMode::CreateNew).map_err(|e| Error::io("creating", &path, e))?;
        let fs = Arc::clone(fs);
        Ok(Self { fs, path, file, buffer: Vec::new(), written: 0, sealed: false })
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
            return self.write(bytes);
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
        self.file.sync().map_err(|e| Error::io("syncing", &self.path, e))?;
        self.sealed = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, self.written)
            .map_err(|e| Error::io("writing", &self.path, e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.sealed {
            // What cannot be removed now is an orphan, and the next open removes it.
            let _ = self.fs.remove_file(&self.path);
        }
    }
}
