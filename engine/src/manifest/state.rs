//! [`ManifestState`]: what the manifest says, and what an edit does to it.
//!
//! # Invariants
//! 1. An edit applies wholly or not at all.
//! 2. Names of collections are unique; a segment is in one collection; identifiers are below the
//!    next free ones; a sealed run ends at or below the collection's upper.
//! 3. Nothing goes back: the next identifiers, the flushed seqno, the clock, every since and, but for
//!    a truncation, every upper.
//! 4. The encoded snapshot fits into one frame, so that the manifest can always be rolled.

use crate::error::Error;
use crate::format::FormatError;
use crate::format::manifest_edit::{CollectionHead, Edit, EditEncoder, EditOp, Part, RunList};
use crate::format::manifest_frame::MANIFEST_EDIT_LEN_MAX;
use crate::limits::COLLECTION_COUNT_MAX;
use crate::types::{CollectionId, SegmentId, SegmentMeta, SeqNo, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Encoded bytes of a state without collections, rounded up.
const EMPTY_LEN: usize = 80;

/// A collection as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionDesc {
    /// Name, metadata, frontiers.
    pub head: CollectionHead,
    /// The segments that hold its flushed updates; shared, as most edits leave most lists alone.
    pub runs: Arc<RunList>,
}

/// Why an edit does not apply to a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError(String);

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for StateError {
    fn from(what: String) -> Self {
        Self(what)
    }
}

/// Everything that the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestState {
    uuid: u128,
    next_collection: CollectionId,
    next_segment: SegmentId,
    flushed_seqno: SeqNo,
    clock: Timestamp,
    collections: BTreeMap<CollectionId, CollectionDesc>,
    /// Derived from `collections`: who has a name, who has a segment, bytes of a snapshot.
    names: HashMap<String, CollectionId>,
    owners: HashMap<SegmentId, CollectionId>,
    snapshot_len: usize,
}

/// An edit that was checked against a state and is ready to be committed to it.
#[derive(Debug)]
pub(super) struct StagedEdit {
    next_collection: CollectionId,
    next_segment: SegmentId,
    flushed_seqno: SeqNo,
    clock: Timestamp,
    touched: Touched,
    snapshot_len: usize,
}

/// The collections that an edit names, as they are after it; `None` when dropped.
type Touched = BTreeMap<CollectionId, Option<CollectionDesc>>;

impl ManifestState {
    /// The state of a new database.
    #[must_use]
    pub fn new(uuid: u128) -> Self {
        Self {
            uuid,
            next_collection: CollectionId(1),
            next_segment: SegmentId(1),
            flushed_seqno: SeqNo(0),
            clock: 0,
            collections: BTreeMap::new(),
            names: HashMap::new(),
            owners: HashMap::new(),
            snapshot_len: EMPTY_LEN,
        }
    }

    /// The database's identity.
    #[must_use]
    pub const fn uuid(&self) -> u128 {
        self.uuid
    }

    /// The next free identifier of a collection.
    #[must_use]
    pub const fn next_collection(&self) -> CollectionId {
        self.next_collection
    }

    /// The next free identifier of a segment.
    #[must_use]
    pub const fn next_segment(&self) -> SegmentId {
        self.next_segment
    }

    /// Everything up to this seqno is in segments.
    #[must_use]
    pub const fn flushed_seqno(&self) -> SeqNo {
        self.flushed_seqno
    }

    /// The next time that the database's clock gives, as of the flushed seqno.
    #[must_use]
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The collections.
    #[must_use]
    pub const fn collections(&self) -> &BTreeMap<CollectionId, CollectionDesc> {
        &self.collections
    }

    /// The collection called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&CollectionDesc> {
        self.names.get(name).and_then(|id| self.collections.get(id))
    }

    /// Every live segment with the collection that it belongs to.
    pub fn live_segments(&self) -> impl Iterator<Item = (CollectionId, &SegmentMeta)> {
        self.collections.iter().flat_map(|(&id, collection)| {
            collection.runs.live_segments().into_values().map(move |meta| (id, meta))
        })
    }

    /// Whether the segment is live in any collection.
    #[must_use]
    pub fn has_segment(&self, id: SegmentId) -> bool {
        self.owners.contains_key(&id)
    }

    /// Applies `edit`, wholly or, after an error, not at all (I1).
    ///
    /// # Errors
    /// What is wrong with the edit.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), StateError> {
        let staged = self.stage(edit)?;
        self.commit(staged);
        Ok(())
    }

    /// Checks every invariant of the whole state from scratch.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), StateError> {
        let mut fresh = Self::new(self.uuid);
        fresh.apply(&self.snapshot())?;
        if fresh != *self {
            return Err("the derived maps of the state are stale".to_owned().into());
        }
        Ok(())
    }

    /// The edit that makes this state out of a new one.
    #[must_use]
    pub fn snapshot(&self) -> Edit {
        let mut ops = vec![
            EditOp::NextIds { collection: self.next_collection, segment: self.next_segment },
            EditOp::Flushed(self.flushed_seqno),
        ];
        if self.clock != 0 {
            ops.push(EditOp::Clock(self.clock));
        }
        for (&id, collection) in &self.collections {
            ops.push(EditOp::Collection(collection.head.clone()));
            if *collection.runs != RunList::default() {
                ops.push(EditOp::Runs { id, runs: RunList::clone(&collection.runs) });
            }
        }
        Edit { ops }
    }

    /// Appends the encoded [`snapshot`](Self::snapshot) to `out`.
    pub(super) fn encode_snapshot(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        out.reserve(self.snapshot_len);
        let mut encoder = EditEncoder::begin(out);
        encoder.next_ids(self.next_collection, self.next_segment);
        encoder.flushed(self.flushed_seqno);
        if self.clock != 0 {
            encoder.clock(self.clock);
        }
        for (&id, collection) in &self.collections {
            encoder.collection(&collection.head)?;
            if *collection.runs != RunList::default() {
                encoder.runs(id, &collection.runs)?;
            }
        }
        encoder.finish()
    }

    /// The state as the bytes of one edit.
    ///
    /// # Errors
    /// Only when a limit of the format is broken, which no edit can do (I4).
    pub fn encoded(&self) -> crate::error::Result<Vec<u8>> {
        let mut out = Vec::new();
        self.encode_snapshot(&mut out).map_err(|e| Error::Internal { what: e.what })?;
        Ok(out)
    }

    /// Checks `edit` without changing anything.
    pub(super) fn stage(&self, edit: &Edit) -> Result<StagedEdit, StateError> {
        let mut staged = StagedEdit {
            next_collection: self.next_collection,
            next_segment: self.next_segment,
            flushed_seqno: self.flushed_seqno,
            clock: self.clock,
            touched: BTreeMap::new(),
            snapshot_len: self.snapshot_len,
        };
        for op in &edit.ops {
            self.stage_op(&mut staged, op)?;
        }
        self.check_staged(&mut staged)?;
        Ok(staged)
    }

    /// Makes a checked edit part of the state. It must have been staged on this very state.
    pub(super) fn commit(&mut self, staged: StagedEdit) {
        self.next_collection = staged.next_collection;
        self.next_segment = staged.next_segment;
        self.flushed_seqno = staged.flushed_seqno;
        self.clock = staged.clock;
        self.snapshot_len = staged.snapshot_len;
        // First all that goes, then all that comes: a name or a segment may change hands.
        let mut changed = Vec::new();
        for (&id, new) in &staged.touched {
            if !self.keeps_runs(&staged.touched, id) {
                changed.extend(new.as_ref().map(|new| (id, Arc::clone(&new.runs))));
                if let Some(old) = self.collections.get(&id) {
                    old.runs.live_segments().keys().for_each(|segment| {
                        self.owners.remove(segment);
                    });
                }
            }
        }
        for id in staged.touched.keys() {
            if let Some(old) = self.collections.remove(id) {
                self.names.remove(&old.head.name);
            }
        }
        for (id, runs) in changed {
            self.owners.extend(runs.live_segments().keys().map(|&segment| (segment, id)));
        }
        for (id, collection) in staged.touched {
            let Some(collection) = collection else { continue };
            self.names.insert(collection.head.name.clone(), id);
            self.collections.insert(id, collection);
        }
    }

    /// Whether the collection exists and still has the very same runs after an edit.
    fn keeps_runs(&self, touched: &Touched, id: CollectionId) -> bool {
        let old = self.collections.get(&id);
        match touched.get(&id) {
            None => old.is_some(),
            Some(new) => {
                old.zip(new.as_ref()).is_some_and(|(old, new)| Arc::ptr_eq(&old.runs, &new.runs))
            }
        }
    }

    fn stage_op(&self, staged: &mut StagedEdit, op: &EditOp) -> Result<(), StateError> {
        match op {
            EditOp::NextIds { collection, segment } => {
                if *collection < staged.next_collection || *segment < staged.next_segment {
                    return Err(format!("next ids go back to {collection}, {segment}").into());
                }
                (staged.next_collection, staged.next_segment) = (*collection, *segment);
            }
            EditOp::Flushed(seqno) => {
                if *seqno < staged.flushed_seqno {
                    return Err(format!("flushed seqno goes back to {seqno}").into());
                }
                staged.flushed_seqno = *seqno;
            }
            EditOp::Clock(clock) => {
                if *clock < staged.clock {
                    return Err(format!("the clock goes back to {clock}").into());
                }
                staged.clock = *clock;
            }
            EditOp::Collection(head) => match self.touch(staged, head.id) {
                Some(collection) => {
                    check_successor(&collection.head, head)?;
                    collection.head = head.clone();
                }
                slot => {
                    *slot = Some(CollectionDesc { head: head.clone(), runs: Arc::default() });
                }
            },
            EditOp::Truncate { id, upper } => {
                let collection = self.touch(staged, *id).as_mut();
                let collection = collection
                    .ok_or_else(|| format!("collection {id} is truncated but unknown"))?;
                if *upper < collection.head.since {
                    let since = collection.head.since;
                    return Err(format!("collection {id} is truncated below since {since}").into());
                }
                collection.head.upper = *upper;
            }
            EditOp::Drop(id) => {
                if self.touch(staged, *id).take().is_none() {
                    return Err(format!("collection {id} is dropped but unknown").into());
                }
            }
            EditOp::Runs { id, runs } => {
                let collection = self.touch(staged, *id).as_mut();
                let collection =
                    collection.ok_or_else(|| format!("collection {id} has runs but is unknown"))?;
                collection.runs = Arc::new(runs.clone());
            }
        }
        Ok(())
    }

    /// The collection in the edit so far, copied out of the state on the first touch.
    fn touch<'s>(
        &self,
        staged: &'s mut StagedEdit,
        id: CollectionId,
    ) -> &'s mut Option<CollectionDesc> {
        staged.touched.entry(id).or_insert_with(|| self.collections.get(&id).cloned())
    }

    /// I2 to I4 for what the edit touches; the rest holds them already.
    fn check_staged(&self, staged: &mut StagedEdit) -> Result<(), StateError> {
        let mut names = HashSet::new();
        let mut segments = HashSet::new();
        let mut count = self.collections.len();
        for (&id, collection) in &staged.touched {
            let old = self.collections.get(&id);
            let keeps_runs = self.keeps_runs(&staged.touched, id);
            let len = |desc: &CollectionDesc| {
                head_len(&desc.head) + if keeps_runs { 0 } else { runs_len(&desc.runs) }
            };
            count -= usize::from(old.is_some());
            staged.snapshot_len -= old.map_or(0, len);
            let Some(collection) = collection else { continue };
            count += 1;
            staged.snapshot_len += len(collection);
            let name = &collection.head.name;
            let holder = self.names.get(name).filter(|other| !staged.touched.contains_key(other));
            if holder.is_some() || !names.insert(name.as_str()) {
                return Err(format!("two collections are called '{name}'").into());
            }
            check_frontiers(id, collection, staged.next_collection)?;
            if keeps_runs {
                continue;
            }
            check_runs(id, &collection.runs, staged.next_segment)?;
            for segment in collection.runs.live_segments().into_keys() {
                let owner = self.owners.get(&segment);
                let stays = owner.is_some_and(|&other| self.keeps_runs(&staged.touched, other));
                if stays || !segments.insert(segment) {
                    return Err(format!("segment {segment} is in two collections").into());
                }
            }
        }
        if count > COLLECTION_COUNT_MAX {
            return Err(format!("{count} collections, at most {COLLECTION_COUNT_MAX}").into());
        }
        if staged.snapshot_len > MANIFEST_EDIT_LEN_MAX {
            let what = format!("the manifest would need {} bytes", staged.snapshot_len);
            return Err(what.into());
        }
        Ok(())
    }
}

/// I2 for one collection, apart from its segments.
fn check_frontiers(
    id: CollectionId,
    collection: &CollectionDesc,
    next: CollectionId,
) -> Result<(), StateError> {
    if id >= next {
        return Err(format!("collection {id} is not below {next}").into());
    }
    let (sealed, upper) = (collection.runs.upper(), collection.head.upper);
    if sealed > upper {
        return Err(format!("collection {id}: runs end at {sealed}, beyond upper {upper}").into());
    }
    Ok(())
}

/// I2 for the segments of one collection.
fn check_runs(id: CollectionId, runs: &RunList, next: SegmentId) -> Result<(), StateError> {
    runs.check().map_err(|what| format!("collection {id}: {what}"))?;
    match runs.live_segments().last_key_value() {
        Some((&segment, _)) if segment >= next => {
            Err(format!("segment {segment} is not below {next}").into())
        }
        _ => Ok(()),
    }
}

/// I3 for one collection.
fn check_successor(old: &CollectionHead, new: &CollectionHead) -> Result<(), StateError> {
    let id = new.id;
    if new.since < old.since || new.upper < old.upper {
        let (since, upper) = (new.since, new.upper);
        return Err(format!("collection {id}: since {since} or upper {upper} goes back").into());
    }
    if (new.kind, new.ts_width) != (old.kind, old.ts_width) {
        return Err(format!("collection {id} changes its kind").into());
    }
    Ok(())
}

/// Bytes of a collection's head in a snapshot, rounded up.
fn head_len(head: &CollectionHead) -> usize {
    64 + head.name.len() + head.meta.len()
}

/// Bytes of a run list in a snapshot.
fn runs_len(runs: &RunList) -> usize {
    let parts_len = |parts: &[Part]| parts.iter().map(|part| 8 + 88 * part.len()).sum::<usize>();
    let sealed: usize = runs.sealed.iter().map(|run| 40 + parts_len(&run.parts)).sum();
    24 + sealed + parts_len(&runs.future)
}

#[cfg(test)]
mod tests;
