//! Merging four runs, and not merging what has nothing to gain.

use super::Context;
use super::table::{Line, nanos, rate};
use crate::data::Rows;
use crate::machine::{cpu_seconds, file_write_rate};
use crate::stopwatch::{median, timed};
use crate::store::{Store, scratch_dir};
use crate::{Result, work};
use datestone::{Durability, Options, Update};
use std::path::Path;

/// Where files are in memory, if the system has it: shows what of a merge is the device.
const MEMORY_DIR: &str = "/dev/shm";

/// Merge of four runs that overlap in every block.
pub(super) fn merge(context: &Context) -> Result<Vec<Line>> {
    let rows = Rows::new(5, context.pick(2_000_000, 200_000));
    let (mut seconds, mut in_memory) = (Vec::new(), Vec::new());
    let (mut cpu, mut device) = (Vec::new(), Vec::new());
    for _ in 0..context.pick(3, 1) {
        let dir = scratch_dir()?;
        let (second, _, bytes) = one(dir.path(), &rows)?;
        seconds.push(second);
        device.push(file_write_rate(dir.path(), bytes)? / bytes as f64 * rows.len() as f64);
        if Path::new(MEMORY_DIR).is_dir() {
            let dir = tempfile::tempdir_in(MEMORY_DIR)?;
            let (second, cpu_second, _) = one(dir.path(), &rows)?;
            in_memory.push(second);
            cpu.push(cpu_second);
        }
    }
    let per_second = |seconds: Vec<f64>| rows.len() as f64 / median(seconds);
    let merged = per_second(seconds);
    let device = median(device);
    let mut lines = vec![
        Line::figure("merge of four runs to a file", rate(merged, "rows"))
            .beside(format!("writing as much {}", rate(device, "rows")))
            .ratio(merged / device)
            .at_least(merged / 1e6, 8.0, "M/s"),
    ];
    if !in_memory.is_empty() {
        let merged = rate(per_second(in_memory), "rows");
        lines.push(
            Line::figure("merge of four runs, file in memory", merged)
                .beside(format!("{} of CPU", nanos(median(cpu), rows.len()))),
        );
    }
    Ok(lines)
}

/// Seconds of the merge, those of the processors, and bytes that it wrote.
fn one(dir: &Path, rows: &Rows) -> Result<(f64, f64, u64)> {
    let store = Store::with_runs(&dir.join("db"), rows, 4)?;
    let cpu = cpu_seconds()?;
    let (seconds, done) = timed(|| store.rows.compact());
    done?;
    let cpu = cpu_seconds()? - cpu;
    let info = store.rows.info()?;
    if info.runs != 1 || info.updates != rows.len() as u64 {
        return Err("not merged".into());
    }
    Ok((seconds, cpu, info.bytes))
}

/// Bytes that `compact_below` rewrites in a collection without garbage: none of its runs is due,
/// and raising since makes nothing superfluous.
pub(super) fn nothing_to_gain(context: &Context) -> Result<Vec<Line>> {
    let dir = scratch_dir()?;
    let options = Options { background_threads: 0, ..Options::default() };
    let store = Store::open(&dir.path().join("db"), options)?;
    let rows = Rows::new(6, context.pick(1_000_000, 100_000));
    let updates: Vec<Update<'_>> = rows.updates(0).collect();
    let mut ts = 0;
    for piece in updates.chunks(updates.len() / 6) {
        ts = work::append_batches(&store, piece, ts, Durability::None)?;
        store.db.flush()?;
    }
    while store.db.maintain()? {}
    let rewritten = || store.db.stats().counts.compaction_write_bytes;
    let before = rewritten();
    let (seconds, done) = timed(|| -> Result<()> {
        store.rows.compact_below(ts - 1)?;
        store.db.flush()?;
        while store.db.maintain()? {}
        Ok(())
    });
    done?;
    let bytes = rewritten() - before;
    let mut lines = vec![
        Line::figure("compact_below without garbage", format!("{bytes} bytes rewritten"))
            .beside(format!("{} bytes stored, {:.1} ms", store.bytes()?, seconds * 1e3))
            .at_most(bytes as f64, 0.0, " bytes"),
    ];
    store.rows.compact()?;
    let before = rewritten();
    store.rows.compact()?;
    let bytes = rewritten() - before;
    lines.push(
        Line::figure("compact of one run without garbage", format!("{bytes} bytes rewritten"))
            .at_most(bytes as f64, 0.0, " bytes"),
    );
    Ok(lines)
}
