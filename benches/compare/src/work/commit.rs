//! Durable commits of one update each, from threads that wait for each of theirs. The rows are loaded
//! before, so that logs have been written once round and keys exist.

use super::{Race, emit};
use crate::Result;
use crate::data::{self, Seen};
use crate::engine::{Durability, Engine, Op};
use crate::figure::Better;
use crate::machine;
use hdrhistogram::Histogram;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many threads commit.
const THREADS: [u64; 5] = [1, 2, 8, 32, 128];
/// How long they do.
const TIME: Duration = Duration::from_secs(2);

/// The rates and latencies, and the rate of the bare device beside them.
pub(super) fn run(race: &Race) -> Result<()> {
    let engine = race.open()?;
    race.load(engine.as_ref())?;
    emit(race.rate("raw fdatasync", syncs(race)?, TIME.as_secs_f64(), "syncs/s"))?;
    for threads in THREADS {
        measure(race, engine.as_ref(), threads)?;
        machine::wait_until_idle();
    }
    Ok(())
}

/// Writes of 256 bytes, each after the one before and synced, to a file of zeros.
fn syncs(race: &Race) -> Result<u64> {
    const FILE_LEN: u64 = 64 << 20;
    let path = race.dir().join("raw");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..FILE_LEN).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_data()?;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        file.write_all_at(&[0xab; 256], (count * 256) % FILE_LEN)?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(&path)?;
    Ok(count)
}

/// `threads` threads commit for a while; then each reads its last row back.
fn measure(race: &Race, engine: &dyn Engine, threads: u64) -> Result<()> {
    let barrier = Barrier::new(threads as usize);
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    commit(engine, race.rows, thread, threads)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a committing thread panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mut times = Histogram::<u64>::new(3)?;
    let mut last_end = Duration::ZERO;
    for (histogram, elapsed) in done {
        times.add(&histogram)?;
        last_end = last_end.max(elapsed);
    }
    let name = |what: &str| format!("{what}, {threads} threads");
    emit(race.rate(&name("commits"), times.len(), last_end.as_secs_f64(), "commits/s"))?;
    for (what, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let micros = times.value_at_quantile(quantile) as f64 / 1000.0;
        emit(race.figure(&name(what), micros, "us", Better::Lower))?;
    }
    Ok(())
}

/// One thread: how long each of its commits took in nanoseconds, and all of them together.
fn commit(
    engine: &dyn Engine,
    rows: u64,
    thread: u64,
    threads: u64,
) -> Result<(Histogram<u64>, Duration)> {
    let mut times = Histogram::<u64>::new(3)?;
    let start = Instant::now();
    // Threads have keys of their own, so that each knows what it should read.
    let own = (rows / threads).max(1);
    let mut step = 0;
    let (mut key, mut val) = (data::key(0), data::val(0, 0));
    while start.elapsed() < TIME {
        let index = (data::mix(step ^ (thread << 32)) % own) * threads + thread;
        step += 1;
        (key, val) = (data::key(index), data::val(index, step));
        let before = Instant::now();
        engine.write(&[Op::put(&key, &val)], Durability::Synced)?;
        times.record(before.elapsed().as_nanos() as u64)?;
    }
    let elapsed = start.elapsed();
    let (mut seen, mut wanted) = (Seen::default(), Seen::default());
    engine.get(&key, &mut seen)?;
    wanted.val(&val);
    if seen != wanted {
        return Err("a commit that returned is not there".into());
    }
    Ok((times, elapsed))
}
