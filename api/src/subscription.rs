//! [`Subscription`]: what happens to a collection as time goes on.

use crate::{Codec, Frontier, Result, Update};
use datestone_engine::subscription as engine;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// What a [`Subscription`] delivers.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// words.append([("a", &(), 1, 1)])?;
/// words.advance_upper(2)?;
/// let mut news = words.listen(0)?;
/// while let Some(event) = news.try_next()? {
///     match event {
///         datestone::Event::Updates(updates) => assert_eq!(updates.len(), 1),
///         datestone::Event::Progress(frontier) => assert_eq!(frontier.ts(), Some(2)),
///     }
/// }
/// # Ok::<(), datestone::Error>(())
/// ```
pub enum Event<K: ?Sized = [u8], V: ?Sized = [u8]> {
    /// Updates, in order of `(ts, key, val)`, also from one event to the next. A time is complete
    /// when a progress says so: more of its updates may follow before.
    Updates(UpdateBatch<K, V>),
    /// Everything below was delivered.
    Progress(Frontier),
}

// By hand, as deriving would ask the same of `K` and `V`, which are only names here.
impl<K: ?Sized, V: ?Sized> Clone for Event<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Updates(updates) => Self::Updates(updates.clone()),
            Self::Progress(frontier) => Self::Progress(*frontier),
        }
    }
}

impl<K: ?Sized, V: ?Sized> PartialEq for Event<K, V> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Updates(a), Self::Updates(b)) => a == b,
            (Self::Progress(a), Self::Progress(b)) => a == b,
            _ => false,
        }
    }
}

impl<K: ?Sized, V: ?Sized> Eq for Event<K, V> {}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Event<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Updates(updates) => f.debug_tuple("Updates").field(updates).finish(),
            Self::Progress(frontier) => f.debug_tuple("Progress").field(frontier).finish(),
        }
    }
}

/// The updates of a collection as time goes on; made by [`Collection::listen`] and
/// [`Collection::subscribe`].
///
/// It has no queue: when it is asked, it reads what lies between its [`frontier`](Self::frontier)
/// and upper from memory and disk, in pieces of bounded size. So a slow one loses nothing and costs
/// nothing but the history that it [holds](crate::Collection::holds): since stays below its
/// frontier. Where a lot has come together, each piece reads the blocks with its times anew; a
/// time that is larger than a piece is read in one go.
///
/// [`Collection::listen`]: crate::Collection::listen
/// [`Collection::subscribe`]: crate::Collection::subscribe
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// let news: datestone::Subscription<str, ()> = words.listen(7)?;
/// assert_eq!(news.frontier().ts(), Some(8));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Subscription<K: ?Sized = [u8], V: ?Sized = [u8]> {
    pub(crate) inner: engine::Subscription,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Subscription<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<K: ?Sized, V: ?Sized> Subscription<K, V> {
    pub(crate) const fn new(inner: engine::Subscription) -> Self {
        Self { inner, types: PhantomData }
    }

    pub(crate) fn event(event: engine::Event) -> Event<K, V> {
        match event {
            engine::Event::Progress(frontier) => Event::Progress(frontier),
            engine::Event::Updates(batch) => {
                Event::Updates(UpdateBatch { batch, types: PhantomData })
            }
        }
    }

    /// Names the owner of its hold, for [`Collection::holds`](crate::Collection::holds).
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// let _news = words.listen(0)?.owned_by("search index")?;
    /// assert_eq!(words.holds()[0].owner, "search index");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when `owner` has more than 255 bytes.
    pub fn owned_by(mut self, owner: &str) -> Result<Self> {
        self.inner.set_owner(owner)?;
        Ok(self)
    }

    /// Has pieces of about so many bytes at most, 1 MiB unless said otherwise; a larger update is a
    /// piece by itself. Larger pieces catch up faster.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let _news = db.collection("words")?.listen(0)?.with_piece_bytes(64 << 10);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn with_piece_bytes(mut self, bytes: usize) -> Self {
        self.inner.set_piece_bytes(bytes);
        self
    }

    /// Everything below was delivered, and a progress said so. A consumer that keeps its state with
    /// this frontier goes on later with `listen` as of the time before it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(5)?;
    /// let mut news = words.listen(0)?;
    /// while news.try_next()?.is_some() {}
    /// let resumed = words.listen(news.frontier().last_below().unwrap())?;
    /// assert_eq!(resumed.frontier(), news.frontier());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.inner.frontier()
    }

    /// The next event, if there is one now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.collection("words")?.listen(0)?.try_next()?.is_none());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped, `Closed` when the database was closed,
    /// `Corruption`, `Io`; the same again on every later call.
    pub fn try_next(&mut self) -> Result<Option<Event<K, V>>> {
        Ok(self.inner.try_next()?.map(Self::event))
    }

    /// The next event, waiting for it at most so long; `None` when there was none. The thread
    /// sleeps until a commit has something for it. When upper is closed and everything was
    /// delivered, `None` comes at once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use std::time::Duration;
    /// let words = db.typed::<str, ()>("words")?;
    /// let mut news = words.listen(0)?;
    /// std::thread::scope(|scope| {
    ///     let reader = scope.spawn(move || news.next(Duration::from_secs(60)));
    ///     words.advance_upper(2)?;
    ///     assert!(reader.join().unwrap()?.is_some());
    ///     Ok::<(), datestone::Error>(())
    /// })?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next(&mut self, at_most: Duration) -> Result<Option<Event<K, V>>> {
        Ok(self.inner.next(Some(at_most))?.map(Self::event))
    }
}

/// Some updates of a subscription, with their own memory.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// use datestone::{Event, OwnedUpdate};
/// let ages = db.typed::<str, u64>("ages")?;
/// ages.append([("alice", &41, 1, 1)])?;
/// ages.advance_upper(2)?;
/// let Some(Event::Updates(updates)) = ages.listen(0)?.try_next()? else { panic!("updates") };
/// let decoded = updates.decode()?;
/// assert_eq!(decoded, [OwnedUpdate { key: "alice".to_string(), val: 41, ts: 1, diff: 1 }]);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct UpdateBatch<K: ?Sized = [u8], V: ?Sized = [u8]> {
    batch: engine::UpdateBatch,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> Clone for UpdateBatch<K, V> {
    fn clone(&self) -> Self {
        Self { batch: self.batch.clone(), types: PhantomData }
    }
}

impl<K: ?Sized, V: ?Sized> PartialEq for UpdateBatch<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: ?Sized, V: ?Sized> Eq for UpdateBatch<K, V> {}

impl<K: ?Sized, V: ?Sized> fmt::Debug for UpdateBatch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.batch.fmt(f)
    }
}

impl<K: ?Sized, V: ?Sized> UpdateBatch<K, V> {
    /// Count of the updates; never 0 in an event.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// # let words = db.typed::<str, ()>("words")?;
    /// # words.append([("a", &(), 1, 1)])?;
    /// # words.advance_upper(2)?;
    /// # let Some(datestone::Event::Updates(updates)) = words.listen(0)?.try_next()? else { panic!() };
    /// assert_eq!(updates.len(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there is no update.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// # let words = db.typed::<str, ()>("words")?;
    /// # words.append([("a", &(), 1, 1)])?;
    /// # words.advance_upper(2)?;
    /// # let Some(datestone::Event::Updates(updates)) = words.listen(0)?.try_next()? else { panic!() };
    /// assert!(!updates.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The updates as bytes where they lie, in order of `(ts, key, val)`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// # let words = db.typed::<str, ()>("words")?;
    /// # words.append([("a", &(), 1, 1)])?;
    /// # words.advance_upper(2)?;
    /// # let Some(datestone::Event::Updates(updates)) = words.listen(0)?.try_next()? else { panic!() };
    /// for update in updates.iter() {
    ///     assert_eq!((update.key, update.ts, update.diff), (&b"a"[..], 1, 1));
    /// }
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Update<'_>> {
        self.batch.iter()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> UpdateBatch<K, V> {
    /// The updates with keys and values of the collection's types.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// # let words = db.typed::<str, ()>("words")?;
    /// # words.append([("a", &(), 1, 1)])?;
    /// # words.advance_upper(2)?;
    /// # let Some(datestone::Event::Updates(updates)) = words.listen(0)?.try_next()? else { panic!() };
    /// assert_eq!(updates.decode()?[0].key, "a");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// What decoding returns.
    pub fn decode(&self) -> Result<Vec<OwnedUpdate<K::Owned, V::Owned>>> {
        let decode = |update: Update<'_>| {
            let (key, val) = (K::decode(update.key)?, V::decode(update.val)?);
            Ok(OwnedUpdate { key, val, ts: update.ts, diff: update.diff })
        };
        self.iter().map(decode).collect()
    }
}

/// An update with a decoded key and value.
///
/// ```
/// let update = datestone::OwnedUpdate { key: "alice", val: 41, ts: 1, diff: 1 };
/// assert_eq!(update.ts, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedUpdate<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub val: V,
    /// The time from which the change holds.
    pub ts: u64,
    /// The change of multiplicity.
    pub diff: i64,
}
