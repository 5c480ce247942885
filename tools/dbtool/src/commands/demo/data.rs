//! The data of the demo: the history of rust-lang/cargo's `Cargo.lock`, and what git itself says of
//! it at 64 times. Where both come from is told in `tests/data/README.md`.

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input::{Input, RowFormat, RowSource};
use std::io::Cursor;

/// Every update, as lines of JSON, compressed.
pub(super) const UPDATES: &[u8] = include_bytes!("../../../../../tests/data/cargo-lock.jsonl.zst");
/// Lines of [`Expected`].
const ORACLE: &str = include_str!("../../../../../tests/data/cargo-lock.oracle.jsonl");

/// The contents at one time as computed from the git objects of that time's commit alone.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Expected {
    /// The time.
    pub(super) as_of: u64,
    /// Count of rows.
    pub(super) rows: u64,
    /// SHA-256 over the lines `key TAB val LF` in order.
    pub(super) sha256: String,
}

/// What git says, in order of time.
pub(super) fn oracle() -> Result<Vec<Expected>> {
    let lines = ORACLE.lines().map(serde_json::from_str);
    lines
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Failure::new(Exit::Error, "the demo's oracle does not read").why(error))
}

/// The lines of the updates, each with its line end.
pub(super) fn lines() -> Result<Vec<Vec<u8>>> {
    let text = zstd::decode_all(UPDATES)
        .map_err(|error| Failure::new(Exit::Error, "the demo's data does not read").why(error))?;
    Ok(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// The updates as rows.
pub(super) fn rows() -> Result<RowSource> {
    let input = Input::new("the demo's data".into(), Box::new(Cursor::new(UPDATES)))?;
    RowSource::new(input, RowFormat::Jsonl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use datestone::Frontier;
    use sha2::{Digest as _, Sha256};
    use std::collections::BTreeMap;

    /// The data and the oracle agree with each other, without any database between them.
    #[test]
    fn the_updates_add_up_to_what_git_says() {
        let mut batch = Batch::default();
        let mut source = rows().unwrap();
        while source.read_into(&mut batch, Frontier::MIN).unwrap() {}
        assert_eq!(batch.len(), 11_248);
        assert_eq!(lines().unwrap().len(), 11_248);
        let updates = batch.updates();
        let oracle = oracle().unwrap();
        assert_eq!(oracle.len(), 64);
        for expected in oracle {
            let mut contents: BTreeMap<(&[u8], &[u8]), i64> = BTreeMap::new();
            for update in updates.iter().filter(|update| update.ts <= expected.as_of) {
                *contents.entry((update.key, update.val)).or_default() += update.diff;
            }
            contents.retain(|_, diff| *diff != 0);
            assert!(contents.values().all(|diff| *diff == 1));
            let mut hash = Sha256::new();
            for (key, val) in contents.keys() {
                for part in [*key, b"\t", *val, b"\n"] {
                    hash.update(part);
                }
            }
            let sha256: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!((contents.len() as u64, sha256), (expected.rows, expected.sha256));
        }
    }
}
