//! datestone, through its public crate.
//!
//! Tuning: none; all options are the defaults (64 MiB memtables, one background thread, no
//! compression). Data is in a table on the database's clock, its plain key-value face, so every
//! version stays readable; the sorted load is [`Collection::ingest`], which tables do not have, into
//! a multiset, and what is read afterwards is that multiset. `multi_get` is that of the table as a
//! collection. Deferred commits are `Durability::Buffer`: given to the operating system.
//!
//! Checksums: verified on the first read of each block since the database was opened.

use super::Shape;
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use datestone::{AsUpdate, Collection, Datestone, Snapshot, Table, TableRows, TableSnapshot};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open database.
struct Store {
    db: Datestone,
    table: Table,
    /// Where the sorted load goes.
    bulk: Collection,
    /// Whether it was used: then it is what is read.
    is_bulk: AtomicBool,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let db = Datestone::open(dir)?;
    let (table, bulk) = (db.table("rows")?, db.collection("bulk")?);
    Ok(Box::new(Store { db, table, bulk, is_bulk: AtomicBool::new(false) }))
}

/// What a commit asks for.
const fn asked(durability: Durability) -> datestone::Durability {
    match durability {
        Durability::Synced => datestone::Durability::Fsync,
        Durability::Deferred => datestone::Durability::Buffer,
    }
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        let mut commit = self.db.commit().durability(asked(durability));
        for op in ops {
            commit = match op.val {
                Some(val) => commit.put(&self.table, op.key, val),
                None => commit.delete(&self.table, op.key),
            };
        }
        commit.run()?;
        Ok(())
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.table.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        if self.is_bulk.load(Ordering::Relaxed) {
            return job(&BulkView(self.bulk.latest()?));
        }
        job(&View { rows: self.table.latest()?, collection: self.table.as_collection() })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        self.bulk.ingest(rows.map(|(key, val)| Added { key, val }), Some(1))?;
        self.is_bulk.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn bulk_path(&self) -> &'static str {
        "ingest into a multiset"
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn reclaim(&mut self) -> Result<()> {
        Ok(self.db.compact()?)
    }
}

/// A row that is added at time 0.
struct Added {
    key: Key,
    val: Val,
}

impl AsUpdate<[u8], [u8]> for Added {
    fn key(&self) -> &[u8] {
        &self.key
    }
    fn val(&self) -> &[u8] {
        &self.val
    }
    fn ts(&self) -> u64 {
        0
    }
    fn diff(&self) -> i64 {
        1
    }
}

/// The table as of its latest time.
struct View<'a> {
    rows: TableSnapshot,
    /// The table in the face that reads many keys at once.
    collection: &'a Collection,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.rows.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<()> {
        let found = self.collection.latest()?.multi_get(keys.iter().map(|key| &key[..]))?;
        found.iter().flatten().for_each(|(val, _)| seen.val(val));
        Ok(())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        read_rows(self.rows.range::<[u8]>((Bound::Included(from), to)), limit, seen)
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        read_rows(self.rows.iter().reversed(), limit, seen)
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut rows = self.rows.range::<[u8]>((Bound::Included(from), Bound::Unbounded));
        while let Some(row) = rows.next_row()? {
            if !visit(row.key, row.val) {
                break;
            }
        }
        Ok(())
    }
}

/// Reads rows of a table.
fn read_rows(mut rows: TableRows, limit: u64, seen: &mut Seen) -> Result<()> {
    for _ in 0..limit {
        let Some(row) = rows.next_row()? else { break };
        seen.row(row.key, row.val);
    }
    Ok(())
}

/// The multiset after a sorted load.
struct BulkView(Snapshot);

impl Reader for BulkView {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let before = seen.count;
        self.0.get_with(key, |val, _| seen.val(val))?;
        Ok(seen.count > before)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = self.0.range::<[u8]>((Bound::Included(from), to));
        for _ in 0..limit {
            let Some(row) = rows.next_row()? else { break };
            seen.row(row.key, row.val);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        let mut rows = self.0.iter().reversed();
        for _ in 0..limit {
            let Some(row) = rows.next_row()? else { break };
            seen.row(row.key, row.val);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut rows = self.0.range::<[u8]>((Bound::Included(from), Bound::Unbounded));
        while let Some(row) = rows.next_row()? {
            if !visit(row.key, row.val) {
                break;
            }
        }
        Ok(())
    }
}
