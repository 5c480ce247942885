//! # datestone
//!
//! An embedded key-value database whose data has a time axis. A collection holds *updates*
//! `(key, val, ts, diff)`: from time `ts` on there are `diff` more copies of `(key, val)`. Any past
//! state can be read as of a timestamp; [`Collection::compact_below`] says which past may be
//! forgotten; nothing acknowledged is ever lost.
//!
//! # Quick start
//! ```
//! use datestone::Datestone;
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("data");
//! let db = Datestone::open(&path)?;
//! let roles = db.typed::<str, str>("roles")?;
//!
//! // At time 1 alice is an owner; at time 2 she becomes a user. Durable when append returns.
//! roles.append([("alice", "owner", 1, 1)])?;
//! roles.append([("alice", "owner", 2, -1), ("alice", "user", 2, 1)])?;
//! // Times below 3 are complete now: they can be read, and nothing can be added to them.
//! roles.advance_upper(3)?;
//!
//! assert_eq!(roles.snapshot(1)?.get("alice")?, [("owner".to_string(), 1)]);
//! assert_eq!(roles.snapshot(2)?.get("alice")?, [("user".to_string(), 1)]);
//!
//! // Times below 2 need not be told apart any longer.
//! roles.compact_below(2)?;
//! assert!(roles.snapshot(1).is_err());
//! assert_eq!(roles.snapshot(2)?.get("alice")?, [("user".to_string(), 1)]);
//! db.close()?;
//! # Ok::<(), datestone::Error>(())
//! ```
//!
//! # The words
//! - The **contents at t** are, for each `(key, val)`, the sum of the diffs of its updates with
//!   `ts <= t`; rows with sum zero are absent.
//! - **upper** is the first time that is not complete: updates need `ts >= upper`, reads need
//!   `as_of < upper`.
//! - **since** is the first time that can still be read: reads need `as_of >= since`.
//!
//! Both are durable and never go back. For every `t >= since` the contents at t are the same before
//! and after any flush, compaction or restart.
//!
//! # Errors
//! Every fallible call returns [`Error`], whose [`kind`](Error::kind) says what to do next. After a
//! failed write or sync of the log the database reads on but refuses writes (`Poisoned`) until it
//! is opened again, which recovers every acknowledged commit.

/// The README's example compiles; the quick start above, which is the same, runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the guides run.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guide/tables.md")]
    struct Tables;
    #[doc = include_str!("../../docs/guide/logs.md")]
    struct Logs;
    #[doc = include_str!("../../docs/guide/multisets.md")]
    struct Multisets;
    #[doc = include_str!("../../docs/guide/streaming.md")]
    struct Streaming;
    #[doc = include_str!("../../docs/guide/time-travel.md")]
    struct TimeTravel;
    #[doc = include_str!("../../docs/guide/operations.md")]
    struct Operations;
}

mod backups;
mod codec;
mod collection;
mod commit;
mod database;
mod durable_hold;
mod durable_subscription;
#[cfg(feature = "async")]
mod futures;
mod key_range;
mod log;
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub mod observe;
mod rows;
mod salvage;
mod snapshot;
mod streaming;
mod subscription;
mod table;
mod ticket;
mod transaction;

pub use backups::Backups;
pub use codec::Codec;
pub use collection::{AsUpdate, Collection, CollectionInfo};
pub use commit::{Commit, Committed};
pub use database::Datestone;
pub use datestone_engine::absent::{FoundAt, Occurrences};
pub use datestone_engine::backup::{Backup, BackupInfo, BackupReport, RemovedBackups};
pub use datestone_engine::checkpoint::Checkpoint;
pub use datestone_engine::config::{
    Access, Compression, Durability, OptionInfo, OptionKind, Options, Retention,
};
pub use datestone_engine::db::{CollectionSpace, HolderSpace, Space};
pub use datestone_engine::erase::Erased;
pub use datestone_engine::error::{Error, ErrorKind, Result};
pub use datestone_engine::events::{CompactionReason, DbEvent, EventListener};
pub use datestone_engine::salvage::{ManifestFound, SalvageDamage, SalvageOptions, SalvageReport};
pub use datestone_engine::stats::{Counts, MemoryUse, Stats};
pub use datestone_engine::throttle::StallReason;
pub use datestone_engine::truncate::Truncated;
pub use datestone_engine::types::{Frontier, Kind, Update};
pub use datestone_engine::verify::{VerifyDepth, VerifyReport};
pub use durable_hold::{DurableHold, DurableHoldInfo};
pub use durable_subscription::{DurableSubscription, DurableSubscriptionInfo};
pub use key_range::KeyRange;
pub use log::{Expected, Log, LogEvent, LogEvents};
pub use rows::{OwnedRow, Row, Rows, UpdateRows};
pub use salvage::{salvage, salvage_with};
pub use snapshot::Snapshot;
pub use streaming::{HoldInfo, ReadHold};
pub use subscription::{Event, OwnedUpdate, Subscription, UpdateBatch};
pub use table::{Table, TableRow, TableRows, TableSnapshot, TimedTable};
pub use ticket::Ticket;
pub use transaction::Transaction;
