//! Holds keep history from being forgotten; what they held back takes effect, durably, when they let
//! go.

use super::work_off;
use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::ErrorKind;
use datestone_engine::io::{CrashPlan, MemFs};
use datestone_engine::types::{CollectionId, Frontier, Kind};
use datestone_tests::database::{append, open, small_options, updates};
use datestone_tests::model::OwnedUpdate;

fn row(ts: u64, diff: i64) -> OwnedUpdate {
    OwnedUpdate { key: b"k".to_vec(), val: b"v".to_vec(), ts, diff }
}

/// A database with an update at each time from 0 to 9, all of them complete.
fn database(fs: &MemFs, options: &Options) -> (Db, CollectionId) {
    let db = open(fs, options).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", &[]).unwrap().id;
    append(&db, id, "c", &(0..10).map(|ts| row(ts, 1)).collect::<Vec<_>>()).unwrap();
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::at(10)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    (db, id)
}

fn compact_below(db: &Db, id: CollectionId, ts: u64) -> Frontier {
    let mut commit = Commit::new();
    commit.compact_below(id, Frontier::at(ts)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.collection(id).unwrap().since
}

/// Goal: the least hold decides; a commit does the rest when it lets go. Method: no threads, so the
/// next commit it is.
#[test]
fn a_hold_keeps_since_and_a_commit_after_it_raises_it() {
    let fs = MemFs::new();
    let (db, id) = database(&fs, &small_options());
    let mut hold = db.hold(id, 3, "a report").unwrap();
    let other = db.hold(id, 5, "another").unwrap();
    assert_eq!(compact_below(&db, id, 8), Frontier::at(3));
    assert_eq!(db.requested_since(id).unwrap(), Frontier::at(8));
    assert_eq!(db.hold(id, 2, "late").unwrap_err().kind(), ErrorKind::Compacted);
    // Merges act on what is in effect.
    db.compact(None).unwrap();
    assert_eq!(updates(&db, id).unwrap().first(), Some(&row(3, 4)));
    hold.downgrade(Frontier::at(4));
    append(&db, id, "c", &[row(12, 1)]).unwrap();
    assert_eq!(db.collection(id).unwrap().since, Frontier::at(4));
    drop(hold);
    assert!(db.step().unwrap());
    assert_eq!(db.collection(id).unwrap().since, Frontier::at(5));
    drop(other);
    work_off(&db);
    assert_eq!(db.collection(id).unwrap().since, Frontier::at(8));
    assert_eq!(db.requested_since(id).unwrap(), Frontier::at(8));
    db.compact(None).unwrap();
    assert_eq!(updates(&db, id).unwrap().first(), Some(&row(8, 9)));
}

/// Goal: what was held back is not on disk, so that a restart forgets no more than was in effect;
/// what has taken effect is. Method: kill without a close, with and without a flush before.
#[test]
fn a_restart_forgets_no_more_than_was_in_effect() {
    for flush in [false, true] {
        let fs = MemFs::new();
        let (db, id) = database(&fs, &small_options());
        let hold = db.hold(id, 3, "a report").unwrap();
        assert_eq!(compact_below(&db, id, 8), Frontier::at(3));
        if flush {
            db.flush().unwrap();
        }
        let killed = open(&fs.crash(CrashPlan::Random(1)), &small_options()).unwrap();
        assert_eq!(killed.collection(id).unwrap().since, Frontier::at(3), "flush {flush}");
        assert_eq!(killed.snapshot(id, 3).unwrap().split(1).unwrap().len(), 1);
        drop(hold);
        // Compaction raises it before it acts on it.
        db.compact(None).unwrap();
        let killed = open(&fs.crash(CrashPlan::Random(2)), &small_options()).unwrap();
        assert_eq!(killed.collection(id).unwrap().since, Frontier::at(8), "flush {flush}");
    }
}

/// With background threads the release itself sees to it; nobody else has to do anything.
#[test]
fn a_release_takes_effect_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let db = datestone::Datestone::open(dir.path()).unwrap();
    let c = db.collection("c").unwrap();
    c.advance_upper(10).unwrap();
    let hold = c.hold(3, "a report").unwrap();
    assert_eq!(c.compact_below(8).unwrap(), Frontier::at(3));
    drop(hold);
    // Since 8 refuses to wait for 5; until it is in effect 5 can be read.
    while c.since().unwrap() != Frontier::at(8) {
        std::thread::yield_now();
    }
    assert_eq!(c.snapshot(5).unwrap_err().kind(), ErrorKind::Compacted);
}

/// A commit that is refused has asked for nothing.
#[test]
fn a_refused_request_is_not_remembered() {
    let (db, id) = database(&MemFs::new(), &small_options());
    let hold = db.hold(id, 3, "a report").unwrap();
    let mut commit = Commit::new();
    commit.compact_below(id, Frontier::at(7)).unwrap();
    let stale = Frontier::at(2);
    commit.compare_and_append(id, "c", stale, Frontier::at(20)).unwrap().finish().unwrap();
    let refused = db.commit(commit, Durability::Fsync).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UpperMismatch);
    assert_eq!(db.requested_since(id).unwrap(), Frontier::MIN);
    drop(hold);
    work_off(&db);
    assert_eq!(db.collection(id).unwrap().since, Frontier::MIN);
}

/// One commit that asks for several collections, and creates and appends besides, is limited where
/// there is a hold, and logged as a whole.
#[test]
fn a_commit_is_limited_collection_by_collection() {
    let fs = MemFs::new();
    let (db, id) = database(&fs, &small_options());
    let other = db.create_or_load(Kind::Multiset, "other", &[]).unwrap().id;
    let _hold = db.hold(id, 3, "a report").unwrap();
    let mut commit = Commit::new();
    commit.compact_below(other, Frontier::at(9)).unwrap();
    commit.create(db.reserve_collection_id().unwrap(), Kind::Multiset, "third", b"meta").unwrap();
    commit.compact_below(id, Frontier::at(7)).unwrap();
    let mut batch = commit.append(id, "c");
    batch.push(datestone::Update { key: b"x", val: b"y", ts: 20, diff: 2 }).unwrap();
    batch.finish().unwrap();
    commit.set_meta(other, b"more").unwrap();
    commit.advance_upper(id, Frontier::at(21)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    for db in [db.clone(), open(&fs.crash(CrashPlan::Random(3)), &small_options()).unwrap()] {
        let since = |id| db.collection(id).unwrap().since;
        assert_eq!((since(id), since(other)), (Frontier::at(3), Frontier::at(9)));
        assert_eq!(db.find("third").unwrap().meta.as_ref(), b"meta");
        assert_eq!(db.find("other").unwrap().meta.as_ref(), b"more");
        assert_eq!(db.collection(id).unwrap().upper, Frontier::at(21));
        assert_eq!(updates(&db, id).unwrap().last().unwrap().ts, 20);
    }
}
