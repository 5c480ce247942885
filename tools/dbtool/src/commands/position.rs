//! Where a load stands: kept in a collection of its own, written in the same commit as the rows, so
//! that a load that was killed goes on exactly behind its last durable commit.
//!
//! # Invariants
//! 1. The position of a collection is the count of rows of its input that are durable in it.
//! 2. There is at most one position for each collection at any time.
//! 3. Its history is compacted away as it goes: only the last position is kept.

use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::store::Store;
use datestone::{Collection, Commit, Frontier, Update};

/// The collection that keeps positions: key = name of a collection, val = count of rows, decimal.
pub(crate) const POSITIONS: &str = "dbtool.positions";

/// The position of the load into one collection.
pub(crate) struct Position {
    positions: Collection,
    /// The collection that is loaded.
    target: String,
    /// Upper of the positions: the time of the next one.
    upper: Frontier,
    /// The durable count of rows; `None` when nothing was ever loaded.
    rows: Option<u64>,
}

impl Position {
    /// Reads the position of `target`.
    pub(crate) fn open(store: &Store, target: &str) -> Result<Self> {
        let positions = store.db.collection(POSITIONS).in_database(store.path())?;
        let mut found = vec![];
        let upper = store.info(&positions)?.upper;
        if upper > Frontier::MIN {
            let snapshot = store.snapshot(&positions, None)?;
            snapshot
                .get_with(target.as_bytes(), |val, _| found.push(val.to_vec()))
                .in_database(store.path())?;
        }
        let rows = match found.as_slice() {
            [] => None,
            [val] => Some(parse(val).ok_or_else(|| odd(target))?),
            _ => return Err(odd(target)), // I2
        };
        Ok(Self { positions, target: target.into(), upper, rows })
    }

    /// The count of rows that are durable.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Adds "the position is `rows`" to `commit`.
    pub(crate) fn put(&self, commit: Commit, rows: u64) -> Result<Commit> {
        let Some(ts) = self.upper.ts() else {
            return Err(Failure::new(Exit::Error, format!("collection '{POSITIONS}' is closed"))
                .hint("load into a new database"));
        };
        let old = self.rows.map(|rows| rows.to_string());
        let new = rows.to_string();
        let key = self.target.as_bytes();
        let mut updates = vec![];
        if let Some(old) = &old {
            updates.push(Update { key, val: old.as_bytes(), ts, diff: -1 });
        }
        updates.push(Update { key, val: new.as_bytes(), ts, diff: 1 });
        Ok(commit
            .append(&self.positions, &updates)
            .advance_upper(&self.positions, Frontier::just_beyond(ts))
            .compact_below(&self.positions, Frontier::at(ts))) // I3
    }

    /// The commit with position `rows` is durable.
    pub(crate) fn committed(&mut self, rows: u64) {
        self.rows = Some(rows);
        self.upper = self.upper.ts().map_or(self.upper, Frontier::just_beyond);
    }
}

fn parse(val: &[u8]) -> Option<u64> {
    std::str::from_utf8(val).ok()?.parse().ok()
}

fn odd(target: &str) -> Failure {
    let what = format!("the position of collection '{target}' is no count of rows");
    Failure::new(Exit::Error, what)
        .why(format!("collection '{POSITIONS}' was changed by something else"))
        .hint("load into a new database")
}
