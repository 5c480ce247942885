//! Odd and large keys, values, times and diffs.

use super::{append, database, rows, small};
use datestone::{Collection, ErrorKind, Frontier};
use datestone_engine::limits;

#[test]
fn empty_keys_and_values_are_keys_and_values() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"", b"", 0, 1), (b"", b"x", 0, 2), (b"k", b"", 0, 3)]);
    c.advance_upper(1).unwrap();
    for _ in 0..2 {
        let snapshot = c.snapshot(0).unwrap();
        assert_eq!(snapshot.get(b"").unwrap(), [(vec![], 1), (b"x".to_vec(), 2)]);
        assert_eq!(snapshot.get(b"k").unwrap(), [(vec![], 3)]);
        assert!(snapshot.contains(b"").unwrap() && !snapshot.contains(b"x").unwrap());
        assert_eq!(rows(&snapshot).len(), 3);
        assert_eq!(snapshot.prefix(b"").count(), 3);
        assert_eq!(snapshot.range(&b""[..]..&b"k"[..]).count(), 2);
        db.compact().unwrap();
    }
}

#[test]
fn a_diff_of_zero_is_nothing() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"k", b"", 0, 0), (b"l", b"", 0, 0)]);
    append(&c, &[(b"k", b"", 0, 1), (b"k", b"", 1, -1)]);
    c.advance_upper(2).unwrap();
    for _ in 0..2 {
        assert_eq!(c.snapshot(0).unwrap().count().unwrap(), 1);
        assert_eq!(c.snapshot(1).unwrap().count().unwrap(), 0);
        db.compact().unwrap();
    }
    c.compact_below(1).unwrap();
    db.compact().unwrap();
    assert_eq!(c.updates().unwrap().next_update().unwrap(), None, "nothing is left of it");
    assert_eq!(c.info().unwrap().segments, 0, "{:?}", c.info());
}

#[test]
fn negative_multiplicities_are_rows_too() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"k", b"", 0, -5), (b"k", b"", 1, i64::MIN + 5)]);
    c.advance_upper(2).unwrap();
    for _ in 0..2 {
        assert_eq!(rows(&c.snapshot(0).unwrap()), [(b"k".to_vec(), vec![], -5)]);
        assert_eq!(rows(&c.snapshot(1).unwrap()), [(b"k".to_vec(), vec![], i64::MIN)]);
        db.compact().unwrap();
    }
}

#[track_caller]
fn overflows(c: &Collection, as_of: u64) {
    let snapshot = c.snapshot(as_of).unwrap();
    let error = snapshot.get(b"k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("\"k\"") && error.to_string().contains("'c'"), "{error}");
    let mut all = snapshot.iter();
    assert!(all.next_row().is_err());
    assert!(all.next_row().is_err(), "and again");
}

/// A sum beyond 64 bits is an error that names the row, never a wrong number; nothing is lost by it:
/// once the sum fits again it is read again.
#[test]
fn a_sum_beyond_64_bits_is_an_error_and_no_loss() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    let at_once = [(&b"k"[..], &b""[..], 0, i64::MAX), (&b"k"[..], &b""[..], 0, 1)];
    let error = c.append(at_once).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "seen at once: {error}");
    append(&c, &[(b"k", b"", 0, i64::MAX)]);
    append(&c, &[(b"k", b"", 1, 1)]);
    append(&c, &[(b"k", b"", 2, -3)]);
    c.advance_upper(3).unwrap();
    for round in 0..4 {
        if round < 3 {
            assert_eq!(c.snapshot(0).unwrap().get(b"k").unwrap(), [(vec![], i64::MAX)]);
            overflows(&c, 1);
        }
        assert_eq!(c.snapshot(2).unwrap().get(b"k").unwrap(), [(vec![], i64::MAX - 2)]);
        match round {
            0 => db.flush().unwrap(),
            1 => db.compact().unwrap(),
            _ => {
                c.compact_below(2).unwrap();
                db.compact().unwrap();
            }
        }
        if round == 2 {
            // Times below 2 are gone, and with them the overflow.
            assert_eq!(c.snapshot(1).unwrap_err().kind(), ErrorKind::Compacted);
        }
        if round >= 2 {
            assert_eq!(c.snapshot(2).unwrap().get(b"k").unwrap(), [(vec![], i64::MAX - 2)]);
            return;
        }
    }
}

#[test]
fn the_last_time_is_a_time() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    append(&c, &[(b"k", b"", u64::MAX, 1), (b"k", b"", u64::MAX - 1, 1)]);
    c.advance_upper(u64::MAX).unwrap();
    assert_eq!(c.latest().unwrap().as_of(), u64::MAX - 1);
    db.flush().unwrap();
    c.advance_upper(Frontier::CLOSED).unwrap();
    for _ in 0..2 {
        assert_eq!(c.snapshot(u64::MAX).unwrap().get(b"k").unwrap(), [(vec![], 2)]);
        assert_eq!(c.snapshot(u64::MAX - 1).unwrap().get(b"k").unwrap(), [(vec![], 1)]);
        assert_eq!(c.snapshot(u64::MAX - 2).unwrap().count().unwrap(), 0);
        db.compact().unwrap();
    }
}

#[test]
fn values_larger_than_a_memtable_and_a_log_file() {
    let (dir, db) = database(small());
    let c = db.collection("c").unwrap();
    let key = vec![b'k'; limits::KEY_LEN_MAX];
    let vals: Vec<Vec<u8>> = (0..6u8).map(|n| vec![n; 300_000 + usize::from(n)]).collect();
    for (ts, val) in (0..).zip(&vals) {
        append(&c, &[(&key, val, ts, 1), (b"small", b"", ts, 1)]);
        c.advance_upper(ts + 1).unwrap();
    }
    let check = |c: &Collection| {
        for as_of in 0..6 {
            let snapshot = c.snapshot(as_of).unwrap();
            let found = snapshot.get(&key).unwrap();
            let wanted = vals.iter().take(as_of as usize + 1).map(|val| (val.clone(), 1));
            assert!(found == wanted.collect::<Vec<_>>(), "as of {as_of}");
            let small = snapshot.get(b"small").unwrap();
            assert_eq!(small, [(vec![], as_of as i64 + 1)]);
            assert_eq!(snapshot.count().unwrap(), as_of + 2);
        }
    };
    check(&c);
    drop(c);
    db.close().unwrap();
    let db = datestone::Datestone::open_with(dir.path().join("db"), small()).unwrap();
    let c = db.collection("c").unwrap();
    check(&c);
    db.compact().unwrap();
    check(&c);
}

/// More updates of one row than an entry holds.
#[test]
fn a_row_with_a_long_history() {
    let (_dir, db) = database(small());
    let c = db.collection("c").unwrap();
    let count = 3 * limits::ENTRY_UPDATES_MAX as u64;
    for batch in (0..count).collect::<Vec<_>>().chunks(5000) {
        c.append(batch.iter().map(|ts| (&b"k"[..], &b"v"[..], *ts, 1))).unwrap();
    }
    append(&c, &[(b"j", b"v", 0, 1), (b"l", b"v", 0, 1)]);
    c.advance_upper(count).unwrap();
    for _ in 0..2 {
        for as_of in [0, 1, count / 2, count - 1] {
            let snapshot = c.snapshot(as_of).unwrap();
            let multiplicity = as_of as i64 + 1;
            assert_eq!(snapshot.get(b"k").unwrap(), [(b"v".to_vec(), multiplicity)]);
            let all: Vec<_> = rows(&snapshot).into_iter().map(|row| row.2).collect();
            assert_eq!(all, [1, multiplicity, 1]);
            let reverse = snapshot.iter().reversed().map(|row| row.unwrap().diff);
            assert_eq!(reverse.collect::<Vec<_>>(), [1, multiplicity, 1]);
        }
        db.compact().unwrap();
    }
    c.compact_below(count - 1).unwrap();
    db.compact().unwrap();
    assert_eq!(c.latest().unwrap().get(b"k").unwrap(), [(b"v".to_vec(), count as i64)]);
    assert_eq!(c.info().unwrap().updates, 3);
}

#[test]
fn typed_keys_are_in_the_order_of_their_type() {
    let (_dir, db) = database(small());
    let c = db.typed::<i64, String>("typed").unwrap();
    let numbers = [3, -1, i64::MIN, 0, i64::MAX];
    let text = "t".to_string();
    c.append(numbers.iter().map(|n| (n, &text, 0, 1))).unwrap();
    c.advance_upper(1).unwrap();
    let snapshot = c.snapshot(0).unwrap();
    let all: Vec<_> = snapshot.iter().map(|row| row.unwrap().key).collect();
    assert_eq!(all, [i64::MIN, -1, 0, 3, i64::MAX]);
    let some: Vec<_> = snapshot.range(-1..=3).reversed().map(|row| row.unwrap().key).collect();
    assert_eq!(some, [3, 0, -1]);
    assert_eq!(snapshot.get(&3).unwrap(), [("t".to_string(), 1)]);
}
