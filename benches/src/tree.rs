//! Real data: updates as JSON lines, compressed with zstd.

use crate::Result;
use crate::store::Store;
use datestone::{Durability, Update};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One line.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value.
    pub val: String,
    /// The time.
    pub ts: u64,
    /// The change of multiplicity.
    pub diff: i64,
}

impl Record {
    /// As an update.
    #[must_use]
    pub fn update(&self) -> Update<'_> {
        let (key, val) = (self.key.as_bytes(), self.val.as_bytes());
        Update { key, val, ts: self.ts, diff: self.diff }
    }
}

/// Reads all lines.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    BufReader::new(zstd::Decoder::new(file)?)
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

/// Loads `records`, which are in order of time, a commit for each time.
pub fn load(store: &Store, records: &[Record]) -> Result<()> {
    for batch in records.chunk_by(|a, b| a.ts == b.ts) {
        let Some(ts) = batch.first().map(|record| record.ts) else { continue };
        store
            .db
            .commit()
            .append(&store.rows, batch.iter().map(Record::update))
            .advance_upper(&store.rows, ts + 1)
            .durability(Durability::Buffer)
            .run()?;
    }
    Ok(())
}
