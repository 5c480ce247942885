//! Merge of four runs that overlap in every block to one.

use criterion::{BatchSize, Criterion, Throughput};
use datestone_benches::data::Rows;
use datestone_benches::store::{Store, scratch_dir};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let rows = Rows::new(5, 1_000_000);
    let mut group = criterion.benchmark_group("compaction");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    let mut databases = 0;
    let mut prepare = || {
        databases += 1;
        let path = dir.path().join(databases.to_string());
        Store::with_runs(&path, &rows, 4).expect("loaded")
    };
    group.bench_function("merge/4", |b| {
        b.iter_batched(
            &mut prepare,
            |store| {
                store.rows.compact().expect("merged");
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.final_summary();
}
