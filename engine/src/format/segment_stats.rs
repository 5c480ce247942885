//! Statistics of a segment, and its garbage histogram.
//!
//! The histogram tells, for any since, about how many updates of the segment a merge at that since
//! would get rid of. It is advisory: a wrong one costs space or work, never data.
//!
//! # Invariants
//! 1. Thresholds of the histogram ascend strictly; its amounts are totals up to the threshold and
//!    do not fall.
//! 2. The histogram never tells more than there is, and tells nothing below the first threshold
//!    at which there is some.

#![deny(clippy::indexing_slicing)]

use super::{FormatError, Reader, SpecConstant, SpecLayout};
use crate::limits::KEY_LEN_MAX;
use crate::types::{Frontier, Timestamp};

/// Length of the section's fixed part.
pub const STATS_LEN: usize = 80;
/// Length of one bucket of the histogram.
pub const GARBAGE_BUCKET_LEN: usize = 24;
/// Most buckets of the histogram.
pub const GARBAGE_BUCKETS_MAX: usize = 32;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("STATS_LEN", STATS_LEN as u64),
    ("GARBAGE_BUCKET_LEN", GARBAGE_BUCKET_LEN as u64),
    ("GARBAGE_BUCKETS_MAX", GARBAGE_BUCKETS_MAX as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    (
        "Stats",
        &[
            ("keys", 8),
            ("entries", 8),
            ("updates", 8),
            ("repeats", 8),
            ("min_ts", 8),
            ("max_ts", 8),
            ("min_diff", 8),
            ("max_diff", 8),
            ("min_key_len", 4),
            ("max_key_len", 4),
            ("garbage_buckets", 4),
            ("reserved", 4),
        ],
    ),
    ("GarbageBucket", &[("since", 8), ("updates", 8), ("bytes", 8)]),
];

/// What a merge would get rid of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Count of updates.
    pub updates: u64,
    /// About how many bytes.
    pub bytes: u64,
}

/// One step of the histogram: what is garbage once since has reached the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarbageBucket {
    /// The threshold.
    pub since: Timestamp,
    /// Everything that is garbage then.
    pub total: Garbage,
}

/// Statistics of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStats {
    /// Count of keys.
    pub keys: u64,
    /// Count of entries.
    pub entries: u64,
    /// Count of updates.
    pub updates: u64,
    /// Count of entries that equal the one before.
    pub repeats: u64,
    /// Least time.
    pub min_ts: Timestamp,
    /// Greatest time.
    pub max_ts: Timestamp,
    /// Least diff.
    pub min_diff: i64,
    /// Greatest diff.
    pub max_diff: i64,
    /// First key.
    pub min_key: Vec<u8>,
    /// Last key.
    pub max_key: Vec<u8>,
    /// The garbage histogram.
    pub garbage: Vec<GarbageBucket>,
}

impl SegmentStats {
    /// What a merge at `since` would get rid of, as far as the histogram tells.
    #[must_use]
    pub fn garbage_at(&self, since: Frontier) -> Garbage {
        let reached = |b: &&GarbageBucket| since.ts().is_none_or(|since| b.since <= since);
        self.garbage.iter().take_while(reached).last().map(|b| b.total).unwrap_or_default()
    }

    /// The section.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STATS_LEN + GARBAGE_BUCKETS_MAX * GARBAGE_BUCKET_LEN);
        for count in [self.keys, self.entries, self.updates, self.repeats, self.min_ts, self.max_ts]
        {
            out.extend(count.to_le_bytes());
        }
        out.extend(self.min_diff.to_le_bytes());
        out.extend(self.max_diff.to_le_bytes());
        for len in [self.min_key.len(), self.max_key.len(), self.garbage.len(), 0] {
            out.extend((len as u32).to_le_bytes());
        }
        for bucket in &self.garbage {
            for number in [bucket.since, bucket.total.updates, bucket.total.bytes] {
                out.extend(number.to_le_bytes());
            }
        }
        out.extend(&self.min_key);
        out.extend(&self.max_key);
        out
    }

    /// Reads the section.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let mut stats = Self {
            keys: reader.u64()?,
            entries: reader.u64()?,
            updates: reader.u64()?,
            repeats: reader.u64()?,
            min_ts: reader.u64()?,
            max_ts: reader.u64()?,
            min_diff: reader.i64()?,
            max_diff: reader.i64()?,
            min_key: Vec::new(),
            max_key: Vec::new(),
            garbage: Vec::new(),
        };
        let (min_key_len, max_key_len) = (reader.u32()? as usize, reader.u32()? as usize);
        let buckets = reader.u32()? as usize;
        reader.zeros(4)?;
        if buckets > GARBAGE_BUCKETS_MAX || min_key_len.max(max_key_len) > KEY_LEN_MAX {
            return Err(reader.error(format!("{buckets} garbage buckets")));
        }
        let mut before: Option<GarbageBucket> = None;
        for _ in 0..buckets {
            let since = reader.u64()?;
            let total = Garbage { updates: reader.u64()?, bytes: reader.u64()? };
            let rises = before.is_none_or(|b| {
                b.since < since && b.total.updates <= total.updates && b.total.bytes <= total.bytes
            });
            if !rises || total.updates > stats.updates {
                return Err(reader.error("the garbage histogram does not rise"));
            }
            before = Some(GarbageBucket { since, total });
            stats.garbage.extend(before);
        }
        stats.min_key = reader.bytes(min_key_len)?.to_vec();
        stats.max_key = reader.bytes(max_key_len)?.to_vec();
        let counts = 0 < stats.keys
            && stats.keys <= stats.entries
            && stats.entries <= stats.updates
            && stats.repeats < stats.entries
            && stats.min_ts <= stats.max_ts
            && stats.min_diff <= stats.max_diff
            && stats.min_key <= stats.max_key;
        if !counts {
            return Err(FormatError::new(0, "statistics that cannot be"));
        }
        reader.finish()?;
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> SegmentStats {
        let bucket = |since, updates| GarbageBucket {
            since,
            total: Garbage { updates, bytes: updates * 10 },
        };
        SegmentStats {
            keys: 3,
            entries: 4,
            updates: 9,
            repeats: 1,
            min_ts: 2,
            max_ts: 30,
            min_diff: -4,
            max_diff: 5,
            min_key: b"a".to_vec(),
            max_key: b"zz".to_vec(),
            garbage: vec![bucket(5, 1), bucket(9, 6)],
        }
    }

    #[test]
    fn they_come_back_and_damage_is_seen_or_harmless() {
        let stats = stats();
        let bytes = stats.encode();
        assert_eq!(SegmentStats::decode(&bytes), Ok(stats));
        assert!(SegmentStats::decode(&bytes[..bytes.len() - 1]).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x80;
            let _ = SegmentStats::decode(&damaged);
        }
    }

    #[test]
    fn garbage_is_told_from_its_threshold_on() {
        let stats = stats();
        assert_eq!(stats.garbage_at(Frontier::at(4)), Garbage::default());
        assert_eq!(stats.garbage_at(Frontier::at(5)).updates, 1);
        assert_eq!(stats.garbage_at(Frontier::at(8)).updates, 1);
        assert_eq!(stats.garbage_at(Frontier::at(9)).updates, 6);
        assert_eq!(stats.garbage_at(Frontier::CLOSED).updates, 6);
    }
}
