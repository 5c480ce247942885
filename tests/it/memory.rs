//! What is bounded stays below its bound while much more than the bound goes through.

use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::io::{Env, MemFs, OsClock, OsThreads};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_tests::database::{collect, open, small_options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LIMIT: usize = 4 << 20;

fn limited(background_threads: usize) -> Options {
    Options {
        memory_limit: Some(LIMIT),
        background_threads,
        compression: Compression::Cold { level: 1 },
        ..Options::default()
    }
}

/// A commit of rows with `val_len` bytes of noise, at time 0.
fn noise(id: CollectionId, first: u32, rows: u32, val_len: usize) -> Commit {
    let mut commit = Commit::new();
    let mut batch = commit.append(id, "c");
    for n in first..first + rows {
        let val: Vec<u8> = (0..val_len).map(|i| (n as usize * 31 + i * i) as u8).collect();
        batch.push(Update { key: &n.to_be_bytes(), val: &val, ts: 0, diff: 1 }).unwrap();
    }
    batch.finish().unwrap();
    commit
}

fn check(db: &Db) {
    let memory = db.stats().memory;
    assert!(memory.total() <= LIMIT as u64, "{memory:?}");
}

/// Goal: twenty times the limit goes through and the accounted bytes never exceed it. Method: four
/// threads commit, one looks, one flushes by hand.
#[test]
fn a_load_beyond_the_limit_stays_within_it() {
    let env =
        Env { fs: Arc::new(MemFs::new()), clock: Arc::new(OsClock), threads: Arc::new(OsThreads) };
    let db = Db::open(env, Path::new("/db"), limited(1)).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let done = AtomicBool::new(false);
    let (threads, commits, rows, val_len) = (4, 50, 100, 4_000);
    std::thread::scope(|scope| {
        let db = &db;
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    for n in 0..commits {
                        let commit = noise(id, (thread * commits + n) * rows, rows, val_len);
                        db.commit(commit, Durability::Buffer).unwrap();
                        check(db);
                    }
                })
            })
            .collect();
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                check(db);
                std::thread::yield_now();
            }
        });
        let outcomes: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::at(1)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.compact(None).unwrap();
    let snapshot = db.snapshot(id, 0).unwrap();
    let count = collect(snapshot.rows(RangeSpec::ALL)).unwrap().len();
    assert_eq!(count as u32, threads * commits * rows);
    check(&db);
    let flushes = db.stats().counts.flushes;
    assert!(flushes > 15, "{flushes} flushes: the limit was not felt");
    db.close().unwrap();
}

#[test]
fn a_commit_beyond_the_limit_is_refused_and_without_threads_the_caller_flushes() {
    let fs = MemFs::new();
    let db = open(&fs, &limited(0)).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let error = db.commit(noise(id, 0, 400, 5_000), Durability::Fsync).unwrap_err();
    assert!(error.to_string().contains("make several commits of it"), "{error}");
    for n in 0..40 {
        // A large one, that others have to make room for.
        db.commit(noise(id, n * 100, 100, 10_000), Durability::Fsync).unwrap();
        check(&db);
        let mut empty = Commit::new();
        empty.advance_upper(id, Frontier::MIN).unwrap();
        db.commit(empty, Durability::Fsync).unwrap();
        db.updates(id).map(drop).unwrap();
        check(&db);
    }
}

/// Goal: laggards do not keep the log: small commits to many collections, most of which are never
/// written again, leave at most what the documentation says.
#[test]
fn the_log_stays_below_its_bound() {
    let options = small_options();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    let ids: Vec<_> = (0..50)
        .map(|n| db.create_or_load(Kind::Multiset, &format!("c{n}"), b"").unwrap().id)
        .collect();
    let bound = 16 * options.memtable_bytes as u64 + 6 * options.wal_file_bytes;
    let (mut logged, mut most) = (0, 0);
    for n in 0..20_000_u32 {
        let mut commit = Commit::new();
        let id = ids[(n as usize * n as usize) % ids.len()];
        let ts = u64::from(n);
        let mut batch = commit.append(id, "c");
        batch.push(Update { key: &n.to_be_bytes(), val: b"", ts, diff: 1 }).unwrap();
        batch.finish().unwrap();
        // Some leave nothing in a memtable, and stay in the log all the same.
        if n % 3 == 0 {
            commit = Commit::new();
            commit.advance_upper(id, Frontier::MIN).unwrap();
        }
        db.commit(commit, Durability::Buffer).unwrap();
        let stats = db.stats();
        logged = stats.last_seqno;
        most = stats.wal_bytes.max(most);
        assert!(stats.wal_bytes <= bound, "{} after {n}", stats.wal_bytes);
    }
    // The bound was within reach: a log that is never given back would be beyond it.
    assert!(logged * 100 > bound, "{logged} commits are too few for {bound}");
    assert!(most > bound / 8, "{most} of {bound}");
}
