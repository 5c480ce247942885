//! [`Writer`]: the one process that writes a database: group commit, memtables, background work.

use super::Committed;
use super::retention::Policies;
use super::syncer::Syncer;
use crate::admission::{Admission, Promise};
use crate::collection::Change;
use crate::commit::{Commit, Reads};
use crate::config::{Durability, Options};
use crate::error::{Error, ErrorKind, Result, display_bytes};
use crate::events::DbEvent;
use crate::format::log_key::{id_key, position_of};
use crate::holds::ReadHold;
use crate::install::Shared;
use crate::io::{Env, JoinHandle};
use crate::leader::{Assigned, WriteState};
use crate::limits::FROZEN_COUNT_MAX;
use crate::maintenance::Worker;
use crate::memtable::{Memtable, SLOT_BYTES};
use crate::planted::{Bug, planted};
use crate::recovery::{self, Recovered};
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::throttle::{Debt, StallReason, pause};
use crate::types::{CollectionId, Frontier, SeqNo};
use crate::wal::group::{GroupCommit, GroupLimits};
use crate::wal::{FrameIn, WalShared, WalWriter};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What writes a database.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) group: GroupCommit<Request, Result<Committed>>,
    /// Shared with the background work, which raises a since that a hold has let go of.
    pub(super) leader: Arc<Mutex<Leader>>,
    pub(super) wal: Arc<WalShared>,
    pub(super) worker: Arc<Worker>,
    admission: Admission,
    threads: Mutex<Vec<Box<dyn JoinHandle>>>,
    /// The lock file, while the database is open.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
    /// The durable holds and subscriptions, kept in memory, by their keys in the database's table.
    pub(super) named: Mutex<BTreeMap<Vec<u8>, ReadHold>>,
    /// How much collections keep by themselves. Lock order: after the leader.
    pub(super) policies: Mutex<Policies>,
    pub(super) syncer: Arc<Syncer>,
}

/// What only the leader of a group of commits, or who keeps it out, may touch.
pub(super) struct Leader {
    pub(super) state: WriteState,
    pub(super) wal: WalWriter,
}

/// A commit on its way through a group.
pub(super) struct Request {
    pub(super) commit: Commit,
    pub(super) durability: Durability,
    pub(super) payload_crc: u32,
}

impl Writer {
    /// Opens the database in `dir`, or makes one.
    pub(super) fn open(env: Env, dir: &Path, options: Options) -> Result<Self> {
        options.check()?;
        let share = options.memtable_share();
        let options = options.derived();
        let Recovered { shared, state, wal, wal_shared, lock } =
            recovery::recover(env, dir, options)?;
        let shared = Arc::new(shared);
        let empty_bytes = Memtable::new(shared.view.options.memtable_bytes).bytes();
        let worker = Arc::new(Worker::new(Arc::clone(&shared), Arc::clone(&wal_shared)));
        let leader = Arc::new(Mutex::new(Leader { state, wal }));
        worker.also({
            let (shared, leader) = (Arc::clone(&shared), Arc::clone(&leader));
            move || raise_due(&shared, &leader)
        });
        let caller = Arc::downgrade(&worker);
        shared.view.holds.on_due(move || {
            if let Some(worker) = caller.upgrade() {
                worker.call();
            }
        });
        let threads = worker.start()?;
        worker.call();
        Ok(Self {
            shared,
            group: GroupCommit::new(GroupLimits::default()),
            leader,
            wal: wal_shared,
            worker,
            admission: Admission::new(share, empty_bytes),
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
            named: Mutex::new(BTreeMap::new()),
            policies: Mutex::default(),
            syncer: Arc::default(),
        })
    }

    /// Makes a commit.
    pub(super) fn commit(&self, mut commit: Commit, durability: Durability) -> Result<Committed> {
        commit.seal()?;
        if !commit.reads().is_empty() {
            // Found unchanged so far, they need to be looked at only for what comes in between.
            let now = self.shared.view.now();
            if let Err(e) = self.check_unchanged(commit.reads()) {
                // What it conflicts with may be in memory and not yet shown. Who is told of it begins
                // again, and should see it: whoever leads has shown it when this lock is free.
                drop(self.leader.lock());
                return Err(e);
            }
            commit.reads_hold_at(now);
        }
        let durability = if commit.must_sync() { Durability::Fsync } else { durability };
        self.make_room(commit.payload().len())?;
        if self.shared.view.options.background_threads == 0 {
            raise_due(&self.shared, &self.leader)?;
        }
        let _promise = self.promise_memory(memory_need(&commit))?;
        let payload_crc = FrameIn::new(commit.payload()).payload_crc;
        let (updates, raises_since) = (commit.update_count(), commit.must_sync());
        let weight = commit.payload().len();
        let since_before = self.since_before(&commit);
        let request = Request { commit, durability, payload_crc };
        let committed = self
            .group
            .submit(request, weight, |batch| self.lead(batch))
            .map_err(|panicked| Error::Internal { what: panicked.to_string() })??;
        self.shared.view.counters.commits(1);
        self.shared.view.counters.updates(updates);
        if raises_since {
            self.worker.call();
        }
        self.tell_since(&since_before);
        Ok(committed)
    }

    /// Sizes and positions.
    pub(super) fn stats(&self, stats: &mut Stats) {
        let wal = self.wal.stats();
        stats.wal_files = wal.files as u64;
        stats.wal_bytes = wal.file_bytes;
        stats.wal_syncs = wal.syncs;
        stats.last_seqno = wal.last_seqno.0;
        stats.durable_seqno = wal.durable_seqno.0;
        let installer = self.shared.installer.lock();
        stats.flushed_seqno = installer.log.state().flushed_seqno().0;
        stats.segments = installer.open.len() as u64;
        stats.segment_bytes = installer.open.values().map(|s| s.meta().file_len).sum();
    }

    /// Ends the background work, makes everything durable and gives the lock back.
    pub(super) fn close(&self) -> Result<()> {
        self.worker.stop();
        // Each is done whatever became of the one before: a thread that panicked is no reason to keep
        // the lock, or to let somebody wait for ever.
        let joined = super::join(&self.threads);
        let stopped = self.syncer.stop();
        let closed = self.leader.lock().wal.close();
        *self.lock.lock() = None;
        self.syncer.wake_all();
        joined.and(stopped).and(closed)
    }

    /// Does `work` while no commit and no merge is under way and everything is in segments.
    pub(super) fn settled<T>(&self, work: impl FnOnce(&mut Leader) -> Result<T>) -> Result<T> {
        self.shared.view.check_open()?;
        let mut leader = self.leader.lock();
        leader.wal.sync()?;
        if !leader.state.is_clean() {
            self.hand_over(&mut leader.state);
        }
        while self.worker.flush_step()? {}
        self.worker.without_merges(|| work(&mut leader))
    }

    /// Leads a group of commits: check, log, insert, publish, freeze.
    pub(super) fn lead(&self, mut batch: Vec<Request>) -> Vec<Result<Committed>> {
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
                .shared
                .view
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
        if logged.is_err() && !planted(Bug::FailedCommitKept) {
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
                self.shared.view.holds.remember(id, since);
            }
            let changed = self.shared.view.publish(&mut leader.state);
            if leader.state.is_full() {
                self.hand_over(&mut leader.state);
            }
            // Whoever is woken may be foreign code: not under the lock.
            drop(locked);
            self.shared.view.watch.changed(&changed);
        }
        results
    }

    /// Refuses events whose ids their logs have already, or get by a commit before in the group.
    fn check_events(&self, commit: &Commit, group: &[(usize, &Request, Assigned)]) -> Result<()> {
        for (log, id) in commit.event_ids().iter().filter(|_| !planted(Bug::EventIdsUnchecked)) {
            if group.iter().any(|(_, other, _)| other.commit.appends_id(*log, id)) {
                return Err(Error::Busy { what: "the same event id is being appended" });
            }
            let log = self.shared.view.catalog.read().everything(*log)?;
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
        let written = self.shared.view.catalog.read().written_since(reads)?;
        for (table, key) in &reads.keys {
            if let Some(written) = written.get(table)
                && written.has_version(key)?
            {
                return Err(self.conflict(*table, key));
            }
        }
        for (table, range) in reads.ranges.iter().filter(|_| !planted(Bug::RangesUnvalidated)) {
            if let Some(written) = written.get(table)
                && let Some(key) = written.first_version_in(range)?
            {
                return Err(self.conflict(*table, &key));
            }
        }
        Ok(())
    }

    fn conflict(&self, table: CollectionId, key: &[u8]) -> Error {
        let catalog = self.shared.view.catalog.read();
        let table = catalog.collections().get(table);
        let collection = table.map(|table| table.description.name.to_string()).unwrap_or_default();
        Error::Conflict { collection, key: display_bytes(key) }
    }

    /// Lowers what a commit asks to forget to what the holds allow; what it asked for where that is
    /// more. Under the leader's lock, so that no hold comes in between.
    fn limit_since(&self, request: &mut Request) -> Result<Vec<(CollectionId, Frontier)>> {
        if !request.commit.must_sync() || planted(Bug::HoldsIgnored) {
            return Ok(Vec::new());
        }
        let held =
            request.commit.limit_since(|id, since| self.shared.view.holds.limit(id, since))?;
        if !held.is_empty() {
            request.payload_crc = FrameIn::new(request.commit.payload()).payload_crc;
        }
        Ok(held)
    }

    fn hand_over(&self, state: &mut WriteState) {
        self.want_retention(state);
        self.shared.view.hand_over(state);
        self.worker.call();
    }

    /// Freezes the active memtable if there is anything to flush.
    pub(super) fn freeze(&self) {
        let mut leader = self.leader.lock();
        if !leader.state.is_clean() {
            self.hand_over(&mut leader.state);
        }
    }

    /// Lets flush and compaction keep up: pauses in proportion to what they have yet to do.
    pub(super) fn make_room(&self, bytes: usize) -> Result<()> {
        let (debt, frozen) = {
            let catalog = self.shared.view.catalog.read();
            let in_memory: u64 = catalog.mem().iter().map(|memtable| memtable.bytes()).sum();
            let memtables = in_memory as f64 / self.shared.view.options.memtable_bytes as f64;
            (Debt { memtables, parts: catalog.parts_max() }, catalog.mem().frozen.len())
        };
        let clock = &self.shared.view.env.clock;
        let start = clock.monotonic();
        let mut waited = None;
        if self.shared.view.options.background_threads > 0
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
            self.shared.view.counters.stalled(duration);
            self.shared.view.tell(|| DbEvent::Stalled { reason, duration });
        }
        Ok(())
    }

    /// Bytes of all memtables.
    fn memtable_bytes(&self) -> u64 {
        self.shared.view.catalog.read().mem().iter().map(|memtable| memtable.bytes()).sum()
    }

    /// Waits until there is memory for a commit that needs so many bytes of it.
    pub(super) fn promise_memory(&self, need: u64) -> Result<Promise<'_>> {
        if let Some(most) = self.admission.most().filter(|most| need > *most) {
            return Err(Error::invalid(format!(
                "a commit that needs {need} bytes of memory, of which memory_limit leaves {most}; \
                 make several commits of it or raise memory_limit"
            )));
        }
        let clock = &self.shared.view.env.clock;
        let start = clock.monotonic();
        let mut waited = false;
        let promise = loop {
            match self.admission.enter(need, || self.memtable_bytes()) {
                Ok(promise) => break promise,
                Err(full) => {
                    waited = true;
                    let frozen = self.shared.view.catalog.read().mem().frozen.len();
                    if frozen > 0 {
                        self.worker.wait_for_flush(frozen)?;
                    } else if full.others_end {
                        self.admission.wait_for_end();
                    } else {
                        self.freeze();
                    }
                }
            }
            self.shared.view.check_open()?;
        };
        if waited {
            let duration = clock.monotonic().saturating_sub(start);
            self.shared.view.counters.stalled(duration);
            self.shared.view.tell(|| DbEvent::Stalled { reason: StallReason::Memtables, duration });
        }
        Ok(promise)
    }

    /// The collections whose since a commit asks to be raised, and what it is; nothing when nobody
    /// wants to be told.
    pub(super) fn since_before(&self, commit: &Commit) -> Vec<(CollectionId, Frontier)> {
        if self.shared.view.options.on_event.is_none() {
            return Vec::new();
        }
        let catalog = self.shared.view.catalog.read();
        let raised = commit.changes().iter().filter_map(|change| match change {
            Change::CompactBelow(id, _) => Some(*id),
            _ => None,
        });
        raised.filter_map(|id| Some((id, catalog.collections().get(id)?.since))).collect()
    }

    /// Tells of every since that is beyond what it was.
    pub(super) fn tell_since(&self, before: &[(CollectionId, Frontier)]) {
        for (id, since_before) in before {
            let now = {
                let catalog = self.shared.view.catalog.read();
                let known = catalog.collections().get(*id);
                known.map(|known| (known.description.name.to_string(), known.since))
            };
            if let Some((collection, since)) = now.filter(|(_, since)| since > since_before) {
                self.shared.view.tell(|| DbEvent::SinceAdvanced { collection, since });
            }
        }
    }
}

/// Makes what holds have let go of take effect: a commit of its own, durable before it is
/// published. Whether there was any.
pub(super) fn raise_due(shared: &Shared, leader: &Mutex<Leader>) -> Result<bool> {
    if !shared.view.holds.is_due() {
        return Ok(false);
    }
    let mut locked = leader.lock();
    let Leader { state, wal } = &mut *locked;
    let since_of = |id| state.collections.get(id).map(|collection| collection.since);
    let due = shared.view.holds.due(since_of);
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
            let changed = shared.view.publish(state);
            drop(locked);
            shared.view.watch.changed(&changed);
            Ok(true)
        }
        // Until the database is opened again nothing more can be forgotten.
        Err(e) if e.kind() == ErrorKind::Poisoned => Ok(false),
        Err(e) => {
            shared.view.holds.retry();
            Err(e)
        }
    }
}

/// Bytes of memory that the id of an event takes beside itself.
const EVENT_ID_BYTES: u64 = 128;

/// Bytes that a commit takes in a memtable at most: a row there takes at most twice what it takes in
/// the log.
pub(super) fn memory_need(commit: &Commit) -> u64 {
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
        let made = if durability(Durability::Fsync) && !planted(Bug::AcknowledgedEarly) {
            self.wal.sync().map(drop)
        } else if durability(Durability::Buffer) || durability(Durability::Fsync) {
            self.wal.write()
        } else {
            Ok(())
        };
        // Nobody was told of these commits yet.
        self.wal.or_take_back(made)?;
        Ok(last)
    }
}
