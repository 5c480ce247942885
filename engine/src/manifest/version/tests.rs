//! Seals, merges and their races against a plain bag of updates.

use super::*;
use crate::manifest::testing::{run, segment};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Row = (u8, u64, i64);

/// A run list beside the updates of every segment and all updates that were ever flushed.
#[derive(Default)]
struct Model {
    runs: RunList,
    rows: HashMap<SegmentId, Vec<Row>>,
    truth: Vec<Row>,
    since: u64,
    next: u64,
    /// Merges that have read their input but are not put in yet.
    pending: Vec<(MergeInput, Vec<Row>)>,
}

#[derive(Clone, Debug)]
enum Op {
    /// Raises the upper by this much, with rows at these times after the old upper.
    Flush(u64, Vec<Row>),
    RaiseSince(u64),
    PlanRuns(usize, usize),
    PlanFuture(usize),
    /// Puts in the result of a pending merge.
    Finish(usize),
    /// Plans and puts in at once, which cannot be superseded.
    MergeRuns(usize, usize),
    MergeFuture(usize),
}

fn contents<'a>(rows: impl Iterator<Item = &'a Row>, at: u64) -> BTreeMap<u8, i64> {
    let mut sums = BTreeMap::new();
    rows.filter(|row| row.1 <= at).for_each(|row| *sums.entry(row.0).or_insert(0) += row.2);
    sums.retain(|_, sum| *sum != 0);
    sums
}

impl Model {
    /// A part of `rows`, split by key into two segments where there are keys on both sides.
    fn part(&mut self, rows: &[Row]) -> Part {
        let (low, high): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.0 < 2);
        let mut part = Vec::new();
        for rows in [low, high] {
            let (Some(first), Some(last)) =
                (rows.iter().map(|row| row.1).min(), rows.iter().map(|row| row.1).max())
            else {
                continue;
            };
            self.next += 1;
            self.rows.insert(SegmentId(self.next), rows);
            part.push(segment(self.next, first, last));
        }
        part
    }

    fn read(&self, sources: &[(Part, TimeWindow)]) -> Vec<Row> {
        let mut read = Vec::new();
        for (part, window) in sources {
            let rows = part.iter().flat_map(|meta| &self.rows[&meta.id]);
            read.extend(rows.filter(|row| window.contains(row.1)));
        }
        read
    }

    /// Advances and consolidates, as a merge does.
    fn merge(&self, input: &MergeInput) -> Vec<Row> {
        let to = input.advance_to(Frontier::at(self.since));
        let mut sums: BTreeMap<(u8, u64), i64> = BTreeMap::new();
        for (key, ts, diff) in self.read(&input.sources()) {
            *sums.entry((key, to.advance(ts))).or_insert(0) += diff;
        }
        let rows = sums.into_iter().map(|((key, ts), diff)| (key, ts, diff));
        rows.filter(|row| row.2 != 0).collect()
    }

    fn flush(&mut self, by: u64, rows: Vec<Row>) {
        let lower = self.runs.upper().ts().unwrap();
        let upper = lower + by;
        let rows: Vec<Row> = rows.iter().map(|row| (row.0, lower + row.1, row.2)).collect();
        let (below, beyond): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.1 < upper);
        let (below, beyond) = (self.part(&below), self.part(&beyond));
        self.truth.extend(rows);
        let part = |part: Part| (!part.is_empty()).then_some(part);
        self.runs.seal(Frontier::at(upper), part(below), part(beyond)).unwrap();
    }

    fn plan_runs(&self, first: usize, count: usize) -> Option<MergeInput> {
        let len = self.runs.sealed.len();
        let first = first % len.max(1);
        self.runs.plan_runs(first, (first + count).min(len.saturating_sub(1)))
    }

    fn plan_future(&self, mask: usize) -> Option<MergeInput> {
        let indexes: Vec<usize> =
            (0..self.runs.future.len()).filter(|index| mask >> (index % 8) & 1 == 1).collect();
        if indexes.is_empty() { None } else { self.runs.plan_future(&indexes) }
    }

    fn finish(&mut self, input: &MergeInput, rows: &[Row]) -> Replaced {
        let output = self.part(rows);
        let before = self.runs.clone();
        let replaced = self.runs.replace(input, output).unwrap();
        if replaced == Replaced::Superseded {
            assert_eq!(self.runs, before);
        }
        replaced
    }

    fn merge_at_once(&mut self, input: Option<MergeInput>) {
        let Some(input) = input else { return };
        let rows = self.merge(&input);
        assert_eq!(self.finish(&input, &rows), Replaced::Done);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Flush(by, rows) => self.flush(by, rows),
            Op::RaiseSince(by) => self.since += by,
            Op::PlanRuns(..) | Op::PlanFuture(_) => {
                let input = match op {
                    Op::PlanRuns(first, count) => self.plan_runs(first, count),
                    Op::PlanFuture(mask) => self.plan_future(mask),
                    _ => None,
                };
                let planned = input.map(|input| (input.clone(), self.merge(&input)));
                self.pending.extend(planned);
            }
            Op::Finish(index) => {
                if !self.pending.is_empty() {
                    let (input, rows) = self.pending.swap_remove(index % self.pending.len());
                    let _either = self.finish(&input, &rows);
                }
            }
            Op::MergeRuns(first, count) => self.merge_at_once(self.plan_runs(first, count)),
            Op::MergeFuture(mask) => self.merge_at_once(self.plan_future(mask)),
        }
    }

    /// The invariants, and the contents at every time that may be read, also beyond upper.
    fn check(&self) {
        self.runs.check().unwrap();
        let sources = self.runs.sources();
        let read = self.read(&sources);
        let last = self.truth.iter().map(|row| row.1).max().unwrap_or(0).max(self.since);
        for at in self.since..=last + 1 {
            assert_eq!(
                contents(read.iter(), at),
                contents(self.truth.iter(), at),
                "at {at} since {} of {:?}",
                self.since,
                self.runs
            );
        }
        let live = self.runs.live_segments();
        assert!(sources.iter().flat_map(|(part, _)| part).all(|meta| live.contains_key(&meta.id)));
    }
}

fn op() -> impl Strategy<Value = Op> {
    let row = (0..4_u8, 0..12_u64, prop_oneof![Just(1_i64), Just(-1)]);
    prop_oneof![
        6 => (0..4_u64, proptest::collection::vec(row, 0..6)).prop_map(|(by, rows)| Op::Flush(by, rows)),
        2 => (0..4_u64).prop_map(Op::RaiseSince),
        2 => (0..8_usize, 0..3_usize).prop_map(|(first, count)| Op::PlanRuns(first, count)),
        2 => (1..256_usize).prop_map(Op::PlanFuture),
        3 => (0..8_usize).prop_map(Op::Finish),
        2 => (0..8_usize, 0..4_usize).prop_map(|(first, count)| Op::MergeRuns(first, count)),
        2 => (1..256_usize).prop_map(Op::MergeFuture),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3000, ..Default::default() })]

    /// Goal: the contents at every readable time are the same before and after every seal and every
    /// merge, in whatever order merges finish, also when since passes upper. Method: the naive bag.
    #[test]
    fn contents_never_change(ops in proptest::collection::vec(op(), 1..30)) {
        let mut model = Model::default();
        for op in ops {
            model.step(op);
            model.check();
        }
        // Nothing is stuck: all pending merges can be put in or thrown away, then all runs merged.
        while !model.pending.is_empty() {
            model.step(Op::Finish(0));
            model.check();
        }
        model.step(Op::MergeRuns(0, usize::MAX / 2));
        model.check();
        prop_assert!(model.runs.sealed.len() <= 1);
        model.step(Op::MergeFuture(255));
        model.check();
        prop_assert!(model.runs.future.len() <= 1);
        // Closing seals everything.
        model.runs.seal(Frontier::CLOSED, None, None).unwrap();
        model.check();
        prop_assert!(model.runs.future.is_empty() && model.runs.future_interval().is_none());
    }
}

fn ts(ts: u64) -> Frontier {
    Frontier::at(ts)
}

fn one(id: u64, min_ts: u64, max_ts: u64) -> Part {
    vec![segment(id, min_ts, max_ts)]
}

fn list(sealed: Vec<RunDesc>, future: &[(u64, u64, u64)]) -> RunList {
    let future = future.iter().map(|&(id, a, b)| one(id, a, b)).collect();
    RunList { sealed, future }
}

#[test]
fn a_seal_splits_future_parts_without_rewriting_them() {
    let mut runs = RunList::default();
    runs.seal(ts(5), Some(one(1, 0, 4)), Some(one(2, 6, 20))).unwrap();
    assert_eq!(runs, list(vec![run(0, 5, &[(1, 0, 4)])], &[(2, 6, 20)]));
    // The part reaches into the new run and stays in the future run.
    runs.seal(ts(10), Some(one(3, 5, 5)), None).unwrap();
    let second = run(5, 10, &[(2, 6, 20), (3, 5, 5)]);
    assert_eq!(runs, list(vec![run(0, 5, &[(1, 0, 4)]), second], &[(2, 6, 20)]));
    // A reader sees it as one source, from where it is read first.
    let windows: Vec<(u64, u64, u64)> = runs
        .sources()
        .iter()
        .map(|(part, window)| (part[0].id.0, window.first, window.last))
        .collect();
    assert_eq!(windows, [(1, 0, 4), (2, 5, u64::MAX), (3, 5, 9)]);
    // It leaves the future run when the upper passes its last time.
    runs.seal(ts(21), None, None).unwrap();
    assert_eq!(runs.sealed[2], run(10, 21, &[(2, 6, 20)]));
    assert!(runs.future.is_empty());
    runs.check().unwrap();
}

#[test]
fn seals_without_parts_widen_runs() {
    let mut runs = RunList::default();
    runs.seal(ts(3), None, None).unwrap();
    assert_eq!(runs, list(vec![run(0, 3, &[])], &[]));
    runs.seal(ts(5), None, Some(one(1, 9, 9))).unwrap();
    assert_eq!(runs, list(vec![run(0, 5, &[])], &[(1, 9, 9)]));
    // The empty run is filled rather than followed.
    runs.seal(ts(7), Some(one(2, 6, 6)), None).unwrap();
    runs.seal(ts(9), None, None).unwrap();
    assert_eq!(runs, list(vec![run(0, 9, &[(2, 6, 6)])], &[(1, 9, 9)]));
    // Only a future part, at the same upper.
    runs.seal(ts(9), None, Some(one(3, 10, 11))).unwrap();
    assert_eq!(runs, list(vec![run(0, 9, &[(2, 6, 6)])], &[(1, 9, 9), (3, 10, 11)]));
}

/// I2: the run 0..5 refers to part 1, whose update at 6 was merged away with the one of part 2. To
/// widen that run by the empty interval 5..8 would bring the update back.
#[test]
fn a_run_with_a_straddling_part_is_not_widened() {
    let mut runs = list(vec![run(0, 5, &[(1, 2, 6)])], &[(1, 2, 6), (2, 6, 6)]);
    let input = runs.plan_future(&[0, 1]).unwrap();
    assert_eq!(runs.replace(&input, Part::new()).unwrap(), Replaced::Done);
    runs.seal(ts(8), None, None).unwrap();
    assert_eq!(runs, list(vec![run(0, 5, &[(1, 2, 6)]), run(5, 8, &[])], &[]));
    // The next run may take the empty interval, as its own parts have nothing there.
    runs.seal(ts(9), Some(one(3, 8, 8)), None).unwrap();
    assert_eq!(runs.sealed, [run(0, 5, &[(1, 2, 6)]), run(5, 9, &[(3, 8, 8)])]);
}

/// I2, the same from above: the run 5..8 was merged to nothing, also the update at 6 of a part that
/// is still in the future run.
#[test]
fn an_empty_run_does_not_take_a_straddling_part() {
    let mut runs =
        list(vec![run(0, 5, &[(1, 1, 1)]), run(5, 8, &[(2, 6, 9), (3, 6, 6)])], &[(2, 6, 9)]);
    let input = runs.plan_runs(1, 1).unwrap();
    assert_eq!(runs.replace(&input, Part::new()).unwrap(), Replaced::Done);
    // Run 0..5 takes the empty interval; run 8..10 begins where it is read.
    runs.seal(ts(10), None, None).unwrap();
    assert_eq!(runs.sealed, [run(0, 8, &[(1, 1, 1)]), run(8, 10, &[(2, 6, 9)])]);

    let mut runs = list(vec![run(0, 8, &[])], &[(2, 6, 9)]);
    runs.seal(ts(10), None, None).unwrap();
    assert_eq!(runs.sealed, [run(0, 8, &[]), run(8, 10, &[(2, 6, 9)])]);
}

#[test]
fn merges_of_runs_find_their_runs_after_flushes() {
    let sealed = vec![run(0, 2, &[(1, 0, 1)]), run(2, 4, &[(2, 2, 3)]), run(4, 6, &[(3, 4, 5)])];
    let mut runs = list(sealed, &[]);
    let (first, last) = (runs.plan_runs(0, 1).unwrap(), runs.plan_runs(2, 2).unwrap());
    assert!(runs.plan_runs(2, 3).is_none() && runs.plan_future(&[0]).is_none());
    runs.seal(ts(7), None, None).unwrap();
    runs.seal(ts(9), Some(one(4, 8, 8)), None).unwrap();
    assert_eq!(runs.replace(&first, one(5, 0, 3)).unwrap(), Replaced::Done);
    assert_eq!(runs.replace(&first, one(6, 0, 3)).unwrap(), Replaced::Superseded);
    // The last run was widened meanwhile.
    assert_eq!(runs.replace(&last, one(7, 5, 5)).unwrap(), Replaced::Done);
    let expected = vec![run(0, 4, &[(5, 0, 3)]), run(4, 7, &[(7, 5, 5)]), run(7, 9, &[(4, 8, 8)])];
    assert_eq!(runs, list(expected, &[]));
}

/// Two runs with the same parts are told apart by their intervals.
#[test]
fn merges_of_runs_go_by_interval() {
    let mut runs = list(vec![run(0, 5, &[(1, 2, 9)]), run(5, 8, &[(1, 2, 9)])], &[(1, 2, 9)]);
    let input = runs.plan_runs(1, 1).unwrap();
    assert_eq!(input.sources(), [(one(1, 2, 9), TimeWindow { first: 5, last: 7 })]);
    assert_eq!(runs.replace(&input, one(2, 5, 7)).unwrap(), Replaced::Done);
    let expected = vec![run(0, 5, &[(1, 2, 9)]), run(5, 8, &[(2, 5, 7)])];
    assert_eq!(runs, list(expected, &[(1, 2, 9)]));
}

/// A merge of future parts is put in where the future run was when it was planned, not below.
#[test]
fn merges_of_future_parts_leave_the_runs_below() {
    let mut runs = list(vec![run(0, 5, &[(1, 2, 9)])], &[(1, 2, 9), (2, 6, 12)]);
    let input = runs.plan_future(&[0, 1]).unwrap();
    assert_eq!(input.sources()[0].1, TimeWindow { first: 5, last: u64::MAX });
    runs.seal(ts(8), None, None).unwrap();
    assert_eq!(runs.replace(&input, one(3, 6, 12)).unwrap(), Replaced::Done);
    let expected = vec![run(0, 5, &[(1, 2, 9)]), run(5, 8, &[(3, 6, 12)])];
    assert_eq!(runs, list(expected, &[(3, 6, 12)]));
}

/// Since may pass upper, so that a merge of future parts moves times into a run that had none of its
/// inputs: the result must be read there, or its updates would be lost.
#[test]
fn merges_of_future_parts_may_move_into_a_later_run() {
    let mut runs = list(vec![run(0, 5, &[(9, 1, 1)])], &[(1, 6, 6), (2, 7, 7)]);
    let input = runs.plan_future(&[0, 1]).unwrap();
    assert_eq!(input.advance_to(ts(10)), ts(10));
    runs.seal(ts(8), None, None).unwrap();
    assert!(runs.future.is_empty());
    assert_eq!(runs.replace(&input, one(3, 10, 10)).unwrap(), Replaced::Done);
    assert_eq!(runs.future, [one(3, 10, 10)]);
}

/// A merge of future parts read times 5.. of part 1; a merge of the run 5..8, sealed since, read
/// some of the same. Only one may be put in, else updates advanced to since would count twice.
#[test]
fn overlapping_merges_supersede_each_other() {
    let start = list(vec![run(0, 5, &[(9, 1, 1)])], &[(1, 6, 12), (2, 6, 13)]);
    let mut runs = start.clone();
    let future = runs.plan_future(&[0, 1]).unwrap();
    runs.seal(ts(8), None, None).unwrap();
    let sealed = runs.plan_runs(runs.sealed.len() - 1, runs.sealed.len() - 1).unwrap();
    let mut other = runs.clone();
    assert_eq!(runs.replace(&sealed, one(3, 7, 7)).unwrap(), Replaced::Done);
    assert_eq!(runs.replace(&future, one(4, 10, 13)).unwrap(), Replaced::Superseded);
    assert_eq!(other.replace(&future, one(4, 10, 13)).unwrap(), Replaced::Done);
    assert_eq!(other.replace(&sealed, one(3, 7, 7)).unwrap(), Replaced::Superseded);
}

/// Results and flushes with times that nobody would read are bugs, and change nothing.
#[test]
fn times_that_would_be_lost_are_refused() {
    let mut runs = list(vec![run(0, 5, &[(1, 2, 4)])], &[(2, 6, 9)]);
    let before = runs.clone();
    let input = runs.plan_runs(0, 0).unwrap();
    assert_eq!(input.advance_to(ts(9)), ts(4), "since has passed the run");
    assert_eq!(input.advance_to(Frontier::CLOSED), ts(4));
    assert!(runs.replace(&input, one(3, 4, 5)).is_err());
    let input = runs.plan_future(&[0]).unwrap();
    assert!(runs.replace(&input, one(3, 4, 9)).is_err());
    assert!(runs.seal(ts(4), None, None).is_err());
    assert!(runs.seal(ts(8), Some(one(3, 5, 8)), None).is_err());
    assert!(runs.seal(ts(8), Some(one(3, 4, 7)), None).is_err());
    assert!(runs.seal(ts(8), None, Some(one(3, 7, 9))).is_err());
    assert!(runs.seal(ts(8), Some(Part::new()), None).is_err());
    assert_eq!(runs, before);
}

/// Every way in which a run list can be wrong is seen.
#[test]
fn check_sees_broken_lists() {
    let good = list(vec![run(0, 5, &[(1, 2, 6)]), run(5, 8, &[(1, 2, 6)])], &[(2, 9, 9)]);
    good.check().unwrap();
    let overlapping = vec![segment(3, 5, 6), segment(1, 2, 6)];
    let broken: [RunList; 9] = [
        RunList { sealed: vec![run(0, 5, &[(1, 2, 6)])], future: vec![overlapping] },
        list(vec![run(1, 5, &[])], &[]),
        list(vec![run(0, 5, &[]), run(6, 8, &[])], &[]),
        list(vec![run(0, 5, &[]), run(5, 5, &[])], &[]),
        list(vec![run(0, 5, &[(1, 5, 6)])], &[]),
        list(vec![run(0, 5, &[])], &[(1, 3, 4)]),
        list(vec![run(0, 5, &[(1, 2, 6), (1, 2, 6)])], &[]),
        list(vec![run(0, 5, &[(1, 2, 6)])], &[(1, 2, 7)]),
        RunList { sealed: Vec::new(), future: vec![Part::new()] },
    ];
    for (index, list) in broken.iter().enumerate() {
        assert!(list.check().is_err(), "case {index}");
    }
}
