//! Damage at rest: every byte of every file of a small closed database, every length.
//!
//! Goal: right data or a typed error from open, verify or read; never a panic, never a wrong answer.
//! Method: a copy of the database is damaged in one place, then opened, verified and read in full.

use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind, Result};
use datestone_engine::format::wal_frame::{WAL_FRAME_ALIGN, WAL_FRAME_HEADER_LEN};
use datestone_engine::io::{Fs, MemFs};
use datestone_tests::database::{DIR, damage, open, small_options};
use datestone_tests::seed::{Chance, seed};
use datestone_tests::sweep::Sweep;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const COMMITS: usize = 24;
/// Beyond this many bytes of one file, places are tried at random instead of one by one.
const PLACES_MAX: u64 = 6000;

fn options() -> Options {
    Options { compression: Compression::Cold { level: 3 }, ..small_options() }
}

/// A closed database: a compressed segment, raw ones, and commits that are only in the log.
fn database(sweep: &Sweep) -> MemFs {
    let fs = MemFs::new();
    let db = open(&fs, &options()).unwrap();
    for n in 0..COMMITS {
        sweep.commit(&db, n, Durability::Fsync).unwrap();
        match n {
            8 | 14 | 18 => db.flush().unwrap(),
            15 => db.compact(None).unwrap(),
            _ => {}
        }
    }
    assert!(db.stats().segments >= 4, "{:?}", db.stats());
    db.close().unwrap();
    fs
}

fn files(fs: &MemFs) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = (fs.list(Path::new(DIR)).unwrap().into_iter())
        .filter(|entry| entry.is_file && entry.name != "LOCK")
        .map(|entry| (Path::new(DIR).join(entry.name), entry.len))
        .collect();
    files.sort();
    assert!(files.len() >= 6, "manifest, segments and log: {files:?}");
    files
}

/// What came of a damaged database.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// An error that names the damage.
    Refused,
    /// Everything is there.
    Whole,
    /// A whole prefix of the commits is there.
    Prefix(usize),
}

fn outcome(sweep: &Sweep, fs: &MemFs, what: &str) -> Outcome {
    let tried = catch_unwind(AssertUnwindSafe(|| try_all(sweep, fs, what)));
    match tried.unwrap_or_else(|_| panic!("{what}: panic")) {
        Ok(COMMITS) => Outcome::Whole,
        Ok(count) => Outcome::Prefix(count),
        Err(e) => {
            let kind = e.kind();
            let typed = matches!(kind, ErrorKind::Corruption | ErrorKind::FormatTooNew);
            assert!(typed, "{what}: {kind}: {e}");
            Outcome::Refused
        }
    }
}

fn try_all(sweep: &Sweep, fs: &MemFs, what: &str) -> Result<usize> {
    let db: Db = open(fs, &options())?;
    // Reading before verifying: no error may depend on somebody having verified.
    let read: std::result::Result<Option<String>, Error> = sweep.difference(&db);
    let damage = damage(&db)?;
    if let Some(difference) = read? {
        panic!("{what}: wrong answer: {difference} (verification says {damage:?})");
    }
    let count = sweep.count(&db)?;
    damage.map_or(Ok(count), Err)
}

/// Every place of a file, or as many at random.
fn places(len: u64, chance: &mut Chance) -> Vec<u64> {
    if len <= PLACES_MAX {
        (0..len).collect()
    } else {
        (0..PLACES_MAX).map(|_| chance.below(len)).collect()
    }
}

#[test]
fn every_flipped_byte_is_noticed_or_harmless() {
    let seed = seed("every_flipped_byte");
    let (sweep, mut chance) = (Sweep::new(seed, COMMITS, 5), Chance::new(seed));
    let fs = database(&sweep);
    let mut refused = 0;
    for (path, len) in files(&fs) {
        for offset in places(len, &mut chance) {
            let copy = fs.kill();
            let mask = 1 << chance.below(8);
            copy.flip_bits(&path, offset, mask).unwrap();
            let what = format!("{} byte {offset} of {len} xor {mask:#x}", path.display());
            match outcome(&sweep, &copy, &what) {
                Outcome::Refused => refused += 1,
                Outcome::Whole => {}
                Outcome::Prefix(count) => panic!("{what}: only {count} commits, and no error"),
            }
        }
    }
    assert!(refused > 1000, "damage is noticed: {refused}");
}

#[test]
fn every_truncation_is_noticed_or_harmless() {
    let seed = seed("every_truncation");
    let (sweep, mut chance) = (Sweep::new(seed, COMMITS, 5), Chance::new(seed));
    let fs = database(&sweep);
    for (path, len) in files(&fs) {
        let content = fs.read_file(&path).unwrap();
        for short in places(len, &mut chance) {
            let copy = fs.kill();
            copy.put_file(&path, &content[..short as usize]).unwrap();
            let what = format!("{} cut from {len} to {short} bytes", path.display());
            let outcome = outcome(&sweep, &copy, &what);
            // A log that ends early is what a crash leaves of commits that were not yet
            // acknowledged; nothing else may come out short.
            let log = path.extension().is_some_and(|extension| extension == "log");
            assert!(log || !matches!(outcome, Outcome::Prefix(_)), "{what}: {outcome:?}");
        }
    }
}

#[test]
fn missing_files_and_junk_are_noticed_or_harmless() {
    let seed = seed("missing_files_and_junk");
    let (sweep, mut chance) = (Sweep::new(seed, COMMITS, 5), Chance::new(seed));
    let fs = database(&sweep);
    for (path, len) in files(&fs) {
        let copy = fs.kill();
        copy.remove_file(&path).unwrap();
        let what = format!("{} missing", path.display());
        assert_eq!(outcome(&sweep, &copy, &what), Outcome::Refused, "{what}");

        let content = fs.read_file(&path).unwrap();
        for round in 0..60 {
            let mut junk = content.clone();
            let at = if round % 2 == 0 { junk.len() } else { chance.below(len) as usize };
            let count = 1 + chance.below(600) as usize;
            let zeros = chance.one_in(3);
            let bytes = (0..count).map(|_| if zeros { 0 } else { chance.next_u64() as u8 });
            if at == junk.len() {
                junk.extend(bytes);
            } else {
                for (place, byte) in junk[at..].iter_mut().zip(bytes) {
                    *place = byte;
                }
            }
            let copy = fs.kill();
            copy.put_file(&path, &junk).unwrap();
            let what = format!("{} with {count} bytes of junk at {at} of {len}", path.display());
            let outcome = outcome(&sweep, &copy, &what);
            // Junk over the last commit and the mark of the clean shutdown behind it is what a torn write
            // leaves: there is no whole frame behind it that would know of the commit.
            let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let mark = end.saturating_sub(WAL_FRAME_HEADER_LEN).next_multiple_of(WAL_FRAME_ALIGN);
            let log = path.extension().is_some_and(|extension| extension == "log");
            let torn = log && at < mark && at + count > mark;
            assert!(torn || !matches!(outcome, Outcome::Prefix(_)), "{what}: {outcome:?}");
        }
    }
}
