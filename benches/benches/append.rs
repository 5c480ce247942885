//! Appends in batches of 1,000 from one thread: log, memtable and flush included.

use criterion::{BatchSize, Criterion, Throughput};
use datestone::{Durability, Update};
use datestone_benches::data::Rows;
use datestone_benches::store::{Store, scratch_dir, still};
use datestone_benches::work;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let rows = Rows::new(3, 1_000_000);
    let updates: Vec<Update<'_>> = rows.updates(0).collect();
    let warm_up = Rows::new(4, 500_000);
    let warm_up: Vec<Update<'_>> = warm_up.updates(0).collect();
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    let mut databases = 0;
    for durability in [Durability::None, Durability::Buffer, Durability::Fsync] {
        // A new database for each sample, which has its log files ready.
        let mut prepare = || {
            databases += 1;
            let path = dir.path().join(databases.to_string());
            let store = Store::open(&path, still()).expect("opened");
            let ts = work::append_batches(&store, &warm_up, 0, durability).expect("appended");
            store.db.flush().expect("flushed");
            (store, path, ts)
        };
        group.bench_function(format!("{durability:?}"), |b| {
            b.iter_batched(
                &mut prepare,
                |(store, path, ts)| {
                    work::append_batches(&store, &updates, ts, durability).expect("appended");
                    store.db.flush().expect("flushed");
                    (store, path)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
