//! [`View`]: what readers of an open database share, whoever writes it: this process, or another
//! one that a [`Follower`](crate::follower::Follower) follows.

use crate::catalog::{Catalog, MemSet, PartSource, ReadSet};
use crate::collection::{Collection, Collections, Description};
use crate::config::Options;
use crate::error::{Error, Result};
use crate::events::DbEvent;
use crate::format::manifest_edit::RunList;
use crate::holds::Holds;
use crate::io::Env;
use crate::leader::WriteState;
use crate::manifest::ManifestState;
use crate::segment::{BlockCache, Segment, SegmentIdentity};
use crate::stats::Counters;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{CollectionId, Kind, SegmentId, Timestamp};
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Segments that are open, by their identifiers.
pub(crate) type OpenSegments = BTreeMap<SegmentId, Arc<Segment>>;

/// What readers of an open database share.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: u128,
    pub(crate) options: Options,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) counters: Counters,
    pub(crate) catalog: RwLock<Catalog>,
    /// Changed under the leader's lock, see there.
    pub(crate) holds: Arc<Holds>,
    /// Told of every change of a collection that was published.
    pub(crate) watch: Arc<Watch>,
    pub(crate) closed: AtomicBool,
}

impl View {
    /// The view of a database that was just opened.
    pub(crate) fn new(
        env: Env,
        dir: &Path,
        uuid: u128,
        options: Options,
        cache: Arc<BlockCache>,
        catalog: Catalog,
    ) -> Self {
        Self {
            env,
            dir: dir.into(),
            uuid,
            options,
            cache,
            counters: Counters::default(),
            catalog: RwLock::new(catalog),
            holds: Arc::default(),
            watch: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The latest time of the database's clock that can be read.
    pub(crate) fn now(&self) -> Timestamp {
        self.catalog.read().collections().clock().saturating_sub(1)
    }

    /// Tells the listener, if there is one. The caller holds no lock that a reader takes.
    pub(crate) fn tell(&self, event: impl FnOnce() -> DbEvent) {
        if let Some(listener) = &self.options.on_event {
            listener.tell(&event());
        }
    }

    /// Shows readers what the commits changed; the collections that did.
    pub(crate) fn publish(&self, state: &mut WriteState) -> BTreeSet<CollectionId> {
        let mut changed = state.note_changes();
        if changed.is_empty() {
            return changed;
        }
        let clock = {
            let mut catalog = self.catalog.write();
            let before = catalog.collections().clock();
            catalog.publish(&changed, &state.collections);
            (before, catalog.collections().clock())
        };
        if clock.0 != clock.1 {
            // The clock is the upper of every table that is on it.
            let on_clock = |id: &CollectionId| {
                let found = state.collections.get(*id);
                found.is_some_and(|found| found.description.kind == Kind::ClockTable)
            };
            changed.extend(self.watch.waited_for().into_iter().filter(on_clock));
        }
        changed
    }

    /// Ends the active memtable, and shows readers the next one beside it.
    pub(crate) fn hand_over(&self, state: &mut WriteState) {
        let frozen = state.freeze();
        let mut catalog = self.catalog.write();
        let mut all = catalog.mem().frozen.clone();
        all.push(frozen);
        catalog.set_mem(MemSet { active: Arc::clone(&state.active), frozen: all });
    }
}

/// The collections that a manifest knows.
pub(crate) fn collections_of(manifest: &ManifestState) -> Collections {
    let collections = manifest.collections().values().map(|known| {
        let head = &known.head;
        Collection {
            description: Description {
                id: head.id,
                name: head.name.as_str().into(),
                meta: head.meta.as_slice().into(),
                kind: head.kind,
            },
            since: head.since,
            upper: head.upper,
        }
    });
    Collections::restore(collections).at_clock(manifest.clock())
}

/// Opens the segments that a manifest names; those of `known` are open already.
pub(crate) fn open_segments(
    env: &Env,
    dir: &Path,
    manifest: &ManifestState,
    cache: &Arc<BlockCache>,
    known: &OpenSegments,
) -> Result<OpenSegments> {
    manifest
        .live_segments()
        .map(|(collection, meta)| {
            if let Some(open) = known.get(&meta.id).filter(|open| open.meta() == meta) {
                return Ok((meta.id, Arc::clone(open)));
            }
            let kind =
                manifest.collections().get(&collection).map_or(Kind::Multiset, |c| c.head.kind);
            let identity = SegmentIdentity { db_uuid: manifest.uuid(), collection, kind };
            Ok((meta.id, Segment::open(&env.fs, dir, meta, identity, cache)?))
        })
        .collect()
}

/// What readers of the collections of a manifest read, but for those that are gone from
/// `collections`.
pub(crate) fn read_sets(
    manifest: &ManifestState,
    collections: &Collections,
    open: &OpenSegments,
) -> Result<HashMap<CollectionId, Arc<ReadSet>>> {
    let known = manifest.collections().iter().filter(|(id, _)| collections.get(**id).is_some());
    known.map(|(id, known)| Ok((*id, Arc::new(read_set(&known.runs, open)?)))).collect()
}

/// What readers of a collection with these runs read.
pub(crate) fn read_set(runs: &RunList, open: &OpenSegments) -> Result<ReadSet> {
    let mut parts = Vec::new();
    for (metas, window) in runs.sources() {
        let segments = metas.iter().map(|meta| segment_in(open, meta.id)).collect::<Result<_>>()?;
        parts.push(PartSource { segments, window });
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.window.last));
    Ok(ReadSet { parts, runs: runs.sealed.len() })
}

/// The open segment of this id.
pub(crate) fn segment_in(open: &OpenSegments, id: SegmentId) -> Result<Arc<Segment>> {
    open.get(&id)
        .cloned()
        .ok_or_else(|| Error::Internal { what: format!("segment {id} is not open") })
}
