//! What is looked for is found wherever it is, and nowhere when it was erased.

use datestone::ErrorKind;
use datestone_engine::absent::{NEEDLE_LEN_MAX, Occurrences};
use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::io::{CrashPlan, FaultOp, MemFs};
use datestone_engine::read::range::prefix_range;
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_tests::database::{DIR, open, small_options};
use datestone_tests::seed::Chance;
use std::path::Path;

const NEEDLE: &[u8] = b"a secret that must go";

struct World {
    fs: MemFs,
    db: Db,
    id: CollectionId,
}

impl World {
    fn new(options: &Options) -> Self {
        let fs = MemFs::new();
        let db = open(&fs, options).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
        Self { fs, db, id }
    }

    fn append(&self, rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
        let mut commit = Commit::new();
        let mut batch = commit.append(self.id, "c");
        for (key, val) in rows {
            batch.push(Update { key: &key, val: &val, ts: 3, diff: 1 }).unwrap();
        }
        batch.finish().unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
    }

    fn look(&self) -> Occurrences {
        self.db.find_bytes(NEEDLE).unwrap()
    }

    /// The names of the files where it is.
    fn files(&self) -> Vec<String> {
        let places = self.look().places.into_iter();
        let mut names: Vec<_> =
            places.map(|p| p.file.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.dedup();
        names
    }

    fn erase(&self, prefix: &[u8]) {
        self.db.erase(self.id, &prefix_range(prefix)).unwrap();
    }
}

fn secret() -> Vec<u8> {
    [b"before ", NEEDLE, b" behind"].concat()
}

fn others() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..400_u32).map(|n| (format!("key{n:06}").into_bytes(), b"nothing of interest".to_vec()))
}

#[test]
fn a_value_is_found_in_the_log_and_in_segments_until_it_is_erased() {
    let world = World::new(&small_options());
    world.append([(b"gone".to_vec(), secret())]);
    assert_eq!(world.files(), ["wal-0001.log"]);
    world.append(others());
    world.db.flush().unwrap();
    let files = world.files();
    assert!(files.len() == 2 && files.iter().any(|name| name.ends_with(".seg")), "{files:?}");
    world.erase(b"gone");
    let look = world.look();
    assert!(look.is_absent() && look.files >= 4 && look.bytes > 10_000, "{look:?}");
    let seen = world.db.find_bytes(b"nothing of interest").unwrap();
    assert!(seen.count > 400 - 1);
}

/// Goal: log files that wait for another use are looked at. Method: a secret in the log only, whose
/// collection is dropped and flushed, so that its file is a spare.
#[test]
fn spare_files_of_the_log_are_looked_at() {
    let world = World::new(&small_options());
    world.append([(b"k".to_vec(), secret())]);
    world.db.drop_collection("c").unwrap();
    for n in 0..40_u32 {
        let id = world.db.create_or_load(Kind::Multiset, "other", b"").unwrap().id;
        let mut commit = Commit::new();
        let mut batch = commit.append(id, "other");
        batch.push(Update { key: &n.to_be_bytes(), val: &[1; 9_000], ts: 3, diff: 1 }).unwrap();
        batch.finish().unwrap();
        world.db.commit(commit, Durability::Fsync).unwrap();
        world.db.flush().unwrap();
        if world.db.stats().wal_files > 2 {
            break;
        }
    }
    let files = world.files();
    assert!(files.iter().all(|name| name.starts_with("wal-")), "{files:?}");
    let id = world.db.find("other").unwrap().id;
    world.db.erase(id, &prefix_range(b"no such key")).unwrap();
    assert!(world.look().is_absent());
}

/// Goal: no file of the log keeps what was erased, neither one that is used again nor one of an earlier
/// session. Method: every file of the log has held the secret when it is erased, with and without a
/// restart before.
#[test]
fn no_file_of_the_log_keeps_what_was_erased() {
    for restart in [false, true] {
        let mut world = World::new(&small_options());
        for n in 0..12_u32 {
            let rows =
                (0..30).map(|i| ([&n.to_be_bytes()[..], &[i]].concat(), [1; 1_000].to_vec()));
            world.append(rows.chain([(b"gone".to_vec(), secret())]));
            world.db.flush().unwrap();
            while world.db.step().unwrap() {}
        }
        world.append([(b"gone".to_vec(), secret())]);
        assert!(world.db.stats().wal_files >= 2);
        if restart {
            world.db.close().unwrap();
            world.db = open(&world.fs, &small_options()).unwrap();
        }
        world.erase(b"gone");
        let look = world.look();
        assert!(look.is_absent(), "restart {restart}: {look:?}");
        let db = open(&world.fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
        assert!(db.find_bytes(NEEDLE).unwrap().is_absent());
    }
}

#[test]
fn compressed_blocks_are_looked_at_decoded() {
    let compression = Compression::Cold { level: 3 };
    let world = World::new(&Options { compression, ..small_options() });
    // Text of few letters, which is stored in fewer bits a letter.
    let mut chance = Chance::new(1);
    let mut text = || (0..60).map(|_| b"abcdefgh"[chance.below(8) as usize]).collect::<Vec<_>>();
    for rows in [0..200_u32, 200..400] {
        world.append(rows.map(|n| (n.to_be_bytes().to_vec(), text())));
        world.append([(b"gone".to_vec(), [&text()[..], NEEDLE, &text()].concat())]);
        world.db.flush().unwrap();
    }
    let mut commit = Commit::new();
    commit.advance_upper(world.id, Frontier::at(9)).unwrap();
    world.db.commit(commit, Durability::Fsync).unwrap();
    world.db.compact(None).unwrap();
    world.erase(b"no such key"); // The log is gone with it.
    let look = world.look();
    assert!(look.count > 0 && look.places.iter().all(|place| place.decoded), "{look:?}");
    world.erase(b"gone");
    assert!(world.look().is_absent());
}

/// A block has one copy of what its keys begin with; a key is looked at as a whole.
#[test]
fn keys_are_looked_at_whole() {
    let world = World::new(&small_options());
    let (head, tail) = NEEDLE.split_at(9);
    world.append((0..50_u8).map(|n| {
        let end = if n == 20 { tail.to_vec() } else { vec![n] };
        ([b"all keys begin with ", head, &end].concat(), vec![n])
    }));
    world.erase(b"no such key");
    let look = world.look();
    assert!(look.count >= 1 && look.places.iter().any(|place| place.decoded), "{look:?}");
    world.erase(&[b"all keys begin with ", NEEDLE].concat());
    assert!(world.look().is_absent());
}

#[test]
fn names_and_metadata_are_looked_at() {
    let world = World::new(&small_options());
    let name = String::from_utf8(NEEDLE.to_vec()).unwrap();
    world.db.create_or_load(Kind::Table, &name, b"").unwrap();
    world.db.flush().unwrap();
    assert!(world.files().iter().any(|name| name.starts_with("MANIFEST-")));
}

/// Goal: what lies across two pieces that are read is found, and how much may be looked for is bounded.
#[test]
fn the_ends_of_pieces_are_looked_at_together() {
    let world = World::new(&small_options());
    let path = Path::new(DIR).join("left.tmp");
    for at in
        [0, (1 << 20) - NEEDLE.len() - 1, (1 << 20) - 15, (1 << 20) - 3, (1 << 20) - 1, 1 << 20]
    {
        let mut bytes = vec![b'a'; (2 << 20) + 7];
        bytes[at..at + NEEDLE.len()].copy_from_slice(NEEDLE);
        world.fs.put_file(&path, &bytes).unwrap();
        let look = world.look();
        let places: Vec<u64> = look.places.iter().map(|place| place.offset).collect();
        assert_eq!((look.count, places), (1, vec![at as u64]));
    }
    for needle in [Vec::new(), vec![0; NEEDLE_LEN_MAX + 1]] {
        assert_eq!(world.db.find_bytes(&needle).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let all = world.db.find_bytes(b"a").unwrap();
    assert!(all.count > 2_000_000 && all.places.len() == 1_000);
}

/// What cannot be read is not called absent.
#[test]
fn damage_is_not_absence() {
    let world = World::new(&small_options());
    world.append(others());
    world.db.flush().unwrap();
    let entries = datestone_engine::io::Fs::list(&world.fs, Path::new(DIR)).unwrap();
    let segment = entries.iter().find(|e| e.name.to_string_lossy().ends_with(".seg")).unwrap();
    let path = Path::new(DIR).join(&segment.name);
    world.fs.flip_bits(&path, 300, 1).unwrap();
    let error = world.db.find_bytes(NEEDLE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
}

/// Goal: what readers keep is told of, also where a merge had replaced it before. Method: a snapshot from
/// before a merge and one from before the erasure.
#[test]
fn what_snapshots_hold_is_told() {
    let world = World::new(&small_options());
    let upper = |ts| {
        let mut commit = Commit::new();
        commit.advance_upper(world.id, Frontier::at(ts)).unwrap();
        world.db.commit(commit, Durability::Fsync).unwrap();
    };
    world.append([(b"gone".to_vec(), secret())]);
    upper(4);
    world.db.flush().unwrap();
    let first = world.db.latest(world.id).unwrap();
    let mut commit = Commit::new();
    let mut batch = commit.append(world.id, "c");
    batch.push(Update { key: b"gone", val: b"else", ts: 5, diff: 1 }).unwrap();
    batch.finish().unwrap();
    world.db.commit(commit, Durability::Fsync).unwrap();
    upper(6);
    world.db.compact(None).unwrap();
    let second = world.db.latest(world.id).unwrap();
    let held = world.db.erase(world.id, &prefix_range(b"gone")).unwrap().held;
    let mut found: Vec<_> = world.look().places.into_iter().map(|place| place.file).collect();
    found.dedup();
    assert_eq!((found, held.len()), (held, 2));
    drop(second);
    assert_eq!(world.files().len(), 1);
    drop(first);
    assert!(world.look().is_absent());
}

/// Goal: a file that could not be removed is told of, and goes with the next erasure or opening. Method:
/// each removal fails once.
#[test]
fn what_cannot_be_removed_goes_later() {
    for nth in 1..6 {
        let mut world = World::new(&small_options());
        world.append(others().chain([(b"gone".to_vec(), secret())]));
        world.db.flush().unwrap();
        world.fs.fail_nth(FaultOp::Remove, nth, std::io::ErrorKind::Other);
        let done = world.db.erase(world.id, &prefix_range(b"gone"));
        world.fs.clear_faults();
        match done {
            Ok(erased) => {
                let found = world.look().places.into_iter().map(|place| place.file);
                assert!(found.into_iter().all(|file| erased.held.contains(&file)));
                world.db.close().unwrap();
                world.db = open(&world.fs, &small_options()).unwrap();
            }
            Err(_) => world.erase(b"gone"),
        }
        assert!(world.look().is_absent(), "removal {nth}: {:?}", world.look());
    }
}

/// Goal: a segment that is being written, or was when the power went, is no damage, and is looked at as
/// far as it goes. Method: the beginning of a compressed segment under another name.
#[test]
fn the_beginning_of_a_segment_is_looked_at() {
    let options = Options { compression: Compression::Cold { level: 1 }, ..small_options() };
    let world = World::new(&options);
    world.append(others().chain([(b"gone".to_vec(), secret())]));
    world.db.flush().unwrap();
    world.db.compact(None).unwrap();
    let entries = datestone_engine::io::Fs::list(&world.fs, Path::new(DIR)).unwrap();
    let segment = entries.iter().find(|e| e.name.to_string_lossy().ends_with(".seg")).unwrap();
    let name = segment.name.to_str().unwrap();
    let content = world.fs.read_file(Path::new(DIR).join(name)).unwrap();
    world.erase(b"gone");
    assert!(world.look().is_absent());
    let left = Path::new(DIR).join("00000000000000ff.seg");
    world.fs.put_file(&left, &content[..content.len() - 100]).unwrap();
    let look = world.look();
    assert!(!look.is_absent(), "{look:?}");
    assert!(look.places.iter().all(|place| place.file == left), "{look:?}");
}

/// Goal: bytes that are in the database are found also while flushes, merges and the log move them from
/// file to file. Method: a thread that does nothing but that, and a search that is repeated.
#[test]
fn what_moves_meanwhile_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { compression: Compression::Cold { level: 1 }, ..small_options() };
    let db = Db::open(datestone_engine::io::Env::os(), dir.path(), options).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let append = |key: &[u8], val: &[u8]| {
        let mut commit = Commit::new();
        let mut batch = commit.append(id, "c");
        batch.push(Update { key, val, ts: 3, diff: 1 }).unwrap();
        batch.finish().unwrap();
        db.commit(commit, Durability::Buffer).unwrap();
    };
    append(b"key", &secret());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..150_u32 {
                append(&n.to_be_bytes(), &[n as u8; 3_000]);
                db.flush().unwrap();
                if n % 3 == 0 {
                    db.compact(None).unwrap();
                }
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut searches = 0;
        while searches < 3 || !done.load(std::sync::atomic::Ordering::Acquire) {
            match db.find_bytes(NEEDLE) {
                Ok(found) => assert!(!found.is_absent(), "search {searches}"),
                Err(e) => panic!("search {searches}: {e}"),
            }
            searches += 1;
        }
    });
}
