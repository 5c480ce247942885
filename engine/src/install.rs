//! [`Installer`]: makes the result of a flush or a merge part of the database, in the order that
//! loses nothing: segments are synced and opened, the directory is synced, the manifest edit is
//! synced, readers get the new list, and only then are replaced segments removed.
//!
//! # Invariants
//! 1. The manifest never names a segment that is not durable under its name.
//! 2. A segment file is removed only when a durable manifest edit has left it out and no reader
//!    holds it.
//! 3. `open` holds exactly the segments that the manifest state names.

use crate::catalog::{Catalog, Frozen, PartSource, ReadSet};
use crate::config::{Compression, Options};
use crate::error::{Error, Result};
use crate::events::DbEvent;
use crate::format::manifest_edit::{CollectionHead, Edit, EditOp, RunList};
use crate::holds::Holds;
use crate::io::Env;
use crate::manifest::{ManifestLog, ManifestState};
use crate::segment::{
    BlockCache, BlockCodec, Segment, SegmentIdentity, SegmentOptions, SegmentWriter,
};
use crate::stats::Counters;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::types::{CollectionId, Kind, SegmentId, SegmentMeta};
use crate::watch::Watch;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What the parts of an open database share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: u128,
    pub(crate) options: Options,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) counters: Counters,
    /// The next identifiers; the manifest learns of them with the next edit.
    pub(crate) next_segment: AtomicU64,
    pub(crate) next_collection: AtomicU64,
    /// Lock order: installer before catalog.
    pub(crate) installer: Mutex<Installer>,
    pub(crate) catalog: RwLock<Catalog>,
    /// Changed under the leader's lock, see there.
    pub(crate) holds: Arc<Holds>,
    /// Told of every change of a collection that was published.
    pub(crate) watch: Arc<Watch>,
}

/// The manifest and the segments that it names.
#[derive(Debug)]
pub(crate) struct Installer {
    pub(crate) log: ManifestLog,
    pub(crate) open: HashMap<SegmentId, Arc<Segment>>,
}

/// How warm the data of a new segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// Read and merged again soon: stored as it is.
    Warm,
    /// The oldest run: compressed where the options say so.
    Cold,
}

impl Shared {
    /// A writer for a new segment of a collection.
    pub(crate) fn segment_writer(
        &self,
        identity: SegmentIdentity,
        warmth: Warmth,
    ) -> Result<SegmentWriter> {
        let id = SegmentId(self.next_segment.fetch_add(1, Ordering::Relaxed));
        let codec = match (warmth, self.options.compression) {
            (Warmth::Cold, Compression::Cold { level }) => BlockCodec::Zstd { level },
            _ => BlockCodec::Raw,
        };
        let options = SegmentOptions {
            codec,
            hash_index: self.options.hash_index,
            ..SegmentOptions::default()
        };
        let mut writer = SegmentWriter::create(&self.env.fs, &self.dir, id, identity, options)?;
        if self.options.background_threads > 0 {
            writer.write_behind(Arc::clone(&self.env.threads));
        }
        Ok(writer)
    }

    /// Whose the segments of a collection are.
    pub(crate) const fn identity(&self, collection: CollectionId, kind: Kind) -> SegmentIdentity {
        SegmentIdentity { db_uuid: self.uuid, collection, kind }
    }

    /// Opens the segments that a flush or merge wrote, and makes their names durable.
    pub(crate) fn open_new(
        &self,
        identity: SegmentIdentity,
        metas: &[SegmentMeta],
    ) -> Result<Vec<Arc<Segment>>> {
        metas
            .iter()
            .map(|meta| Segment::open(&self.env.fs, &self.dir, meta, identity, &self.cache))
            .collect()
    }

    /// Tells the listener, if there is one. The caller holds no lock.
    pub(crate) fn tell(&self, event: impl FnOnce() -> DbEvent) {
        if let Some(listener) = &self.options.on_event {
            listener.tell(&event());
        }
    }

    /// Makes the names of new files durable.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        self.env.fs.sync_dir(&self.dir).map_err(|e| Error::io("syncing directory", &self.dir, e))
    }

    /// Makes the edit that `plan` derives from the manifest's state durable and shows it to
    /// readers. `opened` are the new segments that the edit names; `flushed` is the memtable that
    /// they replace.
    pub(crate) fn install(
        &self,
        opened: Vec<Arc<Segment>>,
        flushed: Option<&Arc<Frozen>>,
        plan: impl FnOnce(&ManifestState) -> Result<Edit>,
    ) -> Result<()> {
        let mut installer = self.installer.lock();
        let mut edit = plan(installer.log.state())?;
        let next_segment = SegmentId(self.next_segment.load(Ordering::Relaxed));
        let next_collection = CollectionId(self.next_collection.load(Ordering::Relaxed));
        edit.ops.insert(0, EditOp::NextIds { collection: next_collection, segment: next_segment });
        if let Err(e) = installer.log.append(&edit) {
            // Files that the manifest certainly does not name are of no use; of the others a later
            // open decides.
            if !e.may_have_happened() {
                opened.iter().for_each(|segment| segment.mark_obsolete());
            }
            return Err(e);
        }
        installer.open.extend(opened.into_iter().map(|segment| (segment.meta().id, segment)));
        self.publish(&installer, &edit, flushed)?;
        installer.retire();
        Ok(())
    }

    fn publish(
        &self,
        installer: &Installer,
        edit: &Edit,
        flushed: Option<&Arc<Frozen>>,
    ) -> Result<()> {
        let mut reads = Vec::new();
        for op in &edit.ops {
            if let EditOp::Runs { id, runs } = op {
                reads.push((*id, Arc::new(installer.read_set(runs)?)));
            }
        }
        let mut catalog = self.catalog.write();
        for (id, reads) in reads {
            catalog.set_reads(id, reads);
        }
        if let Some(flushed) = flushed {
            catalog.remove_frozen(flushed);
        }
        Ok(())
    }
}

impl Installer {
    /// What readers of a collection with these runs read.
    pub(crate) fn read_set(&self, runs: &RunList) -> Result<ReadSet> {
        let mut parts = Vec::new();
        for (metas, window) in runs.sources() {
            let segments = metas.iter().map(|meta| self.segment(meta.id)).collect::<Result<_>>()?;
            parts.push(PartSource { segments, window });
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.window.last));
        Ok(ReadSet { parts })
    }

    /// The open segment of this id.
    pub(crate) fn segment(&self, id: SegmentId) -> Result<Arc<Segment>> {
        self.open
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::Internal { what: format!("segment {id} is not open") })
    }

    /// Lets go of segments that the manifest does not name any more (invariant 2).
    fn retire(&mut self) {
        let state = self.log.state();
        self.open.retain(|id, segment| {
            let live = state.has_segment(*id);
            if !live {
                segment.mark_obsolete();
            }
            live
        });
    }
}

/// What the manifest says of a collection.
pub(crate) fn head(collection: &crate::collection::Collection) -> CollectionHead {
    CollectionHead {
        id: collection.description.id,
        kind: collection.description.kind,
        ts_width: crate::format::wal_record::WAL_TS_WIDTH,
        name: collection.description.name.to_string(),
        meta: collection.description.meta.to_vec(),
        since: collection.since,
        upper: collection.upper,
    }
}
