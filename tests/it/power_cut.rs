//! A power cut, or a failure, at every single change of the file system.
//!
//! Goal: whatever the moment, the next open succeeds and finds a whole prefix of the commits, with
//! everything acknowledged in it. Method: the workload of [`Sweep`] with flushes and compactions
//! runs on a file system whose n-th change fails, for n = 1, 2, .. until it passes unharmed; then
//! the file system loses what was not synced, in several ways, and is opened again.

use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind, Result};
use datestone_engine::io::{CrashPlan, FaultOp, MemFs};
use datestone_engine::types::{Kind, Update};
use datestone_tests::database::{damage, open, small_options, updates};
use datestone_tests::seed::{Chance, seed};
use datestone_tests::sweep::Sweep;
use std::io;

const COMMITS: usize = 26;

/// How far a run came.
struct Progress {
    acknowledged: usize,
    /// The database, when it was open at all, and what stopped it.
    stopped: Option<(Option<Db>, Error)>,
}

/// Makes all commits that are missing, with flushes and compactions between them.
fn run(sweep: &Sweep, fs: &MemFs, options: &Options) -> Progress {
    let db = match open(fs, options) {
        Ok(db) => db,
        Err(e) => return Progress { acknowledged: 0, stopped: Some((None, e)) },
    };
    let mut acknowledged = sweep.count(&db).unwrap();
    match go_on(sweep, &db, &mut acknowledged) {
        Ok(()) => Progress { acknowledged, stopped: None },
        Err(e) => Progress { acknowledged, stopped: Some((Some(db), e)) },
    }
}

/// How many operations of the file system an unharmed run does, and how many of them are changes.
fn operations(sweep: &Sweep, options: &Options) -> (u64, u64) {
    let fs = MemFs::new();
    assert!(run(sweep, &fs, options).stopped.is_none(), "nothing failed");
    let c = fs.counts();
    let changes = c.create_dirs
        + c.creates
        + c.writes
        + c.syncs
        + c.set_lens
        + c.renames
        + c.removes
        + c.dir_syncs;
    (changes + c.opens + c.reads + c.lists + c.maps + c.locks, changes)
}

/// Makes the commits that are missing in an open database, and closes it.
fn go_on(sweep: &Sweep, db: &Db, acknowledged: &mut usize) -> Result<()> {
    while *acknowledged < sweep.len() {
        let n = *acknowledged;
        sweep.commit(db, n, Durability::Fsync)?;
        *acknowledged = n + 1;
        match n % 9 {
            3 | 5 | 7 => db.flush()?,
            8 => db.compact(None)?,
            _ => drop(db.step()?),
        }
    }
    db.close()
}

/// Opens what is left and compares it with the prefix that it should be; how many commits it has.
#[track_caller]
fn check(sweep: &Sweep, left: &MemFs, options: &Options, acknowledged: usize, what: &str) -> usize {
    let db = open(left, options).unwrap_or_else(|e| panic!("{what}: cannot be opened: {e}"));
    assert_eq!(sweep.difference(&db).unwrap(), None, "{what}");
    let count = sweep.count(&db).unwrap();
    let expected = acknowledged..=acknowledged + 1;
    assert!(expected.contains(&count), "{what}: {count} commits, {acknowledged} acknowledged");
    assert_eq!(damage(&db).unwrap().map(|e| e.to_string()), None, "{what}");
    count
}

fn plans(chance: &mut Chance) -> [CrashPlan; 4] {
    [
        CrashPlan::LoseUnsynced,
        CrashPlan::KeepAll,
        CrashPlan::Random(chance.next_u64()),
        CrashPlan::Random(chance.next_u64()),
    ]
}

#[test]
fn a_power_cut_at_every_change_leaves_a_whole_prefix() {
    let seed = seed("a_power_cut_at_every_change");
    let (sweep, options) = (Sweep::new(seed, COMMITS, 4), small_options());
    let mut chance = Chance::new(seed);
    let (_, changes) = operations(&sweep, &options);
    assert!(changes > 100, "the workload changes the file system often: {changes}");
    for change in 1..=changes + 1 {
        let fs = MemFs::new();
        fs.fail_from(FaultOp::Change, change, io::ErrorKind::Other);
        let Progress { acknowledged, stopped } = run(&sweep, &fs, &options);
        for plan in plans(&mut chance) {
            let left = fs.crash(plan);
            let what = format!("change {change} cut off, {plan:?}");
            // The recovery is cut off too, now and then, and repeated.
            if chance.one_in(2) {
                left.fail_from(FaultOp::Change, 1 + chance.below(12), io::ErrorKind::Other);
                drop(open(&left, &options));
                let again = left.crash(CrashPlan::Random(chance.next_u64()));
                check(&sweep, &again, &options, acknowledged, &format!("{what}, twice"));
                continue;
            }
            check(&sweep, &left, &options, acknowledged, &what);
            // Life goes on, to the same end.
            if chance.one_in(4) {
                let rest = run(&sweep, &left.kill(), &options);
                assert!(rest.stopped.is_none(), "{what}: goes on");
                assert_eq!(rest.acknowledged, COMMITS, "{what}: goes on");
            }
        }
        assert_eq!(stopped.is_none(), change > changes, "change {change} of {changes}");
    }
}

#[test]
fn one_failure_of_any_operation_loses_nothing_acknowledged() {
    let seed = seed("one_failure_of_any_operation");
    let (sweep, options) = (Sweep::new(seed, COMMITS, 4), small_options());
    let mut chance = Chance::new(seed);
    let kinds = [io::ErrorKind::Other, io::ErrorKind::StorageFull];
    let mut went_on = 0;
    let (operations, _) = operations(&sweep, &options);
    for (nth, kind) in (1..=operations).flat_map(|nth| kinds.map(|kind| (nth, kind))) {
        let fs = MemFs::new();
        fs.fail_nth(FaultOp::Any, nth, kind);
        let Progress { mut acknowledged, stopped } = run(&sweep, &fs, &options);
        let what = format!("operation {nth} failed with {kind:?}");
        let Some((db, error)) = stopped else {
            // A failure that was of no importance, such as of removing a file.
            continue;
        };
        assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error}");
        assert_ne!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
        if let Some(db) = &db
            && acknowledged < COMMITS
        {
            // What was not acknowledged is not seen, and reads go on.
            assert_eq!(sweep.count(db).unwrap(), acknowledged, "{what}: {error}");
            assert_eq!(sweep.difference(db).unwrap(), None, "{what}: {error}");
            // A full device is no reason to stop: the same call again does it.
            if error.kind() == ErrorKind::NoSpace {
                go_on(&sweep, db, &mut acknowledged).unwrap_or_else(|e| panic!("{what}: {e}"));
                went_on += 1;
            }
        }
        for plan in plans(&mut chance) {
            check(&sweep, &fs.crash(plan), &options, acknowledged, &format!("{what}, {plan:?}"));
        }
    }
    assert!(went_on > 10, "{went_on} full devices were survived");
}

/// Goal: commits that asked for less than `Fsync` may be lost by a power cut, but only a suffix of
/// them, whole commits, and none before one that was made durable.
#[test]
fn a_power_cut_takes_a_suffix_of_what_was_not_synced() {
    let seed = seed("a_power_cut_takes_a_suffix");
    let mut chance = Chance::new(seed);
    let options = small_options();
    let mut lost = 0;
    for round in 0..150 {
        let sweep = Sweep::new(chance.next_u64(), 20, 4);
        let fs = MemFs::new();
        let db = open(&fs, &options).unwrap();
        let end = 2 + chance.below(18) as usize;
        let mut durable = 0;
        for n in 0..end {
            let durability = match chance.below(4) {
                0 => Durability::Fsync,
                1 => Durability::Buffer,
                _ => Durability::None,
            };
            sweep.commit(&db, n, durability).unwrap();
            // The creations and since are always durable.
            if durability == Durability::Fsync || n < 2 || n % 5 == 4 {
                durable = n + 1;
            }
            if chance.one_in(10) {
                db.flush().unwrap();
                durable = n + 1;
            }
        }
        let left = fs.crash(CrashPlan::Random(chance.next_u64()));
        let what = format!("round {round}, {durable} of {end} durable");
        let db = open(&left, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(sweep.difference(&db).unwrap(), None, "{what}");
        let count = sweep.count(&db).unwrap();
        assert!((durable..=end).contains(&count), "{what}: {count}");
        lost += end - count;
    }
    assert!(lost > 0, "a power cut never took anything: the test proves nothing");
}

/// Goal: a file of the log is used again only when all of its commits are in segments. Method: commits
/// fill several files while flushes lag behind, and the power is cut after each.
#[test]
fn a_log_that_goes_round_loses_nothing() {
    let seed = seed("a_log_that_goes_round");
    let mut chance = Chance::new(seed);
    let options = small_options();
    for _ in 0..6 {
        let fs = MemFs::new();
        let db = open(&fs, &options).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
        let mut files = 0;
        for n in 0..60_u64 {
            let mut commit = Commit::new();
            let mut batch = commit.append(id, "c");
            batch.push(Update { key: &n.to_be_bytes(), val: &[7; 9_000], ts: 1, diff: 1 }).unwrap();
            batch.finish().unwrap();
            db.commit(commit, Durability::Fsync).unwrap();
            if chance.one_in(6) {
                db.step().unwrap();
            }
            files = files.max(db.stats().wal_files);
            let left = open(&fs.crash(CrashPlan::Random(chance.next_u64())), &options).unwrap();
            assert_eq!(updates(&left, id).unwrap().len() as u64, n + 1);
        }
        assert!(files > 2, "{files} files at most");
    }
}
