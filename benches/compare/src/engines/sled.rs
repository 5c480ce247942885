//! sled, the newest release that is not an alpha.
//!
//! Tuning: a cache of 1 GiB, its default; its documentation recommends nothing else. A durable commit
//! is an insert or a batch, then `flush`, which threads share. It has no bulk path: the sorted load is
//! batches of 1,000 in order. Deferred commits are in its buffers, which it writes every 500 ms.
//!
//! Checksums: each piece of a page is verified when it is read from its file; what is in the cache is
//! not.

use super::{CACHE_BYTES, Shape};
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use sled::{Batch, Config, Db};
use std::ops::Bound;
use std::path::Path;

/// An open database.
struct Store {
    db: Db,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let db = Config::new().path(dir).cache_capacity(CACHE_BYTES as u64).open()?;
    Ok(Box::new(Store { db }))
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        if let [Op { key, val: Some(val) }] = ops {
            self.db.insert(key, *val)?;
        } else {
            let mut batch = Batch::default();
            for op in ops {
                match op.val {
                    Some(val) => batch.insert(op.key, val),
                    None => batch.remove(op.key),
                }
            }
            self.db.apply_batch(batch)?;
        }
        if durability == Durability::Synced {
            self.db.flush()?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.db.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        job(&View { db: &self.db })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut batch = Batch::default();
            for (key, val) in rows.by_ref().take(1_000) {
                batch.insert(&key[..], &val[..]);
            }
            self.db.apply_batch(batch)?;
        }
        self.sync()
    }

    fn bulk_path(&self) -> &'static str {
        "batches of 1,000, in order"
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.sync()
    }

    /// It has no call for it.
    fn reclaim(&mut self) -> Result<()> {
        self.sync()
    }
}

/// Reads of the newest contents.
struct View<'a> {
    db: &'a Db,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.db.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        for row in self.db.range::<&[u8], _>((Bound::Included(from), to)).take(limit as usize) {
            let (key, val) = row?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        for row in self.db.iter().rev().take(limit as usize) {
            let (key, val) = row?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for row in self.db.range::<&[u8], _>(from..) {
            let (key, val) = row?;
            if !visit(&key, &val) {
                break;
            }
        }
        Ok(())
    }
}
