//! [`Lmdb`]: the peer of point reads and scans, loaded in key order, which is its best case.
#![expect(unsafe_code, reason = "heed's open is unsafe: the map must not change behind its back")]

use crate::Result;
use crate::data::{KEY_LEN, Rows};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags};
use std::path::Path;

/// Most bytes that it may map.
const MAP_LEN: usize = 8 << 30;

type Table<'e> = Database<'e, Bytes, Bytes>;

/// An LMDB environment with one table of rows.
#[derive(Debug)]
pub struct Lmdb {
    env: Env,
}

impl Lmdb {
    /// Loads `rows` into the new directory `dir`.
    pub fn load(dir: &Path, rows: &Rows) -> Result<Self> {
        std::fs::create_dir(dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_LEN);
        // SAFETY: the directory is new and nobody else opens or changes the files in it.
        let lmdb = Self { env: unsafe { options.open(dir) }? };
        let table = lmdb.table()?;
        let mut write = lmdb.env.write_txn()?;
        for (key, val) in rows.sorted() {
            table.put_with_flags(&mut write, PutFlags::APPEND, key, val)?;
        }
        write.commit()?;
        Ok(lmdb)
    }

    /// The table; made when there is none.
    fn table(&self) -> Result<Table<'_>> {
        let write = self.env.write_txn()?;
        let made = self.env.create_databases_and_commit(write, |opener, write| {
            let table = opener.create_database::<Bytes, Bytes>(write, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
        })?;
        Ok(made.unwrap_commit())
    }

    /// Reads every key of `keys` in one transaction; a sum that depends on each value.
    pub fn get_all(&self, keys: &[[u8; KEY_LEN]]) -> Result<u64> {
        let table = self.table()?;
        let read = self.env.read_txn()?;
        let mut sum = 0;
        for key in keys {
            let val = table.get(&read, key)?.ok_or("a key is missing")?;
            sum += crate::work::touch(val);
        }
        Ok(sum)
    }

    /// Reads all rows in order; their count and a sum that depends on each row.
    pub fn scan(&self) -> Result<(u64, u64)> {
        let table = self.table()?;
        let read = self.env.read_txn()?;
        let (mut count, mut sum) = (0, 0);
        for row in table.iter(&read)? {
            let (key, val) = row?;
            count += 1;
            sum += crate::work::touch(key) + crate::work::touch(val);
        }
        Ok((count, sum))
    }
}
