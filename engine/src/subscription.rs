//! [`Subscription`]: the updates of a collection as time goes on, without a queue.
//!
//! A subscription is a frontier and a hold. Everything below the frontier was delivered; when it is
//! asked, it reads what lies between its frontier and upper from memtables and segments, by time,
//! a piece of bounded size after the other. So a slow one costs nothing but the history that it
//! keeps from being forgotten, and never loses anything.
//!
//! ```text
//! [snapshot at as_of] -> Progress(as_of + 1) -> choose an interval -> Updates .. -> Progress -> ..
//!                                                \-> nothing yet: None
//! ```
//!
//! # Invariants
//! 1. Everything below `frontier` was delivered, nothing at or beyond it, but for what of the
//!    interval that is being delivered was.
//! 2. The hold is just below the frontier: a since at the frontier might give the times of delivered
//!    updates to the undelivered. Where there is none, since is looked at instead.
//! 3. Updates are delivered in order of `(ts, key, val)`, each sum once, whatever the sizes of the
//!    pieces: an interval of several times is delivered in one piece, sorted; a time that is larger
//!    than a piece is delivered alone, streamed in its order of `(key, val)`.
//! 4. After an error every later call returns the same error.

mod batch;

#[cfg(test)]
mod tests;

pub use batch::UpdateBatch;

use crate::db::{Changes, Db, DurableSubscription, check_owner};
use crate::error::{Error, Result};
use crate::holds::ReadHold;
use crate::planted::{Bug, planted};
use crate::read::RangeSpec;
use crate::snapshot::Updates;
use crate::types::{CollectionId, Frontier, TimeWindow, Timestamp, Update};
use crate::watch::Registration;
use std::fmt;
use std::task::Waker;
use std::time::Duration;

/// About how many bytes a piece has at most, unless said otherwise.
pub const PIECE_BYTES: usize = 1 << 20;

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Updates; more of the last of their times may follow in the next event.
    Updates(UpdateBatch),
    /// Everything below was delivered.
    Progress(Frontier),
}

/// Delivers a snapshot and what comes after it, or only the latter; see the module's documentation.
pub struct Subscription {
    db: Db,
    id: CollectionId,
    frontier: Frontier,
    /// Of none on a database that is only read: there is nobody to ask.
    hold: Option<ReadHold>,
    piece_bytes: usize,
    /// How many times the latest interval had, if it was cut short: a guess for the next one.
    span: Option<u64>,
    state: State,
}

enum State {
    /// Delivering the snapshot.
    Snapshot { rows: Changes, as_of: Timestamp },
    /// Nothing is under way.
    Idle,
    /// Delivering a single time that is larger than a piece.
    Streaming { updates: Updates },
    /// Everything below was delivered, which is still to be said.
    Reached(Frontier),
    /// Invariant 4.
    Failed(Error),
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .field("frontier", &self.frontier)
            .finish()
    }
}

impl Db {
    /// Exactly the updates with times beyond `as_of`, as upper passes them.
    ///
    /// # Errors
    /// [`Error::Compacted`] when `as_of` lies below since.
    pub fn listen(&self, id: CollectionId, as_of: Timestamp, owner: &str) -> Result<Subscription> {
        let hold = if self.is_read_only() {
            check_owner(owner)?;
            let collection = self.collection(id)?;
            if collection.since.is_beyond(as_of) {
                collection.check_as_of(as_of)?;
            }
            None
        } else {
            Some(self.hold(id, as_of, owner)?)
        };
        let late = u64::from(planted(Bug::DeliveryLeavesOut));
        let frontier = Frontier::just_beyond(as_of.saturating_add(late));
        Ok(Subscription {
            db: self.clone(),
            id,
            frontier,
            hold,
            piece_bytes: PIECE_BYTES,
            span: None,
            state: State::Idle,
        })
    }

    /// The contents at `as_of`, as updates of that time, then [`listen`](Self::listen).
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::NotYet`] when `as_of` cannot be read.
    pub fn subscribe(
        &self,
        id: CollectionId,
        as_of: Timestamp,
        owner: &str,
    ) -> Result<Subscription> {
        // The hold first: the snapshot's time stays readable from here on.
        let mut subscription = self.listen(id, as_of, owner)?;
        let rows = self.snapshot(id, as_of)?.contents(RangeSpec::ALL);
        subscription.frontier = Frontier::at(as_of);
        subscription.state = State::Snapshot { rows, as_of };
        Ok(subscription)
    }

    /// What a durable subscription has yet to acknowledge, and what comes after it: the contents at
    /// its start first, as long as nothing was acknowledged.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn resume(&self, taken: &DurableSubscription) -> Result<Subscription> {
        let owner = &taken.owner;
        match taken.frontier.ts() {
            Some(ts) if ts <= taken.start => self.subscribe(taken.collection, taken.start, owner),
            Some(ts) => self.listen(taken.collection, ts - 1, owner),
            // Nothing comes after it.
            None => self.listen(taken.collection, Timestamp::MAX, owner),
        }
    }
}

impl Subscription {
    /// Has pieces of about so many bytes at most; a larger update is a piece by itself.
    pub fn set_piece_bytes(&mut self, bytes: usize) {
        self.piece_bytes = bytes.max(1);
    }

    /// Says who holds since for it, in other words than before.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is too long.
    pub fn set_owner(&mut self, owner: &str) -> Result<()> {
        check_owner(owner)?;
        if let Some(hold) = &mut self.hold {
            hold.set_owner(owner);
        }
        Ok(())
    }

    /// Everything below was delivered and said to be: where a new subscription goes on, as of the
    /// time before it.
    #[must_use]
    pub const fn frontier(&self) -> Frontier {
        self.frontier
    }

    /// The collection.
    #[must_use]
    pub const fn collection(&self) -> CollectionId {
        self.id
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection was dropped, [`Error::Closed`], [`Error::Corruption`],
    /// [`Error::Io`].
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        let next = self.advance();
        if let Err(error) = &next {
            self.state = State::Failed(error.clone());
        }
        next
    }

    /// The next event, waiting for it at most so long; `None` when there was none. At once when
    /// upper is closed and everything was delivered, for then there will be none.
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next(&mut self, at_most: Option<Duration>) -> Result<Option<Event>> {
        if self.frontier.is_closed() {
            return self.try_next();
        }
        let (db, id) = (self.db.clone(), self.id);
        db.wait(id, at_most, || self.try_next())
    }

    /// Has `waker` woken when there may be another event. Ask [`try_next`](Self::try_next) *after*
    /// this call.
    #[must_use]
    pub fn watch(&self, waker: Waker) -> Registration {
        self.db.watch(self.id, waker)
    }

    fn advance(&mut self) -> Result<Option<Event>> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Snapshot { mut rows, as_of } => {
                let mut piece = UpdateBatch::default();
                while piece.len_bytes() < self.piece_bytes {
                    let Some(row) = rows.next()? else {
                        return self.deliver(piece, Frontier::just_beyond(as_of));
                    };
                    piece.push(Update { key: row.key, val: row.val, ts: as_of, diff: row.diff });
                }
                self.state = State::Snapshot { rows, as_of };
                Ok(Some(Event::Updates(piece)))
            }
            State::Streaming { mut updates } => {
                let mut piece = UpdateBatch::default();
                if fill(&mut updates, &mut piece, self.piece_bytes)? {
                    let reached =
                        self.frontier.ts().map_or(Frontier::CLOSED, Frontier::just_beyond);
                    return self.deliver(piece, reached);
                }
                self.state = State::Streaming { updates };
                Ok(Some(Event::Updates(piece)))
            }
            State::Reached(frontier) => {
                self.reach(frontier);
                Ok(Some(Event::Progress(frontier)))
            }
            State::Idle => self.read_on(),
            State::Failed(error) => Err(error),
        }
    }

    /// Delivers the last piece before `reached`.
    fn deliver(&mut self, piece: UpdateBatch, reached: Frontier) -> Result<Option<Event>> {
        if piece.is_empty() {
            self.reach(reached);
            return Ok(Some(Event::Progress(reached)));
        }
        self.state = State::Reached(reached);
        Ok(Some(Event::Updates(piece)))
    }

    fn reach(&mut self, frontier: Frontier) {
        self.frontier = frontier;
        // I2; a closed frontier needs no history at all.
        let at = match frontier.ts() {
            Some(ts) => Frontier::at(ts.saturating_sub(1)),
            None => Frontier::CLOSED,
        };
        self.hold.iter_mut().for_each(|hold| hold.downgrade(at));
    }

    /// Chooses an interval from the frontier on that makes one piece, and reads it (I3).
    fn read_on(&mut self) -> Result<Option<Event>> {
        let (collection, pinned) = self.db.pin(self.id)?;
        let Some(wanted) = TimeWindow::between(self.frontier, collection.upper) else {
            return Ok(None);
        };
        if let Some(before) = wanted.first.checked_sub(1).filter(|_| self.hold.is_none()) {
            // I2, with nobody who keeps it.
            collection.check_as_of(before)?;
        }
        let mut window = wanted;
        let mut guess = self.span.take();
        if let Some(span) = guess {
            window.last = wanted.first.saturating_add(span.saturating_mul(2)).min(wanted.last);
        }
        loop {
            // I2: since lies below the window, so nothing in it was advanced.
            let mut updates = pinned.updates(Some(window), Frontier::MIN, RangeSpec::ALL);
            let mut piece = UpdateBatch::default();
            if fill(&mut updates, &mut piece, self.piece_bytes)? {
                if guess.take().is_some() && piece.is_empty() {
                    window.last = wanted.last; // The guess was too small.
                    continue;
                }
                self.span = (window.last < wanted.last).then(|| window.last - window.first);
                piece.sort();
                return self.deliver(piece, Frontier::just_beyond(window.last));
            }
            guess = None;
            if window.first == window.last {
                self.state = State::Streaming { updates };
                return Ok(Some(Event::Updates(piece)));
            }
            // Too much: about half of it, by the times of what was seen.
            window.last = piece.median_ts().min(window.last - 1);
        }
    }
}

/// Moves updates into `piece` until it is full; whether they came to their end.
fn fill(updates: &mut Updates, piece: &mut UpdateBatch, bytes: usize) -> Result<bool> {
    while piece.len_bytes() < bytes {
        let Some(update) = updates.next()? else { return Ok(true) };
        piece.push(update);
    }
    Ok(false)
}
