//! [`BlockCopy`]: a block that a merge takes over as it is.

use crate::format::block::BlockShape;
use crate::types::TimeWindow;
use bytes::Bytes;

/// A checked block of a segment in which nothing can consolidate: every entry has one update, no
/// two are equal, and its keys occur in no other block of its segment. Its times are kept, also
/// those below since, which readers advance.
#[derive(Clone, Debug)]
pub struct BlockCopy {
    /// What is stored in the file.
    pub(super) stored: Bytes,
    /// The block before compression.
    pub(super) raw: Bytes,
    pub(super) codec: u8,
    pub(super) crc: u32,
    pub(super) shape: BlockShape,
    /// Least and greatest diff.
    pub(super) diffs: (i64, i64),
    pub(super) times: TimeWindow,
    pub(super) first_key: Vec<u8>,
    pub(super) last_key: Vec<u8>,
}

impl BlockCopy {
    /// Its first key.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        &self.first_key
    }

    /// Its last key.
    #[must_use]
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Whether it holds one version of each key of a table, and, where a deletion would be of no
    /// use, none.
    #[must_use]
    pub const fn is_one_version_a_key(&self, without_deletions: bool) -> bool {
        self.shape.keys() == self.shape.entries() && (!without_deletions || self.diffs.0 > 0)
    }

    /// Count of its updates, which is that of its entries.
    #[must_use]
    pub fn updates(&self) -> u64 {
        u64::from(self.shape.updates())
    }

    /// Its length before compression.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.raw.len() as u64
    }
}
