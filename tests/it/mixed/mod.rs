//! All kinds and all operations in one random history, against plain maps and lists.
//!
//! Goal: whatever is done to which collection in which order, restarts included, each collection is what
//! its definition makes of it; and so are a checkpoint, a restored backup and a reader beside the writer.
//! Method: random operations on the engine on a file system in memory, beside a model that knows nothing
//! of segments: a list of updates for a multiset, a map of versions for each key of a table, a list of
//! events for a log. After each step one collection is compared as a whole, with everything that is
//! forgotten folded; often all of them are.
//!
//! `DATESTONE_SEED` repeats a run; `DATESTONE_MIXED_CASES` and `DATESTONE_MIXED_STEPS` say how much is
//! done.

use datestone_engine::backup::Backups;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::ErrorKind;
use datestone_engine::io::{CrashPlan, Env, MemFs};
use datestone_engine::read::range::prefix_range;
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_tests::database::{DIR, Whole, open, small_options, whole};
use datestone_tests::model::OwnedUpdate;
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::path::Path;

mod users;

const REPO: &str = "/backups";
const KINDS: [Kind; 4] = [Kind::Multiset, Kind::Table, Kind::ClockTable, Kind::Log];
/// Most collections at a time.
const COLLECTIONS_MAX: usize = 7;

/// Versions of a key: a value, or none for a deletion, by time.
type Versions = BTreeMap<u64, Option<Vec<u8>>>;

/// A collection as its kind defines it.
#[derive(Clone, Debug)]
struct Known {
    id: CollectionId,
    kind: Kind,
    /// What was asked for; holds may keep it back.
    wanted: u64,
    since: u64,
    upper: u64,
    updates: Vec<OwnedUpdate>,
    versions: BTreeMap<Vec<u8>, Versions>,
    events: Vec<Vec<u8>>,
    /// The durable hold on it, if there is one.
    hold: Option<u64>,
    users: users::Users,
}

impl Known {
    fn new(id: CollectionId, kind: Kind) -> Self {
        let (updates, versions, events) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (wanted, since, upper, hold, users) = (0, 0, 0, None, users::Users::default());
        Self { id, kind, wanted, since, upper, updates, versions, events, hold, users }
    }

    /// All updates, with what is forgotten folded into since.
    fn folded(&self) -> Vec<OwnedUpdate> {
        let mut sums: BTreeMap<(Vec<u8>, Vec<u8>, u64), i64> = BTreeMap::new();
        let mut add = |key: &[u8], val: &[u8], ts: u64, diff: i64| {
            *sums.entry((key.to_vec(), val.to_vec(), ts.max(self.since))).or_default() += diff;
        };
        for update in &self.updates {
            add(&update.key, &update.val, update.ts, update.diff);
        }
        for (key, versions) in &self.versions {
            let mut before: Option<&Vec<u8>> = None;
            for (ts, val) in versions {
                before.iter().for_each(|val| add(key, val, *ts, -1));
                val.iter().for_each(|val| add(key, val, *ts, 1));
                before = val.as_ref();
            }
        }
        for (position, event) in (0_u64..).zip(&self.events) {
            add(&position.to_be_bytes(), event, position, 1);
        }
        let updates = sums.into_iter().filter(|(_, diff)| *diff != 0);
        updates.map(|((key, val, ts), diff)| OwnedUpdate { key, val, ts, diff }).collect()
    }

    /// Where it is held.
    fn held(&self) -> impl Iterator<Item = u64> {
        self.hold.into_iter().chain(self.users.held())
    }

    /// Lets since rise as far as the holds allow.
    fn settle(&mut self) {
        let allowed = self.held().fold(self.wanted, u64::min);
        self.since = self.since.max(allowed);
    }
}

struct World {
    fs: MemFs,
    db: Db,
    reader: Db,
    known: BTreeMap<String, Known>,
    clock: u64,
    made: u64,
    backups: Vec<(u64, Vec<Whole>)>,
    chance: Chance,
}

impl World {
    fn new(seed: u64) -> Self {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let reader = follow(&fs);
        let (known, backups, chance) = (BTreeMap::new(), Vec::new(), Chance::new(seed));
        Self { fs, db, reader, known, clock: 1, made: 0, backups, chance }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    /// The name of one of the collections.
    fn any(&mut self) -> Option<String> {
        let at = self.chance.below(self.known.len().max(1) as u64) as usize;
        self.known.keys().nth(at).cloned()
    }

    fn upper(&self, known: &Known) -> u64 {
        match known.kind {
            Kind::ClockTable => self.clock.max(known.upper),
            Kind::Log => known.events.len() as u64,
            _ => known.upper,
        }
    }

    /// What the database must hold.
    fn wanted(&mut self) -> Vec<Whole> {
        self.drift();
        let of = |(name, known): (&String, &Known)| {
            let (since, upper) = (Frontier::at(known.since), Frontier::at(self.upper(known)));
            (name.clone(), known.kind, since, upper, known.folded())
        };
        self.known.iter().map(of).collect()
    }

    fn step(&mut self) {
        self.drift();
        match self.below(48) {
            0 | 1 if self.known.len() < COLLECTIONS_MAX => self.create(),
            2 => self.drop_one(),
            3 => self.db.flush().unwrap(),
            4 => self.db.compact(None).unwrap(),
            5 | 6 => while self.db.step().unwrap() {},
            7 | 8 => self.compact_below(),
            9 => self.truncate(),
            10 => self.erase(),
            11 => self.ingest(),
            12 | 13 => self.hold(),
            14 => self.reopen(true),
            15 | 16 => self.reopen(false),
            17 => self.checkpoint(),
            18 => self.back_up(),
            19 => self.restore(),
            20 => self.refused(),
            21..=23 => self.transact(),
            24 => self.commit_once(),
            25..=27 => self.consume(),
            28 => self.retain(),
            _ => self.commit(),
        }
    }

    fn create(&mut self) {
        self.made += 1;
        let kind = KINDS[self.below(4) as usize];
        let name = format!("c{:03}", self.made);
        let id = self.db.create_or_load(kind, &name, b"meta").unwrap().id;
        self.known.insert(name, Known::new(id, kind));
    }

    fn drop_one(&mut self) {
        if let Some(name) = self.any().filter(|_| self.chance.one_in(2)) {
            assert!(self.db.drop_collection(&name).unwrap());
            self.known.remove(&name);
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let (a, b) = (self.below(4) as u8, self.below(12) as u8);
        vec![b'a' + a, b]
    }

    fn val(&mut self) -> Vec<u8> {
        let len = if self.chance.one_in(20) { 3_000 } else { self.below(30) };
        let fill = self.below(4) as u8;
        vec![fill; len as usize]
    }

    /// Something to a few collections, all or nothing.
    fn commit(&mut self) {
        let mut commit = Commit::new();
        let mut ticks = false;
        for _ in 0..=self.below(3) {
            let Some(name) = self.any() else { return };
            let mut known = self.known[&name].clone();
            let description = self.db.collection(known.id).unwrap().description;
            for _ in 0..self.below(20) {
                let (key, val) = (self.key(), self.val());
                let ts = known.upper + self.below(4);
                match known.kind {
                    Kind::Multiset => {
                        let diff = if self.chance.one_in(3) { -1 } else { 1 };
                        let mut batch = commit.append(known.id, &name);
                        batch.push(Update { key: &key, val: &val, ts, diff }).unwrap();
                        batch.finish().unwrap();
                        known.updates.push(OwnedUpdate { key, val, ts, diff });
                    }
                    Kind::Log => {
                        let mut events = commit.events(&description, None).unwrap();
                        events.push(None, &val).unwrap();
                        events.finish();
                        known.events.push(val);
                    }
                    Kind::Table | Kind::ClockTable => {
                        let given = (known.kind == Kind::Table).then_some(ts);
                        let mut puts = commit.puts(&description).unwrap();
                        let val = (!self.chance.one_in(4)).then_some(val);
                        match &val {
                            Some(val) => puts.put(&key, val, given).unwrap(),
                            None => puts.delete(&key, given).unwrap(),
                        }
                        puts.finish();
                        let at = given.unwrap_or(self.clock);
                        known.versions.entry(key).or_default().insert(at, val);
                        ticks |= known.kind == Kind::ClockTable;
                    }
                }
            }
            if matches!(known.kind, Kind::Multiset | Kind::Table) && self.chance.one_in(2) {
                known.upper += self.below(4);
                commit.advance_upper(known.id, Frontier::at(known.upper)).unwrap();
            }
            self.known.insert(name, known);
        }
        let done = self.db.commit(commit, Durability::Fsync).unwrap();
        if ticks {
            assert_eq!(done.ts, self.clock);
            self.clock += 1;
        }
    }

    fn compact_below(&mut self) {
        let Some(name) = self.any() else { return };
        let upper = self.upper(&self.known[&name]);
        let since = upper.saturating_sub(self.below(6));
        let known = self.known.get_mut(&name).unwrap();
        if known.kind == Kind::Log {
            return;
        }
        let mut commit = Commit::new();
        commit.compact_below(known.id, Frontier::at(since)).unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
        known.wanted = known.wanted.max(since);
        known.settle();
    }

    fn truncate(&mut self) {
        let Some(name) = self.any() else { return };
        let back = self.below(4);
        let known = self.known.get_mut(&name).unwrap();
        if !matches!(known.kind, Kind::Multiset | Kind::Table) || known.users.drifts() {
            return;
        }
        let at = known.upper.saturating_sub(back);
        let dry = self.db.truncate_at(known.id, at, true);
        let done = self.db.truncate_at(known.id, at, false);
        if known.since > 0 && at <= known.since || known.held().any(|hold| hold >= at) {
            assert!(dry.is_err() && done.is_err(), "{name} at {at}");
            return;
        }
        assert_eq!(dry.unwrap().updates, done.unwrap().updates);
        known.updates.retain(|update| update.ts < at);
        known.versions.values_mut().for_each(|versions| drop(versions.split_off(&at)));
        known.upper = at;
    }

    fn erase(&mut self) {
        let Some(name) = self.any() else { return };
        let prefix = [b'a' + self.below(4) as u8, self.below(12) as u8];
        let prefix = &prefix[..1 + self.below(2) as usize];
        let known = self.known.get_mut(&name).unwrap();
        let erased = self.db.erase(known.id, &prefix_range(prefix));
        if known.kind == Kind::Log {
            assert_eq!(erased.unwrap_err().kind(), ErrorKind::Invalid);
            return;
        }
        erased.unwrap();
        known.updates.retain(|update| !update.key.starts_with(prefix));
        known.versions.retain(|key, _| !key.starts_with(prefix));
        known.users.forget(prefix);
    }

    fn ingest(&mut self) {
        let Some(name) = self.any() else { return };
        let (id, kind, upper) = {
            let known = &self.known[&name];
            (known.id, known.kind, known.upper)
        };
        if kind != Kind::Multiset {
            assert_eq!(self.db.ingest(id).unwrap_err().kind(), ErrorKind::Invalid);
            return;
        }
        let mut updates: Vec<OwnedUpdate> = (0..self.below(60))
            .map(|_| {
                let (key, val, ts) = (self.key(), self.val(), upper + self.below(4));
                OwnedUpdate { key, val, ts, diff: 1 }
            })
            .collect();
        updates.sort();
        updates.dedup();
        let mut ingest = self.db.ingest(id).unwrap();
        for OwnedUpdate { key, val, ts, diff } in &updates {
            ingest.push(Update { key, val, ts: *ts, diff: *diff }).unwrap();
        }
        if self.chance.one_in(4) {
            drop(ingest); // Given up.
            return;
        }
        let to = self.chance.one_in(2).then(|| upper + self.below(4));
        self.db.finish_ingest(ingest, to.map(Frontier::at)).unwrap();
        let known = self.known.get_mut(&name).unwrap();
        known.updates.extend(updates);
        known.upper = known.upper.max(to.unwrap_or(0));
    }

    /// Takes a durable hold at since, loosens it, or releases it.
    fn hold(&mut self) {
        let Some(name) = self.any() else { return };
        let further = self.below(4);
        let release = self.chance.one_in(2);
        let known = self.known.get_mut(&name).unwrap();
        let at = known.hold.unwrap_or(known.since);
        let taken = self.db.take_hold(&name, known.id, at, "somebody").unwrap();
        assert_eq!(taken.at, Frontier::at(at));
        known.hold = Some(at);
        // The database keeps its books on its own clock.
        self.clock = self.db.now() + 1;
        if release {
            self.db.loosen_hold(&name, taken.epoch, None).unwrap();
            known.hold = None;
        } else {
            self.db.loosen_hold(&name, taken.epoch, Some(Frontier::at(at + further))).unwrap();
            known.hold = Some(at + further);
        }
        self.clock = self.db.now() + 1;
        // What was held back takes effect by itself.
        while self.db.step().unwrap() {}
        known.settle();
    }

    fn reopen(&mut self, close: bool) {
        if close {
            self.db.close().unwrap();
        } else {
            let plans =
                [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(self.below(1_000))];
            let plan = plans[self.below(3) as usize];
            self.fs = self.fs.crash(plan);
            self.reader = follow(&self.fs);
        }
        self.db = open(&self.fs, &small_options()).unwrap();
        // What was held back is remembered only while it is open.
        self.drift();
        for known in self.known.values_mut() {
            known.wanted = known.since;
            known.users.reopened(known.since);
        }
        self.clock = self.clock.max(self.db.now() + 1);
    }

    fn checkpoint(&mut self) {
        self.made += 1;
        let dir = format!("/checkpoint-{}", self.made);
        self.db.checkpoint(Path::new(&dir)).unwrap();
        let copy =
            Db::open(Env::memory(self.fs.clone()), Path::new(&dir), small_options()).unwrap();
        same(&copy, &self.wanted(), "a checkpoint");
    }

    fn back_up(&mut self) {
        let taken = self.db.backup(Path::new(REPO)).unwrap();
        let wanted = self.wanted();
        self.backups.push((taken.info.number, wanted));
        if self.chance.one_in(4) {
            let repo = Backups::open(Env::memory(self.fs.clone()), Path::new(REPO)).unwrap();
            repo.keep_latest(2).unwrap();
            self.backups.drain(..self.backups.len().saturating_sub(2));
        }
    }

    fn restore(&mut self) {
        let at = self.below(self.backups.len().max(1) as u64) as usize;
        let Some((number, wanted)) = self.backups.get(at) else { return };
        self.made += 1;
        let dir = format!("/restored-{}", self.made);
        let repo = Backups::open(Env::memory(self.fs.clone()), Path::new(REPO)).unwrap();
        repo.restore(Some(*number), Path::new(&dir)).unwrap();
        let copy =
            Db::open(Env::memory(self.fs.clone()), Path::new(&dir), small_options()).unwrap();
        same(&copy, wanted, "a backup");
    }

    /// What is not allowed is refused and changes nothing.
    fn refused(&mut self) {
        let Some(name) = self.any() else { return };
        let known = &self.known[&name];
        let upper = self.upper(known);
        let kind = |outcome: datestone_engine::error::Result<_>| match outcome {
            Ok(_) => None,
            Err(e) => Some(e.kind()),
        };
        assert_eq!(kind(self.db.snapshot(known.id, upper).map(drop)), Some(ErrorKind::NotYet));
        if known.since > 0 {
            let early = self.db.snapshot(known.id, known.since - 1).map(drop);
            let wanted = if known.since > upper { ErrorKind::NotYet } else { ErrorKind::Compacted };
            let found = kind(early);
            assert!(found == Some(ErrorKind::Compacted) || found == Some(wanted), "{found:?}");
        }
        if known.kind == Kind::Multiset && upper > 0 {
            let mut commit = Commit::new();
            let mut batch = commit.append(known.id, &name);
            batch.push(Update { key: b"late", val: b"", ts: upper - 1, diff: 1 }).unwrap();
            batch.finish().unwrap();
            let late = self.db.commit(commit, Durability::Fsync).map(drop);
            assert_eq!(kind(late), Some(ErrorKind::Invalid));
        }
        let mut again = Commit::new();
        let id = self.db.reserve_collection_id().unwrap();
        again.create(id, known.kind, &name, b"").unwrap();
        let again = self.db.commit(again, Durability::Fsync).map(drop);
        assert_eq!(kind(again), Some(ErrorKind::AlreadyExists));
    }

    fn check(&mut self) {
        let wanted = self.wanted();
        same(&self.db, &wanted, "the database");
        if self.chance.one_in(3) {
            self.reader.refresh().unwrap();
            same(&self.reader, &wanted, "a reader");
        }
    }
}

fn follow(fs: &MemFs) -> Db {
    Db::open_read_only(Env::memory(fs.clone()), Path::new(DIR), small_options()).unwrap()
}

/// Fails with the first difference.
#[track_caller]
fn same(db: &Db, wanted: &[Whole], what: &str) {
    let found = known_only(whole(db).unwrap());
    let head = |all: &[Whole]| -> Vec<_> {
        all.iter()
            .map(|(name, kind, since, upper, _)| (name.clone(), *kind, *since, *upper))
            .collect()
    };
    assert_eq!(head(&found), head(wanted), "{what}");
    for ((name, .., found), (.., wanted)) in found.iter().zip(wanted) {
        let at = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        let (a, b) = (found.get(at), wanted.get(at));
        assert_eq!(a, b, "{what}: update {at} of {name}");
    }
}

/// Without the table of the database's own.
fn known_only(mut all: Vec<Whole>) -> Vec<Whole> {
    all.retain(|(name, ..)| !name.starts_with('$'));
    all.iter_mut().for_each(|(.., updates)| updates.sort());
    all
}

#[test]
fn mixed_histories_agree_with_the_definitions() {
    let first = seed("mixed_histories");
    for case in 0..count("DATESTONE_MIXED_CASES", 30) {
        let mut world = World::new(first.wrapping_add(case));
        for step in 0..count("DATESTONE_MIXED_STEPS", 200) {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                world.step();
                if step % 4 == 0 {
                    world.check();
                }
            }));
            if let Err(panic) = outcome {
                report(&format!("seed {first}, case {case}, step {step}"));
                std::panic::resume_unwind(panic);
            }
        }
        world.check();
    }
}

fn report(line: &str) {
    eprintln!("{line}");
}
