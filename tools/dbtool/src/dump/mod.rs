//! The dump: a database as text, from which it can be restored.
//!
//! ```text
//! {"datestone_dump":1,"created_by":"dbtool 0.1.0","source_format":1,"mode":"updates","as_of":null}
//! {"collection":"orders","ts_width":8,"since":5,"upper":120,"config":{"kind":"multiset","meta":""}}
//! {"key":"user:1","val":"hello","ts":7,"diff":1}
//! {"key":{"b64":"YgD/"},"val":{"b64":"dwo="},"ts":9,"diff":-1}
//! {"end":"orders","rows":2,"diff_sum":0,"crc32":"9a1f00c2"}
//! {"end_dump":true,"collections":1,"rows":2}
//! ```
//!
//! Rows are in the one row form, in order of (key bytes, val bytes, ts) and consolidated, their
//! times advanced to since; collections are in order of their names. The rows of a table are what its
//! puts and deletions change. The rows of a log are its events in their order: the key is the event's
//! id, empty for none, and ts its position. The CRC covers the row lines
//! with their line ends. Without its last line a dump is cut short.
//!
//! # Invariants
//! 1. The dump of a restored database is the same, byte for byte.
//! 2. A dump that was changed or cut anywhere is refused, never restored in part unnoticed.

mod read;
mod write;

pub(crate) use read::{DumpReader, Event};
pub(crate) use write::DumpWriter;

use crate::row::At;
use datestone::{Frontier, Kind};
use serde::Deserialize;

/// The version of the dump's own format.
const DUMP_VERSION: u64 = 1;
/// Width of a timestamp, in bytes.
const TS_WIDTH: u8 = 8;

/// What a dump holds of each collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Every update: the history above since, and what lies at upper and beyond
    Updates,
    /// The contents at one time
    Snapshot,
}

impl Mode {
    /// The mode's name in the dump.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Updates => "updates",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The head of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DumpHead {
    /// The on-disk format version of the database that was dumped.
    pub(crate) source_format: u32,
    /// What was dumped.
    pub(crate) mode: Mode,
    /// The time that was asked for; `None` is the latest of each collection.
    pub(crate) as_of: Option<u64>,
}

/// The head of a collection in a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CollectionHead {
    /// The collection's name.
    pub(crate) name: String,
    /// Its since.
    pub(crate) since: Frontier,
    /// Its upper.
    pub(crate) upper: Frontier,
    /// Its user metadata.
    pub(crate) meta: Vec<u8>,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// The counts at the end of a collection.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    diff_sum: i128,
    crc: crc32fast::Hasher,
}

impl Tally {
    /// Counts a row line, given with its line end.
    fn add(&mut self, line: &[u8], diff: i64) {
        self.rows += 1;
        self.diff_sum += i128::from(diff);
        self.crc.update(line);
    }

    fn crc(&self) -> String {
        format!("{:08x}", self.crc.clone().finalize())
    }
}

/// A frontier as it is read.
type FrontierIn = At;

#[cfg(test)]
mod tests;
