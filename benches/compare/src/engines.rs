//! The engines, each behind a feature of its own name, and the one place that lists them.

#[cfg(feature = "canopydb")]
mod canopydb;
mod datestone;
mod datestone_collections;
mod datestone_timed;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::Result;
use crate::collections::Collections;
use crate::engine::Engine;
use crate::timed::Timed;
use std::path::Path;

/// Bytes of the cache of every engine that has one of its own, so that data is in memory for all.
#[cfg(any(
    feature = "fjall",
    feature = "redb",
    feature = "rocksdb",
    feature = "sled",
    feature = "sqlite"
))]
const CACHE_BYTES: usize = 1 << 30;

/// The engine that is not a peer.
pub(crate) const OWN: &str = "datestone";

/// What a database will hold, for engines that have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Keys and values.
    Rows,
    /// Versions of keys, as `timed` stores them.
    Versions,
}

/// What opens a database.
type Open = fn(&Path, Shape) -> Result<Box<dyn Engine>>;

/// All engines that were built in.
const ENGINES: &[(&str, Open)] = &[
    (OWN, datestone::open),
    #[cfg(feature = "rocksdb")]
    ("rocksdb", rocksdb::open),
    #[cfg(feature = "fjall")]
    ("fjall", fjall::open),
    #[cfg(feature = "lmdb")]
    ("lmdb", lmdb::open),
    #[cfg(feature = "redb")]
    ("redb", redb::open),
    #[cfg(feature = "canopydb")]
    ("canopydb", canopydb::open),
    #[cfg(feature = "sqlite")]
    ("sqlite", sqlite::open),
    #[cfg(feature = "sled")]
    ("sled", sled::open),
];

/// Those whose memory under load can be held against datestone's: log-structured like it.
pub(crate) const LSM: [&str; 2] = ["rocksdb", "fjall"];

/// The names of all engines.
pub(crate) fn names() -> Vec<&'static str> {
    ENGINES.iter().map(|(name, _)| *name).collect()
}

/// Opens the database of `engine` in a directory, creating it when there is none.
pub(crate) fn open(engine: &str, dir: &Path, shape: Shape) -> Result<Box<dyn Engine>> {
    let found = ENGINES.iter().find(|(name, _)| *name == engine);
    let (_, open) = found.ok_or_else(|| format!("no engine is called {engine}"))?;
    open(dir, shape)
}

/// Opens datestone's database with its own time axis.
pub(crate) fn open_own_timed(dir: &Path) -> Result<Box<dyn Timed>> {
    datestone_timed::open(dir)
}

/// Opens datestone's database with many tables.
pub(crate) fn open_own_collections(dir: &Path, count: u64) -> Result<Box<dyn Collections>> {
    datestone_collections::open(dir, count)
}
