//! [`KeyRange`]: which keys a reader wants.

use crate::Codec;
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};

/// A range of keys, in the order of their bytes. A range whose start lies beyond its end is empty.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// use datestone::KeyRange;
/// let words = db.typed::<str, ()>("words")?;
/// words.append([("tea", &(), 0, 1), ("toe", &(), 1, 1)])?;
/// words.advance_upper(2)?;
/// let mut history = words.history(&KeyRange::prefix(b"te"), ..)?;
/// assert_eq!(history.next_update()?.map(|update| update.key), Some(&b"tea"[..]));
/// assert_eq!(history.next_update()?, None);
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange(pub(crate) RangeSpec);

impl KeyRange {
    /// Every key.
    ///
    /// ```
    /// use datestone::KeyRange;
    /// assert_eq!(KeyRange::all(), KeyRange::of::<u64, u64>(..));
    /// ```
    #[must_use]
    pub const fn all() -> Self {
        Self(RangeSpec::ALL)
    }

    /// The keys whose bytes begin with `prefix`.
    ///
    /// ```
    /// use datestone::KeyRange;
    /// assert_eq!(KeyRange::prefix(b"ab"), KeyRange::of::<[u8], &[u8]>(&b"ab"[..]..&b"ac"[..]));
    /// ```
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self(prefix_range(prefix))
    }

    /// The keys of a range of a collection's key type.
    ///
    /// ```
    /// use datestone::KeyRange;
    /// let some = KeyRange::of::<u64, u64>(7..=9);
    /// let one = KeyRange::of::<[u8], &[u8]>(&b"k"[..]..=&b"k"[..]);
    /// assert_ne!(some, one);
    /// ```
    #[must_use]
    pub fn of<K: Codec + ?Sized, Q: Borrow<K> + ?Sized>(range: impl RangeBounds<Q>) -> Self {
        let bound =
            |bound: Bound<&Q>| bound.map(|key| key.borrow().encode(&mut Vec::new()).to_vec());
        Self(RangeSpec { start: bound(range.start_bound()), end: bound(range.end_bound()) })
    }
}
