//! Where a load stands: the count of rows of its input that are durable, as a mark of its
//! collection.

use super::mark::Mark;
use crate::failure::Result;
use crate::store::Store;
use datestone::Commit;

/// The collection that keeps positions: key = name of a collection, val = count of rows, decimal.
pub(crate) const POSITIONS: &str = "dbtool.positions";

/// The position of the load into one collection.
pub(crate) struct Position {
    mark: Mark,
    /// The durable count of rows; `None` when nothing was ever loaded.
    rows: Option<u64>,
}

impl Position {
    /// Reads the position of `target`.
    pub(crate) fn open(store: &Store, target: &str) -> Result<Self> {
        let mark = Mark::open(store, POSITIONS, target)?;
        let rows = match mark.val() {
            None => None,
            Some(val) => Some(parse(val).ok_or_else(|| mark.odd())?),
        };
        Ok(Self { mark, rows })
    }

    /// The count of rows that are durable.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Adds "the position is `rows`" to `commit`.
    pub(crate) fn put(&self, commit: Commit, rows: u64) -> Result<Commit> {
        self.mark.put(commit, rows.to_string().as_bytes())
    }

    /// The commit with position `rows` is durable.
    pub(crate) fn committed(&mut self, rows: u64) {
        self.rows = Some(rows);
        self.mark.committed(rows.to_string().as_bytes());
    }
}

fn parse(val: &[u8]) -> Option<u64> {
    std::str::from_utf8(val).ok()?.parse().ok()
}
