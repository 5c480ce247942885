//! What goes past the log: bulk ingest, erasure, truncation. Kills hit them half-way.

use crate::actor::{
    Actor, Known, Outcome, Row, Stage, Step, contents, difference, key_of, mixed, require_same,
    there, ts, updates, val, wrong,
};
use datestone::{Collection, ErrorKind};
use std::path::Path;

/// Ingests a batch at each time; now and then upper passes it later.
pub(crate) struct Ingester;

fn batch(n: u64) -> Vec<Row> {
    let count = 50 + mixed(n) % 800;
    (0..count).map(|row| (format!("{n:05}-{row:05}").into_bytes(), val(row))).collect()
}

/// What is ahead of upper: a batch, wholly, or nothing. Whether there is one.
fn ahead(collection: &Collection, upper: u64) -> Outcome<bool> {
    let mut found = updates(collection)?;
    found.retain(|(_, time), _| *time >= upper);
    if found.is_empty() {
        return Ok(false);
    }
    let wanted = batch(upper).into_iter().map(|row| ((row, upper), 1)).collect();
    require_same("ahead of upper", &found, &wanted)?;
    Ok(true)
}

impl Actor for Ingester {
    fn name(&self) -> String {
        "ingester".into()
    }

    fn begin(&self, stage: &Stage, count: u64) -> Outcome<Step> {
        let collection = stage.db.collection("ingested")?;
        // A batch of a child that was killed before upper passed it.
        let mut waits = ahead(&collection, count)?;
        Ok(Box::new(move |n| {
            let rows = batch(n);
            let rows = rows.iter().map(|(key, val)| (&key[..], &val[..], n, 1));
            if std::mem::take(&mut waits) {
                collection.advance_upper(n + 1)?;
            } else if n % 3 == 2 {
                collection.ingest(rows, None)?;
                collection.advance_upper(n + 1)?;
            } else {
                collection.ingest(rows, Some(n + 1))?;
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let Some(collection) = there(stage.db.find("ingested"))? else { return Ok(0) };
        let count = ts(collection.upper()?);
        if ahead(&collection, count)? && count % 3 != 2 {
            wrong!("batch {count} is there, and upper has not passed it");
        }
        if known.active && count > 0 {
            let wanted = (0..count).flat_map(batch).map(|row| (row, 1)).collect();
            require_same("ingested", &contents(&collection, count - 1)?, &wanted)?;
        }
        Ok(count)
    }
}

/// Appends rows with a prefix of their own at each time, and erases those of a while ago.
pub(crate) struct Eraser;

/// Steps before what a step has brought is erased.
const STAYS: u64 = 2;

/// What its keys begin with, and nothing else in the database has.
fn prefix(n: u64) -> String {
    format!("to-be-erased-{n:06}/")
}

fn brought(n: u64) -> Vec<Row> {
    let count = 10 + mixed(n) % 200;
    (0..count).map(|row| (format!("{}{row:04}", prefix(n)).into_bytes(), val(row))).collect()
}

impl Actor for Eraser {
    fn name(&self) -> String {
        "eraser".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let collection = stage.db.collection("erased")?;
        Ok(Box::new(move |n| {
            // It is there already when the erasure was hit.
            if ts(collection.upper()?) == n {
                let rows = brought(n);
                let rows = rows.iter().map(|(key, val)| (&key[..], &val[..], n, 1));
                collection.compare_and_append(rows, n, n + 1)?;
            }
            if let Some(old) = n.checked_sub(STAYS) {
                let (start, end) = (prefix(old).into_bytes(), prefix(old + 1).into_bytes());
                collection.erase(start..end)?;
            }
            Ok(0)
        }))
    }

    fn first(&self, count: u64) -> u64 {
        count.saturating_sub(1)
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let Some(collection) = there(stage.db.find("erased"))? else { return Ok(0) };
        let count = ts(collection.upper()?);
        let mut found = updates(&collection)?;
        for n in 0..count {
            let part = found.range((row(prefix(n)), 0)..(row(prefix(n + 1)), 0));
            let part: Vec<_> = part.map(|(key, diff)| (key.clone(), *diff)).collect();
            let whole = brought(n).into_iter().map(|row| ((row, n), 1));
            // Only the last erasure that has begun may not have happened.
            let must_go = n + STAYS < known.acknowledged;
            let must_stay = n + STAYS >= count;
            let is_gone = part.is_empty() && !must_stay;
            let is_whole = !must_go && part.iter().cloned().eq(whole);
            if !is_gone && !is_whole {
                wrong!("{} rows of step {n} of {count}, {} known", part.len(), known.acknowledged);
            }
            found.retain(|(row, _), _| !row.0.starts_with(prefix(n).as_bytes()));
        }
        if let Some(((row, time), _)) = found.first_key_value() {
            wrong!("{} at {time} is of nobody", row.0.escape_ascii());
        }
        if known.active && known.acknowledged > STAYS {
            let gone = prefix(known.acknowledged - 1 - STAYS);
            traces(&stage.place.join("db"), gone.as_bytes())?;
        }
        Ok(count)
    }
}

fn row(key: String) -> Row {
    (key.into_bytes(), Vec::new())
}

/// Whether a file of the database has these bytes.
fn traces(dir: &Path, bytes: &[u8]) -> Outcome<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let content = match std::fs::read(&path) {
            // A merge of the database that is being judged has removed it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            content => content?,
        };
        if content.windows(bytes.len()).any(|window| window == bytes) {
            wrong!("{} has {} still", path.display(), bytes.escape_ascii());
        }
    }
    Ok(())
}

/// Appends, and takes the last times back again.
pub(crate) struct Truncater;

const fn truncates(n: u64) -> bool {
    n % 5 == 4
}

/// The steps whose rows are there, by their times.
fn written(count: u64) -> Vec<u64> {
    let mut steps = Vec::new();
    for n in 0..count {
        if truncates(n) {
            steps.truncate(steps.len() - 2);
        } else {
            steps.push(n);
        }
    }
    steps
}

impl Actor for Truncater {
    fn name(&self) -> String {
        "truncater".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let collection = stage.db.collection("truncated")?;
        Ok(Box::new(move |n| {
            let upper = written(n).len() as u64;
            if truncates(n) {
                let before = collection.truncate_at(upper - 2)?.upper_before;
                if ts(before) != upper {
                    wrong!("upper was {before}, not {upper}");
                }
            } else {
                let (key, val) = (key_of(n), val(n));
                let row = [(&key[..], &val[..], upper, 1)];
                collection.compare_and_append(row, upper, upper + 1)?;
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let collection = match stage.db.find("truncated") {
            Err(e) if e.kind() == ErrorKind::NotFound && known.count == 0 => return Ok(0),
            collection => collection?,
        };
        let (upper, found) = (ts(collection.upper()?), updates(&collection)?);
        known.pick(|count| {
            let steps = written(count);
            if upper != steps.len() as u64 {
                return Err(format!("upper {upper}, not {}", steps.len()));
            }
            let wanted = (0..).zip(&steps).map(|(time, n)| (((key_of(*n), val(*n)), time), 1));
            difference(&found, &wanted.collect()).map_or(Ok(()), Err)
        })
    }
}
