//! What changed between two times: the rows of two snapshots walked side by side.

use crate::failure::{InDatabase as _, Result};
use datestone::Snapshot;
use std::collections::BTreeMap;
use std::path::Path;

/// How one key changed: the values that went and those that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Values that went.
    pub(super) gone: Vec<Vec<u8>>,
    /// Values that came.
    pub(super) come: Vec<Vec<u8>>,
}

/// The changes of each key that changed.
pub(super) type Changes = BTreeMap<Vec<u8>, Change>;

/// The net changes from `before` to `after`.
pub(super) fn between(db: &Path, before: &Snapshot, after: &Snapshot) -> Result<Changes> {
    let mut changes = Changes::new();
    let (mut before, mut after) = (before.iter(), after.iter());
    let mut old = before.next_row().in_database(db)?;
    let mut new = after.next_row().in_database(db)?;
    loop {
        // Rows come in order of (key, val): what only one side has next is what went or came.
        let (went, came) = match (old, new) {
            (None, None) => return Ok(changes),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(old), Some(new)) => {
                let (old, new) = ((old.key, old.val), (new.key, new.val));
                (old <= new, new <= old)
            }
        };
        if let (Some(row), true, false) = (old, went, came) {
            changes.entry(row.key.to_vec()).or_default().gone.push(row.val.to_vec());
        }
        if let (Some(row), false, true) = (new, went, came) {
            changes.entry(row.key.to_vec()).or_default().come.push(row.val.to_vec());
        }
        if went {
            old = before.next_row().in_database(db)?;
        }
        if came {
            new = after.next_row().in_database(db)?;
        }
    }
}

/// The changes in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Values that went.
    pub(super) vals_gone: usize,
    /// Values that came.
    pub(super) vals_come: usize,
    /// Keys with other values than before.
    pub(super) moved: usize,
    /// Keys that were not there before.
    pub(super) new: usize,
    /// Keys that are no longer there.
    pub(super) gone: usize,
}

impl Tally {
    /// Counts `changes`, which lead from `before` to `after`.
    pub(super) fn of(
        db: &Path,
        changes: &Changes,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<Self> {
        let mut tally = Self::default();
        for (key, change) in changes {
            tally.vals_gone += change.gone.len();
            tally.vals_come += change.come.len();
            match (has(db, before, key)?, has(db, after, key)?) {
                (false, _) => tally.new += 1,
                (true, false) => tally.gone += 1,
                (true, true) => tally.moved += 1,
            }
        }
        Ok(tally)
    }
}

/// Whether the snapshot has a row with this key.
fn has(db: &Path, snapshot: &Snapshot, key: &[u8]) -> Result<bool> {
    let mut found = false;
    snapshot.get_with(key, |_, _| found = true).in_database(db)?;
    Ok(found)
}
