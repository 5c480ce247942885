//! A [`Cursor`] over a list in memory, for tests: the contract in its plainest form.

use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::types::{TimeWindow, Timestamp};

/// One entry: key, value, updates.
pub(crate) type Entry = (Vec<u8>, Vec<u8>, Vec<(Timestamp, i64)>);

/// Walks over entries that are sorted by `(key, val)`, equal neighbours allowed.
#[derive(Clone, Debug)]
pub(crate) struct VecCursor {
    entries: Vec<Entry>,
    window: TimeWindow,
    at: Option<usize>,
    /// The cursor fails when it would step onto the entry with this index.
    pub(crate) fail_at: Option<usize>,
    failed: Option<Error>,
}

impl VecCursor {
    pub(crate) fn new(entries: Vec<Entry>, window: TimeWindow) -> Self {
        assert!(entries.is_sorted_by(|a, b| (&a.0, &a.1) <= (&b.0, &b.1)), "sorted entries");
        Self { entries, window, at: None, fail_at: None, failed: None }
    }

    fn to(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|at| *at < self.entries.len());
        if let Some(error) = &self.failed {
            self.at = None;
            return Err(error.clone());
        }
        if self.at.is_some() && self.at == self.fail_at {
            self.at = None;
            self.failed = Some(Error::corruption("test".as_ref(), 7, "a bad entry"));
            return self.to(None);
        }
        Ok(())
    }

    fn entry(&self) -> &Entry {
        &self.entries[self.at.expect("valid")]
    }
}

impl Cursor for VecCursor {
    fn valid(&self) -> bool {
        self.at.is_some()
    }

    fn key(&self) -> &[u8] {
        &self.entry().0
    }

    fn val(&self) -> &[u8] {
        &self.entry().1
    }

    fn updates(&self, out: &mut Vec<(Timestamp, i64)>) {
        out.extend(self.entry().2.iter().filter(|(ts, _)| self.window.contains(*ts)));
    }

    fn sum(&self) -> i128 {
        let mut updates = Vec::new();
        self.updates(&mut updates);
        updates.iter().map(|(_, diff)| i128::from(*diff)).sum()
    }

    fn may_repeat(&self) -> bool {
        let at = self.at.expect("valid");
        let same = |other: Option<&Entry>| {
            other.is_some_and(|e| (&e.0, &e.1) == (&self.entry().0, &self.entry().1))
        };
        same(self.entries.get(at + 1)) || (at > 0 && same(self.entries.get(at - 1)))
    }

    fn next(&mut self) -> Result<()> {
        match self.at {
            Some(at) => self.to(Some(at + 1)),
            None => self.to(None),
        }
    }

    fn prev(&mut self) -> Result<()> {
        self.to(self.at.and_then(|at| at.checked_sub(1)))
    }

    fn seek_first(&mut self) -> Result<()> {
        self.to(Some(0))
    }

    fn seek_last(&mut self) -> Result<()> {
        self.to(self.entries.len().checked_sub(1))
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.to(Some(self.entries.partition_point(|e| e.0.as_slice() < key)))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.to(self.entries.partition_point(|e| e.0.as_slice() < key).checked_sub(1))
    }
}
