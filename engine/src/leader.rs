//! [`WriteState`]: what the thread that leads a group of commits works on, alone: the collections
//! as of the last commit and the memtable that updates go to. Recovery replays the log into it.
//!
//! # Invariants
//! 1. The frozen memtables and the active one hold exactly the updates of the commits after the
//!    last flushed one, each memtable those of an interval of commits.
//! 2. Nothing of a commit is left here when it could not be logged.

use crate::catalog::Frozen;
use crate::collection::{Change, Collection, Collections, Description};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::wal_record::{Op, Rows, WAL_TS_ASSIGNED, decode};
use crate::format::{log_key, table_val};
use crate::memtable::{Memtable, MemtableWriter};
use crate::planted::{Bug, planted};
use crate::types::{CollectionId, Kind, SeqNo, TimeWindow, Timestamp, Update};
use crate::wal::ReplayFrame;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The collections and memtables as of the last commit that was applied; what a commit is checked
/// against. Recovery builds it from the manifest and the log.
#[derive(Debug)]
pub(crate) struct WriteState {
    /// The collections.
    pub(crate) collections: Collections,
    /// The memtable that updates go to.
    pub(crate) active: Arc<Memtable>,
    memtable_bytes: usize,
    /// Collections that changed since the memtable before was frozen.
    changed: BTreeSet<CollectionId>,
    /// The last commit that was applied.
    pub(crate) last_seqno: SeqNo,
    /// Bytes of records since the memtable before was frozen.
    logged_bytes: usize,
}

impl WriteState {
    /// The state as of `last_seqno`, with everything before it flushed.
    pub(crate) fn new(collections: Collections, last_seqno: SeqNo, memtable_bytes: usize) -> Self {
        Self {
            collections,
            active: Arc::new(Memtable::new(memtable_bytes)),
            memtable_bytes,
            changed: BTreeSet::new(),
            last_seqno,
            logged_bytes: 0,
        }
    }

    /// Applies the record of a commit that recovery reads back: changes and updates.
    fn replay(&mut self, seqno: SeqNo, payload: &[u8]) -> std::result::Result<(), ApplyError> {
        let mut assigned = self.assigned();
        for op in decode(payload)? {
            let change = match op? {
                Op::Append { collection, rows } => {
                    let Some(known) = self.collections.get(collection) else { continue };
                    match rows_change(known, rows) {
                        Some(change) => change,
                        None => continue,
                    }
                }
                Op::AdvanceUpper { collection, upper } => Change::AdvanceUpper(collection, upper),
                Op::CompactBelow { collection, since } => Change::CompactBelow(collection, since),
                Op::Create { collection: id, create } => Change::Create(Description {
                    id,
                    name: create.name.into(),
                    meta: create.meta.into(),
                    kind: create.kind,
                }),
                Op::Drop { collection } => Change::Drop(collection),
                Op::SetMeta { collection, meta } => Change::SetMeta(collection, meta.into()),
            };
            self.apply(&change, &mut assigned).map_err(ApplyError::State)?;
        }
        if planted(Bug::ReplayLeavesOut) && seqno.0.is_multiple_of(5) {
            return Ok(());
        }
        self.insert(seqno, payload, &assigned)
    }

    /// Applies a frame of the log.
    ///
    /// # Errors
    /// `Corruption`, naming the place, when it does not fit what came before it.
    pub(crate) fn replay_frame(&mut self, frame: &ReplayFrame<'_>) -> Result<()> {
        self.replay(frame.seqno, frame.payload).map_err(|e| match e {
            ApplyError::Format(e) => e.in_file(frame.file, frame.payload_offset),
            ApplyError::State(e) => {
                Error::corruption(frame.file, frame.payload_offset, e.to_string())
            }
        })
    }

    /// Makes the changes of a commit that was checked, so that the next commit of the group can be
    /// checked against them. What they replace goes to `undo`.
    ///
    /// # Errors
    /// When the commit contradicts itself (it drops a collection twice, say), which the checks
    /// against the state before it do not see; then nothing has changed.
    pub(crate) fn accept(&mut self, commit: &Commit, undo: &mut Undo) -> Result<Assigned> {
        let before = undo.len();
        let mut assigned = self.assigned();
        for change in commit.changes() {
            let id = change.collection();
            undo.push(Before {
                id,
                collection: self.collections.get(id).cloned(),
                clock: self.collections.clock(),
            });
            if let Err(e) = self.apply(change, &mut assigned) {
                self.revert(undo.split_off(before));
                return Err(e);
            }
        }
        Ok(assigned)
    }

    /// What the database gives to the next commit.
    fn assigned(&self) -> Assigned {
        Assigned { ts: self.collections.clock(), positions: BTreeMap::new() }
    }

    /// Makes one change; notes the position that a log gives to the first event.
    fn apply(&mut self, change: &Change, assigned: &mut Assigned) -> Result<()> {
        if let Change::Append { collection, .. } = change
            && let Some(log) = self.collections.get(*collection)
        {
            assigned.positions.entry(*collection).or_insert(log.upper.ts().unwrap_or(u64::MAX));
        }
        self.collections.apply(change, assigned.ts)
    }

    /// Takes back what [`accept`](Self::accept) did, because it could not be logged.
    pub(crate) fn revert(&mut self, undo: Undo) {
        for before in undo.into_iter().rev() {
            self.collections.replace(before.id, before.collection.as_ref());
            self.collections.set_clock(before.clock);
        }
    }

    /// Inserts the updates of a commit that is logged. Those of a collection that is gone are of no
    /// use to anybody and are left out.
    pub(crate) fn insert(
        &mut self,
        seqno: SeqNo,
        payload: &[u8],
        assigned: &Assigned,
    ) -> std::result::Result<(), ApplyError> {
        let mut writer = self.active.writer();
        let mut positions = assigned.positions.clone();
        for op in decode(payload)? {
            if let Op::Append { collection, rows } = op?
                && let Some(known) = self.collections.get(collection)
            {
                let rows = rows.filter(|update| update.diff != 0);
                match known.description.kind {
                    Kind::Multiset => writer.insert_all(collection, rows),
                    Kind::Log => insert_events(&mut writer, collection, rows, &mut positions),
                    kind => {
                        insert_versions(&mut writer, collection, kind, rows, seqno, assigned.ts);
                    }
                }
            }
        }
        self.last_seqno = seqno;
        self.logged_bytes += payload.len();
        Ok(())
    }

    /// Whether the active memtable should be frozen: because it is full, or because the log grows
    /// by commits that leave nothing in it.
    pub(crate) fn is_full(&self) -> bool {
        self.active.bytes() >= self.memtable_bytes as u64
            || self.logged_bytes >= 4 * self.memtable_bytes
    }

    /// Whether a freeze would have anything to hand over.
    pub(crate) fn is_clean(&mut self) -> bool {
        self.note_changes();
        self.active.is_empty() && self.changed.is_empty()
    }

    /// The collections that changed since this was last called; remembered for the next freeze.
    pub(crate) fn note_changes(&mut self) -> BTreeSet<CollectionId> {
        let changed = self.collections.take_changed();
        self.changed.extend(&changed);
        changed
    }

    /// Ends the active memtable and starts another one.
    pub(crate) fn freeze(&mut self) -> Arc<Frozen> {
        self.note_changes();
        let fresh = Arc::new(Memtable::new(self.memtable_bytes));
        let memtable = std::mem::replace(&mut self.active, fresh);
        memtable.freeze();
        let mut ids = std::mem::take(&mut self.changed);
        ids.extend(memtable.slots().iter().map(|slot| slot.collection()));
        self.logged_bytes = 0;
        Arc::new(Frozen {
            memtable,
            clock: self.collections.clock(),
            last_seqno: self.last_seqno,
            changed: ids
                .into_iter()
                .map(|id| (id, self.collections.get(id).cloned()))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
        })
    }
}

/// States of collections before changes that may have to be taken back, in order.
pub(crate) type Undo = Vec<Before>;

/// A collection, and the clock, before a change.
#[derive(Debug)]
pub(crate) struct Before {
    id: CollectionId,
    collection: Option<Collection>,
    clock: Timestamp,
}

/// What the database gives to a commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assigned {
    /// The time of its puts.
    pub(crate) ts: Timestamp,
    /// The positions of the first events that it appends, by log.
    pub(crate) positions: BTreeMap<CollectionId, u64>,
}

/// What rows for a collection change beside adding to it, as recovery learns it from the record.
pub(crate) fn rows_change(collection: &Collection, rows: Rows<'_>) -> Option<Change> {
    let id = collection.description.id;
    match collection.description.kind {
        Kind::Multiset | Kind::Table => None,
        Kind::Log => Some(Change::Append { collection: id, count: rows.count() as u64 }),
        Kind::ClockTable => {
            let (mut times, mut assigned) = (None::<TimeWindow>, false);
            for Update { ts, .. } in rows {
                if ts == WAL_TS_ASSIGNED {
                    assigned = true;
                } else {
                    let seen = times.unwrap_or(TimeWindow { first: ts, last: ts });
                    times = Some(TimeWindow { first: seen.first.min(ts), last: seen.last.max(ts) });
                }
            }
            Some(Change::Put { collection: id, times, assigned })
        }
    }
}

/// Stores the versions that a commit puts into a table.
fn insert_versions<'u>(
    writer: &mut MemtableWriter<'_>,
    collection: CollectionId,
    kind: Kind,
    rows: impl Iterator<Item = Update<'u>>,
    seqno: SeqNo,
    clock: Timestamp,
) {
    let slot = writer.slot(collection);
    let mut stored = Vec::new();
    for mut update in rows {
        if update.ts == WAL_TS_ASSIGNED {
            update.ts = clock;
        }
        table_val::encode(kind, update.ts, seqno, update.val, &mut stored);
        writer.insert(&slot, Update { val: &stored, ..update });
    }
}

/// Stores the events that a commit appends to a log, and their ids.
fn insert_events<'u>(
    writer: &mut MemtableWriter<'_>,
    collection: CollectionId,
    rows: impl Iterator<Item = Update<'u>>,
    positions: &mut BTreeMap<CollectionId, u64>,
) {
    let slot = writer.slot(collection);
    let Some(position) = positions.get_mut(&collection) else { return };
    let mut stored = Vec::new();
    for row in rows {
        let key = log_key::event_key(*position);
        log_key::encode_event(row.key, row.val, &mut stored);
        writer.insert(&slot, Update { key: &key, val: &stored, ts: *position, diff: 1 });
        if !row.key.is_empty() {
            let id = log_key::id_key(row.key);
            writer.insert(&slot, Update { key: &id, val: &key, ts: *position, diff: 1 });
        }
        *position += 1;
    }
}

/// Why a record could not be applied.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// It cannot be decoded.
    Format(FormatError),
    /// It does not fit the collections.
    State(Error),
}

impl From<FormatError> for ApplyError {
    fn from(e: FormatError) -> Self {
        Self::Format(e)
    }
}

impl From<ApplyError> for Error {
    fn from(e: ApplyError) -> Self {
        match e {
            ApplyError::Format(e) => Self::Internal { what: format!("record: {}", e.what) },
            ApplyError::State(e) => Self::Internal { what: format!("record: {e}") },
        }
    }
}
