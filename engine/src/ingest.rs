//! [`Ingest`]: a sorted stream goes straight into segments, past the log and the memtable.
//!
//! # Crash behaviour
//! The segments are orphans until one manifest edit makes them a part of the future run, all at
//! once. They are readable when upper passes their times.

use crate::compaction::PartWriter;
use crate::cursor::EntrySink;
use crate::error::{Error, Result, display_bytes};
use crate::format::manifest_edit::{Edit, EditOp, Part, RunList};
use crate::install::{Shared, Warmth, head};
use crate::leader::WriteState;
use crate::limits::{ENTRY_UPDATES_MAX, KEY_LEN_MAX, VAL_LEN_MAX};
use crate::segment::SegmentWriter;
use crate::types::{CollectionId, Frontier, Kind, TimeWindow, Timestamp, Update};
use std::sync::Arc;

/// Starts the segments.
type MakeWriter = Box<dyn FnMut() -> Result<SegmentWriter> + Send>;

/// Takes updates in ascending order of `(key, val, ts)`. Memory is that of one block and of what
/// leads to the blocks of one segment; dropped before it is finished, it leaves nothing.
pub struct Ingest {
    collection: CollectionId,
    name: Arc<str>,
    output: PartWriter<MakeWriter>,
    key: Vec<u8>,
    val: Vec<u8>,
    updates: Vec<(Timestamp, i64)>,
    pub(crate) count: u64,
    pub(crate) times: Option<TimeWindow>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("collection", &self.name).finish_non_exhaustive()
    }
}

impl Ingest {
    pub(crate) fn new(shared: &Arc<Shared>, collection: CollectionId, name: Arc<str>) -> Self {
        let identity = shared.identity(collection, Kind::Multiset);
        let writers = Arc::clone(shared);
        let make: MakeWriter = Box::new(move || writers.segment_writer(identity, Warmth::Warm));
        let output =
            PartWriter::new(Arc::clone(&shared.view.env.fs), shared.view.dir.clone(), make);
        let (key, val, updates) = (Vec::new(), Vec::new(), Vec::new());
        Self { collection, name, output, key, val, updates, count: 0, times: None }
    }

    /// Takes an update. Updates of one `(key, val)` at one time are added up.
    ///
    /// # Errors
    /// `Invalid` when it is out of order or out of bounds; what was taken before is kept, and the
    /// update may be left out.
    pub fn push(&mut self, update: Update<'_>) -> Result<()> {
        if update.key.len() > KEY_LEN_MAX || update.val.len() > VAL_LEN_MAX {
            return Err(self.refuse("is too long", update.key));
        }
        let last = (self.key.as_slice(), self.val.as_slice());
        if self.count == 0 || last != (update.key, update.val) {
            if self.count > 0 && last > (update.key, update.val) {
                return Err(self.refuse("is out of order", update.key));
            }
            self.write()?;
            self.key.clear();
            self.key.extend_from_slice(update.key);
            self.val.clear();
            self.val.extend_from_slice(update.val);
        }
        match self.updates.last_mut() {
            Some((ts, _)) if *ts > update.ts => {
                return Err(self.refuse("is out of order", update.key));
            }
            Some((ts, diff)) if *ts == update.ts => {
                *diff = diff.checked_add(update.diff).ok_or_else(|| Error::DiffOverflow {
                    collection: self.name.to_string(),
                    key: display_bytes(update.key),
                })?;
            }
            _ => {
                if self.updates.len() == ENTRY_UPDATES_MAX {
                    self.write()?;
                }
                self.updates.push((update.ts, update.diff));
            }
        }
        self.count += 1;
        let times = self.times.unwrap_or(TimeWindow { first: update.ts, last: update.ts });
        self.times =
            Some(TimeWindow { first: times.first.min(update.ts), last: times.last.max(update.ts) });
        Ok(())
    }

    fn refuse(&self, what: &str, key: &[u8]) -> Error {
        let (name, index) = (&self.name, self.count);
        let key = display_bytes(key);
        Error::invalid(format!("update {index} for collection '{name}', key {key}, {what}"))
    }

    /// Writes the entry that was gathered.
    fn write(&mut self) -> Result<()> {
        self.updates.retain(|(_, diff)| *diff != 0);
        if !self.updates.is_empty() {
            self.output.push(&self.key, &self.val, &self.updates)?;
        }
        self.updates.clear();
        Ok(())
    }

    /// The collection.
    pub(crate) const fn collection(&self) -> CollectionId {
        self.collection
    }

    /// Ends the segments, durable but not named yet.
    pub(crate) fn finish(mut self) -> Result<Part> {
        self.write()?;
        self.output.finish()
    }
}

/// Makes the segments a part of the collection's future run, and with `upper` seals it up to there.
/// The caller keeps commits out and has flushed.
pub(crate) fn install(
    shared: &Shared,
    state: &mut WriteState,
    id: CollectionId,
    part: Part,
    upper: Option<Frontier>,
) -> Result<()> {
    let opened = shared.open_new(shared.identity(id, Kind::Multiset), &part)?;
    let mut collection = state.collections.require(id)?.clone();
    if let Some(upper) = upper {
        collection.upper = collection.upper.max(upper);
    }
    shared.sync_dir()?;
    shared.install(opened, None, |manifest| {
        let known = manifest.collections().get(&id);
        let mut runs = known.map(|known| RunList::clone(&known.runs)).unwrap_or_default();
        if !part.is_empty() {
            // All its times are at or beyond the upper up to which runs are sealed.
            runs.future.push(part);
        }
        runs.seal(collection.upper, None, None)?;
        Ok(Edit {
            ops: vec![
                EditOp::Flushed(state.last_seqno),
                EditOp::Collection(head(&collection)),
                EditOp::Runs { id, runs },
            ],
        })
    })?;
    state.collections.replace(id, Some(&collection));
    let changed = std::collections::BTreeSet::from([id]);
    shared.view.catalog.write().publish(&changed, &state.collections);
    Ok(())
}
