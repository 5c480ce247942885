//! [`Merge`]: several parts become one, history below since folded on the way.
//!
//! It runs in steps, so that whoever drives it decides when to pause or to give up. Blocks in which
//! nothing can be folded and with which nothing overlaps are copied as they are.
//!
//! # Which since may be applied
//! Readers see a part through the intervals of the runs that refer to it, so an update must not be
//! advanced out of the interval that shows it: it would vanish, or be shown twice. Each input says
//! how far its updates may go, see [`MergeInput::new`].
//!
//! # Invariants
//! 1. For every `t` at or beyond since, the contents at `t` of the output, read through the interval
//!    that it replaces, are those of the inputs read through their windows.
//! 2. Nothing is written but what is visible through the windows of the inputs.
//! 3. A merge that fails or is given up leaves no files, see [`PartWriter`].

use super::part_writer::PartWriter;
use super::versions::{Floor, VersionSink};
use crate::consolidate::{advance, consolidate};
use crate::cursor::{Cursor, EntrySink};
use crate::error::Result;
use crate::io::Fs;
use crate::planted::{Bug, planted};
use crate::read::merge::MergeCursor;
use crate::read::part::PartCursor;
use crate::segment::{BlockCopy, SegmentWriter};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{Frontier, SegmentMeta, TimeWindow, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;

/// Updates taken in between two looks at the flag to give up.
const STEP_UPDATES: u64 = 1 << 14;

/// What a merge is made of.
#[derive(Debug)]
pub struct MergeInput {
    cursor: PartCursor,
    since: Frontier,
}

impl MergeInput {
    /// The updates that `cursor` shows, advanced to `since`, but not beyond `keep_within`: the
    /// interval that will show the output. For a merge of runs that is their common interval, for a
    /// merge of future parts the window of the cursor itself.
    #[must_use]
    pub fn new(cursor: PartCursor, since: Frontier, keep_within: TimeWindow) -> Self {
        if planted(Bug::AdvancedOutOfInterval) {
            return Self { cursor, since };
        }
        Self { cursor, since: since.min(Frontier::at(keep_within.last)) }
    }
}

/// How far a merge has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeProgress {
    /// Updates read.
    pub updates_read: u64,
    /// Updates written.
    pub updates_written: u64,
    /// Updates that were copied in whole blocks, counted in both of the others too.
    pub updates_copied: u64,
    /// About how many bytes were read.
    pub bytes_read: u64,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeState {
    /// Step again.
    Running,
    /// Everything was read: finish.
    Drained,
}

/// A merge at work; see the module's documentation.
#[derive(Debug)]
pub struct Merge<F> {
    merge: MergeCursor<PartCursor>,
    sinces: Vec<Frontier>,
    output: Output<F>,
    updates: Vec<(Timestamp, i64)>,
    progress: MergeProgress,
    /// What counts against the budget of a step: updates read, and entries that show none.
    work: u64,
    started: bool,
}

impl<F: FnMut() -> Result<SegmentWriter>> Merge<F> {
    /// Merges `inputs` into segments that `make_writer` begins in `dir` of `fs`.
    #[must_use]
    pub fn new(inputs: Vec<MergeInput>, fs: Arc<dyn Fs>, dir: PathBuf, make_writer: F) -> Self {
        let sinces = inputs.iter().map(|input| input.since).collect();
        Self {
            merge: MergeCursor::new(inputs.into_iter().map(|input| input.cursor).collect()),
            sinces,
            output: Output::All(PartWriter::new(fs, dir, make_writer)),
            updates: Vec::new(),
            progress: MergeProgress::default(),
            work: 0,
            started: false,
        }
    }

    /// The same for a table: nothing is folded, but versions that no read at `since` or later needs
    /// are left out.
    #[must_use]
    pub fn of_versions(mut self, since: Frontier, floor: Floor) -> Self {
        self.sinces.fill(Frontier::MIN);
        self.output = match self.output {
            Output::All(part) => Output::Needed(VersionSink::new(part, since, floor)),
            needed @ Output::Needed(_) => needed,
        };
        self
    }

    /// How far the merge has got.
    #[must_use]
    pub const fn progress(&self) -> MergeProgress {
        self.progress
    }

    /// Reads about `updates` further updates and writes what becomes of them.
    pub fn step(&mut self, updates: u64) -> Result<MergeState> {
        if !self.started {
            self.merge.seek_first()?;
            self.started = true;
        }
        let end = self.work.saturating_add(updates);
        while self.work < end {
            self.merge.leave_group()?;
            if !self.copy_block()? && !self.merge_group()? {
                return Ok(MergeState::Drained);
            }
        }
        Ok(MergeState::Running)
    }

    /// Seals the output: its segments in key order, none when everything cancelled out. The caller
    /// syncs the directory before the manifest names them.
    pub fn finish(self) -> Result<Vec<SegmentMeta>> {
        match self.output {
            Output::All(part) => part.finish(),
            Output::Needed(versions) => versions.finish()?.finish(),
        }
    }

    /// Copies the block under the cursor if that can be done.
    #[inline]
    fn copy_block(&mut self) -> Result<bool> {
        match self.merge.current() {
            Some(source) if source.is_at_block_start() => self.copy_block_slow(),
            _ => Ok(false),
        }
    }

    #[cold]
    fn copy_block_slow(&mut self) -> Result<bool> {
        let Some(source) = self.merge.current().filter(|_| !self.merge.has_equal()) else {
            return Ok(false);
        };
        if !self.output.is_new_key(source.key()) {
            return Ok(false);
        }
        let since = self.sinces.get(self.merge.current_index()).copied().unwrap_or(Frontier::MIN);
        let next_other_key = self.merge.runner_up().map(Cursor::key);
        let Some(copy) = source.block_copy(next_other_key, since) else { return Ok(false) };
        if !self.output.copy_block(&copy)? {
            return Ok(false);
        }
        self.work += copy.updates();
        self.progress.updates_read += copy.updates();
        self.progress.updates_written += copy.updates();
        self.progress.updates_copied += copy.updates();
        self.progress.bytes_read += copy.len_bytes();
        self.merge.step_with(PartCursor::skip_block)?;
        Ok(true)
    }

    /// Reads the next group of equal entries and writes what is left of it; false at the end.
    #[inline]
    fn merge_group(&mut self) -> Result<bool> {
        let Self { merge, sinces, updates, progress, work, .. } = self;
        updates.clear();
        let mut read = 0;
        let mut fold_at = FOLD_UPDATES;
        let more = merge.next_group(|index, source| {
            let before = updates.len();
            source.updates(updates);
            if let (Some(new), Some(since)) = (updates.get_mut(before..), sinces.get(index)) {
                let late = since.ts().filter(|_| planted(Bug::AdvancedBeyondSince));
                advance(new, late.map_or(*since, Frontier::just_beyond));
                read += new.len();
            }
            if updates.len() >= fold_at {
                consolidate(updates);
                fold_at = FOLD_UPDATES.max(2 * updates.len());
            }
        })?;
        if !more {
            return Ok(false);
        }
        let (key, val) = (merge.key(), merge.val());
        *work += read.max(1) as u64;
        progress.updates_read += read as u64;
        progress.bytes_read += (key.len() + val.len() + read * UPDATE_LEN) as u64;
        consolidate(updates);
        if !updates.is_empty() {
            progress.updates_written += updates.len() as u64;
            self.output.push(key, val, updates)?;
        }
        Ok(true)
    }
}

/// Where what is left goes.
#[derive(Debug)]
enum Output<F> {
    /// All of it.
    All(PartWriter<F>),
    /// The versions of a table that are needed.
    Needed(VersionSink<PartWriter<F>>),
}

impl<F: FnMut() -> Result<SegmentWriter>> Output<F> {
    fn is_new_key(&self, key: &[u8]) -> bool {
        match self {
            Self::All(part) => part.is_new_key(key),
            Self::Needed(versions) => versions.is_new_key(key),
        }
    }

    /// Takes a whole block, unless it may hold versions that are not needed.
    fn copy_block(&mut self, copy: &BlockCopy) -> Result<bool> {
        match self {
            Self::All(part) => part.copy_block(copy)?,
            Self::Needed(versions) => {
                if !copy.is_one_version_a_key(versions.floor() == Floor::Nothing) {
                    return Ok(false);
                }
                versions.between_keys()?.copy_block(copy)?;
            }
        }
        Ok(true)
    }

    #[inline]
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        match self {
            Self::All(part) => part.push(key, val, updates),
            Self::Needed(versions) => versions.push(key, val, updates),
        }
    }
}

/// A long list of updates is folded now and then while it is gathered, first at this length.
const FOLD_UPDATES: usize = 1 << 16;

/// What an update is taken to weigh beside its key and value.
const UPDATE_LEN: usize = 16;

/// Runs a whole merge and tells `advanced` about the bytes read since it was told last. `None` when
/// `cancel` was raised meanwhile.
pub fn run<F: FnMut() -> Result<SegmentWriter>>(
    mut merge: Merge<F>,
    cancel: &AtomicBool,
    advanced: &mut dyn FnMut(u64),
) -> Result<Option<Vec<SegmentMeta>>> {
    loop {
        // Relaxed: the flag carries no data.
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let before = merge.progress().bytes_read;
        let state = merge.step(STEP_UPDATES)?;
        advanced(merge.progress().bytes_read - before);
        if state == MergeState::Drained {
            return merge.finish().map(Some);
        }
    }
}

#[cfg(test)]
mod tests;
