//! Goal: rows are the consolidated contents. Method: random updates spread over sources, read at
//! random times and ranges in both directions, against a map.

use super::*;
use crate::read::part::PartCursor;
use crate::read::range::prefix_range;
use crate::read::test_parts::PartStore;
use crate::read::vec_cursor::{Entry, VecCursor};
use crate::types::{TimeWindow, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included};
use std::ops::RangeBounds;

type Updates = Vec<(Vec<u8>, Vec<u8>, Timestamp, i64)>;
type Owned = (Vec<u8>, Vec<u8>, i64);

fn short_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..3)
}

fn updates() -> impl Strategy<Value = Updates> {
    let val = prop::collection::vec(0_u8..2, 0..2);
    prop::collection::vec((short_key(), val, 0_u64..6, -2_i64..3), 0..40)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        short_key().prop_map(Bound::Included),
        short_key().prop_map(Bound::Excluded),
    ]
}

/// One source of some updates; with `split`, every update is an entry of its own.
fn source(updates: &Updates, as_of: Timestamp, split: bool) -> VecCursor {
    let mut sorted = updates.clone();
    sorted.sort();
    let mut entries: Vec<Entry> = Vec::new();
    for (key, val, ts, diff) in sorted {
        match entries.last_mut() {
            Some(last) if !split && (&last.0, &last.1) == (&key, &val) => last.2.push((ts, diff)),
            _ => entries.push((key, val, vec![(ts, diff)])),
        }
    }
    VecCursor::new(entries, TimeWindow { first: 0, last: as_of })
}

fn contents(updates: &Updates, as_of: Timestamp) -> Vec<Owned> {
    let mut sums: BTreeMap<(&[u8], &[u8]), i64> = BTreeMap::new();
    for (key, val, _, diff) in updates.iter().filter(|u| u.2 <= as_of) {
        *sums.entry((key, val)).or_default() += diff;
    }
    let rows = sums.into_iter().filter(|(_, diff)| *diff != 0);
    rows.map(|((key, val), diff)| (key.to_vec(), val.to_vec(), diff)).collect()
}

fn read<C: Cursor>(mut rows: Rows<C>) -> Vec<Owned> {
    let mut seen = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        seen.push((row.key.to_vec(), row.val.to_vec(), row.diff));
    }
    assert_eq!(rows.next().unwrap(), None, "the end stays");
    seen
}

proptest! {
    #[test]
    fn rows_are_the_contents(
        parts in prop::collection::vec((updates(), any::<bool>()), 0..6),
        as_of in 0_u64..6,
        start in bound(),
        end in bound(),
    ) {
        let sources: Vec<_> = parts.iter().map(|(u, split)| source(u, as_of, *split)).collect();
        let all: Updates = parts.iter().flat_map(|(u, _)| u.clone()).collect();
        let range = RangeSpec { start: start.clone(), end: end.clone() };
        let mut want = contents(&all, as_of);
        want.retain(|row| (start.clone(), end.clone()).contains(&row.0));
        let rows = || Rows::new(sources.clone(), "c".into(), range.clone());
        prop_assert_eq!(read(rows()), want.clone());
        prop_assert_eq!(rows().count().unwrap(), want.len() as u64);
        want.reverse();
        prop_assert_eq!(read(rows().reversed()), want.clone());
        prop_assert_eq!(rows().reversed().count().unwrap(), want.len() as u64);
    }

    #[test]
    fn a_prefix_is_a_range(updates in updates(), prefix in short_key()) {
        let rows = Rows::new(vec![source(&updates, 9, false)], "c".into(), prefix_range(&prefix));
        let mut want = contents(&updates, 9);
        want.retain(|row| row.0.starts_with(&prefix));
        prop_assert_eq!(read(rows), want);
    }
}

/// I2 for an overflow of the sum: it names collection and key, and stays.
/// Blocks of equal lengths are read without the cursor; the rows around them are not.
#[test]
fn plain_blocks_end_where_the_range_does() {
    let store = PartStore::new(300);
    let key = |n: u16| n.to_be_bytes().to_vec();
    let mut entries: Vec<Entry> =
        (0..200).map(|n| (key(n), b"val".to_vec(), vec![(u64::from(n) % 2, 1)])).collect();
    entries[70].1 = b"a longer one".to_vec();
    entries[120].2[0].1 = 5;
    let part = store.part(&entries, 90);
    for (first, end) in [(0, 200), (0, 1), (3, 5), (3, 4), (60, 130), (69, 72), (89, 91), (7, 7)] {
        for last in [0, 1] {
            let window = TimeWindow { first: 0, last };
            let range = RangeSpec { start: Included(key(first)), end: Excluded(key(end)) };
            let source = || PartCursor::new(Arc::clone(&part), window);
            let rows = || Rows::new(vec![source()], "c".into(), range.clone());
            let want: Vec<Owned> = entries[usize::from(first)..usize::from(end)]
                .iter()
                .filter(|(_, _, updates)| updates[0].0 <= last)
                .map(|(key, val, updates)| (key.clone(), val.clone(), updates[0].1))
                .collect();
            assert_eq!(read(rows()), want, "{first}..{end} at {last}");
            assert_eq!(rows().count().unwrap(), want.len() as u64);
            let mut some = rows();
            let seen = some.next().unwrap().is_some();
            assert_eq!(some.count().unwrap(), want.len() as u64 - u64::from(seen));
        }
    }
}

#[test]
fn an_overflow_names_the_row_and_stays() {
    let part = |diff| source(&vec![(b"k1".to_vec(), vec![], 1, diff)], 9, false);
    let mut rows = Rows::new(vec![part(i64::MAX), part(1)], "orders".into(), RangeSpec::ALL);
    let error = rows.next().unwrap_err().to_string();
    assert!(error.contains("'orders'") && error.contains("k1"), "{error}");
    assert_eq!(rows.next().unwrap_err().to_string(), error);
    assert_eq!(rows.reversed().count().unwrap_err().to_string(), error);
    // A sum that only passes beyond 64 bits on the way is fine.
    let parts = vec![part(i64::MAX), part(i64::MAX), part(i64::MIN)];
    let rows = Rows::new(parts, "orders".into(), RangeSpec::ALL);
    assert_eq!(read(rows), [(b"k1".to_vec(), vec![], i64::MAX - 1)]);
}

#[test]
fn an_error_of_a_source_stays() {
    let mut bad = source(&vec![(vec![1], vec![], 1, 1), (vec![2], vec![], 1, 1)], 9, false);
    bad.fail_at = Some(1);
    let mut rows = Rows::new(vec![bad], "c".into(), RangeSpec::ALL);
    assert_eq!(rows.next().unwrap().unwrap().key, [1]);
    for _ in 0..3 {
        assert!(matches!(rows.next(), Err(Error::Corruption { .. })));
    }
}
