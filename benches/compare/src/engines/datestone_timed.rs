//! datestone's table whose times are the caller's. Tuning: none. A durable batch is one commit that
//! puts and advances upper; forgetting is `compact_below` and `compact`.

use crate::Result;
use crate::data::{Key, Seen};
use crate::timed::{Timed, TimedReader, Version};
use datestone::{Datestone, TimedTable};
use std::path::Path;

/// An open database.
struct Store {
    db: Datestone,
    table: TimedTable,
}

/// Opens it.
pub(super) fn open(dir: &Path) -> Result<Box<dyn Timed>> {
    let db = Datestone::open(dir)?;
    let table = db.timed_table("versions")?;
    Ok(Box::new(Store { db, table }))
}

impl Timed for Store {
    fn ingest(&self, versions: &[Version], upper: u64) -> Result<()> {
        let mut commit = self.db.commit();
        for (key, val, ts) in versions {
            commit = commit.put_at(&self.table, key, val, *ts);
        }
        commit.advance_table(&self.table, upper).run()?;
        Ok(())
    }

    fn read(&self, job: &mut dyn FnMut(&dyn TimedReader) -> Result<()>) -> Result<()> {
        job(self)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn forget(&mut self, since: u64) -> Result<()> {
        self.table.compact_below(since)?;
        Ok(self.table.compact()?)
    }
}

impl TimedReader for Store {
    fn get_as_of(&self, key: &Key, as_of: u64, seen: &mut Seen) -> Result<bool> {
        let found = self.table.get_as_of(key, as_of)?;
        Ok(found.inspect(|val| seen.val(val)).is_some())
    }

    fn snapshot_as_of(&self, as_of: u64, seen: &mut Seen) -> Result<()> {
        let mut rows = self.table.snapshot(as_of)?.iter();
        while let Some(row) = rows.next_row()? {
            seen.row(row.key, row.val);
        }
        Ok(())
    }

    fn changes(&self, from: u64, to: u64, seen: &mut Seen) -> Result<()> {
        let mut rows = self.table.as_collection().changes(from, to)?;
        while let Some(row) = rows.next_row()? {
            seen.row(row.key, row.val);
        }
        Ok(())
    }
}
