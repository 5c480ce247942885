//! [`SegmentCursor`]: walks the entries of one segment in both directions.
//!
//! Keys and values are slices of the block where it lies; a key is put together in a buffer only
//! when its block has a prefix. Blocks without a time in the window are passed by without being
//! touched.
//!
//! # Invariants
//! 1. While the cursor is valid, `bytes` and `shape` are those of block `block`, `entry` is one of
//!    the entries `entries` of key `key`, and `key_range` and `val_range` are theirs.
//! 2. While it is invalid, both ranges are empty and `plain_left` is 0.
//! 3. `plain_left` keys of the block follow the current one, each a stride behind the one before;
//!    it may be 0 though they do.

use super::{BlockCopy, Segment};
use crate::cursor::{Cursor, PlainRows};
use crate::error::{Error, Result};
use crate::format::block::BlockShape;
use crate::format::column::slice_at;
use crate::limits::BLOCK_LEN_TARGET;
use crate::prefetch::prefetch_ahead;
use crate::types::{Frontier, TimeWindow, Timestamp};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// A smaller block is not copied as it is, so that merges do not leave ever smaller ones.
const COPY_LEN_MIN: usize = BLOCK_LEN_TARGET / 4;

/// Walks the entries of one segment; see [`Cursor`] for the contract.
#[derive(Debug)]
pub struct SegmentCursor {
    // The block's bytes before the segment: a map must be let go of before its file is removed.
    bytes: Bytes,
    shape: BlockShape,
    valid: bool,
    /// Whether the window holds every time of the block.
    covered: bool,
    /// Whether the block is one of [`BlockShape::is_plain`].
    plain: bool,
    /// Keys behind the current one of a plain block; 0 in others.
    plain_left: u32,
    /// Whether every entry of the block counts once: one update, of diff one, in the window.
    ones: bool,
    repeats: bool,
    key: u32,
    entry: u32,
    entries: Range<u32>,
    key_range: Range<usize>,
    val_range: Range<usize>,
    /// The current key when the block has a prefix.
    key_buffer: Vec<u8>,
    block: usize,
    window: TimeWindow,
    error: Option<Error>,
    segment: Arc<Segment>,
}

/// Where to stand in a block that is entered.
#[derive(Clone, Copy)]
enum Side {
    First,
    Last,
}

impl SegmentCursor {
    pub(super) fn new(segment: Arc<Segment>, window: TimeWindow) -> Self {
        Self {
            bytes: Bytes::new(),
            shape: BlockShape::default(),
            valid: false,
            covered: false,
            plain: false,
            plain_left: 0,
            ones: false,
            repeats: false,
            key: 0,
            entry: 0,
            entries: 0..0,
            key_range: 0..0,
            val_range: 0..0,
            key_buffer: Vec::new(),
            block: 0,
            window,
            error: None,
            segment,
        }
    }

    /// The segment.
    #[must_use]
    pub const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether the cursor stands on the first entry of a block: where a merge asks for
    /// [`SegmentCursor::block_copy`].
    #[inline]
    #[must_use]
    pub fn is_at_block_start(&self) -> bool {
        self.valid && self.entry == 0
    }

    /// The block under the cursor as something that a merge may take over as it is: `Some` when the
    /// cursor stands on its first entry, the window holds all its times, nothing in it can
    /// consolidate, its keys are in no other block, and its last key is below `next_other_key`, the
    /// least key of what it is merged with. A single update is never garbage at any `since`.
    #[must_use]
    pub fn block_copy(&self, next_other_key: Option<&[u8]>, since: Frontier) -> Option<BlockCopy> {
        let _ = since;
        if !self.valid || self.entry != 0 || !self.covered || self.repeats {
            return None;
        }
        let blocks = self.segment.blocks().ok()?;
        let (index, shape, next) = (&blocks.index, &self.shape, self.block + 1);
        if shape.entries() != shape.updates()
            || self.bytes.len() < COPY_LEN_MIN
            || index.continues(self.block)
            || index.continues(next)
        {
            return None;
        }
        let last_key = shape.key_to_vec(&self.bytes, shape.keys() - 1);
        if next_other_key.is_some_and(|other| last_key.as_slice() >= other) {
            return None;
        }
        let info = index.block(self.block);
        Some(BlockCopy {
            stored: self.segment.map.slice(index.stored_range(self.block)),
            raw: self.bytes.clone(),
            codec: info.codec,
            crc: info.crc,
            shape: *shape,
            diffs: shape.diff_range(&self.bytes),
            times: info.window(),
            first_key: self.key().to_vec(),
            last_key,
        })
    }

    /// To the first entry of the next block; what follows a [`BlockCopy`].
    pub fn skip_block(&mut self) -> Result<()> {
        if !self.valid {
            return self.stay();
        }
        self.enter_from(self.block + 1)
    }

    /// A move from where there is nothing: repeats the error, if that is why.
    #[cold]
    fn stay(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    fn leave(&mut self) {
        (self.valid, self.plain_left) = (false, 0);
        (self.key_range, self.val_range) = (0..0, 0..0);
    }

    /// Runs a move; an error makes the cursor invalid for good.
    #[inline]
    fn guard(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.error.is_some() {
            return self.stay();
        }
        let result = work(self);
        if let Err(error) = &result {
            self.error = Some(error.clone());
            self.leave();
        }
        result
    }

    /// To the first entry of the first block from `from` on that has a time in the window.
    fn enter_from(&mut self, from: usize) -> Result<()> {
        self.guard(|this| {
            let segment = Arc::clone(&this.segment);
            let index = &segment.blocks()?.index;
            let wanted =
                (from..index.blocks()).find(|&i| index.window(i).intersect(this.window).is_some());
            this.enter(wanted, Side::First)
        })
    }

    /// To the last entry of the last block before `end` that has a time in the window.
    fn enter_before(&mut self, end: usize) -> Result<()> {
        self.guard(|this| {
            let segment = Arc::clone(&this.segment);
            let index = &segment.blocks()?.index;
            let wanted = (0..end.min(index.blocks()))
                .rev()
                .find(|&i| index.window(i).intersect(this.window).is_some());
            this.enter(wanted, Side::Last)
        })
    }

    fn enter(&mut self, block: Option<usize>, side: Side) -> Result<()> {
        let Some(block) = block else {
            self.leave();
            return Ok(());
        };
        self.load(block)?;
        match side {
            Side::First => self.stand_on_key(0, Side::First),
            Side::Last => self.stand_on_key(self.shape.keys() - 1, Side::Last),
        }
        Ok(())
    }

    /// Makes `block` the current one; the cursor stands nowhere in it yet.
    fn load(&mut self, block: usize) -> Result<()> {
        if self.block == block && self.shape.keys() != 0 {
            return Ok(());
        }
        let segment = Arc::clone(&self.segment);
        let blocks = segment.blocks()?;
        let (bytes, shape) = segment.block_owned(blocks, block)?;
        self.key_buffer.clear();
        self.key_buffer.extend_from_slice(shape.prefix(&bytes));
        (self.bytes, self.shape, self.block) = (bytes, shape, block);
        self.covered = self.window.covers(blocks.index.window(block));
        self.repeats = blocks.index.repeats(block);
        self.plain = shape.is_plain();
        self.ones = self.covered && shape.is_all_one();
        Ok(())
    }

    /// To the next entry of the block; false when there is none, or the cursor stands nowhere.
    #[inline(always)]
    pub(crate) fn next_in_block(&mut self) -> bool {
        if self.plain_left != 0 {
            self.plain_left -= 1;
            self.key += 1;
            self.entry = self.key;
            self.entries = self.key..self.key + 1;
            let (key_stride, val_stride) = self.shape.strides();
            self.key_range = self.key_range.end..self.key_range.end + key_stride;
            self.val_range = self.val_range.end..self.val_range.end + val_stride;
            prefetch_ahead(&self.bytes, self.val_range.start);
            return true;
        }
        self.next_in_block_slow()
    }

    /// [`SegmentCursor::next_in_block`] where lengths differ, or at the end of the block.
    fn next_in_block_slow(&mut self) -> bool {
        if !self.valid {
            return false;
        }
        if self.entry + 1 < self.entries.end {
            self.entry += 1;
            self.val_range = self.shape.val_range(&self.bytes, self.entry);
            return true;
        }
        let found = self.key + 1 < self.shape.keys();
        if found {
            self.stand_on_key(self.key + 1, Side::First);
        }
        found
    }

    #[inline]
    fn stand_on_key(&mut self, key: u32, side: Side) {
        self.key = key;
        self.entries = self.shape.entries_of(&self.bytes, key);
        self.entry = match side {
            Side::First => self.entries.start,
            Side::Last => self.entries.end - 1,
        };
        self.key_range = self.shape.key_range(&self.bytes, key);
        if self.shape.prefix_len() != 0 {
            let suffix = slice_at(&self.bytes, self.key_range.start, self.key_range.end);
            self.key_buffer.truncate(self.shape.prefix_len());
            self.key_buffer.extend_from_slice(suffix);
        }
        self.val_range = self.shape.val_range(&self.bytes, self.entry);
        self.plain_left = if self.plain { self.shape.keys() - 1 - key } else { 0 };
        self.valid = true;
    }

    /// Seeks forward without the block index when `key` can only be in this block or first in the
    /// next one. False when it may be elsewhere.
    fn seek_near(&mut self, key: &[u8]) -> Result<bool> {
        if !self.valid || key <= self.key() {
            return Ok(false);
        }
        let blocks = self.segment.blocks()?;
        let next = self.block + 1;
        if next < blocks.index.blocks() && !blocks.index.starts_at_or_after(next, key) {
            return Ok(false);
        }
        let at = self.shape.lower_bound_near(&self.bytes, key, self.key + 1);
        if at < self.shape.keys() {
            self.stand_on_key(at, Side::First);
        } else {
            self.enter_from(next)?;
        }
        Ok(true)
    }

    fn seek_far(&mut self, key: &[u8]) -> Result<()> {
        let segment = Arc::clone(&self.segment);
        let index = &segment.blocks()?.index;
        let next = index.blocks_before(key);
        if let Some(block) = next.checked_sub(1)
            && index.window(block).intersect(self.window).is_some()
        {
            self.load(block)?;
            let at = self.shape.lower_bound(&self.bytes, key, 0);
            if at < self.shape.keys() {
                self.stand_on_key(at, Side::First);
                return Ok(());
            }
        }
        self.enter_from(next)
    }
}

impl Cursor for SegmentCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    fn key(&self) -> &[u8] {
        debug_assert!(self.valid, "key of a cursor that stands nowhere");
        if self.shape.prefix_len() == 0 || !self.valid {
            slice_at(&self.bytes, self.key_range.start, self.key_range.end)
        } else {
            &self.key_buffer
        }
    }

    #[inline]
    fn val(&self) -> &[u8] {
        debug_assert!(self.valid, "value of a cursor that stands nowhere");
        slice_at(&self.bytes, self.val_range.start, self.val_range.end)
    }

    fn updates(&self, out: &mut Vec<(Timestamp, i64)>) {
        debug_assert!(self.valid, "updates of a cursor that stands nowhere");
        if !self.valid {
            return;
        }
        for update in self.shape.updates_of(&self.bytes, self.entry) {
            let ts = self.shape.ts(&self.bytes, update);
            if self.covered || self.window.contains(ts) {
                out.push((ts, self.shape.diff(&self.bytes, update)));
            }
        }
    }

    #[inline]
    fn sum(&self) -> i128 {
        debug_assert!(self.valid, "sum of a cursor that stands nowhere");
        if !self.valid {
            return 0;
        }
        if self.ones {
            return 1;
        }
        self.shape.sum(&self.bytes, self.entry, self.window, self.covered)
    }

    #[inline]
    fn may_repeat(&self) -> bool {
        self.repeats
    }

    #[inline]
    fn take_plain(&mut self, end: Option<&[u8]>) -> Option<PlainRows> {
        if self.plain_left == 0 || !self.ones || self.repeats {
            return None;
        }
        let keys_end = match end {
            Some(end) => self.shape.lower_bound_near(&self.bytes, end, self.key + 1),
            None => self.shape.keys(),
        };
        let left = keys_end.saturating_sub(self.key);
        if left < 2 {
            return None;
        }
        let (key_len, val_len) = self.shape.strides();
        let (key_at, val_at) = (self.key_range.start, self.val_range.start);
        let rows = PlainRows { bytes: self.bytes.clone(), key_at, key_len, val_at, val_len, left };
        self.stand_on_key(keys_end - 1, Side::First);
        Some(rows)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.next_in_block() {
            return Ok(());
        }
        if !self.valid {
            return self.stay();
        }
        self.enter_from(self.block + 1)
    }

    #[inline]
    fn leave_key(&mut self) -> Result<()> {
        if self.valid && self.key + 1 < self.shape.keys() {
            self.stand_on_key(self.key + 1, Side::First);
            return Ok(());
        }
        // The key may go on in the next block.
        self.entry = self.entries.end.max(1) - 1;
        self.next()
    }

    #[inline]
    fn next_in_window(&mut self) -> Result<()> {
        if self.valid && !self.covered {
            let seen = |entry: u32| {
                let mut updates = self.shape.updates_of(&self.bytes, entry);
                updates.any(|update| self.window.contains(self.shape.ts(&self.bytes, update)))
            };
            let behind = self.entry + 1..self.entries.end;
            // Stays before what is seen, so that the step is the ordinary one.
            self.entry = behind.clone().find(|entry| seen(*entry)).unwrap_or(behind.end) - 1;
        }
        self.next()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if !self.valid {
            return self.stay();
        }
        if self.entry > self.entries.start {
            self.entry -= 1;
            self.val_range = self.shape.val_range(&self.bytes, self.entry);
            return Ok(());
        }
        if self.key > 0 {
            self.stand_on_key(self.key - 1, Side::Last);
            return Ok(());
        }
        self.enter_before(self.block)
    }

    fn seek_first(&mut self) -> Result<()> {
        self.enter_from(0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.enter_before(usize::MAX)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.guard(|this| if this.seek_near(key)? { Ok(()) } else { this.seek_far(key) })
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.guard(|this| {
            let segment = Arc::clone(&this.segment);
            let index = &segment.blocks()?.index;
            let Some(block) = index.blocks_before(key).checked_sub(1) else {
                this.leave();
                return Ok(());
            };
            if index.window(block).intersect(this.window).is_none() {
                return this.enter_before(block);
            }
            this.load(block)?;
            // The block's first key is below `key`, so there is a key before the bound.
            let at = this.shape.lower_bound(&this.bytes, key, 0);
            this.stand_on_key(at.saturating_sub(1), Side::Last);
            Ok(())
        })
    }
}
