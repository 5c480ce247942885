//! Flush of a memtable of 250,000 rows.

use criterion::{BatchSize, Criterion, Throughput};
use datestone::Durability;
use datestone_benches::data::Rows;
use datestone_benches::store::{Store, scratch_dir, still};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let rows = Rows::new(7, 250_000);
    let mut group = criterion.benchmark_group("flush");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    let mut databases = 0;
    let mut prepare = || {
        databases += 1;
        let path = dir.path().join(databases.to_string());
        let store = Store::open(&path, still()).expect("opened");
        store.load(rows.updates(0), 1, Durability::None).expect("loaded");
        store
    };
    group.bench_function("memtable", |b| {
        b.iter_batched(
            &mut prepare,
            |store| {
                store.db.flush().expect("flushed");
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.final_summary();
}
