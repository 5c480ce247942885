//! Ordered scans of one run and of four, beside LMDB on the same rows.

use criterion::{Criterion, Throughput};
use datestone_benches::data::Rows;
use datestone_benches::lmdb::Lmdb;
use datestone_benches::store::{Store, scratch_dir};
use datestone_benches::work;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let rows = Rows::new(1, 1_000_000);
    let mut group = criterion.benchmark_group("scan");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    let lmdb = Lmdb::load(&dir.path().join("lmdb"), &rows).expect("loaded");
    group.bench_function("lmdb", |b| b.iter(|| lmdb.scan().expect("readable")));
    for runs in [1, 4] {
        let path = dir.path().join(runs.to_string());
        let store = Store::with_runs(&path, &rows, runs).expect("loaded");
        let snapshot = store.rows.latest().expect("readable");
        group.bench_function(format!("runs/{runs}"), |b| {
            b.iter(|| work::scan(&snapshot).expect("readable"));
        });
    }
    group.finish();
    criterion.final_summary();
}
