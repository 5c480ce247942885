//! [`VersionSink`]: leaves out the versions of a table that no legal read needs any longer.
//!
//! The versions of a key come newest first. Above since all are needed; of those at or below since
//! only the newest, which hides the others. A deletion is needed only as long as it hides something:
//! with nothing older below it, reading it and reading nothing are the same.
//!
//! # Invariants
//! 1. For every `t` at or beyond since, the version of each key that counts at `t` is the same
//!    before and after, a deletion counting as none where nothing older can exist.
//! 2. Entries are passed on as they are and in their order; what is left out is left out wholly.

use crate::cursor::EntrySink;
use crate::error::Result;
use crate::format::table_val::{VERSION_DELETE, ts_of};
use crate::planted::{Bug, planted};
use crate::types::{Frontier, Timestamp};

/// What may lie below the versions that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Older versions of the same keys, in other runs.
    OlderMayExist,
    /// Nothing: the oldest run is among what is merged.
    Nothing,
}

/// Passes on what is needed; see the module's documentation.
#[derive(Debug)]
pub struct VersionSink<S> {
    sink: S,
    since: Frontier,
    floor: Floor,
    key: Vec<u8>,
    /// Time of the version of `key` that came last; `None` before the first.
    last: Option<Timestamp>,
    /// Whether a version of `key` at or below since has come: it hides all that follow.
    settled: bool,
    /// Deletions of `key` that wait for something older to hide.
    deletions: Vec<(Vec<u8>, Timestamp)>,
}

impl<S: EntrySink> VersionSink<S> {
    /// Passes on to `sink` what is needed for reads at `since` and later.
    pub fn new(sink: S, since: Frontier, floor: Floor) -> Self {
        let (key, deletions) = (Vec::new(), Vec::new());
        Self { sink, since, floor, key, last: None, settled: false, deletions }
    }

    /// Takes one version: its only update says when it was written, and whether it is a deletion.
    ///
    /// # Errors
    /// What the sink meets.
    pub fn push(&mut self, key: &[u8], stored: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        let Some(&(_, diff)) = updates.first() else { return Ok(()) };
        let ts = ts_of(stored);
        if self.is_new_key(key) {
            self.end_key()?;
            self.key.clear();
            self.key.extend_from_slice(key);
        } else if self.settled || self.last == Some(ts) {
            return Ok(()); // Hidden, or overwritten at its own time.
        }
        self.last = Some(ts);
        self.settled = self.since >= Frontier::at(ts);
        if self.settled && planted(Bug::NewestBelowSinceLost) {
            return Ok(());
        }
        if diff == VERSION_DELETE {
            self.deletions.push((stored.to_vec(), ts));
            return Ok(());
        }
        self.write_deletions()?;
        self.sink.push(key, stored, updates)
    }

    /// Ends the last key and gives the sink back.
    ///
    /// # Errors
    /// What the sink meets.
    pub fn finish(mut self) -> Result<S> {
        self.end_key()?;
        Ok(self.sink)
    }

    /// The sink, for what does not go through here: whole blocks with one version of each key.
    ///
    /// # Errors
    /// What the sink meets.
    pub fn between_keys(&mut self) -> Result<&mut S> {
        self.end_key()?;
        Ok(&mut self.sink)
    }

    /// What may lie below.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// Whether `key` is another one than that of the last version.
    #[must_use]
    pub fn is_new_key(&self, key: &[u8]) -> bool {
        self.last.is_none() || self.key != key
    }

    fn end_key(&mut self) -> Result<()> {
        match self.floor {
            Floor::OlderMayExist if planted(Bug::DeletionDroppedEarly) => self.deletions.clear(),
            Floor::OlderMayExist => self.write_deletions()?,
            Floor::Nothing => self.deletions.clear(),
        }
        (self.last, self.settled) = (None, false);
        Ok(())
    }

    fn write_deletions(&mut self) -> Result<()> {
        for (stored, ts) in self.deletions.drain(..) {
            self.sink.push(&self.key, &stored, &[(ts, VERSION_DELETE)])?;
        }
        Ok(())
    }
}
