//! A damaged directory of backups: listing, checking, restoring and going on with it gives errors or
//! whole databases.

use crate::base::every_kind;
use crate::damage::{Harm, damage_named};
use crate::session::{DIR, options};
use arbitrary::{Arbitrary, Unstructured};
use datestone_engine::backup::Backups;
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::format::backup_file::BackupFile;
use datestone_engine::io::{Env, Fs, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::verify::VerifyDepth;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// Where the database is that is backed up once more, and where backups are restored to.
const LIVE: &str = "/live";
/// Length of the checksum at the end of a backup's file.
const CRC_LEN: usize = 4;

/// Rows of each collection, by name.
type Contents = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>, i64)>>;

/// A database that was backed up a few times.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The backups in [`DIR`].
    pub(crate) backups: MemFs,
    /// The database in [`DIR`].
    db: MemFs,
    /// What each backup holds, by number.
    contents: BTreeMap<u64, Contents>,
}

/// See the module.
pub fn backup(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(choice) = u8::arbitrary(&mut bytes) else { return };
    if choice == u8::MAX {
        return file(bytes.take_rest());
    }
    let fs = taken().backups.kill();
    let harm = damage_named(&fs, &mut bytes, |_| true, backup_name);
    restore_all(&fs, harm);
    go_on(&fs, usize::from(choice));
}

/// The bytes as a backup's file.
fn file(data: &[u8]) {
    let Ok(Ok(decoded)) = BackupFile::decode(data) else { return };
    let again = decoded.encode().expect("it was within the limits");
    // A fuzzer's checksums count as right whatever they are.
    let is_same = |range: std::ops::Range<usize>| again.get(range.clone()) == data.get(range);
    let header = datestone_engine::format::backup_file::BACKUP_HEADER_LEN;
    assert_eq!(again.len(), data.len(), "a backup's file has one encoding");
    assert!(is_same(0..header - CRC_LEN) && is_same(header..data.len() - CRC_LEN));
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).expect("a new directory");
    let name = format!("BACKUP-{:016x}", decoded.number);
    fs.put_file(Path::new(DIR).join(name), data).expect("a good name");
    restore_all(&fs, Harm::Any);
}

/// Names that a file among backups may have.
fn backup_name(number: u8) -> String {
    match number % 4 {
        0 | 1 => format!("BACKUP-{:016x}", number / 4),
        2 => format!("{number:032x}-{number:016x}-{number:x}-{number:08x}.seg"),
        _ => format!("BACKUP-{number:016x}.tmp"),
    }
}

/// Four backups of a database of all kinds, taken while it grew.
pub(crate) fn taken() -> &'static Taken {
    static TAKEN: OnceLock<Taken> = OnceLock::new();
    TAKEN.get_or_init(|| {
        let mut states = BTreeMap::new();
        let place = Path::new("/backups");
        let db = every_kind(|db, round| {
            if round % 3 == 2 {
                let taken = db.backup(place).expect("nothing fails");
                states.insert(taken.info.number, contents(db).expect("nothing is damaged"));
            }
        });
        let backups = MemFs::new();
        backups.create_dir(Path::new(DIR)).expect("a new directory");
        for entry in db.list(place).expect("it is there").into_iter().filter(|e| e.name != "LOCK") {
            let content = db.read_file(place.join(&entry.name)).expect("it was listed");
            backups.put_file(Path::new(DIR).join(&entry.name), &content).expect("a good name");
        }
        Taken { backups, db, contents: states }
    })
}

fn open(fs: &MemFs) -> Result<Backups, Error> {
    Backups::open(Env::memory(fs.clone()), Path::new(DIR))
}

/// Lists, checks and restores; what comes back without an error is what was backed up.
fn restore_all(fs: &MemFs, harm: Harm) {
    let Ok(backups) = open(fs) else {
        assert!(harm == Harm::Any, "only another file makes it no place for backups");
        return;
    };
    let report = backups.verify().expect("nothing fails");
    assert!(harm != Harm::None || report.damage.is_empty(), "{:?}", report.damage);
    let listed = backups.list();
    assert!(harm != Harm::None || listed.is_ok(), "{:?}", listed.err());
    for number in numbers(fs) {
        let to = format!("/restored-{number}");
        let restored = backups.restore(Some(number), Path::new(&to));
        match restored {
            Ok(info) => {
                assert_eq!(info.number, number);
                restored_whole(fs, &to, number);
            }
            Err(e) => {
                assert_damage(&e);
                assert!(!report.damage.is_empty(), "a check tells of what cannot be restored: {e}");
                assert!(!has_manifest(fs, &to), "{to} is no database");
            }
        }
    }
}

fn numbers(fs: &MemFs) -> Vec<u64> {
    let entries = fs.list(Path::new(DIR)).unwrap_or_default();
    let number = |name: &str| u64::from_str_radix(name.strip_prefix("BACKUP-")?, 16).ok();
    entries.iter().filter_map(|entry| number(entry.name.to_str()?)).collect()
}

fn has_manifest(fs: &MemFs, dir: &str) -> bool {
    let entries = fs.list(Path::new(dir)).unwrap_or_default();
    entries.iter().any(|e| e.name.to_str().is_some_and(|name| name.starts_with("MANIFEST-")))
}

/// Opens what was restored; it is what the backup holds, unless checksums count as right.
fn restored_whole(fs: &MemFs, dir: &str, number: u64) {
    let db = Db::open(Env::memory(fs.clone()), Path::new(dir), options());
    if cfg!(fuzzing) {
        let _ = db.map(|db| contents(&db).map(drop).and_then(|()| db.close()));
        return;
    }
    let db = db.unwrap_or_else(|e| panic!("backup {number} opens: {e}"));
    let verified = db.verify(VerifyDepth::Full, |_, _| {}).expect("nothing fails");
    assert!(verified.is_clean(), "{:?}", verified.damage);
    let found = contents(&db).expect("nothing is damaged");
    assert!(taken().contents.get(&number) == Some(&found), "backup {number} holds something else");
    db.close().expect("nothing fails");
}

/// Removes all but the latest ones, and takes one more.
fn go_on(fs: &MemFs, count: usize) {
    let Ok(backups) = open(fs) else { return };
    if let Err(e) = backups.keep_latest(count % 5) {
        assert_damage(&e);
    }
    // The database that was backed up, beside its backups.
    fs.create_dir(Path::new(LIVE)).expect("a new directory");
    for name in crate::base::Base::names(&taken().db) {
        let content = taken().db.read_file(Path::new(DIR).join(&name)).expect("it was listed");
        fs.put_file(Path::new(LIVE).join(&name), &content).expect("a good name");
    }
    let db = Db::open(Env::memory(fs.clone()), Path::new(LIVE), options()).expect("it is whole");
    match db.backup(Path::new(DIR)) {
        // What was damaged and is shared by the new one cannot be restored: a check tells.
        Ok(taken) => {
            let report = backups.verify().expect("nothing fails");
            let restored = backups.restore(Some(taken.info.number), Path::new("/last"));
            assert!(restored.is_ok() || !report.damage.is_empty(), "{:?}", restored.err());
            if restored.is_ok() && !cfg!(fuzzing) {
                let env = Env::memory(fs.clone());
                let last = Db::open(env, Path::new("/last"), options()).expect("it is whole");
                assert_eq!(
                    contents(&last).expect("nothing is damaged"),
                    contents(&db).expect("nor here")
                );
            }
        }
        Err(e) => assert_damage(&e),
    }
}

fn assert_damage(e: &Error) {
    let kind = e.kind();
    let is_damage =
        matches!(kind, ErrorKind::Corruption | ErrorKind::FormatTooNew | ErrorKind::Invalid);
    assert!(is_damage, "{e}");
}

/// The latest rows of every collection.
fn contents(db: &Db) -> Result<Contents, Error> {
    let mut contents = Contents::new();
    for collection in db.collections() {
        let description = &collection.collection.description;
        let found = contents.entry(description.name.to_string()).or_default();
        let Ok(snapshot) = db.latest(description.id) else { continue };
        let mut rows = snapshot.rows(RangeSpec::ALL);
        while let Some(row) = rows.next()? {
            found.push((row.key.to_vec(), row.val.to_vec(), row.diff));
        }
    }
    Ok(contents)
}
