//! [`Catalog`]: what readers see, published at one moment for all collections.
//!
//! The commit leader and the installers of flushes and merges change it under one short write lock,
//! so that a reader sees all of a commit or none of it; a snapshot clones what it needs under the
//! read lock and never comes back.
//!
//! # Invariants
//! 1. Every update below a published upper is in the published memtables or segments.
//! 2. An update is in the published memtables or segments once: a flush installs its segments and
//!    takes its memtable away in one step.

use crate::collection::{Collection, Collections};
use crate::commit::Reads;
use crate::error::Result;
use crate::memtable::Memtable;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::types::{CollectionId, SeqNo, TimeWindow, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A part as readers see it: key-ordered, key-disjoint segments, of which only the updates in the
/// window count.
#[derive(Clone, Debug)]
pub struct PartSource {
    /// The segments, in order of their keys.
    pub segments: Arc<[Arc<Segment>]>,
    /// The times that count.
    pub window: TimeWindow,
}

/// The segments of one collection.
#[derive(Debug, Default)]
pub struct ReadSet {
    /// The parts, those with the latest windows first.
    pub parts: Vec<PartSource>,
    /// Sealed runs among them.
    pub runs: usize,
}

/// The memtables, shared by all collections.
#[derive(Debug)]
pub struct MemSet {
    /// The one that commits go to.
    pub active: Arc<Memtable>,
    /// Those that wait for their flush, oldest first.
    pub frozen: Vec<Arc<Frozen>>,
}

impl MemSet {
    /// All memtables.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        self.frozen.iter().map(|frozen| &frozen.memtable).chain([&self.active])
    }
}

/// A memtable that no commit goes to any longer, with what the manifest must know once it is
/// flushed.
#[derive(Debug)]
pub struct Frozen {
    /// The updates.
    pub memtable: Arc<Memtable>,
    /// The database's clock at the freeze.
    pub clock: Timestamp,
    /// The last commit whose updates are in this memtable or an older one.
    pub last_seqno: SeqNo,
    /// The state after that commit of every collection that changed or got updates since the
    /// memtable before was frozen; `None` when it was dropped.
    pub changed: Vec<(CollectionId, Option<Collection>)>,
}

/// What readers see.
#[derive(Debug)]
pub struct Catalog {
    collections: Collections,
    reads: HashMap<CollectionId, Arc<ReadSet>>,
    mem: Arc<MemSet>,
}

impl Catalog {
    /// The catalog of a database that was just opened.
    #[must_use]
    pub const fn new(
        collections: Collections,
        reads: HashMap<CollectionId, Arc<ReadSet>>,
        mem: Arc<MemSet>,
    ) -> Self {
        Self { collections, reads, mem }
    }

    /// The collections.
    #[must_use]
    pub const fn collections(&self) -> &Collections {
        &self.collections
    }

    /// The memtables.
    #[must_use]
    pub const fn mem(&self) -> &Arc<MemSet> {
        &self.mem
    }

    /// The segments of a collection.
    #[must_use]
    pub fn reads(&self, id: CollectionId) -> Arc<ReadSet> {
        self.reads.get(&id).cloned().unwrap_or_default()
    }

    /// Most parts that a read of one collection merges.
    #[must_use]
    pub fn parts_max(&self) -> usize {
        self.reads.values().map(|reads| reads.parts.len()).max().unwrap_or(0)
    }

    /// Publishes the state of the collections that commits changed.
    pub fn publish(&mut self, changed: &BTreeSet<CollectionId>, from: &Collections) {
        self.collections.set_clock(from.clock());
        for id in changed {
            let collection = from.get(*id);
            self.collections.replace(*id, collection);
            if collection.is_none() {
                self.reads.remove(id);
            }
        }
    }

    /// Publishes other memtables.
    pub fn set_mem(&mut self, mem: MemSet) {
        self.mem = Arc::new(mem);
    }

    /// Publishes the segments of a collection, unless it was dropped meanwhile.
    pub fn set_reads(&mut self, id: CollectionId, reads: Arc<ReadSet>) {
        if self.collections.get(id).is_some() {
            self.reads.insert(id, reads);
        }
    }

    /// Takes away a memtable that was flushed. The caller installs its segments under the same
    /// lock (invariant 2).
    pub fn remove_frozen(&mut self, flushed: &Arc<Frozen>) {
        let frozen = self.mem.frozen.iter().filter(|f| !Arc::ptr_eq(f, flushed)).cloned().collect();
        self.mem = Arc::new(MemSet { active: Arc::clone(&self.mem.active), frozen });
    }

    /// All that a collection holds, whatever its frontiers are.
    pub fn everything(&self, id: CollectionId) -> Result<Snapshot> {
        let description = &self.collections.require(id)?.description;
        Ok(Snapshot::new(description, Timestamp::MAX, &self.mem, self.reads(id)))
    }

    /// What was written to the tables that `reads` are of after they were made.
    ///
    /// # Errors
    /// [`Error::Compacted`] when since has passed their time: a deletion after it may have been merged
    /// away together with what it hid, and then nothing says that there was one.
    ///
    /// [`Error::Compacted`]: crate::error::Error::Compacted
    pub fn written_since(&self, reads: &Reads) -> Result<BTreeMap<CollectionId, Snapshot>> {
        let Some(first) = reads.as_of.checked_add(1) else { return Ok(BTreeMap::new()) };
        let window = TimeWindow { first, last: Timestamp::MAX };
        let of_table = |id| {
            let table = self.collections.current(id)?;
            table.check_since(reads.as_of)?;
            let table = &table.description;
            Ok((id, Snapshot::of_window(table, window, &self.mem, self.reads(id))))
        };
        let keys = reads.keys.iter().map(|(id, _)| *id);
        let ranges = reads.ranges.iter().map(|(id, _)| *id);
        keys.chain(ranges).collect::<BTreeSet<_>>().into_iter().map(of_table).collect()
    }

    /// A snapshot of a collection.
    pub fn snapshot(&self, id: CollectionId, as_of: u64) -> Result<Snapshot> {
        let collection = self.collections.current(id)?;
        collection.check_as_of(as_of)?;
        Ok(Snapshot::new(&collection.description, as_of, &self.mem, self.reads(id)))
    }
}

#[cfg(all(test, datestone_loom))]
mod loom;
