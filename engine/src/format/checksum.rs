//! The checksum and the hash that are persisted.

use crate::planted::{Bug, planted};
use std::fmt;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// CRC-32 (IEEE) of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// CRC-32 (IEEE) of `bytes`, started from `seed` so that it differs between files.
#[must_use]
pub fn crc32_seeded(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Checksums of any part of some bytes, each in time that does not grow with the length of the part (but
/// for its logarithm).
#[derive(Debug)]
pub struct PartCrcs {
    unit: usize,
    /// The checksum of the first `n` units, at `n`.
    fronts: Vec<u32>,
}

impl PartCrcs {
    /// Of parts that begin and end at multiples of `unit`, which is not 0.
    #[must_use]
    pub fn new(bytes: &[u8], unit: usize) -> Self {
        let mut fronts = Vec::with_capacity(bytes.len() / unit + 1);
        let mut front = crc32fast::Hasher::new();
        fronts.push(0);
        for part in bytes.chunks_exact(unit) {
            front.update(part);
            fronts.push(front.clone().finalize());
        }
        Self { unit, fronts }
    }

    /// What [`crc32_seeded`] gives for `bytes[start..end]`; `None` when there is no such part.
    #[must_use]
    pub fn seeded(&self, seed: u32, start: usize, end: usize) -> Option<u32> {
        let front = |at: usize| {
            let front = self.fronts.get(at / self.unit).copied();
            front.filter(|_| at.is_multiple_of(self.unit))
        };
        let len = end.checked_sub(start)?;
        // The checksum is linear: what comes before the part is taken away, and the seed put there.
        let before = front(start)? ^ seed;
        let mut shifted = crc32fast::Hasher::new_with_initial_len(before, 0);
        shifted.combine(&crc32fast::Hasher::new_with_initial_len(0, len as u64));
        Some(shifted.finalize() ^ front(end)?)
    }
}

/// Whether a checksum read is the one computed. Always true under a fuzzer, which would otherwise
/// never get past it.
#[must_use]
pub fn crc_matches(read: u32, computed: u32) -> bool {
    cfg!(fuzzing) || read == computed || planted(Bug::ChecksumsIgnored)
}

/// The digest of a file: XXH3, 128 bits, seed 0.
#[derive(Default)]
pub struct FileDigest(Xxh3);

impl FileDigest {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileDigest").finish()
    }
}

/// The hash of a key in filters and hash indexes: XXH3, 64 bits, seed 0.
#[must_use]
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_each_part_is_what_reading_it_gives() {
        let bytes: Vec<u8> =
            (0..1_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let crcs = PartCrcs::new(&bytes, 8);
        for start in (0..=bytes.len()).step_by(8) {
            for end in (start..=bytes.len()).step_by(8) {
                for seed in [0, 1, 0xdead_beef] {
                    let read = crc32_seeded(seed, &bytes[start..end]);
                    assert_eq!(crcs.seeded(seed, start, end), Some(read), "{start}..{end}");
                }
            }
        }
        assert_eq!(crcs.seeded(0, 0, 1_008), None, "beyond the end");
        assert_eq!(crcs.seeded(0, 3, 8), None, "not a whole unit");
        assert_eq!(crcs.seeded(0, 16, 8), None, "backwards");
    }
}
