//! Without a whole manifest: a state that takes every segment there is.

use super::earlier::Earlier;
use super::names::{Names, fallback_name, free_name};
use super::report::SalvageDamage;
use super::segments::Wanted;
use super::{Beginning, Job, make_state};
use crate::error::{Error, Result};
use crate::format::manifest_edit::{COLLECTION_TS_WIDTH, CollectionHead, Edit, EditOp, RunList};
use crate::format::wal_frame::WAL_NUMBER_MAX;
use crate::manifest::{ManifestState, part_window};
use crate::segment::{BlockCache, Remains, Segment, SegmentIdentity, segment_file_name};
use crate::types::{CollectionId, Frontier, Kind, SegmentId, SeqNo, TimeWindow};
use crate::wal::{WalPiece, database_of, read_remains};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the new database is to be.
pub(super) struct Guessed {
    /// Its manifest.
    pub(super) state: ManifestState,
    /// What is known of the collections of the source.
    pub(super) names: Names,
    /// The identity of the source, as its log has it.
    pub(super) source_uuid: u128,
}

/// Segments by collection, the newest first.
type Seen = BTreeMap<CollectionId, Vec<SegmentId>>;

impl Job<'_> {
    /// Saves all segments. `beginning` is what the manifest says in spite of its damage.
    pub(super) fn guess(&mut self, beginning: &Beginning) -> Result<Guessed> {
        let before = beginning.state.as_ref();
        let mut names = Names::of(&beginning.heads);
        let seen = self.look(&mut names)?;
        let uuid = self.told_uuid()?.or(before.map(ManifestState::uuid));
        let uuid = uuid.unwrap_or_else(|| {
            let clock = &self.env.clock;
            u128::from(clock.random_u64()) << 64 | u128::from(clock.random_u64())
        });
        let last_seqno = self.learn(uuid, &mut names)?;
        let windows = before.map(windows).unwrap_or_default();
        let mut ids: Vec<CollectionId> = seen.keys().copied().collect();
        ids.extend(beginning.heads.keys());
        ids.sort_unstable();
        ids.dedup();
        let (mut ops, mut taken) = (Vec::new(), HashSet::new());
        for id in ids {
            let known = names.get(id);
            let name = known.name.unwrap_or_else(|| fallback_name(id));
            let name = free_name(&name, id, |name| !taken.contains(name));
            taken.insert(name.clone());
            let old = beginning.heads.get(&id);
            let kind = known.kind.unwrap_or_default();
            let identity = SegmentIdentity { db_uuid: uuid, collection: id, kind };
            let segments = seen.get(&id).map(Vec::as_slice).unwrap_or_default();
            let mut runs = self.collection(identity, &name, segments, &windows)?;
            let mut upper = old.map_or(Frontier::MIN, |old| old.upper);
            for times in runs.future.iter().filter_map(|part| part_window(part)) {
                upper = upper.max(Frontier::just_beyond(times.last));
            }
            runs.seal(upper, None, None)?;
            let since = old.map_or(Frontier::MIN, |old| old.since);
            let ts_width = COLLECTION_TS_WIDTH;
            let meta = known.meta;
            let head = CollectionHead { id, kind, ts_width, name, meta, since, upper };
            ops.extend([EditOp::Collection(head), EditOp::Runs { id, runs }]);
        }
        ops.insert(0, self.next_ids(before, &seen, &names));
        // Versions that are put from now on are later than all that were seen.
        let flushed = last_seqno.0.max(self.order_max).min(WAL_NUMBER_MAX / 2);
        ops.insert(1, EditOp::Flushed(SeqNo(flushed)));
        if let Some(clock) = before.map(ManifestState::clock).filter(|c| *c > 0) {
            ops.insert(2, EditOp::Clock(clock));
        }
        Ok(Guessed { state: make_state(uuid, &Edit { ops })?, names, source_uuid: uuid })
    }

    /// Looks at all segments for whose they are.
    fn look(&mut self, names: &mut Names) -> Result<Seen> {
        let mut seen = Seen::default();
        for id in self.files.clone().into_iter().rev() {
            let why = match Remains::open(&self.env.fs, self.from, id) {
                Ok(remains) => {
                    let header = remains.header().copied();
                    if let Some(header) = header {
                        names.learn_kind(header.collection, header.kind);
                    }
                    let of = header.map(|header| header.collection);
                    let of = of.or_else(|| Some(remains.trailer()?.collection));
                    if let Some(collection) = of {
                        seen.entry(collection).or_default().push(id);
                        continue;
                    }
                    "nothing says which collection it belongs to".to_owned()
                }
                Err(e @ Error::FormatTooNew { .. }) => return Err(e),
                Err(e) => e.to_string(),
            };
            self.report.segments += 1;
            self.report.segments_damaged += 1;
            self.report.segments_lost += 1;
            self.add(SalvageDamage::new(&self.from.join(segment_file_name(id)), 0, why));
        }
        Ok(seen)
    }

    /// The identity of the source: what most segments, or the log, say.
    pub(super) fn told_uuid(&self) -> Result<Option<u128>> {
        let mut uuids: BTreeMap<u128, u64> = BTreeMap::new();
        for &id in &self.files {
            let remains = Remains::open(&self.env.fs, self.from, id);
            if let Some(header) = remains.ok().and_then(|remains| remains.header().copied()) {
                *uuids.entry(header.db_uuid).or_default() += 1;
            }
        }
        match uuids.into_iter().max_by_key(|(_, count)| *count) {
            Some((uuid, _)) => Ok(Some(uuid)),
            None => database_of(&*self.env.fs, self.from),
        }
    }

    /// What the log says of collections, and its last seqno.
    fn learn(&self, uuid: u128, names: &mut Names) -> Result<SeqNo> {
        let mut last = SeqNo(0);
        read_remains(&*self.env.fs, self.from, uuid, None, &mut |piece| {
            if let WalPiece::Commit(frame) = piece {
                last = frame.seqno;
                names.learn(frame.payload);
            }
            Ok(())
        })?;
        Ok(last)
    }

    fn next_ids(&self, state: Option<&ManifestState>, seen: &Seen, names: &Names) -> EditOp {
        let before = state.map_or(CollectionId(1), ManifestState::next_collection);
        let last = seen.keys().copied().chain(names.ids()).max();
        let collection = before.max(last.map_or(before, CollectionId::next));
        EditOp::NextIds { collection, segment: self.next_segment }
    }

    /// Saves the segments of a collection; they become parts of its future run.
    fn collection(
        &mut self,
        identity: SegmentIdentity,
        name: &str,
        segments: &[SegmentId],
        windows: &HashMap<SegmentId, Vec<TimeWindow>>,
    ) -> Result<RunList> {
        let (mut runs, mut earlier) = (RunList::default(), Earlier::default());
        let cache = Arc::new(BlockCache::new(0));
        for &id in segments {
            let windows = windows.get(&id).map(Vec::as_slice).unwrap_or_default();
            let wanted = Wanted { id, identity, name, meta: None, windows };
            earlier.rewind()?;
            let part = if identity.kind == Kind::Multiset {
                if self.leave_out(&wanted, &mut earlier)? {
                    continue;
                }
                self.save(&wanted, &mut Earlier::default())?
            } else {
                self.save(&wanted, &mut earlier)?
            };
            for meta in &part {
                let fs = &self.env.fs;
                earlier.add(&Segment::open(fs, self.to, meta, identity, &cache)?);
            }
            if !part.is_empty() {
                runs.future.push(part);
            }
        }
        Ok(runs)
    }
}

/// The times of each segment that count.
fn windows(state: &ManifestState) -> HashMap<SegmentId, Vec<TimeWindow>> {
    let mut windows: HashMap<SegmentId, Vec<TimeWindow>> = HashMap::new();
    for known in state.collections().values() {
        for (part, window) in known.runs.sources() {
            part.iter().for_each(|meta| windows.entry(meta.id).or_default().push(window));
        }
    }
    windows
}
