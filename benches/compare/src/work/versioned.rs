//! Versions in time: N/4 keys with 8 versions each, in durable batches of 10,000 that each have their
//! time; reads of the past; what has changed between two times; forgetting three quarters of the
//! history; opening after a kill; one key with many versions.

use super::{Race, emit, load_rows, timed};
use crate::data::{self, Seen};
use crate::engines::{self, Shape};
use crate::figure::Better;
use crate::timed::{self, Timed, TimedReader, Version};
use crate::{Result, machine};
use rustix::process::{Signal, getpid, kill_process};
use std::process::Command;

/// Versions of each key.
const VERSIONS: u64 = 8;
/// Most updates of one batch.
const BATCH_MAX: u64 = 10_000;
/// Most reads as of a time.
const GETS_MAX: u64 = 200_000;
/// Most versions of the one key that has many.
const DEEP_MAX: u64 = 100_000;
/// Coprime to any count of keys that fits: multiplying by it goes through all of them.
const STRIDE: u64 = 2_147_483_647;

/// Everything.
pub(super) fn run(race: &Race) -> Result<()> {
    let mut store = timed::open(&race.engine, &race.db_dir())?;
    let keys = (race.rows / 4).max(1);
    let batch_len = keys.min(BATCH_MAX);
    let total = keys * VERSIONS;
    let times = total.div_ceil(batch_len);
    let ((seconds, ()), peak) =
        machine::with_peak(|| timed(|| ingest(store.as_ref(), keys, batch_len)))?;
    emit(race.rate("ingest", total, seconds, "updates/s"))?;
    emit(race.figure("peak memory", peak as f64, "bytes", Better::Lower))?;
    store.flush()?;
    machine::wait_until_idle();
    let written = machine::written() as f64 / (total * 116) as f64;
    emit(race.figure("written per byte ingested", written, "times", Better::Lower))?;
    let space = machine::disk_bytes(&race.db_dir()) as f64;
    emit(race.figure("space", space, "bytes", Better::Lower))?;

    read(race, store.as_ref(), keys, times)?;
    forget(race, store.as_mut(), times)?;
    reopen(race)?;
    deep(race)
}

/// Writes every version of every key.
fn ingest(store: &dyn Timed, keys: u64, batch_len: u64) -> Result<()> {
    let mut batch: Vec<Version> = Vec::new();
    let mut ts = 1;
    for update in 0..keys * VERSIONS {
        let (version, position) = (update / keys, update % keys);
        let index = (position * STRIDE + version * 7919) % keys;
        batch.push((data::key(index), data::val(index, version), ts));
        if batch.len() as u64 == batch_len || update + 1 == keys * VERSIONS {
            store.ingest(&batch, ts + 1)?;
            batch.clear();
            ts += 1;
        }
    }
    Ok(())
}

/// Runs `job`, which reads: seconds, and what was seen.
fn reading(
    store: &dyn Timed,
    job: &mut dyn FnMut(&dyn TimedReader, &mut Seen) -> Result<()>,
) -> Result<(f64, Seen)> {
    let mut seen = Seen::default();
    let (seconds, ()) = timed(|| store.read(&mut |reader| job(reader, &mut seen)))?;
    Ok((seconds, seen))
}

/// Reads of the past.
fn read(race: &Race, store: &dyn Timed, keys: u64, times: u64) -> Result<()> {
    let gets = race.rows.min(GETS_MAX);
    let asked: Vec<_> = data::uniform(1, keys, gets)
        .into_iter()
        .map(data::key)
        .zip(data::uniform(2, times, gets).into_iter().map(|ts| ts + 1))
        .collect();
    let get_some = |asked: &[(data::Key, u64)]| {
        reading(store, &mut |reader, seen| {
            asked.iter().try_for_each(|(key, ts)| reader.get_as_of(key, *ts, seen).map(drop))
        })
    };
    get_some(&asked[..asked.len() / 4])?;
    let (seconds, seen) = get_some(&asked)?;
    emit(race.rate("get as of", gets, seconds, "gets/s").checked(seen))?;

    let middle = times / 2 + 1;
    let (seconds, seen) = reading(store, &mut |reader, seen| reader.snapshot_as_of(middle, seen))?;
    emit(race.rate("snapshot as of", seen.count, seconds, "rows/s").checked(seen))?;
    let (seconds, seen) =
        reading(store, &mut |reader, seen| reader.changes(middle, middle + 2, seen))?;
    emit(race.rate("changes", seen.count, seconds, "rows/s").checked(seen))?;
    let (seconds, seen) = reading(store, &mut |reader, seen| reader.changes(1, times, seen))?;
    emit(race.rate("changes of everything", seen.count, seconds, "rows/s").checked(seen))
}

/// Forgets three quarters of the times. What can still be read has to be what it was.
fn forget(race: &Race, store: &mut dyn Timed, times: u64) -> Result<()> {
    let since = times - times / 4;
    let both = |store: &dyn Timed| {
        reading(store, &mut |reader, seen| {
            reader.snapshot_as_of(since, seen)?;
            reader.snapshot_as_of(times, seen)
        })
    };
    let (_, before) = both(store)?;
    let (space, written) = (machine::disk_bytes(&race.db_dir()), machine::written());
    let (seconds, ()) = timed(|| store.forget(since))?;
    machine::wait_until_idle();
    let written = (machine::written() - written) as f64;
    let (_, after) = both(store)?;
    if before != after {
        return Err("forgetting has changed what can be read".into());
    }
    let left = machine::disk_bytes(&race.db_dir());
    emit(race.figure("forget", seconds, "s", Better::Lower).checked(after))?;
    emit(race.figure("space after forgetting", left as f64, "bytes", Better::Lower))?;
    let won = space.saturating_sub(left);
    if won > 0 {
        let per_byte = written / won as f64;
        emit(race.figure("written per byte won", per_byte, "times", Better::Lower))?;
    }
    Ok(())
}

/// Opens a database whose process was killed while half of the rows were in its log.
fn reopen(race: &Race) -> Result<()> {
    let dir = race.dir().join("killed");
    let rows = (race.rows / 2).max(1);
    let status = Command::new(std::env::current_exe()?)
        .args(["one", &race.engine, "killed_load", "--rows", &rows.to_string(), "--dir"])
        .arg(&dir)
        .status()?;
    if status.code().is_some() {
        return Err(format!("the process that should be killed ended: {status}").into());
    }
    let mut seen = Seen::default();
    let (seconds, engine) = timed(|| {
        let engine = engines::open(&race.engine, &dir.join("db"), Shape::Rows)?;
        engine.get(&data::key(0), &mut seen)?;
        Ok(engine)
    })?;
    let all = super::scan_all(engine.as_ref())?;
    if seen.count != 1 || all.count != rows {
        return Err(format!("{} of {rows} rows are there after a kill", all.count).into());
    }
    let figure = race.figure("reopen after a kill", seconds * 1e3, "ms", Better::Lower);
    emit(figure.checked(all))
}

/// Loads rows, makes them durable, and kills this process: never returns well.
pub(super) fn killed_load(race: &Race) -> Result<()> {
    let engine = race.open()?;
    load_rows(engine.as_ref(), 0..race.rows)?;
    engine.sync()?;
    kill_process(getpid(), Signal::KILL)?;
    Err("alive after a kill".into())
}

/// One key with many versions.
fn deep(race: &Race) -> Result<()> {
    let store = timed::open(&race.engine, &race.dir().join("deep"))?;
    let versions = race.rows.min(DEEP_MAX);
    let all: Vec<Version> =
        (0..versions).map(|ts| (data::key(0), data::val(0, ts), ts + 1)).collect();
    for batch in all.chunks(1_000) {
        store.ingest(batch, batch[batch.len() - 1].2 + 1)?;
    }
    store.flush()?;
    machine::wait_until_idle();
    let asked = data::uniform(3, versions, versions);
    let mut all = |reader: &dyn TimedReader, seen: &mut Seen| {
        asked.iter().try_for_each(|ts| reader.get_as_of(&data::key(0), ts + 1, seen).map(drop))
    };
    reading(store.as_ref(), &mut all)?;
    let (seconds, seen) = reading(store.as_ref(), &mut all)?;
    emit(
        race.rate("get as of, one key of many versions", versions, seconds, "gets/s").checked(seen),
    )
}
