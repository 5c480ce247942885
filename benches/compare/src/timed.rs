//! Versions in time: what a work asks of an engine that keeps them, and how an engine without a time
//! axis is made to: the key is extended by the time, inverted and big-endian, so that the versions of
//! a key lie together, newest first.

use crate::Result;
use crate::data::{KEY_LEN, Key, Seen, Val};
use crate::engine::{Durability, Engine, Op, Reader};
use crate::engines::{self, OWN, Shape};
use std::path::Path;

/// A key, its value, and the time from which on it has it.
pub(crate) type Version = (Key, Val, u64);

/// Keys that are deleted in one commit when history is forgotten.
const FORGET_BATCH: usize = 10_000;

/// An open database with one map whose past can be read.
pub(crate) trait Timed {
    /// Makes `versions` one durable commit, after which times below `upper` are complete.
    fn ingest(&self, versions: &[Version], upper: u64) -> Result<()>;

    /// Runs `job` with a reader.
    fn read(&self, job: &mut dyn FnMut(&dyn TimedReader) -> Result<()>) -> Result<()>;

    /// Writes what is in memory to the place where it stays.
    fn flush(&self) -> Result<()>;

    /// Gives up what no read at `since` or later needs, and the space of it.
    fn forget(&mut self, since: u64) -> Result<()>;
}

/// The contents at all times.
pub(crate) trait TimedReader {
    /// Reads the value of a key as of a time; whether it had one.
    fn get_as_of(&self, key: &Key, as_of: u64, seen: &mut Seen) -> Result<bool>;

    /// Reads all rows as of a time.
    fn snapshot_as_of(&self, as_of: u64, seen: &mut Seen) -> Result<()>;

    /// Reads, of each key that has another value as of `to` than as of `from`, both.
    fn changes(&self, from: u64, to: u64, seen: &mut Seen) -> Result<()>;
}

/// Opens the database of `engine` in a directory, creating it when there is none.
pub(crate) fn open(engine: &str, dir: &Path) -> Result<Box<dyn Timed>> {
    std::fs::create_dir_all(dir)?;
    if engine == OWN {
        return engines::open_own_timed(dir);
    }
    Ok(Box::new(Suffixed(engines::open(engine, dir, Shape::Versions)?)))
}

/// Length of a key with its time.
const SUFFIXED_LEN: usize = KEY_LEN + 8;

/// A key with its time.
fn suffixed(key: &Key, ts: u64) -> [u8; SUFFIXED_LEN] {
    let mut bytes = [0; SUFFIXED_LEN];
    let (head, tail) = bytes.split_at_mut(KEY_LEN);
    head.copy_from_slice(key);
    tail.copy_from_slice(&(!ts).to_be_bytes());
    bytes
}

/// The key and the time of a key with its time.
fn split(bytes: &[u8]) -> Option<(&Key, u64)> {
    let (key, ts) = bytes.split_first_chunk::<KEY_LEN>()?;
    Some((key, !u64::from_be_bytes(*ts.first_chunk::<8>()?)))
}

/// Tells, version by version in their order, which may be forgotten: those that follow one at or
/// below since of the same key.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    since: u64,
    key: Key,
    /// Whether a version at or below since of this key went by.
    is_covered: bool,
}

impl Sieve {
    /// What reads at `since` or later do not need may go.
    pub(crate) fn new(since: u64) -> Self {
        Self { since, ..Self::default() }
    }

    /// Whether the version with this key may go.
    pub(crate) fn goes(&mut self, bytes: &[u8]) -> bool {
        let Some((key, ts)) = split(bytes) else { return false };
        if *key != self.key {
            (self.key, self.is_covered) = (*key, false);
        }
        if self.is_covered {
            return true;
        }
        self.is_covered = ts <= self.since;
        false
    }
}

/// An engine without a time axis.
struct Suffixed(Box<dyn Engine>);

impl Timed for Suffixed {
    fn ingest(&self, versions: &[Version], _upper: u64) -> Result<()> {
        let keys: Vec<_> = versions.iter().map(|(key, _, ts)| suffixed(key, *ts)).collect();
        let ops: Vec<_> =
            keys.iter().zip(versions).map(|(key, (_, val, _))| Op::put(key, val)).collect();
        self.0.write(&ops, Durability::Synced)
    }

    fn read(&self, job: &mut dyn FnMut(&dyn TimedReader) -> Result<()>) -> Result<()> {
        self.0.read(&mut |reader| job(&SuffixedReader(reader)))
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    /// By a filter in its compaction where the engine has that, else by a scan that deletes.
    fn forget(&mut self, since: u64) -> Result<()> {
        if self.0.forget_versions(since)? {
            return Ok(());
        }
        let mut gone: Vec<[u8; SUFFIXED_LEN]> = Vec::new();
        let mut sieve = Sieve::new(since);
        self.0.read(&mut |reader| {
            reader.rows(&[], &mut |bytes, _| {
                if sieve.goes(bytes) {
                    gone.extend(bytes.first_chunk::<SUFFIXED_LEN>());
                }
                true
            })
        })?;
        for keys in gone.chunks(FORGET_BATCH) {
            let ops: Vec<_> = keys.iter().map(|key| Op::delete(key)).collect();
            self.0.write(&ops, Durability::Deferred)?;
        }
        self.0.sync()?;
        self.0.reclaim()
    }
}

/// A reader of an engine without a time axis.
struct SuffixedReader<'a>(&'a dyn Reader);

impl TimedReader for SuffixedReader<'_> {
    fn get_as_of(&self, key: &Key, as_of: u64, seen: &mut Seen) -> Result<bool> {
        let before = seen.count;
        self.0.rows(&suffixed(key, as_of), &mut |bytes, val| {
            if bytes.starts_with(key) {
                seen.val(val);
            }
            false
        })?;
        Ok(seen.count > before)
    }

    /// A scan of all versions: it has no index by time.
    fn snapshot_as_of(&self, as_of: u64, seen: &mut Seen) -> Result<()> {
        let mut last: Option<Key> = None;
        self.0.rows(&[], &mut |bytes, val| {
            if let Some((key, ts)) = split(bytes)
                && ts <= as_of
                && last != Some(*key)
            {
                seen.row(key, val);
                last = Some(*key);
            }
            true
        })
    }

    /// A scan of all versions: it has no index by time.
    fn changes(&self, from: u64, to: u64, seen: &mut Seen) -> Result<()> {
        // The key whose newer value was seen, while its older one is still to come.
        let mut open: Option<Key> = None;
        // The key of which nothing is to come any more.
        let mut done: Option<Key> = None;
        self.0.rows(&[], &mut |bytes, val| {
            let Some((key, ts)) = split(bytes) else { return true };
            if ts > to || done == Some(*key) {
                return true;
            }
            let is_open = open == Some(*key);
            if ts > from {
                if !is_open {
                    seen.row(key, val);
                    open = Some(*key);
                }
                return true;
            }
            if is_open {
                seen.row(key, val);
            }
            (open, done) = (None, Some(*key));
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one key the newest version at or below since stays, and what is newer.
    #[test]
    fn the_sieve_keeps_what_reads_need() {
        let (a, b) = ([1; KEY_LEN], [2; KEY_LEN]);
        let mut sieve = Sieve::new(5);
        let goes: Vec<_> = [(a, 9), (a, 6), (a, 4), (a, 3), (b, 7), (b, 5), (b, 1)]
            .iter()
            .map(|(key, ts)| sieve.goes(&suffixed(key, *ts)))
            .collect();
        assert_eq!(goes, [false, false, false, true, false, false, true]);
    }
}
