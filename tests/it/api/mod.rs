//! What the public interface promises, call by call.
//!
//! | module | what |
//! | --- | --- |
//! | `errors` | each kind of error, with its fields, and that nothing else happened |
//! | `frontiers` | the rules of since and upper |
//! | `values` | odd and large keys, values, times and diffs |
//! | `lifetimes` | drops, handles that outlive things, background threads, maintenance |
//! | `concurrency` | many threads at once: every snapshot is the sum of whole commits |

mod concurrency;
mod errors;
mod frontiers;
mod lifetimes;
mod values;

use datestone::{Collection, Datestone, Options, Snapshot};
use tempfile::TempDir;

/// A database in a directory of its own.
fn database(options: Options) -> (TempDir, Datestone) {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open_with(dir.path().join("db"), options).unwrap();
    (dir, db)
}

/// The smallest memtables and log files, and no threads.
fn small() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        background_threads: 0,
        ..Options::default()
    }
}

/// All rows of a snapshot.
fn rows(snapshot: &Snapshot) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    snapshot.iter().map(|row| row.map(|row| (row.key, row.val, row.diff)).unwrap()).collect()
}

/// Appends `(key, val, ts, diff)`.
fn append(collection: &Collection, updates: &[(&[u8], &[u8], u64, i64)]) {
    collection.append(updates.iter().copied()).unwrap();
}
