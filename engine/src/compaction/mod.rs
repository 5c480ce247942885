//! Compaction: what to merge ([`policy`], a pure function of sizes) and the merging itself.

pub(crate) mod job;
pub mod merge;
pub mod part_writer;
pub mod policy;
pub mod versions;

pub use merge::{Merge, MergeInput, MergeProgress, MergeState};
pub use part_writer::PartWriter;
pub use versions::{Floor, VersionSink};
