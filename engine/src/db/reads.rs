//! Reads beyond the snapshot: history, changes, waiting, and the holds that keep history readable.

use super::Db;
use crate::collection::Collection;
use crate::error::{Error, ErrorKind, Result};
use crate::holds::{HoldInfo, ReadHold};
use crate::limits;
use crate::read::RangeSpec;
use crate::snapshot::{Contents, Snapshot, Updates};
use crate::types::{CollectionId, Frontier, SeqNo, TimeWindow, Timestamp};
use crate::watch::{Parker, Registration};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// What differs between two times: rows whose diff is the difference of their multiplicities.
pub type Changes = Contents;

impl Db {
    /// The updates with keys in `range` and times in `lower..upper`, in order of `(key, val, ts)`,
    /// consolidated; updates below since count as being at since, whether or not compaction has
    /// been there. `upper` `None` means the collection's.
    ///
    /// # Errors
    /// [`Error::NotYet`] when `upper` lies beyond the collection's.
    pub fn history(
        &self,
        id: CollectionId,
        range: RangeSpec,
        lower: Timestamp,
        upper: Option<Frontier>,
    ) -> Result<Updates> {
        let (collection, pinned) = self.pin(id)?;
        let upper = upper.unwrap_or(collection.upper);
        if upper > collection.upper {
            return Err(not_yet(&collection, upper.last_below().unwrap_or(0)));
        }
        Ok(pinned.updates(history_window(lower, upper, collection.since), collection.since, range))
    }

    /// The difference between the contents at `from` and at `to`, in order of `(key, val)`, without
    /// rows that are the same. Reads only what has times beyond `from`, up to `to`.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::NotYet`] when one of the times cannot be read,
    /// [`Error::Invalid`] when `from` lies behind `to`.
    pub fn changes(
        &self,
        id: CollectionId,
        range: RangeSpec,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Changes> {
        if from > to {
            return Err(Error::invalid(format!("changes from {from} to {to}, which lies before")));
        }
        let (collection, pinned) = self.pin(id)?;
        collection.check_as_of(from)?;
        collection.check_as_of(to)?;
        // Beyond since no time was advanced, so what is in between has always been there.
        Ok(pinned.changes(from, to, range))
    }

    /// As [`snapshot`](Self::snapshot), waiting until upper passes `as_of`, at most so long.
    ///
    /// # Errors
    /// [`Error::NotYet`] when that time has passed; [`Error::Compacted`] at once;
    /// [`Error::Closed`] and [`Error::NotFound`] when the database is closed or the collection is
    /// dropped meanwhile.
    pub fn snapshot_wait(
        &self,
        id: CollectionId,
        as_of: Timestamp,
        at_most: Duration,
    ) -> Result<Snapshot> {
        let mut last = None;
        let found = self.wait(id, Some(at_most), || match self.snapshot(id, as_of) {
            Err(e) if e.kind() == ErrorKind::NotYet => {
                last = Some(e);
                Ok(None)
            }
            other => other.map(Some),
        })?;
        match (found, last) {
            (Some(snapshot), _) => Ok(snapshot),
            (None, Some(not_yet)) => Err(not_yet),
            (None, None) => Err(Error::Internal { what: "waited for nothing".into() }),
        }
    }

    /// Has `waker` woken at the next change of a collection: its frontiers, its metadata, its drop,
    /// or the closing of the database. The caller looks for what it waits for *after* this call.
    #[must_use]
    pub fn watch(&self, id: CollectionId, waker: Waker) -> Registration {
        self.0.view.watch.register(id, waker)
    }

    /// Calls `look` until it finds something, each time a collection has changed, at most so long.
    pub(crate) fn wait<T>(
        &self,
        id: CollectionId,
        at_most: Option<Duration>,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        let clock = &self.0.view.env.clock;
        let end = at_most.and_then(|at_most| clock.monotonic().checked_add(at_most));
        let parker = Arc::new(Parker::default());
        loop {
            let _registered = self.watch(id, Arc::clone(&parker).into());
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            let left = end.map(|end| end.saturating_sub(clock.monotonic()));
            if left.is_some_and(|left| left.is_zero()) || !parker.park(left) {
                return look();
            }
        }
    }

    /// Keeps the since of a collection at or below `at` until the hold is dropped.
    ///
    /// # Errors
    /// [`Error::Compacted`] when since is beyond `at` already; [`Error::Invalid`] when the owner's
    /// text is too long; [`Error::ReadOnly`], for only who writes can keep what it forgets.
    pub fn hold(&self, id: CollectionId, at: Timestamp, owner: &str) -> Result<ReadHold> {
        self.hold_from(id, at, owner, None)
    }

    /// The same, as if made when `seqno` was the last commit.
    pub(super) fn hold_from(
        &self,
        id: CollectionId,
        at: Timestamp,
        owner: &str,
        seqno: Option<SeqNo>,
    ) -> Result<ReadHold> {
        let writer = self.0.writer()?;
        check_owner(owner)?;
        // Under the leader's lock, so that no since is on its way.
        let leader = writer.leader.lock();
        let collection = leader.state.collections.require(id)?;
        if collection.since.is_beyond(at) {
            collection.check_as_of(at)?;
        }
        let seqno = seqno.unwrap_or(leader.state.last_seqno);
        Ok(self.0.view.holds.hold(id, Frontier::at(at), owner, seqno))
    }

    /// All holds, oldest first.
    #[must_use]
    pub fn holds(&self) -> Vec<HoldInfo> {
        self.0.view.holds.list()
    }

    /// The since that was asked for: beyond the collection's where holds keep it back.
    pub fn requested_since(&self, id: CollectionId) -> Result<Frontier> {
        let since = self.collection(id)?.since;
        Ok(self.0.view.holds.requested(id).map_or(since, |requested| requested.max(since)))
    }

    /// Blocks of a collection's segments that were touched since the segments were opened, and all.
    ///
    /// # Errors
    /// [`Error::Corruption`] when a block index is damaged.
    pub fn blocks_touched(&self, id: CollectionId) -> Result<(usize, usize)> {
        let reads = self.0.view.catalog.read().reads(id);
        let mut sums = (0, 0);
        for segment in reads.parts.iter().flat_map(|part| part.segments.iter()) {
            let (touched, all) = segment.blocks_touched()?;
            sums = (sums.0 + touched, sums.1 + all);
        }
        Ok(sums)
    }

    /// A collection, and everything of it below its upper.
    pub(crate) fn pin(&self, id: CollectionId) -> Result<(Collection, Snapshot)> {
        self.0.view.check_open()?;
        let catalog = self.0.view.catalog.read();
        let collection = catalog.collections().current(id)?;
        // With nothing below upper there is nothing to read, which the window 0..upper says.
        let last = collection.upper.last_below().unwrap_or(0);
        let description = &collection.description;
        let pinned = Snapshot::new(description, last, catalog.mem(), catalog.reads(id));
        Ok((collection, pinned))
    }
}

/// Refuses texts that are too long for the owner of a hold.
pub fn check_owner(owner: &str) -> Result<()> {
    let (len, max) = (owner.len(), limits::NAME_LEN_MAX);
    if len > max {
        let what = format!("the owner of a hold has {len} bytes, the most is {max}");
        return Err(Error::invalid(what));
    }
    Ok(())
}

fn not_yet(collection: &Collection, as_of: Timestamp) -> Error {
    let name = collection.description.name.to_string();
    Error::NotYet { collection: name, as_of, since: collection.since, upper: collection.upper }
}

/// Where the updates lie whose times, advanced to `since`, are in `lower..upper`.
fn history_window(lower: Timestamp, upper: Frontier, since: Frontier) -> Option<TimeWindow> {
    let since = since.advance(0);
    if !upper.is_beyond(since) {
        return None; // No time from since on is in the window.
    }
    let first = if lower <= since { 0 } else { lower };
    TimeWindow::between(Frontier::at(first), upper)
}
