//! [`Options`]: everything about a database that can be chosen when it is opened.
//!
//! Each option has one name, the same as its field: in `name=value` text ([`Options::set`]), in the
//! environment (`DATESTONE_<NAME>`, [`Options::from_env`]) and in the table of all of them
//! ([`Options::table`]), which says type, bounds, default and purpose once for programs, for tools
//! and for the documentation.

mod size;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use size::{display_size, parse_size};
pub use table::{OptionInfo, OptionKind};

use crate::error::{Error, Result};
use crate::events::EventListener;

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
    /// Told of what the engine does on its own (default: nobody). The one option without a text.
    pub on_event: Option<EventListener>,
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
        Ok(())
    }
}
