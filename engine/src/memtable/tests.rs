//! Tests of the memtable as a whole. The model is a list of rows.

// Outside of a model, loom's types do not work.
#![cfg(not(datestone_loom))]

use super::{MEMTABLE_BYTES_MAX, MemCursor, Memtable, arena};
use crate::cursor::Cursor;
use crate::format::key_hash;
use crate::found::Found;
use crate::sync::Arc;
use crate::types::{CollectionId, TimeWindow, Timestamp, Update};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const COLLECTION: CollectionId = CollectionId(3);

/// A row that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Vec<u8>,
    val: Vec<u8>,
    ts: Timestamp,
    diff: i64,
}

impl Row {
    fn new(key: impl Into<Vec<u8>>, val: impl Into<Vec<u8>>, ts: Timestamp, diff: i64) -> Self {
        Self { key: key.into(), val: val.into(), ts, diff }
    }

    fn update(&self) -> Update<'_> {
        Update { key: &self.key, val: &self.val, ts: self.ts, diff: self.diff }
    }
}

/// One entry of a cursor.
type Entry = (Vec<u8>, Vec<u8>, Vec<(Timestamp, i64)>);

fn insert(memtable: &Memtable, collection: CollectionId, rows: &[Row]) {
    memtable.writer().insert_all(collection, rows.iter().map(Row::update));
}

fn get(memtable: &Memtable, key: &[u8], window: TimeWindow) -> Vec<(Vec<u8>, i128)> {
    let mut all = Vec::new();
    if let Some(slot) = memtable.slot(COLLECTION) {
        let mut found = Found::new();
        memtable.get(&slot, key, key_hash(key), window, &mut found);
        let visit = found.visit(|val, sum| {
            all.push((val.to_vec(), sum));
            Ok::<_, ()>(())
        });
        assert_eq!(visit, Ok(()));
    }
    all
}

fn model_get(rows: &[Row], key: &[u8], window: TimeWindow) -> Vec<(Vec<u8>, i128)> {
    let mut sums: BTreeMap<Vec<u8>, i128> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.key == key && window.contains(row.ts)) {
        *sums.entry(row.val.clone()).or_default() += i128::from(row.diff);
    }
    sums.into_iter().filter(|(_, sum)| *sum != 0).collect()
}

/// The entries that one cursor over all rows must give.
fn model_entries(rows: &[Row], window: TimeWindow) -> Vec<Entry> {
    let mut entries: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        let updates = entries.entry((row.key.clone(), row.val.clone())).or_default();
        if window.contains(row.ts) {
            updates.push((row.ts, row.diff));
        }
    }
    let entries = entries.into_iter().map(|((key, val), mut updates)| {
        updates.sort_unstable();
        (key, val, updates)
    });
    entries.collect()
}

/// The entry that a cursor stands on. Rows of one time may come in any order, so they are sorted.
fn entry_of(cursor: &MemCursor) -> Option<Entry> {
    if !cursor.valid() {
        return None;
    }
    let mut updates = Vec::new();
    cursor.updates(&mut updates);
    assert!(updates.is_sorted_by_key(|(ts, _)| *ts), "updates ascend in time");
    assert_eq!(cursor.sum(), updates.iter().map(|(_, diff)| i128::from(*diff)).sum::<i128>());
    updates.sort_unstable();
    Some((cursor.key().to_vec(), cursor.val().to_vec(), updates))
}

fn forward(cursor: &mut MemCursor) -> Vec<Entry> {
    let mut entries = Vec::new();
    cursor.seek_first().unwrap();
    while let Some(entry) = entry_of(cursor) {
        entries.push(entry);
        cursor.next().unwrap();
    }
    entries
}

fn backward(cursor: &mut MemCursor) -> Vec<Entry> {
    let mut entries = Vec::new();
    cursor.seek_last().unwrap();
    while let Some(entry) = entry_of(cursor) {
        entries.push(entry);
        cursor.prev().unwrap();
    }
    entries.reverse();
    entries
}

/// Keys that are hard to sort by their heads: zeros at the end, ends within and beyond 8 bytes,
/// prefixes in common.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let bytes = vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4);
    (prop_oneof![Just(&b""[..]), Just(&b"user:"[..]), Just(&b"user:000000"[..])], bytes)
        .prop_map(|(prefix, bytes)| [prefix, &bytes].concat())
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (any_key(), vec(0u8..2, 0..3), 0u64..6, -2i64..3);
    vec(row.prop_map(|(key, val, ts, diff)| Row { key, val, ts, diff }), 0..60)
}

fn any_window() -> impl Strategy<Value = TimeWindow> {
    let some = (0u64..7, 0u64..4).prop_map(|(first, len)| TimeWindow { first, last: first + len });
    prop_oneof![Just(TimeWindow::ALL), some]
}

proptest! {
    /// Goal: point reads give what the model gives, beside rows of another collection.
    #[test]
    fn get_agrees_with_the_model(rows in any_rows(), other in any_rows(), window in any_window()) {
        let memtable = Memtable::new(0);
        insert(&memtable, CollectionId(1), &other);
        insert(&memtable, COLLECTION, &rows);
        insert(&memtable, CollectionId(2), &other);
        for row in rows.iter().chain(&other) {
            let expected = model_get(&rows, &row.key, window);
            prop_assert_eq!(get(&memtable, &row.key, window), expected);
        }
        prop_assert_eq!(memtable.updates(), (rows.len() + 2 * other.len()) as u64);
    }

    /// Goal: the one run of a flush gives the model's entries both ways, and every seek lands where
    /// the model says. Method: the run is put together from parts sorted at different moments.
    #[test]
    fn a_cursor_agrees_with_the_model(
        parts in vec(any_rows(), 1..4),
        probes in vec(any_key(), 0..8),
        window in any_window(),
    ) {
        let memtable = Memtable::new(0);
        for part in &parts {
            insert(&memtable, COLLECTION, part);
            let _ = memtable.slot(COLLECTION).unwrap().sorted_runs();
        }
        let rows = parts.concat();
        let Some(run) = memtable.slot(COLLECTION).unwrap().sort_all() else {
            prop_assert!(rows.is_empty());
            return Ok(());
        };
        prop_assert_eq!(run.count(), rows.len());
        let mut cursor = MemCursor::new(Arc::clone(&run), window);
        // A cursor whose window has no time of the run need not show any entry.
        let entries = match run.times().intersect(window) {
            Some(_) => model_entries(&rows, window),
            None => Vec::new(),
        };
        prop_assert_eq!(&forward(&mut cursor), &entries);
        prop_assert_eq!(&backward(&mut cursor), &entries);
        for probe in probes.iter().chain(rows.iter().map(|row| &row.key)) {
            let at = entries.partition_point(|(key, ..)| key < probe);
            cursor.seek(probe).unwrap();
            prop_assert_eq!(entry_of(&cursor), entries.get(at).cloned());
            cursor.prev().unwrap();
            if at < entries.len() {
                let before = at.checked_sub(1).and_then(|at| entries.get(at).cloned());
                prop_assert_eq!(entry_of(&cursor), before);
            }
            cursor.seek_before(probe).unwrap();
            let before = at.checked_sub(1).and_then(|at| entries.get(at).cloned());
            prop_assert_eq!(entry_of(&cursor), before);
            let valid = cursor.valid();
            cursor.next().unwrap();
            if valid {
                prop_assert_eq!(entry_of(&cursor), entries.get(at).cloned());
            }
        }
    }

    /// Goal: whenever somebody asks, the runs hold each row so far exactly once, and there are
    /// few of them. Method: ask after each small part.
    #[test]
    fn runs_cover_each_row_once(parts in vec(any_rows(), 1..20)) {
        let memtable = Memtable::new(0);
        let mut rows = Vec::new();
        for part in &parts {
            insert(&memtable, COLLECTION, part);
            rows.extend_from_slice(part);
            let runs = memtable.slot(COLLECTION).unwrap().sorted_runs();
            prop_assert!(runs.windows(2).all(|two| two[0].count() > 2 * two[1].count()));
            let mut found: Vec<Row> = Vec::new();
            for run in runs {
                for (key, val, updates) in forward(&mut MemCursor::new(run, TimeWindow::ALL)) {
                    for (ts, diff) in updates {
                        found.push(Row::new(key.clone(), val.clone(), ts, diff));
                    }
                }
            }
            found.sort();
            let mut expected = rows.clone();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}

/// Goal: collections that share buckets do not see each other's rows. Method: one key in so many
/// collections that hundreds of them share bucket and filter bit.
#[test]
fn one_key_in_many_collections() {
    let memtable = Memtable::new(0);
    for id in 0..4000 {
        insert(&memtable, CollectionId(id), &[Row::new("k", id.to_le_bytes(), 1, 1)]);
    }
    for (id, slot) in (0..).zip(memtable.slots()) {
        assert_eq!((slot.collection(), slot.updates()), (CollectionId(id), 1));
        let mut found = Found::new();
        memtable.get(&slot, b"k", key_hash(b"k"), TimeWindow::ALL, &mut found);
        let mut vals = Vec::new();
        let visit = found.visit(|val, _| {
            vals.push(val.to_vec());
            Ok::<_, ()>(())
        });
        assert_eq!(visit, Ok(()));
        assert_eq!(vals, [id.to_le_bytes()]);
    }
}

/// Goal: values beyond a chunk, at its edge and empty ones lie unharmed beside each other.
#[test]
fn values_of_any_length() {
    let lens = [0, 1, 7, 8, 9, 1 << 20, (1 << 20) - 48, (4 << 20) - 48, 4 << 20, 9 << 20, 3];
    let memtable = Memtable::new(1 << 20);
    let rows: Vec<Row> = lens
        .iter()
        .enumerate()
        .map(|(index, len)| Row::new([index as u8], vec![index as u8; *len], 1, 1))
        .collect();
    // Twice, so that ordinary chunks go on after those with one value.
    insert(&memtable, COLLECTION, &rows);
    insert(&memtable, COLLECTION, &rows);
    for row in &rows {
        assert_eq!(get(&memtable, &row.key, TimeWindow::ALL), [(row.val.clone(), 2)]);
    }
    let run = memtable.slot(COLLECTION).unwrap().sort_all().unwrap();
    let entries = forward(&mut MemCursor::new(run, TimeWindow::ALL));
    let expected: Vec<Entry> =
        rows.into_iter().map(|row| (row.key, row.val, vec![(1, 1), (1, 1)])).collect();
    assert!(entries == expected);
    let payload: u64 = lens.iter().map(|len| 2 * *len as u64).sum();
    let overhead = memtable.bytes() - payload;
    assert!((22 * 41..22 * 56 + (128 << 10)).contains(&overhead), "overhead {overhead}");
    assert!(memtable.bytes() < MEMTABLE_BYTES_MAX);
}

/// Goal: the last times and the greatest multiplicities do not overflow.
#[test]
fn extreme_times_and_diffs() {
    let memtable = Memtable::new(0);
    let last = Timestamp::MAX;
    let rows = [Row::new("k", "v", last, i64::MAX), Row::new("k", "v", 0, i64::MAX)];
    insert(&memtable, COLLECTION, &rows);
    let twice = 2 * i128::from(i64::MAX);
    assert_eq!(get(&memtable, b"k", TimeWindow::ALL), [(b"v".to_vec(), twice)]);
    let only_last = TimeWindow { first: last, last };
    assert_eq!(get(&memtable, b"k", only_last), [(b"v".to_vec(), i64::MAX.into())]);
    let slot = memtable.slot(COLLECTION).unwrap();
    assert_eq!(slot.times(), Some(TimeWindow::ALL));
    let mut cursor = MemCursor::new(slot.sort_all().unwrap(), TimeWindow::ALL);
    cursor.seek_first().unwrap();
    assert_eq!(cursor.sum(), twice);
}

/// Goal: what is empty says so, and nothing is found in it.
#[test]
fn an_empty_memtable() {
    let memtable = Memtable::new(64 << 20);
    assert!(memtable.is_empty() && memtable.slots().is_empty());
    assert_eq!(memtable.updates(), 0);
    assert_eq!(memtable.bytes(), 4 << 20, "the buckets count");
    assert!(memtable.slot(COLLECTION).is_none());
    let slot = memtable.writer().slot(COLLECTION);
    assert!(memtable.is_empty());
    assert_eq!(slot.times(), None);
    assert!(slot.sort_all().is_none() && slot.sorted_runs().is_empty());
}

/// Goal: a cursor on nothing stays there until a seek (contract of `Cursor`).
#[test]
fn moves_of_an_invalid_cursor_do_nothing() {
    let memtable = Memtable::new(0);
    insert(&memtable, COLLECTION, &[Row::new("a", "", 1, 1), Row::new("b", "", 1, 1)]);
    let run = memtable.slot(COLLECTION).unwrap().sort_all().unwrap();
    let mut cursor = MemCursor::new(run, TimeWindow::ALL);
    let stays_invalid = |cursor: &mut MemCursor| {
        assert!(!cursor.valid());
        cursor.prev().unwrap();
        assert!(!cursor.valid());
        cursor.next().unwrap();
        assert!(!cursor.valid());
    };
    stays_invalid(&mut cursor);
    cursor.seek(b"c").unwrap();
    stays_invalid(&mut cursor);
    cursor.seek_before(b"a").unwrap();
    stays_invalid(&mut cursor);
    cursor.seek_last().unwrap();
    assert_eq!(cursor.key(), b"b");
    cursor.next().unwrap();
    stays_invalid(&mut cursor);
}

/// Goal: dropping frees every chunk, but not before the last cursor has gone. Method: the arena
/// counts the chunks of this thread.
#[test]
fn chunks_are_freed_with_the_last_reader() {
    let before = arena::live::chunks();
    let memtable = Memtable::new(0);
    insert(&memtable, COLLECTION, &[Row::new("small", "x", 1, 1)]);
    insert(&memtable, COLLECTION, &[Row::new("large", vec![7; 5 << 20], 1, 1)]);
    assert_eq!(arena::live::chunks() - before, 2);
    let run = memtable.slot(COLLECTION).unwrap().sort_all().unwrap();
    let mut cursor = MemCursor::new(run, TimeWindow::ALL);
    drop(memtable);
    assert_eq!(arena::live::chunks() - before, 2);
    cursor.seek_first().unwrap();
    assert_eq!(cursor.val(), vec![7; 5 << 20]);
    drop(cursor);
    assert_eq!(arena::live::chunks() - before, 0);
}

/// Goal: I2, a row that the flush would miss is refused.
#[test]
#[should_panic(expected = "nothing is written to a frozen memtable")]
fn a_frozen_memtable_has_no_writer() {
    let memtable = Memtable::new(0);
    insert(&memtable, COLLECTION, &[Row::new("a", "", 1, 1)]);
    memtable.freeze();
    insert(&memtable, COLLECTION, &[Row::new("b", "", 1, 1)]);
}

/// Goal: the references of one arena are refused by another, on which the proofs of the arena rest.
#[test]
#[should_panic(expected = "lists stay within their arena")]
fn a_slot_of_another_memtable_is_refused() {
    let (one, other) = (Memtable::new(0), Memtable::new(0));
    insert(&one, COLLECTION, &[Row::new("a", "", 1, 1)]);
    let foreign = one.slot(COLLECTION).unwrap();
    other.writer().insert(&foreign, Row::new("b", "", 1, 1).update());
}

/// Goal: readers beside the writer, and runs merged beside readers of them, always see a prefix of
/// what was written, whole. Method: row `i` has ts `i`; a reader takes the published count first.
#[test]
fn readers_beside_the_writer_see_a_prefix() {
    use crate::sync::atomic::{AtomicU64, Ordering};
    const ROWS: u64 = if cfg!(miri) { 200 } else { 20_000 };
    let memtable = Memtable::new(1 << 20);
    let published = AtomicU64::new(0);
    let key_of = |ts: u64| (ts.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_be_bytes();
    let check_get = |ts: u64| {
        let found = get(&memtable, &key_of(ts), TimeWindow { first: ts, last: ts });
        assert_eq!(found, [(ts.to_le_bytes().to_vec(), 1)]);
    };
    let check_scan = |upper: u64| {
        let slot = memtable.slot(COLLECTION).unwrap();
        let mut rows = 0;
        for run in slot.sorted_runs() {
            let mut cursor = MemCursor::new(run, TimeWindow { first: 0, last: upper - 1 });
            cursor.seek_first().unwrap();
            let mut last = Vec::new();
            while cursor.valid() {
                let entry = [cursor.key(), cursor.val()].concat();
                assert!(last < entry, "entries ascend");
                last = entry;
                rows += cursor.sum();
                cursor.next().unwrap();
            }
        }
        assert_eq!(rows, i128::from(upper));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for ts in 0..ROWS {
                let (key, val) = (key_of(ts), ts.to_le_bytes());
                let update = Update { key: &key, val: &val, ts, diff: 1 };
                memtable.writer().insert_all(COLLECTION, [update]);
                published.store(ts + 1, Ordering::Release);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut probe = 0;
                loop {
                    let upper = published.load(Ordering::Acquire);
                    if upper == 0 {
                        continue;
                    }
                    probe = (probe + 4099) % upper;
                    check_get(probe);
                    check_get(upper - 1);
                    check_scan(upper);
                    if upper == ROWS {
                        break;
                    }
                }
            });
        }
    });
    let _ = memtable.slot(COLLECTION).unwrap().sort_all();
    check_scan(ROWS);
}
