//! The loops that are timed.

use crate::Result;
use crate::data::KEY_LEN;
use crate::store::Store;
use datestone::{Durability, Snapshot, Update};

/// A number that needs the first and the last byte of `bytes`.
#[inline]
#[must_use]
pub fn touch(bytes: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or(0));
    end(bytes.first()) + (end(bytes.last()) << 8)
}

/// Reads every key of `keys`; a sum that depends on each value.
///
/// # Errors
/// When a key is missing, or has another multiplicity than 1.
pub fn get_all(snapshot: &Snapshot, keys: &[[u8; KEY_LEN]]) -> Result<u64> {
    let (mut sum, mut found) = (0, 0);
    for key in keys {
        snapshot.get_with(key, |val, diff| {
            sum += touch(val);
            found += diff;
        })?;
    }
    if found != i64::try_from(keys.len())? {
        return Err(format!("{found} of {} keys found", keys.len()).into());
    }
    Ok(sum)
}

/// Reads all rows in order; their count and a sum that depends on each row.
pub fn scan(snapshot: &Snapshot) -> Result<(u64, u64)> {
    let mut rows = snapshot.iter();
    let (mut count, mut sum) = (0, 0);
    while let Some(row) = rows.next_row()? {
        count += u64::try_from(row.diff)?;
        sum += touch(row.key) + touch(row.val);
    }
    Ok((count, sum))
}

/// Commits one update at a time, durably, `count` times in each of `threads` threads.
pub fn commit_each(store: &Store, threads: u64, count: u64, seed: u64) -> Result<()> {
    let one_thread = |thread: u64| -> Result<()> {
        let (mut key, mut val) = ([0; KEY_LEN], [0; crate::data::VAL_LEN]);
        for index in 0..count {
            crate::data::fill_row(seed, (thread << 32) | index, &mut key, &mut val);
            store.rows.append([Update { key: &key, val: &val, ts: 0, diff: 1 }])?;
        }
        Ok(())
    };
    if threads == 1 {
        return one_thread(0);
    }
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || one_thread(thread))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err("a thread panicked".into()),
        })
    })
}

/// Appends the updates in batches of 1,000, each batch at a time of its own from `ts` on that is
/// complete at once; the first time that is not used.
pub fn append_batches(
    store: &Store,
    updates: &[Update<'_>],
    mut ts: u64,
    durability: Durability,
) -> Result<u64> {
    for batch in updates.chunks(crate::store::BATCH_LEN) {
        let updates = batch.iter().map(|update| Update { ts, ..*update });
        store
            .db
            .commit()
            .append(&store.rows, updates)
            .advance_upper(&store.rows, ts + 1)
            .durability(durability)
            .run()?;
        ts += 1;
    }
    Ok(ts)
}
