//! Point reads in deep history: as of a random time, beside the latest.

use criterion::{Criterion, Throughput};
use datestone::Options;
use datestone_benches::history::{History, VERSIONS};
use datestone_benches::store::{Store, scratch_dir};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let dir = scratch_dir().expect("a directory");
    let store = Store::open(&dir.path().join("db"), Options::default()).expect("opened");
    let history = History { keys: 10_000 };
    history.load(&store).expect("loaded");
    store.db.flush().expect("flushed");
    let snapshots = history.snapshots(&store).expect("readable");
    let reads = history.reads(10_000);
    let mut group = criterion.benchmark_group("as_of");
    group.sample_size(10).throughput(Throughput::Elements(reads.len() as u64));
    group.bench_function("random", |b| {
        b.iter(|| History::read(&snapshots, reads.iter().copied()).expect("all found"));
    });
    group.bench_function("latest", |b| {
        let latest = reads.iter().map(|(key, _)| (*key, VERSIONS as usize - 1));
        b.iter(|| History::read(&snapshots, latest.clone()).expect("all found"));
    });
    group.finish();
    criterion.final_summary();
}
