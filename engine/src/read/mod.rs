//! Reading: many ordered sources become one ordered stream of rows.
//!
//! A snapshot hands its sources (sorted runs of memtables, parts of segments, each with its time
//! window) to [`Rows`], which adds up equal entries over the [`MergeCursor`].

pub mod merge;
pub mod part;
pub mod range;
pub mod rows;
pub mod source;

#[cfg(test)]
pub(crate) mod test_parts;
#[cfg(test)]
pub(crate) mod vec_cursor;

pub use merge::{Direction, MergeCursor};
pub use part::PartCursor;
pub use range::RangeSpec;
pub use rows::{Row, Rows};
pub use source::Source;
