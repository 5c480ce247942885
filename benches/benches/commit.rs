//! Durable commits of one update, beside the raw loop of `fdatasync`.

use criterion::{Criterion, Throughput};
use datestone_benches::machine::{SMALL_WRITE_LEN, Syncs};
use datestone_benches::store::{Store, scratch_dir, still};
use datestone_benches::{scorecard, stopwatch, work};
use std::time::Duration;

/// Commits of one thread in one sample: starting the threads must not count.
const COMMITS: u64 = 200;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10).throughput(Throughput::Elements(1));
    let mut syncs = Syncs::new(dir.path(), SMALL_WRITE_LEN).expect("a file");
    group.bench_function("fdatasync", |b| b.iter(|| syncs.step().expect("synced")));
    let store = Store::open(&dir.path().join("db"), still()).expect("opened");
    scorecard::warm_up(&store).expect("committed");
    for threads in [1, 8, 32] {
        let mut seed = threads << 32;
        group.bench_function(format!("threads/{threads}"), |b| {
            // The time of one commit is that of all divided by their count.
            b.iter_custom(|iterations| {
                let each = iterations.div_ceil(threads).max(COMMITS);
                seed += 1;
                let (seconds, done) =
                    stopwatch::timed(|| work::commit_each(&store, threads, each, seed));
                done.expect("committed");
                let share = iterations as f64 / (each * threads) as f64;
                Duration::from_secs_f64(seconds * share)
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
