//! canopydb.
//!
//! Tuning: none; its cache is 1 GiB by default. Single commits are concurrent transactions, which its
//! documentation recommends for many writers, tried again when they conflict; larger ones are
//! exclusive. The sorted load is one transaction in order of the keys, as it has no other bulk path.
//! Deferred commits are in the log, given to the operating system. Readers
//! hold one transaction and one open tree.
//!
//! Checksums: of the log only; those of pages are off by default and are left so.

use super::Shape;
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use canopydb::{Database, Error, ReadTransaction, Tree};
use std::ops::Bound;
use std::path::Path;

const ROWS: &[u8] = b"rows";

/// An open database.
struct Store {
    db: Database,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let db = Database::new(dir)?;
    let write = db.begin_write()?;
    write.get_or_create_tree(ROWS)?;
    write.commit_with(true)?;
    Ok(Box::new(Store { db }))
}

/// The tree of a transaction.
fn tree(read: &ReadTransaction) -> Result<Tree<'_>> {
    Ok(read.get_tree(ROWS)?.ok_or("the tree is missing")?)
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        loop {
            let write = self.db.begin_write_with(ops.len() == 1)?;
            {
                let mut rows = write.get_or_create_tree(ROWS)?;
                for op in ops {
                    match op.val {
                        Some(val) => rows.insert(op.key, val)?,
                        None => rows.delete(op.key).map(drop)?,
                    }
                }
            }
            match write.commit_with(durability == Durability::Synced) {
                Err(Error::WriteConflict) => {}
                done => return Ok(done.map(drop)?),
            }
        }
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let read = self.db.begin_read()?;
        let found = tree(&read)?.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        let read = self.db.begin_read()?;
        job(&View { rows: tree(&read)? })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let write = self.db.begin_write()?;
        {
            let mut tree = write.get_or_create_tree(ROWS)?;
            for (key, val) in rows {
                tree.insert(&key, &val)?;
            }
        }
        write.commit_with(true)?;
        Ok(())
    }

    fn bulk_path(&self) -> &'static str {
        "one transaction, in order"
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }

    fn reclaim(&mut self) -> Result<()> {
        Ok(self.db.compact()?)
    }
}

/// One read transaction.
struct View<'a> {
    rows: Tree<'a>,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.rows.get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        for row in self.rows.range::<&[u8]>((Bound::Included(from), to))?.take(limit as usize) {
            let (key, val) = row?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        for row in self.rows.iter()?.rev().take(limit as usize) {
            let (key, val) = row?;
            seen.row(&key, &val);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for row in self.rows.range::<&[u8]>(from..)? {
            let (key, val) = row?;
            if !visit(&key, &val) {
                break;
            }
        }
        Ok(())
    }
}
