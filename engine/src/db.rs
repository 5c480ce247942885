//! [`Db`]: wires the steps of the data's way together. No algorithms here.
//!
//! # Lock order
//! `leader` -> `Worker::flushing` / `Worker::merging` -> `installer` -> `catalog`. Nobody waits for
//! a thread while holding `installer` or `catalog`.

use crate::absent::{Occurrences, find_bytes};
use crate::backup::{Backup, Backups};
use crate::checkpoint::{self, Checkpoint, capture};
use crate::collection::{Collection, Description};
use crate::commit::Commit;
use crate::config::{Durability, Options};
use crate::erase::{Erased, erase};
use crate::error::{Error, ErrorKind, Result};
use crate::follower::Follower;
use crate::format::FORMAT_VERSION;
use crate::ingest::{self, Ingest};
use crate::io::{Env, JoinHandle};
use crate::planted::{Bug, planted};
use crate::read::RangeSpec;
use crate::segment::segment_file_name;
use crate::snapshot::{Snapshot, Updates};
use crate::stats::{MemoryUse, Stats};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::truncate::{Truncated, truncate};
use crate::types::{CollectionId, Frontier, Kind, SeqNo, Timestamp};
use crate::verify::{VerifyDepth, VerifyReport, verify};
use crate::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use writer::{Writer, raise_due};

mod books;
mod reads;
mod retention;
mod space;
mod subscriptions;
mod syncer;
mod writer;

pub use books::{BOOKS, DurableHold, Loosened};
pub use reads::{Changes, check_owner};
pub use space::{CollectionSpace, HolderSpace, Space};
pub use subscriptions::DurableSubscription;

/// An open database. Cheap to clone; closed when [`close`](Self::close) is called or the last clone
/// is gone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("dir", &self.0.view.dir).finish_non_exhaustive()
    }
}

struct Inner {
    view: Arc<View>,
    role: Role,
}

/// Who writes the database.
enum Role {
    /// This process.
    Writer(Box<Writer>),
    /// Another one, or nobody.
    Reader { follower: Arc<Follower>, threads: Mutex<Vec<Box<dyn JoinHandle>>> },
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
    /// Opens the database in `dir`, or makes one.
    pub fn open(env: Env, dir: &Path, options: Options) -> Result<Self> {
        let writer = Writer::open(env, dir, options)?;
        let view = Arc::clone(&writer.shared.view);
        let db = Self(Arc::new(Inner { view, role: Role::Writer(Box::new(writer)) }));
        db.keep_durable_holds()?;
        db.keep_retentions()?;
        Ok(db)
    }

    /// Opens the database in `dir` to read it, while another process may be writing it.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Corruption`, `FormatTooNew`, `Io`.
    pub fn open_read_only(env: Env, dir: &Path, options: Options) -> Result<Self> {
        options.check()?;
        let follower = Arc::new(Follower::open(env, dir, options.derived())?);
        let view = Arc::clone(follower.view());
        let threads = Mutex::new(follower.start()?);
        Ok(Self(Arc::new(Inner { view, role: Role::Reader { follower, threads } })))
    }

    /// Whether it can only be read.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.0.role, Role::Reader { .. })
    }

    /// Has a database that was opened to be read show everything that its writer had acknowledged;
    /// whether there was anything new. Nothing on one that this process writes.
    pub fn refresh(&self) -> Result<bool> {
        match &self.0.role {
            Role::Writer(_) => self.0.view.check_open().map(|()| false),
            Role::Reader { follower, .. } => follower.refresh(),
        }
    }

    /// The options that it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.view.options
    }

    /// The collection `name`, created with `kind` and `meta` when there is none.
    pub fn create_or_load(&self, kind: Kind, name: &str, meta: &[u8]) -> Result<Description> {
        loop {
            self.0.view.check_open()?;
            match self.find(name) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
            let id = self.reserve_collection_id()?;
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
    pub fn reserve_collection_id(&self) -> Result<CollectionId> {
        let next = &self.0.writer()?.shared.next_collection;
        Ok(CollectionId(next.fetch_add(1, Ordering::Relaxed)))
    }

    /// The collection `name`.
    pub fn find(&self, name: &str) -> Result<Description> {
        let catalog = self.0.view.catalog.read();
        match catalog.collections().find(name) {
            Some(collection) => Ok(collection.description.clone()),
            None => Err(Error::NotFound { what: format!("collection '{name}'") }),
        }
    }

    /// A collection and its frontiers.
    pub fn collection(&self, id: CollectionId) -> Result<Collection> {
        self.0.view.catalog.read().collections().current(id)
    }

    /// All collections, in order of their names.
    #[must_use]
    pub fn collections(&self) -> Vec<CollectionStats> {
        let mut all: Vec<Collection> = {
            let catalog = self.0.view.catalog.read();
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
            Err(_) => return self.0.writer().map(|_| false),
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
    pub fn commit(&self, commit: Commit, durability: Durability) -> Result<Committed> {
        self.0.writer()?.commit(commit, durability)
    }

    /// The latest time of the database's clock that can be read.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.view.now()
    }

    /// A snapshot of a collection.
    pub fn snapshot(&self, id: CollectionId, as_of: u64) -> Result<Snapshot> {
        self.0.view.check_open()?;
        self.0.view.catalog.read().snapshot(id, as_of)
    }

    /// Snapshots of several collections at one time.
    pub fn snapshots(&self, ids: &[CollectionId], as_of: u64) -> Result<Vec<Snapshot>> {
        self.0.view.check_open()?;
        let catalog = self.0.view.catalog.read();
        ids.iter().map(|id| catalog.snapshot(*id, as_of)).collect()
    }

    /// A snapshot at the latest readable time.
    pub fn latest(&self, id: CollectionId) -> Result<Snapshot> {
        self.0.view.check_open()?;
        let catalog = self.0.view.catalog.read();
        let collection = catalog.collections().current(id)?;
        // With nothing below upper, reading 0 gives the error that says so.
        catalog.snapshot(id, collection.upper.last_below().unwrap_or(0))
    }

    /// All updates of a collection.
    pub fn updates(&self, id: CollectionId) -> Result<Updates> {
        self.0.view.check_open()?;
        // A frozen memtable holds whole commits only.
        self.0.freeze();
        let catalog = self.0.view.catalog.read();
        let collection = catalog.collections().require(id)?;
        let (description, since) = (&collection.description, collection.since);
        Ok(Updates::new(description, since, catalog.mem(), &catalog.reads(id)))
    }

    /// Makes every commit so far durable.
    pub fn sync(&self) -> Result<()> {
        self.0.writer()?.leader.lock().wal.sync().map(drop)
    }

    /// Writes everything in memory to segments.
    pub fn flush(&self) -> Result<()> {
        let writer = self.0.writer()?;
        writer.freeze();
        while writer.worker.flush_step()? {}
        Ok(())
    }

    /// Flushes, and merges one collection or all into as few segments as possible.
    pub fn compact(&self, id: Option<CollectionId>) -> Result<()> {
        let writer = self.0.writer()?;
        writer.want_retention(&writer.leader.lock().state);
        raise_due(&writer.shared, &writer.leader)?;
        self.flush()?;
        let ids: Vec<CollectionId> = match id {
            Some(id) => vec![self.collection(id)?.description.id],
            None => {
                let catalog = self.0.view.catalog.read();
                catalog.collections().iter().map(|c| c.description.id).collect()
            }
        };
        ids.into_iter().try_for_each(|id| writer.worker.compact(id))
    }

    /// Makes a database in `dir`, which must be missing or empty, that holds exactly the commits up
    /// to one: everything that was acknowledged when this is called. Commits wait while what is in
    /// memory is flushed, not while files are linked.
    ///
    /// # Errors
    /// `AlreadyExists` when there is something in `dir`.
    pub fn checkpoint(&self, dir: &Path) -> Result<Checkpoint> {
        let writer = self.0.writer()?;
        let captured = writer.settled(|leader| capture(&writer.shared, leader.state.last_seqno))?;
        checkpoint::write(&writer.shared, &captured, dir)
    }

    /// Adds a backup of exactly the commits that were acknowledged when this is called to those in
    /// `dir`, which is made when it is missing. Commits wait while what is in memory is flushed, not
    /// while files are copied.
    ///
    /// # Errors
    /// `Invalid` when `dir` holds something else or backups of another database; `Corruption` when a
    /// segment is damaged; `Locked` when somebody else is at work in `dir`.
    pub fn backup(&self, dir: &Path) -> Result<Backup> {
        let writer = self.0.writer()?;
        let captured = writer.settled(|leader| capture(&writer.shared, leader.state.last_seqno))?;
        Backups::take(self.0.view.env.clone(), dir, &captured)
    }

    /// Discards the updates of a collection at or beyond `ts` and sets its upper to it; with
    /// `dry_run` it only counts them. Commits wait meanwhile.
    ///
    /// # Errors
    /// `Compacted` when `ts` is not above a since that was raised; `Invalid` for logs and tables on the database's clock.
    pub fn truncate_at(&self, id: CollectionId, ts: Timestamp, dry_run: bool) -> Result<Truncated> {
        let writer = self.0.writer()?;
        let report = writer.settled(|leader| {
            let holds = self.0.view.holds.list();
            if let Some(hold) =
                holds.iter().find(|hold| hold.collection == id && hold.at >= Frontier::at(ts))
            {
                let (owner, at) = (&hold.owner, hold.at);
                let what = format!("a truncation at {ts} crosses the hold of '{owner}' at {at}");
                return Err(Error::invalid(what));
            }
            truncate(&writer.shared, &mut leader.state, id, ts, dry_run)
        });
        self.0.view.watch.changed(&BTreeSet::from([id]));
        report
    }

    /// Removes the rows of a range of keys, at whatever time, from every file. Commits wait
    /// meanwhile.
    ///
    /// # Errors
    /// `Invalid` for a log.
    pub fn erase(&self, id: CollectionId, range: &RangeSpec) -> Result<Erased> {
        let writer = self.0.writer()?;
        writer.settled(|leader| {
            let Description { kind, name, .. } =
                leader.state.collections.require(id)?.description.clone();
            if kind == Kind::Log {
                let what = format!("collection '{name}' is a log, whose events are dense");
                return Err(Error::invalid(what));
            }
            // The mark of a clean shutdown has a seqno too, and goes with its file.
            let last = leader.wal.last_seqno();
            leader.state.last_seqno = last;
            let mut erased = erase(&writer.shared, id, kind, range, last)?;
            if planted(Bug::ErasureKeepsLog) {
                return Ok(erased);
            }
            // All commits are in segments: no file of the log is needed.
            leader.wal.renew()?;
            writer.wal.release(last)?;
            erased.wal_files = writer.wal.remove_spares()?;
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
        Ok(Ingest::new(&self.0.writer()?.shared, id, name))
    }

    /// Adds what was ingested to its collection, all at once, and with `upper` advances upper;
    /// how many updates. Durable when it returns. Commits wait meanwhile.
    ///
    /// # Errors
    /// `Invalid` when an update lies below upper: nothing was added then.
    pub fn finish_ingest(&self, ingest: Ingest, upper: Option<Frontier>) -> Result<u64> {
        let (id, count, times) = (ingest.collection(), ingest.count, ingest.times);
        let part = ingest.finish()?;
        let writer = self.0.writer()?;
        let done = writer.settled(|leader| {
            let collection = leader.state.collections.require(id)?;
            if let Some(times) = times.filter(|times| collection.upper.is_beyond(times.first)) {
                return Err(Error::TsBelowUpper {
                    collection: collection.description.name.to_string(),
                    index: 0,
                    ts: times.first,
                    upper: collection.upper,
                });
            }
            ingest::install(&writer.shared, &mut leader.state, id, part.clone(), upper)
        });
        if done.as_ref().is_err_and(|e| !e.may_have_happened()) {
            for meta in &part {
                let path = self.0.view.dir.join(segment_file_name(meta.id));
                // A failure leaves an orphan for the next open.
                let _ = self.0.view.env.fs.remove_file(&path);
            }
        }
        self.0.view.watch.changed(&BTreeSet::from([id]));
        done.map(|()| count)
    }

    /// Runs one background step; whether there was anything to do.
    pub fn step(&self) -> Result<bool> {
        match &self.0.role {
            Role::Writer(writer) => {
                self.0.view.check_open()?;
                writer.worker.step()
            }
            Role::Reader { follower, .. } => follower.refresh(),
        }
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
        self.0.view.check_open()?;
        let reads: Vec<_> = {
            let catalog = self.0.view.catalog.read();
            catalog.collections().iter().map(|c| catalog.reads(c.description.id)).collect()
        };
        verify(reads.iter(), depth, progress)
    }

    /// Looks for bytes in every file of the directory, as they lie and decoded.
    ///
    /// # Errors
    /// `Invalid` for no bytes or more than 64 KiB; `Corruption` when a segment cannot be read: then it is
    /// not known what is in it; `Busy` when new files come without an end.
    pub fn find_bytes(&self, needle: &[u8]) -> Result<Occurrences> {
        self.0.view.check_open()?;
        find_bytes(&self.0.view, needle, || self.refresh().map(drop))
    }

    /// Makes everything durable, ends the background work and gives the lock back.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }
}

impl Inner {
    /// What writes, unless another process does.
    fn writer(&self) -> Result<&Writer> {
        match &self.role {
            Role::Writer(writer) => {
                self.view.check_open()?;
                Ok(writer)
            }
            Role::Reader { .. } => Err(Error::ReadOnly { dir: self.view.dir.clone() }),
        }
    }

    /// Has the active memtable frozen: a frozen one holds whole commits only.
    fn freeze(&self) {
        match &self.role {
            Role::Writer(writer) => writer.freeze(),
            Role::Reader { follower, .. } => follower.freeze(),
        }
    }

    fn stats_of(&self, collection: Collection) -> CollectionStats {
        let id = collection.description.id;
        let catalog = self.view.catalog.read();
        let mut seen = BTreeSet::new();
        let mut stats = CollectionStats {
            collection,
            runs: catalog.reads(id).runs as u64,
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
        let mut stats = Stats {
            format_version: FORMAT_VERSION,
            counts: self.view.counters.read(),
            ..Stats::default()
        };
        match &self.role {
            Role::Writer(writer) => writer.stats(&mut stats),
            Role::Reader { follower, .. } => follower.stats(&mut stats),
        }
        let catalog = self.view.catalog.read();
        let active = &catalog.mem().active;
        stats.memory = MemoryUse {
            memtables: (catalog.mem().iter())
                .map(|memtable| memtable.bytes() + memtable.history_bytes())
                .sum(),
            block_cache: self.view.cache.len_bytes(),
        };
        stats.memtable_bytes = if active.is_empty() { 0 } else { active.bytes() };
        stats.frozen_memtables = catalog.mem().frozen.len() as u64;
        stats
    }

    fn close(&self) -> Result<()> {
        if self.view.closed.swap(true, Ordering::AcqRel) {
            return Err(Error::Closed);
        }
        let closed = match &self.role {
            Role::Writer(writer) => writer.close(),
            Role::Reader { follower, threads } => {
                follower.stop();
                join(threads)
            }
        };
        self.view.watch.close();
        closed
    }
}

/// Waits for the end of background threads, of all of them even if one panicked.
fn join(threads: &Mutex<Vec<Box<dyn JoinHandle>>>) -> Result<()> {
    let threads = std::mem::take(&mut *threads.lock());
    let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    if panicked > 0 {
        return Err(Error::Internal { what: format!("{panicked} background threads panicked") });
    }
    Ok(())
}

impl Drop for Inner {
    /// A best effort: nobody is left to be told of an error, and nothing acknowledged is lost.
    fn drop(&mut self) {
        let _ = self.close();
    }
}
