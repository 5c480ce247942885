//! [`Db`]: wires the steps of the data's way together. No algorithms here.
//!
//! # Lock order
//! `leader` -> `Worker::flushing` / `Worker::merging` -> `installer` -> `catalog`. Nobody waits for
//! a thread while holding `installer` or `catalog`.

use crate::admission::{Admission, Promise};
use crate::catalog::{Frozen, MemSet};
use crate::checkpoint::{self, Checkpoint, capture};
use crate::collection::{Change, Collection, Description};
use crate::commit::{Commit, Reads};
use crate::config::{Durability, Options};
use crate::erase::{Erased, erase};
use crate::error::{Error, ErrorKind, Result, display_bytes};
use crate::events::DbEvent;
use crate::format::FORMAT_VERSION;
use crate::format::log_key::{id_key, position_of};
use crate::holds::ReadHold;
use crate::ingest::{self, Ingest};
use crate::install::Shared;
use crate::io::{Env, JoinHandle};
use crate::leader::{Assigned, WriteState};
use crate::limits::FROZEN_COUNT_MAX;
use crate::maintenance::Worker;
use crate::memtable::{Memtable, SLOT_BYTES};
use crate::read::RangeSpec;
use crate::recovery::{self, Recovered};
use crate::segment::segment_file_name;
use crate::snapshot::{Snapshot, Updates};
use crate::stats::{MemoryUse, Stats};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::throttle::{Debt, StallReason, pause};
use crate::truncate::{Truncated, truncate};
use crate::types::{CollectionId, Frontier, Kind, SeqNo, Timestamp};
use crate::verify::{VerifyDepth, VerifyReport, verify};
use crate::wal::group::{GroupCommit, GroupLimits};
use crate::wal::{FrameIn, WalShared, WalWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

mod books;
mod reads;

pub use books::{BOOKS, DurableHold};
pub use reads::{Changes, check_owner};

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
    group: GroupCommit<Request, Result<Committed>>,
    /// Shared with the background work, which raises a since that a hold has let go of.
    leader: Arc<Mutex<Leader>>,
    wal: Arc<WalShared>,
    worker: Arc<Worker>,
    admission: Admission,
    threads: Mutex<Vec<Box<dyn JoinHandle>>>,
    /// The lock file, while the database is open.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
    closed: AtomicBool,
    /// The durable holds, kept in memory, by name.
    named: Mutex<BTreeMap<String, ReadHold>>,
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

/// What became of a commit.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Its position in the WAL.
    pub seqno: SeqNo,
    /// The time that the database gave its puts.
    pub ts: Timestamp,
    /// The positions of the first events that it appended, by log.
    pub positions: BTreeMap<CollectionId, u64>,
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
        let leader = Arc::new(Mutex::new(Leader { state, wal }));
        worker.also({
            let (shared, leader) = (Arc::clone(&shared), Arc::clone(&leader));
            move || raise_due(&shared, &leader)
        });
        let caller = Arc::downgrade(&worker);
        shared.holds.on_due(move || {
            if let Some(worker) = caller.upgrade() {
                worker.call();
            }
        });
        let threads = worker.start()?;
        worker.call();
        let db = Self(Arc::new(Inner {
            shared,
            group: GroupCommit::new(GroupLimits::default()),
            leader,
            wal: wal_shared,
            worker,
            admission,
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::new(false),
            named: Mutex::new(BTreeMap::new()),
        }));
        db.keep_durable_holds()?;
        Ok(db)
    }

    /// The options that it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    /// The collection `name`, created with `kind` and `meta` when there is none.
    pub fn create_or_load(&self, kind: Kind, name: &str, meta: &[u8]) -> Result<Description> {
        loop {
            self.0.check_open()?;
            match self.find(name) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
            let id = self.reserve_collection_id();
            let mut commit = Commit::new();
            commit.create(id, kind, name, meta)?;
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
        self.0.shared.catalog.read().collections().current(id)
    }

    /// All collections, in order of their names.
    #[must_use]
    pub fn collections(&self) -> Vec<CollectionStats> {
        let mut all: Vec<Collection> = {
            let catalog = self.0.shared.catalog.read();
            let collections = catalog.collections();
            let current = |c: &Collection| Collection { upper: collections.upper(c), ..c.clone() };
            collections.iter().map(current).collect()
        };
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

    /// Makes a commit.
    pub fn commit(&self, mut commit: Commit, durability: Durability) -> Result<Committed> {
        self.0.check_open()?;
        commit.seal()?;
        if !commit.reads().is_empty() {
            // Found unchanged so far, they need to be looked at only for what comes in between.
            let now = self.now();
            self.0.check_unchanged(commit.reads())?;
            commit.reads_hold_at(now);
        }
        let durability = if commit.must_sync() { Durability::Fsync } else { durability };
        self.0.make_room(commit.payload().len())?;
        if self.0.shared.options.background_threads == 0 {
            raise_due(&self.0.shared, &self.0.leader)?;
        }
        let _promise = self.0.promise_memory(memory_need(&commit))?;
        let payload_crc = FrameIn::new(commit.payload()).payload_crc;
        let (updates, raises_since) = (commit.update_count(), commit.must_sync());
        let weight = commit.payload().len();
        let since_before = self.0.since_before(&commit);
        let request = Request { commit, durability, payload_crc };
        let committed = self
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
        Ok(committed)
    }

    /// The latest time of the database's clock that can be read.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.shared.catalog.read().collections().clock().saturating_sub(1)
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
        let collection = catalog.collections().current(id)?;
        // With nothing below upper, reading 0 gives the error that says so.
        catalog.snapshot(id, collection.upper.last_below().unwrap_or(0))
    }

    /// All updates of a collection.
    pub fn updates(&self, id: CollectionId) -> Result<Updates> {
        self.0.check_open()?;
        // A frozen memtable holds whole commits only.
        self.0.freeze();
        let catalog = self.0.shared.catalog.read();
        let collection = catalog.collections().require(id)?;
        let (description, since) = (&collection.description, collection.since);
        Ok(Updates::new(description, since, catalog.mem(), &catalog.reads(id)))
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
        self.0.check_open()?;
        raise_due(&self.0.shared, &self.0.leader)?;
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

    /// Makes a database in `dir`, which must be missing or empty, that holds exactly the commits up
    /// to one: everything that was acknowledged when this is called. Commits wait while what is in
    /// memory is flushed, not while files are linked.
    ///
    /// # Errors
    /// `AlreadyExists` when there is something in `dir`.
    pub fn checkpoint(&self, dir: &Path) -> Result<Checkpoint> {
        let captured = self.0.settled(|leader| capture(&self.0.shared, leader.state.last_seqno))?;
        checkpoint::write(&self.0.shared, &captured, dir)
    }

    /// Discards the updates of a collection at or beyond `ts` and sets its upper to it; with
    /// `dry_run` it only counts them. Commits wait meanwhile.
    ///
    /// # Errors
    /// `Compacted` when `ts` is not above a since that was raised; `Invalid` for logs and tables on the database's clock.
    pub fn truncate_at(&self, id: CollectionId, ts: Timestamp, dry_run: bool) -> Result<Truncated> {
        let report = self.0.settled(|leader| {
            let holds = self.0.shared.holds.list();
            if let Some(hold) =
                holds.iter().find(|hold| hold.collection == id && hold.at >= Frontier::at(ts))
            {
                let (owner, at) = (&hold.owner, hold.at);
                let what = format!("a truncation at {ts} crosses the hold of '{owner}' at {at}");
                return Err(Error::invalid(what));
            }
            truncate(&self.0.shared, &mut leader.state, id, ts, dry_run)
        });
        self.0.shared.watch.changed(&BTreeSet::from([id]));
        report
    }

    /// Removes the rows of a range of keys, at whatever time, from every file. Commits wait
    /// meanwhile.
    ///
    /// # Errors
    /// `Invalid` for a log.
    pub fn erase(&self, id: CollectionId, range: &RangeSpec) -> Result<Erased> {
        self.0.settled(|leader| {
            let Description { kind, name, .. } =
                leader.state.collections.require(id)?.description.clone();
            if kind == Kind::Log {
                let what = format!("collection '{name}' is a log, whose events are dense");
                return Err(Error::invalid(what));
            }
            let mut erased = erase(&self.0.shared, id, kind, range, leader.state.last_seqno)?;
            // All commits are in segments: no file of the log is needed.
            leader.wal.renew()?;
            self.0.wal.release(leader.wal.last_seqno())?;
            erased.wal_files = self.0.wal.remove_spares()?;
            Ok(erased)
        })
    }

    /// Starts taking a sorted stream of updates straight into segments of a multiset.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for tables and logs.
    pub fn ingest(&self, id: CollectionId) -> Result<Ingest> {
        let Description { name, kind, .. } = self.collection(id)?.description;
        if kind != Kind::Multiset {
            return Err(Error::invalid(format!("collection '{name}' is a {kind}, not a multiset")));
        }
        Ok(Ingest::new(&self.0.shared, id, name))
    }

    /// Adds what was ingested to its collection, all at once, and with `upper` advances upper;
    /// how many updates. Durable when it returns. Commits wait meanwhile.
    ///
    /// # Errors
    /// `Invalid` when an update lies below upper: nothing was added then.
    pub fn finish_ingest(&self, ingest: Ingest, upper: Option<Frontier>) -> Result<u64> {
        let (id, count, times) = (ingest.collection(), ingest.count, ingest.times);
        let part = ingest.finish()?;
        let done = self.0.settled(|leader| {
            let collection = leader.state.collections.require(id)?;
            if let Some(times) = times.filter(|times| collection.upper.is_beyond(times.first)) {
                return Err(Error::TsBelowUpper {
                    collection: collection.description.name.to_string(),
                    index: 0,
                    ts: times.first,
                    upper: collection.upper,
                });
            }
            ingest::install(&self.0.shared, &mut leader.state, id, part.clone(), upper)
        });
        if done.as_ref().is_err_and(|e| !e.may_have_happened()) {
            for meta in &part {
                let path = self.0.shared.dir.join(segment_file_name(meta.id));
                // A failure leaves an orphan for the next open.
                let _ = self.0.shared.env.fs.remove_file(&path);
            }
        }
        self.0.shared.watch.changed(&BTreeSet::from([id]));
        done.map(|()| count)
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

    /// Does `work` while no commit and no merge is under way and everything is in segments.
    fn settled<T>(&self, work: impl FnOnce(&mut Leader) -> Result<T>) -> Result<T> {
        self.check_open()?;
        let mut leader = self.leader.lock();
        leader.wal.sync()?;
        if !leader.state.is_clean() {
            self.hand_over(&mut leader.state);
        }
        while self.worker.flush_step()? {}
        self.worker.without_merges(|| work(&mut leader))
    }

    /// Leads a group of commits: check, log, insert, publish, freeze.
    fn lead(&self, mut batch: Vec<Request>) -> Vec<Result<Committed>> {
        let mut locked = self.leader.lock();
        let leader = &mut *locked;
        let mut results = Vec::with_capacity(batch.len());
        // A commit is checked against those before it in the group, so each is applied to the
        // collections as it is accepted; readers see nothing of it before it is logged.
        let mut accepted: Vec<(usize, &Request, Assigned)> = Vec::with_capacity(batch.len());
        let mut undo = Vec::new();
        let mut held_back = Vec::new();
        let limited: Vec<Result<_>> =
            batch.iter_mut().map(|request| self.limit_since(request)).collect();
        for ((index, request), limited) in batch.iter().enumerate().zip(limited) {
            let checked = self
                .check_open()
                .and(limited)
                .and_then(|held| leader.state.collections.check(&request.commit).map(|()| held))
                .and_then(|held| self.check_events(&request.commit, &accepted).map(|()| held))
                .and_then(|held| self.check_reads(&request.commit, &accepted).map(|()| held))
                .and_then(|held| Ok((leader.state.accept(&request.commit, &mut undo)?, held)));
            results.push(checked.map(|(assigned, held)| {
                accepted.push((index, request, assigned));
                held_back.extend(held);
                Committed::default()
            }));
        }
        if accepted.is_empty() {
            return results;
        }
        let logged = leader.log(&accepted);
        if logged.is_err() {
            leader.state.revert(undo);
        }
        let first = logged.as_ref().map_or(0, |last| last.0 + 1 - accepted.len() as u64);
        for (offset, (index, request, assigned)) in (0..).zip(accepted) {
            let inserted = logged.clone().and_then(|_| {
                let seqno = SeqNo(first + offset);
                leader.state.insert(seqno, request.commit.payload(), &assigned)?;
                let Assigned { ts, positions } = assigned;
                Ok(Committed { seqno, ts, positions })
            });
            if let Some(result) = results.get_mut(index) {
                *result = inserted;
            }
        }
        if logged.is_ok() {
            for (id, since) in held_back {
                self.shared.holds.remember(id, since);
            }
            let changed = publish(&self.shared, &mut leader.state);
            if leader.state.is_full() {
                self.hand_over(&mut leader.state);
            }
            // Whoever is woken may be foreign code: not under the lock.
            drop(locked);
            self.shared.watch.changed(&changed);
        }
        results
    }

    /// Refuses events whose ids their logs have already, or get by a commit before in the group.
    fn check_events(&self, commit: &Commit, group: &[(usize, &Request, Assigned)]) -> Result<()> {
        for (log, id) in commit.event_ids() {
            if group.iter().any(|(_, other, _)| other.commit.appends_id(*log, id)) {
                return Err(Error::Busy { what: "the same event id is being appended" });
            }
            let log = self.shared.catalog.read().everything(*log)?;
            let mut earlier = None;
            log.get(&id_key(id), |val, _| {
                earlier = position_of(val);
                Ok(())
            })?;
            if let Some(position) = earlier {
                let id = display_bytes(id);
                return Err(Error::EventExists { id, position });
            }
        }
        Ok(())
    }

    /// Refuses a transaction that has read what was written since, also by a commit before in the
    /// group.
    fn check_reads(&self, commit: &Commit, group: &[(usize, &Request, Assigned)]) -> Result<()> {
        let reads = commit.reads();
        if reads.is_empty() {
            return Ok(());
        }
        for (_, other, _) in group {
            if let Some((table, key)) = other.commit.written_of(reads) {
                return Err(self.conflict(table, &key));
            }
        }
        self.check_unchanged(reads)
    }

    fn check_unchanged(&self, reads: &Reads) -> Result<()> {
        let written = self.shared.catalog.read().written_since(reads)?;
        for (table, key) in &reads.keys {
            if let Some(written) = written.get(table)
                && written.has_version(key)?
            {
                return Err(self.conflict(*table, key));
            }
        }
        for (table, range) in &reads.ranges {
            if let Some(written) = written.get(table)
                && let Some(key) = written.first_version_in(range)?
            {
                return Err(self.conflict(*table, &key));
            }
        }
        Ok(())
    }

    fn conflict(&self, table: CollectionId, key: &[u8]) -> Error {
        let catalog = self.shared.catalog.read();
        let table = catalog.collections().get(table);
        let collection = table.map(|table| table.description.name.to_string()).unwrap_or_default();
        Error::Conflict { collection, key: display_bytes(key) }
    }

    /// Lowers what a commit asks to forget to what the holds allow; what it asked for where that is
    /// more. Under the leader's lock, so that no hold comes in between.
    fn limit_since(&self, request: &mut Request) -> Result<Vec<(CollectionId, Frontier)>> {
        if !request.commit.must_sync() {
            return Ok(Vec::new());
        }
        let held = request.commit.limit_since(|id, since| self.shared.holds.limit(id, since))?;
        if !held.is_empty() {
            request.payload_crc = FrameIn::new(request.commit.payload()).payload_crc;
        }
        Ok(held)
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
            self.shared.tell(|| DbEvent::Stalled { reason, duration });
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
            self.shared.tell(|| DbEvent::Stalled { reason: StallReason::Memtables, duration });
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
                self.shared.tell(|| DbEvent::SinceAdvanced { collection, since });
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
        self.shared.watch.close();
        closed
    }
}

impl Drop for Inner {
    /// A best effort: nobody is left to be told of an error, and nothing acknowledged is lost.
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// Shows readers what the commits changed; the collections that did.
fn publish(shared: &Shared, state: &mut WriteState) -> BTreeSet<CollectionId> {
    let mut changed = state.note_changes();
    if changed.is_empty() {
        return changed;
    }
    let clock = {
        let mut catalog = shared.catalog.write();
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
        changed.extend(shared.watch.waited_for().into_iter().filter(on_clock));
    }
    changed
}

/// Makes what holds have let go of take effect: a commit of its own, durable before it is
/// published. Whether there was any.
fn raise_due(shared: &Shared, leader: &Mutex<Leader>) -> Result<bool> {
    if !shared.holds.is_due() {
        return Ok(false);
    }
    let mut locked = leader.lock();
    let Leader { state, wal } = &mut *locked;
    let since_of = |id| state.collections.get(id).map(|collection| collection.since);
    let due = shared.holds.due(since_of);
    if due.is_empty() {
        return Ok(false);
    }
    let mut commit = Commit::new();
    due.iter().try_for_each(|(id, since)| commit.compact_below(*id, *since))?;
    commit.seal()?;
    let logged = wal.append(&[FrameIn::new(commit.payload())]).and_then(|seqno| {
        wal.sync()?;
        Ok(seqno)
    });
    match logged {
        Ok(seqno) => {
            let assigned = state.accept(&commit, &mut Vec::new())?;
            state.insert(seqno, commit.payload(), &assigned)?;
            let changed = publish(shared, state);
            drop(locked);
            shared.watch.changed(&changed);
            Ok(true)
        }
        // Until the database is opened again nothing more can be forgotten.
        Err(e) if e.kind() == ErrorKind::Poisoned => Ok(false),
        Err(e) => {
            shared.holds.retry();
            Err(e)
        }
    }
}

/// Bytes of memory that the id of an event takes beside itself.
const EVENT_ID_BYTES: u64 = 128;

/// Bytes that a commit takes in a memtable at most: a row there takes at most twice what it takes in
/// the log.
fn memory_need(commit: &Commit) -> u64 {
    let logged = commit.payload().len() as u64;
    // An event with an id is two rows.
    let ids = commit.event_ids().len() as u64;
    2 * logged + SLOT_BYTES * commit.collections_max() + EVENT_ID_BYTES * ids
}

impl Leader {
    /// Logs the accepted commits and makes them as durable as the most demanding of them asks.
    fn log(&mut self, accepted: &[(usize, &Request, Assigned)]) -> Result<SeqNo> {
        let frames: Vec<FrameIn<'_>> = accepted
            .iter()
            .map(|(_, request, _)| FrameIn {
                payload: request.commit.payload(),
                payload_crc: request.payload_crc,
            })
            .collect();
        let last = self.wal.append(&frames)?;
        let durability = |wanted| accepted.iter().any(|(_, r, _)| r.durability == wanted);
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
