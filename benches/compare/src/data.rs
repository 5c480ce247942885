//! The data: keys of 16 random bytes, which no engine can make shorter, and values of 100 bytes of
//! which half are random and half constant, so that compression has as much to win as on average.
//! Everything follows from an index, so nothing has to be kept in memory.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// Length of a key.
pub(crate) const KEY_LEN: usize = 16;
/// Length of a value.
pub(crate) const VAL_LEN: usize = 100;
/// Random bytes at the start of a value.
const VAL_RANDOM_LEN: usize = 50;
/// Added to the index of a key that is in no database.
const ABSENT: u64 = 1 << 40;

/// A key.
pub(crate) type Key = [u8; KEY_LEN];
/// A value.
pub(crate) type Val = [u8; VAL_LEN];

/// SplitMix64: a bijection, so that different indexes give different keys.
pub(crate) const fn mix(index: u64) -> u64 {
    let z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of row `index`.
pub(crate) fn key(index: u64) -> Key {
    let mut key = [0; KEY_LEN];
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&mix(index).to_be_bytes());
    tail.copy_from_slice(&mix(index ^ (1 << 63)).to_be_bytes());
    key
}

/// A key beside those of the rows.
pub(crate) fn absent_key(index: u64) -> Key {
    key(index + ABSENT)
}

/// The value of row `index` after `version` changes.
pub(crate) fn val(index: u64, version: u64) -> Val {
    let base = mix(index ^ 0x5eed ^ (version << 42)).wrapping_mul(8);
    let mut val = [0; VAL_LEN];
    for (word, chunk) in (0..).zip(val.split_at_mut(VAL_RANDOM_LEN).0.chunks_mut(8)) {
        let bytes = mix(base.wrapping_add(word)).to_le_bytes();
        let len = chunk.len();
        chunk.copy_from_slice(&bytes[..len]);
    }
    val
}

/// All keys of the first `rows` rows with their indexes, in order of the keys.
pub(crate) fn sorted_keys(rows: u64) -> Vec<(Key, u64)> {
    let mut keys: Vec<_> = (0..rows).map(|index| (key(index), index)).collect();
    keys.sort_unstable();
    keys
}

/// Random numbers from a seed.
pub(crate) fn chance(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// `count` numbers below `bound`, each as likely as any.
pub(crate) fn uniform(seed: u64, bound: u64, count: u64) -> Vec<u64> {
    let mut chance = chance(seed);
    (0..count).map(|_| chance.random_range(0..bound)).collect()
}

/// `count` indexes below `bound`, few of them often: Zipfian with the exponent of YCSB, the popular
/// ones spread over the whole range.
pub(crate) fn zipfian(seed: u64, bound: u64, count: u64) -> crate::Result<Vec<u64>> {
    let mut chance = chance(seed);
    let zipf = Zipf::new(bound as f64, 0.99)?;
    Ok((0..count).map(|_| mix(zipf.sample(&mut chance) as u64) % bound).collect())
}

/// `count` distances from the newest row, small ones likely: what workload D of YCSB reads.
pub(crate) fn zipfian_ages(seed: u64, bound: u64, count: u64) -> crate::Result<Vec<u64>> {
    let mut chance = chance(seed);
    let zipf = Zipf::new(bound as f64, 0.99)?;
    Ok((0..count).map(|_| (zipf.sample(&mut chance) as u64).saturating_sub(1)).collect())
}

/// What was read: how many rows, and a sum over every byte of them. It is the same for every engine,
/// so that nobody wins by not reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Count of rows.
    pub(crate) count: u64,
    /// Sum of their bytes, taken as words.
    pub(crate) sum: u64,
}

impl Seen {
    /// A value was read.
    #[inline]
    pub(crate) fn val(&mut self, val: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(words(val));
    }

    /// A key and its value were read.
    #[inline]
    pub(crate) fn row(&mut self, key: &[u8], val: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(words(key)).wrapping_add(words(val).rotate_left(17));
    }

    /// What two readers have read together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The sum of the words of `bytes`, the last one filled with zeros.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    let (whole, rest) = bytes.as_chunks::<8>();
    let sum = whole.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0_u64, |last, byte| (last << 8) | u64::from(*byte));
    sum.wrapping_add(last)
}
