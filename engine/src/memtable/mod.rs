//! The memtable: the newest rows, in memory, until a flush has put them into segments.
//!
//! On the write path it stands between the WAL and the flush: the commit leader inserts the rows of
//! each commit that has become durable. On the read path it is the newest source. It does not
//! decide what is visible: rows may be here before the collection's upper passes their times, and a
//! reader names the window of times that it wants.
//!
//! ```text
//! key -> bucket -> entry -> entry ..       point reads, newest first      (chain)
//!                 \-> histories            made when a chain is long   (deep, history)
//! collection -> slot -> entry -> entry ..  all rows, newest first         (slot)
//!                 \-> sorted runs          made when somebody reads in order (sorted, cursor)
//! ```
//!
//! The entries lie in an arena that only grows. There is one writer at a time and any number of
//! readers; a reader never makes the writer wait.
//!
//! # Invariants
//! 1. A row is never changed, moved or removed; the memtable is dropped as a whole, when the last
//!    reader of it has gone.
//! 2. After [`Memtable::freeze`] no row is added: what the flush sorts is all there is.
//!
//! Crash behaviour: memory only; recovery inserts the rows of the WAL that no segment has.

mod arena;
mod chain;
mod cursor;
mod deep;
mod history;
mod slot;
mod sorted;
mod version;

#[cfg(test)]
mod loom;
#[cfg(test)]
mod tests;

pub use arena::MEMTABLE_BYTES_MAX;
pub use cursor::MemCursor;
pub use slot::Slot;
pub use sorted::SortedRun;

use crate::format::key_hash;
use crate::found::{Found, ValRef};
use crate::limits::COLLECTION_COUNT_MAX;
use crate::sync::{Arc, RwLock};
use crate::types::{CollectionId, TimeWindow, Update};
use arena::{Arena, ArenaWriter, NewEntry};
use chain::Buckets;
use deep::{CHAIN_STEPS_MAX, Sought, Want};
use std::collections::HashMap;

/// Bytes that the bookkeeping of one collection is taken to need.
pub const SLOT_BYTES: u64 = 256;

/// Rows in memory; see the module's documentation.
#[derive(Debug)]
pub struct Memtable {
    arena: Arc<Arena>,
    buckets: Buckets,
    /// Locked for writing only when a collection gets its first row.
    slots: RwLock<HashMap<CollectionId, Arc<Slot>>>,
}

impl Memtable {
    /// An empty memtable that is best at about `capacity_hint_bytes`; it may get larger.
    #[must_use]
    pub fn new(capacity_hint_bytes: usize) -> Self {
        let arena = Arc::new(Arena::new());
        let buckets = Buckets::new(&arena, capacity_hint_bytes);
        Self { arena, buckets, slots: RwLock::new(HashMap::new()) }
    }

    /// The right to insert; waits for whoever has it.
    ///
    /// # Panics
    /// When the memtable is frozen (I2).
    #[must_use]
    pub fn writer(&self) -> MemtableWriter<'_> {
        MemtableWriter { memtable: self, arena: self.arena.writer() }
    }

    /// Ends writing for good, after the writer at work (I2).
    pub fn freeze(&self) {
        self.arena.freeze();
    }

    /// The rows of a collection; `None` when it has none here.
    #[must_use]
    pub fn slot(&self, collection: CollectionId) -> Option<Arc<Slot>> {
        self.slots.read().get(&collection).cloned()
    }

    /// All collections with rows here, in the order of their identifiers.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.slots.read().values().cloned().collect();
        slots.sort_unstable_by_key(|slot| slot.collection());
        slots
    }

    /// Whether nothing was inserted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arena.bytes() == 0
    }

    /// Bytes of memory in use, buckets and bookkeeping included; not what readers have added, the
    /// sorted runs and [`Memtable::history_bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let slots = self.slots.read().len() as u64 * SLOT_BYTES;
        self.arena.bytes() + self.buckets.bytes() + slots
    }

    /// Bytes of memory of the histories of keys that readers have found to be deep.
    #[must_use]
    pub fn history_bytes(&self) -> u64 {
        self.slots.read().values().map(|slot| slot.deep().bytes()).sum()
    }

    /// Count of the updates.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.slots.read().values().map(|slot| slot.updates()).sum()
    }

    /// Finds the values of `key`, whose [`key_hash`] is `hash`: pushes values with diffs that come
    /// to what the updates in the window add up to. Costs time in the updates while they are few,
    /// later only in the values, see the file `deep.rs`.
    pub fn get<'s>(
        &'s self,
        slot: &Slot,
        key: &[u8],
        hash: u64,
        window: TimeWindow,
        found: &mut Found<'s>,
    ) {
        debug_assert!(slot.belongs_to(&self.arena), "a slot is used with its own memtable");
        let place = self.buckets.place(slot.number(), hash);
        let sought = Sought { slot, key, hash, place };
        if slot.deep().may_have(hash) && self.get_deep(sought, window, found) {
            return;
        }
        let (mut steps, mut rows) = (0, 0);
        let mut link = self.buckets.head(place);
        while let Some(at) = place.follow(link) {
            let entry = self.arena.entry(at);
            if entry.key == key && entry.slot() == slot.number() {
                if window.contains(entry.ts()) {
                    found.push(ValRef::Borrowed(entry.val), entry.diff().into());
                }
                rows += 1;
            }
            steps += 1;
            link = entry.next_in_bucket();
        }
        if steps > CHAIN_STEPS_MAX {
            // For the next one: what was found so far cannot be taken back.
            self.make_history(sought, rows, Want::Sums);
        }
    }
}

/// The right to insert into a memtable. Held for a batch, not longer.
pub struct MemtableWriter<'a> {
    memtable: &'a Memtable,
    arena: ArenaWriter<'a>,
}

impl MemtableWriter<'_> {
    /// The slot of a collection, made when it has none.
    ///
    /// # Panics
    /// When there are too many collections (checked by the catalog).
    #[must_use]
    pub fn slot(&mut self, collection: CollectionId) -> Arc<Slot> {
        if let Some(slot) = self.memtable.slot(collection) {
            return slot;
        }
        // Nobody else can have added it meanwhile: the writer is one.
        let mut slots = self.memtable.slots.write();
        assert!(slots.len() < COLLECTION_COUNT_MAX, "collections within the limit");
        let arena = Arc::clone(&self.memtable.arena);
        let slot = Arc::new(Slot::new(collection, slots.len() as u32, arena));
        slots.insert(collection, Arc::clone(&slot));
        slot
    }

    /// Inserts one update. Readers can see it at once, if they ask for its time.
    ///
    /// # Panics
    /// When `slot` is of another memtable, or the row is beyond the limits (checked by the commit).
    #[inline]
    pub fn insert(&mut self, slot: &Slot, update: Update<'_>) {
        let buckets = &self.memtable.buckets;
        let place = buckets.place(slot.number(), key_hash(update.key));
        let head = buckets.head(place);
        let at = self.arena.push(&NewEntry {
            next_in_bucket: head,
            prev_in_collection: slot.newest(),
            slot: slot.number(),
            update,
        });
        slot.publish(at, &update);
        buckets.publish(place, at, head);
    }

    /// Inserts updates of one collection.
    pub fn insert_all<'u>(
        &mut self,
        collection: CollectionId,
        updates: impl IntoIterator<Item = Update<'u>>,
    ) {
        let slot = self.slot(collection);
        for update in updates {
            self.insert(&slot, update);
        }
    }
}

impl std::fmt::Debug for MemtableWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemtableWriter").finish_non_exhaustive()
    }
}
