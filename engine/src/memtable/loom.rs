//! Loom models of what the memtable publishes: bucket heads, the heads of slots, and rows before
//! upper. They run the real code; in this configuration the arena tells loom of each access to an
//! entry, so a publication that is too weak fails as an unordered access.
//!
//! Run with `RUSTFLAGS="--cfg datestone_loom" cargo test -p datestone-engine --release memtable`.
#![cfg(datestone_loom)]

use super::{MemCursor, Memtable};
use crate::cursor::Cursor;
use crate::format::key_hash;
use crate::found::Found;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{CollectionId, TimeWindow, Update};
use loom::thread;

const COLLECTION: CollectionId = CollectionId(7);

fn update(ts: u64, diff: i64) -> Update<'static> {
    Update { key: b"key", val: b"val", ts, diff }
}

/// The sum of the diffs of the one key in the window, by a point read.
fn sum_of_get(memtable: &Memtable, window: TimeWindow) -> i128 {
    let Some(slot) = memtable.slot(COLLECTION) else { return 0 };
    let mut found = Found::new();
    memtable.get(&slot, b"key", key_hash(b"key"), window, &mut found);
    let mut sum = 0;
    let visit = found.visit(|val, copies| {
        assert_eq!(val, b"val");
        sum += copies;
        Ok::<_, ()>(())
    });
    assert_eq!(visit, Ok(()));
    sum
}

/// The same by reading the sorted runs.
fn sum_of_scan(memtable: &Memtable) -> i128 {
    let Some(slot) = memtable.slot(COLLECTION) else { return 0 };
    let mut sum = 0;
    for run in slot.sorted_runs() {
        assert!(slot.times().unwrap().covers(run.times()));
        let mut cursor = MemCursor::new(run, TimeWindow::ALL);
        cursor.seek_first().unwrap();
        while cursor.valid() {
            assert_eq!((cursor.key(), cursor.val()), (&b"key"[..], &b"val"[..]));
            sum += cursor.sum();
            cursor.next().unwrap();
        }
    }
    sum
}

/// Goal: a point read beside the writer sees whole entries, and never a newer one without the
/// older ones behind it (chain I1). Method: the sums 0, 1 and 3 are the prefixes of 1, 2.
#[test]
fn a_bucket_head_publishes_the_entries_behind_it() {
    ::loom::model(|| {
        let memtable = Arc::new(Memtable::new(0));
        let writer = thread::spawn({
            let memtable = Arc::clone(&memtable);
            move || {
                memtable.writer().insert_all(COLLECTION, [update(1, 1)]);
                memtable.writer().insert_all(COLLECTION, [update(2, 2)]);
            }
        });
        let sum = sum_of_get(&memtable, TimeWindow::ALL);
        assert!([0, 1, 3].contains(&sum), "sum {sum}");
        writer.join().unwrap();
        assert_eq!(sum_of_get(&memtable, TimeWindow::ALL), 3);
    });
}

/// Goal: the same for the list of a collection, with the figures of its slot (slot I1).
#[test]
fn a_slot_head_publishes_the_entries_behind_it() {
    ::loom::model(|| {
        let memtable = Arc::new(Memtable::new(0));
        memtable.writer().insert_all(COLLECTION, [update(5, 1)]);
        let writer = thread::spawn({
            let memtable = Arc::clone(&memtable);
            move || memtable.writer().insert_all(COLLECTION, [update(4, 2), update(6, 4)])
        });
        let sum = sum_of_scan(&memtable);
        assert!([1, 3, 7].contains(&sum), "sum {sum}");
        writer.join().unwrap();
        assert_eq!(sum_of_scan(&memtable), 7);
    });
}

/// Goal: two writers take turns and lose no row, and a reader that has seen upper beyond a time
/// sees every row below it. Method: the second writer publishes "upper" as the commit leader does.
#[test]
fn who_sees_upper_sees_the_rows_below_it() {
    ::loom::model(|| {
        let memtable = Arc::new(Memtable::new(0));
        let upper = Arc::new(AtomicU64::new(0));
        let other_writer = thread::spawn({
            let memtable = Arc::clone(&memtable);
            move || memtable.writer().insert_all(COLLECTION, [update(9, 4)])
        });
        let leader = thread::spawn({
            let (memtable, upper) = (Arc::clone(&memtable), Arc::clone(&upper));
            move || {
                memtable.writer().insert_all(COLLECTION, [update(1, 1), update(2, 2)]);
                upper.store(3, Ordering::Release);
            }
        });
        if let Some(last) = upper.load(Ordering::Acquire).checked_sub(1) {
            assert_eq!(sum_of_get(&memtable, TimeWindow { first: 0, last }), 3);
        }
        leader.join().unwrap();
        other_writer.join().unwrap();
        assert_eq!(sum_of_get(&memtable, TimeWindow::ALL), 7);
    });
}
