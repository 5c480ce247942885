//! Erasure: the rows of a range of keys leave every file, whatever their times.
//!
//! Segments that have such keys are written again without them, and removed; then every file of the
//! log that has ever held anything is removed too, those that wait for another use before a new one is
//! taken. Memory has nothing but what readers hold.
//!
//! # Crash behaviour
//! Everything is in segments when it begins. One manifest edit puts the new segments in the place of
//! the old ones; before it is durable the new ones are orphans, after it the old ones are. A crash
//! before the files of the log are gone leaves them there, flushed: the caller, who was not answered,
//! erases again.

use crate::compaction::PartWriter;
use crate::cursor::{Cursor, EntrySink};
use crate::error::Result;
use crate::format::manifest_edit::{Edit, EditOp, Part, RunList};
use crate::install::{Shared, Warmth};
use crate::read::{PartCursor, RangeSpec};
use crate::segment::{Segment, segment_file_name};
use crate::types::{CollectionId, Kind, SegmentId, SegmentMeta, SeqNo, TimeWindow};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// What an erasure has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Updates that went, at whatever time.
    pub updates: u64,
    /// Segments that were written again, or had nothing else.
    pub segments: u64,
    /// Files of the log that were removed.
    pub wal_files: u64,
    /// Files with such keys that go only when the snapshots, iterators or merges that read them do; or,
    /// where the system would not remove one, when the database is opened the next time.
    pub held: Vec<PathBuf>,
}

/// Rewrites the segments of a collection without the keys of `range`. The caller keeps commits and
/// merges out and has flushed those up to `last_seqno`.
pub(crate) fn erase(
    shared: &Shared,
    id: CollectionId,
    kind: Kind,
    range: &RangeSpec,
    last_seqno: SeqNo,
) -> Result<Erased> {
    let mut report = Erased::default();
    let mut opened = Vec::new();
    let mut replaced: HashMap<SegmentId, Part> = HashMap::new();
    let mut old = BTreeSet::new();
    let reads = shared.view.catalog.read().reads(id);
    for part in &reads.parts {
        for segment in part.segments.iter() {
            let key = segment.meta().id;
            if replaced.contains_key(&key) || !overlaps(segment, range)? {
                continue;
            }
            let (metas, gone) = rewrite(shared, id, kind, segment, range)?;
            if gone == 0 {
                // Only its bounds reach into the range.
                metas.iter().for_each(|meta| discard(shared, meta));
                continue;
            }
            report.updates += gone;
            report.segments += 1;
            opened.extend(shared.open_new(shared.identity(id, kind), &metas)?);
            old.insert(segment.path().to_owned());
            replaced.insert(key, metas);
        }
    }
    drop(reads);
    if !opened.is_empty() {
        shared.sync_dir()?;
    }
    shared.install(opened, None, |manifest| {
        let known = manifest.collections().get(&id);
        let mut runs = known.map(|known| RunList::clone(&known.runs)).unwrap_or_default();
        runs.substitute_segments(|meta| replaced.get(&meta.id).cloned());
        // Also of commits that left nothing to flush the log is not needed from here on.
        Ok(Edit { ops: vec![EditOp::Flushed(last_seqno), EditOp::Runs { id, runs }] })
    })?;
    let exists = |path: &PathBuf| shared.view.env.fs.exists(path).unwrap_or(true);
    old.extend(retired_with(shared, id, range));
    report.held = old.into_iter().filter(exists).collect();
    Ok(report)
}

/// The files that have keys of the range and that an earlier merge or erasure has replaced already:
/// whoever reads them keeps them.
fn retired_with(shared: &Shared, id: CollectionId, range: &RangeSpec) -> Vec<PathBuf> {
    let retired = shared.installer.lock().retired.clone();
    let segments = retired.iter().filter_map(Weak::upgrade);
    // Of a damaged one nothing is known that would speak for it.
    let has = |segment: &Arc<Segment>| {
        segment.collection() == id && has_key(segment, range).unwrap_or(true)
    };
    segments.filter(has).map(|segment| segment.path().to_owned()).collect()
}

fn has_key(segment: &Arc<Segment>, range: &RangeSpec) -> Result<bool> {
    if !overlaps(segment, range)? {
        return Ok(false);
    }
    let mut cursor = segment.cursor(TimeWindow::ALL);
    match range.first_key() {
        Some(first) => cursor.seek(&first)?,
        None => cursor.seek_first()?,
    }
    Ok(cursor.valid() && range.contains(cursor.key()))
}

fn overlaps(segment: &Segment, range: &RangeSpec) -> Result<bool> {
    let stats = segment.stats()?;
    let begins_before_end = range.end_key().is_none_or(|end| stats.min_key < end);
    let ends_after_start = range.first_key().is_none_or(|first| stats.max_key >= first);
    Ok(begins_before_end && ends_after_start)
}

/// Writes what a segment has outside of the range; the new segments, and the updates left out.
fn rewrite(
    shared: &Shared,
    id: CollectionId,
    kind: Kind,
    segment: &Arc<Segment>,
    range: &RangeSpec,
) -> Result<(Part, u64)> {
    let make = || shared.segment_writer(shared.identity(id, kind), Warmth::Warm);
    let (fs, dir) = (Arc::clone(&shared.view.env.fs), shared.view.dir.clone());
    let mut output = PartWriter::new(fs, dir, make);
    let mut cursor = PartCursor::new(Arc::from([Arc::clone(segment)]), TimeWindow::ALL);
    let (mut gone, mut updates) = (0, Vec::new());
    cursor.seek_first()?;
    while cursor.valid() {
        updates.clear();
        cursor.updates(&mut updates);
        if range.contains(cursor.key()) {
            gone += updates.len() as u64;
        } else {
            output.push(cursor.key(), cursor.val(), &updates)?;
        }
        cursor.next()?;
    }
    Ok((output.finish()?, gone))
}

/// Removes a new segment that nobody will name. A failure leaves an orphan for the next open.
fn discard(shared: &Shared, meta: &SegmentMeta) {
    let name = segment_file_name(meta.id);
    let _ = shared.view.env.fs.remove_file(&shared.view.dir.join(name));
}
