//! Tables as of a time: the version of a key that counts, and [`VersionRows`] in order of keys.

use super::{Snapshot, segment_with};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::format::key_hash;
use crate::format::table_val::{VERSION_PUT, ts_of, val_of};
use crate::found::Version;
use crate::read::merge::Direction;
use crate::read::{MergeCursor, RangeSpec, Source};
use crate::types::{Kind, Timestamp};

/// Versions of one key that are stepped over one by one; more are jumped over.
const STEPS_MAX: usize = 16;

impl Snapshot {
    /// Whether it is one of a table.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Calls `visit` with the value of a table's `key` and the time at which it was put; returns
    /// whether there is one. Costs a probe of each run, newest first, up to the one that has it,
    /// and time in the logarithm of the key's versions there.
    pub fn version(
        &self,
        key: &[u8],
        mut visit: impl FnMut(&[u8], Timestamp) -> Result<()>,
    ) -> Result<bool> {
        let Some(found) = self.stored_version(key)? else { return Ok(false) };
        let (put, stored) = (found.diff == VERSION_PUT, found.stored.as_slice());
        if put {
            visit(val_of(self.0.kind, stored), ts_of(stored))?;
        }
        Ok(put)
    }

    /// The version of `key` that counts.
    fn stored_version(&self, key: &[u8]) -> Result<Option<Version<'_>>> {
        let hash = key_hash(key);
        let mut best: Option<Version<'_>> = None;
        for (memtable, slot) in self.0.memtables.iter().rev() {
            memtable.version(slot, key, hash, self.window(), |version| {
                if best.as_ref().is_none_or(|best| version.precedes(best)) {
                    best = Some(version);
                }
            });
        }
        let use_filter = self.0.reads.parts.len() > 1;
        for (part, window) in self.parts() {
            // Parts come newest first: what was found may be newer than all that follows.
            if best.as_ref().is_some_and(|best| ts_of(best.stored.as_slice()) > window.last) {
                break;
            }
            if let Some(segment) = segment_with(&part.segments, key)?
                && let Some(version) = segment.version(key, hash, window, use_filter)?
                && best.as_ref().is_none_or(|best| version.precedes(best))
            {
                best = Some(version);
            }
        }
        Ok(best)
    }

    /// Whether a table's `key` has a version here, a deletion too.
    pub(crate) fn has_version(&self, key: &[u8]) -> Result<bool> {
        Ok(self.stored_version(key)?.is_some())
    }

    /// The first key in `range` of which a table has a version here, a deletion too.
    pub(crate) fn first_version_in(&self, range: &RangeSpec) -> Result<Option<Vec<u8>>> {
        let mut merge = MergeCursor::new(self.sources());
        match range.first_key() {
            Some(first) => merge.seek(&first)?,
            None => merge.seek_first()?,
        }
        while let Some(source) = merge.current() {
            if !range.contains(source.key()) {
                break;
            }
            if source.sum() != 0 {
                return Ok(Some(source.key().to_vec()));
            }
            merge.step()?;
        }
        Ok(None)
    }

    /// The keys of a table in `range` that have a value, with it, in order.
    #[must_use]
    pub fn version_rows(&self, range: RangeSpec) -> VersionRows {
        VersionRows {
            merge: MergeCursor::new(self.sources()),
            snapshot: self.clone(),
            range,
            direction: Direction::Forward,
            limit: None,
            key: Vec::new(),
            stored: Vec::new(),
            state: State::Unread,
        }
    }
}

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub val: &'a [u8],
    /// The time at which it was put.
    pub ts: Timestamp,
}

/// Reads the rows of a table.
///
/// # Invariants
/// 1. Rows come in strictly ascending (or, reversed, descending) order of keys, each with the value
///    that counts at the snapshot's time.
/// 2. After an error every call returns the same error; after the end every call returns `None`.
#[derive(Debug)]
pub struct VersionRows {
    merge: MergeCursor<Source>,
    snapshot: Snapshot,
    range: RangeSpec,
    direction: Direction,
    /// The first key that is no longer wanted (forward), or the least key that is (reverse).
    limit: Option<Vec<u8>>,
    /// The row that was read last, its value as it is stored.
    key: Vec<u8>,
    stored: Vec<u8>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Unread,
    Reading,
    Ended,
    Failed(Error),
}

impl VersionRows {
    /// The same rows in the other direction, from the other end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.direction = match self.direction {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        };
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Unread;
        }
        self
    }

    /// The next key, its value, and the time at which it was put; `None` after the last one.
    ///
    /// # Errors
    /// What the sources meet.
    #[expect(clippy::should_implement_trait, reason = "it lends; an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<VersionRow<'_>>> {
        match self.advance() {
            Ok(true) => {
                let val = val_of(self.snapshot.0.kind, &self.stored);
                Ok(Some(VersionRow { key: &self.key, val, ts: ts_of(&self.stored) }))
            }
            Ok(false) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn advance(&mut self) -> Result<bool> {
        match &self.state {
            State::Reading => {}
            State::Ended => return Ok(false),
            State::Failed(error) => return Err(error.clone()),
            State::Unread => {
                self.seek()?;
                self.state = State::Reading;
            }
        }
        // The merge stands on the first entry of a key that was not looked at yet.
        loop {
            let Some(source) = self.merge.current() else { return Ok(false) };
            if !self.is_within(source.key()) {
                return Ok(false);
            }
            self.key.clear();
            self.key.extend_from_slice(source.key());
            if self.read_key()? == Some(VERSION_PUT) {
                return Ok(true);
            }
        }
    }

    /// Finds the version of `key` that counts, and leaves the key.
    fn read_key(&mut self) -> Result<Option<i64>> {
        let mut found = None;
        let mut steps = 0;
        while let Some(source) = self.merge.current() {
            if source.key() != self.key {
                return Ok(found);
            }
            let diff = source.sum() as i64;
            // Forward the first visible version is the newest; in reverse the last one is.
            if diff != 0 && (found.is_none() || self.direction == Direction::Reverse) {
                self.stored.clear();
                self.stored.extend_from_slice(source.val());
                found = Some(diff);
            }
            steps += 1;
            if steps == STEPS_MAX {
                return self.jump(found);
            }
            match self.direction {
                // What follows is older.
                Direction::Forward if found.is_some() => self.merge.step_with(Source::leave_key)?,
                Direction::Forward => self.merge.step_with(Source::next_in_window)?,
                Direction::Reverse => self.merge.step()?,
            }
        }
        Ok(found)
    }

    /// Leaves a key with many versions.
    #[cold]
    fn jump(&mut self, found: Option<i64>) -> Result<Option<i64>> {
        let found = match (found, self.direction) {
            (Some(diff), Direction::Forward) => Some(diff),
            _ => self.snapshot.stored_version(&self.key)?.map(|version| {
                self.stored.clear();
                self.stored.extend_from_slice(version.stored.as_slice());
                version.diff
            }),
        };
        match self.direction {
            Direction::Forward => {
                let next = [&self.key[..], &[0]].concat();
                self.merge.seek(&next)?;
            }
            Direction::Reverse => self.merge.seek_before(&self.key)?,
        }
        Ok(found)
    }

    fn seek(&mut self) -> Result<()> {
        let (first, end) = (self.range.first_key(), self.range.end_key());
        match (self.direction, &first, &end) {
            (Direction::Forward, Some(first), _) => self.merge.seek(first)?,
            (Direction::Forward, None, _) => self.merge.seek_first()?,
            (Direction::Reverse, _, Some(end)) => self.merge.seek_before(end)?,
            (Direction::Reverse, _, None) => self.merge.seek_last()?,
        }
        self.limit = match self.direction {
            Direction::Forward => end,
            Direction::Reverse => first,
        };
        Ok(())
    }

    fn is_within(&self, key: &[u8]) -> bool {
        match (&self.limit, self.direction) {
            (None, _) => true,
            (Some(end), Direction::Forward) => key < end.as_slice(),
            (Some(first), Direction::Reverse) => key >= first.as_slice(),
        }
    }
}
