//! Loading in random order of the keys, in batches of 1,000 that nobody waits for, and one sync.

use super::{Race, emit, load_rows, scan_all, timed};
use crate::figure::Better;
use crate::{Result, machine};

/// The rate with the last sync; the peak of memory; the bytes on disk when the engine is idle.
pub(super) fn run(race: &Race) -> Result<()> {
    let engine = race.open()?;
    let ((seconds, ()), peak) = machine::with_peak(|| {
        timed(|| {
            load_rows(engine.as_ref(), 0..race.rows)?;
            engine.sync()
        })
    })?;
    emit(race.rate("load", race.rows, seconds, "rows/s"))?;
    emit(race.figure("peak memory", peak as f64, "bytes", Better::Lower))?;
    engine.flush()?;
    machine::wait_until_idle();
    emit(race.figure("written", machine::written() as f64, "bytes", Better::Lower))?;
    let bytes = machine::disk_bytes(&race.db_dir());
    let seen = scan_all(engine.as_ref())?;
    emit(race.figure("space", bytes as f64, "bytes", Better::Lower).checked(seen))
}
