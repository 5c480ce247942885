//! Goal: a merge changes no contents from since on, shows nothing that was hidden, and leaves no
//! files when it does not come to its end. Method: random parts of real segments read through
//! windows, against sums over their updates.

use super::*;
use crate::error::ErrorKind;
use crate::io::FaultOp;
use crate::read::test_parts::PartStore;
use crate::read::vec_cursor::Entry;
use crate::read::{RangeSpec, Rows};
use crate::segment::Segment;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Part = Arc<[Arc<Segment>]>;
type Row = (Vec<u8>, Vec<u8>, i64);
/// Entries, entries per segment, and the window through which the part is read.
type Input = (Vec<Entry>, usize, TimeWindow);

const TIMES: TimeWindow = TimeWindow { first: 0, last: 9 };

/// Blocks so long that merges copy them are made of few long values.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let key = prop::collection::vec(0_u8..6, 0..3);
    let val = prop_oneof![
        (0_u8..2).prop_map(|byte| vec![byte]),
        (0_u8..2).prop_map(|byte| vec![byte; 3000]),
    ];
    let updates = prop_oneof![
        3 => (0_u64..9).prop_map(|ts| vec![(ts, 1)]),
        1 => prop::collection::btree_map(0_u64..9, prop_oneof![-2_i64..0, 1_i64..3], 1..4)
            .prop_map(|map| map.into_iter().collect()),
    ];
    prop::collection::btree_map((key, val), updates, 0..40)
        .prop_map(|map| map.into_iter().map(|((key, val), u)| (key, val, u)).collect())
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let window = prop_oneof![
        2 => Just(TIMES),
        1 => (0_u64..9, 0_u64..9).prop_map(|(a, b)| TimeWindow { first: a.min(b), last: a.max(b) }),
    ];
    prop::collection::vec((entries(), 1_usize..30, window), 0..5)
}

fn store() -> PartStore {
    PartStore::new(9 << 10)
}

fn merge_of(
    store: &PartStore,
    parts: Vec<(Part, TimeWindow)>,
    since: u64,
    keep_within: impl Fn(TimeWindow) -> TimeWindow,
) -> Merge<impl FnMut() -> Result<SegmentWriter>> {
    let input = |(part, window): (Part, TimeWindow)| {
        MergeInput::new(PartCursor::new(part, window), Frontier::at(since), keep_within(window))
    };
    let inputs = parts.into_iter().map(input).collect();
    let mut merge = Merge::new(inputs, Arc::clone(&store.fs), store.dir.clone(), || store.writer());
    if let Output::All(part) = &mut merge.output {
        part.set_full(|writer| writer.data_len() > 20_000);
    }
    merge
}

fn run_all<F: FnMut() -> Result<SegmentWriter>>(merge: Merge<F>) -> Vec<SegmentMeta> {
    run(merge, &AtomicBool::new(false), &mut |_| {}).unwrap().unwrap()
}

/// The contents of `updates` at `as_of`.
fn sums<'a>(updates: impl Iterator<Item = (&'a Entry, (u64, i64))>, as_of: u64) -> Vec<Row> {
    let mut sums: BTreeMap<(&[u8], &[u8]), i64> = BTreeMap::new();
    for (entry, (_, diff)) in updates.filter(|(_, (ts, _))| *ts <= as_of) {
        *sums.entry((&entry.0, &entry.1)).or_default() += diff;
    }
    let rows = sums.into_iter().filter(|(_, diff)| *diff != 0);
    rows.map(|((key, val), diff)| (key.to_vec(), val.to_vec(), diff)).collect()
}

fn contents(inputs: &[Input], as_of: u64) -> Vec<Row> {
    let seen = |(entries, _, window): &'_ Input| {
        let (entries, window) = (entries.clone(), *window);
        entries.into_iter().flat_map(move |entry| {
            let times: Vec<_> = entry.2.iter().copied().filter(|u| window.contains(u.0)).collect();
            times.into_iter().map(move |update| (entry.clone(), update))
        })
    };
    let all: Vec<(Entry, (u64, i64))> = inputs.iter().flat_map(seen).collect();
    sums(all.iter().map(|(entry, update)| (entry, *update)), as_of)
}

fn read(parts: &[(Part, TimeWindow)]) -> Vec<Row> {
    let cursor = |(part, window): &(Part, TimeWindow)| PartCursor::new(Arc::clone(part), *window);
    let mut rows = Rows::new(parts.iter().map(cursor).collect(), "c".into(), RangeSpec::ALL);
    let mut seen = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        seen.push((row.key.to_vec(), row.val.to_vec(), row.diff));
    }
    seen
}

/// All updates of a part, as entries.
fn dump(part: &Part) -> Vec<Entry> {
    let mut cursor = PartCursor::new(Arc::clone(part), TimeWindow::ALL);
    cursor.seek_first().unwrap();
    let mut entries = Vec::new();
    while cursor.valid() {
        let mut updates = Vec::new();
        cursor.updates(&mut updates);
        entries.push((cursor.key().to_vec(), cursor.val().to_vec(), updates));
        cursor.next().unwrap();
    }
    entries
}

proptest! {
    // I1 and I2 for a merge of runs that share an interval.
    #[test]
    fn contents_from_since_on_are_kept(inputs in inputs(), since in 0_u64..9, budget in 1_u64..50) {
        let store = store();
        let parts: Vec<_> =
            inputs.iter().map(|(e, len, window)| (store.part(e, *len), *window)).collect();
        let mut merge = merge_of(&store, parts, since, |_| TIMES);
        while merge.step(budget).unwrap() == MergeState::Running {}
        let progress = merge.progress();
        let output = store.open(&merge.finish().unwrap());
        for as_of in since..10 {
            let seen = read(&[(Arc::clone(&output), TimeWindow { first: 0, last: as_of })]);
            prop_assert_eq!(seen, contents(&inputs, as_of));
        }
        let entries = dump(&output);
        prop_assert!(entries.is_sorted_by(|a, b| (&a.0, &a.1) < (&b.0, &b.1)), "one entry each");
        let updates = || entries.iter().flat_map(|e| &e.2);
        prop_assert!(updates().all(|(_, diff)| *diff != 0));
        prop_assert!(entries.iter().all(|e| e.2.is_sorted_by(|a, b| a.0 < b.0)));
        let old = updates().filter(|(ts, _)| *ts < since).count() as u64;
        prop_assert!(old <= progress.updates_copied, "only copied blocks keep old times");
        prop_assert_eq!(updates().count() as u64, progress.updates_written);
        let keys = |s: &Arc<Segment>| s.stats().unwrap().clone();
        let disjoint = |a: &Arc<Segment>, b: &Arc<Segment>| keys(a).max_key < keys(b).min_key;
        prop_assert!(output.windows(2).all(|pair| disjoint(&pair[0], &pair[1])));
    }

    // A merge of parts that several runs see, with a run between them that does not: it was merged
    // before. No update may get into the gap, where nobody would see it.
    #[test]
    fn updates_stay_within_their_windows(
        entries in entries(), later in entries(), end in 1_u64..8, gap in 0_u64..8, since in 0_u64..10,
    ) {
        let store = store();
        let low = TimeWindow { first: 0, last: end - 1 };
        let high = TimeWindow { first: (end + gap).min(9), last: 9 };
        let inputs = [(entries.clone(), 7, low), (entries, 7, high), (later, 7, high)];
        let parts = inputs.iter().map(|(e, len, window)| (store.part(e, *len), *window)).collect();
        let output = store.open(&run_all(merge_of(&store, parts, since, |window| window)));
        for as_of in since..10 {
            let until = TimeWindow { first: 0, last: as_of };
            let shown = [low, high].into_iter().filter_map(|window| window.intersect(until));
            let seen = read(&shown.map(|window| (Arc::clone(&output), window)).collect::<Vec<_>>());
            prop_assert_eq!(seen, contents(&inputs, as_of));
        }
    }
}

fn rows(range: std::ops::Range<u32>, ts: u64) -> Vec<Entry> {
    range.map(|n| (n.to_be_bytes().to_vec(), vec![ts as u8; 400], vec![(ts, 1)])).collect()
}

/// What does not overlap and has no garbage is copied, also where it gets old times; what overlaps
/// is not.
#[test]
fn blocks_are_copied_where_nothing_folds() {
    let store = store();
    let merge = |parts: Vec<(Part, TimeWindow)>| {
        let mut merge = merge_of(&store, parts, 9, |_| TIMES);
        while merge.step(100).unwrap() == MergeState::Running {}
        let progress = merge.progress();
        (dump(&store.open(&merge.finish().unwrap())), progress)
    };
    let (low, high) = (rows(0..1000, 1), rows(1000..2000, 2));
    let part = |entries: &[Entry]| (store.part(entries, 300), TIMES);
    let (entries, progress) = merge(vec![part(&high), part(&low)]);
    let keys = |entries: &[Entry]| entries.iter().map(|e| e.0.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&entries), [keys(&low), keys(&high)].concat());
    // The last block of each segment may be too short to be copied.
    assert!(progress.updates_copied > 1700, "{progress:?}");
    assert_eq!((progress.updates_read, progress.updates_written), (2000, 2000));
    // The same keys in both: every block overlaps.
    let (entries, progress) = merge(vec![part(&low), part(&rows(0..1000, 2))]);
    assert_eq!((entries.len(), progress.updates_copied), (2000, 0));
    // One key in the middle costs one block.
    let (entries, progress) = merge(vec![part(&low), part(&rows(500..501, 2))]);
    assert_eq!(entries.len(), 1001);
    assert!((800..990).contains(&progress.updates_copied), "{progress:?}");
    // A block half in the window cannot be copied.
    let mut mixed = low.clone();
    mixed.iter_mut().step_by(2).for_each(|entry| entry.2 = vec![(7, 1)]);
    let window = TimeWindow { first: 0, last: 3 };
    let (entries, progress) = merge(vec![(store.part(&mixed, 300), window)]);
    assert_eq!((entries.len(), progress.updates_copied), (500, 0));
}

/// The since that is applied ends with the interval that shows the output.
#[test]
fn updates_are_not_advanced_out_of_their_interval() {
    let store = store();
    let entries = vec![(b"k".to_vec(), vec![], vec![(1, 1), (3, 1), (8, -2)])];
    let window = |last| TimeWindow { first: 0, last };
    let merged = |keep_within: TimeWindow| {
        let parts = vec![(store.part(&entries, 9), keep_within)];
        dump(&store.open(&run_all(merge_of(&store, parts, 20, |window| window))))
    };
    assert_eq!(merged(window(4))[0].2, [(4, 2)]);
    assert_eq!(merged(window(7))[0].2, [(7, 2)]);
    assert_eq!(merged(window(u64::MAX)), []);
}

/// Lists longer than an entry may be are gathered over all their entries.
#[test]
fn split_lists_are_gathered() {
    let store = store();
    let many = 3 * FOLD_UPDATES as u64;
    let updates = |diff| (0..many).map(|ts| (ts, diff)).collect::<Vec<_>>();
    let entry = |diff| vec![(b"k".to_vec(), b"v".to_vec(), updates(diff))];
    let part = |diff| (store.part(&entry(diff), 9), TimeWindow::ALL);
    let merged = run_all(merge_of(&store, vec![part(1), part(1)], 10, |_| TimeWindow::ALL));
    let entries = dump(&store.open(&merged));
    let updates: Vec<_> = entries.iter().flat_map(|e| e.2.clone()).collect();
    assert_eq!(updates.len() as u64, many - 10);
    assert_eq!(updates[..2], [(10, 22), (11, 2)]);
    assert_eq!(run_all(merge_of(&store, vec![part(1), part(-1)], 10, |_| TimeWindow::ALL)), []);
}

/// I3: given up or failed, no file is left; and everything cancelled makes no file at all.
#[test]
fn no_files_are_left_behind() {
    let store = store();
    let parts = || {
        vec![(store.part(&rows(0..300, 1), 100), TIMES), (store.part(&rows(0..300, 2), 400), TIMES)]
    };
    let inputs = parts();
    let before = store.files();
    let cancel = AtomicBool::new(false);
    let merge = merge_of(&store, inputs.clone(), 0, |_| TIMES);
    let mut told = 0;
    let given_up = run(merge, &cancel, &mut |bytes| told += bytes).unwrap();
    assert!(given_up.is_some_and(|metas| metas.len() > 3) && told > 200_000);
    let complete = store.files();
    assert!(complete > before + 3);

    let mut merge = merge_of(&store, inputs.clone(), 0, |_| TIMES);
    assert_eq!(merge.step(400).unwrap(), MergeState::Running);
    assert!(store.files() > complete);
    cancel.store(true, Ordering::Relaxed);
    assert_eq!(run(merge, &cancel, &mut |_| {}).unwrap(), None);
    assert_eq!(store.files(), complete);

    let merge = merge_of(&store, inputs, 0, |_| TIMES);
    store.mem.fail_nth(FaultOp::Sync, 3, std::io::ErrorKind::StorageFull);
    let error = run(merge, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(store.files(), complete);
}

#[test]
fn a_merge_of_nothing_is_nothing() {
    let store = store();
    assert_eq!(run_all(merge_of(&store, vec![], 0, |_| TIMES)), []);
    assert_eq!(run_all(merge_of(&store, vec![(store.part(&[], 1), TIMES)], 0, |_| TIMES)), []);
    assert_eq!(store.files(), 0);
}
