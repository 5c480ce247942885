//! Counters of what the engine did since it was opened.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The live counters. All are advisory: relaxed, each exact by itself.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)+
            stall_max_micros: AtomicU64,
        }

        impl Counters {
            $(
                pub(crate) fn $name(&self, more: u64) {
                    self.$name.fetch_add(more, Ordering::Relaxed);
                }
            )+
            pub(crate) fn read(&self) -> Counts {
                Counts {
                    $($name: self.$name.load(Ordering::Relaxed),)+
                    stall_max_micros: self.stall_max_micros.load(Ordering::Relaxed),
                }
            }
        }

        /// What the engine did since the database was opened.
        ///
        /// ```
        /// use datestone_engine::stats::Counts;
        /// assert_eq!(Counts::default().stall_max_micros, 0);
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)+
            /// Longest pause of one commit, in microseconds.
            pub stall_max_micros: u64,
        }
    };
}

counters! {
    /// Commits acknowledged.
    commits,
    /// Updates in them.
    updates,
    /// Memtables flushed.
    flushes,
    /// Bytes of segments that flushes wrote.
    flush_bytes,
    /// Merges of segments.
    compactions,
    /// Bytes of segments that merges read.
    compaction_read_bytes,
    /// Bytes of segments that merges wrote.
    compaction_write_bytes,
    /// Bytes of segments that the scrub read.
    scrubbed_bytes,
    /// Passes of the scrub over all segments.
    scrub_passes,
    /// Damaged segments that the scrub met, each once a pass.
    scrub_damaged,
    /// Commits that paused because flush or compaction lagged.
    stalls,
    /// Microseconds that they paused.
    stall_micros,
}

impl Counters {
    /// Counts a pause of a commit.
    pub(crate) fn stalled(&self, pause: Duration) {
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.stalls(1);
        self.stall_micros(micros);
        self.stall_max_micros.fetch_max(micros, Ordering::Relaxed);
    }
}

/// Bytes of memory, by what they are used for.
///
/// ```
/// use datestone_engine::stats::MemoryUse;
/// assert_eq!(MemoryUse { memtables: 3, block_cache: 2 }.total(), 5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// All memtables, active and frozen, with the histories of keys that readers have found deep.
    pub memtables: u64,
    /// Decompressed blocks.
    pub block_cache: u64,
}

impl MemoryUse {
    /// All of it.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.memtables.saturating_add(self.block_cache)
    }
}

/// The engine's state and history at a glance.
///
/// ```
/// use datestone_engine::stats::Stats;
/// let Stats { last_seqno, durable_seqno, .. } = Stats::default();
/// assert!(durable_seqno <= last_seqno);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Version of the format that the files are written in.
    pub format_version: u32,
    /// What was done since the database was opened.
    pub counts: Counts,
    /// Bytes in the active memtable.
    pub memtable_bytes: u64,
    /// Memory that is accounted for.
    pub memory: MemoryUse,
    /// Frozen memtables that wait for their flush.
    pub frozen_memtables: u64,
    /// Bytes of live segments.
    pub segment_bytes: u64,
    /// Live segments.
    pub segments: u64,
    /// WAL files, spares included.
    pub wal_files: u64,
    /// Bytes of WAL files, spares included.
    pub wal_bytes: u64,
    /// Syncs of the WAL since the database was opened.
    pub wal_syncs: u64,
    /// Last commit, 0 when none.
    pub last_seqno: u64,
    /// Last commit known to be on the device.
    pub durable_seqno: u64,
    /// Last commit whose updates are all in segments.
    pub flushed_seqno: u64,
}
