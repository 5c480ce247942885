//! Durable commits of one update, beside the raw loop of `fdatasync`; and the machine.

use super::Context;
use super::table::{Line, rate};
use crate::machine::{BATCH_WRITE_LEN, SMALL_WRITE_LEN, Syncs, copy_rate, file_write_rate};
use crate::stopwatch::{median, timed};
use crate::store::{Store, scratch_dir, still};
use crate::{Result, work};
use datestone::Durability;

/// Threads, commits of each thread in a round, and what the ratio to the raw rate must be.
const SHAPES: [(u64, u64, f64); 3] = [(1, 10_000, 0.95), (8, 5_000, 3.5), (32, 4_000, 10.0)];
/// Commits before a database writes to log files that were made ready in the background.
const WARM_UP_COMMITS: u64 = 5_000;

/// What the machine does by itself.
pub(super) fn machine(context: &Context) -> Result<Vec<Line>> {
    let dir = scratch_dir()?;
    let sync_rate = |write_len, count| -> Result<String> {
        let mut syncs = Syncs::new(dir.path(), write_len)?;
        let rates =
            (0..context.rounds()).map(|_| syncs.rate(count)).collect::<Result<Vec<f64>>>()?;
        Ok(rate(median(rates), "syncs"))
    };
    let small = sync_rate(SMALL_WRITE_LEN, context.pick(5_000, 500))?;
    let batch = sync_rate(BATCH_WRITE_LEN, context.pick(2_000, 200))?;
    let write_rate = file_write_rate(dir.path(), context.pick(512 << 20, 64 << 20))?;
    let gigabytes = |rate: f64| format!("{:.2} GB/s", rate / 1e9);
    Ok(vec![
        Line::figure(format!("fdatasync of {SMALL_WRITE_LEN} bytes, zeroed file"), small),
        Line::figure(format!("fdatasync of {BATCH_WRITE_LEN} bytes, zeroed file"), batch),
        Line::figure("memory copy", gigabytes(copy_rate())),
        Line::figure("new file, written and synced", gigabytes(write_rate)),
    ])
}

/// Durable commits of one update of 16 + 100 bytes from 1, 8 and 32 threads.
pub(super) fn commit(context: &Context) -> Result<Vec<Line>> {
    let dir = scratch_dir()?;
    let mut syncs = Syncs::new(dir.path(), SMALL_WRITE_LEN)?;
    let store = Store::open(&dir.path().join("db"), still())?;
    warm_up(&store)?;
    let mut lines = Vec::new();
    for (shape, (threads, count, must)) in (0..).zip(SHAPES) {
        let count = context.pick(count, count / 10);
        let (mut raws, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..context.rounds() as u64 {
            let before = syncs.rate(context.pick(4_000, 400))?;
            let seed = (shape << 8) | round;
            let (seconds, done) = timed(|| work::commit_each(&store, threads, count, seed));
            done?;
            let after = syncs.rate(context.pick(4_000, 400))?;
            let (raw, our) = (f64::midpoint(before, after), (threads * count) as f64 / seconds);
            raws.push(raw);
            ours.push(our);
            ratios.push(our / raw);
        }
        let ratio = median(ratios);
        lines.push(
            Line::figure(format!("durable commits, threads: {threads}"), rate(median(ours), ""))
                .beside(format!("fdatasync {}", rate(median(raws), "")))
                .ratio(ratio)
                .at_least(ratio, must, "x"),
        );
    }
    Ok(lines)
}

/// Writes until the log is in the files that it will be in from then on.
pub fn warm_up(store: &Store) -> Result<()> {
    let rows = crate::data::Rows::new(99, 50_000);
    store.load(rows.updates(0), 0, Durability::Buffer)?;
    work::commit_each(store, 1, WARM_UP_COMMITS, 98)
}
