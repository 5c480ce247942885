//! [`Options`]: everything about a database that can be chosen when it is opened.

use crate::error::{Error, Result};
use crate::limits;

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

/// Everything about a database that can be chosen when it is opened. The defaults are measured.
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
    /// Whether background compaction chooses work by itself (default: true). Explicit compaction
    /// works either way.
    pub auto_compaction: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            memtable_bytes: 64 << 20,
            wal_file_bytes: 64 << 20,
            background_threads: 1,
            durability: Durability::Fsync,
            compression: Compression::None,
            block_cache_bytes: 32 << 20,
            hash_index: true,
            auto_compaction: true,
        }
    }
}

impl Options {
    /// Refuses values out of bounds.
    pub fn check(&self) -> Result<()> {
        if !(limits::MEMTABLE_BYTES_MIN..=limits::MEMTABLE_BYTES_MAX).contains(&self.memtable_bytes)
        {
            return Err(Error::invalid(format!(
                "memtable_bytes is {}, must be from {} to {}",
                self.memtable_bytes,
                limits::MEMTABLE_BYTES_MIN,
                limits::MEMTABLE_BYTES_MAX
            )));
        }
        if !(limits::WAL_FILE_BYTES_MIN..=limits::WAL_FILE_BYTES_MAX).contains(&self.wal_file_bytes)
        {
            return Err(Error::invalid(format!(
                "wal_file_bytes is {}, must be from {} to {}",
                self.wal_file_bytes,
                limits::WAL_FILE_BYTES_MIN,
                limits::WAL_FILE_BYTES_MAX
            )));
        }
        if !self.wal_file_bytes.is_multiple_of(limits::WAL_FILE_BYTES_UNIT) {
            return Err(Error::invalid(format!(
                "wal_file_bytes is {}, must be a multiple of {}",
                self.wal_file_bytes,
                limits::WAL_FILE_BYTES_UNIT
            )));
        }
        if self.background_threads > limits::BACKGROUND_THREADS_MAX {
            return Err(Error::invalid(format!(
                "background_threads is {}, must be at most {}",
                self.background_threads,
                limits::BACKGROUND_THREADS_MAX
            )));
        }
        if let Compression::Cold { level } = self.compression {
            if !(1..=19).contains(&level) {
                return Err(Error::invalid(format!(
                    "compression level is {level}, must be from 1 to 19"
                )));
            }
            if !cfg!(feature = "zstd") {
                return Err(Error::invalid("this build has no zstd (feature `zstd`)"));
            }
        }
        Ok(())
    }
}
