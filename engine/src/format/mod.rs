//! Pure encoding and decoding over byte slices: no files, no locks. FORMAT.md is the specification.
//!
//! A decoder takes `&[u8]`, allocates no more than the input allows and returns [`FormatError`] on
//! anything odd. Little-endian everywhere; reserved bytes are zero and checked.

pub mod anchors;
pub mod backup_file;
pub mod block;
pub mod block_builder;
pub mod block_index;
mod checksum;
pub mod column;
pub mod hash_index;
pub mod log_key;
pub mod manifest_edit;
pub mod manifest_frame;
mod reader;
pub mod segment_filter;
pub mod segment_footer;
pub mod segment_stats;
pub mod table_val;
pub mod wal_frame;
pub mod wal_record;

pub use checksum::{FileDigest, PartCrcs, crc_matches, crc32, crc32_seeded, key_hash};
pub use reader::{FormatError, Reader};

/// Version of the whole format: that of its log, segment and manifest files.
pub const FORMAT_VERSION: u32 = 1;

/// One constant of the format with its name in FORMAT.md.
pub type SpecConstant = (&'static str, u64);

/// One fixed layout of the format: its name in FORMAT.md and its fields in order with their sizes
/// in bytes.
pub type SpecLayout = (&'static str, &'static [(&'static str, usize)]);

/// Bytes that `len` takes when padded to a multiple of `unit`, a power of two.
#[must_use]
pub const fn padded(len: usize, unit: usize) -> usize {
    (len + unit - 1) & !(unit - 1)
}
