//! What survives a power cut, a kill and a fault in the file system in memory.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{CrashPlan, Fault, FaultOp, MemFs};
use crate::io::{Clock, File, Fs, OpenMode};

/// A file system with the durable directory /db.
fn with_dir() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir("/db".as_ref()).unwrap();
    fs.sync_dir("/".as_ref()).unwrap();
    fs
}

fn create(fs: &MemFs, path: &str, content: &[u8]) -> Arc<dyn File> {
    let file = fs.open(path.as_ref(), OpenMode::CreateNew).unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

/// A file whose content and name are durable.
fn create_durable(fs: &MemFs, path: &str, content: &[u8]) -> Arc<dyn File> {
    let file = create(fs, path, content);
    file.sync().unwrap();
    fs.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file
}

fn lose(fs: &MemFs) -> MemFs {
    fs.crash(CrashPlan::LoseUnsynced)
}

fn read(fs: &MemFs, path: &str) -> Option<Vec<u8>> {
    fs.read_file(path).ok()
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

#[test]
fn content_survives_only_a_sync() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"one");
    file.write_all_at(b"two!", 0).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"one");
    assert_eq!(read(&fs.crash(CrashPlan::KeepAll), "/db/a").unwrap(), b"two!");
    file.sync().unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"two!");
    file.set_len(1).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"two!");
    file.sync().unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"t");
}

#[test]
fn names_survive_only_a_sync_of_their_directory() {
    let fs = with_dir();
    create(&fs, "/db/a", b"a").sync().unwrap();
    assert_eq!(read(&lose(&fs), "/db/a"), None);
    fs.sync_dir("/db".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"a");

    create(&fs, "/db/b", b"b").sync().unwrap();
    fs.rename("/db/b".as_ref(), "/db/a".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"a");
    fs.sync_dir("/db".as_ref()).unwrap();
    let crashed = lose(&fs);
    assert_eq!(read(&crashed, "/db/a").unwrap(), b"b");
    assert_eq!(read(&crashed, "/db/b"), None);

    fs.remove_file("/db/a".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"b");
    fs.sync_dir("/db".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a"), None);
}

/// A directory whose own name is not durable takes along what it holds.
#[test]
fn a_new_directory_needs_its_parent_synced() {
    let fs = MemFs::new();
    fs.create_dir("/x".as_ref()).unwrap();
    fs.create_dir("/x/db".as_ref()).unwrap();
    create_durable(&fs, "/x/db/a", b"a");
    fs.sync_dir("/x".as_ref()).unwrap();
    assert!(!lose(&fs).exists("/x".as_ref()).unwrap());
    fs.sync_dir("/".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/x/db/a").unwrap(), b"a");
}

#[test]
fn a_rename_between_directories_is_two_changes() {
    let fs = with_dir();
    fs.create_dir("/db/sub".as_ref()).unwrap();
    create_durable(&fs, "/db/a", b"a");
    fs.rename("/db/a".as_ref(), "/db/sub/a".as_ref()).unwrap();
    fs.sync_dir("/db/sub".as_ref()).unwrap();
    let both = lose(&fs);
    assert_eq!(read(&both, "/db/a"), read(&both, "/db/sub/a"));
    // Both names are one file.
    let file = both.open("/db/a".as_ref(), OpenMode::ReadWrite).unwrap();
    file.write_all_at(b"b", 0).unwrap();
    assert_eq!(read(&both, "/db/sub/a").unwrap(), b"b");
    fs.sync_dir("/db".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/a"), None);
}

/// A killed process loses its locks but nothing that it wrote; what it did not sync can still be lost.
#[test]
fn a_kill_keeps_what_was_written() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"one");
    file.write_all_at(b"two", 0).unwrap();
    create(&fs, "/db/b", b"b");
    let lock = fs.lock("/db/LOCK".as_ref(), "me").unwrap();
    let after = fs.kill();
    assert_eq!(read(&after, "/db/a").unwrap(), b"two");
    assert_eq!(read(&after, "/db/b").unwrap(), b"b");
    assert!(after.lock("/db/LOCK".as_ref(), "you").is_ok());
    assert_eq!(read(&lose(&after), "/db/a").unwrap(), b"one");
    assert_eq!(read(&lose(&after), "/db/b"), None);
    // A sync in the new life makes the old life's writes durable.
    after.open("/db/a".as_ref(), OpenMode::Read).unwrap().sync().unwrap();
    assert_eq!(read(&lose(&after), "/db/a").unwrap(), b"two");
    drop(lock);
}

/// Invariant 3: old handles and locks do not reach into the new instance.
#[test]
fn old_handles_stay_with_the_old_instance() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"one");
    let lock = fs.lock("/db/LOCK".as_ref(), "me").unwrap();
    for after in [fs.kill(), lose(&fs), fs.crash(CrashPlan::Random(1))] {
        let _lock = after.lock("/db/LOCK".as_ref(), "you").unwrap();
        file.write_all_at(b"two", 0).unwrap();
        file.sync().unwrap();
        fs.put_file("/db/c", b"c").unwrap();
        assert_eq!(read(&after, "/db/a").unwrap(), b"one");
        assert_eq!(read(&after, "/db/c"), None);
        assert_eq!(kind(after.lock("/db/LOCK".as_ref(), "we")), Some(ErrorKind::WouldBlock));
        file.write_all_at(b"one", 0).unwrap();
        file.sync().unwrap();
        fs.remove_file("/db/c".as_ref()).unwrap();
        fs.sync_dir("/db".as_ref()).unwrap();
    }
    assert_eq!(kind(fs.lock("/db/LOCK".as_ref(), "you")), Some(ErrorKind::WouldBlock));
    drop(lock);
    assert!(fs.lock("/db/LOCK".as_ref(), "you").is_ok());
}

#[test]
fn identifiers_go_on_after_a_crash() {
    let fs = MemFs::seeded(7);
    let first = fs.clock().random_u64();
    assert_ne!(lose(&fs).clock().random_u64(), first);
    assert_eq!(MemFs::seeded(7).clock().random_u64(), first);
}

/// Seeds give every mixture: of two unsynced sectors each combination, also length without data and
/// data that lost its length.
#[test]
fn a_random_crash_gives_every_mixture() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", &[b'o'; 1024]);
    file.write_all_at(&[b'n'; 1536], 0).unwrap();
    let shapes: BTreeSet<String> = (0..500)
        .map(|seed| {
            let content = read(&fs.crash(CrashPlan::Random(seed)), "/db/a").unwrap();
            let sectors = content.chunks(512).map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
                if sector[0] == 0 { '0' } else { char::from(sector[0]) }
            });
            sectors.collect()
        })
        .collect();
    let expected: BTreeSet<String> = ["o", "n"]
        .iter()
        .flat_map(|a| ["o", "n"].map(|b| format!("{a}{b}")))
        .flat_map(|ab| ["", "0", "n"].map(|c| format!("{ab}{c}")))
        .collect();
    assert_eq!(shapes, expected);
}

/// Two writes to one sector without a sync between them: the disk may hold either, or neither.
#[test]
fn a_random_crash_may_stop_between_two_writes() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"0");
    file.write_all_at(b"1", 0).unwrap();
    file.write_all_at(b"2", 0).unwrap();
    let seen: BTreeSet<_> =
        (0..200).map(|seed| read(&fs.crash(CrashPlan::Random(seed)), "/db/a").unwrap()).collect();
    assert_eq!(seen.len(), 3);
}

/// Temp file, rename over the old name: within one directory the name always means one of the two
/// files, and any subset of other changes may have happened.
#[test]
fn a_random_crash_never_splits_a_rename() {
    let fs = with_dir();
    create_durable(&fs, "/db/a", b"old");
    create(&fs, "/db/tmp", b"new").sync().unwrap();
    fs.rename("/db/tmp".as_ref(), "/db/a".as_ref()).unwrap();
    create(&fs, "/db/b", b"b").sync().unwrap();
    let seen: BTreeSet<_> = (0..200)
        .map(|seed| {
            let fs = fs.crash(CrashPlan::Random(seed));
            (read(&fs, "/db/a").unwrap(), read(&fs, "/db/tmp"), read(&fs, "/db/b"))
        })
        .collect();
    let (old, new, b) = (b"old".to_vec(), b"new".to_vec(), b"b".to_vec());
    let mut expected = BTreeSet::new();
    for b in [None, Some(b)] {
        expected.insert((old.clone(), None, b.clone()));
        expected.insert((old.clone(), Some(new.clone()), b.clone()));
        expected.insert((new.clone(), None, b));
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_fault_fails_its_operation_alone() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"one");
    fs.fail_nth(FaultOp::Write, 2, ErrorKind::StorageFull);
    file.write_all_at(b"two", 0).unwrap();
    assert_eq!(kind(file.write_all_at(b"ABCD", 0)), Some(ErrorKind::StorageFull));
    assert_eq!(read(&fs, "/db/a").unwrap(), b"ABo");
    file.write_all_at(b"two", 0).unwrap();

    fs.fail_from(FaultOp::Change, 2, ErrorKind::TimedOut);
    file.write_all_at(b"six", 0).unwrap();
    assert_eq!(kind(file.sync()), Some(ErrorKind::TimedOut));
    assert_eq!(kind(fs.remove_file("/db/a".as_ref())), Some(ErrorKind::TimedOut));
    assert_eq!(kind(fs.create_dir("/db/d".as_ref())), Some(ErrorKind::TimedOut));
    assert_eq!(read(&fs, "/db/a").unwrap(), b"six");
    assert!(fs.open("/db/a".as_ref(), OpenMode::Read).is_ok());
    assert_eq!(kind(fs.open("/db/b".as_ref(), OpenMode::CreateNew)), Some(ErrorKind::TimedOut));
    fs.clear_faults();
    fs.remove_file("/db/a".as_ref()).unwrap();
}

#[test]
fn a_fault_goes_by_name() {
    let fs = with_dir();
    let (a, b) = (create(&fs, "/db/wal-1", b""), create(&fs, "/db/seg-1", b""));
    fs.inject(Fault::nth(FaultOp::Sync, 1, ErrorKind::Other).on("wal-").forever());
    b.sync().unwrap();
    assert!(a.sync().is_err());
    assert!(a.sync().is_err());
    b.sync().unwrap();
}

/// After a failed sync, the data is visible but a second sync does not save it.
#[test]
fn a_second_sync_does_not_save_what_the_first_failed() {
    let fs = with_dir();
    let file = create_durable(&fs, "/db/a", b"one");
    file.write_all_at(b"two", 0).unwrap();
    fs.fail_nth(FaultOp::Sync, 1, ErrorKind::Other);
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(read(&fs, "/db/a").unwrap(), b"two");
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"one");

    create(&fs, "/db/b", b"b").sync().unwrap();
    fs.fail_nth(FaultOp::SyncDir, 1, ErrorKind::Other);
    fs.sync_dir("/db".as_ref()).unwrap_err();
    create(&fs, "/db/c", b"c").sync().unwrap();
    fs.sync_dir("/db".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "/db/b"), None);
    assert_eq!(read(&lose(&fs), "/db/c").unwrap(), b"c");
}

#[test]
fn a_full_device_refuses_growth() {
    let fs = with_dir();
    let file = create(&fs, "/db/a", b"12345");
    fs.set_capacity(Some(8));
    assert_eq!(fs.free_bytes("/db".as_ref()).unwrap(), Some(3));
    file.write_all_at(b"abc", 1).unwrap();
    assert_eq!(kind(file.write_all_at(b"vwxyz", 4)), Some(ErrorKind::StorageFull));
    assert_eq!(read(&fs, "/db/a").unwrap(), b"1abcvwxy");
    assert_eq!(kind(file.set_len(9)), Some(ErrorKind::StorageFull));
    assert_eq!(kind(file.write_all_at(b"x", 100)), Some(ErrorKind::StorageFull));
    file.set_len(2).unwrap();
    assert_eq!(fs.free_bytes("/db".as_ref()).unwrap(), Some(6));
    fs.set_capacity(None);
    file.write_all_at(b"vwxyz", 100).unwrap();
}

#[test]
fn operations_are_counted_and_traced() {
    let fs = with_dir();
    let before = fs.counts();
    fs.start_trace();
    let file = create_durable(&fs, "/db/a", b"one");
    fs.rename("/db/a".as_ref(), "/db/b".as_ref()).unwrap();
    file.read_exact_at(&mut [0; 3], 0).unwrap();
    fs.map("/db/b".as_ref()).unwrap();
    let counts = fs.counts();
    assert_eq!((before.creates, before.create_dirs, before.dir_syncs), (0, 1, 1));
    assert_eq!((counts.creates, counts.writes, counts.written_bytes), (1, 1, 3));
    assert_eq!((counts.syncs, counts.dir_syncs, counts.renames), (1, 2, 1));
    assert_eq!((counts.reads, counts.maps, counts.opens), (1, 1, 0));
    let trace = fs.take_trace();
    let trace: Vec<_> = trace.iter().map(|(op, path)| (*op, path.to_str().unwrap())).collect();
    let expected = [
        (FaultOp::Create, "/db/a"),
        (FaultOp::Write, "/db/a"),
        (FaultOp::Sync, "/db/a"),
        (FaultOp::SyncDir, "/db"),
        (FaultOp::Rename, "/db/b"),
        (FaultOp::Read, "/db/a"),
        (FaultOp::Map, "/db/b"),
    ];
    assert_eq!(trace, expected);
    fs.map("/db/b".as_ref()).unwrap();
    assert!(fs.take_trace().is_empty());
}

#[test]
fn damage_is_durable() {
    let fs = with_dir();
    fs.put_file("/db/a", b"one").unwrap();
    fs.flip_bits("/db/a", 1, 0x01).unwrap();
    assert_eq!(read(&fs, "/db/a").unwrap(), b"ooe");
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"ooe");
    assert_eq!(kind(fs.flip_bits("/db/a", 3, 1)), Some(ErrorKind::UnexpectedEof));
    fs.put_file("/db/a", b"").unwrap();
    assert_eq!(read(&lose(&fs), "/db/a").unwrap(), b"");
    assert_eq!(kind(fs.put_file("/no/a", b"")), Some(ErrorKind::NotFound));
}

#[test]
fn paths_are_told_apart_by_their_meaning() {
    let fs = MemFs::new();
    fs.create_dir("db".as_ref()).unwrap();
    create(&fs, "./db/./a", b"a");
    assert_eq!(read(&fs, "db/a").unwrap(), b"a");
    assert!(!fs.exists("/db/a".as_ref()).unwrap());
    assert_eq!(kind(fs.exists("db/../a".as_ref())), Some(ErrorKind::InvalidInput));
    fs.sync_dir(".".as_ref()).unwrap();
    fs.sync_dir("db".as_ref()).unwrap();
    assert_eq!(read(&lose(&fs), "db/a").unwrap(), b"");
}

/// One change of a file, as the property tests make it.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..3000_u64, 1..1500_usize, 1..=255_u8);
    let step = prop_oneof![
        6 => write.prop_map(|(offset, len, byte)| Step::Write(offset, vec![byte; len])),
        2 => (0..4000_u64).prop_map(Step::SetLen),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 0..20)
}

fn take(file: &dyn File, step: &Step) {
    match step {
        Step::Write(offset, data) => file.write_all_at(data, *offset).unwrap(),
        Step::SetLen(len) => file.set_len(*len).unwrap(),
        Step::Sync => file.sync().unwrap(),
    }
}

/// The naive model of the live image: a vector.
fn apply(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(data);
        }
        Step::SetLen(len) => content.resize(*len as usize, 0),
        Step::Sync => {}
    }
}

proptest! {
    /// Live is everything, durable is everything up to the last sync; a random crash shows in every
    /// byte a value that it had since then (or a zero, where length came without data) and a length
    /// that the file had.
    #[test]
    fn images_agree_with_a_vector(steps in steps(), seed in any::<u64>()) {
        let fs = with_dir();
        let file = create_durable(&fs, "/db/a", b"");
        let (mut live, mut durable) = (Vec::new(), Vec::new());
        let mut history = vec![Vec::new()];
        for step in &steps {
            take(&*file, step);
            apply(&mut live, step);
            if matches!(step, Step::Sync) {
                durable.clone_from(&live);
                history.clear();
            }
            history.push(live.clone());
        }
        prop_assert_eq!(&read(&fs, "/db/a").unwrap(), &live);
        prop_assert_eq!(&read(&fs.kill(), "/db/a").unwrap(), &live);
        prop_assert_eq!(&read(&fs.crash(CrashPlan::KeepAll), "/db/a").unwrap(), &live);
        prop_assert_eq!(&read(&lose(&fs), "/db/a").unwrap(), &durable);

        let plan = CrashPlan::Random(seed);
        let crashed = read(&fs.crash(plan), "/db/a").unwrap();
        prop_assert_eq!(&crashed, &read(&fs.crash(plan), "/db/a").unwrap());
        prop_assert!(history.iter().any(|content| content.len() == crashed.len()));
        for (i, byte) in crashed.iter().enumerate() {
            let had = history.iter().any(|content| content.get(i).unwrap_or(&0) == byte);
            prop_assert!(had || *byte == 0, "byte {} was never {}", i, byte);
        }
        // What is left is durable.
        let again = fs.crash(plan);
        prop_assert_eq!(&read(&lose(&again), "/db/a").unwrap(), &crashed);
    }

    /// The system's file and the one in memory look alike after the same changes.
    #[test]
    fn images_agree_with_the_system(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let real = crate::io::OsFs::new().open(&path, OpenMode::CreateNew).unwrap();
        let fs = with_dir();
        let file = create(&fs, "/db/a", b"");
        for step in steps.iter().filter(|step| !matches!(step, Step::Sync)) {
            take(&*real, step);
            take(&*file, step);
        }
        prop_assert_eq!(std::fs::read(&path).unwrap(), read(&fs, "/db/a").unwrap());
    }
}
