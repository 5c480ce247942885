//! [`Installer`]: makes the result of a flush or a merge part of the database, in the order that
//! loses nothing: segments are synced and opened, the directory is synced, the manifest edit is
//! synced, readers get the new list, and only then are replaced segments removed.
//!
//! # Invariants
//! 1. The manifest never names a segment that is not durable under its name.
//! 2. A segment file is removed only when a durable manifest edit has left it out and no reader
//!    holds it.
//! 3. `open` holds exactly the segments that the manifest state names.

use crate::catalog::Frozen;
use crate::config::Compression;
use crate::error::{Error, Result};
use crate::format::manifest_edit::{CollectionHead, Edit, EditOp};
use crate::manifest::{ManifestLog, ManifestState};
use crate::planted::{Bug, planted};
use crate::segment::{BlockCodec, Segment, SegmentIdentity, SegmentOptions, SegmentWriter};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{CollectionId, Kind, SegmentId, SegmentMeta};
use crate::view::{OpenSegments, View, read_set, segment_in};
use std::sync::{Arc, Weak};

/// What the parts of a database share that this process writes.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) view: Arc<View>,
    /// The next identifiers; the manifest learns of them with the next edit.
    pub(crate) next_segment: AtomicU64,
    pub(crate) next_collection: AtomicU64,
    /// Lock order: installer before catalog.
    pub(crate) installer: Mutex<Installer>,
}

/// The manifest and the segments that it names.
#[derive(Debug)]
pub(crate) struct Installer {
    pub(crate) log: ManifestLog,
    pub(crate) open: OpenSegments,
    /// Segments that the manifest does not name any more, as long as somebody may read them.
    pub(crate) retired: Vec<Weak<Segment>>,
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
        let codec = match (warmth, self.view.options.compression) {
            (Warmth::Cold, Compression::Cold { level }) => BlockCodec::Zstd { level },
            _ => BlockCodec::Raw,
        };
        let options = SegmentOptions {
            codec,
            hash_index: self.view.options.hash_index,
            len_target: self.view.options.segment_bytes,
            anchors_len_max: self.view.options.anchors_len_max(),
            ..SegmentOptions::default()
        };
        let mut writer =
            SegmentWriter::create(&self.view.env.fs, &self.view.dir, id, identity, options)?;
        if self.view.options.background_threads > 0 {
            writer.write_behind(Arc::clone(&self.view.env.threads));
        }
        Ok(writer)
    }

    /// Whose the segments of a collection are.
    pub(crate) fn identity(&self, collection: CollectionId, kind: Kind) -> SegmentIdentity {
        SegmentIdentity { db_uuid: self.view.uuid, collection, kind }
    }

    /// Opens the segments that a flush or merge wrote, and makes their names durable.
    pub(crate) fn open_new(
        &self,
        identity: SegmentIdentity,
        metas: &[SegmentMeta],
    ) -> Result<Vec<Arc<Segment>>> {
        metas
            .iter()
            .map(|meta| {
                Segment::open(&self.view.env.fs, &self.view.dir, meta, identity, &self.view.cache)
            })
            .collect()
    }

    /// Makes the names of new files durable.
    pub(crate) fn sync_dir(&self) -> Result<()> {
        if planted(Bug::DirSyncSkipped) {
            return Ok(());
        }
        self.view
            .env
            .fs
            .sync_dir(&self.view.dir)
            .map_err(|e| Error::io("syncing directory", &self.view.dir, e))
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
                reads.push((*id, Arc::new(read_set(runs, &installer.open)?)));
            }
        }
        let mut catalog = self.view.catalog.write();
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
    /// The open segment of this id.
    pub(crate) fn segment(&self, id: SegmentId) -> Result<Arc<Segment>> {
        segment_in(&self.open, id)
    }

    /// Lets go of segments that the manifest does not name any more (invariant 2).
    fn retire(&mut self) {
        let Self { log, open, retired } = self;
        open.retain(|id, segment| {
            let live = log.state().has_segment(*id);
            if !live {
                segment.mark_obsolete();
                retired.push(Arc::downgrade(segment));
            }
            live
        });
        retired.retain(|segment| segment.strong_count() > 0);
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
