//! The manifest: the durable list of collections and of the segments that hold their updates.
//!
//! Flush and compaction write segments, then describe the change as an [`Edit`] and append it to
//! the [`ManifestLog`]; recovery reads it before anything else. The manifest never opens a segment.
//!
//! | file | step |
//! | --- | --- |
//! | `version` | what a flush ([`RunList::seal`]) and a merge ([`RunList::replace`]) do to the runs of a collection, and which sources a reader has ([`RunList::sources`]) |
//! | `state` | [`ManifestState`]: all collections; an edit applies wholly or not at all |
//! | `replay` | from the bytes of a file to a state: the decision table |
//! | `remains` | what a damaged file still says, for salvage |
//! | `directory` | which file of a directory is the manifest |
//! | `log` | [`ManifestLog`]: append, sync, roll into a new file |
//!
//! [`Edit`]: crate::format::manifest_edit::Edit
//! [`RunList::seal`]: crate::format::manifest_edit::RunList::seal
//! [`RunList::replace`]: crate::format::manifest_edit::RunList::replace
//! [`RunList::sources`]: crate::format::manifest_edit::RunList::sources

#![deny(clippy::indexing_slicing)]

mod directory;
mod log;
mod remains;
mod replay;
mod state;
mod version;

pub use directory::{DirectoryState, find, manifest_name, parse_manifest_name};
pub use log::{ManifestLog, load, publish_first, read_file};
pub use remains::{ManifestRemains, replay_remains};
pub use replay::{ReplaySummary, replay};
pub use state::{CollectionDesc, ManifestState, StateError};
pub use version::{MergeInput, Replaced, part_window};

#[cfg(test)]
mod testing;
