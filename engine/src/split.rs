//! Splitting a snapshot among readers, and looking many keys up at once.
//!
//! Where to split is decided by what lies in memory anyway: the first keys of blocks in the block
//! indexes, and keys here and there in the sorted runs of memtables. No block is read.

use crate::error::{Error, Result};
use crate::read::RangeSpec;
use crate::snapshot::Snapshot;
use std::ops::Bound;

/// Most ranges that a snapshot is split into.
pub const SPLIT_MAX: usize = 4096;
/// Keys that are considered for each range: the ranges differ by about so small a share.
const SAMPLES: u64 = 32;
/// So many keys ahead memory is asked for what leads to them.
const ANNOUNCED: usize = 8;

impl Snapshot {
    /// At most `count` ranges of keys, in order, which have every key in exactly one and about
    /// equally many bytes in each. Fewer where there are few blocks; keys are not split.
    pub fn split(&self, count: usize) -> Result<Vec<RangeSpec>> {
        if count == 0 || count > SPLIT_MAX {
            return Err(Error::invalid(format!(
                "a snapshot is split into 1 to {SPLIT_MAX} ranges, not {count}"
            )));
        }
        let total = self.weigh(u64::MAX, |_, _| {})?;
        let mut samples: Vec<(Vec<u8>, u64)> = Vec::new();
        let step = (total / (SAMPLES * count as u64)).max(1);
        self.weigh(step, |key, weight| samples.push((key, weight)))?;
        samples.sort();
        Ok(ranges(boundaries(samples, total, count)))
    }

    /// Calls `visit(index, val, diff)` for each value of each key, `index` being the key's place in
    /// `keys`: key by key in an order that is good for memory, the values of a key in order.
    pub fn multi_get(
        &self,
        keys: &[&[u8]],
        mut visit: impl FnMut(usize, &[u8], i64) -> Result<()>,
    ) -> Result<()> {
        // Keys that are near each other are in the same blocks.
        let mut order: Vec<(u64, usize)> =
            keys.iter().enumerate().map(|(index, key)| (head(key), index)).collect();
        order.sort_unstable();
        let order: Vec<(usize, &[u8])> =
            order.into_iter().filter_map(|(_, index)| Some((index, *keys.get(index)?))).collect();
        let soon = order.iter().skip(ANNOUNCED).map(|(_, key)| Some(*key));
        for ((index, key), soon) in order.iter().zip(soon.chain(std::iter::repeat(None))) {
            soon.into_iter().for_each(|key| self.announce(key));
            self.contents_of(key, |val, diff| visit(*index, val, diff))?;
        }
        Ok(())
    }
}

/// The first 8 bytes of a key as a number that orders as keys do.
fn head(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    head.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(head)
}

/// The first keys of all ranges but the first one, ascending.
fn boundaries(samples: Vec<(Vec<u8>, u64)>, total: u64, count: usize) -> Vec<Vec<u8>> {
    let mut boundaries: Vec<Vec<u8>> = Vec::new();
    let mut passed: u128 = 0;
    let mut next = 1;
    let wanted = |next: usize| u128::from(total) * next as u128 / count as u128;
    for (at, (key, weight)) in samples.into_iter().enumerate() {
        if at > 0 && next < count && passed >= wanted(next) {
            while next < count && passed >= wanted(next) {
                next += 1;
            }
            if boundaries.last() != Some(&key) {
                boundaries.push(key);
            }
        }
        passed += u128::from(weight);
    }
    boundaries
}

fn ranges(boundaries: Vec<Vec<u8>>) -> Vec<RangeSpec> {
    let mut ranges = Vec::with_capacity(boundaries.len() + 1);
    let mut start = Bound::Unbounded;
    for key in boundaries {
        ranges.push(RangeSpec { start, end: Bound::Excluded(key.clone()) });
        start = Bound::Included(key);
    }
    ranges.push(RangeSpec { start, end: Bound::Unbounded });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    #[test]
    fn boundaries_share_the_weight() {
        let samples: Vec<_> = (0..1000).map(|n| (key(n), 10)).collect();
        assert_eq!(boundaries(samples.clone(), 10_000, 4), [key(250), key(500), key(750)]);
        assert_eq!(boundaries(samples.clone(), 10_000, 1), Vec::<Vec<u8>>::new());
        // One heavy key takes the place of several ranges; equal keys make one boundary.
        let heavy = vec![(key(1), 10), (key(2), 1000), (key(3), 10), (key(3), 10)];
        assert_eq!(boundaries(heavy, 1030, 4), [key(3)]);
        assert_eq!(ranges(Vec::new()), [RangeSpec::ALL]);
    }
}
