//! [`Rows`] and [`UpdateRows`]: ordered reads.

use crate::{Codec, Result, Update};
use datestone_engine::snapshot::{Contents, Updates};
use std::fmt;
use std::marker::PhantomData;

pub use datestone_engine::read::Row;

/// A row with a decoded key and value.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.typed::<str, u64>("words")?;
/// words.append([("a", &7, 0, 1)])?;
/// words.advance_upper(1)?;
/// let rows = words.snapshot(0)?.iter().collect::<datestone::Result<Vec<_>>>()?;
/// assert_eq!((rows[0].key.as_str(), rows[0].val, rows[0].diff), ("a", 7, 1));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedRow<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub val: V,
    /// The multiplicity, never 0.
    pub diff: i64,
}

/// The rows of a range of a snapshot, in order of `(key, val)` bytes, each once.
///
/// [`next_row`](Self::next_row) lends each row where it lies and is the fast way; as an [`Iterator`]
/// it decodes each row. After an error `next_row` returns that error for ever.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.typed::<str, ()>("words")?;
/// words.append([("a", &(), 0, 1), ("b", &(), 0, 1)])?;
/// words.advance_upper(1)?;
/// let rows: datestone::Rows<str, ()> = words.snapshot(0)?.iter();
/// assert_eq!(rows.count(), 2);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Rows<K: ?Sized = [u8], V: ?Sized = [u8]> {
    rows: Contents,
    types: PhantomData<fn(&K, &V)>,
    failed: bool,
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Rows<K, V> {
    pub(crate) const fn new(rows: Contents) -> Self {
        Self { rows, types: PhantomData, failed: false }
    }

    /// The same rows, last first. Starts anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let numbers = db.typed::<u64, ()>("numbers")?;
    /// numbers.append([(&1, &(), 0, 1), (&2, &(), 0, 1)])?;
    /// numbers.advance_upper(1)?;
    /// let mut rows = numbers.snapshot(0)?.iter().reversed();
    /// assert_eq!(rows.next().unwrap()?.key, 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::new(self.rows.reversed())
    }

    /// The next row where it lies, `None` after the last one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 0, 3)])?;
    /// words.advance_upper(1)?;
    /// let mut rows = words.snapshot(0)?.iter();
    /// while let Some(row) = rows.next_row()? {
    ///     assert_eq!((row.key, row.diff), (&b"a"[..], 3));
    /// }
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Invalid` when a multiplicity overflows, `Io`.
    #[inline]
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        self.rows.next()
    }
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Iterator for Rows<K, V> {
    type Item = Result<OwnedRow<K::Owned, V::Owned>>;

    fn next(&mut self) -> Option<Self::Item> {
        // An iterator adaptor such as `collect` would not end on an error that repeats, so it is
        // repeated by `next_row` and given once here.
        if self.failed {
            return None;
        }
        let decoded = match self.rows.next() {
            Ok(None) => return None,
            Ok(Some(row)) => K::decode(row.key)
                .and_then(|key| Ok(OwnedRow { key, val: V::decode(row.val)?, diff: row.diff })),
            Err(e) => Err(e),
        };
        self.failed = decoded.is_err();
        Some(decoded)
    }
}

/// The updates of a collection, in order of `(key, val, ts)`; made by
/// [`Collection::updates`](crate::Collection::updates).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let mut updates: datestone::UpdateRows = db.collection("words")?.updates()?;
/// assert_eq!(updates.next_update()?, None);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct UpdateRows {
    updates: Updates,
}

impl fmt::Debug for UpdateRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateRows").finish_non_exhaustive()
    }
}

impl UpdateRows {
    pub(crate) const fn new(updates: Updates) -> Self {
        Self { updates }
    }

    /// The next update where it lies, `None` after the last one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 5, 1)])?;
    /// let mut updates = words.updates()?;
    /// while let Some(update) = updates.next_update()? {
    ///     assert_eq!((update.key, update.ts), (&b"a"[..], 5));
    /// }
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`; the same again on every later call.
    pub fn next_update(&mut self) -> Result<Option<Update<'_>>> {
        self.updates.next()
    }
}
