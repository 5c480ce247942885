//! [`Snapshot`]: the contents of a collection at one time.

use crate::{Codec, KeyRange, Result, Rows};
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::Snapshot as EngineSnapshot;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

/// The contents of a collection at one time: owned, cheap to clone, usable from any thread.
///
/// It keeps the segments and memtables that it reads, blocks nobody, and stays correct during any
/// compaction or drop. Keep it no longer than needed: what it keeps cannot be given back.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// words.append([("a", &(), 0, 1)])?;
/// words.advance_upper(1)?;
/// let snapshot: datestone::Snapshot<str, ()> = words.snapshot(0)?;
/// db.drop_collection("words")?;
/// assert!(snapshot.contains("a")?);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Snapshot<K: ?Sized = [u8], V: ?Sized = [u8]> {
    snapshot: EngineSnapshot,
    types: PhantomData<fn(&K, &V)>,
}

impl<K: ?Sized, V: ?Sized> Clone for Snapshot<K, V> {
    fn clone(&self) -> Self {
        Self::new(self.snapshot.clone())
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Snapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("as_of", &self.snapshot.as_of()).finish()
    }
}

impl<K: ?Sized, V: ?Sized> Snapshot<K, V> {
    pub(crate) const fn new(snapshot: EngineSnapshot) -> Self {
        Self { snapshot, types: PhantomData }
    }

    /// The time that it answers for.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.advance_upper(10)?;
    /// assert_eq!(words.snapshot(4)?.as_of(), 4);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn as_of(&self) -> u64 {
        self.snapshot.as_of()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Snapshot<K, V> {
    /// The values of `key` with their multiplicities, in order of their bytes; empty when it has
    /// none. Costs a hash probe for each run.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let bag = db.typed::<str, str>("bag")?;
    /// bag.append([("a", "x", 0, 2), ("a", "y", 0, 1)])?;
    /// bag.advance_upper(1)?;
    /// let values = bag.snapshot(0)?.get("a")?;
    /// assert_eq!(values, [("x".to_string(), 2), ("y".to_string(), 1)]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`, and what decoding a value returns.
    pub fn get(&self, key: &K) -> Result<Vec<(V::Owned, i64)>> {
        let mut rows = Vec::new();
        let mut scratch = Vec::new();
        self.snapshot.contents_of(key.encode(&mut scratch), |val, diff| {
            rows.push((V::decode(val)?, diff));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Calls `visit` with each value of `key`, as bytes where they lie, and its multiplicity.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let bag = db.typed::<str, str>("bag")?;
    /// bag.append([("a", "hello", 0, 1)])?;
    /// bag.advance_upper(1)?;
    /// let mut len = 0;
    /// bag.snapshot(0)?.get_with("a", |val, _diff| len += val.len())?;
    /// assert_eq!(len, 5);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    #[inline]
    pub fn get_with(&self, key: &K, mut visit: impl FnMut(&[u8], i64)) -> Result<()> {
        let mut scratch = Vec::new();
        self.snapshot.contents_of(key.encode(&mut scratch), |val, diff| {
            visit(val, diff);
            Ok(())
        })
    }

    /// Whether `key` has a value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert!(words.snapshot(0)?.contains("a")?);
    /// assert!(!words.snapshot(0)?.contains("b")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    pub fn contains(&self, key: &K) -> Result<bool> {
        let mut found = false;
        self.get_with(key, |_, _| found = true)?;
        Ok(found)
    }

    /// All rows, in order of `(key, val)` bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("b", &(), 0, 1), ("a", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// let keys: Vec<String> =
    ///     words.snapshot(0)?.iter().map(|row| Ok(row?.key)).collect::<datestone::Result<_>>()?;
    /// assert_eq!(keys, ["a", "b"]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> Rows<K, V> {
        self.rows(RangeSpec::ALL)
    }

    /// The rows whose key is in `range`, in order of `(key, val)` bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let numbers = db.typed::<u64, ()>("numbers")?;
    /// numbers.append((0..100u64).collect::<Vec<_>>().iter().map(|n| (n, &(), 0, 1)))?;
    /// numbers.advance_upper(1)?;
    /// assert_eq!(numbers.snapshot(0)?.range(10..20).count(), 10);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn range<Q: Borrow<K> + ?Sized>(&self, range: impl RangeBounds<Q>) -> Rows<K, V> {
        self.rows(KeyRange::of::<K, Q>(range).0)
    }

    /// The rows whose key's bytes begin with `prefix`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("tea", &(), 0, 1), ("ten", &(), 0, 1), ("toe", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert_eq!(words.snapshot(0)?.prefix(b"te").count(), 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> Rows<K, V> {
        self.rows(prefix_range(prefix))
    }

    /// The rows whose key is in `keys`, in order of `(key, val)` bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::KeyRange;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("tea", &(), 0, 1), ("toe", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert_eq!(words.snapshot(0)?.rows_in(&KeyRange::prefix(b"te")).count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn rows_in(&self, keys: &KeyRange) -> Rows<K, V> {
        self.rows(keys.0.clone())
    }

    /// At most `count` ranges of keys for readers that work side by side: in order, every key in
    /// exactly one, with about equally many bytes each. Decided by the indexes of blocks, without
    /// reading data; there are fewer ranges where there are few blocks.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let numbers = db.typed::<u64, ()>("numbers")?;
    /// numbers.append((0..1000u64).collect::<Vec<_>>().iter().map(|n| (n, &(), 0, 1)))?;
    /// numbers.advance_upper(1)?;
    /// let snapshot = numbers.snapshot(0)?;
    /// let rows: usize = std::thread::scope(|scope| {
    ///     let readers: Vec<_> = snapshot
    ///         .split(4)?
    ///         .into_iter()
    ///         .map(|keys| scope.spawn(|| { let keys = keys; snapshot.rows_in(&keys).count() }))
    ///         .collect();
    ///     Ok::<_, datestone::Error>(readers.into_iter().map(|r| r.join().unwrap()).sum())
    /// })?;
    /// assert_eq!(rows, 1000);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when `count` is 0 or more than 4096, `Corruption` when an index is damaged.
    pub fn split(&self, count: usize) -> Result<Vec<KeyRange>> {
        Ok(self.snapshot.split(count)?.into_iter().map(KeyRange).collect())
    }

    /// The values of many keys, as [`get`](Self::get) gives them, in the order of the keys. They
    /// are looked up in the order in which they lie.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let ages = db.typed::<str, u64>("ages")?;
    /// ages.append([("alice", &41, 0, 1), ("bob", &23, 0, 1)])?;
    /// ages.advance_upper(1)?;
    /// let found = ages.snapshot(0)?.multi_get(["bob", "carol", "alice"])?;
    /// assert_eq!(found, [vec![(23, 1)], vec![], vec![(41, 1)]]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[expect(clippy::type_complexity, reason = "what `get` returns, once for each key")]
    pub fn multi_get<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k K>,
    ) -> Result<Vec<Vec<(V::Owned, i64)>>>
    where
        K: 'k,
    {
        let (mut bytes, mut ends, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            bytes.extend_from_slice(key.encode(&mut scratch));
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let keys: Vec<&[u8]> = starts
            .zip(&ends)
            .map(|(start, end)| bytes.get(start..*end).unwrap_or_default())
            .collect();
        let mut found: Vec<Vec<(V::Owned, i64)>> = keys.iter().map(|_| Vec::new()).collect();
        self.snapshot.multi_get(&keys, |index, val, diff| {
            if let Some(values) = found.get_mut(index) {
                values.push((V::decode(val)?, diff));
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn rows(&self, range: RangeSpec) -> Rows<K, V> {
        Rows::new(self.snapshot.contents(range))
    }

    /// Count of rows (not of their multiplicities): a scan.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 0, 7), ("b", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert_eq!(words.snapshot(0)?.count()?, 2);
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
