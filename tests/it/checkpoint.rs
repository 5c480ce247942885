//! Checkpoints hold whole commits, and a power cut leaves the source as it was and the target as a
//! database or as none.

use datestone::{Datestone, ErrorKind, Kind, Options, VerifyDepth};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::{CrashPlan, Env, FaultOp, MemFs};
use datestone_engine::limits;
use datestone_engine::read::RangeSpec;
use datestone_engine::types::Update;
use datestone_tests::database::{collect, open, small_options};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn small(threads: usize) -> Options {
    Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        background_threads: threads,
        durability: Durability::Buffer,
        ..Options::default()
    }
}

/// Commits to two tables and a log, always alike, while checkpoints are taken and merges go on.
#[test]
fn checkpoints_hold_whole_commits_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open_with(dir.path().join("db"), small(1)).unwrap();
    let (a, b) =
        (db.typed_table::<u64, u64>("a").unwrap(), db.typed_table::<u64, u64>("b").unwrap());
    let log = db.log("log").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = n % 50;
                db.commit().put(&a, &key, &n).put(&b, &key, &n).run().unwrap();
                if n % 64 == 0 {
                    log.append(&n.to_be_bytes()).unwrap();
                    a.compact_below(a.latest().unwrap().as_of()).unwrap();
                }
                n += 1;
            }
        });
        let mut last = 0;
        for n in 0..12 {
            let path = dir.path().join(format!("checkpoint-{n}"));
            let made = db.checkpoint(&path).unwrap();
            assert!(made.seqno >= last);
            last = made.seqno;
            let copy = Datestone::open_with(&path, small(0)).unwrap();
            assert!(copy.verify(VerifyDepth::Full, |_, _| {}).unwrap().is_clean());
            let rows = |name: &str| {
                let table = copy.typed_table::<u64, u64>(name).unwrap().latest().unwrap();
                table.iter().map(|row| row.unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(rows("a"), rows("b"), "checkpoint {n}");
            for (name, upper) in made.uppers {
                assert_eq!(copy.find(&name).unwrap().upper().unwrap(), upper, "{name}");
            }
            // It goes on by itself.
            copy.table("own").unwrap().put(b"k", b"v").unwrap();
            copy.compact().unwrap();
            copy.close().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    db.compact().unwrap();
    let kept = Datestone::open_with(dir.path().join("checkpoint-0"), small(0)).unwrap();
    assert!(kept.verify(VerifyDepth::Full, |_, _| {}).unwrap().is_clean());
}

#[test]
fn a_checkpoint_goes_nowhere_where_something_is() {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open_with(dir.path().join("db"), small(0)).unwrap();
    let (empty, taken) = (dir.path().join("empty"), dir.path().join("taken"));
    db.checkpoint(&empty).unwrap();
    assert_eq!(db.checkpoint(&empty).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(db.checkpoint(dir.path().join("db")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    std::fs::create_dir(&taken).unwrap();
    db.table("t").unwrap().put(b"k", b"v").unwrap();
    db.checkpoint(&taken).unwrap();
    let copy = Datestone::open_with(&taken, small(0)).unwrap();
    assert_eq!(copy.collections().iter().map(|c| c.kind).collect::<Vec<_>>(), [Kind::ClockTable]);
    assert!(Datestone::open_with(&empty, small(0)).unwrap().collections().is_empty());
}

#[test]
fn a_power_cut_leaves_the_source_and_a_whole_checkpoint_or_none() {
    const TARGET: &str = "/checkpoint";
    let prepared = || {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
        for ts in 0..8_u64 {
            let mut commit = Commit::new();
            let mut batch = commit.append(id, "c");
            for n in 0..40_u8 {
                batch.push(Update { key: &[n], val: &[7; 100], ts, diff: 1 }).unwrap();
            }
            batch.finish().unwrap();
            commit.advance_upper(id, (ts + 1).into()).unwrap();
            db.commit(commit, Durability::Fsync).unwrap();
            if ts % 3 == 2 {
                db.flush().unwrap();
            }
        }
        (fs, db)
    };
    let state = |db: &Db| {
        let id = db.find("c").unwrap().id;
        collect(db.latest(id).unwrap().rows(RangeSpec::ALL)).unwrap()
    };
    let (fs, db) = prepared();
    let wanted = state(&db);
    drop((fs, db));
    let (mut whole, mut none) = (0, 0);
    for cut in 0.. {
        let (fs, db) = prepared();
        fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = db.checkpoint(Path::new(TARGET));
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(cut)] {
            let after = fs.crash(plan);
            let source = open(&after, &small_options()).unwrap();
            assert_eq!(state(&source), wanted, "source, cut {cut}, {plan:?}");
            let options = Options { create_if_missing: false, ..small_options() };
            match Db::open(Env::memory(after), Path::new(TARGET), options) {
                Ok(target) => {
                    assert_eq!(state(&target), wanted, "target, cut {cut}, {plan:?}");
                    whole += 1;
                }
                Err(e) => {
                    assert!(matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corruption), "{e}");
                    assert!(done.is_err(), "a checkpoint that was made is gone: cut {cut}, {e}");
                    none += 1;
                }
            }
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(whole >= 3 && none > 10, "{whole} whole, {none} none");
}
