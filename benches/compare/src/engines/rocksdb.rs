//! RocksDB.
//!
//! Tuning: what its wiki recommends in "Setup Options and Basic Tuning" (dynamic level sizes, LZ4,
//! a Bloom filter of 10 bits a key, `bytes_per_sync` of 1 MiB, indexes and filters in the cache with
//! those of level 0 pinned), its HyperClockCache of 1 GiB, hash indexes in data blocks for point
//! reads, and as many background jobs as it likes for two cores. Blocks keep their default of 4 KiB
//! (the wiki's 16 KiB save memory, and make reads in memory slower). Logs are recycled and writes
//! pipelined, which its documentation recommends for synced commits from many threads. The sorted
//! load writes a file with `SstFileWriter` and ingests it by moving. Deferred commits are in the log,
//! given to the operating system. Reads are pinned, without a copy. Versions are forgotten by a
//! compaction filter in a compaction of everything.
//!
//! Checksums: each block is verified when it is read from its file into the cache; not again while it
//! is there.

use super::{CACHE_BYTES, Shape};
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use crate::timed::Sieve;
use rust_rocksdb::compaction_filter::CompactionFilter;
use rust_rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rust_rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, CompactionDecision, DB,
    DBCompressionType, DBRawIterator, DataBlockIndexType, IngestExternalFileOptions, Options,
    ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An open database.
struct Store {
    db: DB,
    options: Options,
    dir: PathBuf,
    /// What compaction may forget, when it is not 0.
    since: Arc<AtomicU64>,
}

/// The options of a database.
fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(CACHE_BYTES, 0));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_bytes_per_sync(1 << 20);
    options.increase_parallelism(2);
    options.set_enable_pipelined_write(true);
    options.set_recycle_log_file_num(4);
    options
}

/// Opens it.
pub(super) fn open(dir: &Path, shape: Shape) -> Result<Box<dyn Engine>> {
    let mut options = options();
    let since = Arc::new(AtomicU64::new(0));
    if shape == Shape::Versions {
        options.set_compaction_filter_factory(Filters(since.clone()));
    }
    let db = DB::open(&options, dir)?;
    Ok(Box::new(Store { db, options, dir: dir.to_path_buf(), since }))
}

/// Makes a filter for each compaction.
struct Filters(Arc<AtomicU64>);

impl CompactionFilterFactory for Filters {
    type Filter = Filter;

    fn create(&mut self, _context: CompactionFilterContext) -> Filter {
        Filter(Sieve::new(self.0.load(Ordering::Relaxed)))
    }

    fn name(&self) -> &CStr {
        c"versions"
    }
}

/// Drops versions.
struct Filter(Sieve);

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, key: &[u8], _val: &[u8]) -> CompactionDecision {
        if self.0.goes(key) { CompactionDecision::Remove } else { CompactionDecision::Keep }
    }

    fn name(&self) -> &CStr {
        c"versions"
    }
}

/// What a commit asks for.
fn asked(durability: Durability) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(durability == Durability::Synced);
    options
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::default();
        for op in ops {
            match op.val {
                Some(val) => batch.put(op.key, val),
                None => batch.delete(op.key),
            }
        }
        Ok(self.db.write_opt(&batch, &asked(durability))?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.db.get_pinned(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        job(&View { db: &self.db })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let path = self.dir.with_extension("sst");
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(&path)?;
        for (key, val) in rows {
            writer.put(key, val)?;
        }
        writer.finish()?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(self.db.ingest_external_file_opts(&options, vec![&path])?)
    }

    fn bulk_path(&self) -> &'static str {
        "SstFileWriter, ingested"
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn forget_versions(&mut self, since: u64) -> Result<bool> {
        self.since.store(since, Ordering::Relaxed);
        self.reclaim()?;
        Ok(true)
    }

    fn reclaim(&mut self) -> Result<()> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(())
    }
}

/// Reads of the newest contents.
struct View<'a> {
    db: &'a DB,
}

impl View<'_> {
    /// Calls `row` for rows while it returns true.
    fn each<'a>(
        mut rows: DBRawIterator<'a>,
        step: impl Fn(&mut DBRawIterator<'a>),
        mut row: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        while let Some((key, val)) = rows.item() {
            if !row(key, val) {
                return Ok(());
            }
            step(&mut rows);
        }
        Ok(rows.status()?)
    }
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.db.get_pinned(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<()> {
        for found in self.db.batched_multi_get_pinned(keys, false) {
            if let Some(val) = found? {
                seen.val(&val);
            }
        }
        Ok(())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        if limit == 0 {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mut rows = self.db.raw_iterator_opt(options);
        rows.seek(from);
        let mut left = limit;
        Self::each(
            rows,
            |rows| rows.next(),
            |key, val| {
                seen.row(key, val);
                left -= 1;
                left > 0
            },
        )
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        let mut rows = self.db.raw_iterator();
        rows.seek_to_last();
        let mut left = limit;
        Self::each(
            rows,
            |rows| rows.prev(),
            |key, val| {
                seen.row(key, val);
                left -= 1;
                left > 0
            },
        )
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut rows = self.db.raw_iterator();
        rows.seek(from);
        Self::each(rows, |rows| rows.next(), visit)
    }
}
