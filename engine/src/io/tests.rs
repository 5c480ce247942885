//! What every file system must do alike (the system's, with and without platform calls, and the one
//! in memory), and what only the system's can be asked.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{
    Clock, DirEntry, Env, File, Fs, LockOwner, ManualClock, MemFs, NoThreads, OpenMode, OsClock,
    OsFs, OsThreads, Threads,
};

/// Runs `check` on each file system with a fresh directory.
fn on_each(check: impl Fn(&dyn Fs, &Path)) {
    for fs in [OsFs::new(), OsFs::portable()] {
        let dir = tempfile::tempdir().unwrap();
        check(&fs, dir.path());
    }
    let fs = MemFs::new();
    fs.create_dir("/db".as_ref()).unwrap();
    check(&fs, "/db".as_ref());
}

fn create(fs: &dyn Fs, path: &Path, content: &[u8]) -> Arc<dyn File> {
    let file = fs.open(path, OpenMode::CreateNew).unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

fn content(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    let mut content = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut content, 0).unwrap();
    content
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

#[test]
fn positioned_reads_and_writes() {
    on_each(|fs, dir| {
        let file = create(fs, &dir.join("a"), b"hello");
        file.write_all_at(b"world", 8).unwrap();
        assert_eq!(file.len().unwrap(), 13);
        let mut buf = [9; 16];
        let mut read = 0;
        while let n @ 1.. = file.read_at(&mut buf[read..], read as u64).unwrap() {
            read += n;
        }
        assert_eq!(&buf[..read], b"hello\0\0\0world");
        assert_eq!(file.read_at(&mut buf, 13).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        assert_eq!(kind(file.read_exact_at(&mut buf, 0)), Some(ErrorKind::UnexpectedEof));
        file.sync().unwrap();
    });
}

#[test]
fn set_len_cuts_and_extends_with_zeros() {
    on_each(|fs, dir| {
        let path = dir.join("a");
        let file = create(fs, &path, b"hello");
        file.set_len(2).unwrap();
        file.set_len(4).unwrap();
        assert_eq!(content(fs, &path), b"he\0\0");
        file.set_len(0).unwrap();
        assert!(file.is_empty().unwrap());
    });
}

#[test]
fn open_modes() {
    on_each(|fs, dir| {
        let path = dir.join("a");
        for mode in [OpenMode::Read, OpenMode::ReadWrite] {
            assert_eq!(kind(fs.open(&path, mode)), Some(ErrorKind::NotFound));
        }
        create(fs, &path, b"hello");
        assert_eq!(kind(fs.open(&path, OpenMode::CreateNew)), Some(ErrorKind::AlreadyExists));
        let reader = fs.open(&path, OpenMode::Read).unwrap();
        assert!(reader.write_all_at(b"x", 0).is_err());
        let writer = fs.open(&path, OpenMode::ReadWrite).unwrap();
        writer.write_all_at(b"J", 0).unwrap();
        assert_eq!(content(fs, &path), b"Jello");
    });
}

#[test]
fn a_directory_is_not_opened_nor_mapped() {
    on_each(|fs, dir| {
        let sub = dir.join("sub");
        fs.create_dir(&sub).unwrap();
        assert_eq!(kind(fs.create_dir(&sub)), Some(ErrorKind::AlreadyExists));
        assert_eq!(kind(fs.create_dir(&dir.join("no/sub"))), Some(ErrorKind::NotFound));
        assert!(fs.open(&sub, OpenMode::Read).is_err());
        assert!(fs.open(&sub, OpenMode::ReadWrite).is_err());
        assert!(fs.open(&sub, OpenMode::CreateNew).is_err());
        assert!(fs.map(&sub).is_err());
        assert!(fs.remove_file(&sub).is_err());
        assert!(fs.exists(&sub).unwrap());
    });
}

#[test]
fn rename_replaces_and_remove_forgets() {
    on_each(|fs, dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        create(fs, &a, b"new");
        let old = create(fs, &b, b"old");
        fs.rename(&a, &b).unwrap();
        assert_eq!(content(fs, &b), b"new");
        assert!(!fs.exists(&a).unwrap());
        assert_eq!(kind(fs.rename(&a, &b)), Some(ErrorKind::NotFound));
        // The replaced file lives on behind its handle.
        let mut buf = [0; 3];
        old.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"old");
        fs.remove_file(&b).unwrap();
        assert_eq!(kind(fs.remove_file(&b)), Some(ErrorKind::NotFound));
        assert!(fs.list(dir).unwrap().is_empty());
        fs.sync_dir(dir).unwrap();
    });
}

#[test]
fn list_tells_names_lengths_and_kinds() {
    on_each(|fs, dir| {
        create(fs, &dir.join("a"), b"hello");
        fs.create_dir(&dir.join("sub")).unwrap();
        create(fs, &dir.join("sub/inner"), b"x");
        let mut entries = fs.list(dir).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let entry = |name: &str, len, is_file| DirEntry { name: name.into(), len, is_file };
        assert_eq!(entries, [entry("a", 5, true), entry("sub", 0, false)]);
        assert_eq!(kind(fs.list(&dir.join("no"))), Some(ErrorKind::NotFound));
        assert_eq!(kind(fs.sync_dir(&dir.join("no"))), Some(ErrorKind::NotFound));
    });
}

#[test]
fn a_map_outlives_its_file() {
    on_each(|fs, dir| {
        let path = dir.join("a");
        let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        create(fs, &path, &long).sync().unwrap();
        let map = fs.map(&path).unwrap();
        fs.remove_file(&path).unwrap();
        assert_eq!(map, long);
        assert_eq!(map.slice(4000..4004), 1000_u32.to_le_bytes().as_slice());
        assert_eq!(kind(fs.map(&path)), Some(ErrorKind::NotFound));
        create(fs, &path, b"");
        assert!(fs.map(&path).unwrap().is_empty());
    });
}

#[test]
fn a_lock_is_held_once() {
    on_each(|fs, dir| {
        let path = dir.join("LOCK");
        let lock = fs.lock(&path, "pid=1 a rather long text").unwrap();
        assert_eq!(kind(fs.lock(&path, "pid=2")), Some(ErrorKind::WouldBlock));
        // The failed attempt left the content alone. Windows does not let others read it.
        if cfg!(not(windows)) {
            assert_eq!(fs.read_lock(&path).unwrap(), "pid=1 a rather long text");
        }
        drop(lock);
        let _lock = fs.lock(&path, "pid=3").unwrap();
        if cfg!(not(windows)) {
            assert_eq!(fs.read_lock(&path).unwrap(), "pid=3");
        }
    });
}

#[test]
fn free_bytes_are_told_where_known() {
    let dir = tempfile::tempdir().unwrap();
    let free = OsFs::new().free_bytes(dir.path()).unwrap();
    assert_eq!(free.is_some(), cfg!(all(unix, feature = "platform")));
    assert_eq!(OsFs::portable().free_bytes(dir.path()).unwrap(), None);
    assert_eq!(MemFs::new().free_bytes("/".as_ref()).unwrap(), None);
}

/// Nothing is opened through a symbolic link, be its target there or not.
#[cfg(unix)]
#[test]
fn symbolic_links_are_refused() {
    for fs in [OsFs::new(), OsFs::portable()] {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        for has_target in [false, true] {
            if has_target {
                create(&fs, &target, b"precious");
            } else {
                std::os::unix::fs::symlink(&target, &link).unwrap();
            }
            assert!(fs.exists(&link).unwrap());
            for mode in [OpenMode::Read, OpenMode::ReadWrite] {
                assert_eq!(kind(fs.open(&link, mode)), Some(ErrorKind::InvalidInput));
            }
            assert_eq!(kind(fs.open(&link, OpenMode::CreateNew)), Some(ErrorKind::AlreadyExists));
            assert_eq!(kind(fs.map(&link)), Some(ErrorKind::InvalidInput));
            assert_eq!(kind(fs.lock(&link, "x")), Some(ErrorKind::InvalidInput));
            assert_eq!(kind(fs.read_lock(&link)), Some(ErrorKind::InvalidInput));
            assert_eq!(fs.exists(&target).unwrap(), has_target);
        }
        assert_eq!(content(&fs, &target), b"precious");
        let entries = fs.list(dir.path()).unwrap();
        let entry = entries.iter().find(|entry| entry.name == "link").unwrap();
        assert_eq!((entry.len, entry.is_file), (0, false));
        // Removing a link removes the link.
        fs.remove_file(&link).unwrap();
        assert_eq!(content(&fs, &target), b"precious");
    }
}

/// Opening a pipe would wait for its other end for ever.
#[cfg(all(unix, feature = "platform"))]
#[test]
fn a_pipe_is_refused_without_waiting() {
    use rustix::fs::{CWD, FileType, Mode};
    for fs in [OsFs::new(), OsFs::portable()] {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(kind(fs.open(&pipe, OpenMode::Read)), Some(ErrorKind::InvalidInput));
        assert_eq!(kind(fs.open(&pipe, OpenMode::ReadWrite)), Some(ErrorKind::InvalidInput));
        assert_eq!(kind(fs.lock(&pipe, "x")), Some(ErrorKind::InvalidInput));
    }
}

#[test]
fn a_hostile_lock_file_is_read_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    create(&OsFs::new(), &path, &[0xff; 100_000]);
    let text = OsFs::new().read_lock(&path).unwrap();
    assert!(text.chars().count() <= 4096);
    assert_eq!(LockOwner::parse(&text), LockOwner::default());
}

#[test]
fn lock_owners_round_trip() {
    let owner = LockOwner { pid: 4711, host: "box".into(), since: 1_600_000_000 };
    assert_eq!(owner.to_string(), "pid=4711 host=box since=1600000000\n");
    assert_eq!(LockOwner::parse(&owner.to_string()), owner);
    let own = LockOwner::this_process(5);
    assert_eq!(own.pid, std::process::id());
    assert_eq!(LockOwner::parse(&own.to_string()), own);
    let unknown_host = LockOwner { host: String::new(), ..owner };
    assert_eq!(LockOwner::parse(&unknown_host.to_string()), unknown_host);
    let odd = LockOwner::parse("pid=-1 since= host=a=b pid since=7 what=ever");
    assert_eq!(odd, LockOwner { pid: 0, host: "a=b".into(), since: 7 });
}

/// Both ways to the host's name see the same host, where both see one.
#[cfg(target_os = "linux")]
#[test]
fn hosts_agree() {
    let portable = (super::portable::CALLS.host)();
    assert_eq!((super::os::BEST_CALLS.host)(), portable);
    assert!(!portable.is_empty());
}

#[test]
fn a_manual_clock_moves_by_hand_alone() {
    let clock = ManualClock::new(1);
    let twin = clock.clone();
    let start = clock.unix_seconds();
    assert_eq!(clock.monotonic(), Duration::ZERO);
    clock.advance(Duration::from_millis(1500));
    twin.sleep(Duration::from_millis(600));
    assert_eq!(clock.monotonic(), Duration::from_millis(2100));
    assert_eq!(clock.unix_seconds(), start + 2);
    let first = clock.random_u64();
    assert_ne!(first, twin.random_u64());
    assert_eq!(first, ManualClock::new(1).random_u64());
    assert_ne!(first, ManualClock::new(2).random_u64());
}

#[test]
fn the_systems_clock_goes_on() {
    let before = OsClock.monotonic();
    assert!(OsClock.monotonic() >= before);
    // 2020: a machine whose clock is unset still gets a number.
    assert!(OsClock.unix_seconds() > 1_577_836_800);
    let numbers: std::collections::HashSet<_> = (0..100).map(|_| OsClock.random_u64()).collect();
    assert_eq!(numbers.len(), 100);
    OsClock.sleep(Duration::ZERO);
}

#[test]
fn threads_run_and_tell_of_panics() {
    let (send, receive) = crossbeam_channel::bounded(1);
    let work = Box::new(move || {
        send.send(std::thread::current().name().map(str::to_owned)).unwrap();
    });
    let handle = OsThreads.spawn("worker", work).unwrap();
    assert_eq!(receive.recv().unwrap().as_deref(), Some("worker"));
    assert!(handle.join().is_ok());
    let quiet = Box::new(|| std::panic::resume_unwind(Box::new("on purpose")));
    assert!(OsThreads.spawn("worker", quiet).unwrap().join().is_err());
    assert_eq!(kind(NoThreads.spawn("worker", Box::new(|| {}))), Some(ErrorKind::Unsupported));
}

#[test]
fn environments() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("a");
    create(&*Env::os().fs, &path, b"x");
    assert_eq!(std::fs::read(&path).unwrap(), b"x");

    let fs = MemFs::new();
    let env = Env::memory(fs.clone());
    create(&*env.fs, "/a".as_ref(), b"x");
    assert_eq!(fs.read_file("/a").unwrap(), b"x");
    fs.clock().advance(Duration::from_secs(1));
    assert_eq!(env.clock.monotonic(), Duration::from_secs(1));
    assert!(env.threads.spawn("worker", Box::new(|| {})).is_err());
}

#[cfg(unix)]
#[test]
fn what_is_created_is_readable_by_those_who_may() {
    use crate::config::Access;
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (at, fs) in [OsFs::new(), OsFs::portable()].into_iter().enumerate() {
        for access in [Access::Owner, Access::Group, Access::All] {
            let dir = tempfile::tempdir().unwrap();
            let fs = fs.clone().readable_by(access);
            let sub = dir.path().join("sub");
            fs.create_dir(&sub).unwrap();
            create(&fs, &sub.join("a"), b"x");
            drop(fs.lock(&sub.join("LOCK"), "me").unwrap());
            let found = [mode(&sub), mode(&sub.join("a")), mode(&sub.join("LOCK"))];
            let wanted = [access.dir_mode(), access.file_mode(), access.file_mode()];
            // The umask of whoever runs this may take away more, but nothing from the owner.
            let what = format!("{access:?} of file system {at}: {found:?}");
            assert!(found.iter().zip(wanted).all(|(found, wanted)| found & !wanted == 0), "{what}");
            assert!(found.iter().zip(wanted).all(|(a, b)| a & 0o700 == b & 0o700), "{what}");
        }
    }
}
