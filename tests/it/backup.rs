//! Backups hold whole commits, share the segments that have not changed, and survive power cuts and
//! damage: each backup that can be read restores what it was taken of, or says that it does not.

use datestone::{Backups as PublicBackups, Datestone, ErrorKind, Options};
use datestone_engine::backup::Backups;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::Result;
use datestone_engine::io::{CrashPlan, Env, FaultOp, Fs, MemFs};
use datestone_engine::limits;
use datestone_engine::types::{Frontier, Kind, Update};
use datestone_tests::database::{Whole, open, small_options, whole};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const REPO: &str = "/backups";
const RESTORED: &str = "/restored";

fn repo(fs: &MemFs) -> Result<Backups> {
    Backups::open(Env::memory(fs.clone()), Path::new(REPO))
}

/// What a restored backup holds.
fn restored(fs: &MemFs, number: u64) -> Result<Vec<Whole>> {
    for entry in fs.list(Path::new(RESTORED)).unwrap_or_default() {
        fs.remove_file(&Path::new(RESTORED).join(entry.name)).unwrap();
    }
    repo(fs)?.restore(Some(number), Path::new(RESTORED))?;
    let options = Options { create_if_missing: false, ..small_options() };
    let db = Db::open(Env::memory(fs.clone()), Path::new(RESTORED), options)?;
    whole(&db)
}

/// A little of every kind; the same for the same `round`.
fn write(db: &Db, round: u64) {
    let make = |kind, name: &str| db.create_or_load(kind, name, b"meta").unwrap();
    let (set, table, log) =
        (make(Kind::Multiset, "set"), make(Kind::ClockTable, "table"), make(Kind::Log, "log"));
    let mut commit = Commit::new();
    let mut batch = commit.append(set.id, "set");
    for n in 0..40_u64 {
        let key = (round * 100 + n).to_be_bytes();
        batch.push(Update { key: &key, val: &[7; 60], ts: round, diff: 1 }).unwrap();
    }
    batch.finish().unwrap();
    commit.advance_upper(set.id, Frontier::at(round + 1)).unwrap();
    let mut puts = commit.puts(&table).unwrap();
    puts.put(b"round", &round.to_be_bytes(), None).unwrap();
    puts.finish();
    let mut events = commit.events(&log, None).unwrap();
    events.push(Some(&round.to_be_bytes()), b"event").unwrap();
    events.finish();
    db.commit(commit, Durability::Fsync).unwrap();
}

#[test]
fn a_backup_is_what_a_checkpoint_of_the_same_moment_is() {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    let mut wanted = Vec::new();
    for round in 0..6 {
        write(&db, round);
        if round % 2 == 0 {
            db.compact(None).unwrap();
        }
        let taken = db.backup(Path::new(REPO)).unwrap();
        assert_eq!(taken.info.number, round + 1);
        let checkpoint = format!("/checkpoint-{round}");
        let made = db.checkpoint(Path::new(&checkpoint)).unwrap();
        assert_eq!((taken.info.seqno, &taken.info.uppers), (made.seqno, &made.uppers));
        let copy = Db::open(Env::memory(fs.clone()), Path::new(&checkpoint), small_options());
        wanted.push(whole(&copy.unwrap()).unwrap());
    }
    let again = db.backup(Path::new(REPO)).unwrap();
    assert_eq!((again.copied, again.copied_bytes), (0, 0), "nothing has changed");
    for (number, wanted) in (1..).zip(&wanted) {
        assert_eq!(&restored(&fs, number).unwrap(), wanted, "backup {number}");
    }
    let backups = repo(&fs).unwrap();
    assert_eq!(backups.list().unwrap().len(), 7);
    let report = backups.verify().unwrap();
    assert!(report.damage.is_empty() && report.segments > 5);
    // What is kept needs what it shared with what goes.
    let removed = backups.keep_latest(2).unwrap();
    assert!(removed.backups == 5 && removed.segments > 0 && removed.bytes > 0);
    assert_eq!(&restored(&fs, 6).unwrap(), wanted.last().unwrap());
    assert_eq!(restored(&fs, 5).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(backups.verify().unwrap().segments < report.segments);
    assert_eq!(backups.keep_latest(0).unwrap().backups, 1, "one stays");
    assert_eq!(backups.keep_latest(usize::MAX).unwrap().backups, 0);
}

#[test]
fn backups_go_nowhere_where_something_else_is() {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    write(&db, 0);
    let own = db.backup(Path::new(datestone_tests::database::DIR)).unwrap_err();
    assert_eq!(own.kind(), ErrorKind::Invalid);
    db.backup(Path::new(REPO)).unwrap();
    let other = Db::open(Env::memory(fs.clone()), Path::new("/other"), small_options()).unwrap();
    write(&other, 0);
    assert_eq!(other.backup(Path::new(REPO)).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(repo(&fs).unwrap().list().unwrap().len(), 1);
    let taken = repo(&fs).unwrap().restore(None, Path::new("/other"));
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    // A damaged segment is not backed up.
    write(&db, 1);
    db.flush().unwrap();
    let newest = fs.list(Path::new(datestone_tests::database::DIR)).unwrap();
    let newest = newest.iter().map(|entry| entry.name.to_string_lossy().into_owned());
    let newest = newest.filter(|name| name.ends_with(".seg")).max().unwrap();
    let path = Path::new(datestone_tests::database::DIR).join(newest);
    fs.flip_bits(&path, 200, 1).unwrap();
    let fs = fs.kill();
    let db = open(&fs, &small_options()).unwrap();
    assert_eq!(db.backup(Path::new(REPO)).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(repo(&fs).unwrap().list().unwrap().len(), 1);
}

fn plans(cut: u64) -> impl Iterator<Item = CrashPlan> {
    let random = (0..10).map(move |n| CrashPlan::Random(100 * cut + n));
    [CrashPlan::LoseUnsynced, CrashPlan::KeepAll].into_iter().chain(random)
}

/// Goal: a power cut or a failure at any change leaves the source and the backups before whole, and
/// the new backup whole or not there; the next one works. Method: each change of a backup, and of a
/// removal, fails for ever, then the power goes.
#[test]
fn a_power_cut_leaves_whole_backups() {
    let prepared = || {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        write(&db, 0);
        db.backup(Path::new(REPO)).unwrap();
        let first = whole(&db).unwrap();
        write(&db, 1);
        let second = whole(&db).unwrap();
        (fs, db, [first, second])
    };
    let (mut there, mut gone) = (0, 0);
    for cut in 1.. {
        let (fs, db, wanted) = prepared();
        fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = db.backup(Path::new(REPO));
        for plan in plans(cut) {
            let after = fs.crash(plan);
            let source = open(&after, &small_options()).unwrap();
            assert_eq!(whole(&source).unwrap(), wanted[1], "source, cut {cut}, {plan:?}");
            assert_eq!(restored(&after, 1).unwrap(), wanted[0], "cut {cut}, {plan:?}");
            match restored(&after, 2) {
                Ok(found) => {
                    assert_eq!(found, wanted[1], "cut {cut}, {plan:?}");
                    there += 1;
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::NotFound, "cut {cut}, {plan:?}: {e}");
                    assert!(done.is_err(), "a backup that was taken is gone: cut {cut}, {plan:?}");
                    gone += 1;
                }
            }
            let next = source.backup(Path::new(REPO)).unwrap().info.number;
            assert_eq!(restored(&after, next).unwrap(), wanted[1]);
            assert!(repo(&after).unwrap().verify().unwrap().damage.is_empty());
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(there >= 3 && gone > 10, "{there} there, {gone} gone");
    for cut in 1.. {
        let (fs, db, wanted) = prepared();
        db.compact(None).unwrap();
        db.backup(Path::new(REPO)).unwrap();
        fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = repo(&fs).unwrap().keep_latest(1);
        for plan in plans(cut) {
            let after = fs.crash(plan);
            assert_eq!(restored(&after, 2).unwrap(), wanted[1], "cut {cut}, {plan:?}");
            match restored(&after, 1) {
                Ok(found) => assert_eq!(found, wanted[0], "cut {cut}, {plan:?}"),
                Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "cut {cut}, {plan:?}: {e}"),
            }
            repo(&after).unwrap().keep_latest(1).unwrap();
            assert_eq!(restored(&after, 2).unwrap(), wanted[1], "cut {cut}, {plan:?}");
        }
        if done.is_ok() {
            break;
        }
    }
}

/// Goal: no damage of a backup goes unnoticed, neither when it is restored nor when it is checked.
#[test]
fn every_damaged_byte_is_noticed() {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    write(&db, 0);
    db.backup(Path::new(REPO)).unwrap();
    let wanted = whole(&db).unwrap();
    for entry in fs.list(Path::new(REPO)).unwrap() {
        if entry.name == "LOCK" {
            continue;
        }
        let path = Path::new(REPO).join(&entry.name);
        for at in (0..entry.len).step_by(23).chain([entry.len - 1]) {
            fs.flip_bits(&path, at, 4).unwrap();
            let told = restored(&fs, 1).unwrap_err();
            let is_told = matches!(told.kind(), ErrorKind::Corruption | ErrorKind::FormatTooNew);
            assert!(is_told, "{path:?}, byte {at}: {told}");
            assert_eq!(repo(&fs).unwrap().verify().unwrap().damage.len(), 1, "{path:?}, byte {at}");
            // No database is made of it.
            let made = fs.list(Path::new(RESTORED)).unwrap_or_default();
            assert!(made.iter().all(|e| !e.name.to_string_lossy().starts_with("MANIFEST")));
            fs.flip_bits(&path, at, 4).unwrap();
        }
    }
    assert_eq!(restored(&fs, 1).unwrap(), wanted);
    // A backup whose segment was lost is damaged too, and the next backup has it again.
    for entry in fs.list(Path::new(REPO)).unwrap() {
        if entry.name.to_string_lossy().ends_with(".seg") {
            fs.remove_file(&Path::new(REPO).join(entry.name)).unwrap();
        }
    }
    assert!(!repo(&fs).unwrap().verify().unwrap().damage.is_empty());
    // (Restoring said `Io` once, as though the device were to blame; found by the fuzz target `backup`.)
    assert_eq!(restored(&fs, 1).unwrap_err().kind(), ErrorKind::Corruption);
    assert!(db.backup(Path::new(REPO)).unwrap().copied > 0);
    assert_eq!(restored(&fs, 2).unwrap(), wanted);
}

/// Goal: backups beside commits and merges hold whole commits.
#[test]
fn backups_hold_whole_commits_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        durability: Durability::Buffer,
        ..Options::default()
    };
    let db = Datestone::open_with(dir.path().join("db"), options()).unwrap();
    let table = |db: &Datestone, name: &str| db.typed_table::<u64, u64>(name).unwrap();
    let (a, b) = (table(&db, "a"), table(&db, "b"));
    let stop = AtomicBool::new(false);
    let path = dir.path().join("backups");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                db.commit().put(&a, &(n % 50), &n).put(&b, &(n % 50), &n).run().unwrap();
            }
        });
        for _ in 0..10 {
            db.backup(&path).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let backups = PublicBackups::open(&path).unwrap();
    for info in backups.list().unwrap() {
        let restored = dir.path().join(format!("restored-{}", info.number));
        backups.restore(Some(info.number), &restored).unwrap();
        let copy = Datestone::open_with(restored, options()).unwrap();
        let rows = |name: &str| {
            let rows = table(&copy, name).latest().unwrap().iter().map(|row| row.unwrap());
            rows.collect::<Vec<_>>()
        };
        assert_eq!(rows("a"), rows("b"), "backup {}", info.number);
    }
}
