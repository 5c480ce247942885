//! The table of all options: the one place that says name, type, bounds and purpose of each.
//!
//! # Invariants
//! 1. There is one line for each field of [`Options`] that text can express, under the field's name.
//! 2. `set(get(options))` changes nothing.

use super::{Access, Compression, Durability, Options, display_size, parse_size};
use crate::error::{Error, Result};
use crate::limits;

/// What an option's value is, and which values it may have.
///
/// ```
/// use datestone_engine::config::OptionKind;
/// let size = OptionKind::Bytes { min: 4096, max: 1 << 30, unit: 4096 };
/// assert_eq!(size.bounds(), "from 4KiB to 1GiB, a multiple of 4KiB");
/// assert_eq!(size.name(), "bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionKind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A size in bytes, as text with or without a unit (`64MiB`).
    Bytes {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
        /// It is a multiple of this.
        unit: u64,
    },
    /// One of some words; the text lists them.
    Choice(&'static str),
}

impl OptionKind {
    /// The kind's name: `flag`, `count`, `bytes` or `choice`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Count { .. } => "count",
            Self::Bytes { .. } => "bytes",
            Self::Choice(_) => "choice",
        }
    }

    /// The values that are allowed, in words.
    #[must_use]
    pub fn bounds(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Count { min, max } => format!("from {min} to {max}"),
            Self::Bytes { min, max, unit: 1 } => {
                format!("from {} to {}", display_size(min), display_size(max))
            }
            Self::Bytes { min, max, unit } => format!(
                "from {} to {}, a multiple of {}",
                display_size(min),
                display_size(max),
                display_size(unit)
            ),
            Self::Choice(words) => words.into(),
        }
    }

    /// The number that `text` stands for, if it is within the bounds.
    fn number(self, text: &str) -> Option<u64> {
        let (min, max, unit, number) = match self {
            Self::Count { min, max } => (min, max, 1, text.parse().ok()?),
            Self::Bytes { min, max, unit } => (min, max, unit, parse_size(text)?),
            Self::Flag | Self::Choice(_) => return None,
        };
        ((min..=max).contains(&number) && number.is_multiple_of(unit)).then_some(number)
    }
}

/// An option: what it is called, what it may be and what it is for.
///
/// ```
/// use datestone_engine::config::Options;
/// let option = Options::table().iter().find(|option| option.name == "memtable_bytes").unwrap();
/// assert_eq!(option.default(), "64MiB");
/// assert_eq!(option.get(&Options { memtable_bytes: 1 << 20, ..Options::default() }), "1MiB");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct OptionInfo {
    /// Its name, everywhere.
    pub name: &'static str,
    /// What its value is.
    pub kind: OptionKind,
    /// What it is for.
    pub purpose: &'static str,
    get: fn(&Options) -> String,
    /// Takes a value; `None` when it is not one that is allowed.
    set: fn(&mut Options, OptionKind, &str) -> Option<()>,
}

impl OptionInfo {
    /// Its value in `options`, as text.
    #[must_use]
    pub fn get(&self, options: &Options) -> String {
        (self.get)(options)
    }

    /// Its default, as text.
    #[must_use]
    pub fn default(&self) -> String {
        self.get(&Options::default())
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("DATESTONE_{}", self.name.to_ascii_uppercase())
    }

    /// Gives it a value in `options`.
    pub(super) fn set(&self, options: &mut Options, value: &str) -> Result<()> {
        (self.set)(options, self.kind, value).ok_or_else(|| self.out_of_bounds(value.into()))
    }

    /// Refuses a value that is out of bounds.
    pub(super) fn check(&self, options: &Options) -> Result<()> {
        let value = self.get(options);
        self.set(&mut Options::default(), &value).map_err(|_| self.out_of_bounds(value))
    }

    fn out_of_bounds(&self, value: String) -> Error {
        Error::OptionOutOfBounds { name: self.name, value, bounds: self.kind.bounds() }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn size(kind: OptionKind, text: &str) -> Option<usize> {
    usize::try_from(kind.number(text)?).ok()
}

fn bytes(count: usize) -> String {
    display_size(count as u64)
}

fn get_access(options: &Options) -> String {
    match options.access {
        Access::Owner => "owner",
        Access::Group => "group",
        Access::All => "all",
    }
    .into()
}

fn set_access(options: &mut Options, _: OptionKind, text: &str) -> Option<()> {
    options.access = match text {
        "owner" => Access::Owner,
        "group" => Access::Group,
        "all" => Access::All,
        _ => return None,
    };
    Some(())
}

fn set_durability(options: &mut Options, _: OptionKind, text: &str) -> Option<()> {
    options.durability = match text {
        "fsync" => Durability::Fsync,
        "buffer" => Durability::Buffer,
        "none" => Durability::None,
        _ => return None,
    };
    Some(())
}

fn get_durability(options: &Options) -> String {
    match options.durability {
        Durability::Fsync => "fsync",
        Durability::Buffer => "buffer",
        Durability::None => "none",
    }
    .into()
}

fn set_compression(options: &mut Options, _: OptionKind, text: &str) -> Option<()> {
    options.compression = match text.strip_prefix("zstd:") {
        None if text == "none" => Compression::None,
        None => return None,
        Some(level) => {
            let level = OptionKind::Count { min: 1, max: 19 }.number(level)?;
            Compression::Cold { level: i32::try_from(level).ok()? }
        }
    };
    Some(())
}

fn get_compression(options: &Options) -> String {
    match options.compression {
        Compression::None => "none".into(),
        Compression::Cold { level } => format!("zstd:{level}"),
    }
}

fn set_memory_limit(options: &mut Options, _: OptionKind, text: &str) -> Option<()> {
    let bounds = OptionKind::Bytes {
        min: limits::MEMORY_LIMIT_MIN as u64,
        max: limits::MEMORY_LIMIT_MAX,
        unit: 1,
    };
    options.memory_limit = match text {
        "none" => None,
        _ => Some(size(bounds, text)?),
    };
    Some(())
}

const BLOCK_CACHE_BYTES_MAX: u64 = 1 << 40;

/// All options, in the order of the fields.
const TABLE: &[OptionInfo] = &[
    OptionInfo {
        name: "create_if_missing",
        kind: OptionKind::Flag,
        purpose: "Create the database when there is none.",
        get: |options| options.create_if_missing.to_string(),
        set: |options, _, text| flag(text).map(|on| options.create_if_missing = on),
    },
    OptionInfo {
        name: "access",
        kind: OptionKind::Choice("owner, group or all"),
        purpose: "Who may read the files that are created.",
        get: get_access,
        set: set_access,
    },
    OptionInfo {
        name: "memory_limit",
        kind: OptionKind::Choice("none or from 4MiB to 1TiB"),
        purpose: "Memory for memtables, block cache and merges together; commits wait for room.",
        get: |options| options.memory_limit.map_or_else(|| "none".into(), bytes),
        set: set_memory_limit,
    },
    OptionInfo {
        name: "memtable_bytes",
        kind: OptionKind::Bytes {
            min: limits::MEMTABLE_BYTES_MIN as u64,
            max: limits::MEMTABLE_BYTES_MAX as u64,
            unit: 1,
        },
        purpose: "Size at which a memtable is frozen and flushed; up to four exist at a time.",
        get: |options| bytes(options.memtable_bytes),
        set: |options, kind, text| size(kind, text).map(|bytes| options.memtable_bytes = bytes),
    },
    OptionInfo {
        name: "wal_file_bytes",
        kind: OptionKind::Bytes {
            min: limits::WAL_FILE_BYTES_MIN,
            max: limits::WAL_FILE_BYTES_MAX,
            unit: limits::WAL_FILE_BYTES_UNIT,
        },
        purpose: "Size of a file of the write-ahead log; a longer commit gets a file of its own.",
        get: |options| display_size(options.wal_file_bytes),
        set: |options, kind, text| kind.number(text).map(|bytes| options.wal_file_bytes = bytes),
    },
    OptionInfo {
        name: "background_threads",
        kind: OptionKind::Count { min: 0, max: limits::BACKGROUND_THREADS_MAX as u64 },
        purpose: "Threads that flush and merge; with 0 the program runs the steps itself.",
        get: |options| options.background_threads.to_string(),
        set: |options, kind, text| size(kind, text).map(|count| options.background_threads = count),
    },
    OptionInfo {
        name: "durability",
        kind: OptionKind::Choice("fsync, buffer or none"),
        purpose: "What a commit survives that does not ask for something else.",
        get: get_durability,
        set: set_durability,
    },
    OptionInfo {
        name: "compression",
        kind: OptionKind::Choice("none or zstd:LEVEL with LEVEL from 1 to 19"),
        purpose: "How the blocks of the oldest run are stored.",
        get: get_compression,
        set: set_compression,
    },
    OptionInfo {
        name: "block_cache_bytes",
        kind: OptionKind::Bytes { min: 0, max: BLOCK_CACHE_BYTES_MAX, unit: 1 },
        purpose: "Memory for decompressed blocks.",
        get: |options| bytes(options.block_cache_bytes),
        set: |options, kind, text| size(kind, text).map(|bytes| options.block_cache_bytes = bytes),
    },
    OptionInfo {
        name: "hash_index",
        kind: OptionKind::Flag,
        purpose: "Whether new segments get a hash index: faster point reads for 6 bytes a key.",
        get: |options| options.hash_index.to_string(),
        set: |options, _, text| flag(text).map(|on| options.hash_index = on),
    },
    OptionInfo {
        name: "segment_bytes",
        kind: OptionKind::Bytes {
            min: limits::SEGMENT_BYTES_MIN,
            max: limits::SEGMENT_LEN_TARGET,
            unit: 1,
        },
        purpose: "Length at which a segment is closed and the next one begun.",
        get: |options| display_size(options.segment_bytes),
        set: |options, kind, text| kind.number(text).map(|bytes| options.segment_bytes = bytes),
    },
    OptionInfo {
        name: "auto_compaction",
        kind: OptionKind::Flag,
        purpose: "Whether merges are chosen in the background.",
        get: |options| options.auto_compaction.to_string(),
        set: |options, _, text| flag(text).map(|on| options.auto_compaction = on),
    },
    OptionInfo {
        name: "scrub_period_seconds",
        kind: OptionKind::Count { min: 0, max: limits::SCRUB_PERIOD_SECONDS_MAX },
        purpose: "Seconds in which all segments are read and checked in the background; 0 for never.",
        get: |options| options.scrub_period_seconds.to_string(),
        set: |options, kind, text| kind.number(text).map(|n| options.scrub_period_seconds = n),
    },
];

impl Options {
    /// All options that text can express, in the order of the fields.
    ///
    /// ```
    /// use datestone_engine::config::Options;
    /// let names: Vec<_> = Options::table().iter().map(|option| option.name).collect();
    /// assert!(names.contains(&"durability"));
    /// ```
    #[must_use]
    pub const fn table() -> &'static [OptionInfo] {
        TABLE
    }
}
