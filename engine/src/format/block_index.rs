//! The block index: for every block its first key and what a reader must know before touching it.
//!
//! Columns of equal items, one per block, used where they lie. Keys are searched through their
//! *heads*, the first eight bytes behind the prefix that all keys of the segment share; only equal
//! heads need the keys themselves.
//!
//! # Invariants
//! 1. Blocks follow each other without a gap from the end of the segment's header on.
//! 2. First keys ascend; two are equal only when the later block's flag says that its first key
//!    continues the block before.
//! 3. Every block has at least one key, no more keys than entries and no more entries than updates.

#![deny(clippy::indexing_slicing)]

use super::block::{BLOCK_COUNT_MAX, BLOCK_HEADER_LEN};
use super::column::{common_prefix_len, head, slice_at, u8_at, u32_at, u64_at};
use super::segment_footer::SEGMENT_HEADER_LEN;
use super::{FormatError, Reader, SpecConstant, SpecLayout};
use crate::gallop::partition_point_near;
use crate::limits::{BLOCK_KEYS_MAX, BLOCK_LEN_MAX, KEY_LEN_MAX, SEGMENT_BLOCKS_MAX};
use crate::types::{TimeWindow, Timestamp};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;

/// Length of the section's header.
pub const BLOCK_INDEX_HEADER_LEN: usize = 32;
/// Codec: the block is stored as it is.
pub const CODEC_RAW: u8 = 0;
/// Codec: the block is one zstd frame.
pub const CODEC_ZSTD: u8 = 1;
/// Flag: the block's first key is the last key of the block before.
pub const BLOCK_CONTINUES: u8 = 1;
/// Flag: an entry of the block equals the one before or behind it in the segment.
pub const BLOCK_REPEATS: u8 = 2;
/// Bytes of all columns for one block.
const INDEX_ITEM_LEN: usize = 5 * 8 + 6 * 4 + 2;
/// Bytes, for one block, of the columns before that of the checksums.
const CRCS_BEFORE: usize = 5 * 8 + 5 * 4;
/// A stored block expands to at most this many times its length.
pub const CODEC_RATIO_MAX: usize = 1 << 16;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("BLOCK_INDEX_HEADER_LEN", BLOCK_INDEX_HEADER_LEN as u64),
    ("CODEC_RAW", CODEC_RAW as u64),
    ("CODEC_ZSTD", CODEC_ZSTD as u64),
    ("BLOCK_CONTINUES", BLOCK_CONTINUES as u64),
    ("BLOCK_REPEATS", BLOCK_REPEATS as u64),
    ("CODEC_RATIO_MAX", CODEC_RATIO_MAX as u64),
    ("SEGMENT_BLOCKS_MAX", SEGMENT_BLOCKS_MAX as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[(
    "BlockIndexHeader",
    &[
        ("block_count", 4),
        ("prefix_len", 4),
        ("separators_len", 8),
        ("data_end", 8),
        ("reserved", 8),
    ],
)];

/// One block as the index describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Where it starts in the file.
    pub offset: u64,
    /// Bytes that it takes in the file.
    pub stored_len: u32,
    /// Its length before compression.
    pub raw_len: u32,
    /// Count of keys.
    pub keys: u32,
    /// Count of entries.
    pub entries: u32,
    /// Count of updates.
    pub updates: u32,
    /// Checksum of the stored bytes.
    pub crc: u32,
    /// Least time.
    pub min_ts: Timestamp,
    /// Greatest time.
    pub max_ts: Timestamp,
    /// [`CODEC_RAW`] or [`CODEC_ZSTD`].
    pub codec: u8,
    /// [`BLOCK_CONTINUES`] and [`BLOCK_REPEATS`].
    pub flags: u8,
}

impl BlockInfo {
    /// The times of its updates.
    #[must_use]
    pub const fn window(&self) -> TimeWindow {
        TimeWindow { first: self.min_ts, last: self.max_ts }
    }
}

/// Gathers the blocks of a segment that is being written.
#[derive(Debug, Default)]
pub struct BlockIndexBuilder {
    blocks: Vec<BlockInfo>,
    first_keys: Vec<u8>,
    first_key_ends: Vec<u64>,
}

impl BlockIndexBuilder {
    /// Adds the next block.
    pub fn push(&mut self, block: BlockInfo, first_key: &[u8]) {
        self.blocks.push(block);
        self.first_keys.extend_from_slice(first_key);
        self.first_key_ends.push(self.first_keys.len() as u64);
    }

    /// The blocks so far.
    #[must_use]
    pub fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// Sets flags of the last block.
    pub fn flag_last(&mut self, flags: u8) {
        if let Some(block) = self.blocks.last_mut() {
            block.flags |= flags;
        }
    }

    /// Bytes that it keeps in memory.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.first_keys.len() + self.blocks.len() * (size_of::<BlockInfo>() + 8)
    }

    fn iter_first_keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.first_key_ends.iter().map(move |&end| {
            let key = slice_at(&self.first_keys, start, end as usize);
            start = end as usize;
            key
        })
    }

    /// The section. `last_key` is the last key of the segment, `data_end` where its blocks end.
    #[must_use]
    pub fn encode(&self, last_key: &[u8], data_end: u64) -> Vec<u8> {
        let first_key = self.iter_first_keys().next().unwrap_or_default();
        let prefix_len = common_prefix_len(first_key, last_key);
        let separators_len = self.first_keys.len() - prefix_len * self.blocks.len();
        let mut out = Vec::new();
        out.extend((self.blocks.len() as u32).to_le_bytes());
        out.extend((prefix_len as u32).to_le_bytes());
        out.extend((separators_len as u64).to_le_bytes());
        out.extend(data_end.to_le_bytes());
        out.extend([0; 8]);
        let suffixes = || self.iter_first_keys().map(|k| k.get(prefix_len..).unwrap_or_default());
        let blocks = || self.blocks.iter();
        out.extend(suffixes().flat_map(|s| head(s).to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.offset.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.min_ts.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.max_ts.to_le_bytes()));
        let ends = (1_u64..).zip(&self.first_key_ends).map(|(i, end)| end - i * prefix_len as u64);
        out.extend(ends.flat_map(u64::to_le_bytes));
        out.extend(blocks().flat_map(|b| b.stored_len.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.raw_len.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.keys.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.entries.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.updates.to_le_bytes()));
        out.extend(blocks().flat_map(|b| b.crc.to_le_bytes()));
        out.extend(blocks().map(|b| b.codec));
        out.extend(blocks().map(|b| b.flags));
        out.extend(first_key.get(..prefix_len).unwrap_or_default());
        suffixes().for_each(|s| out.extend(s));
        out
    }
}

/// The block index of a segment, checked, where it lies.
#[derive(Clone, Debug)]
pub struct BlockIndex {
    bytes: Bytes,
    blocks: usize,
    data_end: u64,
    prefix: Range<usize>,
    offsets_at: usize,
    min_ts_at: usize,
    max_ts_at: usize,
    separator_ends_at: usize,
    stored_lens_at: usize,
    raw_lens_at: usize,
    keys_at: usize,
    entries_at: usize,
    updates_at: usize,
    crcs_at: usize,
    codecs_at: usize,
    flags_at: usize,
    separators_at: usize,
}

impl BlockIndex {
    /// Reads the section and proves its invariants.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let index = Self::parse(bytes)?;
        index.check_blocks()?;
        index.check_separators()?;
        Ok(index)
    }

    fn parse(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(&bytes);
        let blocks = reader.u32()? as usize;
        let prefix_len = reader.u32()? as usize;
        let separators_len = reader.u64()?;
        let data_end = reader.u64()?;
        reader.zeros(8)?;
        if blocks == 0 || blocks > SEGMENT_BLOCKS_MAX || prefix_len > KEY_LEN_MAX {
            return Err(reader.error(format!("{blocks} blocks, a prefix of {prefix_len} bytes")));
        }
        let mut at = BLOCK_INDEX_HEADER_LEN;
        let mut column = |width: usize| {
            let start = at;
            at += blocks * width;
            start
        };
        let heads_at = column(8);
        debug_assert_eq!(heads_at, BLOCK_INDEX_HEADER_LEN);
        let mut index = Self {
            blocks,
            data_end,
            offsets_at: column(8),
            min_ts_at: column(8),
            max_ts_at: column(8),
            separator_ends_at: column(8),
            stored_lens_at: column(4),
            raw_lens_at: column(4),
            keys_at: column(4),
            entries_at: column(4),
            updates_at: column(4),
            crcs_at: column(4),
            codecs_at: column(1),
            flags_at: column(1),
            prefix: 0..0,
            separators_at: 0,
            bytes: Bytes::new(),
        };
        index.prefix = at..at + prefix_len;
        index.separators_at = at + prefix_len;
        let end = (index.separators_at as u64).checked_add(separators_len);
        if end != Some(bytes.len() as u64) {
            return Err(FormatError::new(0, "the block index does not end where its columns do"));
        }
        index.bytes = bytes;
        Ok(index)
    }

    fn check_blocks(&self) -> Result<(), FormatError> {
        let mut offset = SEGMENT_HEADER_LEN as u64;
        for i in 0..self.blocks {
            let block = self.block(i);
            let (stored, raw) = (block.stored_len as usize, block.raw_len as usize);
            let lens = (BLOCK_HEADER_LEN..=BLOCK_LEN_MAX).contains(&raw)
                && match block.codec {
                    CODEC_RAW => stored == raw,
                    CODEC_ZSTD => stored < raw && raw <= stored.saturating_mul(CODEC_RATIO_MAX),
                    _ => false,
                };
            let counts = (1..=BLOCK_KEYS_MAX).contains(&(block.keys as usize))
                && block.keys <= block.entries
                && block.entries <= block.updates
                && block.updates as usize <= BLOCK_COUNT_MAX
                && block.min_ts <= block.max_ts
                && block.flags & !(BLOCK_CONTINUES | BLOCK_REPEATS) == 0;
            if block.offset != offset || !lens || !counts {
                return Err(FormatError::new(0, format!("block {i} cannot be: {block:?}")));
            }
            offset = offset.saturating_add(u64::from(block.stored_len));
        }
        if offset != self.data_end {
            return Err(FormatError::new(16, format!("blocks end at {offset}")));
        }
        Ok(())
    }

    fn check_separators(&self) -> Result<(), FormatError> {
        let mut end = 0;
        for i in 0..self.blocks {
            let at = self.separator_ends_at + i * 8;
            let next = u64_at(&self.bytes, at);
            let within = (self.bytes.len() - self.separators_at) as u64;
            if next < end || next > within || next - end > KEY_LEN_MAX as u64 {
                return Err(FormatError::new(at, format!("first key {i} ends at {next}")));
            }
            end = next;
            let separator = self.separator(i);
            let ordered = match i.checked_sub(1).map(|before| self.separator(before)) {
                None => !self.continues(i),
                Some(before) if self.continues(i) => before <= separator,
                Some(before) => before < separator,
            };
            if !ordered || self.head(i) != head(separator) {
                return Err(FormatError::new(at, format!("first key {i} is out of order")));
            }
        }
        if end != (self.bytes.len() - self.separators_at) as u64 {
            return Err(FormatError::new(
                self.separator_ends_at,
                "first keys do not fill the rest",
            ));
        }
        Ok(())
    }

    /// Count of blocks; at least one.
    #[inline]
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Where the blocks end in the file.
    #[must_use]
    pub const fn data_end(&self) -> u64 {
        self.data_end
    }

    /// Everything about block `i`.
    #[must_use]
    pub fn block(&self, i: usize) -> BlockInfo {
        let bytes = &self.bytes;
        BlockInfo {
            offset: u64_at(bytes, self.offsets_at + i * 8),
            stored_len: u32_at(bytes, self.stored_lens_at + i * 4),
            raw_len: u32_at(bytes, self.raw_lens_at + i * 4),
            keys: u32_at(bytes, self.keys_at + i * 4),
            entries: u32_at(bytes, self.entries_at + i * 4),
            updates: u32_at(bytes, self.updates_at + i * 4),
            crc: u32_at(bytes, self.crcs_at + i * 4),
            min_ts: u64_at(bytes, self.min_ts_at + i * 8),
            max_ts: u64_at(bytes, self.max_ts_at + i * 8),
            codec: u8_at(bytes, self.codecs_at + i),
            flags: u8_at(bytes, self.flags_at + i),
        }
    }

    /// Place of block `i` in the file.
    #[inline]
    #[must_use]
    pub fn stored_range(&self, i: usize) -> Range<usize> {
        let start = u64_at(&self.bytes, self.offsets_at + i * 8) as usize;
        start..start.wrapping_add(u32_at(&self.bytes, self.stored_lens_at + i * 4) as usize)
    }

    /// Whether block `i` is stored as it is.
    #[inline]
    #[must_use]
    pub fn is_raw(&self, i: usize) -> bool {
        u8_at(&self.bytes, self.codecs_at + i) == CODEC_RAW
    }

    /// The times in block `i`.
    #[inline]
    #[must_use]
    pub fn window(&self, i: usize) -> TimeWindow {
        TimeWindow {
            first: u64_at(&self.bytes, self.min_ts_at + i * 8),
            last: u64_at(&self.bytes, self.max_ts_at + i * 8),
        }
    }

    /// Whether there is a block `i` whose first key is the last key of the block before.
    #[inline]
    #[must_use]
    pub fn continues(&self, i: usize) -> bool {
        i < self.blocks && u8_at(&self.bytes, self.flags_at + i) & BLOCK_CONTINUES != 0
    }

    /// Whether an entry of block `i` has an equal neighbour.
    #[inline]
    #[must_use]
    pub fn repeats(&self, i: usize) -> bool {
        u8_at(&self.bytes, self.flags_at + i) & BLOCK_REPEATS != 0
    }

    /// The prefix of all keys of the segment.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        slice_at(&self.bytes, self.prefix.start, self.prefix.end)
    }

    /// First key of block `i` without the prefix.
    #[must_use]
    pub fn separator(&self, i: usize) -> &[u8] {
        let end_at = self.separator_ends_at + i * 8;
        let start = if i == 0 { 0 } else { u64_at(&self.bytes, end_at - 8) as usize };
        let end = u64_at(&self.bytes, end_at) as usize;
        let base = self.separators_at;
        slice_at(&self.bytes, base.wrapping_add(start), base.wrapping_add(end))
    }

    /// First key of block `i`.
    #[must_use]
    pub fn first_key(&self, i: usize) -> Vec<u8> {
        [self.prefix(), self.separator(i)].concat()
    }

    /// Whether the first key of block `i` is `key`.
    #[must_use]
    pub fn first_key_is(&self, i: usize, key: &[u8]) -> bool {
        self.suffix_of(key).is_ok_and(|suffix| suffix == self.separator(i))
    }

    /// Whether block `i` may have `key` as its last key: the next block starts above it, or with it
    /// when it is marked so.
    #[must_use]
    pub fn may_end_with(&self, i: usize, key: &[u8]) -> bool {
        let next = i + 1;
        if next >= self.blocks {
            return key.starts_with(self.prefix());
        }
        match self.suffix_of(key).map(|suffix| suffix.cmp(self.separator(next))) {
            Ok(Ordering::Less) => !self.continues(next),
            Ok(Ordering::Equal) => self.continues(next),
            _ => false,
        }
    }

    #[inline(always)]
    fn head(&self, i: usize) -> u64 {
        u64_at(&self.bytes, BLOCK_INDEX_HEADER_LEN + i * 8)
    }

    /// How many blocks have a first key strictly below `key`: blocks from there on have only keys
    /// at or after it.
    #[must_use]
    pub fn blocks_before(&self, key: &[u8]) -> usize {
        let suffix = match self.suffix_of(key) {
            Ok(suffix) => suffix,
            Err(all_before) => return if all_before { self.blocks } else { 0 },
        };
        let target = head(suffix);
        let low = self.heads_below(0, |head| head < target);
        let mut high = low;
        if low < self.blocks && self.head(low) == target {
            high = self.heads_below(low, |head| head <= target);
        }
        let (mut low, mut high) = (low, high);
        while low < high {
            let mid = low.midpoint(high);
            if self.separator(mid) < suffix {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low
    }

    /// The end of the blocks from `from` on whose first key is `key`; no block from `from` on may
    /// have a lesser one.
    #[must_use]
    pub fn end_of_key(&self, from: usize, key: &[u8]) -> usize {
        let Ok(suffix) = self.suffix_of(key) else { return from };
        let target = head(suffix);
        let from = from.min(self.blocks);
        let mut high = self.heads_below(from, |head| head <= target);
        // Keys with the same head as this one are rare.
        if high > from && self.separator(high - 1) == suffix {
            return high;
        }
        let mut low = from;
        while low < high {
            let mid = low.midpoint(high);
            if self.separator(mid) <= suffix {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        low
    }

    /// Of the blocks from `from` on whose first key is `key`, in which times descend, the first one
    /// with a time at or below `as_of`, if there is one. Searched from where it would
    /// be if times were evenly spread.
    #[must_use]
    pub fn block_as_of(&self, from: usize, key: &[u8], as_of: Timestamp) -> Option<usize> {
        let end = self.end_of_key(from, key);
        let last = end.checked_sub(1).filter(|last| *last >= from)?;
        let is_newer = |i: usize| self.window(i).first > as_of;
        let (newest, oldest) = (self.window(from).last, self.window(last).first);
        let span = newest.saturating_sub(oldest).max(1);
        // An estimate: what is lost in rounding costs a step.
        let share = newest.saturating_sub(as_of) as f64 / span as f64;
        let guess = from.saturating_add((share * (end - from) as f64) as usize);
        let found = partition_point_near(from..end, guess, is_newer);
        (found < end).then_some(found)
    }

    /// Whether block `i` exists and its first key is at or after `key`.
    #[inline]
    #[must_use]
    pub fn starts_at_or_after(&self, i: usize, key: &[u8]) -> bool {
        if i >= self.blocks {
            return false;
        }
        match self.suffix_of(key) {
            Ok(suffix) => {
                let (first, target) = (self.head(i), head(suffix));
                if first == target { self.separator(i) >= suffix } else { first > target }
            }
            Err(all_before) => !all_before,
        }
    }

    /// `key` without the prefix; otherwise whether all keys of the segment are below it.
    #[inline]
    fn suffix_of<'k>(&self, key: &'k [u8]) -> Result<&'k [u8], bool> {
        if self.prefix.is_empty() {
            return Ok(key);
        }
        key.strip_prefix(self.prefix()).ok_or_else(|| self.prefix() < key)
    }

    /// Count of blocks from `from` on, plus `from`, whose heads are below; they come first.
    #[inline(always)]
    fn heads_below(&self, from: usize, below: impl Fn(u64) -> bool) -> usize {
        let (mut base, mut len) = (from, self.blocks - from);
        // Without a branch on the outcome: the next step's place is computed, not predicted.
        while len > 1 {
            let half = len / 2;
            base += usize::from(below(self.head(base + half - 1))) * half;
            len -= half;
        }
        base + usize::from(len == 1 && below(self.head(base)))
    }
}

/// Length of the block index that seems to begin with `bytes`, which lie at `at` in a file: a header
/// that makes sense and a first block where one has to be. `None` when there is none.
#[must_use]
pub fn could_be_index(bytes: &[u8], at: u64) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    let blocks = reader.u32().ok()? as usize;
    let prefix_len = reader.u32().ok()? as usize;
    let separators_len = usize::try_from(reader.u64().ok()?).ok()?;
    let data_end = reader.u64().ok()?;
    reader.zeros(8).ok()?;
    let likely = (1..=SEGMENT_BLOCKS_MAX).contains(&blocks) && data_end <= at;
    let columns = BLOCK_INDEX_HEADER_LEN + likely.then_some(blocks)? * INDEX_ITEM_LEN;
    let len = columns.checked_add(prefix_len)?.checked_add(separators_len)?;
    let first = bytes.get(BLOCK_INDEX_HEADER_LEN + blocks * 8..)?.first_chunk()?;
    (len <= bytes.len() && u64::from_le_bytes(*first) == SEGMENT_HEADER_LEN as u64).then_some(len)
}

/// The checksums of `blocks` blocks, from where an index of so many has them; fewer when the bytes end
/// before.
pub fn crcs_behind(index: &[u8], blocks: usize) -> impl Iterator<Item = u32> {
    let start = BLOCK_INDEX_HEADER_LEN + blocks * CRCS_BEFORE;
    let column = index.get(start..).unwrap_or_default();
    column.as_chunks::<4>().0.iter().take(blocks).map(|crc| u32::from_le_bytes(*crc))
}
