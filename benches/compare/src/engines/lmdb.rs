//! LMDB, through heed.
//!
//! Tuning: a map of 64 GiB. Its documentation recommends nothing else for data in memory:
//! `MDB_WRITEMAP` gives up protection against stray writes, and `MDB_NORDAHEAD` is for data that is
//! larger. The sorted load appends (`MDB_APPEND`) in one transaction. Deferred commits set
//! `MDB_NOSYNC`. Readers hold one transaction for all their reads, and read in place.
//!
//! Checksums: it has none.
#![expect(unsafe_code, reason = "heed's open and its flags are unsafe: nobody else has the map")]

use super::Shape;
use crate::Result;
use crate::data::{Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use heed::types::Bytes;
use heed::{
    CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, PutFlags, RoTxn, WithTls,
};
use std::ops::Bound;
use std::path::Path;
use std::sync::Mutex;

/// Most bytes that it may map.
const MAP_LEN: usize = 64 << 30;

type Rows = Database<'static, Bytes, Bytes>;

/// An open environment, which stays open until the process ends: its map borrows from it.
struct Store {
    env: &'static Env,
    rows: Rows,
    /// How commits are made now; flags may be set by one thread at a time.
    durability: Mutex<Durability>,
}

/// Opens it.
pub(super) fn open(dir: &Path, _shape: Shape) -> Result<Box<dyn Engine>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_LEN).max_readers(256);
    // SAFETY: nobody else opens or changes the files in the directory of this run.
    let env: &'static Env = Box::leak(Box::new(unsafe { options.open(dir) }?));
    let write = env.write_txn()?;
    let made = env.create_databases_and_commit(write, |opener, write| {
        let rows = opener.create_database::<Bytes, Bytes>(write, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(rows))
    })?;
    Ok(Box::new(Store {
        env,
        rows: made.unwrap_commit(),
        durability: Mutex::new(Durability::Synced),
    }))
}

impl Store {
    /// Has commits made as `durability` says from now on.
    fn ask(&self, durability: Durability) -> Result<()> {
        let mut now = self.durability.lock().map_err(|_| "a writer panicked")?;
        if *now != durability {
            let mode = match durability {
                Durability::Synced => FlagSetMode::Disable,
                Durability::Deferred => FlagSetMode::Enable,
            };
            // SAFETY: under the lock, so by one thread at a time; the data can be made anew.
            unsafe { self.env.set_flags(EnvFlags::NO_SYNC, mode) }?;
            *now = durability;
        }
        Ok(())
    }
}

impl Engine for Store {
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()> {
        self.ask(durability)?;
        let mut write = self.env.write_txn()?;
        for op in ops {
            match op.val {
                Some(val) => self.rows.put(&mut write, op.key, val)?,
                None => self.rows.delete(&mut write, op.key).map(drop)?,
            }
        }
        Ok(write.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let read = self.env.read_txn()?;
        let found = self.rows.get(&read, key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()> {
        job(&View { read: self.env.read_txn()?, rows: self.rows })
    }

    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()> {
        self.ask(Durability::Synced)?;
        let mut write = self.env.write_txn()?;
        for (key, val) in rows {
            self.rows.put_with_flags(&mut write, PutFlags::APPEND, &key, &val)?;
        }
        Ok(write.commit()?)
    }

    fn bulk_path(&self) -> &'static str {
        "MDB_APPEND, one transaction"
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Free pages are used again and never given back; a compacting copy would be another database.
    fn reclaim(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One read transaction.
struct View<'a> {
    read: RoTxn<'a, WithTls>,
    rows: Rows,
}

impl Reader for View<'_> {
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let found = self.rows.get(&self.read, key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()> {
        if from.is_empty() && to.is_none() {
            for row in self.rows.iter(&self.read)?.take(limit as usize) {
                let (key, val) = row?;
                seen.row(key, val);
            }
            return Ok(());
        }
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(from), to);
        for row in self.rows.range(&self.read, &range)?.take(limit as usize) {
            let (key, val) = row?;
            seen.row(key, val);
        }
        Ok(())
    }

    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()> {
        for row in self.rows.rev_iter(&self.read)?.take(limit as usize) {
            let (key, val) = row?;
            seen.row(key, val);
        }
        Ok(())
    }

    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        // No key is empty, and a range may not begin with one.
        let from = if from.is_empty() { &[0][..] } else { from };
        let range = (Bound::Included(from), Bound::Unbounded);
        for row in self.rows.range(&self.read, &range)? {
            let (key, val) = row?;
            if !visit(key, val) {
                break;
            }
        }
        Ok(())
    }
}
