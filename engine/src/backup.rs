//! Backups: a directory of its own that keeps states of one database, each segment once.
//!
//! Segments never change, so a backup copies those that no backup before it has, and writes down which
//! segments belong to it, with a digest of each, and the manifest's state. A backup holds exactly the
//! commits up to one, as a checkpoint does, and needs no log.
//!
//! ```text
//! BACKUP-<number>                        what belongs to a backup; see FORMAT.md
//! <uuid>-<segment>-<length>-<crc>.seg    a segment, shared by backups
//! LOCK                                   who takes or removes backups
//! ```
//!
//! # Invariants
//! 1. A backup's file gets its name when every segment that it names is durable under its own.
//! 2. A segment is taken to be there only if a readable backup names it: then its digest is known.
//! 3. A segment is removed only after, durably, no backup names it.
//! 4. Nothing damaged is backed up: a segment is checked in full before it is copied.
//! 5. Names are made from numbers; nothing that a file says becomes a path.
//!
//! # Crash behaviour
//! A backup is there wholly or not at all; what a cut leaves behind is copied again or removed by the
//! next one. A restored directory is no database before its manifest gets its name, which is last.

use crate::checkpoint::{Captured, Copied, copy, make_dir, read_through, uppers};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup_file::{BACKUP_FILE_LEN_MAX, BACKUP_FORMAT_VERSION, BackupFile, TooNew};
use crate::format::manifest_edit::Edit;
use crate::io::{DirEntry, Env, LockOwner, OpenMode};
use crate::manifest::{self, ManifestState};
use crate::planted::{Bug, planted};
use crate::segment::{Segment, SegmentDepth, segment_file_name};
use crate::types::{Frontier, SegmentId, SegmentMeta, SeqNo};
use crate::wal;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PREFIX: &str = "BACKUP-";
const LOCK: &str = "LOCK";
const TEMPORARY: &str = ".tmp";
const SEGMENT: &str = ".seg";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// Its number: later ones have greater numbers.
    pub number: u64,
    /// When it was taken, in Unix seconds.
    pub taken: u64,
    /// The last commit that it holds.
    pub seqno: u64,
    /// Its collections, by name, with their uppers.
    pub uppers: Vec<(String, Frontier)>,
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// What it holds.
    pub info: BackupInfo,
    /// Segments that were copied; the others were there.
    pub copied: u64,
    /// Bytes of them.
    pub copied_bytes: u64,
}

/// What removing backups has freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedBackups {
    /// Backups.
    pub backups: u64,
    /// Segments that no other backup needs.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// What a check of backups found.
#[derive(Clone, Debug, Default)]
pub struct BackupReport {
    /// Backups.
    pub backups: u64,
    /// Segments, each read once.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// What is damaged or missing, each naming a file.
    pub damage: Vec<Error>,
}

/// The backups in a directory.
#[derive(Clone, Debug)]
pub struct Backups {
    env: Env,
    dir: PathBuf,
}

/// A backup's file that was read.
struct Known {
    file: BackupFile,
    state: ManifestState,
}

impl Backups {
    /// The backups in `dir`.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory, `Invalid` when it holds something else.
    pub fn open(env: Env, dir: &Path) -> Result<Self> {
        let backups = Self { env, dir: dir.into() };
        backups.numbers()?;
        Ok(backups)
    }

    /// All backups, oldest first.
    ///
    /// # Errors
    /// `Corruption` or `FormatTooNew`, naming the file.
    pub fn list(&self) -> Result<Vec<BackupInfo>> {
        self.numbers()?.into_iter().map(|number| Ok(self.read(number)?.info())).collect()
    }

    /// Makes a database in `to`, which must be missing or empty, out of the backup `number`, or the
    /// latest one. Every byte is compared with its digest.
    ///
    /// # Errors
    /// `NotFound` when there is no such backup, `AlreadyExists` when there is something in `to`,
    /// `Corruption` when a file is damaged: then there is no database in `to`.
    pub fn restore(&self, number: Option<u64>, to: &Path) -> Result<BackupInfo> {
        let numbers = self.numbers()?;
        let found = match number {
            None => numbers.last(),
            Some(number) => numbers.get(&number),
        };
        let Some(&number) = found else {
            let which = number.map_or("a backup".to_string(), |number| format!("backup {number}"));
            return Err(Error::NotFound { what: format!("{which} in {}", self.dir.display()) });
        };
        let known = self.read(number)?;
        let fs = &self.env.fs;
        make_dir(fs, to)?;
        for (meta, digest) in known.segments() {
            let from = self.segment_path(known.file.db_uuid, meta);
            let copied = copy(fs, &from, &to.join(segment_file_name(meta.id)));
            let copied = copied.map_err(|e| gone_is_damage(e, &from))?;
            check_digest(&from, meta, digest, copied)?;
        }
        let flushed = known.state.flushed_seqno();
        if flushed > SeqNo(0) {
            wal::create_first(fs, to, known.file.db_uuid, flushed.next())?;
        }
        fs.sync_dir(to).map_err(|e| Error::io("syncing directory", to, e))?;
        manifest::publish_first(Arc::clone(fs), to, &known.state)?;
        Ok(known.info())
    }

    /// Removes all backups but the latest `count`, at least one, and the segments that no other one
    /// needs.
    ///
    /// # Errors
    /// `Locked` when somebody else takes or removes backups; `Corruption` when one that stays cannot be
    /// read: then nothing is removed.
    pub fn keep_latest(&self, count: usize) -> Result<RemovedBackups> {
        let _lock = self.lock()?;
        let mut numbers = self.numbers()?;
        let stay =
            numbers.split_off(&numbers.iter().rev().nth(count.max(1) - 1).copied().unwrap_or(0));
        let mut needed = BTreeSet::new();
        for number in stay {
            let known = self.read(number)?;
            let uuid = known.file.db_uuid;
            needed.extend(known.segments().map(|(meta, _)| segment_name(uuid, meta)));
        }
        let mut removed = RemovedBackups { backups: numbers.len() as u64, ..Default::default() };
        for number in &numbers {
            self.remove(&backup_name(*number))?;
        }
        self.sync()?; // I3
        for entry in self.entries()? {
            let name = entry.name.to_string_lossy();
            if name.ends_with(SEGMENT) && !needed.contains(name.as_ref()) {
                self.remove(&name)?;
                removed.segments += 1;
                removed.bytes += entry.len;
            }
        }
        Ok(removed)
    }

    /// Reads every file and compares it with its digest.
    ///
    /// # Errors
    /// `Io` when a file cannot be read; what is damaged is in the report.
    pub fn verify(&self) -> Result<BackupReport> {
        let mut report = BackupReport::default();
        let mut seen = BTreeMap::new();
        for number in self.numbers()? {
            report.backups += 1;
            let known = match self.read(number) {
                Err(e) if is_damage(&e) => {
                    report.damage.push(e);
                    continue;
                }
                read => read?,
            };
            for (meta, digest) in known.segments() {
                let path = self.segment_path(known.file.db_uuid, meta);
                if seen.insert(path.clone(), digest) == Some(digest) {
                    continue;
                }
                report.segments += 1;
                report.bytes += meta.file_len;
                match self.digest(&path).and_then(|found| check_digest(&path, meta, digest, found))
                {
                    Err(e) if is_damage(&e) => report.damage.push(e),
                    checked => checked?,
                }
            }
        }
        Ok(report)
    }

    /// Backs up what was captured.
    pub(crate) fn take(env: Env, dir: &Path, captured: &Captured) -> Result<Backup> {
        let backups = Self { env, dir: dir.into() };
        match backups.env.fs.exists(dir) {
            Ok(true) => {}
            Ok(false) => make_dir(&backups.env.fs, dir)?,
            Err(e) => return Err(Error::io("looking for", dir, e)),
        }
        let numbers = backups.numbers()?;
        let _lock = backups.lock()?;
        let uuid = captured.state.uuid();
        let digests = backups.digests(uuid, &numbers)?;
        backups.remove_temporaries()?;
        let mut segments: Vec<&Arc<Segment>> = captured.segments.iter().collect();
        segments.sort_by_key(|segment| segment.meta().id);
        let mut file = BackupFile {
            db_uuid: uuid,
            number: numbers.last().map_or(1, |last| last.saturating_add(1)),
            taken: backups.env.clock.unix_seconds(),
            segments: Vec::new(),
            state: captured.state.encoded()?,
        };
        let (mut copied, mut copied_bytes) = (0, 0);
        for segment in segments {
            let name = segment_name(uuid, segment.meta());
            let digest = match digests.get(&name) {
                Some(digest) => *digest,
                None => {
                    copied += 1;
                    copied_bytes += segment.meta().file_len;
                    backups.add(segment, &name)?
                }
            };
            file.segments.push((segment.meta().id, digest));
        }
        backups.sync()?; // I1
        let bytes = file.encode().map_err(|e| Error::Internal { what: e.what })?;
        backups.publish(&backup_name(file.number), &bytes)?;
        let info = Known { file, state: captured.state.clone() }.info();
        Ok(Backup { info, copied, copied_bytes })
    }

    /// Copies a segment, checked, under its final name; its digest.
    fn add(&self, segment: &Segment, name: &str) -> Result<u128> {
        segment.verify(SegmentDepth::Full, &mut |_| {})?; // I4
        let temporary = self.dir.join(format!("{name}{TEMPORARY}"));
        let copied = copy(&self.env.fs, segment.path(), &temporary)?;
        self.rename(&temporary, name)?;
        Ok(copied.digest)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = self.dir.join(format!("{name}{TEMPORARY}"));
        let failed = |what| {
            let temporary = temporary.clone();
            move |e| Error::io(what, &temporary, e)
        };
        let file = self.env.fs.open(&temporary, OpenMode::CreateNew).map_err(failed("creating"))?;
        file.write_all_at(bytes, 0).map_err(failed("writing"))?;
        file.sync().map_err(failed("syncing"))?;
        self.rename(&temporary, name)?;
        self.sync()
    }

    fn rename(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.dir.join(name);
        self.env.fs.rename(from, &to).map_err(|e| Error::io("renaming to", &to, e))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        self.env.fs.remove_file(&path).map_err(|e| Error::io("removing", &path, e))
    }

    fn sync(&self) -> Result<()> {
        if planted(Bug::BackupNameUnsynced) {
            return Ok(());
        }
        self.env.fs.sync_dir(&self.dir).map_err(|e| Error::io("syncing directory", &self.dir, e))
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        LockOwner::take(&self.env, &self.dir.join(LOCK))
    }

    fn entries(&self) -> Result<Vec<DirEntry>> {
        self.env.fs.list(&self.dir).map_err(|e| match e.kind() {
            IoErrorKind::NotFound => {
                Error::NotFound { what: format!("backups in {}", self.dir.display()) }
            }
            _ => Error::io("listing directory", &self.dir, e),
        })
    }

    /// The numbers of the backups.
    fn numbers(&self) -> Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for entry in self.entries()? {
            let name = entry.name.to_string_lossy();
            if let Some(number) = parse_backup_name(&name).filter(|_| entry.is_file) {
                numbers.insert(number);
            } else if !(entry.is_file
                && (name == LOCK
                    || parse_segment_name(&name)
                    || name.strip_suffix(TEMPORARY).is_some_and(is_ours)))
            {
                let what = format!("{} is no place for backups: it has {name}", self.dir.display());
                return Err(Error::invalid(what));
            }
        }
        Ok(numbers)
    }

    fn remove_temporaries(&self) -> Result<()> {
        for entry in self.entries()? {
            let name = entry.name.to_string_lossy();
            if name.ends_with(TEMPORARY) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The digests of the segments that are there, by name (I2).
    fn digests(&self, uuid: u128, numbers: &BTreeSet<u64>) -> Result<BTreeMap<String, u128>> {
        let mut digests = BTreeMap::new();
        for number in numbers {
            let known = match self.read(*number) {
                // A check tells of it; what only it names is copied again.
                Err(e) if e.kind() == ErrorKind::Corruption => continue,
                read => read?,
            };
            if known.file.db_uuid != uuid {
                let dir = self.dir.display();
                let what = format!("{dir} has backups of another database; choose another place");
                return Err(Error::invalid(what));
            }
            let names = known.segments().map(|(meta, digest)| (segment_name(uuid, meta), digest));
            digests.extend(names);
        }
        // A segment that somebody has removed is copied again.
        let there: BTreeSet<String> = self
            .entries()?
            .into_iter()
            .map(|entry| entry.name.to_string_lossy().into_owned())
            .collect();
        digests.retain(|name, _| there.contains(name));
        Ok(digests)
    }

    fn segment_path(&self, uuid: u128, meta: &SegmentMeta) -> PathBuf {
        self.dir.join(segment_name(uuid, meta))
    }

    /// Reads what belongs to a backup.
    fn read(&self, number: u64) -> Result<Known> {
        let path = self.dir.join(backup_name(number));
        let failed = |e| Error::io("reading", &path, e);
        let file = self.env.fs.open(&path, OpenMode::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        if len > BACKUP_FILE_LEN_MAX {
            return Err(Error::corruption(&path, 0, format!("a backup's file of {len} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let decoded = BackupFile::decode(&bytes).map_err(|e| e.in_file(&path, 0))?;
        let file = decoded.map_err(|TooNew(found)| {
            let (file, max) = (path.as_path().into(), BACKUP_FORMAT_VERSION);
            Error::FormatTooNew { file, found, max }
        })?;
        let odd = |what: String| Error::corruption(&path, 0, what);
        if file.number != number {
            return Err(odd(format!("it says backup {}, its name {number}", file.number)));
        }
        let edit = Edit::decode(&file.state).map_err(|e| odd(format!("its state: {}", e.what)))?;
        let mut state = ManifestState::new(file.db_uuid);
        state.apply(&edit).map_err(|e| odd(format!("its state: {e}")))?;
        let live: BTreeSet<SegmentId> = state.live_segments().map(|(_, meta)| meta.id).collect();
        if !live.iter().eq(file.segments.iter().map(|(id, _)| id)) {
            return Err(odd("its segments are not those of its state".into()));
        }
        Ok(Known { file, state })
    }

    fn digest(&self, path: &Path) -> Result<Copied> {
        let file = self.env.fs.open(path, OpenMode::Read);
        let file = file.map_err(|e| gone_is_damage(Error::io("opening", path, e), path))?;
        read_through(&*file, path, |_, _| Ok(()))
    }
}

impl Known {
    /// The segments with their digests.
    fn segments(&self) -> impl Iterator<Item = (&SegmentMeta, u128)> {
        let digests: BTreeMap<SegmentId, u128> = self.file.segments.iter().copied().collect();
        self.state
            .live_segments()
            .filter_map(move |(_, meta)| Some((meta, *digests.get(&meta.id)?)))
    }

    fn info(&self) -> BackupInfo {
        BackupInfo {
            number: self.file.number,
            taken: self.file.taken,
            seqno: self.state.flushed_seqno().0,
            uppers: uppers(&self.state),
            segments: self.file.segments.len() as u64,
            bytes: self.state.live_segments().map(|(_, meta)| meta.file_len).sum(),
        }
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corruption | ErrorKind::FormatTooNew)
}

/// A file that a backup names and that is not there is damage of the backup.
fn gone_is_damage(error: Error, file: &Path) -> Error {
    match &error {
        Error::Io { path, source, .. }
            if path == file && source.kind() == IoErrorKind::NotFound =>
        {
            Error::corruption(file, 0, "the file is gone")
        }
        _ => error,
    }
}

fn check_digest(path: &Path, meta: &SegmentMeta, digest: u128, found: Copied) -> Result<()> {
    if found.len != meta.file_len {
        let what = format!("{} bytes, {} were backed up", found.len, meta.file_len);
        return Err(Error::corruption(path, found.len.min(meta.file_len), what));
    }
    if found.digest != digest {
        let what = format!("its digest is {:032x}, {digest:032x} expected", found.digest);
        return Err(Error::corruption(path, 0, what));
    }
    Ok(())
}

fn backup_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

fn parse_backup_name(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?;
    (backup_name(number) == name).then_some(number)
}

fn segment_name(uuid: u128, meta: &SegmentMeta) -> String {
    let SegmentMeta { id, file_len, trailer_crc, .. } = meta;
    format!("{uuid:032x}-{:016x}-{file_len:x}-{trailer_crc:08x}{SEGMENT}", id.0)
}

/// Whether a name is one of a segment in a backup.
fn parse_segment_name(name: &str) -> bool {
    let Some(parts) = name.strip_suffix(SEGMENT) else { return false };
    parts.split('-').count() == 4
        && parts.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn is_ours(name: &str) -> bool {
    parse_backup_name(name).is_some() || parse_segment_name(name)
}
