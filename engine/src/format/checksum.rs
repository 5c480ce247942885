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
