//! [`RangeSpec`]: which keys a reader wants.

use std::ops::Bound;

/// A range of keys in byte order. A range whose start lies beyond its end is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSpec {
    /// Where the range starts.
    pub start: Bound<Vec<u8>>,
    /// Where the range ends.
    pub end: Bound<Vec<u8>>,
}

impl RangeSpec {
    /// Every key.
    pub const ALL: Self = Self { start: Bound::Unbounded, end: Bound::Unbounded };

    /// Whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => start.as_slice() <= key,
            Bound::Excluded(start) => start.as_slice() < key,
        };
        after_start
            && match &self.end {
                Bound::Unbounded => true,
                Bound::Included(end) => key <= end.as_slice(),
                Bound::Excluded(end) => key < end.as_slice(),
            }
    }

    /// The least key of the range, `None` when it is unbounded below.
    #[must_use]
    pub fn first_key(&self) -> Option<Vec<u8>> {
        at_or_after(&self.start)
    }

    /// The least key beyond the range, `None` when it is unbounded above.
    #[must_use]
    pub fn end_key(&self) -> Option<Vec<u8>> {
        match &self.end {
            Bound::Unbounded => None,
            Bound::Excluded(key) => Some(key.clone()),
            Bound::Included(key) => Some(successor(key)),
        }
    }
}

/// The keys that start with `prefix`.
///
/// ```
/// use datestone_engine::read::{RangeSpec, range::prefix_range};
/// use std::ops::Bound;
/// assert_eq!(prefix_range(b"a\xff").end, Bound::Excluded(b"b".to_vec()));
/// assert_eq!(prefix_range(b"\xff\xff").end, Bound::Unbounded);
/// assert_eq!(prefix_range(b""), RangeSpec { start: Bound::Included(vec![]), end: Bound::Unbounded });
/// ```
#[must_use]
pub fn prefix_range(prefix: &[u8]) -> RangeSpec {
    let mut beyond = prefix.to_vec();
    while beyond.pop_if(|last| *last == u8::MAX).is_some() {}
    let end = match beyond.last_mut() {
        Some(last) => {
            *last += 1;
            Bound::Excluded(beyond)
        }
        None => Bound::Unbounded,
    };
    RangeSpec { start: Bound::Included(prefix.to_vec()), end }
}

fn at_or_after(start: &Bound<Vec<u8>>) -> Option<Vec<u8>> {
    match start {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(key.clone()),
        Bound::Excluded(key) => Some(successor(key)),
    }
}

/// The least key greater than `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}
