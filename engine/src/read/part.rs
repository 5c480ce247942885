//! [`PartCursor`]: the segments of one part, which follow each other in key order, as one source.
//!
//! A segment is opened for reading only when the cursor gets there, and let go of when it leaves.
//!
//! # Invariants
//! 1. While the cursor is valid, it stands in segment `index`. `current` may lag behind only while
//!    the cursor is invalid.
//! 2. The last key of a segment is below the first key of the next one. The manifest says so; it is
//!    checked whenever the cursor goes from one to the other.
//! 3. After an error the cursor is invalid and every later move returns the same error.

use super::merge::Direction;
use crate::cursor::{Cursor, PlainRows};
use crate::error::{Error, Result, display_bytes};
use crate::planted::{Bug, planted};
use crate::segment::{BlockCopy, Segment, SegmentCursor};
use crate::types::{Frontier, TimeWindow, Timestamp};
use std::sync::Arc;

/// Walks over a part, seeing the updates in a window of times; see the module's documentation.
#[derive(Debug)]
pub struct PartCursor {
    segments: Arc<[Arc<Segment>]>,
    window: TimeWindow,
    index: usize,
    current: Option<SegmentCursor>,
    error: Option<Error>,
}

impl PartCursor {
    /// A cursor over `segments`, in key order; it stands nowhere until the first seek.
    #[must_use]
    pub const fn new(segments: Arc<[Arc<Segment>]>, window: TimeWindow) -> Self {
        Self { segments, window, index: 0, current: None, error: None }
    }

    /// Whether a merge should ask for [`PartCursor::block_copy`] here: the cursor stands on the
    /// first entry of a block.
    #[inline]
    #[must_use]
    pub fn is_at_block_start(&self) -> bool {
        self.current.as_ref().is_some_and(SegmentCursor::is_at_block_start)
    }

    /// The block under the cursor for copying as it is; see [`SegmentCursor::block_copy`].
    #[must_use]
    pub fn block_copy(&self, next_other_key: Option<&[u8]>, since: Frontier) -> Option<BlockCopy> {
        self.current.as_ref()?.block_copy(next_other_key, since)
    }

    /// To the first entry behind the block under the cursor.
    pub fn skip_block(&mut self) -> Result<()> {
        self.step(Direction::Forward, SegmentCursor::skip_block)
    }

    /// Moves within the segment, and on to its neighbours when it ends there.
    #[inline]
    fn step(
        &mut self,
        direction: Direction,
        advance: impl FnOnce(&mut SegmentCursor) -> Result<()>,
    ) -> Result<()> {
        match &mut self.current {
            Some(cursor) if cursor.valid() => {
                if let Err(error) = advance(cursor) {
                    return self.fail(error);
                }
                if cursor.valid() { Ok(()) } else { self.cross(direction) }
            }
            _ => self.stay(),
        }
    }

    /// From the end of a segment to the next one in `direction` that shows anything.
    #[cold]
    fn cross(&mut self, direction: Direction) -> Result<()> {
        self.run(|this| {
            while let Some(next) = this.neighbour(direction)? {
                this.enter(next, |cursor| match direction {
                    Direction::Forward => cursor.seek_first(),
                    Direction::Reverse if planted(Bug::ReverseCrossesWrong) => cursor.seek_first(),
                    Direction::Reverse => cursor.seek_last(),
                })?;
                if this.valid() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The segment next to the current one, order checked (I2).
    fn neighbour(&self, direction: Direction) -> Result<Option<usize>> {
        let next = match direction {
            Direction::Forward => self.index.checked_add(1),
            Direction::Reverse => self.index.checked_sub(1),
        };
        let Some(next) = next.filter(|next| *next < self.segments.len()) else {
            return Ok(None);
        };
        let (lower, upper) =
            (&self.segments[self.index.min(next)], &self.segments[self.index.max(next)]);
        if lower.stats()?.max_key >= upper.stats()?.min_key {
            let first = display_bytes(&upper.stats()?.min_key);
            let what =
                format!("first key {first} is not above the keys of {}", lower.path().display());
            return Err(Error::corruption(upper.path(), 0, what));
        }
        Ok(Some(next))
    }

    /// Lets `seek` place a cursor in segment `index`, keeping the present cursor if it is there.
    fn enter(
        &mut self,
        index: usize,
        seek: impl FnOnce(&mut SegmentCursor) -> Result<()>,
    ) -> Result<()> {
        let Some(segment) = self.segments.get(index) else {
            self.current = None;
            return Ok(());
        };
        if self.index != index {
            self.current = None;
        }
        self.index = index;
        seek(self.current.get_or_insert_with(|| segment.cursor(self.window)))
    }

    /// Count of the segments that lie wholly below `key`.
    fn segments_below(&self, key: &[u8]) -> Result<usize> {
        if self.segments.len() < 2 {
            return Ok(0); // One segment finds out by itself, from its index.
        }
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let mid = low.midpoint(high);
            if self.segments[mid].stats()?.max_key.as_slice() < key {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        Ok(low)
    }

    /// Runs a move; an error makes the cursor invalid for good (I3).
    #[inline]
    fn run(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.error.is_some() {
            return self.stay();
        }
        match work(self) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error),
        }
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Result<()> {
        self.current = None;
        self.error = Some(error);
        self.stay()
    }

    #[cold]
    fn stay(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl Cursor for PartCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.current.as_ref().is_some_and(SegmentCursor::valid)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], SegmentCursor::key)
    }

    #[inline]
    fn val(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], SegmentCursor::val)
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        self.current.as_ref().map_or((&[], &[]), SegmentCursor::entry)
    }

    #[inline]
    fn updates(&self, out: &mut Vec<(Timestamp, i64)>) {
        if let Some(cursor) = &self.current {
            cursor.updates(out);
        }
    }

    #[inline]
    fn sum(&self) -> i128 {
        self.current.as_ref().map_or(0, SegmentCursor::sum)
    }

    #[inline]
    fn may_repeat(&self) -> bool {
        self.current.as_ref().is_some_and(SegmentCursor::may_repeat)
    }

    #[inline]
    fn take_plain(&mut self, end: Option<&[u8]>) -> Option<PlainRows> {
        self.current.as_mut().and_then(|cursor| cursor.take_plain(end))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.current
            && cursor.next_in_block()
        {
            return Ok(());
        }
        self.step(Direction::Forward, SegmentCursor::next)
    }

    #[inline]
    fn leave_key(&mut self) -> Result<()> {
        self.step(Direction::Forward, SegmentCursor::leave_key)
    }

    #[inline]
    fn next_in_window(&mut self) -> Result<()> {
        self.step(Direction::Forward, SegmentCursor::next_in_window)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        self.step(Direction::Reverse, SegmentCursor::prev)
    }

    fn seek_first(&mut self) -> Result<()> {
        self.run(|this| {
            this.enter(0, SegmentCursor::seek_first)?;
            if this.valid() { Ok(()) } else { this.cross(Direction::Forward) }
        })
    }

    fn seek_last(&mut self) -> Result<()> {
        self.run(|this| {
            this.enter(this.segments.len().saturating_sub(1), SegmentCursor::seek_last)?;
            if this.valid() { Ok(()) } else { this.cross(Direction::Reverse) }
        })
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.run(|this| {
            let index = this.segments_below(key)?;
            this.enter(index, |cursor| cursor.seek(key))?;
            if this.valid() || this.current.is_none() {
                return Ok(());
            }
            this.cross(Direction::Forward)
        })
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.run(|this| {
            // The key before is in the first segment that reaches `key`, or in the one before that.
            let last = this.segments.len().saturating_sub(1);
            let index = this.segments_below(key)?.min(last);
            this.enter(index, |cursor| cursor.seek_before(key))?;
            if this.valid() || this.current.is_none() {
                return Ok(());
            }
            this.cross(Direction::Reverse)
        })
    }
}

#[cfg(test)]
mod tests;
