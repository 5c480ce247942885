//! The words of the domain: plain data, no I/O.

mod frontier;
mod ids;
mod kind;
mod segment_meta;
mod update;

pub use frontier::Frontier;
pub use ids::{CollectionId, SegmentId, SeqNo};
pub use kind::Kind;
pub use segment_meta::SegmentMeta;
pub use update::{TimeWindow, Timestamp, Update};
