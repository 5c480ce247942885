//! Truncation, erasure and ingestion agree with a list of updates, and a power cut at any change of
//! the file system leaves all or nothing of them.

use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::{ErrorKind, Result};
use datestone_engine::io::{CrashPlan, FaultOp, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_tests::database::{collect, open, small_options};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::ops::Bound;

type Row = (Vec<u8>, Vec<u8>);

struct World {
    fs: MemFs,
    db: Db,
    id: CollectionId,
    updates: Vec<(Row, u64, i64)>,
    since: u64,
    upper: u64,
    chance: Chance,
}

impl World {
    fn new(seed: u64) -> Self {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
        let updates = Vec::new();
        Self { fs, db, id, updates, since: 0, upper: 0, chance: Chance::new(seed) }
    }

    fn pick(&mut self, below: u64) -> u64 {
        self.chance.next_u64() % below
    }

    fn update(&mut self) -> (Row, u64, i64) {
        let key = format!("key{:02}", self.pick(40)).into_bytes();
        let val = vec![b'v'; self.pick(60) as usize];
        let diff = [1, 1, 2, -1][self.pick(4) as usize];
        ((key, val), self.upper + self.pick(9), diff)
    }

    fn append(&mut self) {
        let mut commit = Commit::new();
        let mut batch = commit.append(self.id, "c");
        for _ in 0..self.pick(30) {
            let (row, ts, diff) = self.update();
            batch.push(Update { key: &row.0, val: &row.1, ts, diff }).unwrap();
            self.updates.push((row, ts, diff));
        }
        batch.finish().unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
    }

    fn advance(&mut self) {
        self.upper += self.pick(6);
        let mut commit = Commit::new();
        commit.advance_upper(self.id, Frontier::at(self.upper)).unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
    }

    fn compact_below(&mut self) {
        self.since = self.since.max(self.upper.saturating_sub(self.pick(10)));
        let mut commit = Commit::new();
        commit.compact_below(self.id, Frontier::at(self.since)).unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
    }

    fn truncate(&mut self) {
        let at = (self.upper + 6).saturating_sub(self.pick(14));
        if self.since > 0 && at <= self.since {
            let refused = self.db.truncate_at(self.id, at, false).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Compacted);
            return;
        }
        let counted = self.db.truncate_at(self.id, at, true).unwrap();
        let done = self.db.truncate_at(self.id, at, false).unwrap();
        assert_eq!(counted, done);
        assert_eq!(done.upper_before, Frontier::at(self.upper));
        let before = self.updates.len();
        self.updates.retain(|(_, ts, _)| *ts < at);
        assert!(done.updates <= (before - self.updates.len()) as u64, "consolidated perhaps");
        self.upper = at;
    }

    fn range(&mut self) -> RangeSpec {
        let first = format!("key{:02}", self.pick(40)).into_bytes();
        let end = format!("key{:02}", self.pick(44)).into_bytes();
        RangeSpec { start: Bound::Included(first), end: Bound::Excluded(end) }
    }

    fn erase(&mut self) {
        let range = self.range();
        let erased = self.db.erase(self.id, &range).unwrap();
        assert_eq!(erased.held, Vec::<std::path::PathBuf>::new());
        self.updates.retain(|(row, ..)| !range.contains(&row.0));
    }

    fn ingest(&mut self) {
        let mut updates: Vec<_> = (0..self.pick(200)).map(|_| self.update()).collect();
        updates.sort();
        let upper = (self.pick(2) == 0).then(|| self.upper + self.pick(7));
        let mut ingest = self.db.ingest(self.id).unwrap();
        for ((key, val), ts, diff) in &updates {
            ingest.push(Update { key, val, ts: *ts, diff: *diff }).unwrap();
        }
        let upper_frontier = upper.map(Frontier::at);
        let count = self.db.finish_ingest(ingest, upper_frontier).unwrap();
        assert_eq!(count, updates.len() as u64);
        self.updates.append(&mut updates);
        self.upper = self.upper.max(upper.unwrap_or(0));
    }

    fn step(&mut self) {
        match self.pick(24) {
            0 => self.db.flush().unwrap(),
            1 => self.db.compact(None).unwrap(),
            2 | 3 => while self.db.step().unwrap() {},
            4 => self.compact_below(),
            5 => self.truncate(),
            6 => self.erase(),
            7 | 8 => self.ingest(),
            9 => {
                self.fs = self.fs.crash(CrashPlan::LoseUnsynced);
                self.db = open(&self.fs, &small_options()).unwrap();
            }
            10..=13 => self.advance(),
            _ => self.append(),
        }
        assert_eq!(self.db.collection(self.id).unwrap().upper, Frontier::at(self.upper));
    }

    fn contents(&self, as_of: u64) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        contents(&self.updates, as_of)
    }

    fn check(&self) {
        for as_of in self.since..self.upper {
            let snapshot = self.db.snapshot(self.id, as_of).unwrap();
            let found = collect(snapshot.rows(RangeSpec::ALL)).unwrap();
            assert_eq!(found, self.contents(as_of), "as of {as_of}");
        }
    }
}

fn contents(updates: &[(Row, u64, i64)], as_of: u64) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let mut sums: BTreeMap<&Row, i64> = BTreeMap::new();
    for (row, _, diff) in updates.iter().filter(|(_, ts, _)| *ts <= as_of) {
        *sums.entry(row).or_default() += diff;
    }
    let rows = sums.into_iter().filter(|(_, sum)| *sum != 0);
    rows.map(|((key, val), sum)| (key.clone(), val.clone(), sum)).collect()
}

#[test]
fn histories_with_truncation_erasure_and_ingestion_agree_with_a_list() {
    let first = seed("surgery");
    for case in 0..count("DATESTONE_SURGERY_CASES", 60) {
        let mut world = World::new(first.wrapping_add(case));
        for _ in 0..200 {
            world.step();
        }
        world.check();
        world.db.compact(None).unwrap();
        world.check();
        world.fs = world.fs.crash(CrashPlan::LoseUnsynced);
        world.db = open(&world.fs, &small_options()).unwrap();
        world.check();
    }
}

/// Cuts the power at every change that `work` makes; afterwards the contents are those before or
/// those after, and after a success those after.
fn all_or_nothing(work: impl Fn(&mut World) -> Result<()>) {
    let prepared = || {
        let mut world = World::new(3);
        for _ in 0..6 {
            world.append();
            world.advance();
        }
        world.db.flush().unwrap();
        world.append();
        world
    };
    let state = |world: &World| {
        let upper = world.db.collection(world.id).unwrap().upper;
        let rows = world.db.latest(world.id).unwrap().rows(RangeSpec::ALL);
        (upper, collect(rows).unwrap())
    };
    let (mut world, before) = (prepared(), state(&prepared()));
    work(&mut world).unwrap();
    let after = state(&world);
    assert_ne!(before, after);
    for cut in 0.. {
        let mut world = prepared();
        world.fs.fail_from(FaultOp::Change, cut, std::io::ErrorKind::Other);
        let done = work(&mut world);
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(cut)] {
            let fs = world.fs.crash(plan);
            let db = open(&fs, &small_options()).unwrap();
            let (id, chance) = (world.id, Chance::new(0));
            let seen = World { fs, db, id, updates: Vec::new(), since: 0, upper: 0, chance };
            let found = state(&seen);
            assert!(found == before || found == after, "cut {cut}, {plan:?}");
            assert!(done.is_err() || found == after, "cut {cut}, {plan:?}: lost");
        }
        if done.is_ok() {
            assert!(cut > 3, "{cut} changes");
            return;
        }
    }
}

#[test]
fn a_power_cut_leaves_all_or_nothing_of_a_truncation() {
    all_or_nothing(|world| {
        let upper = world.upper - 3;
        world.db.truncate_at(world.id, upper, false).map(drop)
    });
}

#[test]
fn a_power_cut_leaves_all_or_nothing_of_an_ingestion() {
    all_or_nothing(|world| {
        let mut ingest = world.db.ingest(world.id)?;
        for n in 0..50_u8 {
            let ts = world.upper + u64::from(n % 4);
            ingest.push(Update { key: &[n], val: b"ingested", ts, diff: 1 })?;
        }
        world.db.finish_ingest(ingest, Some(Frontier::at(world.upper + 9))).map(drop)
    });
}

#[test]
fn a_power_cut_leaves_all_or_nothing_of_an_erasure() {
    all_or_nothing(|world| {
        let range = RangeSpec {
            start: Bound::Included(b"key1".to_vec()),
            end: Bound::Excluded(b"key3".to_vec()),
        };
        world.db.erase(world.id, &range).map(drop)
    });
}

/// No file has an erased key or value any longer; files that a snapshot reads are reported.
#[test]
fn nothing_of_what_was_erased_is_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = small_options();
    let db = datestone::Datestone::open_with(dir.path(), options).unwrap();
    let people = db.typed::<str, str>("people").unwrap();
    let table = db.typed_table::<str, str>("table").unwrap();
    for n in 0..3_000_u64 {
        let name = format!("person{n}");
        people.append([(name.as_str(), "lives here", n / 100, 1)]).unwrap();
        if n % 100 == 0 {
            people.advance_upper(n / 100).unwrap();
            people.append([("SECRETIVE", "SECRETADDRESS", n / 100, 1)]).unwrap();
            table.put("SECRETIVE", "SECRETADDRESS").unwrap();
        }
    }
    people.advance_upper(50).unwrap();
    let found = || {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(6).any(|window| window == b"SECRET") {
                found.push(path);
            }
        }
        found.sort();
        found
    };
    assert!(found().len() > 2);
    db.flush().unwrap();
    let snapshot = people.latest().unwrap();
    let mut held = people.erase("SECRETIVE"..="SECRETIVE").unwrap().held;
    table.erase("SECRET".."SECRETZ").unwrap();
    held.sort();
    assert!(!held.is_empty());
    assert_eq!(found(), held);
    assert!(snapshot.contains("SECRETIVE").unwrap());
    drop(snapshot);
    assert_eq!(found(), Vec::<std::path::PathBuf>::new());
    assert_eq!(people.latest().unwrap().count().unwrap(), 3_000);
    assert_eq!(table.get("SECRETIVE").unwrap(), None);
}

/// Whether a file of a directory has these bytes.
fn any_file_has(dir: &std::path::Path, bytes: &[u8]) -> bool {
    let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.unwrap().path());
    let has = |file: Vec<u8>| file.windows(bytes.len()).any(|window| window == bytes);
    std::fs::read_dir(dir).unwrap().any(|entry| has(read(entry).unwrap()))
}

/// The log's next file after an erasure was a spare, if there was one, which kept the frames of its
/// last use behind its new header. The kill test found it: a spare with erased rows needs a database
/// that was opened anew, as the one before has no use for its flushed files yet.
#[test]
fn the_log_does_not_go_on_in_a_file_that_has_erased_rows() {
    let dir = tempfile::tempdir().unwrap();
    let open = || datestone::Datestone::open_with(dir.path(), small_options()).unwrap();
    let db = open();
    let people = db.typed::<str, str>("people").unwrap();
    people.append([("SECRETIVE", "SECRETADDRESS", 0, 1)]).unwrap();
    db.flush().unwrap();
    drop(people);
    db.close().unwrap();
    // Opened again, the first file waits for another use as soon as there is a second one.
    let db = open();
    let people = db.typed::<str, str>("people").unwrap();
    people.append([("somebody", "else", 0, 1)]).unwrap();
    db.flush().unwrap();
    assert!(any_file_has(dir.path(), b"SECRET"));
    people.erase("SECRET".."SECRETZ").unwrap();
    assert!(!any_file_has(dir.path(), b"SECRET"));
    people.append([("somebody", "else", 0, 1)]).unwrap();
    assert!(!any_file_has(dir.path(), b"SECRET"));
}

/// A database that has committed nothing since it was opened has no file of the log that it writes
/// to, and kept the newest one, for its number, with the rows in it.
#[test]
fn an_erasure_right_after_opening_leaves_nothing_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let open = || datestone::Datestone::open_with(dir.path(), small_options()).unwrap();
    let db = open();
    let people = db.typed::<str, str>("people").unwrap();
    people.append([("SECRETIVE", "SECRETADDRESS", 0, 1)]).unwrap();
    drop(people);
    db.close().unwrap();
    let db = open();
    let people = db.typed::<str, str>("people").unwrap();
    people.erase("SECRET".."SECRETZ").unwrap();
    assert!(!any_file_has(dir.path(), b"SECRET"));
    drop(people);
    db.close().unwrap();
    let rows = open().find("people").unwrap().updates().unwrap().next_update().unwrap().is_some();
    assert!(!rows);
}
