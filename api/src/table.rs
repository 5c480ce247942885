//! [`Table`] and [`TimedTable`]: at most one value for a key, the last one put.

use crate::{Codec, Collection, CollectionInfo, Commit, Erased, Frontier, Result, Truncated};
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::{Snapshot, VersionRow, VersionRows};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

/// A table on the database's clock: the plain key-value face. Every commit that puts or deletes gets
/// the next time of the clock, one for all tables of the database, and is readable when it returns.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let users: datestone::Table<str, str> = db.typed_table("users")?;
/// let hired = users.put("alice", "user")?;
/// users.put("alice", "admin")?;
/// assert_eq!(users.get("alice")?.as_deref(), Some("admin"));
/// assert_eq!(users.get_as_of("alice", hired)?.as_deref(), Some("user"));
/// users.delete("alice")?;
/// assert_eq!(users.get("alice")?, None);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Table<K: ?Sized = [u8], V: ?Sized = [u8]> {
    pub(crate) inner: Collection<K, V>,
}

/// A table whose times are the caller's: puts are at or beyond upper, reads are below it, as in
/// any collection. The last put of a key at one time is the one that counts.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let prices: datestone::TimedTable<str, u64> = db.typed_timed_table("prices")?;
/// prices.put("oil", &81, 1)?;
/// prices.put("oil", &84, 3)?;
/// prices.advance_upper(5)?;
/// assert_eq!(prices.get_as_of("oil", 2)?, Some(81));
/// assert_eq!(prices.get_as_of("oil", 4)?, Some(84));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct TimedTable<K: ?Sized = [u8], V: ?Sized = [u8]> {
    pub(crate) inner: Collection<K, V>,
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Table<K, V> {
    /// Gives `key` the value `val`; the time at which it does. Reads nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// let at = users.put(b"alice", b"admin")?;
    /// assert!(users.put(b"bob", b"user")? > at);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when key or value are too long; `NotFound` when the table was dropped; `Io`,
    /// `NoSpace`, `Poisoned`.
    pub fn put(&self, key: &K, val: &V) -> Result<u64> {
        Ok(Commit::new(self.inner.db.clone()).put(self, key, val).run()?.ts)
    }

    /// Takes the value of `key` away; the time at which it does. Reads nothing: it is no error when
    /// there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// users.delete(b"alice")?;
    /// assert!(!users.contains(b"alice")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &K) -> Result<u64> {
        Ok(Commit::new(self.inner.db.clone()).delete(self, key).run()?.ts)
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> TimedTable<K, V> {
    /// Gives `key` the value `val` from `ts` on. Reads nothing. Readable when upper passes `ts`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.timed_table("prices")?.put(b"oil", b"81", 7)?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when `ts` is below upper or is `u64::MAX`, or key or value are too long;
    /// `NotFound` when the table was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn put(&self, key: &K, val: &V, ts: u64) -> Result<()> {
        Commit::new(self.inner.db.clone()).put_at(self, key, val, ts).run().map(drop)
    }

    /// Takes the value of `key` away from `ts` on. Reads nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.timed_table("prices")?.delete(b"oil", 8)?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &K, ts: u64) -> Result<()> {
        Commit::new(self.inner.db.clone()).delete_at(self, key, ts).run().map(drop)
    }

    /// Discards every put and deletion at or beyond `ts` and sets upper to it; as
    /// [`Collection::truncate_at`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// prices.put(b"oil", b"81", 7)?;
    /// prices.put(b"oil", b"84", 9)?;
    /// assert_eq!(prices.truncate_at(8)?.updates, 1);
    /// assert_eq!(prices.get(b"oil")?.as_deref(), Some(&b"81"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Collection::truncate_at`].
    pub fn truncate_at(&self, ts: u64) -> Result<Truncated> {
        self.inner.truncate_at(ts)
    }

    /// Declares all times below `upper` complete; a lower one than the present changes nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// prices.advance_upper(8)?;
    /// assert_eq!(prices.upper()?, datestone::Frontier::at(8));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn advance_upper(&self, upper: impl Into<Frontier>) -> Result<()> {
        Commit::new(self.inner.db.clone()).advance_table(self, upper).run().map(drop)
    }
}

impl<K: ?Sized, V: ?Sized> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.inner).finish()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Table<K, V> {
    /// The name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.table("t")?.name(), "t");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The table as a collection: for its history, the changes between two times, subscriptions,
    /// holds and waiting. It reads as the multiset of its rows, each once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.as_collection().changes(0, 1)?.count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn as_collection(&self) -> &Collection<K, V> {
        &self.inner
    }

    /// Since, upper, sizes and counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.table("t")?.info()?.segments, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn info(&self) -> Result<CollectionInfo> {
        self.inner.info()
    }

    /// The first time that can still be read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.table("t")?.since()?, datestone::Frontier::at(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn since(&self) -> Result<Frontier> {
        self.inner.since()
    }

    /// The first time that is not complete yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.table("t")?.upper()? <= datestone::Frontier::at(1));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn upper(&self) -> Result<Frontier> {
        self.inner.upper()
    }

    /// Allows versions to be forgotten that no read at `since` or later needs; the effective since.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// assert_eq!(table.compact_below(1)?, datestone::Frontier::at(1));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn compact_below(&self, since: impl Into<Frontier>) -> Result<Frontier> {
        self.inner.compact_below(since)
    }

    /// Flushes, then merges this table into as few segments as possible.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.table("t")?.compact()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Corruption` or `Poisoned`.
    pub fn compact(&self) -> Result<()> {
        self.inner.compact()
    }

    /// Removes the rows of a range of keys, whatever their times, from every file; as
    /// [`Collection::erase`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.erase(b"k".to_vec()..)?.updates, 1);
    /// assert!(!table.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Collection::erase`].
    pub fn erase<Q: Borrow<K> + ?Sized>(&self, range: impl RangeBounds<Q>) -> Result<Erased> {
        self.inner.erase(range)
    }

    /// The contents as of a time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.snapshot(1)?.get(b"k")?.as_deref(), Some(&b"v"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` below since, `NotYet` at or beyond upper.
    pub fn snapshot(&self, as_of: u64) -> Result<TableSnapshot<K, V>> {
        Ok(TableSnapshot::new(self.inner.db.snapshot(self.inner.id, as_of)?))
    }

    /// The contents at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.latest()?.count()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotYet` when no time is complete; `NotFound` when the table was dropped.
    pub fn latest(&self) -> Result<TableSnapshot<K, V>> {
        Ok(TableSnapshot::new(self.inner.db.latest(self.inner.id)?))
    }

    /// The value of `key` at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.get(b"k")?.as_deref(), Some(&b"v"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`latest`](Self::latest); `Corruption`, `Io`, and what decoding returns.
    pub fn get(&self, key: &K) -> Result<Option<V::Owned>> {
        self.latest()?.get(key)
    }

    /// The value of `key` as of a time. Costs time in the logarithm of the key's versions.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert_eq!(table.get_as_of(b"k", 0)?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot) and [`get`](Self::get).
    pub fn get_as_of(&self, key: &K, as_of: u64) -> Result<Option<V::Owned>> {
        self.snapshot(as_of)?.get(key)
    }

    /// Whether `key` has a value at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.table("t")?;
    /// table.put(b"k", b"v")?;
    /// assert!(table.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.latest()?.contains(key)
    }
}

impl<K: ?Sized, V: ?Sized> Clone for TimedTable<K, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for TimedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimedTable").field(&self.inner).finish()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> TimedTable<K, V> {
    /// The name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.timed_table("t")?.name(), "t");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The table as a collection: for its history, the changes between two times, subscriptions,
    /// holds and waiting. It reads as the multiset of its rows, each once.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.as_collection().changes(0, 1)?.count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn as_collection(&self) -> &Collection<K, V> {
        &self.inner
    }

    /// Since, upper, sizes and counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.timed_table("t")?.info()?.segments, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn info(&self) -> Result<CollectionInfo> {
        self.inner.info()
    }

    /// The first time that can still be read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.timed_table("t")?.since()?, datestone::Frontier::at(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn since(&self) -> Result<Frontier> {
        self.inner.since()
    }

    /// The first time that is not complete yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.timed_table("t")?.upper()? <= datestone::Frontier::at(1));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped.
    pub fn upper(&self) -> Result<Frontier> {
        self.inner.upper()
    }

    /// Allows versions to be forgotten that no read at `since` or later needs; the effective since.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// assert_eq!(table.compact_below(1)?, datestone::Frontier::at(1));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the table was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn compact_below(&self, since: impl Into<Frontier>) -> Result<Frontier> {
        self.inner.compact_below(since)
    }

    /// Flushes, then merges this table into as few segments as possible.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.timed_table("t")?.compact()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Corruption` or `Poisoned`.
    pub fn compact(&self) -> Result<()> {
        self.inner.compact()
    }

    /// Removes the rows of a range of keys, whatever their times, from every file; as
    /// [`Collection::erase`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.erase(b"k".to_vec()..)?.updates, 1);
    /// assert!(!table.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Collection::erase`].
    pub fn erase<Q: Borrow<K> + ?Sized>(&self, range: impl RangeBounds<Q>) -> Result<Erased> {
        self.inner.erase(range)
    }

    /// The contents as of a time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.snapshot(1)?.get(b"k")?.as_deref(), Some(&b"v"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` below since, `NotYet` at or beyond upper.
    pub fn snapshot(&self, as_of: u64) -> Result<TableSnapshot<K, V>> {
        Ok(TableSnapshot::new(self.inner.db.snapshot(self.inner.id, as_of)?))
    }

    /// The contents at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.latest()?.count()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotYet` when no time is complete; `NotFound` when the table was dropped.
    pub fn latest(&self) -> Result<TableSnapshot<K, V>> {
        Ok(TableSnapshot::new(self.inner.db.latest(self.inner.id)?))
    }

    /// The value of `key` at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.get(b"k")?.as_deref(), Some(&b"v"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`latest`](Self::latest); `Corruption`, `Io`, and what decoding returns.
    pub fn get(&self, key: &K) -> Result<Option<V::Owned>> {
        self.latest()?.get(key)
    }

    /// The value of `key` as of a time. Costs time in the logarithm of the key's versions.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert_eq!(table.get_as_of(b"k", 0)?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot) and [`get`](Self::get).
    pub fn get_as_of(&self, key: &K, as_of: u64) -> Result<Option<V::Owned>> {
        self.snapshot(as_of)?.get(key)
    }

    /// Whether `key` has a value at the latest time that is complete.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let table = db.timed_table("t")?;
    /// table.put(b"k", b"v", 1)?;
    /// table.advance_upper(2)?;
    /// assert!(table.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.latest()?.contains(key)
    }
}

/// The contents of a table at one time: owned, cheap to clone, usable from any thread; blocks nobody
/// and stays correct during any compaction or drop.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let users = db.typed_table::<str, str>("users")?;
/// users.put("alice", "admin")?;
/// let before: datestone::TableSnapshot<str, str> = users.latest()?;
/// users.put("alice", "user")?;
/// assert_eq!(before.get("alice")?.as_deref(), Some("admin"));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct TableSnapshot<K: ?Sized = [u8], V: ?Sized = [u8]> {
    snapshot: Snapshot,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> Clone for TableSnapshot<K, V> {
    fn clone(&self) -> Self {
        Self::new(self.snapshot.clone())
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for TableSnapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot").field("as_of", &self.snapshot.as_of()).finish()
    }
}

impl<K: ?Sized, V: ?Sized> TableSnapshot<K, V> {
    pub(crate) const fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, types: PhantomData }
    }

    /// The time that it answers for.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// let at = users.put(b"alice", b"admin")?;
    /// assert_eq!(users.latest()?.as_of(), at);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn as_of(&self) -> u64 {
        self.snapshot.as_of()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> TableSnapshot<K, V> {
    /// The value of `key`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.typed_table::<str, str>("users")?;
    /// users.put("alice", "admin")?;
    /// assert_eq!(users.latest()?.get("alice")?.as_deref(), Some("admin"));
    /// assert_eq!(users.latest()?.get("bob")?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`, and what decoding returns.
    pub fn get(&self, key: &K) -> Result<Option<V::Owned>> {
        let mut found = None;
        self.snapshot.version(key.encode(&mut Vec::new()), |val, _| {
            found = Some(V::decode(val)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The value of `key` and the time at which it was put.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.typed_table::<str, str>("users")?;
    /// let at = users.put("alice", "admin")?;
    /// assert_eq!(users.latest()?.get_with_ts("alice")?, Some(("admin".to_string(), at)));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with_ts(&self, key: &K) -> Result<Option<(V::Owned, u64)>> {
        let mut found = None;
        self.snapshot.version(key.encode(&mut Vec::new()), |val, ts| {
            found = Some((V::decode(val)?, ts));
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether `key` has a value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.typed_table::<str, str>("users")?;
    /// users.put("alice", "admin")?;
    /// assert!(users.latest()?.contains("alice")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    pub fn contains(&self, key: &K) -> Result<bool> {
        self.snapshot.version(key.encode(&mut Vec::new()), |_, _| Ok(()))
    }

    /// All rows, in order of the bytes of their keys.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.typed_table::<str, str>("users")?;
    /// users.put("bob", "user")?;
    /// users.put("alice", "admin")?;
    /// let names: Vec<String> =
    ///     users.latest()?.iter().map(|row| Ok(row?.key)).collect::<datestone::Result<_>>()?;
    /// assert_eq!(names, ["alice", "bob"]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> TableRows<K, V> {
        TableRows::new(self.snapshot.version_rows(RangeSpec::ALL))
    }

    /// The rows whose key is in `range`, in order of the bytes of their keys.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let squares = db.typed_table::<u64, u64>("squares")?;
    /// for n in 0..10 {
    ///     squares.put(&n, &(n * n))?;
    /// }
    /// assert_eq!(squares.latest()?.range(3..5).count(), 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn range<Q: Borrow<K> + ?Sized>(&self, range: impl RangeBounds<Q>) -> TableRows<K, V> {
        let bound =
            |bound: Bound<&Q>| bound.map(|key| key.borrow().encode(&mut Vec::new()).to_vec());
        let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
        TableRows::new(self.snapshot.version_rows(RangeSpec { start, end }))
    }

    /// The rows whose key's bytes begin with `prefix`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed_table::<str, str>("words")?;
    /// words.put("tea", "a drink")?;
    /// words.put("toe", "part of a foot")?;
    /// assert_eq!(words.latest()?.prefix(b"te").count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> TableRows<K, V> {
        TableRows::new(self.snapshot.version_rows(prefix_range(prefix)))
    }

    /// Count of the rows: a scan.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.typed_table::<str, str>("users")?;
    /// users.put("alice", "admin")?;
    /// assert_eq!(users.latest()?.count()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    pub fn count(&self) -> Result<u64> {
        let mut rows = self.iter();
        let mut count = 0;
        while rows.next_row()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// A row of a table: a key, its value, and the time at which it was put.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let users = db.typed_table::<str, str>("users")?;
/// let ts = users.put("alice", "admin")?;
/// let rows = users.latest()?.iter().collect::<datestone::Result<Vec<_>>>()?;
/// let wanted =
///     datestone::TableRow { key: "alice".to_string(), val: "admin".to_string(), ts };
/// assert_eq!(rows, [wanted]);
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableRow<K, V> {
    /// The key.
    pub key: K,
    /// Its value.
    pub val: V,
    /// The time at which it was put.
    pub ts: u64,
}

/// The rows of a range of a table, in order of keys. As an [`Iterator`] it decodes each row;
/// [`next_row`](Self::next_row) lends them. After an error `next_row` returns that error for ever.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let users = db.table("users")?;
/// users.put(b"alice", b"admin")?;
/// let mut rows: datestone::TableRows = users.latest()?.iter().reversed();
/// assert_eq!(rows.next_row()?.map(|row| row.val), Some(&b"admin"[..]));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct TableRows<K: ?Sized = [u8], V: ?Sized = [u8]> {
    rows: VersionRows,
    failed: bool,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for TableRows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableRows").finish_non_exhaustive()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> TableRows<K, V> {
    const fn new(rows: VersionRows) -> Self {
        Self { rows, failed: false, types: PhantomData }
    }

    /// The same rows, last first. Starts anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let numbers = db.typed_table::<u64, str>("numbers")?;
    /// numbers.put(&1, "one")?;
    /// numbers.put(&2, "two")?;
    /// assert_eq!(numbers.latest()?.iter().reversed().next().unwrap()?.key, 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::new(self.rows.reversed())
    }

    /// The next key and its value, as bytes, and the time at which it was put; `None` after the
    /// last one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.table("users")?.latest()?.iter().next_row()?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    pub fn next_row(&mut self) -> Result<Option<TableRow<&[u8], &[u8]>>> {
        let row = self.rows.next()?;
        Ok(row.map(|VersionRow { key, val, ts }| TableRow { key, val, ts }))
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Iterator for TableRows<K, V> {
    type Item = Result<TableRow<K::Owned, V::Owned>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let decoded = match self.rows.next() {
            Ok(None) => return None,
            Ok(Some(VersionRow { key, val, ts })) => {
                K::decode(key).and_then(|key| Ok(TableRow { key, val: V::decode(val)?, ts }))
            }
            Err(e) => Err(e),
        };
        self.failed = decoded.is_err();
        Some(decoded)
    }
}
