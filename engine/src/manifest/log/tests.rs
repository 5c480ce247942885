//! The log on a file system that crashes, fails and fills up at every operation.

use super::*;
use crate::error::ErrorKind;
use crate::format::manifest_edit::EditOp;
use crate::io::{CrashPlan, Fault, FaultOp, MemFs};
use crate::manifest::testing::{flush_edit, head};
use crate::types::CollectionId;
use std::fmt::Write as _;

const DIR: &str = "/db";
const UUID: u128 = 42;
/// Random crash states tried for each point of a crash.
const SEEDS: u64 = 24;

fn dir() -> &'static Path {
    Path::new(DIR)
}

/// A file system with the durable directory of a database.
fn disk() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(dir()).unwrap();
    fs.sync_dir("/".as_ref()).unwrap();
    fs
}

fn shared(fs: &MemFs) -> Arc<dyn Fs> {
    Arc::new(fs.clone())
}

fn create(fs: &MemFs) -> Result<ManifestLog> {
    ManifestLog::create(shared(fs), dir(), UUID)
}

fn open(fs: &MemFs) -> Result<(ManifestLog, ManifestState)> {
    ManifestLog::open(shared(fs), dir())
}

fn names(fs: &MemFs) -> Vec<String> {
    let mut names: Vec<String> =
        fs.list(dir()).unwrap().iter().map(|e| e.name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The state after these flushes.
fn state(flushes: &[u64]) -> ManifestState {
    let mut state = ManifestState::new(UUID);
    flushes.iter().for_each(|&n| state.apply(&flush_edit(n)).unwrap());
    state
}

/// An edit of about 64 KiB, so that one or two of them make the file roll.
fn big_edit(n: u64) -> Edit {
    sized_edit(n, crate::limits::META_LEN_MAX)
}

fn sized_edit(n: u64, meta_len: usize) -> Edit {
    let mut edit = flush_edit(n);
    if let Some(EditOp::Collection(head)) = edit.ops.get_mut(1) {
        head.meta = vec![n as u8; meta_len];
    }
    edit
}

#[test]
fn edits_outlive_the_log() {
    let fs = disk();
    assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::NotFound);
    let mut log = create(&fs).unwrap();
    assert_eq!(create(&fs).unwrap_err().kind(), ErrorKind::AlreadyExists);
    (1..=3).for_each(|n| log.append(&flush_edit(n)).unwrap());
    assert_eq!(log.state(), &state(&[1, 2, 3]));
    let (loaded, summary) = load(&fs, dir()).unwrap();
    assert_eq!((&loaded, summary.edits, summary.number), (&state(&[1, 2, 3]), 3, 1));
    let (mut log, opened) = open(&fs).unwrap();
    assert_eq!((log.number(), &opened), (2, &state(&[1, 2, 3])));
    log.append(&flush_edit(4)).unwrap();
    assert_eq!(load(&fs, dir()).unwrap().0, state(&[1, 2, 3, 4]));
    assert_eq!(names(&fs), [manifest_name(2)], "replaced files are removed");
    // Nothing to say is nothing written.
    let len = log.file_len();
    log.append(&Edit::default()).unwrap();
    assert_eq!(log.file_len(), len);
}

/// Edits that contradict the state are refused before anything is written.
#[test]
fn contradicting_edits_are_not_written() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    log.append(&flush_edit(1)).unwrap();
    let (len, writes) = (log.file_len(), fs.counts().writes);
    let again = Edit { ops: vec![EditOp::Drop(CollectionId(7))] };
    assert_eq!(log.append(&again).unwrap_err().kind(), ErrorKind::Internal);
    let mut long = flush_edit(2);
    long.ops.push(EditOp::Collection(head(2, &"n".repeat(256), 5)));
    assert_eq!(log.append(&long).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!((log.file_len(), fs.counts().writes), (len, writes));
    log.append(&flush_edit(2)).unwrap();
    assert_eq!(open(&fs).unwrap().1, state(&[1, 2]));
}

/// An append is one write and one sync; the file does not grow for ever, and only one is kept.
#[test]
fn a_grown_file_is_rolled() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    let before = fs.counts();
    log.append(&flush_edit(1)).unwrap();
    let after = fs.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
    assert_eq!(after.dir_syncs, before.dir_syncs);
    let touch = |_| Edit { ops: vec![EditOp::Collection(head(1, "collection-1", 5))] };
    let mut longest = 0;
    for n in 0..5000 {
        log.append(&touch(n)).unwrap();
        longest = longest.max(log.file_len());
    }
    assert!(log.number() > 3, "rolled to {}", log.number());
    assert!(longest < 2 * ROLL_LEN_MIN, "grew to {longest}");
    assert_eq!(names(&fs), [manifest_name(log.number())]);
    assert_eq!(open(&fs).unwrap().1, state(&[1]));
}

/// A torn tail is cut by the roll at open: the new file is whole.
#[test]
fn a_torn_tail_is_gone_after_open() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    log.append(&flush_edit(1)).unwrap();
    let path = dir().join(manifest_name(1));
    let mut bytes = fs.read_file(&path).unwrap();
    bytes.extend_from_slice(&[7; 100]);
    fs.put_file(&path, &bytes).unwrap();
    assert!(load(&fs, dir()).unwrap().1.is_torn());
    let (_, opened) = open(&fs).unwrap();
    assert_eq!(opened, state(&[1]));
    assert!(!load(&fs, dir()).unwrap().1.is_torn());
}

/// A damaged current file is corruption, also when an older, whole one is there: that one is stale.
#[test]
fn an_older_file_is_never_taken_instead() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    log.append(&flush_edit(1)).unwrap();
    let old = fs.read_file(dir().join(manifest_name(1))).unwrap();
    let _reopened = open(&fs).unwrap();
    fs.put_file(dir().join(manifest_name(1)), &old).unwrap();
    assert_eq!(open(&fs.kill()).unwrap().1, state(&[1]));
    fs.flip_bits(dir().join(manifest_name(2)), 100, 1).unwrap();
    let before = names(&fs);
    assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(names(&fs), before, "nothing is changed");
    fs.remove_file(&dir().join(manifest_name(2))).unwrap();
    fs.remove_file(&dir().join(manifest_name(1))).unwrap();
    fs.put_file(dir().join("0000000000000001.seg"), b"data").unwrap();
    assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(create(&fs).unwrap_err().kind(), ErrorKind::Corruption);
}

/// A sync that fails is never tried again, and nothing is written behind it. What it may have left
/// in the page cache is safe after the next open, also when the power then fails.
#[test]
fn a_failed_sync_poisons_and_reopening_heals() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let fs = disk();
        let mut log = create(&fs).unwrap();
        log.append(&flush_edit(1)).unwrap();
        fs.fail_nth(FaultOp::Sync, 1, kind);
        let error = log.append(&flush_edit(2)).unwrap_err();
        assert!(error.kind() == ErrorKind::Io && error.may_have_happened(), "{error}");
        assert_eq!(log.state(), &state(&[1]));
        let counts = fs.counts();
        for error in [log.append(&flush_edit(2)).unwrap_err(), log.roll().unwrap_err()] {
            assert!(
                matches!(&error, Error::Poisoned { cause } if cause.contains("syncing")),
                "{error}"
            );
        }
        assert_eq!(fs.counts(), counts);
        // The page cache has the edit, the disk does not.
        assert_eq!(open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1]));
        let fs = fs.kill();
        let (mut log, opened) = open(&fs).unwrap();
        assert_eq!(opened, state(&[1, 2]));
        assert_eq!(open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1, 2]));
        log.append(&flush_edit(3)).unwrap();
        assert_eq!(open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1, 2, 3]));
    }
}

/// A full device is an error without consequences: the edit did not happen, in no crash state, and
/// the log goes on when there is space.
#[test]
fn a_full_device_stops_nothing_for_ever() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    log.append(&flush_edit(1)).unwrap();
    let used: u64 = fs.list(dir()).unwrap().iter().map(|entry| entry.len).sum();
    fs.set_capacity(Some(used + 100));
    let error = log.append(&flush_edit(2)).unwrap_err();
    assert!(error.kind() == ErrorKind::NoSpace && !error.may_have_happened(), "{error}");
    for seed in 0..SEEDS {
        assert_eq!(open_full(&fs.crash(CrashPlan::Random(seed))), state(&[1]));
    }
    assert_eq!(log.roll().unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(log.append(&flush_edit(2)).unwrap_err().kind(), ErrorKind::NoSpace);
    fs.set_capacity(None);
    log.append(&flush_edit(3)).unwrap();
    log.roll().unwrap();
    assert_eq!(open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1, 3]));
    // Taken back, but not durably: then it is open what happened.
    fs.inject(Fault::nth(FaultOp::Write, 1, io::ErrorKind::StorageFull));
    fs.inject(Fault::nth(FaultOp::Sync, 1, io::ErrorKind::Other));
    assert!(log.append(&flush_edit(4)).unwrap_err().may_have_happened());
    assert_eq!(log.append(&flush_edit(4)).unwrap_err().kind(), ErrorKind::Poisoned);
}

/// Opens without the limit of the device.
fn open_full(fs: &MemFs) -> ManifestState {
    fs.set_capacity(None);
    open(fs).unwrap().1
}

/// A roll that fails before the new file has its name costs nothing; the append that wanted it has
/// succeeded, and rolls are not tried at every append.
#[test]
fn failed_rolls_do_not_fail_appends() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    fs.inject(Fault::nth(FaultOp::Create, 1, io::ErrorKind::Other).forever());
    for n in 1..=40 {
        log.append(&sized_edit(n, 8 << 10)).unwrap();
    }
    assert!(log.roll_error().is_some());
    let attempts = fs.counts().creates - 1;
    assert!((2..8).contains(&attempts), "{attempts} attempts");
    assert_eq!(log.number(), 1);
    fs.clear_faults();
    for n in 41..=60 {
        log.append(&sized_edit(n, 8 << 10)).unwrap();
    }
    assert!(log.number() > 1 && log.roll_error().is_none());
    assert_eq!(open(&fs).unwrap().1.collections().len(), 60);
}

/// When it is open which file recovery would take, nothing may be added to either.
#[test]
fn a_roll_in_doubt_poisons() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    log.append(&flush_edit(1)).unwrap();
    fs.fail_nth(FaultOp::SyncDir, 1, io::ErrorKind::Other);
    assert_eq!(log.roll().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(log.append(&flush_edit(2)).unwrap_err().kind(), ErrorKind::Poisoned);
    for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll] {
        assert_eq!(open(&fs.crash(plan)).unwrap().1, state(&[1]));
    }
    let killed = fs.kill();
    let (mut log, _) = open(&killed).unwrap();
    log.append(&flush_edit(2)).unwrap();
    assert_eq!(open(&killed.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1, 2]));
    // A rename that certainly did not happen leaves no doubt.
    let fs = disk();
    let mut log = create(&fs).unwrap();
    fs.fail_nth(FaultOp::Rename, 1, io::ErrorKind::Other);
    assert!(log.roll().is_err());
    log.append(&flush_edit(1)).unwrap();
    log.roll().unwrap();
    assert_eq!(open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap().1, state(&[1]));
}

/// What a run of the script has promised.
#[derive(Default)]
struct Promised {
    created: bool,
    /// Flushes that were acknowledged.
    done: Vec<u64>,
    /// The flush whose append said that it may have happened.
    doubtful: Option<u64>,
}

impl Promised {
    fn append(&mut self, log: &mut ManifestLog, n: u64) {
        // Some edits are large, so that the script rolls.
        let edit = if n.is_multiple_of(3) { big_edit(n) } else { flush_edit(n) };
        match log.append(&edit) {
            Ok(()) => self.done.push(n),
            Err(e) if e.may_have_happened() => {
                assert!(self.doubtful.is_none(), "poisoned after the first doubt");
                self.doubtful = Some(n);
            }
            Err(e) => assert!(matches!(e.kind(), ErrorKind::NoSpace | ErrorKind::Poisoned), "{e}"),
        }
    }

    /// The flushes that `found` has must be those promised, and perhaps the doubtful one.
    fn check(&self, found: &ManifestState, context: &dyn Fn() -> String) {
        let has: Vec<u64> = found.collections().keys().map(|id| id.0).collect();
        let mut with_doubtful = self.done.clone();
        with_doubtful.extend(self.doubtful);
        assert!(
            has == self.done || has == with_doubtful,
            "{}: found {has:?}, done {:?}, doubtful {:?}",
            context(),
            self.done,
            self.doubtful
        );
        found.check().unwrap();
    }
}

/// Creates, appends, rolls and reopens until something fails; a reopening in the middle stands for
/// a clean restart.
fn script(fs: &MemFs) -> Promised {
    let mut promised = Promised::default();
    let Ok(mut log) = create(fs) else { return promised };
    promised.created = true;
    (1..=7).for_each(|n| promised.append(&mut log, n));
    if promised.doubtful.is_some() {
        return promised;
    }
    drop(log);
    let Ok((mut log, opened)) = open(fs) else { return promised };
    promised.check(&opened, &|| "reopened".to_owned());
    (8..=12).for_each(|n| promised.append(&mut log, n));
    let _either = log.roll();
    (13..=14).for_each(|n| promised.append(&mut log, n));
    promised
}

/// Opens after a crash, checks what is found, and that the log works and is durable from then on.
fn check_recovery(fs: &MemFs, promised: &Promised, context: &dyn Fn() -> String) {
    let (mut log, opened) = match open(fs) {
        Ok(opened) => opened,
        Err(e) => {
            // Nothing was promised: creation can be tried again.
            let again = !promised.created && e.kind() == ErrorKind::NotFound;
            assert!(again, "{}: {e}", context());
            let log = create(fs).unwrap_or_else(|e| panic!("{}: {e}", context()));
            let state = log.state().clone();
            (log, state)
        }
    };
    promised.check(&opened, context);
    assert_eq!(names(fs).len(), 1, "{}: {:?}", context(), names(fs));
    log.append(&flush_edit(99)).unwrap();
    let (_, again) = open(&fs.crash(CrashPlan::LoseUnsynced)).unwrap();
    assert_eq!(&again, log.state(), "{}", context());
}

fn plans() -> impl Iterator<Item = CrashPlan> {
    let random = (0..SEEDS).map(CrashPlan::Random);
    [CrashPlan::LoseUnsynced, CrashPlan::KeepAll].into_iter().chain(random)
}

/// Counts the changes that the script makes when nothing fails.
fn change_count() -> u64 {
    let fs = disk();
    let before = fs.counts();
    let promised = script(&fs);
    assert_eq!(promised.done.len(), 14, "the script runs through");
    let after = fs.counts();
    let count = |c: &crate::io::OpCounts| {
        c.creates + c.writes + c.syncs + c.set_lens + c.renames + c.removes + c.dir_syncs
    };
    count(&after) - count(&before)
}

/// Goal: whatever moment the power fails at, recovery finds every acknowledged edit and no half one,
/// and is itself safe against another power cut. Method: everything fails from the n-th change on,
/// for every n; then all crash plans; and the same again for every change of the recovery.
#[test]
fn power_cuts_at_every_change() {
    let count = change_count();
    let mut states = 0;
    for nth in 1..=count + 1 {
        let fs = disk();
        fs.inject(Fault::nth(FaultOp::Change, nth, io::ErrorKind::Other).forever());
        let promised = script(&fs);
        fs.clear_faults();
        let context = || format!("change {nth}, killed");
        check_recovery(&fs.kill(), &promised, &context);
        for plan in plans() {
            let context = || format!("change {nth}, {plan:?}");
            check_recovery(&fs.crash(plan), &promised, &context);
            states += 1;
        }
        // A second crash, during recovery.
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(nth)] {
            for second in 1..=8 {
                let fs = fs.crash(plan);
                fs.inject(Fault::nth(FaultOp::Change, second, io::ErrorKind::Other).forever());
                let recovered = open(&fs).map(drop);
                fs.clear_faults();
                for again in plans().take(6) {
                    let mut context = String::new();
                    let _ = write!(context, "change {nth}, {plan:?}, ");
                    let _ = write!(context, "recovery change {second}, {again:?} {recovered:?}");
                    check_recovery(&fs.crash(again), &promised, &|| context.clone());
                    states += 1;
                }
            }
        }
    }
    assert!(states > 5_000, "{states} crash states");
}

/// Goal: whatever single operation fails, or from whichever on all do, and with which error: no
/// acknowledged edit is lost, one that is said not to have happened has not, and the database opens.
#[test]
fn faults_at_every_operation() {
    let count = change_count();
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for forever in [false, true] {
            for nth in 1..=count {
                let fs = disk();
                let fault = Fault::nth(FaultOp::Change, nth, kind);
                fs.inject(if forever { fault.forever() } else { fault });
                let promised = script(&fs);
                fs.clear_faults();
                let context = |how: &str| format!("{kind} at {nth}, forever {forever}, {how}");
                check_recovery(&fs.kill(), &promised, &|| context("killed"));
                for plan in plans().take(8) {
                    let how = format!("{plan:?}");
                    check_recovery(&fs.crash(plan), &promised, &|| context(&how));
                }
            }
        }
    }
}

/// Reads that fail while opening leave everything for the next attempt.
#[test]
fn read_failures_at_open_are_harmless() {
    let fs = disk();
    let mut log = create(&fs).unwrap();
    (1..=3).for_each(|n| log.append(&flush_edit(n)).unwrap());
    for op in [FaultOp::List, FaultOp::Open, FaultOp::Read] {
        fs.fail_nth(op, 1, io::ErrorKind::Other);
        assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::Io, "{op:?}");
        assert_eq!(names(&fs), [manifest_name(1)], "{op:?}");
    }
    assert_eq!(open(&fs).unwrap().1, state(&[1, 2, 3]));
}
