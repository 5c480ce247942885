//! Tables and logs agree with plain maps.
//!
//! Goal: whatever is put, deleted, appended, flushed, merged, forgotten, closed or killed, each
//! legal read of a table gives what a map per key of its versions gives, and each log holds what was
//! appended. Method: random operations on the engine on a file system in memory, beside maps that
//! know nothing of segments; after each restart and at the end every read at every legal time.
//!
//! `DATESTONE_SEED` repeats a run, `DATESTONE_KINDS_CASES` sets how many there are.

use datestone_engine::collection::Description;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::{Committed, Db};
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::format::log_key;
use datestone_engine::io::{CrashPlan, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::Snapshot;
use datestone_engine::subscription::Event;
use datestone_engine::types::{Frontier, Kind};
use datestone_tests::database::{collect, open, small_options};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;

/// Versions of each key: a value, or none for a deletion, by time.
type Versions = BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>>;

/// Two tables on the database's clock, one on the caller's, one log.
const NAMES: [&str; 4] = ["left", "right", "timed", "log"];
const KINDS: [Kind; 4] = [Kind::ClockTable, Kind::ClockTable, Kind::Table, Kind::Log];
const TIMED: usize = 2;
const LOG: usize = 3;

struct World {
    fs: MemFs,
    db: Db,
    collections: Vec<Description>,
    tables: [Versions; 3],
    since: [u64; 3],
    clock: u64,
    timed_upper: u64,
    events: Vec<Vec<u8>>,
    ids: BTreeMap<Vec<u8>, usize>,
    chance: Chance,
}

impl World {
    fn new(seed: u64) -> Self {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let create = |(name, kind)| db.create_or_load(kind, name, b"").unwrap();
        let collections = NAMES.into_iter().zip(KINDS).map(create).collect();
        Self {
            fs,
            db,
            collections,
            tables: [Versions::new(), Versions::new(), Versions::new()],
            since: [0; 3],
            clock: 1,
            timed_upper: 0,
            events: Vec::new(),
            ids: BTreeMap::new(),
            chance: Chance::new(seed),
        }
    }

    fn pick(&mut self, below: u64) -> u64 {
        self.chance.next_u64() % below
    }

    /// A key, one in three times the hot one.
    fn key(&mut self) -> Vec<u8> {
        match self.pick(3) {
            0 => b"hot".to_vec(),
            _ => format!("k{}", self.pick(30)).into_bytes(),
        }
    }

    /// A value, of one length mostly; none for a deletion.
    fn val(&mut self) -> Option<Vec<u8>> {
        match self.pick(8) {
            0 => None,
            1 => Some(vec![b'v'; self.pick(400) as usize]),
            _ => Some(self.chance.next_u64().to_be_bytes().to_vec()),
        }
    }

    /// Puts to any of the tables and appends to the log, in one commit.
    fn commit(&mut self) {
        let mut commit = Commit::new();
        let mut appended = 0;
        let mut ticks = false;
        for _ in 0..=self.pick(12) {
            let which = self.pick(4) as usize;
            let description = self.collections[which].clone();
            if which == LOG {
                let event = self.val().unwrap_or_default();
                let mut events = commit.events(&description, None).unwrap();
                events.push(None, &event).unwrap();
                events.finish();
                self.events.push(event);
                appended += 1;
                continue;
            }
            let (key, val) = (self.key(), self.val());
            let given = (which == TIMED).then(|| self.timed_upper + self.pick(6));
            let mut puts = commit.puts(&description).unwrap();
            match &val {
                Some(val) => puts.put(&key, val, given).unwrap(),
                None => puts.delete(&key, given).unwrap(),
            }
            puts.finish();
            ticks |= which != TIMED;
            let ts = given.unwrap_or(self.clock);
            self.tables[which].entry(key).or_default().insert(ts, val);
        }
        let done = self.run(commit);
        if ticks {
            assert_eq!(done.ts, self.clock);
            self.clock += 1;
        }
        if appended > 0 {
            let first = done.positions[&self.collections[LOG].id];
            assert_eq!(first, self.events.len() as u64 - appended);
        }
    }

    fn run(&self, commit: Commit) -> Committed {
        self.db.commit(commit, Durability::Fsync).unwrap()
    }

    /// Appends an event under an id that the log may have.
    fn append_once(&mut self) {
        let id = format!("id{}", self.pick(40)).into_bytes();
        let log = self.collections[LOG].clone();
        let mut commit = Commit::new();
        let mut events = commit.events(&log, None).unwrap();
        events.push(Some(&id), &id).unwrap();
        events.finish();
        let found = self.db.commit(commit, Durability::Fsync);
        match (found, self.ids.get(&id)) {
            (Ok(done), None) => {
                assert_eq!(done.positions[&log.id], self.events.len() as u64);
                self.ids.insert(id.clone(), self.events.len());
                self.events.push(id);
            }
            (Err(Error::EventExists { position, .. }), Some(known)) => {
                assert_eq!(position, *known as u64);
            }
            (found, known) => panic!("{found:?}, known {known:?}"),
        }
    }

    fn append_at(&mut self) {
        let log = self.collections[LOG].clone();
        let expected = self.events.len() as u64 + self.pick(2);
        let mut commit = Commit::new();
        let mut events = commit.events(&log, Some(expected)).unwrap();
        events.push(None, b"expected").unwrap();
        events.finish();
        let found = self.db.commit(commit, Durability::Buffer);
        if expected == self.events.len() as u64 {
            found.unwrap();
            self.events.push(b"expected".to_vec());
        } else {
            assert_eq!(found.unwrap_err().kind(), ErrorKind::UpperMismatch);
        }
    }

    fn upper(&self, which: usize) -> u64 {
        if which == TIMED { self.timed_upper } else { self.clock }
    }

    fn advance(&mut self) {
        self.timed_upper += self.pick(8);
        let mut commit = Commit::new();
        let id = self.collections[TIMED].id;
        commit.advance_upper(id, Frontier::at(self.timed_upper)).unwrap();
        self.run(commit);
    }

    fn compact_below(&mut self) {
        let which = self.pick(3) as usize;
        let since = self.pick(self.upper(which) + 1);
        self.since[which] = self.since[which].max(since);
        let mut commit = Commit::new();
        commit.compact_below(self.collections[which].id, Frontier::at(since)).unwrap();
        self.run(commit);
    }

    fn refusals(&mut self) {
        let refused = |commit: Commit| {
            let error = self.db.commit(commit, Durability::Fsync).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        };
        let log = self.collections[LOG].id;
        let mut forget = Commit::new();
        forget.compact_below(log, Frontier::at(1)).unwrap();
        refused(forget);
        let mut advance = Commit::new();
        advance.advance_upper(log, Frontier::at(1 << 40)).unwrap();
        refused(advance);
        if self.timed_upper > 0 {
            let mut late = Commit::new();
            let mut puts = late.puts(&self.collections[TIMED]).unwrap();
            puts.put(b"late", b"", Some(self.timed_upper - 1)).unwrap();
            puts.finish();
            refused(late);
        }
    }

    fn step(&mut self) {
        match self.pick(40) {
            0 => self.db.flush().unwrap(),
            1 => self.db.compact(None).unwrap(),
            2 | 3 => while self.db.step().unwrap() {},
            4 => self.compact_below(),
            5..=8 => self.advance(),
            9..=11 => self.append_once(),
            12 => self.append_at(),
            13 => self.refusals(),
            14 => {
                self.db.close().unwrap();
                self.reopen(self.fs.clone());
            }
            15 => self.reopen(self.fs.crash(CrashPlan::LoseUnsynced)),
            16 => self.reopen(self.fs.crash(CrashPlan::KeepAll)),
            17..=20 => self.probe(),
            _ => self.commit(),
        }
    }

    fn reopen(&mut self, fs: MemFs) {
        self.fs = fs;
        self.db = open(&self.fs, &small_options()).unwrap();
        for collection in &self.collections {
            assert_eq!(self.db.find(&collection.name).unwrap(), *collection);
        }
        self.probe();
    }

    /// Compares the reads of one table at one time, and the log.
    fn probe(&mut self) {
        let which = self.pick(3) as usize;
        let (since, upper) = (self.since[which], self.upper(which));
        if since < upper {
            let as_of = since + self.pick(upper - since);
            self.check_table(which, as_of);
        }
        self.check_time_axis(which);
        self.check_log();
    }

    fn check_table(&mut self, which: usize, as_of: u64) {
        let snapshot = self.db.snapshot(self.collections[which].id, as_of).unwrap();
        let at = |versions: &BTreeMap<u64, Option<Vec<u8>>>| {
            let (ts, val) = versions.range(..=as_of).next_back()?;
            Some((*ts, val.clone()?))
        };
        let mut wanted = Vec::new();
        for (key, versions) in &self.tables[which] {
            let found = get(&snapshot, key);
            let counts = at(versions);
            assert_eq!(found, counts, "{which} {} as of {as_of}", key.escape_ascii());
            wanted.extend(counts.map(|(ts, val)| (key.clone(), val, ts)));
        }
        assert_eq!(get(&snapshot, b"never"), None);
        assert_eq!(rows(&snapshot, RangeSpec::ALL, false), wanted, "{which} as of {as_of}");
        let prefix = prefix_range(b"k1");
        let mut some = wanted.clone();
        some.retain(|(key, ..)| key.starts_with(b"k1"));
        assert_eq!(rows(&snapshot, prefix.clone(), false), some);
        some.reverse();
        assert_eq!(rows(&snapshot, prefix, true), some);
        wanted.reverse();
        assert_eq!(rows(&snapshot, RangeSpec::ALL, true), wanted, "{which} as of {as_of}");
    }

    /// The contents of a table as a multiset.
    fn contents(&self, which: usize, as_of: u64) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        let row = |(key, versions): (&Vec<u8>, &BTreeMap<u64, Option<Vec<u8>>>)| {
            let (_, val) = versions.range(..=as_of).next_back()?;
            Some((key.clone(), val.clone()?, 1))
        };
        self.tables[which].iter().filter_map(row).collect()
    }

    /// Changes, history, a subscription, and the generic reads of a table.
    fn check_time_axis(&mut self, which: usize) {
        let (since, upper) = (self.since[which], self.upper(which));
        if since >= upper {
            return;
        }
        let id = self.collections[which].id;
        let from = since + self.pick(upper - since);
        let to = from + self.pick(upper - from);
        let (before, after) = (self.contents(which, from), self.contents(which, to));
        let snapshot = self.db.snapshot(id, to).unwrap();
        assert_eq!(collect(snapshot.contents(RangeSpec::ALL)).unwrap(), after);

        let mut wanted: Sums = BTreeMap::new();
        after.iter().for_each(|(key, val, _)| add(&mut wanted, key, val, 1));
        before.iter().for_each(|(key, val, _)| add(&mut wanted, key, val, -1));
        let mut wanted: Vec<_> = wanted.into_iter().map(|((k, v), diff)| (k, v, diff)).collect();
        let changes = || self.db.changes(id, RangeSpec::ALL, from, to).unwrap();
        assert_eq!(collect(changes()).unwrap(), wanted, "{which} {from}..{to}");
        wanted.reverse();
        assert_eq!(collect(changes().reversed()).unwrap(), wanted, "{which} {from}..{to}");

        // What was there just before, and the history from then on.
        let mut sums: Sums = BTreeMap::new();
        before.iter().for_each(|(key, val, _)| add(&mut sums, key, val, 1));
        let end = Some(Frontier::at(to + 1));
        let mut history = self.db.history(id, RangeSpec::ALL, from + 1, end).unwrap();
        let mut last = None;
        while let Some(update) = history.next().unwrap() {
            assert!(from < update.ts && update.ts <= to);
            let at = (update.key.to_vec(), update.val.to_vec(), update.ts);
            assert!(last < Some(at.clone()), "in order of (key, val, ts)");
            last = Some(at);
            add(&mut sums, update.key, update.val, update.diff);
        }
        let rows = |sums: Sums| sums.into_iter().map(|((k, v), d)| (k, v, d)).collect::<Vec<_>>();
        assert_eq!(rows(sums), after, "{which} {from}..{to}");

        let mut sums: Sums = BTreeMap::new();
        let mut subscription = self.db.subscribe(id, from, "test").unwrap();
        subscription.set_piece_bytes(1 + self.pick(300) as usize);
        while let Some(event) = subscription.try_next().unwrap() {
            match event {
                Event::Progress(frontier) => {
                    let as_of = frontier.ts().unwrap() - 1;
                    let now = sums.clone();
                    assert_eq!(rows(now), self.contents(which, as_of), "{which} at {as_of}");
                }
                Event::Updates(piece) => {
                    for update in piece.iter() {
                        add(&mut sums, update.key, update.val, update.diff);
                    }
                }
            }
        }
        assert_eq!(subscription.frontier(), Frontier::at(upper));
    }

    fn check_log(&self) {
        let log = self.collections[LOG].id;
        let upper = self.db.collection(log).unwrap().upper;
        assert_eq!(upper, Frontier::at(self.events.len() as u64));
        let Ok(snapshot) = self.db.latest(log) else { return };
        let mut rows = snapshot.rows(RangeSpec::ALL);
        for (position, event) in self.events.iter().enumerate() {
            let row = rows.next().unwrap().unwrap();
            assert_eq!(log_key::position_of(row.key), Some(position as u64));
            assert_eq!(log_key::split_event(row.val).1, event);
        }
        for (id, position) in &self.ids {
            snapshot
                .get(&log_key::id_key(id), |val, diff| {
                    assert_eq!((log_key::position_of(val), diff), (Some(*position as u64), 1));
                    Ok(())
                })
                .unwrap();
        }
    }

    fn check_everything(&mut self) {
        for which in 0..3 {
            for as_of in self.since[which]..self.upper(which) {
                self.check_table(which, as_of);
            }
        }
        self.check_log();
    }
}

/// Multiplicities of rows, zeros left out.
type Sums = BTreeMap<(Vec<u8>, Vec<u8>), i64>;

fn add(sums: &mut Sums, key: &[u8], val: &[u8], diff: i64) {
    let row = (key.to_vec(), val.to_vec());
    let sum = sums.entry(row.clone()).or_default();
    *sum += diff;
    if *sum == 0 {
        sums.remove(&row);
    }
}

fn get(snapshot: &Snapshot, key: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut found = None;
    let there = snapshot
        .version(key, |val, ts| {
            found = Some((ts, val.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(there, found.is_some());
    found
}

fn rows(snapshot: &Snapshot, range: RangeSpec, reversed: bool) -> Vec<(Vec<u8>, Vec<u8>, u64)> {
    let mut rows = snapshot.version_rows(range);
    if reversed {
        rows = rows.reversed();
    }
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        all.push((row.key.to_vec(), row.val.to_vec(), row.ts));
    }
    assert!(rows.next().unwrap().is_none(), "the end stays");
    all
}

#[test]
fn tables_and_logs_agree_with_maps() {
    let first = seed("tables_and_logs_agree_with_maps");
    for case in 0..count("DATESTONE_KINDS_CASES", 60) {
        let mut world = World::new(first.wrapping_add(case));
        for _ in 0..300 {
            world.step();
        }
        world.check_everything();
        world.db.compact(None).unwrap();
        world.check_everything();
        world.reopen(world.fs.crash(CrashPlan::LoseUnsynced));
        world.check_everything();
    }
}

/// With everything below the last version forgotten, a merge leaves one version of each key that
/// has a value and nothing of those that were deleted.
#[test]
fn versions_and_deletions_leave_when_no_read_needs_them() {
    let world = World::new(7);
    for n in 0..4_000_u32 {
        let mut commit = Commit::new();
        let mut puts = commit.puts(&world.collections[0]).unwrap();
        puts.put(&(n % 10).to_be_bytes(), &n.to_be_bytes(), None).unwrap();
        if n % 100 == 99 {
            puts.delete(&((n + 1) % 10).to_be_bytes(), None).unwrap();
        }
        puts.finish();
        world.run(commit);
        if n % 500 == 0 {
            world.db.flush().unwrap();
        }
    }
    let id = world.collections[0].id;
    let stats = |world: &World| world.db.collection_stats(id).unwrap();
    world.db.compact(Some(id)).unwrap();
    assert_eq!((stats(&world).updates, stats(&world).garbage_updates), (4_040, 0));
    let since = world.db.collection(id).unwrap().upper.last_below().unwrap();
    let mut commit = Commit::new();
    commit.compact_below(id, Frontier::at(since)).unwrap();
    world.run(commit);
    assert!(stats(&world).garbage_updates > 3_900);
    // Background work finds out by itself.
    while world.db.step().unwrap() {}
    assert_eq!((stats(&world).updates, stats(&world).garbage_updates), (9, 0));
    let snapshot = world.db.latest(id).unwrap();
    assert_eq!(rows(&snapshot, RangeSpec::ALL, false).len(), 9);
}
