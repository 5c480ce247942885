//! What the fuzzer runs, and the replay of its corpora on a stable compiler.
//!
//! Every target takes arbitrary bytes and panics when the engine is wrong: a decoder that panics or
//! contradicts itself, or a database that returns other data than was written. Under a fuzzer
//! (`cfg(fuzzing)`) checksums count as right, so that what lies behind them is reached; the targets
//! then ask for an error or *some* data, and for the right data otherwise.
//!
//! | target | bytes are | run with |
//! | --- | --- | --- |
//! | `wal_record` | the payload of a WAL frame | `cargo +nightly fuzz run wal_record` |
//! | `block` | a block | `cargo +nightly fuzz run block` |
//! | `segment` | a segment file | `cargo +nightly fuzz run segment` |
//! | `manifest` | a manifest file | `cargo +nightly fuzz run manifest` |
//! | `wal_open` | damage done to the log of a database | `cargo +nightly fuzz run wal_open` |
//! | `open_dir` | damage done to a directory | with and without `--no-cfg-fuzzing` |
//! | `salvage` | damage done to a directory that is salvaged | with and without `--no-cfg-fuzzing` |
//! | `backup` | damage done to a directory of backups, or a backup's file | with and without `--no-cfg-fuzzing` |
//! | `ops` | operations on a database, restarts included | with `--no-cfg-fuzzing` |

mod backup;
mod base;
mod block;
mod damage;
mod manifest;
mod model;
mod open_dir;
mod ops;
mod salvage;
pub mod seeds;
mod segment;
mod session;
mod wal_open;
mod wal_record;

pub use backup::backup;
pub use block::block;
pub use manifest::manifest;
pub use open_dir::open_dir;
pub use ops::ops;
pub use salvage::salvage;
pub use segment::segment;
pub use wal_open::wal_open;
pub use wal_record::wal_record;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("backup", backup),
    ("block", block),
    ("manifest", manifest),
    ("open_dir", open_dir),
    ("ops", ops),
    ("salvage", salvage),
    ("segment", segment),
    ("wal_open", wal_open),
    ("wal_record", wal_record),
];
