//! [`Db`]: wires the steps of the data's way together. No algorithms here.
//!
//! # Lock order
//! `leader` -> `Worker::flushing` / `Worker::merging` -> `installer` -> `catalog`. Nobody waits for
//! a thread while holding `installer` or `catalog`.

use crate::admission::{Admission, Promise};
use crate::catalog::{Frozen, MemSet};
use crate::collection::{Change, Collection, Description};
use crate::commit::Commit;
use crate::config::{Durability, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::format::FORMAT_VERSION;
use crate::install::Shared;
use crate::io::{Env, JoinHandle};
use crate::leader::WriteState;
use crate::limits::FROZEN_COUNT_MAX;
use crate::maintenance::Worker;
use crate::memtable::{Memtable, SLOT_BYTES};
use crate::recovery::{self, Recovered};
use crate::snapshot::{Snapshot, Updates};
use crate::stats::{MemoryUse, Stats};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::throttle::{Debt, StallReason, pause};
use crate::types::{CollectionId, Frontier, SeqNo};
use crate::verify::{VerifyDepth, VerifyReport, verify};
use crate::wal::group::{GroupCommit, GroupLimits};
use crate::wal::{FrameIn, WalShared, WalWriter};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// An open database. Cheap to clone; closed when [`close`](Self::close) is called or the last clone
/// is gone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("dir", &self.0.shared.dir).finish_non_exhaustive()
    }
}

struct Inner {
    shared: Arc<Shared>,
    group: GroupCommit<Request, Result<SeqNo>>,
    leader: Mutex<Leader>,
    wal: Arc<WalShared>,
    worker: Arc<Worker>,
    admission: Admission,
    threads: Mutex<Vec<Box<dyn JoinHandle>>>,
    /// The lock file, while the database is open.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
    closed: AtomicBool,
}

/// What only the leader of a group of commits, or who keeps it out, may touch.
struct Leader {
    state: WriteState,
    wal: WalWriter,
}

/// A commit on its way through a group.
struct Request {
    commit: Commit,
    durability: Durability,
    payload_crc: u32,
}

/// A collection with sizes and counts.
#[derive(Clone, Debug)]
pub struct CollectionStats {
    /// What it is, and its frontiers.
    pub collection: Collection,
    /// Sealed runs.
    pub runs: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Updates in them.
    pub updates: u64,
    /// Updates in them that compaction could remove now, each segment taken by itself.
    pub garbage_updates: u64,
    /// Bytes that they take, about.
    pub garbage_bytes: u64,
    /// Updates in memtables.
    pub memtable_updates: u64,
}

impl Db {
    /// Opens the database in `dir`.
    pub fn open(env: Env, dir: &Path, options: Options) -> Result<Self> {
        options.check()?;
        let share = options.memtable_share();
        let options = options.derived();
        let Recovered { shared, state, wal, wal_shared, lock } =
            recovery::recover(env, dir, options)?;
        let shared = Arc::new(shared);
        let empty_bytes = Memtable::new(shared.options.memtable_bytes).bytes();
        let admission = Admission::new(share, empty_bytes);
        let worker = Arc::new(Worker::new(Arc::clone(&shared), Arc::clone(&wal_shared)));
        let threads = worker.start()?;
        worker.call();
        Ok(Self(Arc::new(Inner {
            shared,
            group: GroupCommit::new(GroupLimits::default()),
            leader: Mutex::new(Leader { state, wal }),
            wal: wal_shared,
            worker,
            admission,
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::new(false),
        })))
    }

    /// The options that it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    /// The collection `name`, created with `meta` when there is none.
    pub fn create_or_load(&self, name: &str, meta: &[u8]) -> Result<Description> {
        loop {
            self.0.check_open()?;
            match self.find(name) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
            let id = self.reserve_collection_id();
            let mut commit = Commit::new();
            commit.create(id, name, meta)?;
            match self.commit(commit, Durability::Fsync) {
                // Somebody else was faster.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(_) => {}
            }
        }
    }

    /// An id for a collection that is about to be created; never given again.
    #[must_use]
    pub fn reserve_collection_id(&self) -> CollectionId {
        CollectionId(self.0.shared.next_collection.fetch_add(1, Ordering::Relaxed))
    }

    /// The collection `name`.
    pub fn find(&self, name: &str) -> Result<Description> {
        let catalog = self.0.shared.catalog.read();
        match catalog.collections().find(name) {
            Some(collection) => Ok(collection.description.clone()),
            None => Err(Error::NotFound { what: format!("collection '{name}'") }),
        }
    }

    /// A collection and its frontiers.
    pub fn collection(&self, id: CollectionId) -> Result<Collection> {
        self.0.shared.catalog.read().collections().require(id).cloned()
    }

    /// All collections, in order of their names.
    #[must_use]
    pub fn collections(&self) -> Vec<CollectionStats> {
        let mut all: Vec<Collection> =
            self.0.shared.catalog.read().collections().iter().cloned().collect();
        all.sort_by(|a, b| a.description.name.cmp(&b.description.name));
        all.into_iter().map(|collection| self.0.stats_of(collection)).collect()
    }

    /// A collection with sizes and counts.
    pub fn collection_stats(&self, id: CollectionId) -> Result<CollectionStats> {
        Ok(self.0.stats_of(self.collection(id)?))
    }

    /// Drops the collection `name`; whether there was one.
    pub fn drop_collection(&self, name: &str) -> Result<bool> {
        let id = match self.find(name) {
            Ok(found) => found.id,
            Err(_) => return self.0.check_open().map(|()| false),
        };
        let mut commit = Commit::new();
        commit.drop_collection(id)?;
        match self.commit(commit, Durability::Fsync) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        }
        // The space comes back when the manifest has learnt of it.
        self.0.freeze();
        Ok(true)
    }

    /// Makes a commit; its position in the log.
    pub fn commit(&self, mut commit: Commit, durability: Durability) -> Result<SeqNo> {
        self.0.check_open()?;
        commit.seal()?;
        let durability = if commit.must_sync() { Durability::Fsync } else { durability };
        self.0.make_room(commit.payload().len())?;
        let _promise = self.0.promise_memory(memory_need(&commit))?;
        let payload_crc = FrameIn::new(commit.payload()).payload_crc;
        let (updates, raises_since) = (commit.update_count(), commit.must_sync());
        let weight = commit.payload().len();
        let since_before = self.0.since_before(&commit);
        let request = Request { commit, durability, payload_crc };
        let seqno = self
            .0
            .group
            .submit(request, weight, |batch| self.0.lead(batch))
            .map_err(|panicked| Error::Internal { what: panicked.to_string() })??;
        self.0.shared.counters.commits(1);
        self.0.shared.counters.updates(updates);
        if raises_since {
            self.0.worker.call();
        }
        self.0.tell_since(&since_before);
        Ok(seqno)
    }

    /// A snapshot of a collection.
    pub fn snapshot(&self, id: CollectionId, as_of: u64) -> Result<Snapshot> {
        self.0.check_open()?;
        self.0.shared.catalog.read().snapshot(id, as_of)
    }

    /// Snapshots of several collections at one time.
    pub fn snapshots(&self, ids: &[CollectionId], as_of: u64) -> Result<Vec<Snapshot>> {
        self.0.check_open()?;
        let catalog = self.0.shared.catalog.read();
        ids.iter().map(|id| catalog.snapshot(*id, as_of)).collect()
    }

    /// A snapshot at the latest readable time.
    pub fn latest(&self, id: CollectionId) -> Result<Snapshot> {
        self.0.check_open()?;
        let catalog = self.0.shared.catalog.read();
        let collection = catalog.collections().require(id)?;
        // With nothing below upper, reading 0 gives the error that says so.
        catalog.snapshot(id, collection.upper.last_below().unwrap_or(0))
    }

    /// All updates of a collection.
    pub fn updates(&self, id: CollectionId) -> Result<Updates> {
        self.0.check_open()?;
        // A frozen memtable holds whole commits only.
        self.0.freeze();
        let catalog = self.0.shared.catalog.read();
        let since = catalog.collections().require(id)?.since;
        Ok(Updates::new(id, since, catalog.mem(), &catalog.reads(id)))
    }

    /// Makes every commit so far durable.
    pub fn sync(&self) -> Result<()> {
        self.0.check_open()?;
        self.0.leader.lock().wal.sync().map(drop)
    }

    /// Writes everything in memory to segments.
    pub fn flush(&self) -> Result<()> {
        self.0.check_open()?;
        self.0.freeze();
        while self.0.worker.flush_step()? {}
        Ok(())
    }

    /// Flushes, and merges one collection or all into as few segments as possible.
    pub fn compact(&self, id: Option<CollectionId>) -> Result<()> {
        self.flush()?;
        let ids: Vec<CollectionId> = match id {
            Some(id) => vec![self.collection(id)?.description.id],
            None => {
                let catalog = self.0.shared.catalog.read();
                catalog.collections().iter().map(|c| c.description.id).collect()
            }
        };
        ids.into_iter().try_for_each(|id| self.0.worker.compact(id))
    }

    /// Runs one background step; whether there was anything to do.
    pub fn step(&self) -> Result<bool> {
        self.0.check_open()?;
        self.0.worker.step()
    }

    /// Sizes and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Checks the live segments.
    pub fn verify(
        &self,
        depth: VerifyDepth,
        progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport> {
        self.0.check_open()?;
        let reads: Vec<_> = {
            let catalog = self.0.shared.catalog.read();
            catalog.collections().iter().map(|c| catalog.reads(c.description.id)).collect()
        };
        verify(reads.iter(), depth, progress)
    }

    /// Makes everything durable, ends the background work and gives the lock back.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }
}

impl Inner {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Leads a group of commits: check, log, insert, publish, freeze.
    fn lead(&self, batch: Vec<Request>) -> Vec<Result<SeqNo>> {
        let mut leader = self.leader.lock();
        let leader = &mut *leader;
        let mut results = Vec::with_capacity(batch.len());
        // A commit is checked against those before it in the group, so each is applied to the
        // collections as it is accepted; readers see nothing of it before it is logged.
        let mut accepted: Vec<(usize, &Request)> = Vec::with_capacity(batch.len());
        let mut undo = Vec::new();
        for (index, request) in batch.iter().enumerate() {
            let checked = self
                .check_open()
                .and_then(|()| leader.state.collections.check(&request.commit))
                .and_then(|()| leader.state.accept(&request.commit, &mut undo));
            if checked.is_ok() {
                accepted.push((index, request));
            }
            results.push(checked.map(|()| SeqNo(0)));
        }
        if accepted.is_empty() {
            return results;
        }
        let logged = leader.log(&accepted);
        if logged.is_err() {
            leader.state.revert(undo);
        }
        let first = logged.as_ref().map_or(0, |last| last.0 + 1 - accepted.len() as u64);
        for (offset, (index, request)) in (0..).zip(&accepted) {
            let inserted = logged.clone().and_then(|_| {
                let seqno = SeqNo(first + offset);
                leader.state.insert(seqno, request.commit.payload())?;
                Ok(seqno)
            });
            if let Some(result) = results.get_mut(*index) {
                *result = inserted;
            }
        }
        if logged.is_ok() {
            self.publish(&mut leader.state);
        }
        results
    }

    /// Shows readers what the commits changed, and hands a full memtable over.
    fn publish(&self, state: &mut WriteState) {
        let changed: BTreeSet<CollectionId> = state.note_changes();
        if !changed.is_empty() {
            self.shared.catalog.write().publish(&changed, &state.collections);
        }
        if state.is_full() {
            self.hand_over(state);
        }
    }

    fn hand_over(&self, state: &mut WriteState) {
        let frozen: Arc<Frozen> = state.freeze();
        {
            let mut catalog = self.shared.catalog.write();
            let mut all = catalog.mem().frozen.clone();
            all.push(frozen);
            catalog.set_mem(MemSet { active: Arc::clone(&state.active), frozen: all });
        }
        self.worker.call();
    }

    /// Freezes the active memtable if there is anything to flush.
    fn freeze(&self) {
        let mut leader = self.leader.lock();
        if !leader.state.is_clean() {
            self.hand_over(&mut leader.state);
        }
    }

    /// Lets flush and compaction keep up: pauses in proportion to what they have yet to do.
    fn make_room(&self, bytes: usize) -> Result<()> {
        let (debt, frozen) = {
            let catalog = self.shared.catalog.read();
            let in_memory: u64 = catalog.mem().iter().map(|memtable| memtable.bytes()).sum();
            let memtables = in_memory as f64 / self.shared.options.memtable_bytes as f64;
            (Debt { memtables, parts: catalog.parts_max() }, catalog.mem().frozen.len())
        };
        let clock = &self.shared.env.clock;
        let start = clock.monotonic();
        let mut waited = None;
        if self.shared.options.background_threads > 0
            && let Some((pause, reason)) = pause(debt, bytes, self.worker.flush_rate())
        {
            clock.sleep(pause);
            waited = Some(reason);
        }
        if frozen >= FROZEN_COUNT_MAX {
            self.worker.wait_for_flush(FROZEN_COUNT_MAX)?;
            waited = Some(StallReason::Memtables);
        }
        if let Some(reason) = waited {
            let duration = clock.monotonic().saturating_sub(start);
            self.shared.counters.stalled(duration);
            self.shared.tell(|| Event::Stalled { reason, duration });
        }
        Ok(())
    }

    /// Bytes of all memtables.
    fn memtable_bytes(&self) -> u64 {
        self.shared.catalog.read().mem().iter().map(|memtable| memtable.bytes()).sum()
    }

    /// Waits until there is memory for a commit that needs so many bytes of it.
    fn promise_memory(&self, need: u64) -> Result<Promise<'_>> {
        if let Some(most) = self.admission.most().filter(|most| need > *most) {
            return Err(Error::invalid(format!(
                "a commit that needs {need} bytes of memory, of which memory_limit leaves {most}; \
                 make several commits of it or raise memory_limit"
            )));
        }
        let clock = &self.shared.env.clock;
        let start = clock.monotonic();
        let mut waited = false;
        let promise = loop {
            match self.admission.enter(need, || self.memtable_bytes()) {
                Ok(promise) => break promise,
                Err(full) => {
                    waited = true;
                    let frozen = self.shared.catalog.read().mem().frozen.len();
                    if frozen > 0 {
                        self.worker.wait_for_flush(frozen)?;
                    } else if full.others_end {
                        self.admission.wait_for_end();
                    } else {
                        self.freeze();
                    }
                }
            }
            self.check_open()?;
        };
        if waited {
            let duration = clock.monotonic().saturating_sub(start);
            self.shared.counters.stalled(duration);
            self.shared.tell(|| Event::Stalled { reason: StallReason::Memtables, duration });
        }
        Ok(promise)
    }

    /// The collections whose since a commit asks to be raised, and what it is; nothing when nobody
    /// wants to be told.
    fn since_before(&self, commit: &Commit) -> Vec<(CollectionId, Frontier)> {
        if self.shared.options.on_event.is_none() {
            return Vec::new();
        }
        let catalog = self.shared.catalog.read();
        let raised = commit.changes().iter().filter_map(|change| match change {
            Change::CompactBelow(id, _) => Some(*id),
            _ => None,
        });
        raised.filter_map(|id| Some((id, catalog.collections().get(id)?.since))).collect()
    }

    /// Tells of every since that is beyond what it was.
    fn tell_since(&self, before: &[(CollectionId, Frontier)]) {
        for (id, since_before) in before {
            let now = {
                let catalog = self.shared.catalog.read();
                let known = catalog.collections().get(*id);
                known.map(|known| (known.description.name.to_string(), known.since))
            };
            if let Some((collection, since)) = now.filter(|(_, since)| since > since_before) {
                self.shared.tell(|| Event::SinceAdvanced { collection, since });
            }
        }
    }

    fn stats_of(&self, collection: Collection) -> CollectionStats {
        let id = collection.description.id;
        let runs = {
            let installer = self.shared.installer.lock();
            installer.log.state().collections().get(&id).map_or(0, |c| c.runs.sealed.len())
        };
        let catalog = self.shared.catalog.read();
        let mut seen = BTreeSet::new();
        let mut stats = CollectionStats {
            collection,
            runs: runs as u64,
            segments: 0,
            bytes: 0,
            updates: 0,
            garbage_updates: 0,
            garbage_bytes: 0,
            memtable_updates: catalog
                .mem()
                .iter()
                .filter_map(|memtable| Some(memtable.slot(id)?.updates()))
                .sum(),
        };
        let since: Frontier = stats.collection.since;
        for segment in catalog.reads(id).parts.iter().flat_map(|part| part.segments.iter()) {
            if seen.insert(segment.meta().id) {
                stats.segments += 1;
                stats.bytes += segment.meta().file_len;
                stats.updates += segment.meta().updates;
                // A damaged segment is what verification and reads tell of.
                let garbage = segment.garbage(since).unwrap_or_default();
                stats.garbage_updates += garbage.updates;
                stats.garbage_bytes += garbage.bytes;
            }
        }
        stats
    }

    fn stats(&self) -> Stats {
        let wal = self.wal.stats();
        let mut stats = Stats {
            format_version: FORMAT_VERSION,
            counts: self.shared.counters.read(),
            wal_files: wal.files as u64,
            wal_bytes: wal.file_bytes,
            wal_syncs: wal.syncs,
            last_seqno: wal.last_seqno.0,
            durable_seqno: wal.durable_seqno.0,
            ..Stats::default()
        };
        {
            let installer = self.shared.installer.lock();
            stats.flushed_seqno = installer.log.state().flushed_seqno().0;
            stats.segments = installer.open.len() as u64;
            stats.segment_bytes = installer.open.values().map(|s| s.meta().file_len).sum();
        }
        let catalog = self.shared.catalog.read();
        let active = &catalog.mem().active;
        stats.memory = MemoryUse {
            memtables: catalog.mem().iter().map(|memtable| memtable.bytes()).sum(),
            block_cache: self.shared.cache.len_bytes(),
        };
        stats.memtable_bytes = if active.is_empty() { 0 } else { active.bytes() };
        stats.frozen_memtables = catalog.mem().frozen.len() as u64;
        stats
    }

    fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(Error::Closed);
        }
        self.worker.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                return Err(Error::Internal { what: "a background thread panicked".into() });
            }
        }
        let closed = self.leader.lock().wal.close();
        *self.lock.lock() = None;
        closed
    }
}

impl Drop for Inner {
    /// A best effort: nobody is left to be told of an error, and nothing acknowledged is lost.
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// Bytes that a commit takes in a memtable at most: a row there takes at most twice what it takes in
/// the log.
fn memory_need(commit: &Commit) -> u64 {
    let logged = commit.payload().len() as u64;
    2 * logged + SLOT_BYTES * commit.collections_max()
}

impl Leader {
    /// Logs the accepted commits and makes them as durable as the most demanding of them asks.
    fn log(&mut self, accepted: &[(usize, &Request)]) -> Result<SeqNo> {
        let frames: Vec<FrameIn<'_>> = accepted
            .iter()
            .map(|(_, request)| FrameIn {
                payload: request.commit.payload(),
                payload_crc: request.payload_crc,
            })
            .collect();
        let last = self.wal.append(&frames)?;
        let durability = |wanted| accepted.iter().any(|(_, r)| r.durability == wanted);
        let made = if durability(Durability::Fsync) {
            self.wal.sync().map(drop)
        } else if durability(Durability::Buffer) {
            self.wal.write()
        } else {
            Ok(())
        };
        // Nobody was told of these commits yet.
        self.wal.or_take_back(made)?;
        Ok(last)
    }
}
