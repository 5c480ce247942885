//! [`History`]: a collection with many versions of each key.

use crate::data::{Chance, KEY_LEN, VAL_LEN, fill_key, fill_val};
use crate::store::Store;
use crate::{Result, work};
use datestone::{Durability, Snapshot, Update};

/// Versions of a key.
pub const VERSIONS: u64 = 100;
/// Keys that one commit gives a new version.
const BATCH_KEYS: u64 = 1_000;
const SEED: u64 = 8;

/// A collection in which each time replaces the value of every key.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Count of keys.
    pub keys: u64,
}

/// A key and the time to read it as of.
pub type Read = ([u8; KEY_LEN], usize);

impl History {
    /// Gives every key a new value at each time, and takes back the one before.
    pub fn load(self, store: &Store) -> Result<()> {
        type Version = ([u8; KEY_LEN], [u8; VAL_LEN], [u8; VAL_LEN]);
        let mut batch: Vec<Version> = Vec::new();
        for ts in 0..VERSIONS {
            for first in (0..self.keys).step_by(BATCH_KEYS as usize) {
                batch.clear();
                for index in first..self.keys.min(first + BATCH_KEYS) {
                    let (mut key, mut old, mut new) = ([0; KEY_LEN], [0; VAL_LEN], [0; VAL_LEN]);
                    let version = index * VERSIONS + ts;
                    fill_key(SEED, index, &mut key);
                    fill_val(SEED, version.wrapping_sub(1), &mut old);
                    fill_val(SEED, version, &mut new);
                    batch.push((key, old, new));
                }
                let updates = batch.iter().flat_map(|(key, old, new)| {
                    let old = Update { key, val: old, ts, diff: -1 };
                    let new = Update { key, val: new, ts, diff: 1 };
                    (ts > 0).then_some(old).into_iter().chain([new])
                });
                let commit = store.db.commit().append(&store.rows, updates);
                commit.durability(Durability::None).run()?;
            }
            store.rows.advance_upper(ts + 1)?;
        }
        Ok(())
    }

    /// A snapshot of every time.
    pub fn snapshots(self, store: &Store) -> Result<Vec<Snapshot>> {
        (0..VERSIONS).map(|ts| Ok(store.rows.snapshot(ts)?)).collect()
    }

    /// Random keys, each with a random time.
    #[must_use]
    pub fn reads(self, count: usize) -> Vec<Read> {
        let mut chance = Chance::new(9);
        let one = |_| {
            let mut key = [0; KEY_LEN];
            fill_key(SEED, chance.below(self.keys), &mut key);
            (key, chance.below(VERSIONS) as usize)
        };
        (0..count).map(one).collect()
    }

    /// Reads each key at its time; a sum that depends on each value.
    ///
    /// # Errors
    /// When a key has not exactly one value.
    pub fn read(snapshots: &[Snapshot], reads: impl Iterator<Item = Read>) -> Result<u64> {
        let mut sum = 0;
        for (key, at) in reads {
            let mut found = 0;
            snapshots[at].get_with(&key, |val, diff| {
                sum += work::touch(val);
                found += diff;
            })?;
            if found != 1 {
                return Err(format!("{found} versions as of {at}").into());
            }
        }
        Ok(sum)
    }
}
