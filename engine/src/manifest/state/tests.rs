//! Edits that apply, and every kind of edit that must not.

use super::*;
use crate::manifest::testing::{flush_edit, head, run, segment};
use crate::types::{Frontier, Kind};

fn state(count: u64) -> ManifestState {
    let mut state = ManifestState::new(42);
    (1..=count).for_each(|n| state.apply(&flush_edit(n)).unwrap());
    state
}

fn runs(id: u64, segments: &[u64]) -> EditOp {
    let parts: Vec<(u64, u64, u64)> = segments.iter().map(|&id| (id, 1, 3)).collect();
    let runs = RunList { sealed: vec![run(0, 5, &parts)], future: Vec::new() };
    EditOp::Runs { id: CollectionId(id), runs }
}

#[test]
fn a_snapshot_makes_the_same_state() {
    let state = state(5);
    state.check().unwrap();
    assert_eq!(state.flushed_seqno(), SeqNo(50));
    assert_eq!(state.find("collection-3").unwrap().head.id, CollectionId(3));
    assert!(state.has_segment(SegmentId(3)) && !state.has_segment(SegmentId(6)));
    assert_eq!(state.live_segments().count(), 5);
    let mut bytes = Vec::new();
    state.encode_snapshot(&mut bytes).unwrap();
    assert!(bytes.len() <= state.snapshot_len, "the bound holds");
    assert_eq!(Edit::decode(&bytes).unwrap(), state.snapshot());
}

/// A name and a segment may change hands within one edit, whatever the order of the identifiers.
#[test]
fn names_and_segments_can_change_hands() {
    let mut state = state(3);
    let drop = EditOp::Drop(CollectionId(3));
    let take = EditOp::Collection(head(1, "collection-3", 5));
    state.apply(&Edit { ops: vec![drop, take, runs(1, &[1, 3])] }).unwrap();
    state.check().unwrap();
    assert_eq!(state.find("collection-3").unwrap().head.id, CollectionId(1));
    assert!(state.find("collection-1").is_none());
    state.apply(&Edit { ops: vec![runs(1, &[1]), runs(2, &[2, 3])] }).unwrap();
    state.check().unwrap();
    // Dropped and made again in one edit: without its old runs.
    let again =
        Edit { ops: vec![EditOp::Drop(CollectionId(2)), EditOp::Collection(head(2, "again", 0))] };
    state.apply(&again).unwrap();
    state.check().unwrap();
    assert_eq!(state.live_segments().count(), 1);
}

/// I1 to I3: each of these edits is refused and leaves no trace.
#[test]
fn contradicting_edits_are_refused_whole() {
    let mut state = state(3);
    let before = state.clone();
    let next = |collection, segment| EditOp::NextIds {
        collection: CollectionId(collection),
        segment: SegmentId(segment),
    };
    let lower_since = CollectionHead { since: Frontier::at(4), ..head(1, "collection-1", 5) };
    state.apply(&Edit { ops: vec![EditOp::Collection(lower_since)] }).unwrap();
    let raised = state.clone();
    let other_kind = CollectionHead { kind: Kind::Log, ..head(2, "collection-2", 5) };
    let unread = RunList { sealed: Vec::new(), future: vec![vec![segment(9, 1, 3)]] };
    let refused = [
        vec![next(3, 4)],
        vec![next(4, 3)],
        vec![EditOp::Flushed(SeqNo(29))],
        vec![EditOp::Collection(head(4, "new", 0))],
        vec![next(5, 4), EditOp::Collection(head(4, "collection-1", 0))],
        vec![
            next(6, 4),
            EditOp::Collection(head(4, "new", 0)),
            EditOp::Collection(head(5, "new", 0)),
        ],
        vec![EditOp::Collection(head(1, "collection-1", 5))],
        vec![EditOp::Collection(head(2, "collection-2", 4))],
        vec![EditOp::Collection(other_kind)],
        vec![EditOp::Drop(CollectionId(9))],
        vec![EditOp::Drop(CollectionId(1)), EditOp::Drop(CollectionId(1))],
        vec![EditOp::Drop(CollectionId(1)), runs(1, &[1])],
        vec![runs(4, &[1])],
        vec![runs(1, &[1, 2])],
        vec![runs(1, &[1, 3]), runs(2, &[2, 3]), EditOp::Drop(CollectionId(3))],
        vec![runs(1, &[1, 4])],
        vec![runs(1, &[1, 3]), EditOp::Collection(head(3, "collection-3", 6))],
        vec![EditOp::Runs { id: CollectionId(1), runs: unread }],
        vec![EditOp::Runs {
            id: CollectionId(1),
            runs: RunList { sealed: vec![run(0, 6, &[])], future: Vec::new() },
        }],
    ];
    for (index, ops) in refused.into_iter().enumerate() {
        let mut all = vec![EditOp::Flushed(SeqNo(31))];
        all.extend(ops);
        assert!(state.apply(&Edit { ops: all }).is_err(), "case {index}");
        assert_eq!(state, raised, "case {index}");
    }
    assert_ne!(before, raised);
}

/// I4: the bound on the snapshot follows every change.
#[test]
fn the_snapshot_bound_follows_drops() {
    let mut state = state(3);
    for id in 1..=3 {
        state.apply(&Edit { ops: vec![EditOp::Drop(CollectionId(id))] }).unwrap();
    }
    assert_eq!(state.snapshot_len, EMPTY_LEN);
    state.snapshot_len = MANIFEST_EDIT_LEN_MAX;
    let mut edit = flush_edit(4);
    edit.ops.insert(0, EditOp::Flushed(SeqNo(40)));
    assert!(state.apply(&edit).is_err());
}
