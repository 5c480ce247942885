//! 10,000 small collections in one database: durable commits over 1, 10 and 100 of them, and opening
//! it with all of them in a fresh process.

use super::{Race, emit, timed};
use crate::collections::{self, Collections, Put};
use crate::data::{self, Seen};
use crate::figure::Better;
use crate::{Result, machine};
use std::process::Command;

/// Most collections.
const COUNT_MAX: u64 = 10_000;
/// Rows of each.
const ROWS: u64 = 10;
/// Over how many a commit goes.
const OVER: [u64; 3] = [1, 10, 100];
/// Commits of each kind.
const COMMITS: u64 = 1_000;
/// The name of the work that opens.
const OPEN: &str = "collections_open";

/// How many there are.
fn count(race: &Race) -> u64 {
    race.rows.clamp(100, COUNT_MAX)
}

/// Fills them, commits over some, and opens them again.
pub(super) fn run(race: &Race) -> Result<()> {
    let count = count(race);
    let (seconds, store) = timed(|| collections::open(&race.engine, &race.db_dir(), count))?;
    emit(race.figure("create", seconds, "s", Better::Lower))?;
    let (seconds, ()) = timed(|| fill(store.as_ref(), count))?;
    emit(race.rate("fill", count * ROWS, seconds, "rows/s"))?;
    for over in OVER {
        commit(race, store.as_ref(), count, over)?;
    }
    let memory = machine::anonymous() as f64;
    emit(race.figure("memory", memory, "bytes", Better::Lower))?;
    drop(store);
    // Its figure is printed where this process prints.
    let status = Command::new(std::env::current_exe()?)
        .args(["one", &race.engine, OPEN, "--rows", &race.rows.to_string()])
        .args(["--round", &race.round.to_string(), "--dir"])
        .arg(race.dir())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("opening ended: {status}").into()) }
}

/// Gives each its rows, a hundred collections in one commit.
fn fill(store: &dyn Collections, count: u64) -> Result<()> {
    for first in (0..count).step_by(100) {
        let puts: Vec<Put> = (first..(first + 100).min(count))
            .flat_map(|collection| {
                (0..ROWS).map(move |row| (collection, data::key(row), data::val(collection, row)))
            })
            .collect();
        store.write(&puts)?;
    }
    Ok(())
}

/// Commits one put to each of `over` collections, again and again, and reads the last ones back.
fn commit(race: &Race, store: &dyn Collections, count: u64, over: u64) -> Result<()> {
    let chosen = data::uniform(over, count, COMMITS);
    let puts = |step: usize| -> Vec<Put> {
        let first = chosen[step];
        (0..over.min(count))
            .map(|next| ((first + next * 97) % count, data::key(0), data::val(first, step as u64)))
            .collect()
    };
    let (seconds, ()) = timed(|| (0..chosen.len()).try_for_each(|step| store.write(&puts(step))))?;
    let mut seen = Seen::default();
    for (collection, key, _) in puts(chosen.len() - 1) {
        store.get(collection, &key, &mut seen)?;
    }
    let name = format!("commits over {over}");
    emit(race.rate(&name, COMMITS, seconds, "commits/s").checked(seen))
}

/// Opens them in this process, and reads a row of the last one.
pub(super) fn open(race: &Race) -> Result<()> {
    let count = count(race);
    let mut seen = Seen::default();
    let (seconds, store) = timed(|| {
        let store = collections::open(&race.engine, &race.db_dir(), count)?;
        store.get(count - 1, &data::key(1), &mut seen)?;
        Ok(store)
    })?;
    drop(store);
    let mut figure = race.figure("open", seconds * 1e3, "ms", Better::Lower).checked(seen);
    figure.work = "collections".to_string();
    emit(figure)
}
