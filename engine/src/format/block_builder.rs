//! [`BlockBuilder`]: gathers entries and encodes them as one block.
//!
//! Its content stays readable after it was encoded, until [`BlockBuilder::clear`]: the writer
//! compares the next entry with the last one.

#![deny(clippy::indexing_slicing)]

use super::block::{
    BLOCK_ALIGN, BLOCK_COUNT_MAX, BLOCK_HAS_ENTRY_ENDS, BLOCK_HAS_UPDATE_ENDS, BLOCK_HEADER_LEN,
    BLOCK_KEY_PAD, BLOCK_STRIDE_NONE,
};
use super::column::common_prefix_len;
use super::padded;
use crate::limits::{BLOCK_KEYS_MAX, ENTRY_UPDATES_MAX};
use crate::types::Timestamp;

/// A shorter prefix is not worth a copy of each key at every read.
const PREFIX_LEN_MIN: usize = 4;
/// A block with more entries or updates takes no further entry.
const COUNT_TARGET: usize = 1 << 15;

const _: () = assert!(COUNT_TARGET + ENTRY_UPDATES_MAX <= BLOCK_COUNT_MAX);

/// Gathers entries of one block.
#[derive(Debug)]
pub struct BlockBuilder {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    entry_ends: Vec<u16>,
    update_ends: Vec<u16>,
    ts: Vec<Timestamp>,
    diffs: Vec<i64>,
    vals: Vec<u8>,
    val_ends: Vec<u32>,
    /// The length of all values so far; [`BLOCK_STRIDE_NONE`] once two differ.
    val_stride: u32,
    min_ts: Timestamp,
    max_ts: Timestamp,
    min_diff: i64,
    max_diff: i64,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            key_ends: Vec::new(),
            entry_ends: Vec::new(),
            update_ends: Vec::new(),
            ts: Vec::new(),
            diffs: Vec::new(),
            vals: Vec::new(),
            val_ends: Vec::new(),
            val_stride: 0,
            min_ts: Timestamp::MAX,
            max_ts: 0,
            min_diff: i64::MAX,
            max_diff: i64::MIN,
        }
    }
}

impl BlockBuilder {
    /// Forgets everything but keeps its buffers.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.key_ends.clear();
        self.entry_ends.clear();
        self.update_ends.clear();
        self.ts.clear();
        self.diffs.clear();
        self.vals.clear();
        self.val_ends.clear();
        self.val_stride = 0;
        (self.min_ts, self.max_ts) = (Timestamp::MAX, 0);
        (self.min_diff, self.max_diff) = (i64::MAX, i64::MIN);
    }

    /// Adds an entry under a new key, greater than the last one.
    pub fn push_key(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) {
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len() as u32);
        self.entry_ends.push(self.update_ends.len() as u16);
        self.push_entry(val, updates);
    }

    /// Adds an entry under the last key, with a value not less than the last one.
    pub fn push_entry(&mut self, val: &[u8], updates: &[(Timestamp, i64)]) {
        debug_assert!(!updates.is_empty() && updates.len() <= ENTRY_UPDATES_MAX);
        let val_len = val.len() as u32;
        if self.val_ends.is_empty() {
            self.val_stride = val_len;
        } else if self.val_stride != val_len {
            self.val_stride = BLOCK_STRIDE_NONE;
        }
        self.vals.extend_from_slice(val);
        self.val_ends.push(self.vals.len() as u32);
        for &(ts, diff) in updates {
            self.ts.push(ts);
            self.diffs.push(diff);
            self.min_ts = self.min_ts.min(ts);
            self.max_ts = self.max_ts.max(ts);
            self.min_diff = self.min_diff.min(diff);
            self.max_diff = self.max_diff.max(diff);
        }
        self.update_ends.push(self.ts.len() as u16);
        if let Some(end) = self.entry_ends.last_mut() {
            *end = self.update_ends.len() as u16;
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    /// Count of keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.key_ends.len()
    }

    /// Count of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.update_ends.len()
    }

    /// Count of updates.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.ts.len()
    }

    /// Least and greatest time.
    #[must_use]
    pub const fn ts_range(&self) -> (Timestamp, Timestamp) {
        (self.min_ts, self.max_ts)
    }

    /// Least and greatest diff.
    #[must_use]
    pub const fn diff_range(&self) -> (i64, i64) {
        (self.min_diff, self.max_diff)
    }

    /// Whether no further entry should go in: its size has reached `len_target` or a count its
    /// limit.
    #[inline]
    #[must_use]
    pub fn is_full(&self, len_target: usize) -> bool {
        let update_len = 2 + ts_width(self.min_ts, self.max_ts) + self.diff_width();
        let len = self.keys.len() + self.vals.len() + self.updates() * update_len;
        len >= len_target || self.keys() >= BLOCK_KEYS_MAX || self.updates() >= COUNT_TARGET
    }

    /// The first key.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.key_ends.first().and_then(|&end| self.keys.get(..end as usize)).unwrap_or_default()
    }

    /// The last key.
    #[inline]
    #[must_use]
    pub fn last_key(&self) -> &[u8] {
        self.keys.get(last_start(&self.key_ends)..).unwrap_or_default()
    }

    /// The last value.
    #[inline]
    #[must_use]
    pub fn last_val(&self) -> &[u8] {
        self.vals.get(last_start(&self.val_ends)..).unwrap_or_default()
    }

    /// The keys in order.
    pub fn iter_keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.key_ends.iter().map(move |&end| {
            let key = self.keys.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            key
        })
    }

    fn diff_width(&self) -> usize {
        match (self.min_diff, self.max_diff) {
            (1, 1) => 0,
            (min, max) if fits::<i8>(min) && fits::<i8>(max) => 1,
            (min, max) if fits::<i16>(min) && fits::<i16>(max) => 2,
            (min, max) if fits::<i32>(min) && fits::<i32>(max) => 4,
            _ => 8,
        }
    }

    /// Length of the prefix to store once, and the length of all keys behind it if it is the same.
    fn key_layout(&self) -> (usize, u32) {
        let common = common_prefix_len(self.first_key(), self.last_key());
        let prefix_len = if common < PREFIX_LEN_MIN { 0 } else { common };
        let first = self.key_ends.first().copied().unwrap_or_default();
        let mut end = 0;
        let equal = self.key_ends.iter().all(|&e| {
            end += first;
            e == end
        });
        (prefix_len, if equal { first - prefix_len as u32 } else { BLOCK_STRIDE_NONE })
    }

    /// Appends the block to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (prefix_len, key_stride) = self.key_layout();
        let suffixes_len = self.keys.len() - self.keys() * prefix_len;
        let key_end_width = end_width(key_stride, suffixes_len);
        let val_end_width = end_width(self.val_stride, self.vals.len());
        let (ts_width, diff_width) = (ts_width(self.min_ts, self.max_ts), self.diff_width());
        let has_entry_ends = self.keys() != self.entries();
        let has_update_ends = self.entries() != self.updates();
        let flags = u8::from(has_entry_ends) * BLOCK_HAS_ENTRY_ENDS
            + u8::from(has_update_ends) * BLOCK_HAS_UPDATE_ENDS;
        out.reserve(
            BLOCK_HEADER_LEN
                + self.keys.len()
                + BLOCK_KEY_PAD
                + self.vals.len()
                + self.updates() * (ts_width + diff_width + 2)
                + self.entries() * 10
                + BLOCK_ALIGN,
        );

        for count in [self.keys(), self.entries(), self.updates(), prefix_len] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        out.extend_from_slice(&key_stride.to_le_bytes());
        out.extend_from_slice(&self.val_stride.to_le_bytes());
        out.extend_from_slice(&self.min_ts.to_le_bytes());
        out.extend_from_slice(&[
            ts_width as u8,
            diff_width as u8,
            key_end_width as u8,
            val_end_width as u8,
            flags,
            0,
            0,
            0,
        ]);
        debug_assert_eq!(out.len() - start, BLOCK_HEADER_LEN);

        self.encode_keys(prefix_len, key_end_width, out);
        if has_entry_ends {
            out.extend(self.entry_ends.iter().flat_map(|end| end.to_le_bytes()));
        }
        if has_update_ends {
            out.extend(self.update_ends.iter().flat_map(|end| end.to_le_bytes()));
        }
        self.encode_updates(ts_width, diff_width, out);
        encode_ends(self.val_ends.iter().copied(), val_end_width, out);
        out.extend_from_slice(&self.vals);
        out.resize(start + padded(out.len() - start, BLOCK_ALIGN), 0);
    }

    fn encode_keys(&self, prefix_len: usize, key_end_width: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.first_key().get(..prefix_len).unwrap_or_default());
        let shortened = (1..).zip(&self.key_ends).map(|(i, &end)| end - i * prefix_len as u32);
        encode_ends(shortened, key_end_width, out);
        if prefix_len == 0 {
            out.extend_from_slice(&self.keys);
        } else {
            for key in self.iter_keys() {
                out.extend_from_slice(key.get(prefix_len..).unwrap_or_default());
            }
        }
        out.extend_from_slice(&[0; BLOCK_KEY_PAD]);
    }

    fn encode_updates(&self, ts_width: usize, diff_width: usize, out: &mut Vec<u8>) {
        let deltas = self.ts.iter().map(|ts| ts - self.min_ts);
        match ts_width {
            0 => {}
            1 => out.extend(deltas.map(|d| d as u8)),
            2 => out.extend(deltas.flat_map(|d| (d as u16).to_le_bytes())),
            4 => out.extend(deltas.flat_map(|d| (d as u32).to_le_bytes())),
            _ => out.extend(deltas.flat_map(u64::to_le_bytes)),
        }
        let diffs = self.diffs.iter();
        match diff_width {
            0 => {}
            1 => out.extend(diffs.map(|&d| d as u8)),
            2 => out.extend(diffs.flat_map(|&d| (d as i16).to_le_bytes())),
            4 => out.extend(diffs.flat_map(|&d| (d as i32).to_le_bytes())),
            _ => out.extend(diffs.flat_map(|d| d.to_le_bytes())),
        }
    }
}

fn ts_width(min: Timestamp, max: Timestamp) -> usize {
    match max.saturating_sub(min) {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn fits<T: TryFrom<i64>>(diff: i64) -> bool {
    T::try_from(diff).is_ok()
}

fn end_width(stride: u32, len: usize) -> usize {
    match (stride, len) {
        (BLOCK_STRIDE_NONE, 0..=0xffff) => 2,
        (BLOCK_STRIDE_NONE, _) => 4,
        _ => 0,
    }
}

fn encode_ends(ends: impl Iterator<Item = u32>, width: usize, out: &mut Vec<u8>) {
    match width {
        0 => {}
        2 => out.extend(ends.flat_map(|end| (end as u16).to_le_bytes())),
        _ => out.extend(ends.flat_map(u32::to_le_bytes)),
    }
}

fn last_start(ends: &[u32]) -> usize {
    match ends {
        [.., before, _] => *before as usize,
        _ => 0,
    }
}
