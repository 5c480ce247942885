//! [`MemCursor`]: one sorted run of a memtable as a [`Cursor`].

use super::arena::Entry;
use super::sorted::SortedRun;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::sync::Arc;
use crate::types::{TimeWindow, Timestamp};

/// How many rows ahead the processor is told what will be read: the rows of a run lie anywhere in
/// the arena.
const PREFETCH_ROWS: usize = 8;

/// Reads a sorted run in order, the updates in a window of times. Owns what it reads, blocks nobody
/// and never fails.
///
/// # Invariants
/// 1. The rows `start..end` of the run are all its rows with one (key, val), so the entry is whole
///    and its neighbours differ. `start == end` means invalid.
#[derive(Clone, Debug)]
pub struct MemCursor {
    run: Arc<SortedRun>,
    window: TimeWindow,
    /// Rows that are read: all, or none when no time of the run is in the window.
    count: usize,
    start: usize,
    end: usize,
}

impl MemCursor {
    /// A cursor over `run`; it stands nowhere until the first seek.
    #[must_use]
    pub fn new(run: Arc<SortedRun>, window: TimeWindow) -> Self {
        let count = run.times().intersect(window).map_or(0, |_| run.count());
        Self { run, window, count, start: 0, end: 0 }
    }

    fn row(&self) -> Option<Entry<'_>> {
        debug_assert!(self.valid(), "read only where the cursor is valid");
        self.valid().then(|| self.run.get(self.start)).flatten()
    }

    /// The rows of the entry in the window.
    fn rows(&self) -> impl Iterator<Item = Entry<'_>> {
        debug_assert!(self.valid(), "read only where the cursor is valid");
        let rows = (self.start..self.end).filter_map(|index| self.run.get(index));
        rows.filter(|row| self.window.contains(row.ts()))
    }

    /// To the entry whose first row is at `start`.
    fn stand_from(&mut self, start: usize) {
        self.start = start;
        self.end = start;
        if start < self.count {
            self.end += 1;
            while self.end < self.count && self.run.is_same_row(start, self.end) {
                self.end += 1;
            }
        }
    }

    /// To the entry whose last row is before `end`.
    fn stand_before(&mut self, end: usize) {
        self.start = end;
        self.end = end;
        if end > 0 {
            self.start -= 1;
            while self.start > 0 && self.run.is_same_row(self.start - 1, self.start) {
                self.start -= 1;
            }
        }
    }

    /// Count of the rows that are read with keys before `key`.
    fn count_before(&self, key: &[u8]) -> usize {
        if self.count == 0 { 0 } else { self.run.count_before(key) }
    }
}

impl Cursor for MemCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.start < self.end
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.row().map_or(&[], |row| row.key)
    }

    #[inline]
    fn val(&self) -> &[u8] {
        self.row().map_or(&[], |row| row.val)
    }

    fn updates(&self, out: &mut Vec<(Timestamp, i64)>) {
        out.extend(self.rows().map(|row| (row.ts(), row.diff())));
    }

    #[inline]
    fn sum(&self) -> i128 {
        self.rows().map(|row| i128::from(row.diff())).sum()
    }

    fn may_repeat(&self) -> bool {
        false
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.valid() {
            self.run.prefetch(self.end + PREFETCH_ROWS);
            self.stand_from(self.end);
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if self.valid() {
            self.run.prefetch(self.start.saturating_sub(PREFETCH_ROWS));
            self.stand_before(self.start);
        }
        Ok(())
    }

    fn seek_first(&mut self) -> Result<()> {
        self.stand_from(0);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_before(self.count);
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.stand_from(self.count_before(key));
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.stand_before(self.count_before(key));
        Ok(())
    }
}
