//! Reads of a database that was loaded in random order and is idle: what the engine has made of it by
//! itself, with no compaction forced. Warm: a quarter of the same reads goes before, unmeasured.

use super::{Race, emit, timed};
use crate::Result;
use crate::data::{self, Key, Seen};
use crate::engine::{Engine, Reader};

/// Most point reads.
const GETS_MAX: u64 = 500_000;
/// Keys of one call for many.
const MANY: usize = 100;
/// Most scans of 100 rows.
const SCANS_MAX: u64 = 10_000;
/// Bytes of a prefix.
const PREFIX_LEN: usize = 2;

/// All reads.
pub(super) fn run(race: &Race) -> Result<()> {
    let engine = race.open()?;
    race.load(engine.as_ref())?;
    let engine = engine.as_ref();
    let gets = race.rows.min(GETS_MAX);
    let keys: Vec<Key> = data::uniform(1, race.rows, gets).into_iter().map(data::key).collect();
    let absent: Vec<Key> =
        data::uniform(2, race.rows, gets).into_iter().map(data::absent_key).collect();
    let scans = &keys[..keys.len().min(SCANS_MAX as usize)];

    get_all(engine, &keys[..keys.len() / 4])?;
    let (seconds, seen) = timed(|| get_all(engine, &keys))?;
    emit(race.rate("get", gets, seconds, "gets/s").checked(seen))?;
    let (seconds, seen) = timed(|| get_twice(engine, &keys))?;
    emit(race.rate("get, 2 threads", gets, seconds, "gets/s").checked(seen))?;
    let (seconds, seen) = timed(|| get_all(engine, &absent))?;
    emit(race.rate("absent get", gets, seconds, "gets/s").checked(seen))?;

    let with = |job: &mut dyn FnMut(&dyn Reader, &mut Seen) -> Result<()>| {
        let mut seen = Seen::default();
        let (seconds, ()) = timed(|| engine.read(&mut |reader| job(reader, &mut seen)))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((seconds, seen))
    };
    let (seconds, seen) = with(&mut |reader, seen| {
        keys.chunks(MANY).try_for_each(|keys| reader.multi_get(keys, seen))
    })?;
    emit(race.rate("multi get of 100", gets, seconds, "gets/s").checked(seen))?;

    let mut whole = |reader: &dyn Reader, seen: &mut Seen| {
        (0..2).try_for_each(|_| reader.scan(&[], None, u64::MAX, seen))
    };
    with(&mut whole)?;
    let (seconds, seen) = with(&mut whole)?;
    emit(race.rate("full scan", seen.count, seconds, "rows/s").checked(seen))?;
    let (seconds, seen) = with(&mut |reader, seen| {
        scans.iter().try_for_each(|key| reader.scan(key, None, 100, seen))
    })?;
    emit(race.rate("100-row scan", scans.len() as u64, seconds, "scans/s").checked(seen))?;
    let (seconds, seen) = with(&mut |reader, seen| reader.scan_reverse(u64::MAX, seen))?;
    emit(race.rate("reverse scan", seen.count, seconds, "rows/s").checked(seen))?;
    let (seconds, seen) = with(&mut |reader, seen| {
        scans.iter().try_for_each(|key| {
            let from = &key[..PREFIX_LEN];
            reader.scan(from, after_prefix(from).as_deref(), u64::MAX, seen)
        })
    })?;
    emit(race.rate("prefix scan", scans.len() as u64, seconds, "scans/s").checked(seen))
}

/// The first key beyond all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Reads every key with one reader.
fn get_all(engine: &dyn Engine, keys: &[Key]) -> Result<Seen> {
    let mut seen = Seen::default();
    engine.read(&mut |reader| {
        for key in keys {
            reader.get(key, &mut seen)?;
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Reads every key, half of them in a second thread.
fn get_twice(engine: &dyn Engine, keys: &[Key]) -> Result<Seen> {
    let (left, right) = keys.split_at(keys.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| get_all(engine, right));
        let seen = get_all(engine, left)?;
        Ok(seen.and(other.join().map_err(|_| "a reading thread panicked")??))
    })
}
