//! fjall.
//!
//! Tuning: a cache of 1 GiB; everything else is its default (LZ4 from level 2 on, Bloom filters, 64
//! MiB memtables), which its documentation recommends. Single durable commits are an insert and
//! `persist(SyncData)`, as its README shows, which lets threads insert while another one syncs; batches
//! carry their durability. The sorted load is its ingestion. Deferred commits are in the journal, given
//! to the operating system. Versions are forgotten by a compaction filter in a major compaction.
//!
//! Checksums: each block is verified when it is read from its file into the cache.

use super::{CACHE_BYTES, Shape};
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use crate::timed::Sieve;
use fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An open database.
struct Store {
    db: Database,
    rows: Keyspace,
    /// What compaction may forget, when it is not 0.
    since: Arc<AtomicU64>,
}

/// Opens it.
pub(super) fn open(dir: &Path, shape: Shape) -> Result<Box<dyn Engine>> {
    let since = Arc::new(AtomicU64::new(0));
    let mut builder = Database::builder(dir).cache_size(CACHE_BYTES as u64);
    if shape == Shape::Versions {
        let filters: Arc<dyn Factory> = Arc::new(Filters(since.clone()));
        builder =
            builder.with_compaction_filter_factories(Arc::new(move |_| Some(filters.clone())));
    }
    let db = builder.open()?;
    let rows = db.keyspace("rows", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Store { db, rows, since }))
}

/// Makes a filter for each compaction.
struct Filters(Arc<AtomicU64>);

impl Factory for Filters {
    fn name(&self) -> &str {
        "versions"
    }

    fn make_filter(&self, _context: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter(Sieve::new(self.0.load(Ordering::Relaxed))))
    }
}

/// Drops versions; each was written once, so nothing has to hide it afterwards.
struct Filter(Sieve);

impl CompactionFilter for Filter {
    fn filter_item(
        &mut self,
        item: ItemAccessor<'_>,
        _context: &Context,
    ) -> fjall::compaction::filter::CompactionFilterResult {
        Ok(if self.0.goes(item.key()) { Verdict::Destroy } else { Verdict::Keep })
    }
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        if let [Op { key, val: Some(val) }] = ops {
            self.rows.insert(*key, *val)?;
            if durability == Durability::Synced {
                self.db.persist(PersistMode::SyncData)?;
            }
            return Ok(());
        }
        let mut batch = self.db.batch();
        for op in ops {
            match op.val {
                Some(val) => batch.insert(&self.rows, op.key, val),
                None => batch.remove(&self.rows, op.key),
            }
        }
        let sync = (durability == Durability::Synced).then_some(PersistMode::SyncData);
        Ok(batch.durability(sync).commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.rows.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        job(&View { snapshot: self.db.snapshot(), rows: &self.rows })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let mut ingestion = self.rows.start_ingestion()?;
        for (key, val) in rows {
            ingestion.write(&key[..], &val[..])?;
        }
        Ok(ingestion.finish()?)
    }

    fn bulk_path(&self) -> &'static str {
        "ingestion"
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.rows.rotate_memtable_and_wait()?)
    }

    fn forget_versions(&mut self, since: u64) -> Result<bool> {
        self.since.store(since, Ordering::Relaxed);
        self.reclaim()?;
        Ok(true)
    }

    fn reclaim(&mut self) -> Result<()> {
        self.flush()?;
        Ok(self.rows.major_compact()?)
    }
}

/// A snapshot.
struct View<'a> {
    snapshot: Snapshot,
    rows: &'a Keyspace,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.snapshot.get(self.rows, key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.snapshot.range::<&[u8], _>(self.rows, (Bound::Included(from), to));
        for row in range.take(limit as usize) {
            let (key, val) = row.into_inner()?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        for row in self.snapshot.iter(self.rows).rev().take(limit as usize) {
            let (key, val) = row.into_inner()?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for row in self.snapshot.range::<&[u8], _>(self.rows, from..) {
            let (key, val) = row.into_inner()?;
            if !visit(&key, &val) {
                break;
            }
        }
        Ok(())
    }
}
