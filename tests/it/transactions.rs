//! Transactions are serializable, in the order of their times.
//!
//! Goal: a transaction that succeeds has read what was there just before its own time. Method: the
//! cases one by one; and threads that read and write at random while flushes and merges go on, every
//! read and write written down, checked afterwards against one map from times to states.
//!
//! `DATESTONE_HISTORY_SECONDS` sets how long the threads run.

use datestone::{Datestone, Durability, ErrorKind, Options, Table, Transaction};
use datestone_engine::io::{Clock as _, OsClock};
use datestone_engine::limits;
use datestone_engine::sync::Mutex;
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn database(threads: usize) -> (tempfile::TempDir, Datestone) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        background_threads: threads,
        durability: Durability::Buffer,
        ..Options::default()
    };
    let db = Datestone::open_with(dir.path().join("db"), options).unwrap();
    (dir, db)
}

/// Whether a transaction that has done `read` conflicts with `write` by somebody else; the same
/// with the write in a segment.
fn conflicts(
    read: impl Fn(&mut Transaction, &Table<str, str>),
    write: impl Fn(&Table<str, str>),
) -> bool {
    let outcome = |flush: bool| {
        let (_dir, db) = database(0);
        let table = db.typed_table::<str, str>("t").unwrap();
        table.put("a", "1").unwrap();
        table.put("c", "1").unwrap();
        let mut transaction = db.transaction();
        read(&mut transaction, &table);
        transaction.put(&table, "own", "1").unwrap();
        write(&table);
        if flush {
            db.flush().unwrap();
        }
        let done = transaction.commit();
        assert_eq!(table.contains("own").unwrap(), done.is_ok(), "all or nothing");
        match done {
            Ok(done) => {
                assert_eq!(table.latest().unwrap().as_of(), done.unwrap().ts);
                false
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Conflict);
                assert!(e.to_string().contains("table 't'"), "{e}");
                true
            }
        }
    };
    let (in_memory, in_segment) = (outcome(false), outcome(true));
    assert_eq!(in_memory, in_segment);
    in_memory
}

#[test]
fn what_was_read_and_then_written_conflicts() {
    let read = |key: &'static str| {
        move |transaction: &mut Transaction, table: &Table<str, str>| {
            transaction.get(table, key).unwrap();
        }
    };
    let scan = |from: &'static str, to: &'static str| {
        move |transaction: &mut Transaction, table: &Table<str, str>| {
            transaction.range(table, from..to).unwrap();
        }
    };
    let put = |key: &'static str| {
        move |table: &Table<str, str>| {
            table.put(key, "2").unwrap();
        }
    };
    let delete = |key: &'static str| {
        move |table: &Table<str, str>| {
            table.delete(key).unwrap();
        }
    };
    assert!(conflicts(read("a"), put("a")));
    assert!(conflicts(read("a"), delete("a")));
    assert!(conflicts(read("missing"), put("missing")));
    assert!(!conflicts(read("a"), put("c")));
    assert!(conflicts(scan("a", "d"), put("b")), "a row that was not there before");
    assert!(conflicts(scan("a", "d"), delete("c")));
    assert!(!conflicts(scan("a", "c"), put("c")));
    assert!(!conflicts(|_, _| {}, put("own")), "a write that depends on nothing");
    let own = |transaction: &mut Transaction, table: &Table<str, str>| {
        transaction.put(table, "a", "own").unwrap();
        assert_eq!(transaction.get(table, "a").unwrap().as_deref(), Some("own"));
        transaction.delete(table, "c").unwrap();
        assert_eq!(transaction.range::<_, _, str>(table, ..).unwrap().len(), 1);
    };
    assert!(conflicts(own, put("b")), "the range was read");
}

#[test]
fn a_transaction_reads_one_time_and_without_writes_does_nothing() {
    let (_dir, db) = database(0);
    let (a, b) = (db.table("a").unwrap(), db.table("b").unwrap());
    db.commit().put(&a, b"k", b"1").put(&b, b"k", b"1").run().unwrap();
    let mut transaction = db.transaction();
    assert_eq!(transaction.get(&a, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    db.commit().put(&a, b"k", b"2").put(&b, b"k", b"2").run().unwrap();
    assert_eq!(transaction.get(&b, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(transaction.commit().unwrap(), None);
    // What since has overtaken cannot be read.
    let mut late = db.transaction();
    a.put(b"k", b"3").unwrap();
    a.compact_below(a.latest().unwrap().as_of()).unwrap();
    assert_eq!(late.get(&a, b"k").unwrap_err().kind(), ErrorKind::Compacted);
}

/// A range that was read: its ends, and the keys and times found in it.
type Scan = (u64, u64, Vec<(u64, u64)>);

/// What a committed transaction did.
struct Done {
    ts: u64,
    /// Keys with the times at which what was read had been put.
    reads: Vec<(u64, Option<u64>)>,
    range: Option<Scan>,
    /// Keys, and whether they were put or deleted.
    writes: Vec<(u64, bool)>,
}

const KEYS: u64 = 24;

fn run_one(db: &Datestone, table: &Table<u64, u64>, chance: &mut Chance) -> Option<Done> {
    let mut transaction = db.transaction();
    let as_of = transaction.as_of();
    let mut done = Done { ts: 0, reads: Vec::new(), range: None, writes: Vec::new() };
    for _ in 0..chance.next_u64() % 3 {
        let key = chance.next_u64() % KEYS;
        transaction.get(table, &key).unwrap();
        // The value says nothing of its time: a read beside the transaction does.
        let found = table.snapshot(as_of).unwrap().get_with_ts(&key).unwrap();
        done.reads.push((key, found.map(|(_, ts)| ts)));
    }
    if chance.next_u64().is_multiple_of(3) {
        let first = chance.next_u64() % KEYS;
        let end = first + chance.next_u64() % 6;
        let rows = transaction.range(table, first..end).unwrap();
        done.range = Some((first, end, rows.into_iter().map(|row| (row.key, row.ts)).collect()));
    }
    for _ in 0..=chance.next_u64() % 2 {
        let key = chance.next_u64() % KEYS;
        let put = !chance.next_u64().is_multiple_of(4);
        if put {
            transaction.put(table, &key, &chance.next_u64()).unwrap();
        } else {
            transaction.delete(table, &key).unwrap();
        }
        done.writes.retain(|(other, _)| *other != key);
        done.writes.push((key, put));
    }
    match transaction.commit() {
        Ok(committed) => {
            done.ts = committed.unwrap().ts;
            Some(done)
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Conflict, "{e}");
            None
        }
    }
}

#[test]
fn concurrent_transactions_have_read_what_was_there_just_before_them() {
    let (_dir, db) = database(1);
    let table = db.typed_table::<u64, u64>("t").unwrap();
    let first = seed("concurrent_transactions");
    let stop = AtomicBool::new(false);
    let history = Mutex::new(Vec::new());
    let conflicts = Mutex::new(0_u64);
    let clock = OsClock;
    let end = clock.monotonic() + Duration::from_secs(count("DATESTONE_HISTORY_SECONDS", 3));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (db, table, stop, history, conflicts) = (&db, &table, &stop, &history, &conflicts);
            scope.spawn(move || {
                let mut chance = Chance::new(first.wrapping_add(writer));
                let (mut mine, mut lost) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    match run_one(db, table, &mut chance) {
                        Some(done) => mine.push(done),
                        None => lost += 1,
                    }
                }
                history.lock().append(&mut mine);
                *conflicts.lock() += lost;
            });
        }
        while clock.monotonic() < end {
            clock.sleep(Duration::from_millis(50));
            db.flush().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut history = history.into_inner();
    history.sort_by_key(|done| done.ts);
    assert!(history.len() > 100, "only {} transactions", history.len());
    assert!(*conflicts.lock() > 0, "threads that never meet prove nothing");
    // One state, moved on transaction by transaction.
    let mut state: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = 0;
    for done in &history {
        assert!(done.ts > last, "two transactions at {last}");
        last = done.ts;
        for (key, found) in &done.reads {
            assert_eq!(found, &state.get(key).copied(), "key {key} read by {}", done.ts);
        }
        if let Some((from, to, found)) = &done.range {
            let wanted: Vec<_> = state.range(from..to).map(|(key, ts)| (*key, *ts)).collect();
            assert_eq!(found, &wanted, "{from}..{to} read by {}", done.ts);
        }
        for (key, put) in &done.writes {
            if *put {
                state.insert(*key, done.ts);
            } else {
                state.remove(key);
            }
        }
    }
    let found: Vec<_> = table
        .latest()
        .unwrap()
        .iter()
        .map(|row| row.map(|row| (row.key, row.ts)).unwrap())
        .collect();
    assert_eq!(found, state.into_iter().collect::<Vec<_>>());
}
