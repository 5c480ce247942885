//! Appends in batches of 1,000 from one thread: log, memtable and flush included.

use super::Context;
use super::table::{Line, nanos, rate};
use crate::data::Rows;
use crate::machine::{BATCH_WRITE_LEN, Syncs, cpu_seconds};
use crate::stopwatch::{median, timed};
use crate::store::{BATCH_LEN, Store, scratch_dir, still};
use crate::{Result, work};
use datestone::{Durability, Options, Update};

/// What is measured: a name, the durability, whether compaction runs beside, and million updates a
/// second that it must reach.
const SHAPES: [(&str, Durability, bool, Option<f64>); 5] = [
    ("append, in memory", Durability::None, false, Some(2.5)),
    ("append, given to the OS", Durability::Buffer, false, Some(2.5)),
    ("append, synced each", Durability::Fsync, false, Some(1.5)),
    ("append, given to the OS, compacting", Durability::Buffer, true, None),
    ("append, synced each, compacting", Durability::Fsync, true, None),
];

/// Updates a second until all are in segments.
pub(super) fn append(context: &Context) -> Result<Vec<Line>> {
    let rows = Rows::new(3, context.pick(2_000_000, 200_000));
    let updates: Vec<Update<'_>> = rows.updates(0).collect();
    let mut samples = vec![Vec::new(); SHAPES.len()];
    let dir = scratch_dir()?;
    let mut syncs = Syncs::new(dir.path(), BATCH_WRITE_LEN)?;
    let mut raws = Vec::new();
    for _ in 0..context.pick(3, 1) {
        for ((_, durability, compacting, _), samples) in SHAPES.iter().zip(&mut samples) {
            let options = if *compacting { Options::default() } else { still() };
            samples.push(one(&updates, *durability, options)?);
            if *durability == Durability::Fsync {
                raws.push(syncs.rate(context.pick(1_000, 100))? * BATCH_LEN as f64);
            }
        }
    }
    let raw = median(raws);
    Ok(SHAPES
        .iter()
        .zip(samples)
        .map(|((what, durability, _, must), samples)| {
            let (seconds, cpu): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
            let updates = rows.len() as f64 / median(seconds);
            let cpu = format!("{} of CPU", nanos(median(cpu), rows.len()));
            let line = Line::figure(*what, rate(updates, "updates"));
            let line = if *durability == Durability::Fsync {
                let raw = rate(raw, "");
                line.beside(format!("{cpu}; log alone {raw}"))
            } else {
                line.beside(cpu)
            };
            match must {
                Some(must) => line.at_least(updates / 1e6, *must, "M/s"),
                None => line,
            }
        })
        .collect())
}

/// Seconds, and those of the processors, for one database, from the first append to the end of the flush of the last. What comes
/// before lets it make its log files ready.
fn one(updates: &[Update<'_>], durability: Durability, options: Options) -> Result<(f64, f64)> {
    let dir = scratch_dir()?;
    let store = Store::open(&dir.path().join("db"), options)?;
    let warm_up = Rows::new(4, updates.len() / 2);
    let warm_up: Vec<Update<'_>> = warm_up.updates(0).collect();
    let ts = work::append_batches(&store, &warm_up, 0, durability)?;
    store.db.flush()?;
    let cpu = cpu_seconds()?;
    let (seconds, done) = timed(|| {
        work::append_batches(&store, updates, ts, durability)?;
        Ok(store.db.flush()?)
    });
    let cpu = cpu_seconds()? - cpu;
    done.map(|()| (seconds, cpu))
}
