//! datestone with many tables in one database. Tuning: none.

use crate::Result;
use crate::collections::{Collections, Put};
use crate::data::{Key, Seen};
use datestone::{Datestone, Table};
use std::path::Path;

/// An open database.
struct Store {
    db: Datestone,
    tables: Vec<Table>,
}

/// Opens it with `count` tables, making those that are missing.
pub(super) fn open(dir: &Path, count: u64) -> Result<Box<dyn Collections>> {
    let db = Datestone::open(dir)?;
    let tables = (0..count).map(|number| db.table(&format!("table {number}")));
    let tables = tables.collect::<datestone::Result<_>>()?;
    Ok(Box::new(Store { db, tables }))
}

impl Collections for Store {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let mut commit = self.db.commit();
        for (collection, key, val) in puts {
            commit = commit.put(&self.tables[*collection as usize], key, val);
        }
        commit.run()?;
        Ok(())
    }

    fn get(&self, collection: u64, key: &Key, seen: &mut Seen) -> Result<bool> {
        let found = self.tables[collection as usize].get(key)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }
}
