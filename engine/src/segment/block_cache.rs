//! [`BlockCache`]: decoded blocks of all segments, for those that are stored compressed.
//!
//! Raw blocks are read where they lie in the map and never enter it.

use crate::planted::{Bug, planted};
use crate::types::SegmentId;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A block is this large or larger, as an estimate for the count of slots.
const BLOCK_LEN_ESTIMATE: usize = 16 << 10;

/// Decoded blocks, the most useful ones up to a count of bytes.
#[derive(Debug)]
pub struct BlockCache {
    blocks: Cache<(SegmentId, u32), Bytes, ByteWeighter>,
}

#[derive(Clone, Debug)]
struct ByteWeighter;

impl Weighter<(SegmentId, u32), Bytes> for ByteWeighter {
    fn weight(&self, _: &(SegmentId, u32), block: &Bytes) -> u64 {
        block.len() as u64 + 64
    }
}

impl BlockCache {
    /// A cache that holds up to about `capacity_bytes`.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        let slots = capacity_bytes / BLOCK_LEN_ESTIMATE + 16;
        Self { blocks: Cache::with_weighter(slots, capacity_bytes as u64, ByteWeighter) }
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.blocks.weight()
    }

    pub(super) fn get(&self, segment: SegmentId, block: u32) -> Option<Bytes> {
        let segment = if planted(Bug::CacheMixedUp) { SegmentId(0) } else { segment };
        self.blocks.get(&(segment, block))
    }

    pub(super) fn put(&self, segment: SegmentId, block: u32, bytes: Bytes) {
        let segment = if planted(Bug::CacheMixedUp) { SegmentId(0) } else { segment };
        self.blocks.insert((segment, block), bytes);
    }

    pub(super) fn forget(&self, segment: SegmentId, block: u32) {
        self.blocks.remove(&(segment, block));
    }
}
