//! [`Snapshot`]: the contents of a collection at one time.

use crate::{Codec, Result, Rows};
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::Snapshot as EngineSnapshot;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

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
        let bound =
            |bound: Bound<&Q>| bound.map(|key| key.borrow().encode(&mut Vec::new()).to_vec());
        self.rows(RangeSpec { start: bound(range.start_bound()), end: bound(range.end_bound()) })
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
