//! The hash chains of a memtable: how a point read finds the entries of one key.
//!
//! Each bucket is a list of entries, newest first, whose head is the only word that is ever
//! overwritten; one writer puts new entries in front, readers follow the list without a lock.
//!
//! Each entry of the list is a cache miss, and a read must find every update of its key, not just
//! the newest. So each link (the head, and the next of each entry) has a filter of 32 bits for the
//! list behind it: a key has one bit, and where it is not set no entry of the key follows. A read of
//! a key that is not here mostly ends at the head, one that has found its key mostly right there.
//!
//! # Invariants
//! 1. An entry is complete and its link is set before it becomes the head of its bucket, so a
//!    reader that sees it sees everything behind it too.
//! 2. The filter of a link has the bit of every key in the list behind it.
//! 3. Nothing is ever unlinked.

use super::arena::{Arena, EntryRef, HeadTable, Link};

/// Fewest buckets.
const BUCKET_COUNT_MIN: usize = if cfg!(datestone_loom) { 1 } else { 1024 };
/// Most buckets: the bits of the hash above them choose the bit in the filter.
const BUCKET_COUNT_MAX: usize = 1 << 28;
/// Bytes of capacity for which there is one bucket: about the size of an entry.
const BYTES_PER_BUCKET: usize = 128;

/// The bucket of a key, and its bit in the filters there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    bucket: usize,
    bit: u32,
}

impl Place {
    /// The next entry that may be of the key; `None` when none is (I2).
    #[inline]
    pub(super) fn follow(self, link: Link) -> Option<EntryRef> {
        if link.filter & self.bit == 0 { None } else { link.newest }
    }
}

/// The buckets of a memtable.
#[derive(Debug)]
pub(super) struct Buckets {
    heads: HeadTable,
}

impl Buckets {
    /// Buckets for about `capacity` bytes of entries in `arena`.
    pub(super) fn new(arena: &Arena, capacity: usize) -> Self {
        let count = (capacity / BYTES_PER_BUCKET).clamp(BUCKET_COUNT_MIN, BUCKET_COUNT_MAX);
        Self { heads: HeadTable::new(arena, count.next_power_of_two()) }
    }

    /// Bytes of memory that the buckets take.
    pub(super) fn bytes(&self) -> u64 {
        self.heads.bytes()
    }

    /// Where the key with this hash goes in the slot with this number.
    #[inline]
    pub(super) fn place(&self, slot: u32, hash: u64) -> Place {
        // Slots are few and small numbers; the multiplication spreads them over all bits.
        let mixed = hash ^ u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Place { bucket: mixed as usize & (self.heads.count() - 1), bit: 1 << (mixed >> 59) }
    }

    /// The head of a bucket.
    #[inline]
    pub(super) fn head(&self, place: Place) -> Link {
        self.heads.load(place.bucket)
    }

    /// Puts an entry whose link is `head`, what [`Buckets::head`] has just said, in front. There is
    /// one writer, so that is still the head.
    #[inline]
    pub(super) fn publish(&self, place: Place, at: EntryRef, head: Link) {
        self.heads.publish(place.bucket, at, head.filter | place.bit);
    }
}
