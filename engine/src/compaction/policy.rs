//! What to compact next: a pure choice over the sizes of a collection's runs.
//!
//! The shape aimed at is *lazy leveling*: one large run (the bottom) and newer runs that are merged
//! in tiers of `fan_in`, so that a byte is rewritten about once per tier and rarely at the bottom.
//! What counts is parts, not runs, because every part is one more sorted source to read; a run with
//! several parts counts as that many.
//!
//! | rule, in order | gain | cost |
//! | --- | --- | --- |
//! | garbage: `dead_percent` of a run or future part is dead | space | `(1 - d) / d` bytes written for each one freed |
//! | bottom: all other runs reach `bottom_percent` of the largest | space, reads | one rewrite of all |
//! | tiers: neighbours with `fan_in` parts or more, none much larger than the others | reads | each byte moves to a run about `fan_in` times as large |
//! | too many: more than `parts_max` parts, or `hot_parts_max` when read often | reads | the cheapest neighbours |
//! | future: `fan_in` or more future parts, as for tiers | sources when they are sealed | as for tiers |
//! | fold: the largest run has several parts | reads | one rewrite of that run |
//!
//! # Invariants
//! 1. Every job reads at least two parts, or one with reclaimable garbage. So applying jobs until
//!    there is none ends, after at most as many jobs as there are parts and runs with garbage.
//! 2. A collection of one part without reclaimable garbage is never rewritten.

use crate::types::TimeWindow;
use std::ops::RangeInclusive;

/// What the choice is made from: one collection's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyInput {
    /// Sealed runs, oldest first.
    pub runs: Vec<RunShape>,
    /// Parts of the future run, in any order.
    pub future: Vec<PartShape>,
    /// Bytes at which the memtable is flushed: what a run's size is measured against.
    pub memtable_bytes: u64,
    /// Whether the collection is read often at present.
    pub read_hot: bool,
}

/// One sealed run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunShape {
    /// Its parts, in any order.
    pub parts: Vec<PartShape>,
}

/// One part as a run sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartShape {
    /// Bytes of the updates that the run sees; see [`bytes_in_window`] for a part that the run sees
    /// through a window.
    pub bytes: u64,
    /// Those of them that a rewrite would free now. Zero for what a merge at the present since has
    /// just written, otherwise I1 of the module does not hold.
    pub dead_bytes: u64,
}

/// The policy's constants; the defaults are measured in ENGINE's simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyOptions {
    /// Parts that make a tier; at least 2.
    pub fan_in: usize,
    /// Merge everything when the other runs reach this share of the largest.
    pub bottom_percent: u64,
    /// Rewrite a run when this share of it is dead.
    pub dead_percent: u64,
    /// Merge something when there are more parts than this.
    pub parts_max: usize,
    /// The same for a collection that is read often.
    pub hot_parts_max: usize,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self { fan_in: 4, bottom_percent: 50, dead_percent: 30, parts_max: 12, hot_parts_max: 6 }
    }
}

/// Something to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Sealed neighbours become one run of one part; one run alone is rewritten.
    MergeRuns {
        /// Index of the oldest run.
        first_run: usize,
        /// Index of the newest run (inclusive).
        last_run: usize,
    },
    /// Parts of the future run become one part.
    MergeFuture {
        /// Indices of the parts, ascending.
        parts: Vec<usize>,
    },
}

/// What to merge next, `None` when nothing is worth its cost.
#[must_use]
pub fn pick(input: &PolicyInput, options: &PolicyOptions) -> Option<Job> {
    let runs: Vec<Size> = input.runs.iter().map(|run| Size::of(&run.parts)).collect();
    let floor = size_floor(input.memtable_bytes);
    let merge_runs = |runs: RangeInclusive<usize>| Job::MergeRuns {
        first_run: *runs.start(),
        last_run: *runs.end(),
    };
    garbage_runs(&runs, options)
        .or_else(|| bottom(&runs, options))
        .or_else(|| tier(&runs, floor, options))
        .or_else(|| too_many(&runs, input.read_hot, options))
        .map(merge_runs)
        .or_else(|| future(&input.future, floor, options).map(|parts| Job::MergeFuture { parts }))
        .or_else(|| fold(&runs).map(merge_runs))
}

/// What makes a collection as small and as fast to read as it can be, whatever it costs; `None`
/// when it is one part without garbage. The future run is left alone.
#[must_use]
pub fn pick_full(input: &PolicyInput) -> Option<Job> {
    let all = input.runs.iter().map(|run| Size::of(&run.parts));
    let all = all.fold(Size::default(), Size::plus);
    (all.parts > 1 || all.dead > 0)
        .then(|| Job::MergeRuns { first_run: 0, last_run: input.runs.len() - 1 })
}

/// The bytes of a part with updates at `times` that a run sees through `window`, taking them to be
/// spread evenly.
///
/// ```
/// use datestone_engine::{compaction::policy::bytes_in_window, types::TimeWindow};
/// let times = TimeWindow { first: 0, last: 9 };
/// assert_eq!(bytes_in_window(1000, times, TimeWindow { first: 8, last: 20 }), 200);
/// ```
#[must_use]
pub fn bytes_in_window(bytes: u64, times: TimeWindow, window: TimeWindow) -> u64 {
    let width = |window: TimeWindow| u128::from(window.last - window.first) + 1;
    let Some(seen) = times.intersect(window) else { return 0 };
    let bytes = u128::from(bytes) * width(seen) / width(times);
    u64::try_from(bytes).expect("a share of bytes is at most all of them")
}

/// Sizes below this count as equal: a file costs about as much as this many bytes of it.
fn size_floor(memtable_bytes: u64) -> u64 {
    (memtable_bytes / 1024).max(4096)
}

/// The size of one run or of several together.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    parts: usize,
    bytes: u64,
    dead: u64,
    /// Bytes of the largest part.
    largest: u64,
}

impl Size {
    fn of(parts: &[PartShape]) -> Self {
        let one = |part: &PartShape| Self {
            parts: 1,
            bytes: part.bytes,
            dead: part.dead_bytes,
            largest: part.bytes,
        };
        parts.iter().map(one).fold(Self::default(), Self::plus)
    }

    fn plus(self, other: Self) -> Self {
        Self {
            parts: self.parts + other.parts,
            bytes: self.bytes.saturating_add(other.bytes),
            dead: self.dead.saturating_add(other.dead),
            largest: self.largest.max(other.largest),
        }
    }

    /// Whether merging lifts every byte into a part about `fan_in` times as large as its own was:
    /// what bounds how often a byte is rewritten. A quarter less is allowed, because flushes are
    /// not all of one size.
    fn is_tier(self, floor: u64, options: &PolicyOptions) -> bool {
        let merged = self.bytes.max(floor.saturating_mul(self.parts as u64));
        let wanted = u128::from(self.largest.max(floor)) * options.fan_in as u128 * 3 / 4;
        self.parts >= options.fan_in && u128::from(merged) >= wanted
    }
}

fn is_share(part: u64, percent: u64, whole: u64) -> bool {
    u128::from(part) * 100 >= u128::from(whole) * u128::from(percent)
}

fn garbage_runs(runs: &[Size], options: &PolicyOptions) -> Option<RangeInclusive<usize>> {
    let wasteful =
        |size: &Size| size.dead > 0 && is_share(size.dead, options.dead_percent, size.bytes);
    let (index, _) = runs
        .iter()
        .enumerate()
        .filter(|(_, size)| wasteful(size))
        .max_by_key(|(_, size)| size.dead)?;
    Some(index..=index)
}

fn bottom(runs: &[Size], options: &PolicyOptions) -> Option<RangeInclusive<usize>> {
    let all = runs.iter().copied().fold(Size::default(), Size::plus);
    let largest = runs.iter().map(|run| run.bytes).max()?;
    let others = all.bytes - largest.min(all.bytes);
    let ready = runs.len() > 1 && is_share(others, options.bottom_percent, largest);
    (ready && all.parts > 1).then(|| 0..=runs.len() - 1)
}

/// The largest group of neighbours that makes a tier: what would be merged again soon is merged at
/// once.
fn tier(runs: &[Size], floor: u64, options: &PolicyOptions) -> Option<RangeInclusive<usize>> {
    neighbours(runs)
        .filter(|(_, size)| size.is_tier(floor, options))
        .max_by_key(|(_, size)| size.bytes)
        .map(|(range, _)| range)
}

/// The cheapest neighbours that take a third off the parts allowed, so that the next flush does not
/// ask again.
fn too_many(runs: &[Size], hot: bool, options: &PolicyOptions) -> Option<RangeInclusive<usize>> {
    let parts: usize = runs.iter().map(|run| run.parts).sum();
    let parts_max = if hot { options.hot_parts_max } else { options.parts_max }.max(1);
    if parts <= parts_max {
        return None;
    }
    let wanted = parts_max - parts_max / 3;
    neighbours(runs)
        .filter(|(_, size)| size.parts > parts - wanted)
        .min_by_key(|(_, size)| size.bytes)
        .map(|(range, _)| range)
}

fn future(parts: &[PartShape], floor: u64, options: &PolicyOptions) -> Option<Vec<usize>> {
    let wasteful = |part: &PartShape| {
        part.dead_bytes > 0 && is_share(part.dead_bytes, options.dead_percent, part.bytes)
    };
    if let Some(index) = parts.iter().position(wasteful) {
        return Some(vec![index]);
    }
    // Future parts have no order among them, so any of them may be merged: the smallest ones.
    let mut by_size: Vec<usize> = (0..parts.len()).collect();
    by_size.sort_by_key(|&index| parts[index].bytes);
    let mut sum = Size::default();
    let mut count = 0;
    for (rank, &index) in by_size.iter().enumerate() {
        sum = sum.plus(Size::of(&parts[index..=index]));
        if sum.is_tier(floor, options) {
            count = rank + 1;
        }
    }
    by_size.truncate(count);
    by_size.sort_unstable();
    (count > 1).then_some(by_size)
}

fn fold(runs: &[Size]) -> Option<RangeInclusive<usize>> {
    let (index, size) = runs.iter().enumerate().max_by_key(|(_, size)| size.bytes)?;
    (size.parts > 1).then_some(index..=index)
}

/// Every group of neighbouring runs, with its size.
fn neighbours(runs: &[Size]) -> impl Iterator<Item = (RangeInclusive<usize>, Size)> + '_ {
    (0..runs.len()).flat_map(move |first| {
        runs[first..].iter().enumerate().scan(Size::default(), move |sum, (count, run)| {
            *sum = sum.plus(*run);
            Some((first..=first + count, *sum))
        })
    })
}

#[cfg(test)]
mod tests;
