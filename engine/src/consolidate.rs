//! Advancing and consolidating the updates of one `(key, val)`: what a merge does to history that
//! since has passed.
//!
//! # Invariants
//! 1. For every `t` at or beyond the since given, the sum of the diffs with `ts <= t` is the same
//!    before and after.
//! 2. Nothing fails and nothing is lost: a sum that leaves 64 bits stays split over several updates
//!    of one time, never more than there were.

use crate::planted::{Bug, planted};
use crate::types::{Frontier, Timestamp};

/// Advances every time to `since`, sorts, adds up equal times and drops zeros, in place.
///
/// ```
/// use datestone_engine::{consolidate::advance_and_consolidate, types::Frontier};
/// let mut updates = vec![(5, 1), (1, 2), (3, -2)];
/// advance_and_consolidate(&mut updates, Frontier::at(3));
/// assert_eq!(updates, [(5, 1)]);
/// ```
pub fn advance_and_consolidate(updates: &mut Vec<(Timestamp, i64)>, since: Frontier) {
    advance(updates, since);
    consolidate(updates);
}

/// Advances every time to `since`, keeping the order.
pub fn advance(updates: &mut [(Timestamp, i64)], since: Frontier) {
    if since == Frontier::MIN {
        return;
    }
    for (ts, _) in updates {
        *ts = since.advance(*ts);
    }
}

/// Sorts by time, adds up equal times and drops zeros, in place.
#[inline]
pub fn consolidate(updates: &mut Vec<(Timestamp, i64)>) {
    match updates.as_slice() {
        [] => {}
        [(_, diff)] => {
            if *diff == 0 {
                updates.clear();
            }
        }
        _ => consolidate_many(updates),
    }
}

fn consolidate_many(updates: &mut Vec<(Timestamp, i64)>) {
    // Most lists are sorted already: sources keep them so, and one source is the usual case.
    if !updates.is_sorted_by_key(|&(ts, _)| ts) {
        updates.sort_unstable_by_key(|&(ts, _)| ts);
    }
    let mut kept = 0;
    let mut at = 0;
    while let Some(&(ts, _)) = updates.get(at) {
        let mut sum = 0_i128;
        while let Some(&(_, diff)) = updates.get(at).filter(|(same, _)| *same == ts) {
            sum = if planted(Bug::DiffsOverwritten) { 0 } else { sum } + i128::from(diff);
            at += 1;
        }
        // I2: n diffs add up to at most n times the extreme of i64, so this writes at most as many
        // updates as it has read and never overtakes `at`.
        while sum != 0 {
            let part = sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            sum -= i128::from(part);
            updates[kept] = (ts, part);
            kept += 1;
        }
    }
    updates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contents(updates: &[(Timestamp, i64)], t: Timestamp) -> i128 {
        updates.iter().filter(|(ts, _)| *ts <= t).map(|(_, diff)| i128::from(*diff)).sum()
    }

    fn consolidated(mut updates: Vec<(u64, i64)>, since: Frontier) -> Vec<(u64, i64)> {
        advance_and_consolidate(&mut updates, since);
        updates
    }

    #[test]
    fn lists_of_no_or_one_update() {
        assert_eq!(consolidated(vec![], Frontier::at(3)), []);
        assert_eq!(consolidated(vec![(1, 7)], Frontier::at(3)), [(3, 7)]);
        assert_eq!(consolidated(vec![(1, 0)], Frontier::at(3)), []);
        assert_eq!(consolidated(vec![(1, 7)], Frontier::CLOSED), [(u64::MAX, 7)]);
    }

    #[test]
    fn history_below_since_becomes_one_update() {
        let updates = vec![(9, -1), (1, 1), (2, -1), (3, 1), (8, 2), (8, -2)];
        assert_eq!(consolidated(updates.clone(), Frontier::at(4)), [(4, 1), (9, -1)]);
        assert_eq!(consolidated(updates.clone(), Frontier::at(9)), []);
        assert_eq!(consolidated(updates, Frontier::MIN), [(1, 1), (2, -1), (3, 1), (9, -1)]);
    }

    #[test]
    fn a_sum_beyond_64_bits_stays_split() {
        let updates = vec![(1, i64::MAX), (2, i64::MAX), (2, 1), (3, i64::MIN), (3, i64::MIN)];
        assert_eq!(consolidated(updates.clone(), Frontier::at(2))[..2], [(2, i64::MAX); 2]);
        let at_three = consolidated(updates, Frontier::at(3));
        assert_eq!(at_three, [(3, -1)]);
        let low = consolidated(vec![(1, i64::MIN), (1, i64::MIN)], Frontier::MIN);
        assert_eq!(low, [(1, i64::MIN), (1, i64::MIN)]);
    }

    proptest! {
        // I1 and I2: contents at every time from since on are the same, times ascend, no zeros.
        #[test]
        fn contents_from_since_on_are_kept(
            updates in prop::collection::vec(
                (0_u64..12, prop_oneof![-3_i64..4, Just(i64::MAX), Just(i64::MIN)]), 0..24),
            since in 0_u64..12,
        ) {
            let after = consolidated(updates.clone(), Frontier::at(since));
            prop_assert!(after.len() <= updates.len());
            prop_assert!(after.is_sorted_by_key(|(ts, _)| *ts));
            prop_assert!(after.iter().all(|(ts, diff)| *ts >= since && *diff != 0));
            for t in since..13 {
                prop_assert_eq!(contents(&updates, t), contents(&after, t));
            }
        }
    }
}
