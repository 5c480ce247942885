//! Rows of a log: its events by position, and behind them the ids under which they were appended.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | event | its position (8, big-endian) | length of its id (2, big-endian), its id, the event |
//! | id | `LOG_ID_PREFIX` (8), then the id | its position (8, big-endian) |
//!
//! Both have the position as their time and diff 1.

#![deny(clippy::indexing_slicing)]

use super::{SpecConstant, SpecLayout};

/// What the key of an id begins with; no event ever has this position.
pub const LOG_ID_PREFIX: u64 = u64::MAX;
/// Bytes of a stored event before its id.
pub const LOG_EVENT_HEADER_LEN: usize = 2;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] =
    &[("LOG_ID_PREFIX", LOG_ID_PREFIX), ("LOG_EVENT_HEADER_LEN", LOG_EVENT_HEADER_LEN as u64)];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[("LogEventHeader", &[("id_len", 2)])];

/// Key of the event at a position.
#[inline]
#[must_use]
pub const fn event_key(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// Puts the stored value of an event into `out`, in place of what was there. The id is shorter than
/// a key.
pub fn encode_event(id: &[u8], event: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&(id.len() as u16).to_be_bytes());
    out.extend_from_slice(id);
    out.extend_from_slice(event);
}

/// The id, empty for none, and the event in a stored value; both empty when it is not one.
#[must_use]
pub fn split_event(stored: &[u8]) -> (&[u8], &[u8]) {
    let split = stored
        .split_first_chunk::<2>()
        .and_then(|(len, rest)| rest.split_at_checked(u16::from_be_bytes(*len).into()));
    split.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_round_and_anything_is_split() {
        let mut stored = Vec::new();
        for (id, event) in [(&b""[..], &b""[..]), (b"", b"event"), (b"id", b""), (b"id", b"event")]
        {
            encode_event(id, event, &mut stored);
            assert_eq!(split_event(&stored), (id, event));
        }
        for hostile in [&b""[..], b"\0", b"\xff\xff", b"\0\x03id"] {
            assert_eq!(split_event(hostile), (&b""[..], &b""[..]));
        }
    }
}
