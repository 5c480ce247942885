//! Many threads at once: every snapshot is the sum of whole commits.

use super::{database, small};
use datestone::{Collection, Datestone, Durability, ErrorKind, Options};
use datestone_tests::seed::{Chance, seed};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const WRITERS: u64 = 4;
const COMMITS: u64 = 400;
/// Rows that each commit puts into each of the two collections.
const ROWS: u64 = 5;

/// Goal: readers see all of a commit or none of it, at every legal time, whatever flushes, merges,
/// since and other writers do meanwhile. Method: the upper of a ledger is moved by one thread only;
/// every commit puts as many rows into one collection as it takes out of the other, at a time of
/// its writer's choice at or beyond upper, so that at every time the two add up to nothing.
fn whole_commits(name: &str, background_threads: usize) {
    let seed = seed(name);
    let options = Options { background_threads, durability: Durability::Buffer, ..small() };
    let (_dir, db) = database(options);
    let (plus, minus) = (db.collection("plus").unwrap(), db.collection("minus").unwrap());
    let done = AtomicU64::new(0);
    let acknowledged = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, plus, minus) = (&db, &plus, &minus);
            let (done, acknowledged) = (&done, &acknowledged);
            scope.spawn(move || {
                let _done = WriterIsDone(done);
                write(db, plus, minus, writer, seed, acknowledged);
            });
        }
        for reader in 0..3 {
            let (db, plus, minus, ended) = (&db, &plus, &minus, &ended);
            scope.spawn(move || read(db, plus, minus, seed ^ (reader + 77), ended));
        }
        // The mover of frontiers, and at last of the end, also when it fails.
        let _end = EndOfReaders(&ended);
        let mut upper = 0;
        while done.load(Ordering::Acquire) < WRITERS {
            upper += 1;
            db.commit().advance_upper(&plus, upper).advance_upper(&minus, upper).run().unwrap();
            if upper % 8 == 0 {
                let below = upper - 6;
                db.commit().compact_below(&plus, below).compact_below(&minus, below).run().unwrap();
            }
            match upper % 50 {
                11 => db.flush().unwrap(),
                29 => db.compact().unwrap(),
                _ => std::thread::yield_now(),
            }
        }
    });
    db.commit().advance_upper(&plus, u64::MAX).advance_upper(&minus, u64::MAX).run().unwrap();
    let total = sum(&plus, u64::MAX - 1).unwrap();
    assert_eq!(total, acknowledged.load(Ordering::Relaxed) as i64);
    assert_eq!(total, (WRITERS * COMMITS * ROWS) as i64);
    assert_eq!(sum(&minus, u64::MAX - 1).unwrap(), -total);
    let stats = db.stats();
    assert!(stats.counts.flushes > 2 && stats.counts.compactions > 0, "{stats:?}");
}

#[test]
fn every_snapshot_is_a_sum_of_whole_commits() {
    whole_commits("every_snapshot_is_a_sum_of_whole_commits", 2);
}

/// Without background threads the writers flush themselves when there is no room.
#[test]
fn every_snapshot_is_a_sum_of_whole_commits_without_threads() {
    whole_commits("every_snapshot_is_a_sum_of_whole_commits_without_threads", 0);
}

/// Counts a writer as done, also when it fails.
struct WriterIsDone<'a>(&'a AtomicU64);

impl Drop for WriterIsDone<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Lets the readers end, also when the mover of frontiers fails.
struct EndOfReaders<'a>(&'a AtomicBool);

impl Drop for EndOfReaders<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn write(
    db: &Datestone,
    plus: &Collection,
    minus: &Collection,
    writer: u64,
    seed: u64,
    acknowledged: &AtomicU64,
) {
    let mut chance = Chance::new(seed ^ writer);
    for n in 0..COMMITS {
        let keys: Vec<_> = (0..ROWS)
            .map(|row| format!("{writer}-{:05}-{row}-{}", chance.below(200), "x".repeat(60)))
            .collect();
        loop {
            // A time that may have become too early when the commit arrives: then again.
            let upper = plus.upper().unwrap().ts().unwrap();
            let ts = upper + 1 + chance.below(6);
            let rows = |diff| keys.iter().map(move |key| (key.as_bytes(), &b"v"[..], ts, diff));
            match db.commit().append(plus, rows(1)).append(minus, rows(-1)).run() {
                Ok(_) => break,
                Err(e) => assert_eq!(e.kind(), ErrorKind::Invalid, "commit {n}: {e}"),
            }
        }
        acknowledged.fetch_add(ROWS, Ordering::Relaxed);
    }
}

fn read(db: &Datestone, plus: &Collection, minus: &Collection, seed: u64, ended: &AtomicBool) {
    let mut chance = Chance::new(seed);
    let mut reads = 0;
    while !ended.load(Ordering::Acquire) {
        let Some(last) = plus.upper().unwrap().last_below() else { continue };
        let as_of = last.saturating_sub(chance.below(10));
        let pair = match db.snapshots(&[plus, minus], as_of) {
            Ok(pair) => pair,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Compacted, "{e}");
                continue;
            }
        };
        let total = |index: usize| -> i64 { pair[index].iter().map(|row| row.unwrap().diff).sum() };
        let first = total(0);
        assert_eq!(first, -total(1), "as of {as_of}");
        std::thread::yield_now();
        assert_eq!(first, total(0), "as of {as_of}, read twice");
        reads += 1;
    }
    assert!(reads > 0);
}

fn sum(collection: &Collection, as_of: u64) -> datestone::Result<i64> {
    collection.snapshot(as_of)?.iter().map(|row| row.map(|row| row.diff)).sum()
}

/// Threads that create, fill and drop the same collections at once: each call is done or refused
/// as a whole.
#[test]
fn creations_and_drops_at_once() {
    let (_dir, db) = database(Options { background_threads: 1, ..small() });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..60u64 {
                    let name = format!("c{}", n % 3);
                    let c = db.collection(&name).unwrap();
                    let rows = [(&b"k"[..], &b"v"[..], n, 1)];
                    match c.append(rows).and_then(|()| c.advance_upper(n + 1)) {
                        Ok(()) => {}
                        Err(e) => {
                            let kinds = [ErrorKind::NotFound, ErrorKind::Invalid];
                            assert!(kinds.contains(&e.kind()), "thread {thread}: {e}");
                        }
                    }
                    if n % 7 == thread {
                        db.drop_collection(&name).unwrap();
                    }
                    if n % 11 == thread {
                        db.flush().unwrap();
                    }
                }
            });
        }
    });
    assert!(db.collections().len() <= 3);
    db.compact().unwrap();
}
