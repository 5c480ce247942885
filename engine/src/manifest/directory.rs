//! Which file of a database directory is the manifest: the names, and what their absence means.
//!
//! A manifest is written as `MANIFEST-<number>.tmp`, synced, renamed to `MANIFEST-<number>`, and
//! the directory is synced; only then is the older one removed. So the greatest number wins, and a
//! file with a final name is whole: damage in it is corruption, never a reason to take an older
//! one.

use crate::error::{Error, Result};
use crate::io::DirEntry;
use std::path::Path;

const PREFIX: &str = "MANIFEST-";
const TEMPORARY: &str = ".tmp";
const DATA: [&str; 2] = [".seg", ".log"];
const LOCK: &str = "LOCK";

/// What a directory is, by the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// Nothing was ever published here: a database may be created.
    New,
    /// A database.
    Database {
        /// Number of the current manifest.
        number: u64,
        /// Numbers of manifests that it has replaced, which a crash has left behind.
        replaced: Vec<u64>,
    },
}

/// Name of the manifest file with this number.
#[must_use]
pub fn manifest_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// Name of the same file while it is written.
pub(super) fn temporary_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}{TEMPORARY}")
}

/// The number in the name of a manifest file; `None` for every other name.
#[must_use]
pub fn parse_manifest_name(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?;
    // One spelling only: 16 lower-case digits, no sign.
    (manifest_name(number) == name).then_some(number)
}

/// The number in the name of a manifest file that was not finished.
pub(super) fn parse_temporary_name(name: &str) -> Option<u64> {
    parse_manifest_name(name.strip_suffix(TEMPORARY)?)
}

/// Says what the directory `dir` with these `entries` is.
///
/// # Errors
/// [`Error::Corruption`] when there is data but no manifest, or one that is not a regular file;
/// [`Error::Invalid`] when the directory has files that are not of a database.
pub fn find(dir: &Path, entries: &[DirEntry]) -> Result<DirectoryState> {
    let mut numbers = Vec::new();
    let mut data = None;
    let mut foreign = None;
    for entry in entries {
        let name = entry.name.to_string_lossy();
        if let Some(number) = parse_manifest_name(&name) {
            if !entry.is_file {
                return Err(Error::corruption(&dir.join(&entry.name), 0, "not a regular file"));
            }
            numbers.push(number);
        } else if entry.is_file && DATA.iter().any(|suffix| name.ends_with(suffix)) {
            data = Some(name);
        } else if !(entry.is_file && (name == LOCK || name.ends_with(TEMPORARY))) {
            foreign = Some(name);
        }
    }
    numbers.sort_unstable();
    match (numbers.pop(), data, foreign) {
        (Some(number), ..) => Ok(DirectoryState::Database { number, replaced: numbers }),
        (None, Some(data), _) => {
            Err(Error::corruption(dir, 0, format!("no manifest next to data ({data})")))
        }
        (None, None, Some(foreign)) => {
            let what = format!("{} is not a database: it has {foreign}", dir.display());
            Err(Error::invalid(what))
        }
        (None, None, None) => Ok(DirectoryState::New),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn look(names: &[&str]) -> Result<DirectoryState> {
        let entry = |name: &&str| DirEntry {
            is_file: !name.ends_with('/'),
            name: name.trim_end_matches('/').into(),
            len: 0,
        };
        find(Path::new("db"), &names.iter().map(entry).collect::<Vec<_>>())
    }

    fn kind(names: &[&str]) -> ErrorKind {
        look(names).unwrap_err().kind()
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(manifest_name(255), "MANIFEST-00000000000000ff");
        assert_eq!(parse_manifest_name("MANIFEST-00000000000000ff"), Some(255));
        assert_eq!(parse_manifest_name(&manifest_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(parse_temporary_name(&temporary_name(7)), Some(7));
        for name in [
            "MANIFEST-00000000000000FF",
            "MANIFEST-+0000000000000ff",
            "MANIFEST-ff",
            "MANIFEST-",
            "MANIFEST-000000000000000ff",
            "MANIFEST-00000000000000ff.tmp",
            "manifest-00000000000000ff",
        ] {
            assert_eq!(parse_manifest_name(name), None, "{name}");
        }
    }

    /// Rows D1 to D5 of the decision table.
    #[test]
    fn directory_rows() {
        let (one, two) = (manifest_name(1), manifest_name(2));
        // D1: nothing was ever published.
        for names in [&[][..], &["LOCK"], &["LOCK", "MANIFEST-0000000000000001.tmp"]] {
            assert_eq!(look(names).unwrap(), DirectoryState::New, "{names:?}");
        }
        // D2: the newest wins, whatever else is there.
        let found = look(&[&two, "wal-0001.log", &one, "notes.txt"]).unwrap();
        assert_eq!(found, DirectoryState::Database { number: 2, replaced: vec![1] });
        // D3: data without a manifest is never a new database.
        assert_eq!(kind(&["LOCK", "0000000000000001.seg"]), ErrorKind::Corruption);
        assert_eq!(kind(&["wal-0001.log"]), ErrorKind::Corruption);
        assert_eq!(kind(&["wal-0001.log", "notes.txt"]), ErrorKind::Corruption);
        // D4: somebody else's directory.
        assert_eq!(kind(&["notes.txt"]), ErrorKind::Invalid);
        assert_eq!(kind(&["LOCK", "MANIFEST-1"]), ErrorKind::Invalid);
        assert_eq!(kind(&["LOCK/"]), ErrorKind::Invalid);
        // D5: a manifest that is no file.
        assert_eq!(kind(&["MANIFEST-0000000000000001/"]), ErrorKind::Corruption);
    }
}
