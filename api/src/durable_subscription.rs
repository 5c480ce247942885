//! [`DurableSubscription`]: a consumer that goes on where it has stopped.

use crate::{Codec, Collection, Datestone, Event, Frontier, Result, Subscription};
use datestone_engine::db::{Db, DurableSubscription as Stored};
use std::fmt;
use std::time::Duration;

/// A subscription that outlives the process: what was acknowledged is remembered durably, and what
/// was not is delivered again after a restart. Made by [`Datestone::durable_subscription`]. Dropping it
/// gives nothing up: only [`release`](Self::release) does.
///
/// It begins with the contents at its start, as updates of that time. Since stays below what is not
/// acknowledged yet, also while nobody has it open.
///
/// ```
/// use datestone::{Datestone, DurableSubscription, Event};
/// # let dir = tempfile::tempdir().unwrap();
/// let seen = |news: &mut DurableSubscription<str, ()>| {
///     let mut keys = Vec::new();
///     while let Some(event) = news.try_next()? {
///         if let Event::Updates(updates) = event {
///             keys.extend(updates.decode()?.into_iter().map(|update| update.key));
///         }
///     }
///     datestone::Result::Ok(keys)
/// };
/// let db = Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// words.append([("one", &(), 0, 1), ("two", &(), 1, 1)])?;
/// words.advance_upper(2)?;
/// let mut news = db.durable_subscription("index", &words, 0, "search index")?;
/// assert_eq!(seen(&mut news)?, ["one", "two"]);
/// news.acknowledge()?;
/// words.append([("three", &(), 2, 1)])?;
/// words.advance_upper(3)?;
/// assert_eq!(seen(&mut news)?, ["three"]);
/// # drop((words, news));
/// db.close()?; // Before `three` was acknowledged.
///
/// let db = Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// let mut news = db.durable_subscription("index", &words, 0, "search index")?;
/// assert_eq!(seen(&mut news)?, ["three"]);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct DurableSubscription<K: ?Sized = [u8], V: ?Sized = [u8]> {
    pub(crate) db: Db,
    pub(crate) stored: Stored,
    news: Subscription<K, V>,
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for DurableSubscription<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableSubscription")
            .field("stored", &self.stored)
            .field("news", &self.news)
            .finish_non_exhaustive()
    }
}

impl Datestone {
    /// Takes the durable subscription `name` to a collection: from its contents at `start` on when
    /// there is none of this name, and otherwise from where it has got to, under a new epoch, so that
    /// whoever took it before is fenced off. `owner` tells people who it is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// let mut first = db.durable_subscription("index", &words, 0, "search index")?;
    /// let second = db.durable_subscription("index", &words, 0, "its successor")?;
    /// assert_eq!(second.epoch(), 2);
    /// assert_eq!(first.acknowledge().unwrap_err().kind(), datestone::ErrorKind::Fenced);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// For a new one, `Compacted` or `NotYet` when `start` cannot be read; `Invalid` when the one of
    /// this name is to another collection, or a text is empty or has more than 255 bytes; `NotFound`
    /// when the collection was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn durable_subscription<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        name: &str,
        collection: &Collection<K, V>,
        start: u64,
        owner: &str,
    ) -> Result<DurableSubscription<K, V>> {
        let stored = self.db.take_subscription(name, collection.id, start, owner)?;
        let news = Subscription::new(self.db.resume(&stored)?);
        Ok(DurableSubscription { db: self.db.clone(), stored, news })
    }

    /// All durable subscriptions, in order of their names.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.durable_subscriptions()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub fn durable_subscriptions(&self) -> Result<Vec<DurableSubscriptionInfo>> {
        let name_of = |id| self.db.collection(id).map(|c| c.description.name.to_string()).ok();
        let info = |stored: Stored| DurableSubscriptionInfo {
            collection: name_of(stored.collection),
            name: stored.name,
            epoch: stored.epoch,
            frontier: stored.frontier,
            seqno: stored.seqno.0,
            owner: stored.owner,
        };
        Ok(self.db.durable_subscriptions()?.into_iter().map(info).collect())
    }

    /// Drops a durable subscription whoever has it: what a person does for a consumer that is gone.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// db.durable_subscription("index", &words, 0, "search index")?;
    /// db.release_durable_subscription("index")?;
    /// assert!(db.durable_subscriptions()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name; `Io`, `NoSpace`, `Poisoned`.
    pub fn release_durable_subscription(&self, name: &str) -> Result<()> {
        let all = self.db.durable_subscriptions()?;
        let epoch = all.iter().find(|stored| stored.name == name).map_or(0, |stored| stored.epoch);
        self.db.acknowledge(name, epoch, None)
    }
}

impl<K: ?Sized, V: ?Sized> DurableSubscription<K, V> {
    /// How often it was taken, this time included.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// assert_eq!(db.durable_subscription("index", &words, 0, "index")?.epoch(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.stored.epoch
    }

    /// Everything below was delivered, though not acknowledged.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(5)?;
    /// let mut news = db.durable_subscription("index", &words, 2, "index")?;
    /// while news.try_next()?.is_some() {}
    /// assert_eq!(news.frontier().ts(), Some(5));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.news.frontier()
    }

    /// The next event if there is one now, as [`Subscription::try_next`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// let mut news = db.durable_subscription("index", &words, 0, "index")?;
    /// assert!(matches!(news.try_next()?, Some(datestone::Event::Progress(_))));
    /// assert!(news.try_next()?.is_none());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Subscription::try_next`].
    pub fn try_next(&mut self) -> Result<Option<Event<K, V>>> {
        self.news.try_next()
    }

    /// The next event, waiting for it at most so long, as [`Subscription::next`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// let mut news = db.durable_subscription("index", &words, 0, "index")?;
    /// assert!(news.next(std::time::Duration::from_secs(1))?.is_some());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next(&mut self, at_most: Duration) -> Result<Option<Event<K, V>>> {
        self.news.next(at_most)
    }

    /// Remembers durably that everything below [`frontier`](Self::frontier) was seen. Updates that
    /// were delivered since the last progress are not part of it. To remember it together with what a
    /// consumer writes to this database, all or nothing, see
    /// [`Commit::acknowledge`](crate::Commit::acknowledge).
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(5)?;
    /// let mut news = db.durable_subscription("index", &words, 2, "index")?;
    /// while news.try_next()?.is_some() {}
    /// news.acknowledge()?;
    /// assert_eq!(db.durable_subscriptions()?[0].frontier.ts(), Some(5));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Fenced` when somebody else has taken it since; `NotFound` when it was released; `Io`,
    /// `NoSpace`, `Poisoned`.
    pub fn acknowledge(&mut self) -> Result<()> {
        self.db.acknowledge(&self.stored.name, self.stored.epoch, Some(self.news.frontier()))
    }

    /// Gives it up for good.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(1)?;
    /// db.durable_subscription("index", &words, 0, "index")?.release()?;
    /// assert!(db.durable_subscriptions()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge).
    pub fn release(self) -> Result<()> {
        self.db.acknowledge(&self.stored.name, self.stored.epoch, None)
    }
}

/// What is known of a durable subscription.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.collection("words")?;
/// words.advance_upper(1)?;
/// db.durable_subscription("index", &words, 0, "search index")?;
/// let info: datestone::DurableSubscriptionInfo = db.durable_subscriptions()?.remove(0);
/// assert_eq!((info.owner.as_str(), info.frontier.ts()), ("search index", Some(0)));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableSubscriptionInfo {
    /// Its name.
    pub name: String,
    /// How often it was taken.
    pub epoch: u64,
    /// The collection, unless it was dropped.
    pub collection: Option<String>,
    /// Everything below was acknowledged.
    pub frontier: Frontier,
    /// The last commit when it was first taken: since when it is there.
    pub seqno: u64,
    /// Who it is, in words for people.
    pub owner: String,
}
