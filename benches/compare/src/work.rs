//! The works. Each is a file; each measures one engine in a process that does nothing else.

mod collections;
mod commit;
mod limits;
mod listen;
mod load_random;
mod load_sorted;
mod read;
mod versioned;
mod ycsb;

use crate::data::{self, Seen};
use crate::engine::{Durability, Engine, Op};
use crate::engines::{OWN, Shape};
use crate::figure::{Better, Figure};
use crate::{OneArgs, Result, engines, machine};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Rows of one commit when data is loaded.
const BATCH_ROWS: u64 = 1_000;

/// A work and what runs it.
type Entry = (&'static str, fn(&Race) -> Result<()>);

/// All works, in the order in which they are run.
const WORKS: &[Entry] = &[
    ("commit", commit::run),
    ("load_random", load_random::run),
    ("load_sorted", load_sorted::run),
    ("read", read::run),
    ("ycsb", ycsb::run),
    ("versioned", versioned::run),
    ("collections", collections::run),
    (LISTEN, listen::run),
    (LIMITS, limits::run),
];

/// What only datestone has.
const LISTEN: &str = "listen";
/// What the machine can do, whatever engine is named.
const LIMITS: &str = "limits";
/// What works start for themselves.
const PARTS: &[Entry] =
    &[("killed_load", versioned::killed_load), ("collections_open", collections::open)];

/// The names of all works.
pub(crate) fn names() -> Vec<&'static str> {
    WORKS.iter().map(|(name, _)| *name).collect()
}

/// Whether `engine` has anything to do in `work`.
pub(crate) fn applies(work: &str, engine: &str) -> bool {
    engine == OWN || ![LISTEN, LIMITS].contains(&work)
}

/// Runs one work with one engine in this process.
pub(crate) fn one(args: OneArgs) -> Result<()> {
    let found = WORKS.iter().chain(PARTS).find(|(name, _)| *name == args.work);
    let (_, run) = found.ok_or_else(|| format!("no work is called {}", args.work))?;
    std::fs::create_dir_all(&args.dir)?;
    machine::require_disk(&args.dir)?;
    let OneArgs { engine, work, dir, rows, round } = args;
    run(&Race { engine, work, dir, rows, round })
}

/// One engine at one work.
pub(crate) struct Race {
    /// Who runs.
    pub(crate) engine: String,
    /// What.
    work: String,
    /// Where.
    dir: PathBuf,
    /// Rows of the data.
    pub(crate) rows: u64,
    /// Which round.
    round: u32,
}

impl Race {
    /// Where the database is.
    fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// A directory beside the database.
    fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the engine's database, creating it when there is none.
    fn open(&self) -> Result<Box<dyn Engine>> {
        std::fs::create_dir_all(self.db_dir())?;
        engines::open(&self.engine, &self.db_dir(), Shape::Rows)
    }

    /// A figure that is not printed yet.
    fn figure(&self, figure: &str, value: f64, unit: &str, better: Better) -> Figure {
        Figure {
            engine: self.engine.clone(),
            work: self.work.clone(),
            figure: figure.to_string(),
            value,
            unit: unit.to_string(),
            better,
            round: self.round,
            rows: self.rows,
            peak_rss: machine::peak_rss(),
            disk_bytes: machine::disk_bytes(&self.db_dir()),
            count: None,
            sum: None,
            note: None,
        }
    }

    /// A rate: `count` things in `seconds`.
    fn rate(&self, figure: &str, count: u64, seconds: f64, unit: &str) -> Figure {
        self.figure(figure, count as f64 / seconds, unit, Better::Higher)
    }

    /// Loads all rows in random order in batches, the last of which makes all durable, and waits
    /// until the engine is idle: no compaction is forced on anybody.
    fn load(&self, engine: &dyn Engine) -> Result<()> {
        load_rows(engine, 0..self.rows)?;
        engine.sync()?;
        engine.flush()?;
        machine::wait_until_idle();
        Ok(())
    }
}

/// Prints a figure.
fn emit(figure: Figure) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figure)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Seconds that `job` takes, and what it gives.
fn timed<T>(job: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let done = job()?;
    Ok((start.elapsed().as_secs_f64(), done))
}

/// Puts rows, in order of their indexes, in batches that nobody waits for.
fn load_rows(engine: &dyn Engine, indexes: std::ops::Range<u64>) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH_ROWS as usize);
    for start in indexes.clone().step_by(BATCH_ROWS as usize) {
        batch.clear();
        let end = (start + BATCH_ROWS).min(indexes.end);
        batch.extend((start..end).map(|index| (data::key(index), data::val(index, 0))));
        let ops: Vec<_> = batch.iter().map(|(key, val)| Op::put(key, val)).collect();
        engine.write(&ops, Durability::Deferred)?;
    }
    Ok(())
}

/// What a scan of everything sees.
fn scan_all(engine: &dyn Engine) -> Result<Seen> {
    let mut seen = Seen::default();
    engine.read(&mut |reader| reader.scan(&[], None, u64::MAX, &mut seen))?;
    Ok(seen)
}
