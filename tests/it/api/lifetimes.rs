//! Drops, handles that outlive things, background threads, maintenance.

use super::{append, database, rows, small};
use datestone::{
    Access, Collection, Datestone, ErrorKind, Frontier, Options, Snapshot, VerifyDepth,
};
use datestone_engine::db::Db;
use datestone_engine::io::{Env, JoinHandle, MemFs, OsThreads, Threads};
use datestone_engine::types::Kind;
use std::path::Path;
use std::sync::Arc;

#[test]
fn handles_may_be_sent_and_shared() {
    const fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Datestone>();
    shareable::<Collection<str, u64>>();
    shareable::<Snapshot>();
    shareable::<datestone::Error>();
}

#[test]
fn a_dropped_name_is_free_again_and_its_snapshots_stay() {
    let (dir, db) = database(small());
    let path = dir.path().join("db");
    let old = db.collection("c").unwrap();
    append(&old, &[(b"old", b"", 0, 1)]);
    old.advance_upper(1).unwrap();
    db.flush().unwrap();
    append(&old, &[(b"older", b"", 1, 1)]);
    old.advance_upper(2).unwrap();
    let snapshot = old.snapshot(1).unwrap();
    assert!(db.drop_collection("c").unwrap());
    assert!(!db.drop_collection("c").unwrap());
    let new = db.collection("c").unwrap();
    assert_eq!(new.upper().unwrap(), Frontier::MIN);
    append(&new, &[(b"new", b"", 0, 1)]);
    new.advance_upper(1).unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    assert!(old.snapshot(0).is_err());
    assert_eq!(rows(&snapshot).len(), 2, "the snapshot of the old one");
    assert_eq!(rows(&new.snapshot(0).unwrap()), [(b"new".to_vec(), vec![], 1)]);
    assert_eq!(segment_files(&path), 2, "the snapshot keeps one");
    drop(snapshot);
    assert_eq!(segment_files(&path), 1, "the space of the old one came back");
    drop((old, new));
    db.close().unwrap();
    let db = Datestone::open_with(&path, small()).unwrap();
    let c = db.collection("c").unwrap();
    assert_eq!(rows(&c.snapshot(0).unwrap()), [(b"new".to_vec(), vec![], 1)]);
}

fn segment_files(path: &Path) -> usize {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".seg")).count()
}

/// Loads `count` rows, all at one time that stays open, in commits of 500.
fn load(c: &Collection, count: u64, ts: u64) {
    for batch in (0..count).collect::<Vec<_>>().chunks(500) {
        let keys: Vec<_> =
            batch.iter().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
        let val = [b'v'; 100];
        c.append(keys.iter().map(|key| (&key[..], &val[..], ts, 1))).unwrap();
    }
}

/// Many memtables full of updates of one time that is not complete are readable once it is.
#[test]
fn a_load_at_one_open_time_reads_right_afterwards() {
    for threads in [0, 1] {
        let (_dir, db) = database(Options { background_threads: threads, ..small() });
        let c = db.collection("c").unwrap();
        let count = 20_000;
        load(&c, count, 5);
        assert!(db.stats().counts.flushes > 10, "{:?}", db.stats());
        append(&c, &[(b"retracted", b"", 4, 1), (b"retracted", b"", 6, -1)]);
        c.advance_upper(5).unwrap();
        assert_eq!(c.latest().unwrap().count().unwrap(), 1);
        c.advance_upper(7).unwrap();
        for round in 0..2 {
            assert_eq!(c.snapshot(3).unwrap().count().unwrap(), 0, "round {round}");
            assert_eq!(c.snapshot(5).unwrap().count().unwrap(), count + 1, "round {round}");
            let snapshot = c.snapshot(6).unwrap();
            assert_eq!(snapshot.count().unwrap(), count, "round {round}");
            for n in (0..count).step_by(997) {
                let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                assert!(snapshot.contains(&key).unwrap(), "{n}");
            }
            db.compact().unwrap();
        }
        assert!(db.verify(VerifyDepth::Full, |_, _| {}).unwrap().is_clean());
    }
}

/// With no threads the caller's steps do all the work, and come to an end.
#[test]
fn without_threads_the_caller_maintains() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    for ts in 0..40 {
        load(&c, 500, ts);
        c.advance_upper(ts + 1).unwrap();
        let mut steps = 0;
        while db.maintain().unwrap() {
            steps += 1;
            assert!(steps < 1000, "maintenance ends");
        }
    }
    let stats = db.stats();
    assert_eq!(stats.frozen_memtables, 0);
    assert!(stats.counts.compactions > 0, "{stats:?}");
    assert!(c.info().unwrap().runs < 20, "{:?}", c.info());
    assert!(stats.wal_files <= 6, "flushed log files are used again: {stats:?}");
    for as_of in [0, 17, 39] {
        let snapshot = c.snapshot(as_of).unwrap();
        assert_eq!(snapshot.count().unwrap(), 500);
        assert!(snapshot.iter().all(|row| row.unwrap().diff == as_of as i64 + 1));
    }
}

/// With a thread it all happens by itself: memory stays bounded, and closing waits for nothing lost.
#[test]
fn with_a_thread_maintenance_happens() {
    let (dir, db) = database(Options { background_threads: 1, ..small() });
    let c = db.collection("c").unwrap();
    for ts in 0..60 {
        load(&c, 500, ts);
        c.advance_upper(ts + 1).unwrap();
        assert!(db.stats().frozen_memtables <= 4, "{:?}", db.stats());
    }
    assert!(db.stats().counts.flushes > 30, "{:?}", db.stats());
    drop(c);
    db.close().unwrap();
    let db = Datestone::open(dir.path().join("db")).unwrap();
    let c = db.collection("c").unwrap();
    assert!(c.latest().unwrap().iter().all(|row| row.unwrap().diff == 60));
}

/// A collection in which nothing can be forgotten is not rewritten when since is raised.
#[test]
fn compact_below_without_garbage_rewrites_nothing() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    for ts in 0..20u64 {
        let keys: Vec<_> = (0..500u64).map(|n| (ts * 500 + n).to_be_bytes()).collect();
        c.append(keys.iter().map(|key| (&key[..], &b"value"[..], ts, 1))).unwrap();
        c.advance_upper(ts + 1).unwrap();
        db.flush().unwrap();
    }
    db.compact().unwrap();
    let written = db.stats().counts.compaction_write_bytes;
    assert!(written > 0);
    for since in [5, 10, 19] {
        c.compact_below(since).unwrap();
        while db.maintain().unwrap() {}
        c.compact().unwrap();
        assert_eq!(c.info().unwrap().garbage_updates, 0);
        assert_eq!(db.stats().counts.compaction_write_bytes, written, "since {since}");
    }
    assert_eq!(c.latest().unwrap().count().unwrap(), 10_000);

    // What can be forgotten is, by itself.
    append(&c, &[(b"k", b"", 20, 1)]);
    for n in (0..5000u64).map(u64::to_be_bytes) {
        append(&c, &[(&n, b"value", 20, -1)]);
    }
    c.advance_upper(21).unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    c.compact_below(20).unwrap();
    while db.maintain().unwrap() {}
    db.compact().unwrap();
    assert_eq!(c.info().unwrap().updates, 5001);
}

#[test]
fn nothing_to_do_does_nothing() {
    let (dir, db) = database(small());
    for _ in 0..3 {
        db.flush().unwrap();
        db.compact().unwrap();
        db.sync().unwrap();
        assert!(!db.maintain().unwrap());
    }
    let stats = db.stats();
    assert_eq!((stats.counts.flushes, stats.segments, stats.last_seqno), (0, 0, 0));
    db.close().unwrap();
    // Opening and closing again and again does not make the directory grow.
    let path = dir.path().join("db");
    let len = |path: &Path| -> u64 {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    for _ in 0..3 {
        Datestone::open_with(&path, small()).unwrap().close().unwrap();
    }
    let before = len(&path);
    for _ in 0..20 {
        Datestone::open_with(&path, small()).unwrap().close().unwrap();
    }
    assert!(len(&path) <= before + (128 << 10), "{before} grew to {}", len(&path));
}

/// Threads whose work goes well and who are said to have panicked.
#[derive(Debug)]
struct Doomed;

struct DoomedHandle(Box<dyn JoinHandle>);

impl Threads for Doomed {
    fn spawn(
        &self,
        name: &str,
        work: Box<dyn FnOnce() + Send + 'static>,
    ) -> std::io::Result<Box<dyn JoinHandle>> {
        Ok(Box::new(DoomedHandle(OsThreads.spawn(name, work)?)))
    }
}

impl JoinHandle for DoomedHandle {
    fn join(self: Box<Self>) -> std::thread::Result<()> {
        self.0.join().and(Err(Box::new("on purpose")))
    }
}

/// A close gave up when a background thread had panicked: the lock was kept.
#[test]
fn a_close_after_a_panic_gives_the_lock_back() {
    let fs = MemFs::new();
    let env = || Env { threads: Arc::new(Doomed), ..Env::memory(fs.clone()) };
    let options = Options { background_threads: 2, ..Options::default() };
    let open = || Db::open(env(), Path::new("/db"), options.clone());
    let db = open().unwrap();
    db.create_or_load(Kind::Multiset, "c", b"").unwrap();
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Internal);
    assert!(open().unwrap().find("c").is_ok());
}

/// Goal: nobody but the owner reads what a database creates, wherever, unless that was asked for.
#[cfg(unix)]
#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn modes(dir: &std::path::Path, found: &mut Vec<(u32, bool)>) {
        let mode = std::fs::metadata(dir).unwrap().permissions().mode() & 0o777;
        found.push((mode, true));
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            match metadata.is_dir() {
                true => modes(&entry.path(), found),
                false => found.push((metadata.permissions().mode() & 0o777, false)),
            }
        }
    }
    for access in [Access::Owner, Access::Group] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let db = Datestone::open_with(at("db"), Options { access, ..Options::default() }).unwrap();
        db.table("users").unwrap().put(b"alice", b"owner").unwrap();
        db.flush().unwrap();
        db.checkpoint(at("checkpoint")).unwrap();
        db.backup(at("backups")).unwrap();
        db.close().unwrap();
        let mut found = Vec::new();
        for name in ["db", "checkpoint", "backups"] {
            modes(&at(name), &mut found);
        }
        assert!(found.len() > 10, "{found:?}");
        for (mode, is_dir) in found {
            let wanted = if is_dir { access.dir_mode() } else { access.file_mode() };
            assert_eq!(mode & !wanted, 0, "{mode:o}, not {wanted:o}");
        }
    }
}
