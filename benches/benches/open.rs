//! Opening a database with a log of 64 MiB that was not flushed.

use criterion::{BatchSize, Criterion, Throughput};
use datestone::{Datestone, Durability, Options, Update};
use datestone_benches::data::Rows;
use datestone_benches::machine::copy_dir;
use datestone_benches::store::{Store, scratch_dir, still};
use datestone_benches::work;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let live = dir.path().join("live");
    let options = Options { memtable_bytes: 1 << 30, ..still() };
    let store = Store::open(&live, options).expect("opened");
    let rows = Rows::new(10, 479_000);
    let updates: Vec<Update<'_>> = rows.updates(0).collect();
    work::append_batches(&store, &updates, 0, Durability::Fsync).expect("appended");
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    let mut copies = 0;
    // What a kill would leave: the files of a database that is open and idle.
    let mut prepare = || {
        copies += 1;
        let copy = dir.path().join(copies.to_string());
        copy_dir(&live, &copy).expect("copied");
        copy
    };
    group.bench_function("replay", |b| {
        b.iter_batched(
            &mut prepare,
            |copy| Datestone::open_with(copy, Options::default()).expect("opened"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.final_summary();
}
