//! Changes touch only what has changed, splits touch nothing, and parts of a split are about equal.

use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::MemFs;
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{CollectionId, Frontier, Kind};
use datestone_tests::database::{collect, open, push, small_options};
use datestone_tests::model::OwnedUpdate;

const KEYS: u32 = 20_000;

fn row(n: u32, ts: u64) -> OwnedUpdate {
    OwnedUpdate { key: n.to_be_bytes().to_vec(), val: vec![b'v'; 100], ts, diff: 1 }
}

fn commit(db: &Db, id: CollectionId, rows: &[OwnedUpdate], upper: u64) {
    let mut commit = Commit::new();
    push(&mut commit, id, "c", rows).unwrap();
    commit.advance_upper(id, Frontier::at(upper)).unwrap();
    db.commit(commit, Durability::Buffer).unwrap();
}

/// Everything merged into one run; the blocks counted from a fresh open on.
fn database() -> (Db, CollectionId) {
    let fs = MemFs::new();
    let options = small_options();
    let db = open(&fs, &options).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", &[]).unwrap().id;
    for first in (0..KEYS).step_by(1000) {
        let rows: Vec<_> = (first..first + 1000).map(|n| row(n, 1)).collect();
        commit(&db, id, &rows, 1);
    }
    commit(&db, id, &[], 2);
    db.compact(None).unwrap();
    // Changes at time 5 in two places.
    let changed: Vec<_> = (0..10).flat_map(|n| [row(7000 + n, 5), row(15_000 + n, 5)]).collect();
    commit(&db, id, &changed, 6);
    db.compact(None).unwrap();
    db.close().unwrap();
    let db = open(&fs, &options).unwrap();
    assert_eq!(db.collection_stats(id).unwrap().runs, 1);
    (db, id)
}

#[test]
fn a_small_change_touches_few_blocks() {
    let (db, id) = database();
    let (touched, all) = db.blocks_touched(id).unwrap();
    assert!(touched == 0 && all > 50, "{touched} of {all}");
    let nothing = collect(db.changes(id, RangeSpec::ALL, 2, 4).unwrap()).unwrap();
    // Two blocks have times on both sides of these, but none of them.
    assert!(nothing.is_empty() && db.blocks_touched(id).unwrap().0 <= 2);
    let changes = collect(db.changes(id, RangeSpec::ALL, 2, 5).unwrap()).unwrap();
    assert_eq!(changes.len(), 20);
    let (touched, _) = db.blocks_touched(id).unwrap();
    assert!((1..=4).contains(&touched), "{touched} of {all}");
    // A listener that has seen the rest reads as little.
    let mut listener = db.listen(id, 4, "test").unwrap();
    while listener.try_next().unwrap().is_some() {}
    assert_eq!(db.blocks_touched(id).unwrap().0, touched);
    let mut history = db.history(id, RangeSpec::ALL, 3, None).unwrap();
    while history.next().unwrap().is_some() {}
    assert_eq!(db.blocks_touched(id).unwrap().0, touched);
}

#[test]
fn a_split_reads_no_data_and_is_about_even() {
    let (db, id) = database();
    // Some rows in memory besides.
    commit(&db, id, &(0..500).map(|n| row(n * 40, 6)).collect::<Vec<_>>(), 7);
    let snapshot = db.snapshot(id, 6).unwrap();
    let counts = [1, 2, 3, 8];
    let splits = counts.map(|count| snapshot.split(count).unwrap());
    assert_eq!(db.blocks_touched(id).unwrap().0, 0);
    for (count, parts) in counts.into_iter().zip(splits) {
        assert_eq!(parts.len(), count);
        let rows: Vec<u64> =
            parts.into_iter().map(|part| snapshot.rows(part).count().unwrap()).collect();
        assert_eq!(rows.iter().sum::<u64>(), u64::from(KEYS));
        let even = u64::from(KEYS) / count as u64;
        assert!(rows.iter().all(|n| *n > even * 8 / 10 && *n < even * 12 / 10), "{rows:?}");
    }
    assert!(snapshot.split(0).is_err() && snapshot.split(1 << 20).is_err());
}
