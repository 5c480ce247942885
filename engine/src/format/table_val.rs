//! How the versions of a table's keys are stored: as values that begin with their time, so that the
//! order of values puts the newest version of a key first.
//!
//! ```text
//! caller's clock:   !ts (8, big-endian) | !order (8, big-endian) | value
//! database's clock: !ts (8, big-endian) | value
//! ```
//!
//! A version has diff 1 when it was put and -1 when the key was deleted (its value is empty then).
//! Two versions of a key may have the same time only on the caller's clock; there the greater order,
//! the seqno of the commit, is the later one, and comes first. So in both cases, among the versions
//! of a key at or below a time, the first one in order is the one that counts.

#![deny(clippy::indexing_slicing)]

use super::{SpecConstant, SpecLayout};
use crate::types::{Kind, SeqNo, Timestamp};

/// Bytes before the value of a table on the caller's clock.
pub const TABLE_VAL_HEADER_LEN: usize = 16;
/// Bytes before the value of a table on the database's clock.
pub const CLOCK_TABLE_VAL_HEADER_LEN: usize = 8;
/// Diff of a version that was put.
pub const VERSION_PUT: i64 = 1;
/// Diff of a version that deletes the key.
pub const VERSION_DELETE: i64 = -1;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("TABLE_VAL_HEADER_LEN", TABLE_VAL_HEADER_LEN as u64),
    ("CLOCK_TABLE_VAL_HEADER_LEN", CLOCK_TABLE_VAL_HEADER_LEN as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    ("TableValHeader", &[("ts_inverted", 8), ("order_inverted", 8)]),
    ("ClockTableValHeader", &[("ts_inverted", 8)]),
];

/// Bytes before the value of a version in a table of this kind.
#[inline]
#[must_use]
pub const fn header_len(kind: Kind) -> usize {
    match kind {
        Kind::Table => TABLE_VAL_HEADER_LEN,
        _ => CLOCK_TABLE_VAL_HEADER_LEN,
    }
}

/// Puts the stored value of a version into `out`, in place of what was there.
#[inline]
pub fn encode(kind: Kind, ts: Timestamp, order: SeqNo, val: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&first_at(ts));
    if kind == Kind::Table {
        out.extend_from_slice(&(!order.0).to_be_bytes());
    }
    out.extend_from_slice(val);
}

/// The least stored value of the versions at or below `ts`: what to look for to find the one that
/// counts at `ts`.
#[inline]
#[must_use]
pub const fn first_at(ts: Timestamp) -> [u8; 8] {
    (!ts).to_be_bytes()
}

/// Time of a stored version; 0 when it is too short to be one.
#[inline]
#[must_use]
pub fn ts_of(stored: &[u8]) -> Timestamp {
    stored.first_chunk::<8>().map_or(0, |inverted| !u64::from_be_bytes(*inverted))
}

/// Order of a stored version in a table on the caller's clock; 0 when it is too short to have one.
#[must_use]
pub fn order_of(stored: &[u8]) -> u64 {
    let order = stored.get(8..).and_then(|rest| rest.first_chunk::<8>());
    order.map_or(0, |inverted| !u64::from_be_bytes(*inverted))
}

/// The value of a stored version.
#[inline]
#[must_use]
pub fn val_of(kind: Kind, stored: &[u8]) -> &[u8] {
    stored.get(header_len(kind)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_come_first_and_at_one_time_the_later_commit() {
        let stored = |ts, order| {
            let mut out = b"old".to_vec();
            encode(Kind::Table, ts, SeqNo(order), b"v", &mut out);
            out
        };
        let in_order =
            [stored(u64::MAX, 1), stored(7, 4), stored(7, 3), stored(6, 9), stored(0, 0)];
        assert!(in_order.is_sorted());
        assert_eq!(in_order.each_ref().map(|stored| order_of(stored)), [1, 4, 3, 9, 0]);
        for (stored, ts) in in_order.iter().zip([u64::MAX, 7, 7, 6, 0]) {
            assert_eq!((ts_of(stored), val_of(Kind::Table, stored)), (ts, &b"v"[..]));
            assert!(first_at(ts).as_slice() <= stored.as_slice());
            assert!(ts == 0 || first_at(ts - 1).as_slice() > stored.as_slice());
        }
    }
}
