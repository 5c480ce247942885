//! Every bound of the engine, and the relations between them.

/// Longest key, in bytes.
pub const KEY_LEN_MAX: usize = 64 << 10;
/// Longest value, in bytes.
pub const VAL_LEN_MAX: usize = 256 << 20;
/// Longest collection name, in bytes.
pub const NAME_LEN_MAX: usize = 255;
/// Longest user metadata of a collection, in bytes.
pub const META_LEN_MAX: usize = 64 << 10;
/// Most bytes of one commit as encoded in the WAL.
pub const COMMIT_LEN_MAX: usize = 1 << 30;
/// Most collections of one database.
pub const COLLECTION_COUNT_MAX: usize = 1 << 20;
/// Most updates that a segment stores in one entry; a longer list goes on in the next entry with
/// the same key and value.
pub const ENTRY_UPDATES_MAX: usize = 1 << 14;
/// Most keys of one block.
pub const BLOCK_KEYS_MAX: usize = 1 << 12;
/// A block is closed when its encoded size reaches this target, in bytes.
pub const BLOCK_LEN_TARGET: usize = 32 << 10;
/// Longest encoded block, in bytes: one key, one value and one entry's updates at their limits, with
/// the target before them.
pub const BLOCK_LEN_MAX: usize = VAL_LEN_MAX + (1 << 20);
/// A segment is closed when its blocks reach this size, in bytes.
pub const SEGMENT_LEN_TARGET: u64 = 256 << 20;
/// Least that may be chosen instead.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Most blocks of one segment.
pub const SEGMENT_BLOCKS_MAX: usize = 1 << 20;

const _: () = assert!(KEY_LEN_MAX < VAL_LEN_MAX);
const _: () = assert!(VAL_LEN_MAX + KEY_LEN_MAX < COMMIT_LEN_MAX);
const _: () = assert!(
    BLOCK_LEN_MAX > VAL_LEN_MAX + KEY_LEN_MAX + ENTRY_UPDATES_MAX * 16 + 2 * BLOCK_LEN_TARGET
);
const _: () = assert!(COMMIT_LEN_MAX <= u32::MAX as usize);

/// Smallest memtable, in bytes.
pub const MEMTABLE_BYTES_MIN: usize = 64 << 10;
/// Largest memtable, in bytes.
pub const MEMTABLE_BYTES_MAX: usize = 4 << 30;
/// Least limit of the memory, in bytes.
pub const MEMORY_LIMIT_MIN: usize = 4 << 20;
/// Greatest limit of the memory, in bytes.
pub const MEMORY_LIMIT_MAX: u64 = 1 << 40;
/// Smallest WAL file, in bytes.
pub const WAL_FILE_BYTES_MIN: u64 = 64 << 10;
/// Largest WAL file, in bytes.
pub const WAL_FILE_BYTES_MAX: u64 = 4 << 30;
/// The length of a WAL file is a multiple of this, in bytes.
pub const WAL_FILE_BYTES_UNIT: u64 = 4096;
/// Most background threads.
pub const BACKGROUND_THREADS_MAX: usize = 64;
/// The longest period of a scrub: ten years.
pub const SCRUB_PERIOD_SECONDS_MAX: u64 = 3650 * 86_400;
/// Bytes that a step of a scrub reads, unless one block is longer.
pub const SCRUB_PIECE_LEN: usize = 1 << 20;
/// Frozen memtables that may wait for their flush; a commit that would need one more waits.
pub const FROZEN_COUNT_MAX: usize = 3;
