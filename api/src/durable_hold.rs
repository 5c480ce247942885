//! [`DurableHold`]: keeps history from being forgotten, over restarts.

use crate::{Frontier, Result};
use datestone_engine::db::{Db, DurableHold as Stored};
use std::fmt;

/// A durable hold, as taken by [`Datestone::durable_hold`](crate::Datestone::durable_hold). Dropping
/// it releases nothing: only [`release`](Self::release) does.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.collection("words")?;
/// let mut old: datestone::DurableHold = db.durable_hold("report", &words, 3, "report")?;
/// let new = db.durable_hold("report", &words, 3, "report, started again")?;
/// // Whoever took it before can do nothing with it any longer.
/// assert_eq!(old.downgrade(7).unwrap_err().kind(), datestone::ErrorKind::Fenced);
/// assert_eq!(new.epoch(), old.epoch() + 1);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct DurableHold {
    pub(crate) db: Db,
    pub(crate) hold: Stored,
}

impl fmt::Debug for DurableHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DurableHold").field(&self.hold).finish()
    }
}

impl DurableHold {
    /// The since of its collection stays at or below this.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// assert_eq!(db.durable_hold("report", &words, 3, "report")?.at().ts(), Some(3));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn at(&self) -> Frontier {
        self.hold.at
    }

    /// How often the hold was taken, this time included.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// assert_eq!(db.durable_hold("report", &words, 3, "report")?.epoch(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.hold.epoch
    }

    /// Lets go of the times below `at`; a lower one than before changes nothing. Durable when it
    /// returns.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// let mut hold = db.durable_hold("report", &words, 3, "report")?;
    /// hold.downgrade(7)?;
    /// assert_eq!(hold.at().ts(), Some(7));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Fenced` when somebody else has taken it since; `NotFound` when it was released; `Io`,
    /// `NoSpace`, `Poisoned`.
    pub fn downgrade(&mut self, at: u64) -> Result<()> {
        let at = Frontier::at(at);
        self.db.loosen_hold(&self.hold.name, self.hold.epoch, Some(at))?;
        self.hold.at = self.hold.at.max(at);
        Ok(())
    }

    /// Lets go of everything, for good.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// db.durable_hold("report", &words, 3, "report")?.release()?;
    /// assert!(db.durable_holds()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`downgrade`](Self::downgrade).
    pub fn release(self) -> Result<()> {
        self.db.loosen_hold(&self.hold.name, self.hold.epoch, None)
    }
}

/// What is known of a durable hold.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.collection("words")?;
/// db.durable_hold("report", &words, 3, "nightly report")?;
/// let info: datestone::DurableHoldInfo = db.durable_holds()?.remove(0);
/// assert_eq!((info.owner.as_str(), info.collection.as_deref()), ("nightly report", Some("words")));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableHoldInfo {
    /// Its name.
    pub name: String,
    /// How often it was taken.
    pub epoch: u64,
    /// The collection, unless it was dropped.
    pub collection: Option<String>,
    /// The since of the collection stays at or below this.
    pub at: Frontier,
    /// The last commit when it was first taken: since when it is there.
    pub seqno: u64,
    /// Who holds, in words for people.
    pub owner: String,
}
