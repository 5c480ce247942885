//! [`SegmentMeta`]: what the manifest knows of a segment without opening it.

use super::{SegmentId, TimeWindow, Timestamp};

/// What the manifest knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// The segment.
    pub id: SegmentId,
    /// Length of the file, in bytes.
    pub file_len: u64,
    /// Checksum of the file's trailer, which covers the section table and through it every section.
    pub trailer_crc: u32,
    /// Count of keys.
    pub keys: u64,
    /// Count of `(key, val)` entries.
    pub entries: u64,
    /// Count of updates.
    pub updates: u64,
    /// Least time of an update.
    pub min_ts: Timestamp,
    /// Greatest time of an update.
    pub max_ts: Timestamp,
    /// Bytes of its data blocks before compression.
    pub data_len: u64,
    /// Least since at which anything inside the segment is garbage; `None` when nothing ever is.
    pub garbage_first_ts: Option<Timestamp>,
}

impl SegmentMeta {
    /// The times of its updates.
    #[must_use]
    pub const fn window(&self) -> TimeWindow {
        TimeWindow { first: self.min_ts, last: self.max_ts }
    }
}
