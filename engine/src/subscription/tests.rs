//! Goal: what a subscription delivers does not depend on the sizes of pieces, and its hold stands
//! just below its frontier. Method: one history, delivered with every size.

use super::*;
use crate::commit::Commit;
use crate::config::{Durability, Options};
use crate::io::{Env, MemFs};
use crate::types::Kind;
use std::path::Path;

type Row = (u64, Vec<u8>, i64);

fn database() -> (Db, CollectionId) {
    let options = Options { background_threads: 0, ..Options::default() };
    let fs = MemFs::new();
    let db = Db::open(Env::memory(fs), Path::new("/db"), options).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", &[]).unwrap().id;
    (db, id)
}

fn write(db: &Db, id: CollectionId, rows: &[(u64, u8, i64)], upper: impl Into<Frontier>) {
    let mut commit = Commit::new();
    let mut batch = commit.append(id, "c");
    for (ts, key, diff) in rows {
        batch.push(Update { key: &[*key], val: b"v", ts: *ts, diff: *diff }).unwrap();
    }
    batch.finish().unwrap();
    commit.advance_upper(id, upper.into()).unwrap();
    db.commit(commit, Durability::Buffer).unwrap();
}

/// What is delivered now, and the frontier of the last progress.
fn drain(subscription: &mut Subscription) -> (Vec<Row>, Frontier) {
    let (mut rows, mut frontier) = (Vec::new(), subscription.frontier());
    while let Some(event) = subscription.try_next().unwrap() {
        match event {
            Event::Updates(batch) => {
                assert!(!batch.is_empty());
                rows.extend(batch.iter().map(|u| (u.ts, u.key.to_vec(), u.diff)));
            }
            Event::Progress(reached) => {
                assert!(reached > frontier);
                frontier = reached;
            }
        }
        let at = subscription.hold.as_ref().unwrap().at();
        let frontier = subscription.frontier();
        assert_eq!(at.is_closed(), frontier.is_closed());
        assert!(at.is_closed() || !at.is_beyond(frontier.last_below().unwrap_or(0)));
    }
    (rows, frontier)
}

#[test]
fn the_sizes_of_pieces_make_no_difference() {
    let (db, id) = database();
    // Time 5 alone is larger than most pieces.
    let mut all: Vec<(u64, u8, i64)> = (0..60).map(|n| (5, n, 1)).collect();
    all.extend((0..40).map(|n| (u64::from(n % 7) * 3, 100 + n, 1)));
    write(&db, id, &all, 30);
    let mut expected: Vec<Row> =
        all.iter().map(|(ts, key, diff)| (*ts, vec![*key], *diff)).collect();
    expected.sort();
    for piece in [1, 50, 51, 200, 1000, 2600, 1 << 20] {
        let mut subscription = db.subscribe(id, 0, "test").unwrap();
        subscription.set_piece_bytes(piece);
        assert_eq!(drain(&mut subscription), (expected.clone(), Frontier::at(30)), "{piece}");
        let mut listener = db.listen(id, 5, "test").unwrap();
        listener.set_piece_bytes(piece);
        let beyond: Vec<Row> = expected.iter().filter(|row| row.0 > 5).cloned().collect();
        assert_eq!(drain(&mut listener), (beyond, Frontier::at(30)), "{piece}");
    }
    assert_eq!(db.holds(), []);
}

#[test]
fn a_closed_upper_is_the_end() {
    let (db, id) = database();
    let mut subscription = db.listen(id, 3, "test").unwrap();
    assert_eq!(subscription.next(Some(Duration::ZERO)).unwrap(), None);
    write(&db, id, &[(u64::MAX, 1, 1), (4, 1, 1)], Frontier::CLOSED);
    let expected = vec![(4, vec![1], 1), (u64::MAX, vec![1], 1)];
    assert_eq!(drain(&mut subscription), (expected, Frontier::CLOSED));
    assert_eq!(subscription.next(None).unwrap(), None);
    assert_eq!(db.holds()[0].at, Frontier::CLOSED);
}

#[test]
fn a_drop_and_a_close_are_errors_that_stay() {
    let (db, id) = database();
    let mut listener = db.listen(id, 0, "test").unwrap();
    db.drop_collection("c").unwrap();
    for _ in 0..2 {
        let error = listener.next(None).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    let id = db.create_or_load(Kind::Multiset, "c", &[]).unwrap().id;
    let mut listener = db.listen(id, 0, "test").unwrap();
    db.close().unwrap();
    assert!(matches!(listener.next(None), Err(Error::Closed)));
    assert!(matches!(db.listen(id, 0, "test"), Err(Error::Closed)));
}
