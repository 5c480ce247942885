//! Judges a history by replaying it in order of time. Knows nothing of the database.

use super::{Commit, History, Rows, Seen, State, TABLES};

/// What is wrong with a history, if anything; `last` is what was there after all of it and a restart.
pub(super) fn check(history: &History, last: &[Seen]) -> Result<(), String> {
    let mut commits: Vec<&Commit> = history.commits.iter().collect();
    commits.sort_by_key(|commit| commit.ts);
    in_order(&commits)?;
    let mut seen: Vec<&Seen> = history.seen.iter().chain(&history.delivered).chain(last).collect();
    seen.sort_by_key(|seen| seen.as_of);
    // Tables and the multiset have clocks of their own.
    let (tables, set): (Vec<&Seen>, _) = seen.into_iter().partition(|s| s.collection < TABLES);
    let mut state = State::default();
    let mut tables = tables.into_iter().peekable();
    for commit in &commits {
        while let Some(seen) = tables.next_if(|seen| seen.as_of < commit.ts) {
            compare(seen, &state)?;
        }
        has_read(commit, &state)?;
        for (table, key, val) in &commit.writes {
            state[*table].retain(|(of, _), _| of != key);
            state[*table].extend(val.map(|val| ((*key, val), 1)));
        }
    }
    tables.try_for_each(|seen| compare(seen, &state))?;
    let mut updates: Vec<&Commit> =
        commits.iter().copied().filter(|c| !c.updates.is_empty()).collect();
    updates.sort_by_key(|commit| commit.updates_ts);
    let mut set = set.into_iter().peekable();
    for commit in updates {
        while let Some(seen) = set.next_if(|seen| seen.as_of < commit.updates_ts) {
            compare(seen, &state)?;
        }
        for (key, val, diff) in &commit.updates {
            *state[TABLES].entry((*key, *val)).or_default() += diff;
        }
        state[TABLES].retain(|_, diff| *diff != 0);
    }
    set.try_for_each(|seen| compare(seen, &state))
}

/// No two commits have one time, and who was acknowledged before another began has the lower one.
fn in_order(commits: &[&Commit]) -> Result<(), String> {
    if let Some(same) = commits.windows(2).find(|pair| pair[0].ts == pair[1].ts) {
        return Err(format!("two commits at {}", same[0].ts));
    }
    let mut by_end = commits.to_vec();
    by_end.sort_by_key(|commit| commit.ended);
    let mut by_begin = commits.to_vec();
    by_begin.sort_by_key(|commit| commit.begun);
    let (mut ended, mut latest) = (by_end.into_iter().peekable(), 0);
    for commit in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < commit.begun) {
            latest = latest.max(before.ts);
        }
        if commit.ts <= latest {
            return Err(format!("a commit at {} begun after one at {latest} was told", commit.ts));
        }
    }
    Ok(())
}

/// A transaction has read what was there just before its own time.
fn has_read(commit: &Commit, state: &State) -> Result<(), String> {
    for (table, key, read) in &commit.reads {
        let there = state[*table].keys().find(|(of, _)| of == key).map(|(_, val)| *val);
        if there != *read {
            let ts = commit.ts;
            return Err(format!("at {ts} key {key} of {table} is {there:?}, {read:?} was read"));
        }
    }
    for (table, from, to, rows) in &commit.ranges {
        let there: Rows = state[*table].range((*from, 0)..(*to, 0)).map(|(row, _)| *row).collect();
        if there != *rows {
            let ts = commit.ts;
            return Err(format!("at {ts} {from}..{to} of {table} is {there:?}, {rows:?} was read"));
        }
    }
    Ok(())
}

fn compare(seen: &Seen, state: &State) -> Result<(), String> {
    let there = state[seen.collection].iter().map(|((key, val), diff)| (*key, *val, *diff));
    if there.clone().eq(seen.rows.iter().copied()) {
        return Ok(());
    }
    let (collection, as_of, rows) = (seen.collection, seen.as_of, &seen.rows);
    let there: Vec<_> = there.collect();
    Err(format!("collection {collection} as of {as_of} is {there:?}, {rows:?} was seen"))
}

mod tests {
    use super::*;

    fn commit(at: u64, writes: &[(usize, u64, Option<u64>)]) -> Commit {
        let (begun, ended) = (10 * at, 10 * at + 5);
        Commit { begun, ended, ts: at, writes: writes.to_vec(), ..Commit::default() }
    }

    fn seen(as_of: u64, rows: &[(u64, u64, i64)]) -> Seen {
        Seen { collection: 0, as_of, rows: rows.to_vec() }
    }

    fn history(commits: Vec<Commit>, seen: Vec<Seen>) -> History {
        History { commits, seen, ..History::default() }
    }

    #[test]
    fn right_histories_pass_and_wrong_ones_do_not() {
        let writes = || {
            vec![commit(1, &[(0, 7, Some(70))]), commit(3, &[(0, 7, Some(71)), (0, 8, Some(80))])]
        };
        let right = [seen(0, &[]), seen(1, &[(7, 70, 1)]), seen(2, &[(7, 70, 1)])];
        let last = [seen(9, &[(7, 71, 1), (8, 80, 1)])];
        check(&history(writes(), right.to_vec()), &last).unwrap();
        let wrong = [
            seen(2, &[(7, 71, 1)]),             // Too early.
            seen(3, &[(7, 70, 1), (8, 80, 1)]), // Half of a commit.
            seen(3, &[(7, 71, 1)]),             // The other half.
            seen(1, &[]),                       // Lost.
            seen(1, &[(7, 70, 2)]),             // Twice.
        ];
        for wrong in wrong {
            check(&history(writes(), vec![wrong]), &last).unwrap_err();
        }
        check(&history(writes(), Vec::new()), &[seen(9, &[(8, 80, 1)])]).unwrap_err();
    }

    #[test]
    fn times_follow_what_was_told() {
        let mut late = commit(3, &[]);
        (late.begun, late.ended) = (0, 4);
        check(&history(vec![commit(1, &[]), late], Vec::new()), &[]).unwrap_err();
        check(&history(vec![commit(1, &[]), commit(1, &[])], Vec::new()), &[]).unwrap_err();
    }

    #[test]
    fn a_transaction_reads_what_is_just_before_it() {
        let mut reader = commit(5, &[]);
        reader.reads = vec![(0, 7, Some(70)), (0, 9, None)];
        reader.ranges = vec![(0, 6, 9, vec![(7, 70)])];
        let with = |extra: Commit, reader: &Commit| {
            let commits = vec![commit(1, &[(0, 7, Some(70))]), extra, reader.clone()];
            check(&history(commits, Vec::new()), &[])
        };
        with(commit(2, &[(1, 7, Some(71))]), &reader).unwrap();
        with(commit(2, &[(0, 9, Some(90))]), &reader).unwrap_err();
        with(commit(2, &[(0, 8, Some(80))]), &reader).unwrap_err();
    }
}
