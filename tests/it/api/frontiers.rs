//! The rules of since and upper.

use super::{append, database, rows, small};
use datestone::{Datestone, ErrorKind, Frontier};
use datestone_tests::seed::Chance;

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

/// Goal: the space that is told of is there, and what forgetting would free is about what it frees;
/// who holds is charged with it. Method: versions of keys whose values are of chance, with a hold in
/// the middle.
#[test]
fn what_would_be_freed_is_what_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open(dir.path()).unwrap();
    let table = db.timed_table("table").unwrap();
    let mut chance = Chance::new(7);
    for ts in 0..100 {
        let mut commit = db.commit();
        for key in 0..100_u8 {
            let val: Vec<u8> = (0..12).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
            commit = commit.put_at(&table, &[key], &val, ts);
        }
        commit.advance_table(&table, ts + 1).run().unwrap();
    }
    db.compact().unwrap();
    let about = |found: u64, wanted: u64| {
        assert!(found.abs_diff(wanted) < wanted / 10, "{found}, not about {wanted}");
    };
    // A value of 96 bytes with its time, and its share of the block.
    let version = 112;
    let words = table.as_collection();
    let hold = words.hold(50, "the middle").unwrap();
    about(words.would_free(50).unwrap(), 50 * 100 * version);
    let space = db.space().unwrap();
    about(space.live, 100 * 100 * version);
    assert!(space.disk >= space.segments + space.wal + space.manifest);
    assert!(space.collections[0].latest < space.live / 20);
    about(space.holders[0].bytes, 49 * 100 * version);
    let before = space.referenced;
    let would_free = words.would_free(50).unwrap();
    words.compact_below(99).unwrap();
    db.compact().unwrap();
    about(before - db.space().unwrap().referenced, would_free);
    drop(hold);
    let would_free = words.would_free(99).unwrap();
    let before = db.space().unwrap().referenced;
    db.compact().unwrap();
    about(before - db.space().unwrap().referenced, would_free);
}
