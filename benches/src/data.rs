//! [`Rows`]: keys and values from a seed.
//!
//! Keys are 16 random bytes, which no prefix truncation helps. Values are 100 bytes, half of them
//! random and half of them constant, so that compression has as much to win as on average data.

use datestone::Update;

/// Length of a key.
pub const KEY_LEN: usize = 16;
/// Length of a value.
pub const VAL_LEN: usize = 100;
/// Random bytes at the start of a value.
const VAL_RANDOM_LEN: usize = 50;

/// SplitMix64: a bijection of a counter, so that different indexes give different keys.
#[must_use]
pub const fn mix(index: u64) -> u64 {
    let z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Pseudo-random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

/// Writes row `index` of the data of `seed`.
pub fn fill_row(seed: u64, index: u64, key: &mut [u8; KEY_LEN], val: &mut [u8; VAL_LEN]) {
    fill_key(seed, index, key);
    fill_val(seed, index, val);
}

/// Writes the key of row `index` of the data of `seed`.
pub fn fill_key(seed: u64, index: u64, key: &mut [u8; KEY_LEN]) {
    let base = mix(seed) ^ index;
    let (head, tail) = key.split_at_mut(8);
    head.copy_from_slice(&mix(base).to_be_bytes());
    tail.copy_from_slice(&mix(base ^ (1 << 63)).to_be_bytes());
}

/// Writes the value of row `index` of the data of `seed`.
pub fn fill_val(seed: u64, index: u64, val: &mut [u8; VAL_LEN]) {
    let base = mix(seed ^ 0x5eed).wrapping_add(index.wrapping_mul(8));
    val.fill(b'.');
    let random = val.split_at_mut(VAL_RANDOM_LEN).0;
    for (word, chunk) in (0..).zip(random.chunks_mut(8)) {
        let bytes = mix(base.wrapping_add(word)).to_le_bytes();
        let len = chunk.len();
        chunk.copy_from_slice(&bytes[..len]);
    }
}

/// Rows in random order of their keys.
#[derive(Clone, Debug)]
pub struct Rows {
    keys: Vec<[u8; KEY_LEN]>,
    vals: Vec<[u8; VAL_LEN]>,
}

impl Rows {
    /// The first `count` rows of the data of `seed`.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        let mut keys = vec![[0; KEY_LEN]; count];
        let mut vals = vec![[0; VAL_LEN]; count];
        for (index, (key, val)) in (0..).zip(keys.iter_mut().zip(&mut vals)) {
            fill_row(seed, index, key, val);
        }
        Self { keys, vals }
    }

    /// Count of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; KEY_LEN], &[u8; VAL_LEN])> {
        self.keys.iter().zip(&self.vals)
    }

    /// The rows as updates at `ts`, each adding its row once.
    pub fn updates(&self, ts: u64) -> impl Iterator<Item = Update<'_>> {
        self.iter().map(move |(key, val)| Update { key, val, ts, diff: 1 })
    }

    /// All keys, in an order of their own, for point reads: they lie in that order in memory, so
    /// that looking at the next key to read costs nothing.
    #[must_use]
    pub fn lookups(&self, seed: u64) -> Vec<[u8; KEY_LEN]> {
        let mut keys = self.keys.clone();
        Chance::new(seed).shuffle(&mut keys);
        keys
    }

    /// The rows in order of their keys.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&[u8; KEY_LEN], &[u8; VAL_LEN])> {
        let mut rows: Vec<_> = self.iter().collect();
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_rows_and_different_keys() {
        let rows = Rows::new(7, 10_000);
        assert_eq!(rows.keys, Rows::new(7, 10_000).keys);
        let mut keys = rows.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10_000);
        let mut lookups = rows.lookups(1);
        assert_ne!(lookups, rows.keys);
        lookups.sort_unstable();
        assert_eq!(lookups, keys);
    }
}
