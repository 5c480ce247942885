//! Bytes on disk of an update of real data, if `DATESTONE_DATA` names its file.

use super::table::Line;
use super::{Context, note};
use crate::Result;
use crate::store::{Store, scratch_dir};
use crate::tree::{load, read};
use datestone::{Compression, Options};
use std::path::PathBuf;

/// Small, so that the load leaves several runs and there is something to compact.
const MEMTABLE_BYTES: usize = 1 << 20;

/// Segments after a load, after a full compaction, and with cold blocks compressed.
pub(super) fn cargo_tree(_context: &Context) -> Result<Vec<Line>> {
    let Some(path) = std::env::var_os("DATESTONE_DATA").map(PathBuf::from) else {
        note("DATESTONE_DATA names no file of updates: left out");
        return Ok(vec![]);
    };
    let records = read(&path)?;
    let count = records.len() as f64;
    let text: usize = records.iter().map(|record| record.key.len() + record.val.len() + 16).sum();
    let input = format!("{:.1} bytes of key, val, ts and diff", text as f64 / count);
    let mut lines = Vec::new();
    for (how, compression) in
        [("raw", Compression::None), ("cold blocks compressed", Compression::Cold { level: 1 })]
    {
        let dir = scratch_dir()?;
        let options = Options { compression, memtable_bytes: MEMTABLE_BYTES, ..Options::default() };
        let store = Store::open(&dir.path().join("db"), options)?;
        load(&store, &records)?;
        store.db.flush()?;
        let loaded = store.bytes()? as f64;
        store.rows.compact()?;
        let merged = store.bytes()? as f64;
        for (state, bytes) in [("loaded", loaded), ("compacted", merged)] {
            let what = format!("bytes an update of real data, {how}, {state}");
            lines.push(
                Line::figure(what, format!("{:.1} bytes", bytes / count))
                    .beside(input.clone())
                    .ratio(bytes / text as f64),
            );
        }
    }
    Ok(lines)
}
