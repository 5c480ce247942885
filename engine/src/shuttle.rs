//! The whole engine, background threads and all, under schedules drawn by chance.
//!
//! Goal: whatever order the steps of threads are taken in, what was acknowledged is there and added up,
//! snapshots do not change, subscriptions and holds keep their promises, and nobody waits for ever.
//! Method: a small database in memory, whose locks, atomics, channels and threads are shuttle's; a few
//! threads do a few operations each, and the end is compared with what was acknowledged. Every time of
//! the multiset has exactly one commit, so the sum as of t is t + 1. Half of the schedules are random,
//! half are drawn by priorities with few changes (PCT), which finds what needs a certain rare order.
//!
//! Run with `.ci/shuttle [COUNT]`. `DATESTONE_SHUTTLE_SCHEDULES` is the count for each test,
//! `DATESTONE_SEED` chooses others. A failure prints the schedule, which `shuttle::replay` repeats.

use crate::collection::Description;
use crate::commit::Commit;
use crate::config::{Durability, Options};
use crate::db::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{DbEvent, EventListener};
use crate::io::{CrashPlan, Env, MemFs, ShuttleThreads};
use crate::read::RangeSpec;
use crate::snapshot::Snapshot;
use crate::subscription::Event;
use crate::types::{Frontier, Kind, SeqNo, Timestamp, Update};
use crate::verify::VerifyDepth;
use crate::watch::Parker;
use ::shuttle::scheduler::{PctScheduler, RandomScheduler};
use ::shuttle::thread::{JoinHandle, spawn};
use ::shuttle::{Config, Runner};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

const DIR: &str = "/db";
/// Schedules of each test, unless said otherwise.
const SCHEDULES: u64 = 200;
/// See [`Small::with_values`].
const LARGE: usize = 40 << 10;
/// Changes of priority in a schedule of PCT.
const PCT_DEPTH: usize = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Runs `test` under the schedules that are asked for.
fn explore(name: &str, test: fn()) {
    let count = setting("DATESTONE_SHUTTLE_SCHEDULES", SCHEDULES) as usize;
    let seed = setting("DATESTONE_SEED", 0);
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    let random = RandomScheduler::new_from_seed(seed, count / 2);
    let mut done = Runner::new(random, config.clone()).run(test);
    let pct = PctScheduler::new_from_seed(seed, PCT_DEPTH, count - count / 2);
    done += Runner::new(pct, config).run(test);
    println!("shuttle: {name}: {done} schedules, seed {seed}");
}

fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        block_cache_bytes: 1 << 20,
        background_threads: 1,
        ..Options::default()
    }
}

fn open(fs: &MemFs, options: Options) -> Db {
    let clock = Arc::new(fs.clock().clone());
    let env = Env { fs: Arc::new(fs.clone()), clock, threads: Arc::new(ShuttleThreads) };
    Db::open(env, Path::new(DIR), options).expect("nothing fails")
}

/// A database of three collections with one commit, the one of time 0.
#[derive(Clone)]
struct Small {
    fs: MemFs,
    db: Db,
    set: Description,
    table: Description,
    log: Description,
    /// The value that every commit brings.
    val: Vec<u8>,
}

impl Small {
    fn new(options: Options) -> Self {
        Self::with_values(3, options)
    }

    /// Values of so many bytes; two of [`LARGE`] fill a memtable, and a file of the log.
    fn with_values(len: usize, options: Options) -> Self {
        let small = Self { val: vec![b'v'; len], ..Self::of(&MemFs::new(), options) };
        small.commit(0, Durability::Fsync).expect("nobody else is there");
        small
    }

    fn of(fs: &MemFs, options: Options) -> Self {
        let db = open(fs, options);
        let make = |kind, name| db.create_or_load(kind, name, b"").expect("nothing fails");
        let set = make(Kind::Multiset, "set");
        let table = make(Kind::ClockTable, "table");
        let log = make(Kind::Log, "log");
        Self { fs: fs.clone(), db, set, table, log, val: Vec::new() }
    }

    /// Commits to all three at the next time of the multiset, however often others are faster; the
    /// time.
    fn commit(&self, writer: u8, durability: Durability) -> Result<(Timestamp, SeqNo)> {
        loop {
            let upper = self.upper()?;
            let (now, next) = (Frontier::at(upper), Frontier::at(upper + 1));
            let mut commit = Commit::new();
            let mut batch = commit.compare_and_append(self.set.id, "set", now, next)?;
            batch.push(Update { key: &[writer], val: &self.val, ts: upper, diff: 1 })?;
            batch.finish()?;
            let mut puts = commit.puts(&self.table)?;
            puts.put(&[writer], &upper.to_be_bytes(), None)?;
            puts.finish();
            let mut events = commit.events(&self.log, None)?;
            events.push(None, &[writer])?;
            events.finish();
            match self.db.commit(commit, durability) {
                Err(e) if e.kind() == ErrorKind::UpperMismatch => {}
                done => return done.map(|done| (upper, done.seqno)),
            }
        }
    }

    /// Waits until a commit is durable, as a ticket does.
    fn wait_durable(&self, seqno: SeqNo) -> Result<()> {
        let parker = Arc::new(Parker::default());
        loop {
            if let Poll::Ready(done) = self.db.poll_durable(seqno, &Arc::clone(&parker).into()) {
                return done;
            }
            assert!(parker.park(None));
        }
    }

    fn upper(&self) -> Result<Timestamp> {
        Ok(self.db.collection(self.set.id)?.upper.ts().expect("nobody closes it"))
    }

    fn since(&self) -> Timestamp {
        let set = self.db.collection(self.set.id).expect("it is not dropped");
        set.since.ts().expect("nobody closes it")
    }

    /// Everything is as `commits` commits leave it.
    fn check(&self, commits: u64) {
        assert_eq!(self.upper().expect("it is there"), commits);
        check_sum(&self.db.latest(self.set.id).expect("it is open"));
        let log = self.db.latest(self.log.id).expect("it is open");
        assert_eq!(sum(&log), commits as i64, "an event for each commit");
        let mut last = 0;
        let table = self.db.latest(self.table.id).expect("it is open");
        let mut rows = table.rows(RangeSpec::ALL);
        while let Some(row) = rows.next().expect("nothing is damaged") {
            // The value, behind its time.
            let (_, val) = row.val.split_at(row.val.len() - 8);
            last = last.max(u64::from_be_bytes(val.try_into().expect("8 bytes")));
        }
        assert_eq!(last, commits - 1, "the last put is there");
        let report = self.db.verify(VerifyDepth::Full, |_, _| {}).expect("nothing fails");
        assert!(report.is_clean(), "{:?}", report.damage);
    }

    /// The same after a power cut that loses all that was not synced, and an open.
    fn check_after_power_cut(&self, commits: u64) {
        let fs = self.fs.crash(CrashPlan::LoseUnsynced);
        let again = Self::of(&fs, Options { background_threads: 0, ..options() });
        again.check(commits);
        again.db.close().expect("nothing fails");
    }

    /// Lets since rise to just below upper and merges what there is.
    fn forget(&self) {
        let upper = self.upper().expect("it is open");
        let mut commit = Commit::new();
        commit.compact_below(self.set.id, Frontier::at(upper - 1)).expect("a good time");
        self.db.commit(commit, Durability::Fsync).expect("nothing fails");
        self.db.compact(Some(self.set.id)).expect("nothing fails");
    }

    fn spawn_writer(&self, writer: u8, commits: u64) -> JoinHandle<()> {
        let small = self.clone();
        spawn(move || {
            for _ in 0..commits {
                small.commit(writer, Durability::Fsync).expect("nothing fails");
            }
        })
    }
}

/// The sum of the diffs, the same in both directions.
fn sum(snapshot: &Snapshot) -> i64 {
    let [forwards, backwards] = [false, true].map(|is_reverse| {
        let mut rows = snapshot.rows(RangeSpec::ALL);
        if is_reverse {
            rows = rows.reversed();
        }
        let mut sum = 0;
        while let Some(row) = rows.next().expect("nothing is damaged") {
            sum += row.diff;
        }
        sum
    });
    assert_eq!(forwards, backwards);
    forwards
}

/// There is one update at each time.
fn check_sum(snapshot: &Snapshot) {
    assert_eq!(sum(snapshot), snapshot.as_of() as i64 + 1, "as of {}", snapshot.as_of());
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

#[test]
fn commits_and_reads_beside_flushes_merges_and_scrubs() {
    explore("commits, reads, background", || {
        let flushes = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&flushes);
        let on_event = EventListener::new(move |event| {
            let step = match event {
                DbEvent::FlushStarted { .. } => 1,
                DbEvent::FlushFinished { .. } => -1,
                DbEvent::BackgroundError { .. } | DbEvent::FlushFailed { .. } => 1 << 20,
                _ => 0,
            };
            told.fetch_add(step, Ordering::Relaxed);
        });
        let options = Options { scrub_period_seconds: 1, on_event: Some(on_event), ..options() };
        let small = Small::with_values(LARGE, options);
        let mut threads = vec![small.spawn_writer(1, 2), small.spawn_writer(2, 1)];
        let ticket = small.clone();
        threads.push(spawn(move || {
            let (_, seqno) = ticket.commit(3, Durability::None).expect("nothing fails");
            ticket.wait_durable(seqno).expect("nothing fails");
        }));
        let reader = small.clone();
        threads.push(spawn(move || {
            for _ in 0..2 {
                let snapshot = reader.db.latest(reader.set.id).expect("it is open");
                check_sum(&snapshot);
                // Published at one moment with the rows that were just seen.
                let log = reader.db.collection(reader.log.id).expect("it is there").upper;
                assert!(log.is_beyond(snapshot.as_of()), "a commit is seen in part");
                check_sum(&snapshot);
            }
        }));
        let worker = small.clone();
        threads.push(spawn(move || {
            // Freezes what is there, so that the background thread has something to flush.
            drop(worker.db.updates(worker.set.id).expect("it is open"));
            worker.fs.clock().advance(Duration::from_secs(1));
            worker.db.compact(None).expect("nothing fails");
        }));
        join(threads);
        small.check(5);
        small.check_after_power_cut(5);
        small.db.close().expect("nothing fails");
        assert_eq!(flushes.load(Ordering::Relaxed), 0, "what began has ended, nothing failed");
    });
}

#[test]
fn subscriptions_and_holds_beside_forgetting() {
    explore("subscriptions, holds, forgetting", || {
        const COMMITS: u64 = 4;
        let small = Small::new(options());
        let mut threads = vec![small.spawn_writer(1, 2), small.spawn_writer(2, COMMITS - 2)];
        let listener = small.clone();
        threads.push(spawn(move || {
            let (db, id) = (&listener.db, listener.set.id);
            let (mut subscription, mut next) = loop {
                let since = listener.since();
                match db.listen(id, since, "listener") {
                    Ok(subscription) => break (subscription, since + 1),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Compacted, "{e}"),
                }
            };
            while next <= COMMITS {
                match subscription.next(None).expect("nothing fails") {
                    Some(Event::Updates(updates)) => {
                        for update in updates.iter() {
                            assert_eq!((update.ts, update.diff), (next, 1), "once and in order");
                            next += 1;
                        }
                    }
                    Some(Event::Progress(reached)) => assert_eq!(reached, Frontier::at(next)),
                    None => panic!("it waits for as long as it takes"),
                }
            }
        }));
        let holder = small.clone();
        threads.push(spawn(move || {
            for _ in 0..2 {
                let at = holder.since();
                match holder.db.hold(holder.set.id, at, "holder") {
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Compacted, "{e}"),
                    Ok(_hold) => {
                        for _ in 0..2 {
                            let snapshot = holder.db.snapshot(holder.set.id, at);
                            check_sum(&snapshot.expect("what is held can be read"));
                        }
                    }
                }
            }
        }));
        let forgetter = small.clone();
        threads.push(spawn(move || {
            forgetter.forget();
            forgetter.forget();
        }));
        join(threads);
        small.forget();
        // Nobody holds anything any more, so what was asked for has come about.
        assert_eq!(small.since(), COMMITS);
        small.check(COMMITS + 1);
        small.check_after_power_cut(COMMITS + 1);
    });
}

#[test]
fn closing_beside_commits_tickets_and_subscriptions() {
    explore("closing", || {
        let small = Small::new(options());
        let acknowledged = Arc::new(AtomicU64::new(0));
        let closed = |e: Error| assert_eq!(e.kind(), ErrorKind::Closed, "{e}");
        let mut threads = Vec::new();
        for writer in 1..=2 {
            let (small, acknowledged) = (small.clone(), Arc::clone(&acknowledged));
            threads.push(spawn(move || {
                for _ in 0..2 {
                    match small.commit(writer, Durability::Fsync) {
                        Ok((ts, _)) => {
                            acknowledged.fetch_max(ts, Ordering::Relaxed);
                        }
                        Err(e) => return closed(e),
                    }
                }
            }));
        }
        let (ticket, told) = (small.clone(), Arc::clone(&acknowledged));
        threads.push(spawn(move || {
            let committed = ticket.commit(3, Durability::Buffer);
            let durable = committed.and_then(|(ts, seqno)| {
                ticket.wait_durable(seqno)?;
                Ok(ts)
            });
            match durable {
                Ok(ts) => {
                    told.fetch_max(ts, Ordering::Relaxed);
                }
                Err(e) => closed(e),
            }
        }));
        let listener = small.clone();
        threads.push(spawn(move || {
            let mut subscription = match listener.db.listen(listener.set.id, 0, "listener") {
                Ok(subscription) => subscription,
                Err(e) => return closed(e),
            };
            loop {
                match subscription.next(None) {
                    Ok(event) => assert!(event.is_some(), "upper is not closed"),
                    Err(e) => return closed(e),
                }
            }
        }));
        let flusher = small.clone();
        threads.push(spawn(move || flusher.db.flush().unwrap_or_else(closed)));
        small.db.close().expect("nothing fails");
        join(threads);
        let fs = small.fs.crash(CrashPlan::LoseUnsynced);
        let again = Small::of(&fs, Options { background_threads: 0, ..options() });
        let kept = again.upper().expect("it is there");
        assert!(kept > acknowledged.load(Ordering::Relaxed), "an acknowledged commit is lost");
        again.check(kept);
        // The lock was given back.
        Small::of(&small.fs, options()).check(kept);
    });
}

#[test]
fn snapshots_outlive_merges_and_the_database() {
    explore("snapshots, merges, dropping", || {
        let small = Small::with_values(LARGE, Options { background_threads: 2, ..options() });
        let fs = small.fs.clone();
        let mut threads = vec![small.spawn_writer(1, 2)];
        let reader = small.clone();
        threads.push(spawn(move || {
            let snapshots: Vec<_> =
                (0..2).map(|_| reader.db.latest(reader.set.id).expect("it is open")).collect();
            // The last clone may be this one, or another thread's.
            drop(reader);
            for snapshot in snapshots {
                check_sum(&snapshot);
                check_sum(&snapshot);
            }
        }));
        let merger = small.clone();
        threads.push(spawn(move || {
            merger.db.flush().expect("nothing fails");
            merger.forget();
        }));
        drop(small);
        join(threads);
        let again = Small::of(&fs, Options { background_threads: 0, ..options() });
        again.check(3);
    });
}
