//! [`Source`]: a file that is read in pieces, never more than is asked for or there.

use crate::failure::{Failure, Result};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// An open file.
pub(super) struct Source {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Source {
    /// Opens the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Failure::io("open", path, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{} is not a file", path.display()))
                .hint("give one file of the database"));
        }
        Ok(Self { file, path: path.into(), len: metadata.len() })
    }

    /// Its name, as given.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its length, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Up to `len` bytes at `at`: fewer only where the file ends.
    pub(super) fn read(&mut self, at: u64, len: u64) -> Result<Vec<u8>> {
        let len = len.min(self.len.saturating_sub(at));
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&mut self.file).take(len).read_to_end(&mut bytes))
            .map_err(|error| Failure::io("read", &self.path, &error))?;
        Ok(bytes)
    }
}
