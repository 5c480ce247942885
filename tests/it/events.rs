//! What listeners are told, and what they can do wrong.

use datestone::{CompactionReason, Datestone, DbEvent, EventListener, Options};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::{Env, Fault, FaultOp, MemFs, OsClock, OsThreads};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::Frontier;
use datestone_engine::types::Kind;
use datestone_tests::database::{append, collect, open, small_options};
use datestone_tests::model::OwnedUpdate;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A listener, and what it was told.
fn recording() -> (EventListener, Receiver<DbEvent>) {
    let (sender, events) = channel();
    // The receiver may be gone before the database is.
    (EventListener::new(move |event| drop(sender.send(event.clone()))), events)
}

/// Appends `count` rows of some 100 bytes to a collection and advances its upper beyond `ts`.
fn add_rows(db: &Db, name: &str, ts: u64, count: u32) {
    let id = db.create_or_load(Kind::Multiset, name, b"").unwrap().id;
    let row = |n: u32| OwnedUpdate { key: n.to_be_bytes().into(), val: vec![7; 100], ts, diff: 1 };
    append(db, id, name, &(0..count).map(row).collect::<Vec<_>>()).unwrap();
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::just_beyond(ts)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
}

fn names(events: &Receiver<DbEvent>) -> Vec<&'static str> {
    events.try_iter().map(|event| event.name()).collect()
}

#[test]
fn flush_compaction_and_since_are_told_with_their_figures() {
    let (listener, events) = recording();
    let fs = MemFs::new();
    let db = open(&fs, &Options { on_event: Some(listener), ..small_options() }).unwrap();
    for ts in 0..2 {
        add_rows(&db, "c", ts, 100);
        db.flush().unwrap();
    }
    let told: Vec<DbEvent> = events.try_iter().collect();
    assert!(matches!(told[0], DbEvent::FlushStarted { bytes } if bytes > 0), "{told:?}");
    let DbEvent::FlushFinished { bytes, .. } = told[1] else { panic!("{told:?}") };
    assert_eq!(told.len(), 4);
    let segments = db.stats();
    assert!(bytes > 0 && bytes < segments.segment_bytes);
    db.compact(None).unwrap();
    let told: Vec<DbEvent> = events.try_iter().collect();
    let [
        DbEvent::CompactionFinished {
            collection,
            reason,
            inputs,
            input_bytes,
            outputs,
            output_bytes,
            ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((collection.as_str(), *reason), ("c", CompactionReason::Explicit));
    assert_eq!((*inputs, *outputs), (2, 1));
    assert_eq!(*input_bytes, segments.segment_bytes);
    assert_eq!(*output_bytes, db.stats().segment_bytes);
    let id = db.find("c").unwrap().id;
    for (since, told) in [(1, vec!["since_advanced"]), (1, vec![]), (0, vec![])] {
        let mut commit = Commit::new();
        commit.compact_below(id, Frontier::at(since)).unwrap();
        db.commit(commit, Durability::Fsync).unwrap();
        assert_eq!(names(&events), told, "since {since}");
    }
}

#[test]
fn a_wait_for_a_flush_is_told_with_its_reason() {
    let (listener, events) = recording();
    let fs = MemFs::new();
    let db = open(&fs, &Options { on_event: Some(listener), ..small_options() }).unwrap();
    for ts in 0..200 {
        add_rows(&db, "c", ts, 100);
    }
    let stalled = events.try_iter().filter_map(|event| match event {
        DbEvent::Stalled { reason, .. } => Some(reason),
        _ => None,
    });
    let reasons: Vec<_> = stalled.collect();
    assert_eq!(reasons.len() as u64, db.stats().counts.stalls);
    assert!(reasons.contains(&datestone::StallReason::Memtables), "{reasons:?}");
}

#[test]
fn a_failed_flush_is_told_and_tried_again_and_leaves_nothing_behind() {
    let (listener, events) = recording();
    let fs = MemFs::new();
    let db = open(&fs, &Options { on_event: Some(listener), ..small_options() }).unwrap();
    add_rows(&db, "a", 0, 100);
    add_rows(&db, "b", 0, 100);
    let mut failed = 0;
    let mut fails = |fault: Fault| {
        fs.inject(fault.clone());
        let Err(error) = db.flush() else { return false };
        assert_eq!(error.kind(), datestone::ErrorKind::NoSpace, "{fault:?}");
        assert_eq!(names(&events), ["flush_started", "flush_failed"]);
        let listed = datestone_engine::io::Fs::list(&fs, Path::new("/db")).unwrap();
        let left = listed.iter().filter(|entry| entry.name.to_string_lossy().ends_with(".seg"));
        assert_eq!(left.count(), 0, "{fault:?} left a file behind");
        failed += 1;
        true
    };
    assert!(fails(Fault::nth(FaultOp::SyncDir, 1, IoErrorKind::StorageFull)));
    assert!(fails(Fault::nth(FaultOp::Write, 1, IoErrorKind::StorageFull).on("MANIFEST-")));
    // Each change of the segments fails in turn, until the flush passes.
    let nth = |n| Fault::nth(FaultOp::Change, n, IoErrorKind::StorageFull).on("00");
    assert!((1..).any(|n| !fails(nth(n))));
    assert!(failed >= 8, "{failed}");
    fs.clear_faults();
    assert_eq!(names(&events), ["flush_started", "flush_finished"]);
    for name in ["a", "b"] {
        let snapshot = db.snapshot(db.find(name).unwrap().id, 0).unwrap();
        let rows = collect(snapshot.rows(RangeSpec::ALL)).unwrap();
        assert_eq!(rows.len(), 100, "{name}");
    }
}

/// Goal: a thread that runs out of space says so and goes on when there is some. Method: real
/// threads over files in memory.
#[test]
fn a_background_thread_tells_of_its_error_and_recovers() {
    let (listener, events) = recording();
    let fs = MemFs::new();
    let env =
        Env { fs: Arc::new(fs.clone()), clock: Arc::new(OsClock), threads: Arc::new(OsThreads) };
    let options = Options { background_threads: 1, on_event: Some(listener), ..small_options() };
    let db = Db::open(env, Path::new("/db"), options).unwrap();
    add_rows(&db, "c", 0, 10);
    fs.inject(Fault::nth(FaultOp::Create, 1, IoErrorKind::StorageFull).forever().on("00"));
    // The drop of a collection is handed to the threads at once.
    db.drop_collection("none").unwrap();
    db.create_or_load(Kind::Multiset, "dropped", b"").unwrap();
    db.drop_collection("dropped").unwrap();
    let next = || events.recv_timeout(Duration::from_secs(60)).unwrap();
    let error = loop {
        if let DbEvent::BackgroundError { error } = next() {
            break error;
        }
    };
    assert_eq!(error.kind(), datestone::ErrorKind::NoSpace);
    fs.clear_faults();
    while !matches!(next(), DbEvent::FlushFinished { bytes, .. } if bytes > 0) {}
    db.close().unwrap();
}

#[test]
fn a_listener_that_panics_or_uses_the_database_breaks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let handle: Arc<OnceLock<Datestone>> = Arc::default();
    let reached = Arc::clone(&handle);
    let uses = EventListener::new(move |event| {
        let Some(db) = reached.get() else { return };
        // Whatever locks were held would be met here.
        assert!(db.stats().segments < 100);
        if matches!(event, DbEvent::CompactionFinished { .. } | DbEvent::FlushFinished { .. }) {
            db.collection("told").unwrap();
            db.sync().unwrap();
        }
        if matches!(event, DbEvent::CompactionFinished { .. }) {
            db.flush().unwrap();
            db.compact().unwrap();
        }
    });
    let (records, events) = recording();
    let panics = EventListener::new(|_| panic!("a listener's own fault"));
    let on_event = Some(panics.and(uses).and(records));
    let options = Options { background_threads: 0, on_event, ..Options::default() };
    let db = Datestone::open_with(dir.path(), options).unwrap();
    assert!(handle.set(db.clone()).is_ok());
    let set = db.typed::<u64, ()>("set").unwrap();
    for ts in 0..3 {
        set.append([(&ts, &(), ts, 1)]).unwrap();
        set.advance_upper(ts + 1).unwrap();
        db.flush().unwrap();
    }
    set.compact_below(2).unwrap();
    db.compact().unwrap();
    assert_eq!(set.snapshot(2).unwrap().iter().count(), 3);
    let names = names(&events);
    assert!(names.contains(&"compaction_finished") && names.contains(&"since_advanced"));
    db.close().unwrap();
}
