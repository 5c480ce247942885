//! What the database keeps about its users survives restarts: durable holds and tokens of commits.

use datestone::{Datestone, ErrorKind, Frontier};
use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Retention};
use datestone_engine::db::Db;
use datestone_engine::error::Result;
use datestone_engine::io::{CrashPlan, FaultOp, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::subscription::Event;
use datestone_engine::types::{CollectionId, Kind, Update};
use datestone_tests::database::{collect, open, small_options};

fn setting() -> (MemFs, Db, CollectionId) {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::at(20)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    (fs, db, id)
}

fn compact_below(db: &Db, id: CollectionId, since: u64) -> Frontier {
    let mut commit = Commit::new();
    commit.compact_below(id, Frontier::at(since)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.collection(id).unwrap().since
}

#[test]
fn durable_holds_hold_over_crashes_until_they_are_released() {
    let (mut fs, mut db, id) = setting();
    db.take_hold("report", id, 5, "a report").unwrap();
    for flush in [false, true] {
        if flush {
            db.flush().unwrap();
        }
        assert_eq!(compact_below(&db, id, 9), Frontier::at(5));
        fs = fs.crash(CrashPlan::LoseUnsynced);
        db = open(&fs, &small_options()).unwrap();
        assert_eq!(compact_below(&db, id, 9), Frontier::at(5));
        assert!(db.snapshot(id, 5).is_ok());
    }
    let taken = db.take_hold("report", id, 0, "again").unwrap();
    assert_eq!((taken.epoch, taken.at), (2, Frontier::at(5)));
    assert_eq!(db.loosen_hold("report", 1, None).unwrap_err().kind(), ErrorKind::Fenced);
    db.loosen_hold("report", 2, Some(Frontier::at(7))).unwrap();
    db.loosen_hold("report", 2, Some(Frontier::at(6))).unwrap();
    // What was held back takes effect by itself.
    while db.step().unwrap() {}
    assert_eq!(db.collection(id).unwrap().since, Frontier::at(7));
    let early = db.take_hold("early", id, 3, "too late").unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Compacted);
    assert_eq!(db.truncate_at(id, 7, true).unwrap_err().kind(), ErrorKind::Invalid);
    db.loosen_hold("report", 2, None).unwrap();
    assert_eq!(db.loosen_hold("report", 2, None).unwrap_err().kind(), ErrorKind::NotFound);
    db = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    assert!(db.durable_holds().unwrap().is_empty());
    assert_eq!(compact_below(&db, id, 9), Frontier::at(9));
}

#[test]
fn a_hold_is_on_one_collection_and_outlives_it() {
    let (fs, db, id) = setting();
    let other = db.create_or_load(Kind::Multiset, "other", b"").unwrap().id;
    db.take_hold("h", id, 5, "x").unwrap();
    assert_eq!(db.take_hold("h", other, 5, "x").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(db.take_hold("", id, 5, "x").unwrap_err().kind(), ErrorKind::Invalid);
    db.drop_collection("c").unwrap();
    let db = open(&fs.crash(CrashPlan::KeepAll), &small_options()).unwrap();
    assert_eq!(db.durable_holds().unwrap().len(), 1);
    db.loosen_hold("h", 1, None).unwrap();
}

/// Wherever the power is cut, trying again with the same token makes the commit once.
#[test]
fn a_commit_with_a_token_is_made_once_whatever_happens() {
    let load = |db: &Db, id: CollectionId, token: &[u8]| -> Result<bool> {
        let mut commit = Commit::new();
        let mut batch = commit.append(id, "c");
        batch.push(Update { key: token, val: b"", ts: 20, diff: 1 })?;
        batch.finish()?;
        db.commit_once(commit, "loader", token, Durability::Fsync).map(|(_, repeated)| repeated)
    };
    for cut in 0.. {
        let (fs, db, id) = setting();
        assert!(!load(&db, id, b"first").unwrap());
        fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = load(&db, id, b"second");
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(cut)] {
            let db = open(&fs.crash(plan), &small_options()).unwrap();
            let repeated = load(&db, id, b"second").unwrap();
            assert!(repeated || done.is_err(), "cut {cut}, {plan:?}: a commit was lost");
            assert!(load(&db, id, b"second").unwrap());
            let mut commit = Commit::new();
            commit.advance_upper(id, Frontier::at(21)).unwrap();
            db.commit(commit, Durability::Fsync).unwrap();
            let rows = collect(db.latest(id).unwrap().rows(RangeSpec::ALL)).unwrap();
            let row = |key: &[u8]| (key.to_vec(), Vec::new(), 1);
            assert_eq!(rows, [row(b"first"), row(b"second")], "cut {cut}, {plan:?}");
        }
        if done.is_ok() {
            assert!(cut > 1);
            break;
        }
    }
}

/// What a policy lets go of is forgotten when memory is flushed, over crashes too; holds come first.
#[test]
fn retention_raises_since_as_far_as_holds_allow() {
    let (mut fs, mut db, id) = setting();
    let since = |db: &Db| db.collection(id).unwrap().since;
    let advance = |db: &Db, upper: u64| {
        let mut commit = Commit::new();
        commit.advance_upper(id, Frontier::at(upper)).unwrap();
        db.commit(commit, Durability::Fsync).unwrap();
        db.flush().unwrap();
        while db.step().unwrap() {}
    };
    db.take_hold("report", id, 5, "a report").unwrap();
    db.set_retention(id, Retention::Behind(3)).unwrap();
    while db.step().unwrap() {}
    assert_eq!(since(&db), Frontier::at(5));
    db.loosen_hold("report", 1, None).unwrap();
    while db.step().unwrap() {}
    assert_eq!(since(&db), Frontier::at(16));
    for upper in [30, 40] {
        fs = fs.crash(CrashPlan::LoseUnsynced);
        db = open(&fs, &small_options()).unwrap();
        assert_eq!(db.retention(id).unwrap(), Retention::Behind(3));
        advance(&db, upper);
        assert_eq!(since(&db), Frontier::at(upper - 4));
    }
    // Everything is kept, whoever asks, until somebody else is told.
    db.set_retention(id, Retention::Everything).unwrap();
    db = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    assert_eq!(compact_below(&db, id, 39), Frontier::at(36));
    advance(&db, 50);
    assert_eq!(since(&db), Frontier::at(36));
    db.set_retention(id, Retention::Latest).unwrap();
    while db.step().unwrap() {}
    assert_eq!(since(&db), Frontier::at(49));
    db.set_retention(id, Retention::Manual).unwrap();
    advance(&db, 60);
    assert_eq!(since(&db), Frontier::at(49));
    assert_eq!(db.retention(id).unwrap(), Retention::Manual);
    let log = db.create_or_load(Kind::Log, "log", b"").unwrap().id;
    assert_eq!(db.set_retention(log, Retention::Latest).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Goal: a consumer that acknowledges in the commits that it writes has each update take effect exactly
/// once, wherever the power is cut. Method: it copies what it sees; each change of the file system
/// fails for ever, then the power goes and the consumer goes on.
#[test]
fn a_durable_subscription_goes_on_where_it_was_acknowledged() {
    // Copies the updates of one event and what was delivered; whether there may be more.
    let consume = |db: &Db, id: CollectionId, copy: CollectionId| -> Result<()> {
        let stored = db.take_subscription("copier", id, 2, "copies")?;
        let mut news = db.resume(&stored)?;
        news.set_piece_bytes(1);
        let mut seen = Vec::new();
        while let Some(event) = news.try_next()? {
            match event {
                Event::Updates(updates) => {
                    seen.extend(updates.iter().map(|u| (u.key.to_vec(), u.ts)));
                }
                Event::Progress(frontier) => {
                    let mut commit = Commit::new();
                    let mut batch = commit.append(copy, "copy");
                    for (key, ts) in seen.drain(..) {
                        batch.push(Update { key: &key, val: b"", ts, diff: 1 })?;
                    }
                    batch.finish()?;
                    let (name, epoch) = (&stored.name, stored.epoch);
                    let loosened = db.acknowledge_in(&mut commit, name, epoch, frontier)?;
                    db.commit(commit, Durability::Fsync)?;
                    db.loosened(&loosened)?;
                }
            }
        }
        Ok(())
    };
    let prepared = || {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
        let copy = db.create_or_load(Kind::Multiset, "copy", b"").unwrap().id;
        let mut commit = Commit::new();
        let mut batch = commit.append(id, "c");
        for ts in 0..7_u64 {
            batch.push(Update { key: &ts.to_be_bytes(), val: b"", ts, diff: 1 }).unwrap();
        }
        batch.finish().unwrap();
        commit.advance_upper(id, Frontier::at(7)).unwrap();
        db.commit(commit, Durability::Fsync).unwrap();
        db.take_subscription("copier", id, 2, "copies").unwrap();
        (fs, db, id, copy)
    };
    for cut in 0.. {
        let (fs, db, id, copy) = prepared();
        fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = consume(&db, id, copy);
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(cut)] {
            let db = open(&fs.crash(plan), &small_options()).unwrap();
            // Since waits for what was not acknowledged.
            compact_below(&db, id, 6);
            consume(&db, id, copy).unwrap();
            let mut commit = Commit::new();
            commit.advance_upper(copy, Frontier::at(7)).unwrap();
            db.commit(commit, Durability::Fsync).unwrap();
            let rows = collect(db.latest(copy).unwrap().rows(RangeSpec::ALL)).unwrap();
            let wanted = (0..7_u64).map(|n| (n.to_be_bytes().to_vec(), Vec::new(), 1));
            assert!(rows.into_iter().eq(wanted), "cut {cut}, {plan:?}");
            let stored = db.durable_subscriptions().unwrap();
            assert_eq!(stored[0].frontier, Frontier::at(7));
            // It holds the time before: what comes next is yet to be told from it.
            assert_eq!(compact_below(&db, id, 7), Frontier::at(6));
            let fenced = db.acknowledge("copier", stored[0].epoch - 1, None).unwrap_err();
            assert_eq!(fenced.kind(), ErrorKind::Fenced);
            db.acknowledge("copier", stored[0].epoch, None).unwrap();
            assert_eq!(compact_below(&db, id, 7), Frontier::at(7));
        }
        if done.is_ok() {
            assert!(cut > 8, "{cut} cuts");
            break;
        }
    }
}

/// A subscription was stored that could not begin, and held what nobody asked to keep.
#[test]
fn a_subscription_that_cannot_begin_is_not_stored() {
    let (_, db, id) = setting();
    assert_eq!(compact_below(&db, id, 5), Frontier::at(5));
    for (start, refused) in [(4, ErrorKind::Compacted), (20, ErrorKind::NotYet)] {
        let error = db.take_subscription("s", id, start, "somebody").unwrap_err();
        assert_eq!(error.kind(), refused);
        assert!(db.durable_subscriptions().unwrap().is_empty() && db.holds().is_empty());
    }
    assert_eq!(db.take_subscription("s", id, 19, "somebody").unwrap().epoch, 1);
}

/// Goal: since when somebody holds is known over restarts, successors and acknowledgements.
#[test]
fn a_durable_hold_says_since_when() {
    let (mut fs, mut db, id) = setting();
    let before = db.stats().last_seqno;
    db.take_hold("report", id, 5, "a report").unwrap();
    db.take_subscription("s", id, 6, "a copy").unwrap();
    let since_when = |db: &Db| db.holds().into_iter().map(|hold| hold.seqno.0).collect::<Vec<_>>();
    let first = since_when(&db);
    assert!(first[0] >= before && first[1] > first[0], "{first:?}");
    for _ in 0..2 {
        compact_below(&db, id, 4);
        fs = fs.crash(CrashPlan::LoseUnsynced);
        db = open(&fs, &small_options()).unwrap();
        assert_eq!(since_when(&db), first);
    }
    let epoch = db.take_hold("report", id, 0, "its successor").unwrap().epoch;
    db.loosen_hold("report", epoch, Some(Frontier::at(7))).unwrap();
    let epoch = db.take_subscription("s", id, 0, "its successor").unwrap().epoch;
    db.acknowledge("s", epoch, Some(Frontier::at(9))).unwrap();
    db = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    assert_eq!(since_when(&db), first);
}

#[test]
fn the_books_are_not_among_the_collections() {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open(dir.path()).unwrap();
    let words = db.collection("words").unwrap();
    db.durable_hold("h", &words, 1, "x").unwrap();
    let names: Vec<_> = db.collections().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["words"]);
    for refused in [
        db.collection("$datestone").map(drop),
        db.commit().create("$mine", b"").run().map(drop),
        db.drop_collection("$datestone").map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
