//! Keys of a log: its events by position, and behind them the ids under which they were appended.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | event | its position (8, big-endian) | the event |
//! | id | `LOG_ID_PREFIX` (8), then the id | its position (8, big-endian) |
//!
//! Both have the position as their time and diff 1.

#![deny(clippy::indexing_slicing)]

use super::SpecConstant;

/// What the key of an id begins with; no event ever has this position.
pub const LOG_ID_PREFIX: u64 = u64::MAX;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[("LOG_ID_PREFIX", LOG_ID_PREFIX)];

/// Key of the event at a position.
#[inline]
#[must_use]
pub const fn event_key(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// Key of an id.
#[must_use]
pub fn id_key(id: &[u8]) -> Vec<u8> {
    [&event_key(LOG_ID_PREFIX), id].concat()
}

/// The position that a key or an id's value holds; `None` when it is not one.
#[must_use]
pub fn position_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
