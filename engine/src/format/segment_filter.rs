//! The filter of a segment: a split-block Bloom filter over the hashes of its keys.
//!
//! One probe touches one group of 32 bytes: eight 32-bit words with one bit each.

#![deny(clippy::indexing_slicing)]

use super::column::u32_at;
use super::{FormatError, SpecConstant, SpecLayout};
use bytes::Bytes;

/// Length of a group.
pub const FILTER_GROUP_LEN: usize = 32;
/// Words of a group.
const WORDS: usize = 8;
/// One odd multiplier for each word of a group; the word's bit is the product's upper five bits.
pub const FILTER_MULTIPLIERS: [u32; WORDS] = [
    0x9e37_79b1,
    0x85eb_ca6b,
    0xc2b2_ae35,
    0x27d4_eb2f,
    0x1656_67b1,
    0xd3a2_646d,
    0xfd70_46c5,
    0xb55a_4f09,
];

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("FILTER_GROUP_LEN", FILTER_GROUP_LEN as u64),
    ("FILTER_MULTIPLIER_0", FILTER_MULTIPLIERS[0] as u64),
    ("FILTER_MULTIPLIER_1", FILTER_MULTIPLIERS[1] as u64),
    ("FILTER_MULTIPLIER_2", FILTER_MULTIPLIERS[2] as u64),
    ("FILTER_MULTIPLIER_3", FILTER_MULTIPLIERS[3] as u64),
    ("FILTER_MULTIPLIER_4", FILTER_MULTIPLIERS[4] as u64),
    ("FILTER_MULTIPLIER_5", FILTER_MULTIPLIERS[5] as u64),
    ("FILTER_MULTIPLIER_6", FILTER_MULTIPLIERS[6] as u64),
    ("FILTER_MULTIPLIER_7", FILTER_MULTIPLIERS[7] as u64),
];

/// Layouts of this module under their names in FORMAT.md: none, a filter is nothing but groups.
pub const LAYOUTS: &[SpecLayout] = &[];

/// The section: a filter over `hashes` with about `bits_per_key` bits for each.
#[must_use]
pub fn encode_filter(hashes: &[u64], bits_per_key: usize) -> Vec<u8> {
    let bits = hashes.len().saturating_mul(bits_per_key);
    let groups = bits.div_ceil(FILTER_GROUP_LEN * 8).max(1);
    let mut words = vec![[0_u32; WORDS]; groups];
    for &hash in hashes {
        if let Some(group) = words.get_mut(group_of(hash, groups)) {
            for (word, multiplier) in group.iter_mut().zip(FILTER_MULTIPLIERS) {
                *word |= bit(hash, multiplier);
            }
        }
    }
    words.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

#[inline(always)]
fn group_of(hash: u64, groups: usize) -> usize {
    (((hash >> 32) * groups as u64) >> 32) as usize
}

#[inline(always)]
const fn bit(hash: u64, multiplier: u32) -> u32 {
    1 << ((hash as u32).wrapping_mul(multiplier) >> 27)
}

/// The filter of a segment, where it lies.
#[derive(Clone, Debug)]
pub struct Filter {
    bytes: Bytes,
    groups: usize,
}

impl Filter {
    /// Reads the section.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let groups = bytes.len() / FILTER_GROUP_LEN;
        if groups == 0 || groups * FILTER_GROUP_LEN != bytes.len() || groups > u32::MAX as usize {
            return Err(FormatError::new(0, format!("a filter of {} bytes", bytes.len())));
        }
        Ok(Self { bytes, groups })
    }

    /// False when no key of the segment has this hash.
    #[inline]
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        let start = group_of(hash, self.groups) * FILTER_GROUP_LEN;
        let group = self.bytes.get(start..start + FILTER_GROUP_LEN).unwrap_or_default();
        let mut missing = 0;
        for (i, multiplier) in FILTER_MULTIPLIERS.into_iter().enumerate() {
            missing |= bit(hash, multiplier) & !u32_at(group, i * 4);
        }
        missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key_hash;

    #[test]
    fn holds_every_key_and_few_others() {
        let hashes: Vec<u64> = (0..20_000_u32).map(|i| key_hash(&i.to_le_bytes())).collect();
        let filter = Filter::decode(encode_filter(&hashes, 12).into()).unwrap();
        assert!(hashes.iter().all(|&hash| filter.may_contain(hash)));
        let strangers = 20_000..120_000_u32;
        let passed = strangers.filter(|i| filter.may_contain(key_hash(&i.to_le_bytes()))).count();
        assert!(passed < 1_000, "{passed} of 100000 strangers passed");
    }

    #[test]
    fn odd_lengths_are_refused() {
        assert!(Filter::decode(Bytes::new()).is_err());
        assert!(Filter::decode(vec![0; 33].into()).is_err());
    }
}
