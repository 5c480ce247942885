//! Segments: immutable sorted files, written by flush and compaction, read in place.
//!
//! [`SegmentWriter`] takes entries in order and writes blocks, then the sections that lead to them.
//! [`Segment`] maps such a file; [`SegmentCursor`] walks it, [`Segment::get`] looks one key up.
//! [`crate::format`] has the encodings; here are files, laziness and sharing.
//!
//! # Invariants
//! 1. A file is written once, under its final name, and synced before its [`SegmentMeta`] is handed
//!    out; whoever puts that into the manifest syncs the directory first. A file that the manifest
//!    does not name is an orphan and is removed at open.
//! 2. Nothing read from the file is trusted before it was checked: the frame when the segment is
//!    opened, a section when it is first used, a block when it is first touched.
//! 3. A segment that was marked obsolete is removed from disk when its last user lets go of it.
//!
//! # After a crash
//! A half-written file is never referenced (invariant 1) and so never opened.
//!
//! [`SegmentMeta`]: crate::types::SegmentMeta

#![deny(clippy::indexing_slicing)]

mod block_cache;
mod blocks;
mod codec;
mod copy;
mod cursor;
mod garbage;
mod get;
mod output;
mod reader;
mod remains;
mod scrub;
mod verify;
mod write_behind;
mod writer;

#[cfg(test)]
mod tests;

pub use block_cache::BlockCache;
pub use codec::BlockCodec;
pub use copy::BlockCopy;
pub use cursor::SegmentCursor;
pub use reader::Segment;
pub use remains::{LostBlock, Remains};
pub use scrub::ScrubPlace;
pub use verify::{SegmentDepth, SegmentReport};
pub use writer::{SegmentOptions, SegmentWriter};

use crate::types::{CollectionId, Kind, SegmentId};

/// Whose a segment is; written into its header and checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentIdentity {
    /// The database.
    pub db_uuid: u128,
    /// The collection.
    pub collection: CollectionId,
    /// The collection's kind.
    pub kind: Kind,
}

/// The name of a segment's file.
#[must_use]
pub fn segment_file_name(id: SegmentId) -> String {
    format!("{:016x}.seg", id.0)
}

/// The segment whose file has this name; `None` when it is not a segment's.
#[must_use]
pub fn parse_segment_file_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    let id = SegmentId(u64::from_str_radix(digits, 16).ok()?);
    (segment_file_name(id) == name).then_some(id)
}
