//! [`PartWriter`]: ordered entries become one part, a list of segments with disjoint keys.
//!
//! Used by merges and by flushes: a segment is finished when it is full, at the next new key.
//!
//! # Invariants
//! 1. All entries of one key are in one segment.
//! 2. Segments are finished (and so synced) in key order. Whoever puts them into the manifest syncs
//!    the directory first.
//! 3. A writer that was not finished leaves no files behind, as far as the system lets it remove
//!    them; what a crash leaves is an orphan and is removed at open.

use crate::cursor::EntrySink;
use crate::error::Result;
use crate::io::Fs;
use crate::segment::{BlockCopy, SegmentWriter, segment_file_name};
use crate::types::{SegmentMeta, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;

/// Writes one part; see the module's documentation. `F` begins the next segment of it.
#[derive(Debug)]
pub struct PartWriter<F> {
    fs: Arc<dyn Fs>,
    /// Where `make_writer` puts the segments.
    dir: PathBuf,
    make_writer: F,
    writer: Option<SegmentWriter>,
    finished: Vec<SegmentMeta>,
    /// The last key taken; empty at first too, which nothing distinguishes from an empty key.
    last_key: Vec<u8>,
    is_full: fn(&SegmentWriter) -> bool,
}

impl<F: FnMut() -> Result<SegmentWriter>> PartWriter<F> {
    /// Writes the segments that `make_writer` begins in `dir`.
    #[must_use]
    pub const fn new(fs: Arc<dyn Fs>, dir: PathBuf, make_writer: F) -> Self {
        Self {
            fs,
            dir,
            make_writer,
            writer: None,
            finished: Vec::new(),
            last_key: Vec::new(),
            is_full: SegmentWriter::is_full,
        }
    }

    /// Has segments finished on another condition than their own, for tests of short ones.
    #[cfg(test)]
    pub(crate) fn set_full(&mut self, is_full: fn(&SegmentWriter) -> bool) {
        self.is_full = is_full;
    }

    /// Whether `key` would be a new one. Asked before a block is copied, as a block can only be
    /// copied behind all keys so far.
    #[must_use]
    pub fn is_new_key(&self, key: &[u8]) -> bool {
        self.writer.is_none() || self.last_key != key
    }

    /// Takes a whole block as it is.
    pub fn copy_block(&mut self, copy: &BlockCopy) -> Result<()> {
        self.writer_for(copy.first_key())?.copy_block(copy)?;
        self.remember(copy.last_key());
        Ok(())
    }

    /// Finishes the part: its segments in key order, none when nothing was taken.
    pub fn finish(mut self) -> Result<Vec<SegmentMeta>> {
        self.finish_segment()?;
        Ok(std::mem::take(&mut self.finished))
    }

    /// The writer that `key` goes to.
    #[inline]
    fn writer_for(&mut self, key: &[u8]) -> Result<&mut SegmentWriter> {
        // I1: only a new key may begin a new segment.
        if self.writer.as_ref().is_some_and(self.is_full) && self.is_new_key(key) {
            self.finish_segment()?;
        }
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert((self.make_writer)()?)),
        }
    }

    fn finish_segment(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.finished.extend(writer.finish()?);
        }
        Ok(())
    }

    #[inline]
    fn remember(&mut self, key: &[u8]) {
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }
}

impl<F: FnMut() -> Result<SegmentWriter>> EntrySink for PartWriter<F> {
    #[inline]
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        self.writer_for(key)?.push(key, val, updates)?;
        self.remember(key);
        Ok(())
    }
}

impl<F> Drop for PartWriter<F> {
    fn drop(&mut self) {
        // I3: after `finish` the list is empty.
        for meta in &self.finished {
            // A failure leaves an orphan for the next open.
            let _ = self.fs.remove_file(&self.dir.join(segment_file_name(meta.id)));
        }
    }
}
