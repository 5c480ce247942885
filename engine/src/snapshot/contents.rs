//! [`Contents`]: the rows of a collection of any kind.

use super::{Snapshot, VersionChanges, VersionRows};
use crate::error::Result;
use crate::format::log_key::{LOG_ID_PREFIX, event_key, split_event};
use crate::read::rows::Row;
use crate::read::{RangeSpec, Rows, Source};
use crate::types::Kind;
use std::ops::Bound;

/// Rows in order of `(key, val)`: of a multiset with their multiplicities, of a table and of a log
/// each once.
#[derive(Debug)]
pub enum Contents {
    /// Those of a multiset.
    Rows(Rows<Source>),
    /// The events of a log.
    Events(Rows<Source>),
    /// Those of a table.
    Versions(Box<VersionRows>),
    /// What differs between a table at two times.
    Changes(Box<VersionChanges>),
}

impl From<Rows<Source>> for Contents {
    fn from(rows: Rows<Source>) -> Self {
        Self::Rows(rows)
    }
}

impl Contents {
    /// The same rows in the other direction, from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.reversed()),
            Self::Events(rows) => Self::Events(rows.reversed()),
            Self::Versions(rows) => Self::Versions(Box::new(rows.reversed())),
            Self::Changes(rows) => Self::Changes(Box::new(rows.reversed())),
        }
    }

    /// The next row, `None` after the last one.
    ///
    /// # Errors
    /// What the sources meet; the same again when it is called again.
    #[expect(clippy::should_implement_trait, reason = "it lends; an Iterator cannot")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Self::Rows(rows) => rows.next(),
            Self::Events(rows) => {
                Ok(rows.next()?.map(|row| Row { val: split_event(row.val).1, ..row }))
            }
            Self::Versions(rows) => {
                Ok(rows.next()?.map(|row| Row { key: row.key, val: row.val, diff: 1 }))
            }
            Self::Changes(rows) => rows.next(),
        }
    }
}

impl Snapshot {
    /// The rows whose key is in `range`, whatever kind the collection is of. The ids of a log are
    /// not among them.
    #[must_use]
    pub fn contents(&self, range: RangeSpec) -> Contents {
        match self.kind() {
            Kind::Multiset => Contents::Rows(self.rows(range)),
            Kind::Table | Kind::ClockTable => {
                Contents::Versions(Box::new(self.version_rows(range)))
            }
            Kind::Log => Contents::Events(self.rows(events_only(range))),
        }
    }

    /// Calls `visit` with each value of `key` and its multiplicity, whatever kind the collection is
    /// of.
    #[inline]
    pub fn contents_of(
        &self,
        key: &[u8],
        mut visit: impl FnMut(&[u8], i64) -> Result<()>,
    ) -> Result<()> {
        match self.kind() {
            Kind::Multiset => self.get(key, visit),
            Kind::Log if key.len() != event_key(0).len() => Ok(()),
            Kind::Log => self.get(key, |stored, diff| visit(split_event(stored).1, diff)),
            _ => self.version(key, |val, _| visit(val, 1)).map(drop),
        }
    }
}

/// The part of a range that has events.
pub(crate) fn events_only(range: RangeSpec) -> RangeSpec {
    let end = event_key(LOG_ID_PREFIX).to_vec();
    let beyond = match &range.end {
        Bound::Unbounded => true,
        Bound::Included(last) | Bound::Excluded(last) => *last >= end,
    };
    if beyond { RangeSpec { end: Bound::Excluded(end), ..range } } else { range }
}
