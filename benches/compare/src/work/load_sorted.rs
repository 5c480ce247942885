//! Loading in order of the keys, each engine in the fastest way that it has for that.

use super::{Race, emit, scan_all, timed};
use crate::figure::Better;
use crate::{Result, data, machine};

/// The rate, all on the device; the peak of memory; the bytes on disk when the engine is idle.
pub(super) fn run(race: &Race) -> Result<()> {
    let engine = race.open()?;
    let keys = data::sorted_keys(race.rows);
    let mut rows = keys.iter().map(|(key, index)| (*key, data::val(*index, 0)));
    let ((seconds, ()), peak) = machine::with_peak(|| timed(|| engine.load_sorted(&mut rows)))?;
    emit(race.rate("load", race.rows, seconds, "rows/s").noted(engine.bulk_path()))?;
    emit(race.figure("peak memory", peak as f64, "bytes", Better::Lower))?;
    engine.flush()?;
    machine::wait_until_idle();
    let bytes = machine::disk_bytes(&race.db_dir());
    let seen = scan_all(engine.as_ref())?;
    emit(race.figure("space", bytes as f64, "bytes", Better::Lower).checked(seen))
}
