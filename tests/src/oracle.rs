//! Real data with an oracle: the history of a `Cargo.lock`, and the row count and SHA-256 of its
//! state at 64 times, computed from the git objects of those commits and never from the updates.
//! `tests/data/README.md` has the provenance.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// One update of the data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataLine {
    /// The key.
    pub key: String,
    /// The value.
    pub val: String,
    /// Its time.
    pub ts: u64,
    /// The change of multiplicity.
    pub diff: i64,
}

/// What the oracle says of one time.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OracleLine {
    /// The time.
    pub as_of: u64,
    /// Count of rows.
    pub rows: u64,
    /// SHA-256 of the sorted lines `key TAB val LF`, in hexadecimal.
    pub sha256: String,
}

/// Where the repository keeps its real data.
#[must_use]
pub fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// The updates of the small set, in order of time.
///
/// # Panics
/// When the file is missing or is not what it should be.
#[must_use]
pub fn small_set() -> Vec<DataLine> {
    let path = data_dir().join("cargo-lock.jsonl.zst");
    let file = File::open(&path).expect("the data set is in the repository");
    let text = zstd::decode_all(file).expect("the data set is zstd");
    lines(&text)
}

/// The oracle of the small set.
///
/// # Panics
/// When the file is missing or is not what it should be.
#[must_use]
pub fn small_oracle() -> Vec<OracleLine> {
    let path = data_dir().join("cargo-lock.oracle.jsonl");
    let oracle = lines(&std::fs::read(path).expect("the oracle is in the repository"));
    assert_eq!(oracle.len(), 64, "the oracle knows 64 times");
    oracle
}

fn lines<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Vec<T> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of the data set"))
        .collect()
}

/// What the oracle would say of these rows.
#[must_use]
pub fn digest<'r>(as_of: u64, rows: impl IntoIterator<Item = (&'r [u8], &'r [u8])>) -> OracleLine {
    let mut lines: Vec<Vec<u8>> =
        rows.into_iter().map(|(key, val)| [key, b"\t", val, b"\n"].concat()).collect();
    lines.sort_unstable();
    let mut hasher = Sha256::new();
    for line in &lines {
        hasher.update(line);
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    OracleLine { as_of, rows: lines.len() as u64, sha256 }
}
