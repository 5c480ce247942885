//! [`VersionChanges`]: what differs between a table at two times.

use super::Snapshot;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::read::merge::Direction;
use crate::read::rows::Row;
use crate::read::{MergeCursor, RangeSpec, Source};
use crate::types::{TimeWindow, Timestamp};

/// For each key that was written in between: the value that it had, with diff -1, and the one that
/// it has, with diff 1, in order of `(key, val)`; nothing where they are the same. Costs two point
/// reads for each such key.
///
/// # Invariants
/// 1. After an error every call returns the same error; after the end every call returns `None`.
#[derive(Debug)]
pub struct VersionChanges {
    /// What was written in between.
    written: MergeCursor<Source>,
    before: Snapshot,
    after: Snapshot,
    range: RangeSpec,
    direction: Direction,
    key: Vec<u8>,
    /// Rows of `key` that are still to come, the next one last.
    rows: Vec<(Vec<u8>, i64)>,
    row: Vec<u8>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Unread,
    Reading,
    Ended,
    Failed(Error),
}

impl Snapshot {
    /// The same memtables and segments at an earlier time.
    fn at(&self, as_of: Timestamp) -> Self {
        let mut inner = super::Inner::clone(&self.0);
        inner.as_of = as_of;
        Self(std::sync::Arc::new(inner))
    }

    /// What a key of a table has at an earlier time.
    pub(super) fn val_at(&self, key: &[u8], as_of: Timestamp) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.at(as_of).version(key, |val, _| {
            found = Some(val.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    /// The difference between a table at `from` and at `to`.
    pub(super) fn version_changes(
        &self,
        from: Timestamp,
        to: Timestamp,
        range: RangeSpec,
    ) -> VersionChanges {
        let window = from.checked_add(1).map(|first| TimeWindow { first, last: to });
        VersionChanges {
            written: MergeCursor::new(self.sources_in(window)),
            before: self.at(from),
            after: self.at(to),
            range,
            direction: Direction::Forward,
            key: Vec::new(),
            rows: Vec::new(),
            row: Vec::new(),
            state: State::Unread,
        }
    }
}

impl VersionChanges {
    /// The same rows in the other direction, from the other end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.direction = match self.direction {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        };
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Unread;
            self.rows.clear();
        }
        self
    }

    /// The next row, `None` after the last one.
    ///
    /// # Errors
    /// What the sources meet.
    #[expect(clippy::should_implement_trait, reason = "it lends; an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self.advance() {
            Ok(Some(diff)) => Ok(Some(Row { key: &self.key, val: &self.row, diff })),
            Ok(None) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn advance(&mut self) -> Result<Option<i64>> {
        match &self.state {
            State::Reading => {}
            State::Ended => return Ok(None),
            State::Failed(error) => return Err(error.clone()),
            State::Unread => {
                self.seek()?;
                self.state = State::Reading;
            }
        }
        loop {
            if let Some((val, diff)) = self.rows.pop() {
                self.row = val;
                return Ok(Some(diff));
            }
            let Some(source) = self.written.current() else { return Ok(None) };
            if !self.range.contains(source.key()) {
                return Ok(None);
            }
            if source.sum() == 0 {
                self.written.step()?;
                continue;
            }
            self.key.clear();
            self.key.extend_from_slice(source.key());
            self.compare()?;
            match self.direction {
                Direction::Forward => self.written.seek(&[&self.key[..], &[0]].concat())?,
                Direction::Reverse => self.written.seek_before(&self.key)?,
            }
        }
    }

    /// Finds the rows of `key`.
    fn compare(&mut self) -> Result<()> {
        let read = |snapshot: &Snapshot| snapshot.val_at(&self.key, snapshot.as_of());
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        if before != after {
            self.rows.extend(before.map(|val| (val, -1)));
            self.rows.extend(after.map(|val| (val, 1)));
            self.rows.sort();
            if self.direction == Direction::Forward {
                self.rows.reverse();
            }
        }
        Ok(())
    }

    fn seek(&mut self) -> Result<()> {
        match (self.direction, self.range.first_key(), self.range.end_key()) {
            (Direction::Forward, Some(first), _) => self.written.seek(&first),
            (Direction::Forward, None, _) => self.written.seek_first(),
            (Direction::Reverse, _, Some(end)) => self.written.seek_before(&end),
            (Direction::Reverse, _, None) => self.written.seek_last(),
        }
    }
}
