//! The rules of since and upper.

use super::{append, database, rows, small};
use datestone::{Datestone, ErrorKind, Frontier};

const NONE: [(&[u8], &[u8], u64, i64); 0] = [];

#[test]
fn frontiers_never_go_back_and_moving_them_twice_is_moving_them_once() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    assert_eq!((c.since().unwrap(), c.upper().unwrap()), (Frontier::MIN, Frontier::MIN));
    for upper in [5, 5, 3, 0] {
        c.advance_upper(upper).unwrap();
        assert_eq!(c.upper().unwrap(), Frontier::at(5));
    }
    for since in [2, 2, 1, 0] {
        assert_eq!(c.compact_below(since).unwrap(), Frontier::at(2));
        assert_eq!(c.since().unwrap(), Frontier::at(2));
    }
    c.compare_and_append(NONE, 5, 5).unwrap();
    c.advance_upper(Frontier::CLOSED).unwrap();
    c.advance_upper(7).unwrap();
    assert_eq!(c.upper().unwrap(), Frontier::CLOSED);
    assert_eq!(c.compact_below(Frontier::CLOSED).unwrap(), Frontier::CLOSED);
    assert_eq!(c.snapshot(u64::MAX).unwrap_err().kind(), ErrorKind::Compacted);
}

#[test]
fn since_may_pass_upper() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"a", b"", 1, 1), (b"b", b"", 6, 1), (b"a", b"", 9, 1), (b"b", b"", 20, -1)]);
    c.advance_upper(5).unwrap();
    assert_eq!(c.compact_below(10).unwrap(), Frontier::at(10));
    assert_eq!(c.snapshot(4).unwrap_err().kind(), ErrorKind::Compacted);
    assert_eq!(c.latest().unwrap_err().kind(), ErrorKind::Compacted);
    db.flush().unwrap();
    db.compact().unwrap();
    // Writing between upper and since is legal: those times are told apart from since no more.
    append(&c, &[(b"c", b"", 5, 1)]);
    c.advance_upper(11).unwrap();
    let at = |as_of| rows(&c.snapshot(as_of).unwrap());
    let row = |key: &str, diff| (key.as_bytes().to_vec(), vec![], diff);
    assert_eq!(at(10), [row("a", 2), row("b", 1), row("c", 1)]);
    c.advance_upper(21).unwrap();
    db.compact().unwrap();
    assert_eq!(at(10), [row("a", 2), row("b", 1), row("c", 1)]);
    assert_eq!(at(20), [row("a", 2), row("c", 1)]);
}

#[test]
fn updates_ahead_of_upper_are_durable_at_once_and_readable_later() {
    let (dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"now", b"", 0, 1), (b"later", b"", 100, 1), (b"last", b"", u64::MAX, 1)]);
    c.advance_upper(1).unwrap();
    assert_eq!(c.latest().unwrap().count().unwrap(), 1);
    db.flush().unwrap();
    assert_eq!(c.latest().unwrap().count().unwrap(), 1);
    drop(c);
    db.close().unwrap();
    let db = Datestone::open_with(dir.path().join("db"), small()).unwrap();
    let c = db.collection("c").unwrap();
    assert_eq!(c.latest().unwrap().count().unwrap(), 1);
    c.advance_upper(101).unwrap();
    assert_eq!(c.snapshot(99).unwrap().count().unwrap(), 1);
    assert_eq!(c.snapshot(100).unwrap().count().unwrap(), 2);
    c.advance_upper(Frontier::CLOSED).unwrap();
    assert_eq!(c.snapshot(u64::MAX - 1).unwrap().count().unwrap(), 2);
    assert_eq!(c.latest().unwrap().as_of(), u64::MAX);
    db.compact().unwrap();
    assert_eq!(c.latest().unwrap().count().unwrap(), 3);
}

#[test]
fn a_closed_collection_takes_nothing_more_and_reads_on() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"k", b"", u64::MAX, 3)]);
    c.compare_and_append([(&b"k"[..], &b""[..], u64::MAX, -1)], 0, Frontier::CLOSED).unwrap();
    let error = c.append([(&b"k"[..], &b""[..], u64::MAX, 1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    c.append(NONE).unwrap();
    c.compare_and_append(NONE, Frontier::CLOSED, Frontier::CLOSED).unwrap();
    for _ in 0..2 {
        assert_eq!(rows(&c.latest().unwrap()), [(b"k".to_vec(), vec![], 2)]);
        assert_eq!(c.snapshot(u64::MAX - 1).unwrap().count().unwrap(), 0);
        db.compact().unwrap();
    }
    c.compact_below(u64::MAX).unwrap();
    db.compact().unwrap();
    assert_eq!(rows(&c.latest().unwrap()), [(b"k".to_vec(), vec![], 2)]);
}

/// A commit is checked against the state before it: its own advance of upper does not concern its
/// own updates.
#[test]
fn a_commit_is_checked_as_a_whole() {
    let (_dir, db) = database(small());
    let (a, b) = (db.collection("a").unwrap(), db.collection("b").unwrap());
    let at = |ts| [(&b"k"[..], &b""[..], ts, 1)];
    let commit = db.commit().advance_upper(&a, 10).append(&a, at(3)).append(&b, at(4));
    let committed = commit.compact_below(&a, 5).advance_upper(&b, 10).run().unwrap();
    assert_eq!(committed.seqno, db.stats().last_seqno);
    assert_eq!(a.snapshot(5).unwrap().count().unwrap(), 1);
    assert_eq!(db.snapshots(&[&a, &b], 9).unwrap().len(), 2);
    // Two commits that expect the same upper: one of them finds another.
    a.compare_and_append(at(10), 10, 11).unwrap();
    let again = a.compare_and_append(at(10), 10, 11).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::UpperMismatch);
    assert_eq!(a.latest().unwrap().get(b"k").unwrap(), [(vec![], 2)]);
}
