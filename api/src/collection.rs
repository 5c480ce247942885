//! [`Collection`]: a handle on one collection.

use crate::{
    Codec, Commit, Erased, Error, Frontier, Result, Retention, Snapshot, Truncated, Update,
    UpdateRows,
};
use datestone_engine::collection::Description;
use datestone_engine::db::{CollectionStats, Db};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{CollectionId, Kind};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Prefix of the metadata of collections with codecs; bytes on disk.
const CODEC_META: &str = "codec:";

/// A handle on one collection: cheap to clone, usable from any thread.
///
/// Keys and values are plain bytes unless the collection was opened with
/// [`Datestone::typed`](crate::Datestone::typed).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words: datestone::Collection = db.collection("words")?;
/// let ages: datestone::Collection<str, u64> = db.typed("ages")?;
/// assert_eq!((words.name(), ages.name()), ("words", "ages"));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Collection<K: ?Sized = [u8], V: ?Sized = [u8]> {
    pub(crate) db: Db,
    pub(crate) id: CollectionId,
    pub(crate) name: Arc<str>,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> Collection<K, V> {
    /// What the engine needs to know to write to it.
    pub(crate) fn description(&self, kind: Kind) -> Description {
        Description { id: self.id, name: Arc::clone(&self.name), meta: Arc::default(), kind }
    }
}

impl<K: ?Sized, V: ?Sized> Clone for Collection<K, V> {
    fn clone(&self) -> Self {
        let (db, name) = (self.db.clone(), Arc::clone(&self.name));
        Self { db, id: self.id, name, types: PhantomData }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Collection<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("id", &self.id).field("name", &self.name).finish()
    }
}

impl Collection {
    pub(crate) fn raw(db: Db, description: Description) -> Self {
        Self { db, id: description.id, name: description.name, types: PhantomData }
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Collection<K, V> {
    /// What is stored with a collection of these codecs. Plain bytes need no word.
    pub(crate) fn meta() -> String {
        if (K::NAME, V::NAME) == (<[u8]>::NAME, <[u8]>::NAME) {
            String::new()
        } else {
            format!("{CODEC_META}{}/{}", K::NAME, V::NAME)
        }
    }

    pub(crate) fn new(db: Db, description: Description) -> Result<Self> {
        let wanted = Self::meta();
        if *description.meta != *wanted.as_bytes() {
            return Err(Error::invalid(format!(
                "collection '{}' was created with {}, not with '{wanted}'; open it with the same \
                 types, or with `find` as plain bytes",
                description.name,
                datestone_engine::error::display_bytes(&description.meta),
            )));
        }
        Ok(Self { db, id: description.id, name: description.name, types: PhantomData })
    }

    /// The name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.collection("orders")?.name(), "orders");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Since, upper, sizes and counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.collection("orders")?.info()?.segments, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped.
    pub fn info(&self) -> Result<CollectionInfo> {
        Ok(self.db.collection_stats(self.id)?.into())
    }

    /// The first time that can still be read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.collection("orders")?.since()?, datestone::Frontier::at(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped.
    pub fn since(&self) -> Result<Frontier> {
        Ok(self.db.collection(self.id)?.since)
    }

    /// The first time that is not complete yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// orders.advance_upper(8)?;
    /// assert_eq!(orders.upper()?, datestone::Frontier::at(8));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped.
    pub fn upper(&self) -> Result<Frontier> {
        Ok(self.db.collection(self.id)?.upper)
    }

    /// Bytes of its segments, about, that could be left out if `since` were its since: what
    /// [`compact_below`](Self::compact_below) would free. What is in memory does not count.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let stock = db.typed::<str, u64>("stock")?;
    /// for n in 0..100 {
    ///     stock.append([("tea", &n, n, 1), ("tea", &n, n + 1, -1)])?;
    /// }
    /// stock.advance_upper(101)?;
    /// db.flush()?;
    /// assert!(stock.would_free(50)? > 0);
    /// assert!(stock.would_free(100)? > stock.would_free(50)?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped; `Corruption`.
    pub fn would_free(&self, since: impl Into<Frontier>) -> Result<u64> {
        self.db.would_free(self.id, since.into())
    }

    /// Says how much of its past the collection keeps by itself, from now on and over restarts. What is
    /// beyond that is allowed to be forgotten as memory is flushed, and when
    /// [`compact`](Self::compact) is called; as far as [holds](Self::holds) allow, as with
    /// [`compact_below`](Self::compact_below). Tables have it through `as_collection`.
    ///
    /// ```
    /// use datestone::{Frontier, Retention};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.set_retention(Retention::Behind(10))?;
    /// words.advance_upper(100)?;
    /// words.compact()?;
    /// assert_eq!(words.since()?, Frontier::at(89));
    /// words.set_retention(Retention::Everything)?;
    /// assert_eq!(words.compact_below(95)?, Frontier::at(89));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a log, which keeps everything; `NotFound` when the collection was dropped; `Io`,
    /// `NoSpace`, `Poisoned`.
    pub fn set_retention(&self, retention: Retention) -> Result<()> {
        self.db.set_retention(self.id, retention)
    }

    /// How much of its past the collection keeps by itself.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.collection("words")?.retention()?, datestone::Retention::Manual);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped; `Corruption`, `Io`.
    pub fn retention(&self) -> Result<Retention> {
        self.db.retention(self.id)
    }

    /// Adds updates with times at or beyond upper, in any order. They become readable when upper
    /// passes them. All or nothing; durable when the call returns (see
    /// [`Options::durability`](crate::Options::durability)).
    ///
    /// ```
    /// use datestone::Update;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// orders.append(&[Update { key: b"k", val: b"v", ts: 3, diff: 1 }])?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when an update lies below upper, or a key, value or multiplicity is out of bounds,
    /// naming the first such update; nothing was written then. `Io`, `NoSpace`, `Poisoned`.
    pub fn append(&self, updates: impl IntoIterator<Item: AsUpdate<K, V>>) -> Result<()> {
        Commit::new(self.db.clone()).append(self, updates).run().map(drop)
    }

    /// Adds updates with `expected_upper <= ts < new_upper` and makes `new_upper` the upper, if
    /// upper is `expected_upper`; otherwise changes nothing. What several writers that must not
    /// write the same time twice use.
    ///
    /// ```
    /// use datestone::ErrorKind;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.compare_and_append([("a", &(), 0, 1)], 0, 1)?;
    /// let again = words.compare_and_append([("a", &(), 0, 1)], 0, 1);
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::UpperMismatch);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `UpperMismatch` with the actual upper; `Invalid` when `new_upper` is below `expected_upper`
    /// or an update is outside of the bounds; and as [`append`](Self::append).
    pub fn compare_and_append(
        &self,
        updates: impl IntoIterator<Item: AsUpdate<K, V>>,
        expected_upper: impl Into<Frontier>,
        new_upper: impl Into<Frontier>,
    ) -> Result<()> {
        Commit::new(self.db.clone())
            .compare_and_append(self, updates, expected_upper, new_upper)
            .run()
            .map(drop)
    }

    /// Declares the times below `upper` complete: they can be read and nothing can be added to
    /// them. An upper below the current one changes nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// assert!(orders.snapshot(0).is_err());
    /// orders.advance_upper(1)?;
    /// assert_eq!(orders.snapshot(0)?.count()?, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn advance_upper(&self, upper: impl Into<Frontier>) -> Result<()> {
        Commit::new(self.db.clone()).advance_upper(self, upper).run().map(drop)
    }

    /// Allows the times below `ts` to be forgotten: they cannot be told apart from `ts` any longer,
    /// and space is won by it. Returns the since in effect, which is greater when it was so before,
    /// and less while somebody [holds](Self::hold) it; the rest takes effect when they let go.
    /// Snapshots that exist stay correct. Durable when the call returns.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// assert_eq!(orders.compact_below(5)?.ts(), Some(5));
    /// assert_eq!(orders.compact_below(3)?.ts(), Some(5));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn compact_below(&self, ts: impl Into<Frontier>) -> Result<Frontier> {
        Commit::new(self.db.clone()).compact_below(self, ts).run()?;
        self.since()
    }

    /// The contents at `as_of`: cheap, blocks nobody, and stays as it is whatever happens to the
    /// collection.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 0, 1), ("b", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert_eq!(words.snapshot(0)?.count()?, 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when `as_of` lies below since, `NotYet` when at upper or beyond; both name the
    /// readable window.
    pub fn snapshot(&self, as_of: u64) -> Result<Snapshot<K, V>> {
        Ok(Snapshot::new(self.db.snapshot(self.id, as_of)?))
    }

    /// The contents at the latest readable time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// orders.advance_upper(10)?;
    /// assert_eq!(orders.latest()?.as_of(), 9);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotYet` when no time is complete, `Compacted` when since has passed upper.
    pub fn latest(&self) -> Result<Snapshot<K, V>> {
        Ok(Snapshot::new(self.db.latest(self.id)?))
    }

    /// All updates, those at or beyond upper too, in order of `(key, val, ts)` and consolidated;
    /// times below since come as since. What a dump holds.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 7, 1), ("a", &(), 2, 1)])?;
    /// let mut updates = words.updates()?;
    /// assert_eq!(updates.next_update()?.map(|u| (u.ts, u.diff)), Some((2, 1)));
    /// assert_eq!(updates.next_update()?.map(|u| (u.ts, u.diff)), Some((7, 1)));
    /// assert_eq!(updates.next_update()?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped.
    pub fn updates(&self) -> Result<UpdateRows> {
        Ok(UpdateRows::new(self.db.updates(self.id)?))
    }

    /// Discards every update at or beyond `ts` and sets upper to it: what an engine needs that starts
    /// again from a checkpoint of its own. Durable when it returns; the space comes back with
    /// compaction. Commits wait meanwhile, snapshots keep what they see.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 0, 1), ("b", &(), 5, 1)])?;
    /// words.advance_upper(7)?;
    /// assert_eq!(words.would_truncate(3)?.updates, 1);
    /// words.truncate_at(3)?;
    /// assert_eq!(words.upper()?, datestone::Frontier::at(3));
    /// assert!(!words.latest()?.contains("b")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when `ts` is not above a since that was raised; `NotFound` when the collection was dropped; `Io`,
    /// `NoSpace`, `Corruption`, `Poisoned`.
    pub fn truncate_at(&self, ts: u64) -> Result<Truncated> {
        self.db.truncate_at(self.id, ts, false)
    }

    /// What [`truncate_at`](Self::truncate_at) would discard. Reads all that.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// assert_eq!(words.would_truncate(0)?.updates, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`truncate_at`](Self::truncate_at).
    pub fn would_truncate(&self, ts: u64) -> Result<Truncated> {
        self.db.truncate_at(self.id, ts, true)
    }

    /// Removes the rows of a range of keys, whatever their times, from every file of the database:
    /// segments, the log, and the files of the log that wait for another use. Reads the segments
    /// that have such keys; commits wait meanwhile. Snapshots and iterators that were made before
    /// keep the files that they read until they are dropped: the report names them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let people = db.typed::<str, str>("people")?;
    /// people.append([("alice", "at home", 0, 1), ("bob", "at work", 0, 1)])?;
    /// people.advance_upper(1)?;
    /// let erased = people.erase("alice"..="alice")?;
    /// assert_eq!((erased.updates, erased.held.len()), (1, 0));
    /// assert_eq!(people.latest()?.count()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped; `Io`, `NoSpace`, `Corruption`, `Poisoned`: then
    /// erase again.
    pub fn erase<Q: Borrow<K> + ?Sized>(&self, range: impl RangeBounds<Q>) -> Result<Erased> {
        let bound =
            |bound: Bound<&Q>| bound.map(|key| key.borrow().encode(&mut Vec::new()).to_vec());
        let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
        self.db.erase(self.id, &RangeSpec { start, end })
    }

    /// Adds updates in ascending order of `(key, val, ts)` bytes straight to segments, past the log
    /// and the memtable: how large amounts are loaded. They are added all at once, durably, when all
    /// were taken, and become readable when upper passes their times; with `upper` given it advances
    /// in the same step. Memory is bounded whatever their number. How many there were.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let numbers = db.typed::<u64, ()>("numbers")?;
    /// let sorted: Vec<u64> = (0..1000).collect();
    /// numbers.ingest(sorted.iter().map(|n| (n, &(), 0, 1)), Some(1))?;
    /// assert_eq!(numbers.latest()?.count()?, 1000);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when an update is out of order or below upper: nothing was added then; `NotFound`
    /// when the collection was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn ingest(
        &self,
        updates: impl IntoIterator<Item: AsUpdate<K, V>>,
        upper: Option<u64>,
    ) -> Result<u64> {
        let mut ingest = self.db.ingest(self.id)?;
        let (mut key, mut val) = (Vec::new(), Vec::new());
        for update in updates {
            let (ts, diff) = (update.ts(), update.diff());
            let (key, val) = (update.key().encode(&mut key), update.val().encode(&mut val));
            ingest.push(Update { key, val, ts, diff })?;
        }
        self.db.finish_ingest(ingest, upper.map(Frontier::at))
    }

    /// Flushes, then merges this collection into as few segments as possible, leaving out what
    /// since allows to forget; does nothing when there is nothing to gain.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.collection("orders")?.compact()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Corruption` or `Poisoned`.
    pub fn compact(&self) -> Result<()> {
        self.db.compact(Some(self.id))
    }
}

/// What can be given as an update: [`Update`] (plain bytes), or `(key, val, ts, diff)` with a key
/// and a value of the collection's types.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let ages = db.typed::<str, u64>("ages")?;
/// ages.append([("alice", &41, 0, 1), ("bob", &23, 0, 1)])?;
/// # Ok::<(), datestone::Error>(())
/// ```
pub trait AsUpdate<K: ?Sized, V: ?Sized> {
    /// The key.
    fn key(&self) -> &K;
    /// The value.
    fn val(&self) -> &V;
    /// The time.
    fn ts(&self) -> u64;
    /// The change of multiplicity.
    fn diff(&self) -> i64;
}

impl<K: ?Sized, V: ?Sized> AsUpdate<K, V> for (&K, &V, u64, i64) {
    #[inline]
    fn key(&self) -> &K {
        self.0
    }
    #[inline]
    fn val(&self) -> &V {
        self.1
    }
    #[inline]
    fn ts(&self) -> u64 {
        self.2
    }
    #[inline]
    fn diff(&self) -> i64 {
        self.3
    }
}

impl AsUpdate<[u8], [u8]> for Update<'_> {
    #[inline]
    fn key(&self) -> &[u8] {
        self.key
    }
    #[inline]
    fn val(&self) -> &[u8] {
        self.val
    }
    #[inline]
    fn ts(&self) -> u64 {
        self.ts
    }
    #[inline]
    fn diff(&self) -> i64 {
        self.diff
    }
}

impl<K: ?Sized, V: ?Sized, U: AsUpdate<K, V>> AsUpdate<K, V> for &U {
    #[inline]
    fn key(&self) -> &K {
        (**self).key()
    }
    #[inline]
    fn val(&self) -> &V {
        (**self).val()
    }
    #[inline]
    fn ts(&self) -> u64 {
        (**self).ts()
    }
    #[inline]
    fn diff(&self) -> i64 {
        (**self).diff()
    }
}

/// Since, upper, sizes and counts of a collection.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// db.collection("words")?;
/// let infos: Vec<datestone::CollectionInfo> = db.collections();
/// assert_eq!((infos[0].name.as_str(), infos[0].updates), ("words", 0));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Its id, never reused.
    pub id: u64,
    /// What it holds: `multiset`, `table`, `log` or `clock-table`.
    pub kind: Kind,
    /// First time that can still be read.
    pub since: Frontier,
    /// First time that is not complete yet.
    pub upper: Frontier,
    /// Opaque bytes stored with it.
    pub meta: Vec<u8>,
    /// Sealed runs.
    pub runs: u64,
    /// Segment files, those with updates ahead of upper included.
    pub segments: u64,
    /// Bytes of its segment files.
    pub bytes: u64,
    /// Updates in its segment files.
    pub updates: u64,
    /// Updates in segment files that compaction could remove now.
    pub garbage_updates: u64,
    /// Bytes that they take, about.
    pub garbage_bytes: u64,
    /// Updates in memory.
    pub memtable_updates: u64,
}

impl From<CollectionStats> for CollectionInfo {
    fn from(stats: CollectionStats) -> Self {
        let CollectionStats { collection, .. } = &stats;
        Self {
            name: collection.description.name.to_string(),
            id: collection.description.id.0,
            kind: collection.description.kind,
            since: collection.since,
            upper: collection.upper,
            meta: collection.description.meta.to_vec(),
            runs: stats.runs,
            segments: stats.segments,
            bytes: stats.bytes,
            updates: stats.updates,
            garbage_updates: stats.garbage_updates,
            garbage_bytes: stats.garbage_bytes,
            memtable_updates: stats.memtable_updates,
        }
    }
}
