//! Transactions are serializable, in the order of their times.
//!
//! Goal: a transaction that succeeds has read what was there just before its own time. Method: the
//! cases one by one; `history` has threads that read and write at random.

use datestone::{Datestone, Durability, ErrorKind, Options, Table, Transaction};
use datestone_engine::io::{Clock as _, OsClock};
use datestone_engine::limits;
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

/// A transaction read a key; it was deleted; since passed the deletion, and a merge dropped it together
/// with the value that it hid. Then nothing was left of the deletion for the commit to find, and the
/// transaction was made. The judge of histories found it.
#[test]
fn a_deletion_that_was_merged_away_is_still_a_conflict() {
    for range in [false, true] {
        let (_dir, db) = database(0);
        let (table, other) = (db.typed_table::<str, str>("t").unwrap(), db.table("other").unwrap());
        table.put("k", "v").unwrap();
        db.flush().unwrap();
        let mut transaction = db.transaction();
        if range {
            assert_eq!(transaction.range::<_, _, str>(&table, ..).unwrap().len(), 1);
        } else {
            assert!(transaction.get(&table, "k").unwrap().is_some());
        }
        let deleted = table.delete("k").unwrap();
        db.flush().unwrap();
        table.compact_below(deleted).unwrap();
        table.compact().unwrap();
        assert_eq!(table.info().unwrap().segments, 0, "nothing is left of the deletion");
        transaction.put(&other, b"k is there", b"").unwrap();
        assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Compacted);
        assert_eq!(other.latest().unwrap().count().unwrap(), 0);
    }
    // Transactions that are run again see the deletion.
    let (_dir, db) = database(0);
    let table = db.typed_table::<str, str>("t").unwrap();
    table.put("k", "v").unwrap();
    let mut tries = 0;
    let found = db.transact(|transaction| {
        let found = transaction.get(&table, "k")?;
        transaction.put(&table, "found", if found.is_some() { "yes" } else { "no" })?;
        tries += 1;
        if tries == 1 {
            table.compact_below(table.delete("k")?)?;
        }
        Ok(found)
    });
    assert_eq!((found.unwrap(), tries), (None, 2));
}

/// A commit is in memory a moment before it is shown. A transaction that met it was refused and tried again
/// at a time that did not show it yet, and so used up its thousand tries within that moment. Found by the
/// kill test, on a machine with so much else to do that the moment became long; here it is long because the
/// commit is.
#[test]
fn a_transaction_is_tried_again_when_what_it_met_can_be_read() {
    const LARGE: u64 = 8;
    const ROWS: u64 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::Buffer, ..Options::default() };
    let db = Datestone::open_with(dir.path().join("db"), options).unwrap();
    let table = db.typed_table::<str, u64>("t").unwrap();
    let set = db.typed::<u64, u64>("large").unwrap();
    table.put("met", &0).unwrap();
    let (mut tries, mut transactions) = (0_u64, 0_u64);
    std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            for n in 1..=LARGE {
                let rows: Vec<u64> = (0..ROWS).collect();
                let rows = rows.iter().map(|row| (row, &0, n, 1));
                db.commit().put(&table, "met", &n).append(&set, rows).run().unwrap();
            }
        });
        while !large.is_finished() {
            // Only who reads before the commit and asks to commit while it is put into memory meets it; who
            // comes earlier waits for it in the queue.
            let mut wait = Duration::from_millis(transactions * 7 % 40);
            let transacted = db.transact(|transaction| {
                tries += 1;
                let met = transaction.get(&table, "met")?.unwrap_or(0);
                OsClock.sleep(std::mem::take(&mut wait));
                transaction.put(&table, "seen", &met)
            });
            transacted.unwrap();
            transactions += 1;
        }
        large.join().unwrap();
    });
    assert!(tries - transactions <= 4 * LARGE, "{} conflicts", tries - transactions);
}
