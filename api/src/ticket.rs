//! [`Ticket`]: a commit that is made, and will be durable.

use crate::{Commit, Committed, Durability, Result};
use datestone_engine::db::Db;
use datestone_engine::types::SeqNo;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A commit that is made and visible, and becomes durable soon: a future for any runtime, and
/// [`wait`](Self::wait) for a thread. Made by [`Commit::submit`]. Dropping it takes nothing back; the
/// commit becomes durable with the next one that is.
///
/// ```
/// use datestone::{Datestone, Ticket};
/// # let dir = tempfile::tempdir().unwrap();
/// let db = Datestone::open(dir.path())?;
/// let users = db.table("users")?;
/// let tickets: Vec<Ticket> = (0..10_u8)
///     .map(|n| db.commit().put(&users, &[n], b"here").submit())
///     .collect::<datestone::Result<_>>()?;
/// for ticket in tickets {
///     ticket.wait()?; // Few syncs for all of them.
/// }
/// assert!(db.stats().wal_syncs < 10);
/// # Ok::<(), datestone::Error>(())
/// ```
#[must_use = "until it was waited for, the commit may be lost in a power cut"]
pub struct Ticket {
    db: Db,
    committed: Committed,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("committed", &self.committed).finish_non_exhaustive()
    }
}

impl Commit {
    /// Makes the commit at once, visible to everybody and given to the operating system, and returns a
    /// ticket for its durability: what a program waits for before it tells others of the commit. Many
    /// tickets share a sync.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// let ticket = db.commit().put(&users, b"alice", b"admin").submit()?;
    /// assert!(users.contains(b"alice")?);
    /// let committed = pollster::block_on(ticket)?;
    /// assert!(db.stats().durable_seqno >= committed.seqno);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run); that it could not be made durable is the ticket's to say.
    pub fn submit(self) -> Result<Ticket> {
        let db = self.db.clone();
        let committed = self.durability(Durability::Buffer).run()?;
        Ok(Ticket { db, committed })
    }
}

impl Ticket {
    /// What the commit left behind; durable or not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// let ticket = db.commit().put(&users, b"alice", b"admin").submit()?;
    /// let ts = ticket.committed().ts;
    /// assert!(users.get_as_of(b"alice", ts)?.is_some());
    /// ticket.wait()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Waits until the commit is durable.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// let committed = db.commit().put(&users, b"alice", b"admin").submit()?.wait()?;
    /// assert!(db.stats().durable_seqno >= committed.seqno);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Poisoned`, `Io` or `NoSpace` when it could not be made durable: it may be gone after a power cut.
    pub fn wait(self) -> Result<Committed> {
        // A thread syncs by itself: it would have to wait anyway.
        if self.db.durable_seqno() < SeqNo(self.committed.seqno) {
            self.db.sync()?;
        }
        Ok(self.committed)
    }
}

impl Future for Ticket {
    type Output = Result<Committed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let seqno = SeqNo(self.committed.seqno);
        self.db.poll_durable(seqno, context.waker()).map_ok(|()| self.committed.clone())
    }
}
