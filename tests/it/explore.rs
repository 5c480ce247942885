//! Every state of the disk that a power cut at any moment of many workloads can leave is one that was
//! promised: everything acknowledged is there, nothing is half there, and life goes on.
//!
//! Method: see `datestone_tests::explore`. `DATESTONE_EXPLORE_STATES` sets how many distinct states are
//! looked at, over all workloads; `.ci/explore` does so at length. `DATESTONE_SEED` repeats a run.

use datestone_tests::explore::record::Skip;
use datestone_tests::explore::script::{Script, THEMES};
use datestone_tests::explore::workload::{Swept, Workload};
use datestone_tests::explore::{Explorer, Tally};
use datestone_tests::seed::{count, seed};

/// Count of workloads, which share the number of states.
const WORKLOADS: u64 = THEMES.len() as u64 + 1;

/// Explores a workload, seed after seed, until its share of the states is looked at.
fn explore(name: &str, workload: impl Fn(u64) -> Box<dyn Workload>) {
    let first = seed(&format!("explore {name}"));
    let share = count("DATESTONE_EXPLORE_STATES", 20_000).div_ceil(WORKLOADS);
    let mut explorer = Explorer::default();
    let distinct = |explorer: &Explorer| explorer.tallies.iter().map(|t| t.distinct).sum::<u64>();
    for round in 0.. {
        let left = share.saturating_sub(distinct(&explorer));
        if left == 0 {
            break;
        }
        let seed = first.wrapping_add(round);
        let outcome = explorer.explore(&*workload(seed), seed, left.div_ceil(2), Skip::Nothing);
        outcome.unwrap_or_else(|what| panic!("{what}"));
    }
    for (model, tally) in ["strict", "relaxed"].iter().zip(explorer.tallies) {
        let Tally { ops, tried, distinct, recoveries, known, time } = tally;
        assert!(known > 5, "{known} states of the database prove nothing");
        eprintln!(
            "explored {name}, {model}: {known} states of the database, {ops} operations, {tried} \
             states of the disk, {distinct} distinct, {recoveries} recoveries cut, 0 violations, {:.1} s",
            time.as_secs_f64()
        );
    }
}

#[test]
fn commits_flushes_and_merges() {
    explore("sweep", |seed| Box::new(Swept::new(seed, 26)));
}

/// A test for each theme, so that they run side by side.
macro_rules! themes {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            let theme = THEMES.iter().find(|theme| theme.name == $name).unwrap();
            explore($name, |seed| Box::new(Script::new(theme, seed)));
        })*

        #[test]
        fn every_theme_has_a_test() {
            assert!(THEMES.iter().map(|theme| theme.name).eq([$($name),*]));
        }
    };
}

themes! {
    commits: "commits",
    unsynced_commits: "unsynced commits",
    tokens: "tokens",
    log_files: "log files",
    flush_and_merge: "flush and merge",
    compact_below: "compact_below",
    truncate_at: "truncate_at",
    erase: "erase",
    drops: "drops",
    durable_holds: "durable holds",
    subscriptions: "subscriptions",
    bulk_ingest: "bulk ingest",
    checkpoint: "checkpoint",
    backup: "backup",
    tables_and_logs: "tables and logs",
    mix: "mix",
}

/// Goal: the explorer sees what it is there to see. Method: syncs that the engine asked for are left
/// out or come late, as if it had not asked for them; each such bug is found, within a few workloads,
/// as not every one takes the step in question.
#[test]
fn planted_bugs_are_found() {
    let first = seed("explore planted");
    let planted = [
        ("sweep", Skip::RootSyncs),
        ("sweep", Skip::DirSyncs("/db")),
        ("sweep", Skip::FileSyncs(".log")),
        ("sweep", Skip::FileSyncs("MANIFEST")),
        ("sweep", Skip::FileSyncs(".seg")),
        ("sweep", Skip::Late(".log")),
        ("sweep", Skip::Late("MANIFEST")),
        ("sweep", Skip::InRecovery(".log")),
        ("unsynced commits", Skip::InRecovery(".log")),
        ("bulk ingest", Skip::FileSyncs(".seg")),
        ("checkpoint", Skip::DirSyncs("/checkpoint")),
        ("checkpoint", Skip::FileSyncs("/checkpoint")),
        ("backup", Skip::DirSyncs("/backups")),
        ("backup", Skip::FileSyncs("/backups")),
        ("backup", Skip::FileSyncs("/copy")),
    ];
    for (name, skip) in planted {
        let workload = |seed| match THEMES.iter().find(|theme| theme.name == name) {
            Some(theme) => Box::new(Script::new(theme, seed)) as Box<dyn Workload>,
            None => Box::new(Swept::new(seed, 26)),
        };
        let found = (0..20).find_map(|round| {
            let seed = first.wrapping_add(round);
            let explored = Explorer::default().explore(&*workload(seed), seed, 1_000, skip);
            explored.err().map(|report| (seed, report))
        });
        let (seed, report) = found.unwrap_or_else(|| panic!("{skip:?} in '{name}' is not found"));
        eprintln!("{report}");
        assert!(report.contains("pending:") && report.contains(&format!("{seed}")), "{report}");
    }
}
