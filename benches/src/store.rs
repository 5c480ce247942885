//! Databases in the shapes that are measured.

use crate::Result;
use crate::data::Rows;
use datestone::{Collection, Datestone, Durability, Options, Update};
use std::path::Path;
use std::path::PathBuf;
use tempfile::TempDir;

/// Updates of one commit when data is loaded.
pub const BATCH_LEN: usize = 1_000;
/// Name of the collection.
pub const NAME: &str = "rows";

/// A new directory on the disk of the build, removed when dropped.
pub fn scratch_dir() -> Result<TempDir> {
    let base = match std::env::var_os("DATESTONE_BENCH_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let program = std::env::current_exe()?;
            program.parent().ok_or("the program has no directory")?.join("bench-data")
        }
    };
    std::fs::create_dir_all(&base)?;
    Ok(tempfile::Builder::new().prefix("run-").tempdir_in(base)?)
}

/// Default options, except that compaction does not choose work by itself: shapes stay as built.
#[must_use]
pub fn still() -> Options {
    Options { auto_compaction: false, ..Options::default() }
}

/// A database with one collection.
#[derive(Debug)]
pub struct Store {
    /// The database.
    pub db: Datestone,
    /// Its collection.
    pub rows: Collection,
}

impl Store {
    /// Opens or creates it.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        let db = Datestone::open_with(dir, options)?;
        let rows = db.collection(NAME)?;
        Ok(Self { db, rows })
    }

    /// Holds `rows` in `runs` runs of equal length that overlap in the whole key range, each at a
    /// time of its own: 0, 1 and so on.
    pub fn with_runs(dir: &Path, rows: &Rows, runs: usize) -> Result<Self> {
        let store = Self::open(dir, still())?;
        for run in 0..runs {
            let ts = run as u64;
            let updates = rows.updates(ts).skip(run).step_by(runs);
            store.load(updates, ts + 1, Durability::None)?;
            store.db.flush()?;
            // A flush in between, for want of room, leaves more runs of the same time.
            if runs == 1 {
                store.rows.compact()?;
            }
        }
        let found = store.rows.info()?.runs;
        if found != runs as u64 {
            return Err(format!("{found} runs instead of {runs}").into());
        }
        Ok(store)
    }

    /// Appends `updates` in batches, and advances upper to `upper` with the last.
    pub fn load<'a>(
        &self,
        updates: impl Iterator<Item = Update<'a>>,
        upper: u64,
        durability: Durability,
    ) -> Result<()> {
        let mut updates = updates.peekable();
        let mut batch = Vec::with_capacity(BATCH_LEN);
        while updates.peek().is_some() {
            batch.clear();
            batch.extend(updates.by_ref().take(BATCH_LEN));
            self.db.commit().append(&self.rows, &batch).durability(durability).run()?;
        }
        self.db.commit().advance_upper(&self.rows, upper).durability(durability).run()?;
        Ok(())
    }

    /// Bytes of the segments of the collection.
    pub fn bytes(&self) -> Result<u64> {
        Ok(self.rows.info()?.bytes)
    }
}
