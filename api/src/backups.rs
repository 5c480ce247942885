//! [`Backups`]: the backups of a database in a directory.

use crate::{Backup, BackupInfo, BackupReport, Datestone, RemovedBackups, Result};
use datestone_engine::backup as engine;
use datestone_engine::io::Env;
use std::path::Path;

/// The backups of one database in a directory of their own, made by [`Datestone::backup`].
///
/// Segments never change, so each is there once, however many backups it belongs to. Each has a digest
/// of its bytes.
///
/// ```
/// use datestone::{Backups, Datestone};
/// # let dir = tempfile::tempdir().unwrap();
/// let (db_dir, backup_dir) = (dir.path().join("db"), dir.path().join("backups"));
/// let db = Datestone::open(&db_dir)?;
/// let users = db.table("users")?;
/// users.put(b"alice", b"admin")?;
/// db.backup(&backup_dir)?;
/// users.put(b"alice", b"user")?;
/// let second = db.backup(&backup_dir)?;
/// assert_eq!(second.info.number, 2);
///
/// let backups = Backups::open(&backup_dir)?;
/// let restored = dir.path().join("restored");
/// backups.restore(Some(1), &restored)?;
/// let old = Datestone::open(restored)?.table("users")?;
/// assert_eq!(old.get(b"alice")?.as_deref(), Some(&b"admin"[..]));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Backups {
    inner: engine::Backups,
}

impl Datestone {
    /// Adds a backup to those in the directory `path`, which is made when it is missing: of exactly the
    /// commits that were made before the call. Copies, and checks in full, the segments that no backup
    /// there has yet. Commits wait while what is in memory is flushed, not while files are copied. A
    /// backup that is cut off is none, and the next one cleans up after it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// db.table("users")?.put(b"alice", b"admin")?;
    /// let first = db.backup(dir.path().join("backups"))?;
    /// let second = db.backup(dir.path().join("backups"))?;
    /// assert_eq!((first.copied, second.copied), (1, 0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when `path` holds something else, or backups of another database; `Corruption` when a
    /// segment is damaged; `Locked` when somebody else is at work in `path`; `Io`, `NoSpace`,
    /// `Poisoned`.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<Backup> {
        self.db.backup(path.as_ref())
    }
}

impl Backups {
    /// The backups in the directory `path`.
    ///
    /// ```
    /// use datestone::{Backups, ErrorKind};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let missing = Backups::open(dir.path().join("nowhere"));
    /// assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no such directory, `Invalid` when it holds something else, `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { inner: engine::Backups::open(Env::os(), path.as_ref())? })
    }

    /// All backups, oldest first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// db.backup(dir.path().join("backups"))?;
    /// let all = datestone::Backups::open(dir.path().join("backups"))?.list()?;
    /// assert_eq!(all[0].number, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption`, `FormatTooNew`, `Io`, naming the file.
    pub fn list(&self) -> Result<Vec<BackupInfo>> {
        self.inner.list()
    }

    /// Makes a database in the directory `path`, which must be missing or empty, out of a backup, or
    /// out of the latest one with `None`. Every byte is compared with its digest on the way.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// db.backup(dir.path().join("backups"))?;
    /// let backups = datestone::Backups::open(dir.path().join("backups"))?;
    /// backups.restore(None, dir.path().join("restored"))?;
    /// datestone::Datestone::open(dir.path().join("restored"))?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no such backup; `AlreadyExists` when there is something at `path`;
    /// `Corruption` when a file of the backup is damaged. After an error `path` may hold files, but no
    /// database: opening it is refused.
    pub fn restore(&self, number: Option<u64>, path: impl AsRef<Path>) -> Result<BackupInfo> {
        self.inner.restore(number, path.as_ref())
    }

    /// Removes all backups but the latest `count` (at least one stays), and the segments that none of
    /// those needs.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// for _ in 0..3 {
    ///     db.backup(dir.path().join("backups"))?;
    /// }
    /// let backups = datestone::Backups::open(dir.path().join("backups"))?;
    /// assert_eq!(backups.keep_latest(1)?.backups, 2);
    /// assert_eq!(backups.list()?[0].number, 3);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Locked` when somebody else is at work there; `Corruption` when a backup that stays cannot be
    /// read: then nothing is removed; `Io`.
    pub fn keep_latest(&self, count: usize) -> Result<RemovedBackups> {
        self.inner.keep_latest(count)
    }

    /// Reads every file of every backup and compares it with its digest.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// db.backup(dir.path().join("backups"))?;
    /// let report = datestone::Backups::open(dir.path().join("backups"))?.verify()?;
    /// assert!(report.damage.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io` when a file cannot be read. What is damaged or gone is in the report.
    pub fn verify(&self) -> Result<BackupReport> {
        self.inner.verify()
    }
}
