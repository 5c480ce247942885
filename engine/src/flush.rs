//! Flush: a frozen memtable becomes segments, one for the sealed updates of each collection and one
//! for those ahead of its upper.
//!
//! On the write path it stands between the memtable and the segments. It is a step function: one
//! call flushes the oldest frozen memtable.
//!
//! # Invariants
//! 1. Memtables are flushed in the order in which they were frozen.
//! 2. The sealed run that a flush adds ends at the collection's upper as of the freeze: every update
//!    below it is in this memtable or an older one.
//!
//! Crash behaviour: before the manifest edit is durable the new segments are orphans, which the next
//! open removes, and the WAL still has the updates; after it the WAL is not needed for them.

use crate::catalog::Frozen;
use crate::collection::Collection;
use crate::compaction::{Floor, PartWriter, VersionSink};
use crate::consolidate::advance_and_consolidate;
use crate::cursor::{Cursor, EntrySink};
use crate::error::{Error, Result};
use crate::format::manifest_edit::{Edit, EditOp, RunList};
use crate::install::{Shared, Warmth, head};
use crate::manifest::ManifestState;
use crate::memtable::{MemCursor, Slot, SortedRun};
use crate::planted::{Bug, planted};
use crate::segment::Segment;
use crate::sync;
use crate::types::{CollectionId, Frontier, SegmentMeta, TimeWindow, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// The segments that a flush wrote for one collection.
#[derive(Debug, Default)]
struct Written {
    sealed: Vec<SegmentMeta>,
    future: Vec<SegmentMeta>,
}

/// A memtable that was flushed.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) frozen: Arc<Frozen>,
    /// Bytes of the segments that were written.
    pub(crate) segment_bytes: u64,
}

/// Flushes the oldest frozen memtable; `None` when there is none. Only one flush may run at a time:
/// the caller sees to it.
pub(crate) fn flush_oldest(shared: &Shared) -> Result<Option<Flushed>> {
    let Some(frozen) = shared.view.catalog.read().mem().frozen.first().cloned() else {
        return Ok(None);
    };
    let mut opened: Vec<Arc<Segment>> = Vec::new();
    let written = match write(shared, &frozen, &mut opened) {
        Ok(written) => written,
        Err(e) => {
            // Nobody else knows these files: the next attempt writes its own.
            opened.iter().for_each(|segment| segment.mark_obsolete());
            return Err(e);
        }
    };
    let segment_bytes = opened.iter().map(|segment| segment.meta().file_len).sum();
    shared.view.counters.flush_bytes(segment_bytes);
    shared.install(opened, Some(&frozen), |state| edit(state, &frozen, written))?;
    shared.view.counters.flushes(1);
    Ok(Some(Flushed { frozen, segment_bytes }))
}

/// Writes the segments of a memtable, and makes their names durable.
fn write(
    shared: &Shared,
    frozen: &Frozen,
    opened: &mut Vec<Arc<Segment>>,
) -> Result<HashMap<CollectionId, Written>> {
    let mut written = HashMap::new();
    for slot in frozen.memtable.slots() {
        let id = slot.collection();
        // Dropped since: its updates are of no use to anybody but snapshots, which hold the
        // memtable.
        if shared.view.catalog.read().collections().get(id).is_none() {
            continue;
        }
        let Some(collection) = collection_at_freeze(frozen, id) else { continue };
        let segments = write_slot(shared, &slot, collection)?;
        for metas in [&segments.sealed, &segments.future] {
            let identity = shared.identity(id, collection.description.kind);
            opened.extend(shared.open_new(identity, metas)?);
        }
        written.insert(id, segments);
    }
    if !opened.is_empty() {
        shared.sync_dir()?;
    }
    Ok(written)
}

fn collection_at_freeze(frozen: &Frozen, id: CollectionId) -> Option<&Collection> {
    let index = frozen.changed.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    frozen.changed.get(index)?.1.as_ref()
}

/// Writes one collection's updates: sorted, consolidated, sealed ones apart from future ones.
fn write_slot(shared: &Shared, slot: &sync::Arc<Slot>, collection: &Collection) -> Result<Written> {
    let Some(run) = slot.sort_all() else { return Ok(Written::default()) };
    let kind = collection.description.kind;
    let identity = shared.identity(slot.collection(), kind);
    let part = || {
        let make = || shared.segment_writer(identity, Warmth::Warm);
        PartWriter::new(Arc::clone(&shared.view.env.fs), shared.view.dir.clone(), make)
    };
    let (mut sealed, mut future) = (part(), part());
    if kind.is_table() {
        split_versions(run, collection, &mut sealed, &mut future)?;
    } else {
        split_updates(run, collection, &mut sealed, &mut future)?;
    }
    Ok(Written { sealed: sealed.finish()?, future: future.finish()? })
}

/// Writes consolidated updates, those below upper apart from the others.
fn split_updates(
    run: sync::Arc<SortedRun>,
    collection: &Collection,
    sealed: &mut impl EntrySink,
    future: &mut impl EntrySink,
) -> Result<()> {
    let upper = collection.upper;
    // Times below since are as good as since, but must not leave the interval of their run.
    let within = |since: Frontier| upper.last_below().map_or(since, |last| since.min(last.into()));
    let mut cursor = MemCursor::new(run, TimeWindow::ALL);
    let (mut below, mut beyond): (Vec<(Timestamp, i64)>, Vec<_>) = (Vec::new(), Vec::new());
    cursor.seek_first()?;
    while cursor.valid() {
        below.clear();
        beyond.clear();
        cursor.updates(&mut below);
        if below.last().is_some_and(|(ts, _)| !upper.is_beyond(*ts)) {
            let first_beyond = below.partition_point(|(ts, _)| upper.is_beyond(*ts));
            beyond.extend(below.drain(first_beyond..));
            advance_and_consolidate(&mut beyond, collection.since);
            if !beyond.is_empty() && !planted(Bug::FutureLost) {
                future.push(cursor.key(), cursor.val(), &beyond)?;
            }
        }
        advance_and_consolidate(&mut below, within(collection.since));
        if !below.is_empty() {
            sealed.push(cursor.key(), cursor.val(), &below)?;
        }
        cursor.next()?;
    }
    Ok(())
}

/// Writes the versions of a table that somebody may still read, those below upper apart from the
/// others.
fn split_versions(
    run: sync::Arc<SortedRun>,
    collection: &Collection,
    sealed: &mut impl EntrySink,
    future: &mut impl EntrySink,
) -> Result<()> {
    let (upper, since) = (collection.upper, collection.since);
    let mut sealed = VersionSink::new(sealed, since, Floor::OlderMayExist);
    let mut future = VersionSink::new(future, since, Floor::OlderMayExist);
    let mut cursor = MemCursor::new(run, TimeWindow::ALL);
    let mut versions = Vec::new();
    cursor.seek_first()?;
    while cursor.valid() {
        versions.clear();
        cursor.updates(&mut versions);
        let (key, stored) = (cursor.key(), cursor.val());
        match versions.first() {
            Some((ts, _)) if upper.is_beyond(*ts) => sealed.push(key, stored, &versions)?,
            _ => future.push(key, stored, &versions)?,
        }
        cursor.next()?;
    }
    sealed.finish()?;
    future.finish()?;
    Ok(())
}

/// What the manifest learns from the flush of `frozen`.
fn edit(
    state: &ManifestState,
    frozen: &Frozen,
    mut written: HashMap<CollectionId, Written>,
) -> Result<Edit> {
    let mut ops = vec![EditOp::Flushed(frozen.last_seqno)];
    if frozen.clock > state.clock() {
        ops.push(EditOp::Clock(frozen.clock));
    }
    for (id, collection) in &frozen.changed {
        let known = state.collections().get(id);
        let Some(collection) = collection else {
            if known.is_some() {
                ops.push(EditOp::Drop(*id));
            }
            continue;
        };
        ops.push(EditOp::Collection(head(collection)));
        let mut runs = known.map(|known| RunList::clone(&known.runs)).unwrap_or_default();
        let Written { sealed, future } = written.remove(id).unwrap_or_default();
        let part = |metas: Vec<SegmentMeta>| (!metas.is_empty()).then_some(metas);
        runs.seal(collection.upper, part(sealed), part(future))?;
        ops.push(EditOp::Runs { id: *id, runs });
    }
    if let Some(id) = written.keys().next() {
        return Err(Error::Internal { what: format!("collection {id} was flushed unannounced") });
    }
    Ok(Edit { ops })
}
