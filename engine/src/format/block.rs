//! The columnar block: the unit of a segment that is read, checked and copied.
//!
//! A block holds keys, each with one or more entries `(key, val)`, each with one or more updates
//! `(ts, diff)`. Every level is a column of its own and is left out where it says nothing: one
//! entry per key, one update per entry, equal lengths, one time, diffs that are all one.
//! [`BlockShape::check`] reads the header and proves the whole block; after that the shape answers
//! where things are without looking at the header again.
//!
//! # Invariants
//! 1. Keys ascend strictly inside a block; the values of a key ascend, equal ones are allowed; the
//!    times of an entry ascend, equal ones are allowed.
//! 2. All ends ascend and the last one is the length of what they divide.
//! 3. The columns follow each other without a gap and end, padded with zeros to a multiple of
//!    [`BLOCK_ALIGN`], at the end of the block.

#![deny(clippy::indexing_slicing)]

mod check;

use super::column::{head, head_at, slice_at, u8_at, u16_at, u32_at, u64_at};
use super::{FormatError, Reader, SpecConstant, SpecLayout, padded};
use crate::limits::{BLOCK_KEYS_MAX, BLOCK_LEN_MAX, KEY_LEN_MAX, VAL_LEN_MAX};
use crate::prefetch::prefetch;
use crate::types::{TimeWindow, Timestamp};
use std::ops::Range;

/// Length of a block's header.
pub const BLOCK_HEADER_LEN: usize = 40;
/// A raw block's length is a multiple of this.
pub const BLOCK_ALIGN: usize = 8;
/// Zeros behind the keys, so that eight bytes can be read at the start of each.
pub const BLOCK_KEY_PAD: usize = 8;
/// Stride of a column whose lengths differ.
pub const BLOCK_STRIDE_NONE: u32 = u32::MAX;
/// Flag: keys have several entries; the column of entry ends is there.
pub const BLOCK_HAS_ENTRY_ENDS: u8 = 1;
/// Flag: entries have several updates; the column of update ends is there.
pub const BLOCK_HAS_UPDATE_ENDS: u8 = 2;
/// Most entries, and most updates, of a block.
pub const BLOCK_COUNT_MAX: usize = u16::MAX as usize;

/// Updates of an entry that are looked at one by one; in a longer list times are searched.
const SHORT_LIST: usize = 12;
/// A key with so many entries has its sums computed in one go.
const DEEP_KEY: usize = 8;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("BLOCK_HEADER_LEN", BLOCK_HEADER_LEN as u64),
    ("BLOCK_ALIGN", BLOCK_ALIGN as u64),
    ("BLOCK_KEY_PAD", BLOCK_KEY_PAD as u64),
    ("BLOCK_STRIDE_NONE", BLOCK_STRIDE_NONE as u64),
    ("BLOCK_HAS_ENTRY_ENDS", BLOCK_HAS_ENTRY_ENDS as u64),
    ("BLOCK_HAS_UPDATE_ENDS", BLOCK_HAS_UPDATE_ENDS as u64),
    ("BLOCK_COUNT_MAX", BLOCK_COUNT_MAX as u64),
    ("BLOCK_KEYS_MAX", BLOCK_KEYS_MAX as u64),
    ("BLOCK_LEN_MAX", BLOCK_LEN_MAX as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[(
    "BlockHeader",
    &[
        ("key_count", 4),
        ("entry_count", 4),
        ("update_count", 4),
        ("prefix_len", 4),
        ("key_stride", 4),
        ("val_stride", 4),
        ("ts_base", 8),
        ("ts_width", 1),
        ("diff_width", 1),
        ("key_end_width", 1),
        ("val_end_width", 1),
        ("flags", 1),
        ("reserved", 3),
    ],
)];

/// Where the columns of a checked block are.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockShape {
    keys: u32,
    entries: u32,
    updates: u32,
    prefix_len: u32,
    key_stride: u32,
    val_stride: u32,
    key_ends_at: u32,
    keys_at: u32,
    /// 0 when each key has one entry.
    entry_ends_at: u32,
    /// 0 when each entry has one update.
    update_ends_at: u32,
    ts_at: u32,
    diffs_at: u32,
    val_ends_at: u32,
    vals_at: u32,
    ts_base: u64,
    ts_width: u8,
    diff_width: u8,
    key_end_width: u8,
    val_end_width: u8,
}

/// What [`BlockShape::check`] found out on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// Least time.
    pub min_ts: Timestamp,
    /// Greatest time.
    pub max_ts: Timestamp,
    /// Least diff.
    pub min_diff: i64,
    /// Greatest diff.
    pub max_diff: i64,
    /// Count of entries that equal the one before them in the block.
    pub repeats: u32,
}

impl BlockShape {
    /// Reads the header and proves the invariants of the whole block.
    pub fn check(bytes: &[u8]) -> Result<(Self, BlockFacts), FormatError> {
        let shape = Self::parse(bytes)?;
        shape.check_keys(bytes)?;
        shape.check_ends(bytes)?;
        let repeats = shape.check_vals(bytes)?;
        let facts = shape.check_updates(bytes, repeats)?;
        Ok((shape, facts))
    }

    /// Length of the block that seems to begin with `bytes`, as its header and its ends say; `None` when
    /// none does. Proves nothing of what is in it.
    #[must_use]
    pub fn measure(bytes: &[u8]) -> Option<usize> {
        let bytes = bytes.get(..BLOCK_LEN_MAX).unwrap_or(bytes);
        let (_, end, _) = Self::lay_out(bytes).ok()?;
        Some(padded(end, BLOCK_ALIGN)).filter(|&len| len <= bytes.len())
    }

    /// Reads the header and lays the columns out; proves that they fill the block (I3).
    fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (shape, end, pad_at) = Self::lay_out(bytes)?;
        let zero = |from: usize, to: usize| slice_at(bytes, from, to).iter().all(|&b| b == 0);
        if padded(end, BLOCK_ALIGN) != bytes.len()
            || !zero(end, bytes.len())
            || !zero(pad_at as usize, pad_at as usize + BLOCK_KEY_PAD)
        {
            return Err(FormatError::new(end, "the block does not end where its columns do"));
        }
        Ok(shape)
    }

    /// The columns one behind the other, where the last one ends, and where the zeros behind the keys
    /// are.
    fn lay_out(bytes: &[u8]) -> Result<(Self, usize, u32), FormatError> {
        let mut shape = Self::parse_header(bytes)?;
        let (keys, entries) = (shape.keys as usize, shape.entries as usize);
        let mut at = BLOCK_HEADER_LEN;
        let mut take = |len: usize| -> Result<u32, FormatError> {
            let start = at;
            at = at.checked_add(len).filter(|&end| end <= bytes.len()).ok_or_else(|| {
                FormatError::new(start, format!("a column of {len} bytes does not fit"))
            })?;
            Ok(start as u32)
        };
        take(shape.prefix_len as usize)?;
        shape.key_ends_at = take(keys * usize::from(shape.key_end_width))?;
        let keys_len = match shape.key_end_width {
            0 => keys * shape.key_stride as usize,
            width => end_at(bytes, shape.key_ends_at as usize, width, keys - 1),
        };
        shape.keys_at = take(keys_len)?;
        let pad_at = take(BLOCK_KEY_PAD)?;
        if shape.entry_ends_at != 0 {
            shape.entry_ends_at = take(keys * 2)?;
        }
        if shape.update_ends_at != 0 {
            shape.update_ends_at = take(entries * 2)?;
        }
        shape.ts_at = take(shape.updates as usize * usize::from(shape.ts_width))?;
        shape.diffs_at = take(shape.updates as usize * usize::from(shape.diff_width))?;
        shape.val_ends_at = take(entries * usize::from(shape.val_end_width))?;
        let vals_len = match shape.val_end_width {
            0 => entries
                .checked_mul(shape.val_stride as usize)
                .ok_or_else(|| FormatError::new(0, "values without end"))?,
            width => end_at(bytes, shape.val_ends_at as usize, width, entries - 1),
        };
        shape.vals_at = take(vals_len)?;
        Ok((shape, at, pad_at))
    }

    /// Reads the header's fields; `*_ends_at` are 0 or 1 for absent or present.
    fn parse_header(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let mut shape = Self {
            keys: reader.u32()?,
            entries: reader.u32()?,
            updates: reader.u32()?,
            prefix_len: reader.u32()?,
            key_stride: reader.u32()?,
            val_stride: reader.u32()?,
            ts_base: reader.u64()?,
            ts_width: reader.u8()?,
            diff_width: reader.u8()?,
            key_end_width: reader.u8()?,
            val_end_width: reader.u8()?,
            ..Self::default()
        };
        let flags = reader.u8()?;
        reader.zeros(3)?;
        shape.entry_ends_at = u32::from(flags & BLOCK_HAS_ENTRY_ENDS != 0);
        shape.update_ends_at = u32::from(flags & BLOCK_HAS_UPDATE_ENDS != 0);
        let counts = (1..=BLOCK_KEYS_MAX).contains(&(shape.keys as usize))
            && shape.keys <= shape.entries
            && shape.entries <= shape.updates
            && shape.updates as usize <= BLOCK_COUNT_MAX
            && (shape.entry_ends_at != 0 || shape.keys == shape.entries)
            && (shape.update_ends_at != 0 || shape.entries == shape.updates);
        let widths = matches!(shape.ts_width, 0 | 1 | 2 | 4 | 8)
            && matches!(shape.diff_width, 0 | 1 | 2 | 4 | 8)
            && stride_fits(shape.key_stride, shape.key_end_width, KEY_LEN_MAX)
            && stride_fits(shape.val_stride, shape.val_end_width, VAL_LEN_MAX);
        let known = flags & !(BLOCK_HAS_ENTRY_ENDS | BLOCK_HAS_UPDATE_ENDS) == 0;
        let lens = bytes.len() <= BLOCK_LEN_MAX && shape.prefix_len as usize <= KEY_LEN_MAX;
        if !(counts && widths && known && lens) {
            return Err(FormatError::new(0, format!("block header out of range: {shape:?}")));
        }
        Ok(shape)
    }

    /// Count of keys; at least one.
    #[inline]
    #[must_use]
    pub const fn keys(&self) -> u32 {
        self.keys
    }

    /// Count of entries.
    #[inline]
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Count of updates.
    #[inline]
    #[must_use]
    pub const fn updates(&self) -> u32 {
        self.updates
    }

    /// Whether keys and values lie at equal distances, one value to a key, and keys whole.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.entry_ends_at == 0
            && self.prefix_len == 0
            && self.key_end_width == 0
            && self.val_end_width == 0
    }

    /// Whether every entry has one update, with diff one.
    #[must_use]
    pub const fn is_all_one(&self) -> bool {
        self.update_ends_at == 0 && self.diff_width == 0
    }

    /// Lengths of the keys and of the values of a plain block.
    #[inline]
    #[must_use]
    pub const fn strides(&self) -> (usize, usize) {
        (self.key_stride as usize, self.val_stride as usize)
    }

    /// Length of the prefix that all keys have and that is stored once.
    #[inline]
    #[must_use]
    pub const fn prefix_len(&self) -> usize {
        self.prefix_len as usize
    }

    /// The prefix of all keys.
    #[inline]
    #[must_use]
    pub fn prefix<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        slice_at(bytes, BLOCK_HEADER_LEN, BLOCK_HEADER_LEN + self.prefix_len())
    }

    /// Place of key `i` without the prefix.
    #[inline(always)]
    #[must_use]
    pub fn key_range(&self, bytes: &[u8], i: u32) -> Range<usize> {
        item_range(bytes, self.key_stride, self.key_end_width, self.key_ends_at, self.keys_at, i)
    }

    /// Key `i`, whole.
    #[must_use]
    pub fn key_to_vec(&self, bytes: &[u8], i: u32) -> Vec<u8> {
        let range = self.key_range(bytes, i);
        [self.prefix(bytes), slice_at(bytes, range.start, range.end)].concat()
    }

    /// Calls `visit` with every key, in order.
    pub fn each_key(&self, bytes: &[u8], mut visit: impl FnMut(&[u8])) {
        let mut key = self.prefix(bytes).to_vec();
        for i in 0..self.keys {
            let range = self.key_range(bytes, i);
            key.truncate(self.prefix_len());
            key.extend_from_slice(slice_at(bytes, range.start, range.end));
            visit(&key);
        }
    }

    /// Whether key `i` is `key`.
    #[inline]
    #[must_use]
    pub fn key_is(&self, bytes: &[u8], i: u32, key: &[u8]) -> bool {
        let range = self.key_range(bytes, i);
        let suffix = slice_at(bytes, range.start, range.end);
        match self.prefix_len {
            0 => suffix == key,
            len => key
                .split_at_checked(len as usize)
                .is_some_and(|(p, s)| s == suffix && p == self.prefix(bytes)),
        }
    }

    /// The entries of key `i`.
    #[inline(always)]
    #[must_use]
    pub fn entries_of(&self, bytes: &[u8], i: u32) -> Range<u32> {
        level_range(bytes, self.entry_ends_at, i)
    }

    /// The updates of an entry.
    #[inline(always)]
    #[must_use]
    pub fn updates_of(&self, bytes: &[u8], entry: u32) -> Range<u32> {
        level_range(bytes, self.update_ends_at, entry)
    }

    /// Place of an entry's value.
    #[inline(always)]
    #[must_use]
    pub fn val_range(&self, bytes: &[u8], entry: u32) -> Range<usize> {
        let (stride, width) = (self.val_stride, self.val_end_width);
        item_range(bytes, stride, width, self.val_ends_at, self.vals_at, entry)
    }

    /// Announces that the value of key `i` will be read soon, where its place is known without
    /// looking: key and value lie far apart, and are waited for together then.
    #[inline(always)]
    pub fn announce_val(&self, bytes: &[u8], i: u32) {
        if self.entry_ends_at == 0 && self.val_end_width == 0 {
            let at = self.vals_at as usize + i as usize * self.val_stride as usize;
            prefetch(bytes, at);
            prefetch(bytes, at + 64);
        }
    }

    /// An entry's value.
    #[inline]
    #[must_use]
    pub fn val<'a>(&self, bytes: &'a [u8], entry: u32) -> &'a [u8] {
        let range = self.val_range(bytes, entry);
        slice_at(bytes, range.start, range.end)
    }

    /// Time of an update.
    #[inline(always)]
    #[must_use]
    pub fn ts(&self, bytes: &[u8], update: u32) -> Timestamp {
        let (at, i) = (self.ts_at as usize, update as usize);
        let delta = match self.ts_width {
            0 => 0,
            1 => u64::from(u8_at(bytes, at + i)),
            2 => u64::from(u16_at(bytes, at + i * 2)),
            4 => u64::from(u32_at(bytes, at + i * 4)),
            _ => u64_at(bytes, at + i * 8),
        };
        self.ts_base.wrapping_add(delta)
    }

    /// Diff of an update.
    #[inline(always)]
    #[must_use]
    pub fn diff(&self, bytes: &[u8], update: u32) -> i64 {
        let (at, i) = (self.diffs_at as usize, update as usize);
        match self.diff_width {
            0 => 1,
            1 => i64::from(u8_at(bytes, at + i) as i8),
            2 => i64::from(u16_at(bytes, at + i * 2) as i16),
            4 => i64::from(u32_at(bytes, at + i * 4) as i32),
            _ => u64_at(bytes, at + i * 8) as i64,
        }
    }

    /// Least and greatest diff.
    #[must_use]
    pub fn diff_range(&self, bytes: &[u8]) -> (i64, i64) {
        match self.diff_width {
            0 => (1, 1),
            _ => (0..self.updates)
                .map(|update| self.diff(bytes, update))
                .fold((i64::MAX, i64::MIN), |(least, greatest), diff| {
                    (least.min(diff), greatest.max(diff))
                }),
        }
    }

    /// The sum of an entry's diffs in `window`. `covered` says that the window is known to hold
    /// every time of the block, so that times need not be read.
    #[inline(always)]
    #[must_use]
    pub fn sum(&self, bytes: &[u8], entry: u32, window: TimeWindow, covered: bool) -> i128 {
        if covered && self.diff_width == 0 {
            if self.update_ends_at == 0 {
                return 1;
            }
            return self.updates_of(bytes, entry).len() as i128;
        }
        self.sum_slow(bytes, entry, window, covered)
    }

    #[inline]
    fn sum_slow(&self, bytes: &[u8], entry: u32, window: TimeWindow, covered: bool) -> i128 {
        let mut updates = self.updates_of(bytes, entry);
        if !covered && updates.len() <= SHORT_LIST {
            // Without a branch on the times, which in a deep history fall on either side at random.
            let span = window.last.wrapping_sub(window.first);
            let mut sum = 0;
            for update in updates {
                let inside = self.ts(bytes, update).wrapping_sub(window.first) <= span;
                let diff = self.diff(bytes, update) & -i64::from(inside);
                sum += i128::from(diff);
            }
            return sum;
        }
        if !covered {
            let start = self.updates_before(bytes, updates.clone(), |ts| ts < window.first);
            let end = self.updates_before(bytes, start..updates.end, |ts| ts <= window.last);
            updates = start..end;
        }
        updates.map(|update| i128::from(self.diff(bytes, update))).sum()
    }

    /// Calls `visit` with every one of `entries` that has a sum other than zero in `window`, and
    /// that sum. For the keys with a deep history: widths are told apart once, not per update.
    #[inline]
    pub fn each_sum(
        &self,
        bytes: &[u8],
        entries: Range<u32>,
        window: TimeWindow,
        covered: bool,
        mut visit: impl FnMut(u32, i128),
    ) {
        let narrow = matches!(self.ts_width, 0 | 1 | 2 | 4) && matches!(self.diff_width, 0 | 1);
        if entries.len() < DEEP_KEY || self.update_ends_at == 0 || !narrow {
            for entry in entries {
                let sum = self.sum(bytes, entry, window, covered);
                if sum != 0 {
                    visit(entry, sum);
                }
            }
            return;
        }
        if window.last < self.ts_base || window.last < window.first {
            return;
        }
        let ts_width = if covered { 0 } else { self.ts_width };
        match (ts_width, self.diff_width) {
            (0, 0) => self.each_sum_of::<0, 0>(bytes, entries, window, &mut visit),
            (0, _) => self.each_sum_of::<0, 1>(bytes, entries, window, &mut visit),
            (1, 0) => self.each_sum_of::<1, 0>(bytes, entries, window, &mut visit),
            (1, _) => self.each_sum_of::<1, 1>(bytes, entries, window, &mut visit),
            (2, 0) => self.each_sum_of::<2, 0>(bytes, entries, window, &mut visit),
            (2, _) => self.each_sum_of::<2, 1>(bytes, entries, window, &mut visit),
            (_, 0) => self.each_sum_of::<4, 0>(bytes, entries, window, &mut visit),
            (_, _) => self.each_sum_of::<4, 1>(bytes, entries, window, &mut visit),
        }
    }

    /// [`BlockShape::each_sum`] for one pair of widths; time width 0 means that all are inside.
    fn each_sum_of<const TS_WIDTH: usize, const DIFF_WIDTH: usize>(
        &self,
        bytes: &[u8],
        entries: Range<u32>,
        window: TimeWindow,
        visit: &mut dyn FnMut(u32, i128),
    ) {
        let updates = self.updates_of(bytes, entries.start).start as usize
            ..self.updates_of(bytes, entries.end - 1).end as usize;
        let column = |at: u32, width: usize| {
            let at = at as usize;
            slice_at(bytes, at + updates.start * width, at + updates.end * width)
        };
        let (times, diffs) = (column(self.ts_at, TS_WIDTH), column(self.diffs_at, DIFF_WIDTH));
        let first = window.first.saturating_sub(self.ts_base);
        let span = window.last.saturating_sub(self.ts_base).wrapping_sub(first);
        let mut start = 0;
        for entry in entries {
            let ends_at = self.update_ends_at as usize + entry as usize * 2;
            let end = usize::from(u16_at(bytes, ends_at)).wrapping_sub(updates.start);
            let mut sum = 0_i64;
            for update in start..end {
                let ts = match TS_WIDTH {
                    1 => u64::from(u8_at(times, update)),
                    2 => u64::from(u16_at(times, update * 2)),
                    4 => u64::from(u32_at(times, update * 4)),
                    _ => first,
                };
                let diff = if DIFF_WIDTH == 0 { 1 } else { u8_at(diffs, update) as i8 };
                sum += i64::from(diff) & -i64::from(ts.wrapping_sub(first) <= span);
            }
            start = end;
            if sum != 0 {
                visit(entry, i128::from(sum));
            }
        }
    }

    /// The end of those `updates` whose times satisfy `before`; they come first, as times ascend.
    fn updates_before(
        &self,
        bytes: &[u8],
        updates: Range<u32>,
        before: impl Fn(Timestamp) -> bool,
    ) -> u32 {
        let (mut low, mut high) = (updates.start, updates.end);
        while low < high {
            let mid = low.midpoint(high);
            if before(self.ts(bytes, mid)) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low
    }

    /// Index of the first key from `from` on that is at or after `key`; the count of keys when none
    /// is. The keys before `from` must be known to be before `key`.
    #[must_use]
    pub fn lower_bound(&self, bytes: &[u8], key: &[u8], from: u32) -> u32 {
        let Some(suffix) = self.suffix_of(bytes, key) else {
            return if key < self.prefix(bytes) { from } else { self.keys };
        };
        let target = head(suffix);
        let (mut low, mut high) = (from, self.keys);
        while low < high {
            let mid = low.midpoint(high);
            if self.key_is_below(bytes, mid, suffix, target) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low
    }

    /// [`BlockShape::lower_bound`] for a key that is probably near: gallops.
    #[must_use]
    pub fn lower_bound_near(&self, bytes: &[u8], key: &[u8], from: u32) -> u32 {
        let Some(suffix) = self.suffix_of(bytes, key) else {
            return if key < self.prefix(bytes) { from } else { self.keys };
        };
        let target = head(suffix);
        let (mut low, mut step) = (from, 1);
        let mut high = loop {
            let probe = low + step;
            if probe >= self.keys {
                break self.keys;
            }
            if !self.key_is_below(bytes, probe - 1, suffix, target) {
                break probe - 1;
            }
            low = probe;
            step *= 2;
        };
        while low < high {
            let mid = low.midpoint(high);
            if self.key_is_below(bytes, mid, suffix, target) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low
    }

    /// What is left of `key` behind the prefix; `None` when it does not start with it.
    fn suffix_of<'k>(&self, bytes: &[u8], key: &'k [u8]) -> Option<&'k [u8]> {
        match self.prefix_len {
            0 => Some(key),
            _ => key.strip_prefix(self.prefix(bytes)),
        }
    }

    /// Whether key `i` is below the key with this suffix and this head of the suffix.
    #[inline(always)]
    fn key_is_below(&self, bytes: &[u8], i: u32, suffix: &[u8], target: u64) -> bool {
        let range = self.key_range(bytes, i);
        let len = range.end.wrapping_sub(range.start);
        let mut head = head_at(bytes, range.start);
        if len < 8 {
            // The bytes behind a short key are the next key's or the padding's.
            head &= !(u64::MAX.checked_shr(len as u32 * 8).unwrap_or(0));
        }
        if head != target {
            return head < target;
        }
        slice_at(bytes, range.start, range.end) < suffix
    }
}

/// Whether stride and end width say the same: a stride and no ends, or ends and no stride.
fn stride_fits(stride: u32, end_width: u8, len_max: usize) -> bool {
    match end_width {
        0 => stride as usize <= len_max,
        2 | 4 => stride == BLOCK_STRIDE_NONE,
        _ => false,
    }
}

#[inline(always)]
fn end_at(bytes: &[u8], at: usize, width: u8, i: usize) -> usize {
    if width == 2 {
        usize::from(u16_at(bytes, at + i * 2))
    } else {
        u32_at(bytes, at + i * 4) as usize
    }
}

/// Place of item `i` in a column of bytes that is divided by a stride or by ends.
#[inline(always)]
fn item_range(
    bytes: &[u8],
    stride: u32,
    end_width: u8,
    ends_at: u32,
    items_at: u32,
    i: u32,
) -> Range<usize> {
    let (base, i) = (items_at as usize, i as usize);
    if end_width == 0 {
        let start = base + i * stride as usize;
        return start..start + stride as usize;
    }
    let ends_at = ends_at as usize;
    let start = if i == 0 { 0 } else { end_at(bytes, ends_at, end_width, i - 1) };
    base + start..base + end_at(bytes, ends_at, end_width, i)
}

/// Items of parent `i` on the next level; one each where there is no column of ends.
#[inline(always)]
fn level_range(bytes: &[u8], ends_at: u32, i: u32) -> Range<u32> {
    if ends_at == 0 {
        return i..i + 1;
    }
    let at = ends_at as usize + i as usize * 2;
    let start = if i == 0 { 0 } else { u32::from(u16_at(bytes, at - 2)) };
    start..u32::from(u16_at(bytes, at))
}
