//! redb.
//!
//! Tuning: a cache of 1 GiB, its default; its documentation recommends nothing else. The sorted load
//! is one transaction in order of the keys, as it has no other bulk path. Deferred commits have
//! `Durability::None`. Readers hold one transaction and one open table.
//!
//! Checksums: it has them, and verifies them on repair and on request, not on a read.

use super::{CACHE_BYTES, Shape};
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::ops::Bound;
use std::path::Path;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// An open database.
struct Store {
    db: Database,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let db = Builder::new().set_cache_size(CACHE_BYTES).create(dir.join("redb"))?;
    let write = db.begin_write()?;
    write.open_table(ROWS)?;
    write.commit()?;
    Ok(Box::new(Store { db }))
}

/// What a commit asks for.
const fn asked(durability: Durability) -> redb::Durability {
    match durability {
        Durability::Synced => redb::Durability::Immediate,
        Durability::Deferred => redb::Durability::None,
    }
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        let mut write = self.db.begin_write()?;
        write.set_durability(asked(durability))?;
        {
            let mut rows = write.open_table(ROWS)?;
            for op in ops {
                match op.val {
                    Some(val) => rows.insert(op.key, val).map(drop)?,
                    None => rows.remove(op.key).map(drop)?,
                }
            }
        }
        Ok(write.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let rows = self.db.begin_read()?.open_table(ROWS)?;
        let found = rows.get(key)?;
        Ok(found.inspect(|val| seen.val(val.value())).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        job(&View { rows: self.db.begin_read()?.open_table(ROWS)? })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        let write = self.db.begin_write()?;
        {
            let mut table = write.open_table(ROWS)?;
            for (key, val) in rows {
                table.insert(&key[..], &val[..])?;
            }
        }
        Ok(write.commit()?)
    }

    fn bulk_path(&self) -> &'static str {
        "one transaction, in order"
    }

    fn sync(&self) -> Result<()> {
        self.write(&[], Durability::Synced)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn reclaim(&mut self) -> Result<()> {
        self.db.compact()?;
        Ok(())
    }
}

/// One read transaction.
struct View {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Reader for View {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.rows.get(key)?;
        Ok(found.inspect(|val| seen.val(val.value())).is_some())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        for row in self.rows.range::<&[u8]>((Bound::Included(from), to))?.take(limit as usize) {
            let (key, val) = row?;
            seen.row(key.value(), val.value());
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        for row in self.rows.iter()?.rev().take(limit as usize) {
            let (key, val) = row?;
            seen.row(key.value(), val.value());
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for row in self.rows.range::<&[u8]>(from..)? {
            let (key, val) = row?;
            if !visit(key.value(), val.value()) {
                break;
            }
        }
        Ok(())
    }
}
