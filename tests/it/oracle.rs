//! Real data against an independent oracle: the history of a `Cargo.lock`, whose state at 64 times
//! was computed from the files of those commits and never from the updates.

use datestone::{Collection, Compression, Datestone, Frontier, Options, VerifyDepth};
use datestone_tests::oracle::{DataLine, OracleLine, digest, small_oracle, small_set};
use datestone_tests::seed::{Chance, seed};
use std::path::Path;

const NAME: &str = "cargo-lock";
/// Updates of one commit.
const BATCH: usize = 500;

/// Small memtables, so that the data goes through flushes and merges.
fn options() -> Options {
    Options { memtable_bytes: 128 << 10, ..Options::default() }
}

fn open(dir: &Path, options: Options) -> (Datestone, Collection<str, str>) {
    let db = Datestone::open_with(dir, options).unwrap();
    let collection = db.typed(NAME).unwrap();
    (db, collection)
}

/// Loads `lines`, a commit a batch; times are complete when a later one comes, the last one at the
/// end.
fn load(collection: &Collection<str, str>, lines: &[DataLine]) {
    for (index, batch) in lines.chunks(BATCH).enumerate() {
        let after = lines.get((index + 1) * BATCH);
        let upper = match (after, batch.last()) {
            (Some(next), _) => next.ts,
            (None, Some(last)) => last.ts + 1,
            (None, None) => return,
        };
        let updates = batch.iter().map(|l| (l.key.as_str(), l.val.as_str(), l.ts, l.diff));
        let before = collection.upper().unwrap();
        if before < Frontier::at(upper) && batch.iter().all(|line| line.ts < upper) {
            collection.compare_and_append(updates, before, upper).unwrap();
        } else {
            collection.append(updates).unwrap();
            collection.advance_upper(upper).unwrap();
        }
    }
}

/// Compares all times of the oracle that can be read; how many.
#[track_caller]
fn check(collection: &Collection<str, str>, oracle: &[OracleLine], what: &str) -> usize {
    let since = collection.since().unwrap();
    let mut checked = 0;
    for line in oracle {
        if since.is_beyond(line.as_of) {
            assert!(
                collection.snapshot(line.as_of).is_err(),
                "{what}: {} is below since",
                line.as_of
            );
            continue;
        }
        let mut rows = Vec::new();
        for row in collection.snapshot(line.as_of).unwrap().iter() {
            let row = row.unwrap();
            assert_eq!(row.diff, 1, "{what}: {row:?} as of {}", line.as_of);
            rows.push((row.key, row.val));
        }
        let rows = rows.iter().map(|(key, val)| (key.as_bytes(), val.as_bytes()));
        assert_eq!(digest(line.as_of, rows), *line, "{what}");
        checked += 1;
    }
    checked
}

/// The whole life: load, restart, compaction, forgetting.
fn life(options: &Options) {
    let (lines, oracle) = (small_set(), small_oracle());
    let dir = tempfile::tempdir().unwrap();
    let (db, collection) = open(dir.path(), options.clone());
    load(&collection, &lines);
    assert_eq!(check(&collection, &oracle, "after the load"), 64);
    drop(collection);
    db.close().unwrap();

    let (db, collection) = open(dir.path(), options.clone());
    assert_eq!(check(&collection, &oracle, "after a restart"), 64);
    assert!(db.stats().segments > 0, "the load was flushed: {:?}", db.stats());
    db.compact().unwrap();
    assert_eq!(collection.info().unwrap().runs, 1);
    assert_eq!(check(&collection, &oracle, "after full compaction"), 64);

    let before = collection.info().unwrap();
    let since = oracle[40].as_of;
    assert_eq!(collection.compact_below(since).unwrap(), Frontier::at(since));
    assert_eq!(check(&collection, &oracle, "after compact_below"), 24);
    db.compact().unwrap();
    assert_eq!(check(&collection, &oracle, "after compact_below and compaction"), 24);
    let after = collection.info().unwrap();
    assert!(after.updates < before.updates && after.bytes < before.bytes, "{before:?} {after:?}");
    assert_eq!(after.garbage_updates, 0);
    let report = db.verify(VerifyDepth::Full, |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    drop(collection);
    db.close().unwrap();

    let (_db, collection) = open(dir.path(), options.clone());
    assert_eq!(check(&collection, &oracle, "after forgetting and a restart"), 24);
}

#[test]
fn real_data_has_the_hashes_of_the_oracle() {
    life(&options());
}

#[test]
fn real_data_has_the_hashes_of_the_oracle_compressed_and_unthreaded() {
    let compression = Compression::Cold { level: 3 };
    life(&Options { compression, background_threads: 0, hash_index: false, ..options() });
}

/// Goal: a load that is cut off and goes on where the last durable commit ended gives the same.
/// Method: the handle is leaked in the middle (a process that ends without closing), on a copy of
/// the directory; the number of updates loaded is read back from the data.
#[test]
fn a_load_cut_off_and_resumed_has_the_hashes_of_the_oracle() {
    let (lines, oracle) = (small_set(), small_oracle());
    let mut chance = Chance::new(seed("a_load_cut_off_and_resumed"));
    for round in 0..3 {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cut = (1 + chance.below((lines.len() / BATCH) as u64 - 1) as usize) * BATCH;
        let (db, collection) = open(dir.path(), Options { background_threads: 0, ..options() });
        for batch in lines[..cut].chunks(BATCH) {
            let updates = batch.iter().map(|l| (l.key.as_str(), l.val.as_str(), l.ts, l.diff));
            collection.append(updates).unwrap();
        }
        // What a killed process leaves: the files as they are now, the lock given back.
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        drop((db, collection));

        let (_db, collection) = open(copy.path(), options());
        let mut updates = collection.updates().unwrap();
        let mut loaded = 0;
        while updates.next_update().unwrap().is_some() {
            loaded += 1;
        }
        // Equal updates of one time never occur in the data, so that none was added up.
        assert_eq!(loaded, cut, "round {round}");
        load(&collection, &lines[cut..]);
        assert_eq!(check(&collection, &oracle, "after a cut-off load"), 64);
    }
}
