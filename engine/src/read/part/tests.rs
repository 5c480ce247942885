//! Goal: a part is read like one sorted list, whatever segments it is cut into. Method: random
//! walks over parts of real segments, against a list in memory.

use super::*;
use crate::error::ErrorKind;
use crate::read::test_parts::PartStore;
use crate::read::vec_cursor::{Entry, VecCursor};
use crate::read::{RangeSpec, Rows};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Move {
    Next,
    Prev,
    First,
    Last,
    Seek(Vec<u8>),
    SeekBefore(Vec<u8>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..4, 0..4)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Next),
        3 => Just(Move::Prev),
        1 => Just(Move::First),
        1 => Just(Move::Last),
        2 => key().prop_map(Move::Seek),
        2 => key().prop_map(Move::SeekBefore),
    ];
    prop::collection::vec(one, 0..60)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let val = prop::collection::vec(any::<u8>(), 0..8);
    let updates = prop::collection::btree_map(0_u64..6, 1_i64..3, 1..4);
    prop::collection::btree_map((key(), val), updates, 0..60).prop_map(|map| {
        map.into_iter().map(|((key, val), u)| (key, val, u.into_iter().collect())).collect()
    })
}

fn make<C: Cursor>(cursor: &mut C, how: &Move) -> Result<Option<Entry>> {
    match how {
        Move::Next => cursor.next()?,
        Move::Prev => cursor.prev()?,
        Move::First => cursor.seek_first()?,
        Move::Last => cursor.seek_last()?,
        Move::Seek(key) => cursor.seek(key)?,
        Move::SeekBefore(key) => cursor.seek_before(key)?,
    }
    Ok(cursor.valid().then(|| {
        let mut updates = Vec::new();
        cursor.updates(&mut updates);
        assert_eq!(cursor.sum(), updates.iter().map(|u| i128::from(u.1)).sum::<i128>());
        (cursor.key().to_vec(), cursor.val().to_vec(), updates)
    }))
}

proptest! {
    #[test]
    fn a_part_is_one_list(entries in entries(), len in 1_usize..20, moves in moves()) {
        let store = PartStore::new(100);
        let mut part = PartCursor::new(store.part(&entries, len), TimeWindow::ALL);
        let mut list = VecCursor::new(entries, TimeWindow::ALL);
        for how in moves {
            prop_assert_eq!(make(&mut part, &how).unwrap(), make(&mut list, &how).unwrap(), "{:?}", how);
        }
    }

    // Blocks and segments outside the window may be passed by; what remains adds up the same.
    #[test]
    fn windows_show_the_same_rows(
        entries in entries(), len in 1_usize..20, first in 0_u64..6, last in 0_u64..6,
        from in key(), reverse in any::<bool>(),
    ) {
        let (store, window) = (PartStore::new(100), TimeWindow { first, last });
        let range = RangeSpec { start: std::ops::Bound::Included(from), ..RangeSpec::ALL };
        let part = PartCursor::new(store.part(&entries, len), window);
        let list = VecCursor::new(entries, window);
        let part = Rows::new(vec![part], "c".into(), range.clone());
        let list = Rows::new(vec![list], "c".into(), range);
        let (mut part, mut list) = if reverse { (part.reversed(), list.reversed()) } else { (part, list) };
        loop {
            let row = part.next().unwrap();
            prop_assert_eq!(row, list.next().unwrap());
            if row.is_none() { break }
        }
    }
}

fn entry(key: u8) -> Entry {
    (vec![key], vec![], vec![(1, 1)])
}

#[test]
fn a_part_without_segments_is_empty() {
    let store = PartStore::new(100);
    let mut part = PartCursor::new(store.part(&[], 1), TimeWindow::ALL);
    for how in [Move::First, Move::Next, Move::Last, Move::Prev, Move::Seek(vec![])] {
        assert_eq!(make(&mut part, &how).unwrap(), None);
    }
}

/// I2: segments that are not in order are found out when they are read, and the error stays (I3).
#[test]
fn segments_out_of_order_are_corruption() {
    let store = PartStore::new(100);
    let metas = store.write([&[entry(3), entry(4)][..], &[entry(4), entry(5)]]);
    for reverse in [false, true] {
        let mut part = PartCursor::new(store.open(&metas), TimeWindow::ALL);
        let (start, go) =
            if reverse { (Move::Last, Move::Prev) } else { (Move::First, Move::Next) };
        assert!(make(&mut part, &start).unwrap().is_some());
        assert!(make(&mut part, &go).unwrap().is_some());
        for how in [go, start] {
            assert_eq!(make(&mut part, &how).unwrap_err().kind(), ErrorKind::Corruption);
            assert!(!part.valid());
        }
    }
}

/// A segment is opened for reading only when the cursor gets there: damage further on does not
/// disturb who does not read it.
#[test]
fn segments_are_read_when_needed() {
    let store = PartStore::new(100);
    let metas = store.write([&[entry(1), entry(2)][..], &[entry(3)], &[entry(4)]]);
    let last = store.dir.join(crate::segment::segment_file_name(metas[2].id));
    store.mem.flip_bits(&last, 70, 0xff).unwrap();
    let mut part = PartCursor::new(store.open(&metas), TimeWindow::ALL);
    assert_eq!(make(&mut part, &Move::First).unwrap(), Some(entry(1)));
    assert_eq!(make(&mut part, &Move::Seek(vec![3])).unwrap(), Some(entry(3)));
    assert_eq!(make(&mut part, &Move::Next).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(make(&mut part, &Move::First).unwrap_err().kind(), ErrorKind::Corruption);
}
