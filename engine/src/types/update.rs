//! [`Update`]: what a collection is made of, and [`TimeWindow`]: which updates a reader wants.

use super::Frontier;

/// A logical time. Totally ordered; datestone gives it no unit.
pub type Timestamp = u64;

/// One change of a collection: `diff` more copies of `(key, val)` from `ts` on.
///
/// ```
/// use datestone_engine::types::Update;
/// let born = Update { key: b"alice", val: b"owner", ts: 1, diff: 1 };
/// let gone = Update { ts: 2, diff: -1, ..born };
/// assert_eq!(born.diff + gone.diff, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Update<'a> {
    /// The key; may be empty.
    pub key: &'a [u8],
    /// The value; may be empty.
    pub val: &'a [u8],
    /// The time from which the change holds.
    pub ts: Timestamp,
    /// The change of multiplicity.
    pub diff: i64,
}

/// A window of times with **both ends inclusive**, so that the last timestamp can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeWindow {
    /// First time in the window.
    pub first: Timestamp,
    /// Last time in the window (inclusive).
    pub last: Timestamp,
}

impl TimeWindow {
    /// Every time.
    pub const ALL: Self = Self { first: 0, last: Timestamp::MAX };

    /// The window `lower..upper` of two frontiers; `None` when it is empty.
    #[must_use]
    pub fn between(lower: Frontier, upper: Frontier) -> Option<Self> {
        let window = Self { first: lower.ts()?, last: upper.last_below()? };
        (window.first <= window.last).then_some(window)
    }

    /// Whether `ts` is in the window.
    #[must_use]
    pub fn contains(self, ts: Timestamp) -> bool {
        self.first <= ts && ts <= self.last
    }

    /// The times that are in both windows; `None` when there is none.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let window = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (window.first <= window.last).then_some(window)
    }

    /// Whether every time of `other` is in this window.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}
