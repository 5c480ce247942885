//! [`Options`]: everything about a database that can be chosen when it is opened.
//!
//! Each option has one name, the same as its field: in `name=value` text ([`Options::set`]), in the
//! environment (`DATESTONE_<NAME>`, [`Options::from_env`]) and in the table of all of them
//! ([`Options::table`]), which says type, bounds, default and purpose once for programs, for tools
//! and for the documentation.

mod retention;
mod size;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use retention::Retention;
pub use size::{display_size, parse_size};
pub use table::{OptionInfo, OptionKind};

use crate::error::{Error, Result};
use crate::events::EventListener;
use crate::format::anchors::ANCHORS_LEN_MAX;
use crate::limits::{FROZEN_COUNT_MAX, MEMTABLE_BYTES_MAX, MEMTABLE_BYTES_MIN, SEGMENT_LEN_TARGET};

/// When an acknowledged commit survives what.
///
/// ```
/// use datestone_engine::config::Durability;
/// assert_eq!(Durability::default(), Durability::Fsync);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// On the device when the call returns: survives a power cut. Threads that commit at the same
    /// time share one sync.
    #[default]
    Fsync,
    /// Given to the operating system when the call returns: survives the death of the process.
    Buffer,
    /// In memory when the call returns: survives nothing until the next sync or flush.
    None,
}

/// How cold blocks are stored.
///
/// ```
/// use datestone_engine::config::{Compression, Options};
/// let options = Options { compression: Compression::Cold { level: 1 }, ..Options::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Every block is stored as it is and used in place.
    #[default]
    None,
    /// Blocks that a compaction into the oldest run writes are compressed with zstd at `level`;
    /// those that would not shrink stay as they are.
    Cold {
        /// 1 to 19; levels above 3 hardly shrink real data further.
        level: i32,
    },
}

/// Who may read the files and directories that are created, beside their owner; the process's umask may
/// take away more. Only the owner may ever write them. What exists keeps its mode. Unix alone knows this.
///
/// ```
/// use datestone_engine::config::Access;
/// assert_eq!((Access::default().file_mode(), Access::default().dir_mode()), (0o600, 0o700));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nobody.
    #[default]
    Owner,
    /// The members of the files' group: those who open a database to read it, say.
    Group,
    /// Everybody.
    All,
}

impl Access {
    /// The mode of a file.
    #[must_use]
    pub const fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o640,
            Self::All => 0o644,
        }
    }

    /// The mode of a directory.
    #[must_use]
    pub const fn dir_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group => 0o750,
            Self::All => 0o755,
        }
    }
}

/// Everything about a database that can be chosen when it is opened. The defaults are measured.
///
/// As text, each option has the name of its field; see [`Options::set`], [`Options::from_env`] and
/// [`Options::table`].
///
/// ```
/// use datestone_engine::config::Options;
/// let small = Options { memtable_bytes: 1 << 20, wal_file_bytes: 1 << 20, ..Options::default() };
/// assert!(small.check().is_ok());
/// assert!(Options { memtable_bytes: 1, ..small }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Create the database when there is none (default: true).
    pub create_if_missing: bool,
    /// Who may read the files that are created, beside their owner (default: nobody). A salvage, and
    /// backups that are opened by themselves, are not of a database that is open: what they create is
    /// the owner's alone.
    pub access: Access,
    /// Limit of the memory for memtables, block cache and merges together, in bytes, at least 4 MiB
    /// (default: none). An eighth is kept for merges, an eighth is the block cache's, the rest is
    /// the memtables'; sizes that are left at their defaults are derived from it, others must fit.
    /// Commits wait until there is room in the memtables' share; one that needs more than all of it
    /// is refused.
    pub memory_limit: Option<usize>,
    /// Size at which a memtable is frozen and flushed, in bytes (default: 64 MiB, at least 64 KiB).
    pub memtable_bytes: usize,
    /// Size of a WAL file, in bytes (default: 64 MiB, at least 64 KiB, a multiple of 4 KiB).
    pub wal_file_bytes: u64,
    /// Background threads (default: 1). With 0 nothing happens in the background: the caller runs
    /// the steps, and a commit that finds no room runs one itself.
    pub background_threads: usize,
    /// Durability of a commit that does not ask for another one (default: `Fsync`).
    pub durability: Durability,
    /// How cold blocks are stored (default: as they are).
    pub compression: Compression,
    /// Memory for decompressed blocks, in bytes (default: 32 MiB).
    pub block_cache_bytes: usize,
    /// Whether segments get a hash index, which halves the time of a point read and costs about
    /// 6 bytes a key (default: true).
    pub hash_index: bool,
    /// Length at which a segment is closed and the next one begun, in bytes (default: 256 MiB, at least
    /// 4 KiB). Small ones are for tests.
    pub segment_bytes: u64,
    /// Whether background compaction chooses work by itself (default: true). Explicit compaction
    /// works either way.
    pub auto_compaction: bool,
    /// Seconds in which every segment is read and checked once, over and over, evenly spread; 0 for
    /// never (default: 0, at most 10 years).
    pub scrub_period_seconds: u64,
    /// Told of what the engine does on its own (default: nobody). The one option without a text.
    pub on_event: Option<EventListener>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            access: Access::Owner,
            memory_limit: None,
            memtable_bytes: 64 << 20,
            wal_file_bytes: 64 << 20,
            background_threads: 1,
            durability: Durability::Fsync,
            compression: Compression::None,
            block_cache_bytes: 32 << 20,
            hash_index: true,
            segment_bytes: SEGMENT_LEN_TARGET,
            auto_compaction: true,
            scrub_period_seconds: 0,
            on_event: None,
        }
    }
}

impl Options {
    /// Refuses values out of bounds.
    pub fn check(&self) -> Result<()> {
        for option in Self::table() {
            option.check(self)?;
        }
        if matches!(self.compression, Compression::Cold { .. }) && !cfg!(feature = "zstd") {
            return Err(Error::invalid("this build has no zstd (feature `zstd`)"));
        }
        self.check_memory()
    }

    /// Refuses sizes that do not fit the memory limit.
    fn check_memory(&self) -> Result<()> {
        let (Some(limit), Some(share)) = (self.memory_limit, self.memtable_share()) else {
            return Ok(());
        };
        let Self { memtable_bytes, block_cache_bytes, .. } = self.derived();
        let memtables = memtable_bytes.saturating_mul(FROZEN_COUNT_MAX + 1);
        if memtables as u64 > share {
            return Err(Error::invalid(format!(
                "memory_limit is {}: beside block_cache_bytes {} and an eighth for merges it leaves \
                 {share} bytes, and four memtables of memtable_bytes {} do not fit; raise \
                 memory_limit or lower the others",
                display_size(limit as u64),
                display_size(block_cache_bytes as u64),
                display_size(memtable_bytes as u64)
            )));
        }
        Ok(())
    }

    /// The bytes that memtables may take together, `None` without a memory limit.
    #[must_use]
    pub(crate) fn memtable_share(&self) -> Option<u64> {
        let limit = self.memory_limit?;
        let cache = self.derived().block_cache_bytes;
        Some((limit - limit / 8).saturating_sub(cache) as u64)
    }

    /// The options with the sizes that the memory limit gives to those left at their defaults.
    #[must_use]
    pub(crate) fn derived(&self) -> Self {
        let mut derived = self.clone();
        let (Some(limit), default) = (self.memory_limit, Self::default()) else { return derived };
        if derived.block_cache_bytes == default.block_cache_bytes {
            derived.block_cache_bytes = limit / 8;
        }
        if derived.memtable_bytes == default.memtable_bytes {
            // Four of them take half of the share; the rest is for commits on their way.
            let share = (limit - limit / 8).saturating_sub(derived.block_cache_bytes);
            derived.memtable_bytes = (share / 8).clamp(MEMTABLE_BYTES_MIN, MEMTABLE_BYTES_MAX);
        }
        derived
    }

    /// Most bytes of anchors in a segment. Up to three times as many are in memory while it is written,
    /// by a flush and a merge at the same time: with a limit they take a part of the merges' eighth.
    pub(crate) fn anchors_len_max(&self) -> usize {
        self.memory_limit.map_or(ANCHORS_LEN_MAX, |limit| ANCHORS_LEN_MAX.min(limit / 64))
    }
}
