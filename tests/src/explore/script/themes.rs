//! What workloads are about.

use super::generator::Act::{self, *};
use datestone_engine::types::Kind;

/// What a workload is about: the kinds of its collections, and how often it does what.
#[derive(Debug)]
pub struct Theme {
    /// Its name.
    pub name: &'static str,
    /// The collections that it begins with.
    pub(super) kinds: &'static [Kind],
    /// Steps after these.
    pub(super) steps: usize,
    /// Longest value, once in eight times.
    pub(super) val_len_max: u64,
    /// Steps, each as often as it is named.
    pub(super) acts: &'static [Act],
}

const SETS: &[Kind] = &[Kind::Multiset, Kind::Multiset, Kind::Multiset];
const ALL: &[Kind] = &[Kind::Multiset, Kind::Table, Kind::ClockTable, Kind::Log];

/// All themes.
pub const THEMES: &[Theme] = &[
    Theme { name: "commits", kinds: SETS, steps: 24, val_len_max: 2_000, acts: &[Commit] },
    Theme {
        name: "unsynced commits",
        kinds: SETS,
        steps: 30,
        val_len_max: 3_000,
        acts: &[Loose, Loose, Loose, Loose, Commit, Flush, Work, CompactBelow, Reopen],
    },
    Theme {
        name: "tokens",
        kinds: ALL,
        steps: 26,
        val_len_max: 100,
        acts: &[Once, Once, Once, Commit, Flush, Compact, Reopen],
    },
    Theme {
        name: "log files",
        kinds: &[Kind::Multiset],
        steps: 20,
        val_len_max: 20_000,
        acts: &[Commit, Commit, Commit, Commit, Work, Flush, Reopen],
    },
    Theme {
        name: "flush and merge",
        kinds: SETS,
        steps: 30,
        val_len_max: 300,
        acts: &[Commit, Commit, Commit, Flush, Flush, Work, Settle, Compact],
    },
    Theme {
        name: "compact_below",
        kinds: SETS,
        steps: 30,
        val_len_max: 100,
        acts: &[Commit, Commit, CompactBelow, CompactBelow, Flush, Work, Compact],
    },
    Theme {
        name: "truncate_at",
        kinds: &[Kind::Multiset, Kind::Table],
        steps: 26,
        val_len_max: 100,
        acts: &[Commit, Commit, Commit, Truncate, Truncate, Flush, Compact],
    },
    Theme {
        name: "erase",
        kinds: &[Kind::Multiset, Kind::Table],
        steps: 26,
        val_len_max: 100,
        acts: &[Commit, Commit, Commit, Erase, Erase, Flush, Compact, Reopen],
    },
    Theme {
        name: "drops",
        kinds: ALL,
        steps: 28,
        val_len_max: 100,
        acts: &[Commit, Commit, Commit, Create, Drop, Drop, Flush, Compact],
    },
    Theme {
        name: "durable holds",
        kinds: &[Kind::Multiset, Kind::Table],
        steps: 28,
        val_len_max: 50,
        acts: &[Commit, Commit, Hold, Hold, Loosen, CompactBelow, Flush, Compact, Reopen],
    },
    Theme {
        name: "subscriptions",
        kinds: &[Kind::Multiset, Kind::Multiset],
        steps: 28,
        val_len_max: 50,
        acts: &[Commit, Commit, Subscribe, Acknowledge, Acknowledge, CompactBelow, Flush, Compact],
    },
    Theme {
        name: "bulk ingest",
        kinds: &[Kind::Multiset, Kind::Multiset],
        steps: 22,
        val_len_max: 200,
        acts: &[Commit, Commit, Ingest, Ingest, CompactBelow, Compact, Work],
    },
    Theme {
        name: "checkpoint",
        kinds: ALL,
        steps: 18,
        val_len_max: 100,
        acts: &[Commit, Commit, Commit, Checkpoint, Flush, CompactBelow, Compact],
    },
    Theme {
        name: "backup",
        kinds: ALL,
        steps: 18,
        val_len_max: 100,
        acts: &[Commit, Commit, Commit, Backup, Backup, Restore, Flush, CompactBelow, Compact],
    },
    Theme {
        name: "tables and logs",
        kinds: ALL,
        steps: 30,
        val_len_max: 300,
        acts: &[Commit, Commit, Commit, Commit, CompactBelow, Flush, Work, Compact, Reopen],
    },
    Theme {
        name: "mix",
        kinds: ALL,
        steps: 40,
        val_len_max: 1_000,
        acts: &[
            Commit,
            Commit,
            Commit,
            Commit,
            Commit,
            Flush,
            Work,
            Settle,
            Compact,
            CompactBelow,
            Truncate,
            Erase,
            Ingest,
            Create,
            Drop,
            Hold,
            Loosen,
            Subscribe,
            Acknowledge,
            Checkpoint,
            Backup,
            Restore,
            Reopen,
        ],
    },
];
