//! [`salvage`]: what is whole of a damaged database, in a new one.

use datestone_engine::io::Env;
use datestone_engine::salvage::{SalvageOptions, SalvageReport};
use datestone_engine::{error::Result, salvage as engine};
use std::path::Path;

/// Writes every whole piece of the database at `from` to a new one at `to`, which must be missing or
/// empty, and tells what is lost: for databases that are damaged and cannot be opened, or not be read to
/// the end. `from` is only read.
///
/// With a whole manifest the new database is the old one without the blocks and commits that are
/// damaged: a log may have holes, and a deletion that is lost brings back what was deleted. Without one,
/// every segment is taken, and what is in the log goes to collections of its own, `<name>.log`; the
/// report says which it was. Look at the report before the new database takes the place of the old one.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let (path, rescued) = (dir.path().join("data"), dir.path().join("rescued"));
/// let db = datestone::Datestone::open(&path)?;
/// db.typed_table::<str, str>("roles")?.put("alice", "owner")?;
/// db.flush()?;
/// db.close()?;
/// # let segment = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
/// # let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "seg")).max().unwrap();
/// # let mut bytes = std::fs::read(&segment).unwrap();
/// # bytes[0] ^= 1;
/// # std::fs::write(&segment, bytes).unwrap();
/// // The first byte of a segment's file goes bad.
/// assert!(datestone::Datestone::open(&path).is_err());
///
/// let report = datestone::salvage(&path, &rescued)?;
/// assert_eq!((report.damage_count, report.updates_lost), (1, 0));
/// let db = datestone::Datestone::open(&rescued)?;
/// assert_eq!(db.typed_table::<str, str>("roles")?.get("alice")?, Some("owner".to_string()));
/// # Ok::<(), datestone::Error>(())
/// ```
///
/// # Errors
/// `NotFound` when there is no database at `from`; `Locked` when it is open; `AlreadyExists` when there
/// is something at `to`; `FormatTooNew`; `Io` and `NoSpace`. Damage is no error but in the report. After
/// an error what was begun at `to` is no database: remove it.
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<SalvageReport> {
    salvage_with(from, to, &SalvageOptions::default())
}

/// [`salvage`] with options.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let (path, rescued) = (dir.path().join("data"), dir.path().join("rescued"));
/// # datestone::Datestone::open(&path)?.close()?;
/// use datestone::SalvageOptions;
/// let options = SalvageOptions { unchecked_blocks: true, ..SalvageOptions::default() };
/// assert!(datestone::salvage_with(&path, &rescued, &options)?.is_clean());
/// # Ok::<(), datestone::Error>(())
/// ```
///
/// # Errors
/// As [`salvage`].
pub fn salvage_with(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    options: &SalvageOptions,
) -> Result<SalvageReport> {
    engine::salvage(&Env::os(), from.as_ref(), to.as_ref(), options)
}
