//! Puts and deletions, on the database's clock and on the caller's.

use crate::actor::{Actor, Known, Outcome, Stage, Step, difference, mixed, there, ts, val, wrong};
use datestone::{ErrorKind, TableSnapshot};
use std::collections::BTreeMap;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows(snapshot: &TableSnapshot) -> Outcome<Rows> {
    let mut found = Rows::new();
    for row in snapshot.iter() {
        let row = row?;
        if found.insert(row.key, row.val).is_some() {
            wrong!("a key comes twice");
        }
    }
    Ok(found)
}

fn key(n: u64) -> Vec<u8> {
    format!("key-{:02}", mixed(n) % 40).into_bytes()
}

/// A table on the database's clock: a put or a deletion for each step.
pub(crate) struct OnClock;

const fn deletes(n: u64) -> bool {
    n % 5 == 4
}

/// What so many steps leave in the table.
fn after(count: u64) -> Rows {
    let mut rows = Rows::new();
    for n in 0..count {
        if deletes(n) {
            rows.remove(&key(n - 1));
        } else {
            rows.insert(key(n), val(n));
        }
    }
    rows
}

impl Actor for OnClock {
    fn name(&self) -> String {
        "clock".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let table = stage.db.table("clock")?;
        let db = stage.db.clone();
        Ok(Box::new(move |n| {
            if n % 60 == 30 {
                db.flush()?;
            }
            Ok(if deletes(n) { table.delete(&key(n - 1))? } else { table.put(&key(n), &val(n))? })
        }))
    }

    /// Also what earlier steps left, as of the times that they were told.
    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let table = match stage.db.find_table("clock") {
            Ok(table) => table,
            Err(e) if e.kind() == ErrorKind::NotFound && known.count == 0 => return Ok(0),
            Err(e) => return Err(e.into()),
        };
        let latest = there(table.latest())?;
        let found = latest.map_or(Ok(Rows::new()), |latest| rows(&latest))?;
        let count = known.pick(|count| difference(&found, &after(count)).map_or(Ok(()), Err))?;
        let marks: Vec<_> = known.marks.iter().collect();
        if !marks.is_empty() {
            let (n, as_of) = marks[(known.chance % marks.len() as u64) as usize];
            let found = rows(&table.snapshot(*as_of)?)?;
            if let Some(what) = difference(&found, &after(n + 1)) {
                wrong!("as of {as_of}, the time of step {n}: {what}");
            }
        }
        Ok(count)
    }
}

/// A table on the caller's clock: step `n` is the time `n`.
pub(crate) struct Timed;

/// Steps after which a key is deleted.
const LIFE: u64 = 7;

fn since(count: u64) -> u64 {
    (count / 16 * 16).saturating_sub(20)
}

fn as_of(ts: u64) -> Rows {
    let mut rows = Rows::new();
    for n in 0..=ts {
        if let Some(old) = n.checked_sub(LIFE) {
            rows.remove(&key(old));
        }
        rows.insert(key(n), val(n));
    }
    rows
}

impl Actor for Timed {
    fn name(&self) -> String {
        "timed".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let table = stage.db.timed_table("timed")?;
        let db = stage.db.clone();
        Ok(Box::new(move |n| {
            let mut commit = db.commit();
            if let Some(old) = n.checked_sub(LIFE).filter(|old| key(*old) != key(n)) {
                commit = commit.delete_at(&table, &key(old), n);
            }
            if n % 5 == 4 {
                // Ahead of upper, and again when the step is made again.
                table.put(&key(n), &val(n), n)?;
            } else {
                commit = commit.put_at(&table, &key(n), &val(n), n);
            }
            commit = commit.advance_table(&table, n + 1);
            if since(n + 1) > since(n) {
                commit = commit.compact_below(table.as_collection(), since(n + 1));
            }
            commit.run()?;
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let Some(table) = there(stage.db.find_timed_table("timed"))? else { return Ok(0) };
        let count = ts(table.upper()?);
        if ts(table.since()?) != since(count) {
            wrong!("since {} after {count} steps", table.since()?);
        }
        let Some(last) = count.checked_sub(1) else { return Ok(0) };
        let span = last - since(count) + 1;
        for time in [since(count), last, since(count) + known.chance % span] {
            if let Some(what) = difference(&rows(&table.snapshot(time)?)?, &as_of(time)) {
                wrong!("as of {time} of {count}: {what}");
            }
        }
        Ok(count)
    }
}
