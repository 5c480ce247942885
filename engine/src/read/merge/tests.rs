//! Goal: the merge shows every entry of every source once, in order, in both directions, and knows
//! equal entries. Method: random sources with few distinct keys, against a sorted list.

use super::*;
use crate::read::vec_cursor::{Entry, VecCursor};
use crate::types::TimeWindow;
use proptest::prelude::*;

/// Keys that share heads, differ only behind 16 bytes, or differ only in trailing zeros.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff)], 0..3),
        (0_u8..3).prop_map(|b| [&[7; 16][..], &[b]].concat()),
        (0_usize..3).prop_map(|n| vec![0xff; 15 + n]),
        (0_u8..3).prop_map(|b| [&[7; 9][..], &[b]].concat()),
    ]
}

fn sources() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entry = (key(), prop::collection::vec(0_u8..2, 0..2), Just(vec![(1, 1)]));
    let source = prop::collection::vec(entry, 0..12).prop_map(|mut entries: Vec<Entry>| {
        entries.sort();
        entries
    });
    prop::collection::vec(source, 0..9)
}

fn merge_of(sources: &[Vec<Entry>]) -> MergeCursor<VecCursor> {
    MergeCursor::new(sources.iter().map(|s| VecCursor::new(s.clone(), TimeWindow::ALL)).collect())
}

fn rest(merge: &mut MergeCursor<VecCursor>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = Vec::new();
    while let Some(source) = merge.current() {
        seen.push((source.key().to_vec(), source.val().to_vec()));
        merge.step().unwrap();
    }
    seen
}

fn sorted(sources: &[Vec<Entry>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> = sources.iter().flatten().map(|e| (e.0.clone(), e.1.clone())).collect();
    all.sort();
    all
}

proptest! {
    // Keys order as their heads do, wherever the heads differ.
    #[test]
    fn heads_order_as_keys(
        a in prop::collection::vec(any::<u8>(), 0..20),
        b in prop::collection::vec(any::<u8>(), 0..20),
        shared in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        for (a, b) in [(a.clone(), b.clone()), ([&shared[..], &a].concat(), [&shared[..], &b].concat())] {
            let mut padded = [0; 16];
            padded[..a.len().min(16)].copy_from_slice(&a[..a.len().min(16)]);
            prop_assert_eq!(key_head(&a), u128::from_be_bytes(padded));
            if key_head(&a) != key_head(&b) {
                prop_assert_eq!(key_head(&a).cmp(&key_head(&b)), a.cmp(&b));
            }
        }
    }

    #[test]
    fn both_directions_show_everything_in_order(sources in sources(), from in key()) {
        let (mut merge, mut all) = (merge_of(&sources), sorted(&sources));
        merge.seek_first().unwrap();
        prop_assert_eq!(rest(&mut merge), all.clone());
        merge.seek(&from).unwrap();
        let after: Vec<_> = all.iter().filter(|(key, _)| *key >= from).cloned().collect();
        prop_assert_eq!(rest(&mut merge), after);
        all.reverse();
        merge.seek_last().unwrap();
        prop_assert_eq!(rest(&mut merge), all.clone());
        merge.seek_before(&from).unwrap();
        all.retain(|(key, _)| *key < from);
        prop_assert_eq!(rest(&mut merge), all);
    }

    // I2, and the runner-up: both are checked against all other sources at every step.
    #[test]
    fn ties_and_the_runner_up_are_exact(sources in sources(), reverse in any::<bool>()) {
        let mut merge = merge_of(&sources);
        if reverse { merge.seek_last().unwrap() } else { merge.seek_first().unwrap() }
        while let Some(current) = merge.current() {
            let at = |c: &VecCursor| (c.key().to_vec(), c.val().to_vec());
            let mut others: Vec<_> = merge.sources.iter().enumerate()
                .filter(|(index, c)| *index != merge.current_index() && c.valid())
                .map(|(_, c)| at(c))
                .collect();
            others.sort();
            prop_assert_eq!(merge.has_equal(), others.contains(&at(current)));
            let next = if reverse { others.pop() } else { others.first().cloned() };
            prop_assert_eq!(merge.runner_up().map(at), next);
            merge.step().unwrap();
        }
        prop_assert!(!merge.has_equal() && merge.runner_up().is_none());
    }

    #[test]
    fn a_group_is_all_equal_entries(sources in sources(), reverse in any::<bool>()) {
        let (mut merge, all) = (merge_of(&sources), sorted(&sources));
        let mut want: Vec<_> = all.chunk_by(|a, b| a == b).map(|g| (g[0].clone(), g.len())).collect();
        if reverse {
            merge.seek_last().unwrap();
            want.reverse();
        } else {
            merge.seek_first().unwrap();
        }
        let mut groups = Vec::new();
        loop {
            let mut len = 0;
            if !merge.next_group(|_, _| len += 1).unwrap() {
                break;
            }
            groups.push(((merge.key().to_vec(), merge.val().to_vec()), len));
        }
        prop_assert_eq!(groups, want);
        prop_assert!(!merge.next_group(|_, _| unreachable!()).unwrap());
    }
}

#[test]
fn without_sources_there_is_nothing() {
    let mut merge = merge_of(&[]);
    merge.seek_first().unwrap();
    assert!(merge.current().is_none());
    merge.step().unwrap();
    assert!(!merge.next_group(|_, _| unreachable!()).unwrap());
}

/// I3: the error of one source ends the whole merge and stays.
#[test]
fn an_error_stays() {
    let entry = |key: u8| (vec![key], vec![], vec![(1, 1)]);
    for count in [1, 2, 5] {
        let mut sources = vec![VecCursor::new(vec![entry(1), entry(9)], TimeWindow::ALL); count];
        sources[count - 1].fail_at = Some(1);
        let mut merge = MergeCursor::new(sources);
        merge.seek_first().unwrap();
        let error = loop {
            if let Err(error) = merge.step() {
                break error.to_string();
            }
            assert!(merge.current().is_some(), "no end before the error");
        };
        assert!(error.contains("a bad entry"));
        assert!(merge.current().is_none());
        assert_eq!(merge.step().unwrap_err().to_string(), error);
        assert_eq!(merge.seek_first().unwrap_err().to_string(), error);
        assert_eq!(merge.next_group(|_, _| unreachable!()).unwrap_err().to_string(), error);
    }
}
