//! The hash index of a segment: from the hash of a key to its block and its place in it.
//!
//! An array of 64-byte buckets of 16 slots. A slot holds six bits of the hash and 26 bits that are
//! split into block number and key number; a key goes into its own bucket or, when that is full,
//! into the next one that is not (around the end). So a bucket with an empty slot ends a search.
//!
//! # Invariants
//! 1. At least one slot is empty.
//! 2. Slots of a bucket are filled from the first on.

#![deny(clippy::indexing_slicing)]

use super::column::{slice_at, u32_at};
use super::{FormatError, Reader, SpecConstant, SpecLayout};
use crate::prefetch::prefetch;
use bytes::Bytes;

/// Length of the section's header; the buckets behind it are aligned to cache lines.
pub const HASH_INDEX_HEADER_LEN: usize = 64;
/// Length of a bucket.
pub const HASH_BUCKET_LEN: usize = 64;
/// Slots of a bucket.
pub const HASH_BUCKET_SLOTS: usize = 16;
/// Bits of a slot that say where the key is; the upper bits are the tag.
pub const HASH_PLACE_BITS: u32 = 26;
/// An empty slot. No key has this place.
pub const HASH_SLOT_EMPTY: u32 = u32::MAX;
/// Keys for every 100 slots.
const LOAD_PERCENT: usize = 80;

const PLACE_MASK: u32 = (1 << HASH_PLACE_BITS) - 1;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("HASH_INDEX_HEADER_LEN", HASH_INDEX_HEADER_LEN as u64),
    ("HASH_BUCKET_LEN", HASH_BUCKET_LEN as u64),
    ("HASH_BUCKET_SLOTS", HASH_BUCKET_SLOTS as u64),
    ("HASH_PLACE_BITS", HASH_PLACE_BITS as u64),
    ("HASH_SLOT_EMPTY", HASH_SLOT_EMPTY as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] =
    &[("HashIndexHeader", &[("bucket_count", 4), ("key_bits", 4), ("reserved", 56)])];

/// The keys of one block that start in it, for [`encode_hash_index`].
#[derive(Clone, Copy, Debug)]
pub struct BlockKeys {
    /// Number of the first of them in the block: 1 when the block's first key continues the block
    /// before.
    pub first: u32,
    /// Count of keys in the block, including those before `first`.
    pub end: u32,
}

/// The section over `hashes`, those of all keys in order, of which the blocks say where they are.
/// `None` when places do not fit into a slot or there are too many keys.
#[must_use]
pub fn encode_hash_index(hashes: &[u64], blocks: &[BlockKeys]) -> Option<Vec<u8>> {
    let keys_max = blocks.iter().map(|b| b.end).max()?;
    let key_bits = u32::BITS - keys_max.saturating_sub(1).leading_zeros();
    // The place of all ones would make an empty slot, so the last block number is never used.
    let blocks_max = 1_usize.checked_shl(HASH_PLACE_BITS.checked_sub(key_bits)?)? - 1;
    if blocks.len() > blocks_max {
        return None;
    }
    let slots = hashes.len().checked_mul(100)? / LOAD_PERCENT + 1;
    let bucket_count = slots.div_ceil(HASH_BUCKET_SLOTS);
    let mut buckets = vec![[HASH_SLOT_EMPTY; HASH_BUCKET_SLOTS]; bucket_count];
    let mut fill = vec![0_u8; bucket_count];
    let mut hashes = hashes.iter();
    for (number, block) in (0_u32..).zip(blocks) {
        for key in block.first..block.end {
            let &hash = hashes.next()?;
            let mut at = bucket_of(hash, bucket_count);
            while usize::from(*fill.get(at)?) == HASH_BUCKET_SLOTS {
                at = if at + 1 == bucket_count { 0 } else { at + 1 };
            }
            let used = fill.get_mut(at)?;
            let slot = buckets.get_mut(at)?.get_mut(usize::from(*used))?;
            *slot = tag(hash) << HASH_PLACE_BITS | number << key_bits | key;
            *used += 1;
        }
    }
    let mut out = Vec::with_capacity(HASH_INDEX_HEADER_LEN + bucket_count * HASH_BUCKET_LEN);
    out.extend(u32::try_from(bucket_count).ok()?.to_le_bytes());
    out.extend(key_bits.to_le_bytes());
    out.resize(HASH_INDEX_HEADER_LEN, 0);
    for slot in buckets.iter().flatten() {
        out.extend_from_slice(&slot.to_le_bytes());
    }
    Some(out)
}

#[inline(always)]
fn bucket_of(hash: u64, bucket_count: usize) -> usize {
    (((hash >> 32) * bucket_count as u64) >> 32) as usize
}

#[inline(always)]
const fn tag(hash: u64) -> u32 {
    hash as u32 >> HASH_PLACE_BITS
}

/// Where a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// Number of the block.
    pub block: u32,
    /// Number of the key in the block.
    pub key: u32,
}

/// The hash index of a segment, where it lies.
#[derive(Clone, Debug)]
pub struct HashIndex {
    bytes: Bytes,
    bucket_count: usize,
    key_bits: u32,
}

impl HashIndex {
    /// Reads the section. Places are checked when they are used.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(&bytes);
        let bucket_count = reader.u32()? as usize;
        let key_bits = reader.u32()?;
        reader.zeros(HASH_INDEX_HEADER_LEN - 8)?;
        let fits = bucket_count > 0
            && key_bits <= HASH_PLACE_BITS
            && bucket_count.checked_mul(HASH_BUCKET_LEN) == Some(reader.left());
        if !fits {
            let what = format!("{bucket_count} buckets in {} bytes", bytes.len());
            return Err(FormatError::new(0, what));
        }
        Ok(Self { bytes, bucket_count, key_bits })
    }

    /// The places where a key with this hash may be; a key of the segment is at one of them.
    #[inline]
    pub fn places(&self, hash: u64) -> Places<'_> {
        let bucket = bucket_of(hash, self.bucket_count);
        let mut places =
            Places { index: self, hash, bucket, left: self.bucket_count, hits: 0, open: true };
        places.look();
        places
    }

    /// Announces that the places of this hash will be asked for soon.
    #[inline]
    pub fn announce(&self, hash: u64) {
        let start = HASH_INDEX_HEADER_LEN + bucket_of(hash, self.bucket_count) * HASH_BUCKET_LEN;
        prefetch(&self.bytes, start);
    }

    #[inline(always)]
    fn bucket(&self, i: usize) -> &[u8] {
        let start = HASH_INDEX_HEADER_LEN + i * HASH_BUCKET_LEN;
        slice_at(&self.bytes, start, start + HASH_BUCKET_LEN)
    }
}

/// Iterates over the places where a key may be.
#[derive(Debug)]
pub struct Places<'a> {
    index: &'a HashIndex,
    hash: u64,
    bucket: usize,
    /// Buckets that were not looked at, this one included: bounds the search in a hostile file.
    left: usize,
    /// Slots of the bucket that are still to be returned, one bit each.
    hits: u32,
    /// Whether the bucket is full, so that the next one must be looked at.
    open: bool,
}

impl Places<'_> {
    /// Looks for the tag in the bucket.
    #[inline(always)]
    fn look(&mut self) {
        let bucket = self.index.bucket(self.bucket);
        let tag = tag(self.hash);
        let (mut hits, mut empty) = (0, 0);
        if let Some(bucket) = bucket.first_chunk::<HASH_BUCKET_LEN>() {
            for i in 0..HASH_BUCKET_SLOTS {
                let slot = u32_at(bucket, i * 4);
                hits |= u32::from(slot >> HASH_PLACE_BITS == tag) << i;
                empty |= u32::from(slot == HASH_SLOT_EMPTY) << i;
            }
        }
        self.hits = hits & !empty;
        self.open = empty == 0;
    }
}

impl Iterator for Places<'_> {
    type Item = KeyPlace;

    #[inline]
    fn next(&mut self) -> Option<KeyPlace> {
        while self.hits == 0 {
            self.left -= 1;
            if !self.open || self.left == 0 {
                self.left = 1;
                self.open = false;
                return None;
            }
            self.bucket += 1;
            if self.bucket == self.index.bucket_count {
                self.bucket = 0;
            }
            self.look();
        }
        let slot = self.hits.trailing_zeros() as usize;
        self.hits &= self.hits - 1;
        let place = u32_at(self.index.bucket(self.bucket), slot * 4) & PLACE_MASK;
        let key_bits = self.index.key_bits;
        Some(KeyPlace { block: place >> key_bits, key: place & ((1 << key_bits) - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key_hash;

    #[test]
    fn every_key_is_found_at_its_place() {
        let hashes: Vec<u64> = (0..5_000_u32).map(|i| key_hash(&i.to_le_bytes())).collect();
        // Blocks of 50 keys; every second one starts with a key of the block before.
        let blocks: Vec<BlockKeys> =
            (0..100).map(|i| BlockKeys { first: i % 2, end: 50 + i % 2 }).collect();
        let index = HashIndex::decode(encode_hash_index(&hashes, &blocks).unwrap().into()).unwrap();
        let mut others = 0;
        for (i, &hash) in (0..).zip(&hashes) {
            let block = i / 50;
            let place = KeyPlace { block, key: i % 50 + block % 2 };
            let found: Vec<_> = index.places(hash).collect();
            assert!(found.contains(&place), "key {i}: {place:?} not in {found:?}");
            others += found.len() - 1;
        }
        assert!(others < 3_000, "{others} false hits for 5000 keys");
        // Strangers end at an empty slot.
        let strangers =
            (5_000..10_000_u32).map(|i| index.places(key_hash(&i.to_le_bytes())).count());
        assert!(strangers.sum::<usize>() < 4_000);
    }

    #[test]
    fn all_hashes_equal_still_ends() {
        let blocks = [BlockKeys { first: 0, end: 100 }];
        let index =
            HashIndex::decode(encode_hash_index(&[7; 100], &blocks).unwrap().into()).unwrap();
        assert_eq!(index.places(7).count(), 100);
        // A hostile index without an empty slot ends as well.
        let full = [vec![2, 0, 0, 0, 4, 0, 0, 0], vec![0; 56 + 128]].concat();
        assert_eq!(HashIndex::decode(full.into()).unwrap().places(0).count(), 32);
    }

    #[test]
    fn too_many_blocks_give_no_index() {
        let blocks = vec![BlockKeys { first: 0, end: 4096 }; 1 << 14];
        assert!(encode_hash_index(&[], &blocks).is_none());
    }
}
