//! The write-ahead log: what makes a commit durable before it is visible, and what brings it back.
//!
//! On the write path the leader of a group ([`group`]) hands encoded commit records to the
//! [`WalWriter`], syncs once, and only then publishes them. On the recovery path [`open`] reads the
//! files back and hands every commit beyond the flushed ones to the caller; a [`Tail`] does so for a
//! database that somebody else is writing.
//!
//! One WAL serves a whole database, so that a commit over many collections is one frame. It lives
//! in files `wal-<slot>.log` of a fixed length that are used again and again, because overwriting
//! is about twice as fast as appending; each use of a file has its own *file number*.
//!
//! # Invariants
//! 1. Seqnos are dense: the frame after seqno `n` is seqno `n + 1`, also across files.
//! 2. A file's header is written only after every frame of every earlier file is durable, and it is
//!    durable before the file's first frame is written.
//! 3. File numbers grow and are never used again; the newest file is never recycled.
//! 4. A file is recycled or removed only when all its commits are flushed.
//! 5. After a failed write or sync of frames nothing more is written, unless the device was full when
//!    frames were written: those are taken back durably, or written again; no sync is ever repeated
//!    on the same data.
//! 6. Nothing is ever written behind frames that a recovery found; it starts a new file.
//!
//! # Crash behaviour
//! All frames that were synced come back. Of the others, a prefix comes back. A hole in what was
//! synced is an error and never taken for the end; see [`recovery`] for the table of decisions.

#![deny(clippy::indexing_slicing)]

mod files;
mod follow;
pub mod group;
mod reader;
pub mod recovery;
mod remains;
mod writer;

#[cfg(test)]
mod tests;

pub use files::{WalShared, WalStats, create_first};
pub use follow::{Followed, Tail};
pub use recovery::{ReplayFrame, ReplaySummary, TornTail, open};
pub use remains::{WalPiece, database_of, read_remains};
pub use writer::{FrameIn, WalWriter};

use crate::error::{Error, Result};
use crate::format::wal_frame::WAL_FILE_HEADER_LEN;

/// Least [`WalOptions::file_len`].
pub const FILE_LEN_MIN: u64 = 64 << 10;

/// How the WAL uses its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Length of a file, in bytes; at least [`FILE_LEN_MIN`]. A longer commit gets a file of its
    /// own.
    pub file_len: u64,
    /// Most files that are kept for another use.
    pub spares_max: usize,
    /// A spare file is prepared once this many bytes of frames were written since the WAL was
    /// opened, so that small databases stay small.
    pub spare_after_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { file_len: 64 << 20, spares_max: 4, spare_after_bytes: 1 << 20 }
    }
}

impl WalOptions {
    fn check(&self) -> Result<()> {
        if self.file_len < FILE_LEN_MIN || !self.file_len.is_multiple_of(4096) {
            return Err(Error::invalid(format!(
                "a WAL file length of {} bytes; it must be a multiple of 4096, at least {FILE_LEN_MIN}",
                self.file_len
            )));
        }
        Ok(())
    }
}

/// Where a file's first frame starts.
const FRAMES_START: u64 = WAL_FILE_HEADER_LEN as u64;
