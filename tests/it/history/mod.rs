//! A history checker for concurrent runs.
//!
//! Goal: whatever threads do at the same time, transactions are serializable, a snapshot is the sum of
//! the commits up to its time, a listener's state at each progress is that too, and the order of times
//! is that of what was acknowledged. Method: four writers, four readers and two listeners beside
//! flushes, merges and forgetting, each writing down what it did and saw ([`run`]); afterwards the
//! record alone is judged, by replaying it in order of time ([`check`]) and, without trusting the times,
//! by a search for cycles in what depends on what ([`graph`]).
//!
//! `DATESTONE_HISTORY_SECONDS` and `DATESTONE_HISTORY_RUNS` say how long and how often.

mod check;
mod graph;
mod run;

use datestone_tests::seed::{count, seed};
use std::collections::BTreeMap;

/// Two tables on the database's clock.
const TABLES: usize = 2;
const KEYS: u64 = 40;

/// What a commit did, as its writer has written it down.
#[derive(Clone, Debug, Default)]
struct Commit {
    /// Ticks of one clock for all threads, before it was submitted and after it was acknowledged.
    begun: u64,
    ended: u64,
    /// The time that the database gave it.
    ts: u64,
    /// The time at which it has read.
    as_of: u64,
    /// Values read, by table and key; every value that is ever put is another one.
    reads: Vec<(usize, u64, Option<u64>)>,
    /// Ranges read: table, ends, rows.
    ranges: Vec<(usize, u64, u64, Rows)>,
    /// Values put, none for a deletion.
    writes: Vec<(usize, u64, Option<u64>)>,
    /// Updates of the multiset, with their time.
    updates: Vec<(u64, u64, i64)>,
    updates_ts: u64,
}

/// Keys and values.
type Rows = Vec<(u64, u64)>;

/// What a thread has seen of a collection at one time.
#[derive(Clone, Debug)]
struct Seen {
    /// A table, or [`TABLES`] for the multiset.
    collection: usize,
    as_of: u64,
    /// Keys, values, multiplicities.
    rows: Vec<(u64, u64, i64)>,
}

/// Everything that was written down.
#[derive(Clone, Debug, Default)]
struct History {
    commits: Vec<Commit>,
    /// Transactions that were refused; what they would have put is nowhere.
    conflicts: u64,
    seen: Vec<Seen>,
    /// Of the listeners, at each progress.
    delivered: Vec<Seen>,
}

#[test]
fn concurrent_histories_are_serializable_and_whole() {
    let first = seed("concurrent_histories");
    for n in 0..count("DATESTONE_HISTORY_RUNS", 1) {
        let (history, last) =
            run::run(first.wrapping_add(n), count("DATESTONE_HISTORY_SECONDS", 5));
        check::check(&history, &last)
            .unwrap_or_else(|what| panic!("{what}; seed {first}, run {n}"));
        let edges = graph::check(&history.commits).unwrap_or_else(|what| panic!("{what}"));
        let depends = history.commits.iter().filter(|commit| commit.as_of > 0).count();
        report(&format!(
            "{} commits, {depends} of them transactions, {} conflicts, {} reads, {} deliveries, {edges} edges",
            history.commits.len(),
            history.conflicts,
            history.seen.len(),
            history.delivered.len(),
        ));
        assert!(depends > 50 && history.conflicts > 0, "threads that never meet prove nothing");
        assert!(history.seen.len() > 50 && history.delivered.len() > 20);
    }
}

fn report(line: &str) {
    eprintln!("{line}");
}

/// The contents of the collections as rows.
type State = [BTreeMap<(u64, u64), i64>; TABLES + 1];
