//! [`Model`]: what a database should hold; a list of updates for each collection and nothing else.

use datestone_engine::types::Frontier;
use std::collections::{BTreeMap, BTreeSet};

/// The rows of one time.
pub(crate) type Contents = BTreeMap<(Vec<u8>, Vec<u8>), i64>;

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelCollection {
    pub(crate) since: Frontier,
    pub(crate) upper: Frontier,
    /// Key, value, time, diff.
    pub(crate) updates: Vec<(Vec<u8>, Vec<u8>, u64, i64)>,
}

impl Default for ModelCollection {
    fn default() -> Self {
        Self { since: Frontier::MIN, upper: Frontier::MIN, updates: Vec::new() }
    }
}

impl ModelCollection {
    /// The rows at `as_of`.
    pub(crate) fn contents(&self, as_of: u64) -> Contents {
        let mut contents = Contents::new();
        for (key, val, _, diff) in self.updates.iter().filter(|(_, _, ts, _)| *ts <= as_of) {
            *contents.entry((key.clone(), val.clone())).or_default() += diff;
        }
        contents.retain(|_, diff| *diff != 0);
        contents
    }

    /// Whether `as_of` can be read.
    pub(crate) fn is_readable(&self, as_of: u64) -> bool {
        self.upper.is_beyond(as_of) && !self.since.is_beyond(as_of)
    }

    /// Times at which something changes, and those around the frontiers.
    pub(crate) fn interesting_times(&self) -> BTreeSet<u64> {
        let edges = [self.since.ts(), self.upper.ts(), self.upper.last_below(), Some(0)];
        let around = edges.into_iter().flatten().flat_map(|ts| [ts.saturating_sub(1), ts]);
        self.updates.iter().map(|(_, _, ts, _)| *ts).chain(around).collect()
    }
}

/// All collections by name.
pub(crate) type Model = BTreeMap<String, ModelCollection>;
