//! Builds the garbage histogram while a segment is written.
//!
//! A merge at since gives all updates of an entry with `ts <= since` the time since and sums them:
//! one update is left, or none when the sum is zero. So, walking an entry's updates in time order,
//! what is garbage at since is the count of updates up to since less what their sum needs. Only
//! entries with several updates ever have garbage; others cost nothing here.

use crate::format::segment_stats::{GARBAGE_BUCKETS_MAX, Garbage, GarbageBucket};
use crate::types::{Kind, Timestamp};

/// Steps kept before they are folded; bounds memory and gives the folding enough to choose from.
const STEPS_MAX: usize = 1 << 13;
/// Bytes that an update is taken to cost.
const UPDATE_LEN_ESTIMATE: i64 = 4;

/// What becomes garbage when since reaches a time.
#[derive(Clone, Copy, Debug)]
struct Step {
    since: Timestamp,
    updates: i64,
    bytes: i64,
}

/// Gathers the steps of all entries.
#[derive(Debug)]
pub(super) struct GarbageBuilder {
    kind: Kind,
    /// Time of the last version of a table's key.
    newer: Timestamp,
    steps: Vec<Step>,
    first: Option<Timestamp>,
    sum: i128,
    entry_len: i64,
}

impl GarbageBuilder {
    /// A builder for a collection of this kind.
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, newer: 0, steps: Vec::new(), first: None, sum: 0, entry_len: 0 }
    }

    /// Takes a version of a table, newest first: what is older is garbage once since has reached
    /// the time of the next newer one. `new_key`: it is the newest of its key.
    #[inline]
    pub(super) fn push_version(&mut self, entry_len: usize, ts: Timestamp, new_key: bool) {
        if !new_key {
            let bytes = entry_len as i64 + UPDATE_LEN_ESTIMATE;
            self.add(Step { since: self.newer, updates: 1, bytes });
        }
        self.newer = ts;
    }

    /// Whether versions are counted, by [`push_version`](Self::push_version).
    pub(super) const fn is_of_versions(&self) -> bool {
        self.kind.is_table()
    }

    /// Takes the updates of an entry whose key and value have `entry_len` bytes. `repeat`: it goes
    /// on with the entry before.
    #[inline]
    pub(super) fn push(&mut self, entry_len: usize, updates: &[(Timestamp, i64)], repeat: bool) {
        match updates {
            &[(_, diff)] if !repeat => {
                self.sum = i128::from(diff);
                self.entry_len = entry_len as i64;
            }
            _ => self.push_several(entry_len, updates, repeat),
        }
    }

    fn push_several(&mut self, entry_len: usize, updates: &[(Timestamp, i64)], repeat: bool) {
        // An entry that has no update yet is not gone: its key and value are still to come.
        let mut present = !repeat || self.sum != 0;
        if !repeat {
            self.sum = 0;
            self.entry_len = entry_len as i64;
        }
        for &(ts, diff) in updates {
            let before = self.sum;
            self.sum = before.saturating_add(i128::from(diff));
            let updates = 1 + needed(before) - needed(self.sum);
            let gone = i64::from(present) - i64::from(self.sum != 0);
            present = self.sum != 0;
            let bytes = updates * UPDATE_LEN_ESTIMATE + gone * self.entry_len;
            self.add(Step { since: ts, updates, bytes });
        }
    }

    fn add(&mut self, step: Step) {
        if step.updates == 0 && step.bytes == 0 {
            return;
        }
        match self.steps.last_mut() {
            Some(last) if last.since == step.since => {
                last.updates += step.updates;
                last.bytes += step.bytes;
            }
            _ => self.steps.push(step),
        }
        if self.steps.len() >= STEPS_MAX {
            self.fold(STEPS_MAX / 4);
        }
    }

    /// Sorts the steps, adds up equal times, and joins neighbours until `count_max` are left. A
    /// joined step counts from its last time, so that nothing is told too early; the first time is
    /// remembered.
    fn fold(&mut self, count_max: usize) {
        self.steps.sort_unstable_by_key(|step| step.since);
        self.steps.dedup_by(|next, kept| {
            let same = next.since == kept.since;
            if same {
                kept.updates += next.updates;
                kept.bytes += next.bytes;
            }
            same
        });
        let rising = self.steps.iter().find(|step| step.updates > 0);
        self.first = [self.first, rising.map(|step| step.since)].into_iter().flatten().min();
        if self.steps.len() <= count_max {
            return;
        }
        let total: i64 = self.steps.iter().map(|step| step.updates.max(0)).sum();
        let share = total / count_max as i64 + 1;
        let mut weight = self.steps.first().map_or(0, |step| step.updates.max(0));
        self.steps.dedup_by(|next, kept| {
            let join = weight + next.updates.max(0) < share;
            weight = if join { weight + next.updates.max(0) } else { next.updates.max(0) };
            if join {
                kept.since = next.since;
                kept.updates += next.updates;
                kept.bytes += next.bytes;
            }
            join
        });
    }

    /// The histogram, and the least since at which anything is garbage.
    pub(super) fn finish(mut self) -> (Vec<GarbageBucket>, Option<Timestamp>) {
        self.fold(GARBAGE_BUCKETS_MAX / 2);
        let (mut updates, mut bytes) = (0, 0);
        let mut total = Garbage::default();
        let mut buckets: Vec<GarbageBucket> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            updates += step.updates;
            bytes += step.bytes;
            let before = total;
            total.updates = before.updates.max(u64::try_from(updates).unwrap_or_default());
            total.bytes = before.bytes.max(u64::try_from(bytes).unwrap_or_default());
            if total != before {
                buckets.push(GarbageBucket { since: step.since, total });
            }
        }
        buckets.truncate(GARBAGE_BUCKETS_MAX);
        let first = self.first.filter(|_| !buckets.is_empty());
        (buckets, first)
    }
}

/// How many updates a sum needs: none for zero, several where one diff cannot hold it.
fn needed(sum: i128) -> i64 {
    let held = i64::MAX as u128;
    i64::try_from(sum.unsigned_abs().div_ceil(held)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::segment_stats::SegmentStats;
    use crate::types::Frontier;

    fn histogram(entries: &[&[(u64, i64)]]) -> (SegmentStats, Option<u64>) {
        let mut builder = GarbageBuilder::new(Kind::Multiset);
        for updates in entries {
            builder.push(100, updates, false);
        }
        let (garbage, first) = builder.finish();
        let stats = SegmentStats {
            keys: 1,
            entries: 1,
            updates: u64::MAX,
            repeats: 0,
            min_ts: 0,
            max_ts: 0,
            min_diff: 0,
            max_diff: 0,
            min_key: vec![],
            max_key: vec![],
            garbage,
        };
        (stats, first)
    }

    #[test]
    fn single_updates_are_never_garbage() {
        assert_eq!(histogram(&[&[(1, 1)], &[(9, -3)]]), (histogram(&[]).0, None));
    }

    #[test]
    fn a_retracted_entry_is_wholly_garbage_once_since_reaches_the_retraction() {
        let (stats, first) = histogram(&[&[(3, 1), (7, -1)]]);
        assert_eq!(first, Some(7));
        assert_eq!(stats.garbage_at(Frontier::at(6)), Garbage::default());
        assert_eq!(stats.garbage_at(Frontier::at(7)), Garbage { updates: 2, bytes: 108 });
    }

    #[test]
    fn updates_that_add_up_leave_one() {
        let (stats, first) = histogram(&[&[(3, 1), (5, 1), (8, 1)]]);
        assert_eq!(first, Some(5));
        assert_eq!(stats.garbage_at(Frontier::at(5)).updates, 1);
        assert_eq!(stats.garbage_at(Frontier::CLOSED).updates, 2);
    }

    #[test]
    fn a_sum_that_one_diff_cannot_hold_is_not_garbage() {
        let (stats, first) = histogram(&[&[(3, i64::MAX), (3, i64::MAX)]]);
        assert_eq!((first, stats.garbage_at(Frontier::CLOSED)), (None, Garbage::default()));
    }

    #[test]
    fn an_entry_in_two_pieces_counts_as_one() {
        let mut builder = GarbageBuilder::new(Kind::Multiset);
        builder.push(100, &[(3, 1)], false);
        builder.push(100, &[(7, -1)], true);
        let (buckets, first) = builder.finish();
        assert_eq!(first, Some(7));
        assert_eq!(buckets.last().map(|b| b.total.updates), Some(2));
    }

    #[test]
    fn many_times_fold_into_few_buckets_that_never_tell_too_much() {
        let entries: Vec<[(u64, i64); 2]> =
            (0..40_000_u64).map(|i| [(1, 1), (10 + i * 7919 % 40_000, -1)]).collect();
        let refs: Vec<&[(u64, i64)]> = entries.iter().map(|e| e.as_slice()).collect();
        let (stats, first) = histogram(&refs);
        assert_eq!(first, Some(10));
        assert!(stats.garbage.len() > 8 && stats.garbage.len() <= GARBAGE_BUCKETS_MAX);
        for since in (0..41_000).step_by(500) {
            let exact = entries.iter().filter(|e| e[1].0 <= since).count() as u64 * 2;
            let told = stats.garbage_at(Frontier::at(since)).updates;
            assert!(told <= exact && told + 12_000 >= exact, "{since}: {told} of {exact}");
        }
        assert_eq!(stats.garbage_at(Frontier::CLOSED).updates, 80_000);
    }
}
