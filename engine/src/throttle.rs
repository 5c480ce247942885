//! Backpressure: how long a commit pauses so that flush and compaction keep up.
//!
//! The pause grows smoothly with the debt, from nothing to what lets work and writers meet, so
//! that no commit is ever stopped for long. Pure arithmetic: the caller measures and sleeps.
//!
//! # Invariants
//! 1. Without debt there is no pause.
//! 2. More debt never means a shorter pause.

use std::time::Duration;

/// What flush and compaction have yet to do, as seen by a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Debt {
    /// Bytes in memtables, frozen ones included, per memtable size: 1.0 is one full memtable.
    pub memtables: f64,
    /// Parts that a read of the most fragmented collection has to merge.
    pub parts: usize,
}

/// Why a commit paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StallReason {
    /// Flushes lag behind.
    Memtables,
    /// Compaction lags behind.
    Parts,
}

impl StallReason {
    /// Its name, the same in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memtables => "memtables",
            Self::Parts => "parts",
        }
    }
}

/// One memtable is being filled and one flushed: that much is no debt.
const MEMTABLES_FREE: f64 = 1.5;
/// At this many memtables a pause matches the flush rate twice over.
const MEMTABLES_FULL: f64 = 3.5;
/// Parts that lazy-leveled compaction leaves in the normal course of things.
const PARTS_FREE: usize = 16;
/// At this many parts a pause is longest.
const PARTS_FULL: usize = 48;
/// Longest pause of one commit.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Bytes a second that compaction is taken to work off when it lags.
const COMPACTION_RATE: f64 = 100e6;

/// How long a commit of `bytes` pauses under `debt`, given that flushes run at `flush_rate` bytes a
/// second, and why.
#[must_use]
pub fn pause(debt: Debt, bytes: usize, flush_rate: f64) -> Option<(Duration, StallReason)> {
    let memtables =
        ((debt.memtables - MEMTABLES_FREE) / (MEMTABLES_FULL - MEMTABLES_FREE)).clamp(0.0, 1.0);
    let parts =
        (debt.parts.saturating_sub(PARTS_FREE) as f64 / (PARTS_FULL - PARTS_FREE) as f64).min(1.0);
    let by_memtables = 2.0 * memtables * bytes as f64 / flush_rate.max(1e6);
    let by_parts = 2.0 * parts * bytes as f64 / COMPACTION_RATE;
    let (seconds, reason) = if by_memtables >= by_parts {
        (by_memtables, StallReason::Memtables)
    } else {
        (by_parts, StallReason::Parts)
    };
    let pause = Duration::from_secs_f64(seconds.min(PAUSE_MAX.as_secs_f64()));
    (!pause.is_zero()).then_some((pause, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debt_no_pause_and_more_debt_never_less() {
        assert_eq!(pause(Debt { memtables: 1.4, parts: 16 }, 1 << 20, 3e8), None);
        let mut last = Duration::ZERO;
        for tenths in 15..60 {
            let debt = Debt { memtables: f64::from(tenths) / 10.0, parts: 0 };
            let now = pause(debt, 1 << 20, 3e8).map_or(Duration::ZERO, |(pause, _)| pause);
            assert!(now >= last, "{tenths}");
            last = now;
        }
        assert!(last <= PAUSE_MAX && !last.is_zero());
        let by_parts = pause(Debt { memtables: 0.0, parts: 40 }, 1 << 20, 3e8);
        assert!(by_parts.is_some_and(|(_, reason)| reason == StallReason::Parts));
    }
}
