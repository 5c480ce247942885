//! [`Frontier`]: a lower bound on times, or *closed*.

use super::Timestamp;
use std::fmt;

/// A lower bound on the times that may still be seen: one timestamp, or *closed* (the empty
/// antichain: no time at all). Ordered by what it lets through: a closed frontier is the greatest.
///
/// ```
/// use datestone_engine::types::Frontier;
/// let upper = Frontier::at(5);
/// assert!(upper.is_beyond(4) && !upper.is_beyond(5));
/// assert!(Frontier::CLOSED > upper);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frontier(Option<Timestamp>);

impl Frontier {
    /// The frontier that every time has reached.
    pub const MIN: Self = Self(Some(0));
    /// The empty frontier, beyond every time.
    pub const CLOSED: Self = Self(None);

    /// The frontier at `ts`.
    #[must_use]
    pub const fn at(ts: Timestamp) -> Self {
        Self(Some(ts))
    }

    /// The frontier just beyond `ts`: closed when `ts` is the last timestamp.
    #[must_use]
    pub const fn just_beyond(ts: Timestamp) -> Self {
        Self(ts.checked_add(1))
    }

    /// The timestamp of the frontier, `None` when closed.
    #[must_use]
    pub const fn ts(self) -> Option<Timestamp> {
        self.0
    }

    /// Whether this is the empty frontier.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.0.is_none()
    }

    /// Whether `ts` lies strictly below the frontier.
    #[must_use]
    pub const fn is_beyond(self, ts: Timestamp) -> bool {
        match self.0 {
            Some(at) => ts < at,
            None => true,
        }
    }

    /// The last timestamp strictly below the frontier, `None` when there is none (frontier 0).
    #[must_use]
    pub const fn last_below(self) -> Option<Timestamp> {
        match self.0 {
            Some(at) => at.checked_sub(1),
            None => Some(Timestamp::MAX),
        }
    }

    /// `max(ts, self)`: the time that compaction to this frontier may give to an update at `ts`.
    /// A closed frontier leaves no time, so the last timestamp stands for it.
    #[must_use]
    pub fn advance(self, ts: Timestamp) -> Timestamp {
        ts.max(self.0.unwrap_or(Timestamp::MAX))
    }
}

impl From<Timestamp> for Frontier {
    fn from(ts: Timestamp) -> Self {
        Self::at(ts)
    }
}

impl PartialOrd for Frontier {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Frontier {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // `None` (closed) must be greatest, where `Option` has it least.
        (self.0.is_none(), self.0).cmp(&(other.0.is_none(), other.0))
    }
}

impl fmt::Display for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "{at}"),
            None => f.write_str("closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_is_greatest_and_beyond_everything() {
        assert!(Frontier::CLOSED > Frontier::at(u64::MAX));
        assert!(Frontier::at(1) > Frontier::MIN);
        assert!(Frontier::CLOSED.is_beyond(u64::MAX));
        assert!(!Frontier::at(u64::MAX).is_beyond(u64::MAX));
        assert_eq!(Frontier::just_beyond(u64::MAX), Frontier::CLOSED);
        assert_eq!(Frontier::MIN.last_below(), None);
        assert_eq!(Frontier::CLOSED.last_below(), Some(u64::MAX));
        assert_eq!(Frontier::at(7).advance(3), 7);
        assert_eq!(Frontier::at(7).advance(9), 9);
    }
}
