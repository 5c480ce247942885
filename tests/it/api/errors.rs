//! Each kind of error, with its fields, and that nothing else happened.

use super::{append, database, rows, small};
use datestone::{Compression, Datestone, Error, ErrorKind, Frontier, Options, VerifyDepth};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::format::manifest_frame::ManifestHeader;
use datestone_engine::io::{CrashPlan, FaultOp, Fs, MemFs};
use datestone_engine::limits;
use datestone_engine::types::{CollectionId, Kind, Update};
use datestone_tests::database::{DIR, open, small_options, updates};
use std::fmt::Debug;
use std::io;
use std::path::Path;

#[track_caller]
fn kind<T: Debug>(result: datestone::Result<T>, wanted: ErrorKind) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), wanted, "{error}");
    assert!(!error.to_string().is_empty());
    error
}

#[test]
fn wrong_calls_are_invalid() {
    let (_dir, db) = database(small());
    for name in ["", "a\nb", "\u{7f}", &"n".repeat(256)] {
        kind(db.collection(name), ErrorKind::Invalid);
    }
    assert!(db.collections().is_empty(), "nothing was created");
    db.collection(&"\u{e9}".repeat(127)).unwrap();
    let c = db.collection("c").unwrap();
    let (key, val) = (vec![b'k'; limits::KEY_LEN_MAX + 1], vec![]);
    let update = |key: &[u8]| c.append([(key, &val[..], 0, 1)]);
    kind(update(&key), ErrorKind::Invalid);
    update(&key[1..]).unwrap();
    kind(db.typed::<str, u64>("c"), ErrorKind::Invalid);
}

#[test]
fn updates_out_of_their_interval_are_named() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    let other = db.collection("other").unwrap();
    let none: [(&[u8], &[u8], u64, i64); 0] = [];
    let at = |ts| (&b"k"[..], &b""[..], ts, 1);
    c.advance_upper(10).unwrap();
    let error = kind(c.append([at(10), at(12), at(9), at(8)]), ErrorKind::Invalid);
    let Error::TsBelowUpper { collection, index: 2, ts: 9, upper } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((collection.as_str(), *upper), ("c", Frontier::at(10)));
    assert!(!error.may_have_happened());

    let error = kind(c.compare_and_append([at(10), at(15)], 10, 15), ErrorKind::Invalid);
    assert!(matches!(error, Error::TsBeyondNewUpper { index: 1, ts: 15, .. }), "{error:?}");
    let error = kind(c.compare_and_append([at(9)], 10, 15), ErrorKind::Invalid);
    assert!(matches!(error, Error::TsBelowUpper { index: 0, ts: 9, .. }), "{error:?}");
    kind(c.compare_and_append(none, 10, 9), ErrorKind::Invalid);
    kind(c.compare_and_append([at(10)], 10, 10), ErrorKind::Invalid);
    let error = kind(c.compare_and_append([at(11)], 11, 15), ErrorKind::UpperMismatch);
    let Error::UpperMismatch { expected, actual, .. } = error else { panic!("{error:?}") };
    assert_eq!((expected, actual), (Frontier::at(11), Frontier::at(10)));

    // All of a commit or nothing of it.
    let commit = db.commit().append(&other, [at(0)]).append(&c, [at(9)]);
    kind(commit.run(), ErrorKind::Invalid);
    let commit = db.commit().advance_upper(&other, 7).compare_and_append(&c, none, 11, 12);
    kind(commit.run(), ErrorKind::UpperMismatch);
    assert_eq!(other.upper().unwrap(), Frontier::MIN);
    assert_eq!(c.upper().unwrap(), Frontier::at(10));
    for collection in [&c, &other] {
        collection.advance_upper(Frontier::CLOSED).unwrap();
        assert_eq!(collection.latest().unwrap().count().unwrap(), 0);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let (dir, db) = database(small());
    kind(db.find("c"), ErrorKind::NotFound);
    let c = db.collection("c").unwrap();
    assert!(db.drop_collection("c").unwrap());
    kind(c.upper(), ErrorKind::NotFound);
    kind(c.since(), ErrorKind::NotFound);
    kind(c.info(), ErrorKind::NotFound);
    kind(c.append([(&b"k"[..], &b""[..], 0, 1)]), ErrorKind::NotFound);
    kind(c.advance_upper(1), ErrorKind::NotFound);
    kind(c.compact_below(1), ErrorKind::NotFound);
    kind(c.snapshot(0), ErrorKind::NotFound);
    kind(c.latest(), ErrorKind::NotFound);
    kind(c.updates(), ErrorKind::NotFound);
    kind(c.compact(), ErrorKind::NotFound);
    let never = Options { create_if_missing: false, ..small() };
    let missing = dir.path().join("missing");
    kind(Datestone::open_with(&missing, never.clone()), ErrorKind::NotFound);
    assert!(!missing.exists(), "opening without creating creates nothing");
    let empty = tempfile::tempdir().unwrap();
    kind(Datestone::open_with(empty.path(), never), ErrorKind::NotFound);
}

#[test]
fn a_name_is_given_once() {
    let db = open(&MemFs::new(), &small_options()).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let mut commit = Commit::new();
    commit.create(CollectionId(id.0 + 7), Kind::Multiset, "c", b"").unwrap();
    kind(db.commit(commit, Durability::Fsync), ErrorKind::AlreadyExists);
    assert_eq!(db.find("c").unwrap().id, id);

    let (_dir, db) = database(small());
    db.commit().create("c", b"meta").run().unwrap();
    let both = db.commit().create("d", b"").create("c", b"");
    kind(both.run(), ErrorKind::AlreadyExists);
    kind(db.find("d"), ErrorKind::NotFound);
    kind(db.commit().create("d", b"").create("d", b"").run(), ErrorKind::AlreadyExists);
    kind(db.find("d"), ErrorKind::NotFound);
    db.collection("d").unwrap();
    assert_eq!(db.find("c").unwrap().info().unwrap().meta, b"meta");
}

/// A commit that contradicts itself passes the checks against the state before it and is refused
/// while it is applied. Its first half once stayed behind: the name of a collection that was created
/// twice was taken and free at the same time, and one dropped twice could be read but not written.
#[test]
fn a_commit_that_contradicts_itself_leaves_nothing_behind() {
    let fs = MemFs::new();
    let (db, id) = memory_database(&fs);
    let mut twice = Commit::new();
    twice.create(CollectionId(50), Kind::Multiset, "twice", b"").unwrap();
    twice.create(CollectionId(51), Kind::Multiset, "twice", b"").unwrap();
    kind(db.commit(twice, Durability::Fsync), ErrorKind::AlreadyExists);
    let mut gone = Commit::new();
    gone.drop_collection(id).unwrap();
    gone.drop_collection(id).unwrap();
    kind(db.commit(gone, Durability::Fsync), ErrorKind::NotFound);
    let mut late = Commit::new();
    late.drop_collection(id).unwrap();
    late.advance_upper(id, Frontier::at(1)).unwrap();
    kind(db.commit(late, Durability::Fsync), ErrorKind::NotFound);

    put(&db, id, b"after").unwrap();
    kind(db.find("twice"), ErrorKind::NotFound);
    let twice = db.create_or_load(Kind::Multiset, "twice", b"").unwrap().id;
    put(&db, twice, b"new").unwrap();
    let db = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    assert_eq!(updates(&db, id).unwrap().len(), 2);
    assert_eq!(updates(&db, db.find("twice").unwrap().id).unwrap().len(), 1);
}

/// What a commit creates is checked as what exists is.
#[test]
fn what_a_commit_creates_has_the_least_upper() {
    let db = open(&MemFs::new(), &small_options()).unwrap();
    let id = CollectionId(50);
    let (first, second) = (Frontier::at(5), Frontier::at(6));
    let mut commit = Commit::new();
    commit.create(id, Kind::Multiset, "new", b"").unwrap();
    kind(commit.compare_and_append(id, "new", first, second), ErrorKind::UpperMismatch);
    let mut batch = commit.compare_and_append(id, "new", Frontier::MIN, first).unwrap();
    batch.push(Update { key: b"k", val: b"", ts: 4, diff: 1 }).unwrap();
    batch.finish().unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    assert_eq!(db.collection(id).unwrap().upper, first);
}

#[test]
fn times_out_of_the_window_name_it() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    kind(c.latest(), ErrorKind::NotYet);
    c.advance_upper(10).unwrap();
    c.compact_below(4).unwrap();
    let error = kind(c.snapshot(3), ErrorKind::Compacted);
    let Error::Compacted { collection, as_of: 3, since, upper } = error else {
        panic!("{error:?}")
    };
    assert_eq!((collection.as_str(), since, upper), ("c", Frontier::at(4), Frontier::at(10)));
    let error = kind(c.snapshot(10), ErrorKind::NotYet);
    let Error::NotYet { as_of: 10, since, upper, .. } = error else { panic!("{error:?}") };
    assert_eq!((since, upper), (Frontier::at(4), Frontier::at(10)));
    let other = db.collection("other").unwrap();
    kind(db.snapshots(&[&c, &other], 5), ErrorKind::NotYet);
}

#[test]
fn one_opener_at_a_time() {
    let (dir, db) = database(small());
    let path = dir.path().join("db");
    let error = kind(Datestone::open(&path), ErrorKind::Locked);
    let Error::Locked { pid, since, .. } = error else { panic!("{error:?}") };
    assert_eq!(pid, std::process::id());
    assert!(since > 1_600_000_000, "{since}");
    // It changed nothing for the holder.
    append(&db.collection("c").unwrap(), &[(b"k", b"", 0, 1)]);
    db.close().unwrap();
    let again = Datestone::open(&path).unwrap();
    assert_eq!(again.collections().len(), 1);
    // Dropping the last handle closes too.
    drop(again);
    Datestone::open(&path).unwrap();
}

#[test]
fn a_closed_database_says_so() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"k", b"v", 0, 1)]);
    c.advance_upper(1).unwrap();
    let snapshot = c.snapshot(0).unwrap();
    db.clone().close().unwrap();
    kind(c.append([(&b"k"[..], &b""[..], 1, 1)]), ErrorKind::Closed);
    kind(c.snapshot(0), ErrorKind::Closed);
    kind(c.latest(), ErrorKind::Closed);
    kind(c.updates(), ErrorKind::Closed);
    kind(c.compact(), ErrorKind::Closed);
    kind(db.collection("c2"), ErrorKind::Closed);
    kind(db.collection("c"), ErrorKind::Closed);
    kind(db.drop_collection("c"), ErrorKind::Closed);
    kind(db.flush(), ErrorKind::Closed);
    kind(db.sync(), ErrorKind::Closed);
    kind(db.maintain(), ErrorKind::Closed);
    kind(db.verify(VerifyDepth::Quick, |_, _| {}), ErrorKind::Closed);
    assert_eq!(rows(&snapshot), [(b"k".to_vec(), b"v".to_vec(), 1)], "a snapshot goes on");
    kind(db.close(), ErrorKind::Closed);
}

#[test]
fn options_out_of_bounds_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for options in [
        Options { memtable_bytes: limits::MEMTABLE_BYTES_MIN - 1, ..small() },
        Options { memtable_bytes: limits::MEMTABLE_BYTES_MAX + 1, ..small() },
        Options { wal_file_bytes: limits::WAL_FILE_BYTES_MIN - 1, ..small() },
        Options { wal_file_bytes: limits::WAL_FILE_BYTES_MAX + 4096, ..small() },
        Options { wal_file_bytes: limits::WAL_FILE_BYTES_MIN + 1, ..small() },
        Options { background_threads: limits::BACKGROUND_THREADS_MAX + 1, ..small() },
        Options { compression: Compression::Cold { level: 0 }, ..small() },
        Options { compression: Compression::Cold { level: 20 }, ..small() },
    ] {
        kind(Datestone::open_with(&path, options), ErrorKind::Invalid);
        assert!(!path.exists(), "nothing was created");
    }
    let most = Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        background_threads: 3,
        compression: Compression::Cold { level: 19 },
        block_cache_bytes: 0,
        ..Options::default()
    };
    Datestone::open_with(&path, most).unwrap();
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let some = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    std::fs::copy(some, dir.path().join("notes.txt")).unwrap();
    kind(Datestone::open(dir.path()), ErrorKind::Invalid);
    let file = dir.path().join("notes.txt");
    let result = Datestone::open(&file);
    assert!(result.is_err(), "a file is not a directory");
    assert!(file.exists());
}

fn memory_database(fs: &MemFs) -> (Db, CollectionId) {
    let db = open(fs, &small_options()).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    put(&db, id, b"before").unwrap();
    (db, id)
}

fn put(db: &Db, id: CollectionId, key: &[u8]) -> datestone::Result<()> {
    let mut commit = Commit::new();
    let mut batch = commit.append(id, "c");
    batch.push(Update { key, val: b"", ts: 0, diff: 1 })?;
    batch.finish()?;
    db.commit(commit, Durability::Fsync).map(drop)
}

/// FAULTS 7: a sync fails once and then would succeed.
#[test]
fn a_failed_sync_poisons_writes_until_reopened() {
    for op in [FaultOp::Sync, FaultOp::Write] {
        let fs = MemFs::new();
        let (db, id) = memory_database(&fs);
        fs.fail_nth(op, 1, io::ErrorKind::Other);
        let error = put(&db, id, b"lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{op:?}: {error}");
        assert!(error.may_have_happened());
        // Nothing fails any more, and still nothing is written, nor synced.
        let syncs = fs.counts().syncs;
        let error = kind(put(&db, id, b"refused"), ErrorKind::Poisoned);
        assert!(!error.may_have_happened(), "{error}");
        kind(db.sync(), ErrorKind::Poisoned);
        kind(db.create_or_load(Kind::Multiset, "other", b"").map(drop), ErrorKind::Poisoned);
        assert_eq!(fs.counts().syncs, syncs, "no second sync of the same data");
        let keys = |db: &Db| -> Vec<Vec<u8>> {
            updates(db, id).unwrap().into_iter().map(|update| update.key).collect()
        };
        assert_eq!(keys(&db), [b"before"], "reads go on");
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll] {
            let db = open(&fs.crash(plan), &small_options()).unwrap();
            let found = keys(&db);
            assert!(
                found == [b"before".to_vec()] || found == [b"before".to_vec(), b"lost".to_vec()]
            );
            put(&db, id, b"after").unwrap();
            assert!(keys(&db).contains(&b"after".to_vec()));
        }
    }
}

/// FAULTS 9: what found no space has not happened, to upper, names and contents alike, and can be made again.
#[test]
fn a_commit_that_found_no_space_is_made_again() {
    let fs = MemFs::new();
    let (db, id) = memory_database(&fs);
    let upper = db.collection(id).unwrap().upper;
    let ts = upper.ts().unwrap();
    let attempt = || {
        let mut commit = Commit::new();
        let mut batch = commit.compare_and_append(id, "c", upper, Frontier::at(ts + 1))?;
        batch.push(Update { key: b"again", val: b"", ts, diff: 1 })?;
        batch.finish()?;
        let made = db.reserve_collection_id()?;
        commit.create(made, Kind::Multiset, "made", b"")?;
        db.commit(commit, Durability::Fsync)
    };
    fs.fail_nth(FaultOp::Write, 1, io::ErrorKind::StorageFull);
    assert_eq!(attempt().unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(db.collection(id).unwrap().upper, upper);
    assert_eq!(db.find("made").unwrap_err().kind(), ErrorKind::NotFound);
    attempt().unwrap();
    assert_eq!(db.collection(id).unwrap().upper, Frontier::at(ts + 1));
    assert!(db.find("made").is_ok());
}

/// FAULTS 9: no space; it works again once there is some.
#[test]
fn no_space_is_said_and_survived() {
    let fs = MemFs::new();
    let (db, id) = memory_database(&fs);
    let used: u64 = fs.list(Path::new(DIR)).unwrap().iter().map(|entry| entry.len).sum();
    fs.set_capacity(Some(used + (100 << 10)));
    let mut acknowledged = 1;
    let error = loop {
        match put(&db, id, format!("{acknowledged:0>5000}").as_bytes()) {
            Ok(()) => acknowledged += 1,
            Err(e) => break e,
        }
        assert!(acknowledged < 1000, "the device is small");
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "after {acknowledged}: {error}");
    assert_eq!(updates(&db, id).unwrap().len(), acknowledged, "reads go on");
    fs.set_capacity(None);
    put(&db, id, b"space again").unwrap();
    acknowledged += 1;
    drop(db);
    let db = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    assert_eq!(updates(&db, id).unwrap().len(), acknowledged, "a refused commit did not happen");
    put(&db, id, b"after").unwrap();
    db.flush().unwrap();
}

fn manifest(fs: &MemFs) -> std::path::PathBuf {
    let entries = fs.list(Path::new(DIR)).unwrap();
    let names = entries.iter().map(|entry| entry.name.to_string_lossy());
    Path::new(DIR)
        .join(names.into_iter().find(|name| name.starts_with("MANIFEST")).unwrap().as_ref())
}

#[test]
fn damage_and_newer_formats_are_told_apart() {
    let fs = MemFs::new();
    memory_database(&fs).0.close().unwrap();
    let path = manifest(&fs);
    let content = fs.read_file(&path).unwrap();

    let damaged = fs.kill();
    damaged.flip_bits(&path, 20, 1).unwrap();
    let error = kind(open(&damaged, &small_options()), ErrorKind::Corruption);
    let Error::Corruption { file, .. } = &error else { panic!("{error:?}") };
    assert_eq!(**file, *path);

    let newer = fs.kill();
    let (mut header, _) = ManifestHeader::decode(&content).unwrap();
    header.format_version += 1;
    let bytes = [&header.encode()[..], &content[header.encode().len()..]].concat();
    newer.put_file(&path, &bytes).unwrap();
    let error = kind(open(&newer, &small_options()), ErrorKind::FormatTooNew);
    let Error::FormatTooNew { found, max, .. } = error else { panic!("{error:?}") };
    assert_eq!(found, max + 1);

    // Existing data without what says which data is current is never a new database.
    let orphaned = fs.kill();
    orphaned.remove_file(&path).unwrap();
    kind(open(&orphaned, &small_options()), ErrorKind::Corruption);
}

#[test]
fn a_failing_device_is_an_io_error() {
    let fs = MemFs::new();
    memory_database(&fs).0.close().unwrap();
    for op in [FaultOp::List, FaultOp::Read, FaultOp::Open, FaultOp::Lock] {
        let failing = fs.kill();
        failing.fail_nth(op, 1, io::ErrorKind::PermissionDenied);
        let error = kind(open(&failing, &small_options()), ErrorKind::Io);
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        // The next open, without the fault, has everything.
        let db = open(&failing, &small_options()).unwrap();
        assert_eq!(updates(&db, db.find("c").unwrap().id).unwrap().len(), 1);
    }
}

#[test]
fn an_iterator_keeps_its_error() {
    let fs = MemFs::new();
    let (db, id) = memory_database(&fs);
    db.flush().unwrap();
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::at(1)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.close().unwrap();
    let entries = fs.list(Path::new(DIR)).unwrap();
    let segment = entries.iter().find(|e| e.name.to_string_lossy().ends_with(".seg")).unwrap();
    // The first block lies behind the header.
    fs.flip_bits(Path::new(DIR).join(&segment.name), 70, 0xff).unwrap();
    let db = open(&fs, &small_options()).unwrap();
    let snapshot = db.snapshot(id, 0).unwrap();
    let mut all = snapshot.rows(datestone_engine::read::RangeSpec::ALL);
    for _ in 0..3 {
        assert_eq!(all.next().unwrap_err().kind(), ErrorKind::Corruption);
    }
    let mut all = db.updates(id).unwrap();
    for _ in 0..3 {
        assert_eq!(all.next().unwrap_err().kind(), ErrorKind::Corruption);
    }
    let report = db.verify(VerifyDepth::Full, |_, _| {}).unwrap();
    assert_eq!(report.damage.len(), 1);
}
