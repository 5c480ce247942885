//! [`Session`]: a database in memory and its model, taken through the same operations.

use crate::model::{Contents, Model, ModelCollection};
use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::io::{CrashPlan, Env, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::Snapshot;
use datestone_engine::types::{Frontier, Kind, Update};
use datestone_engine::verify::VerifyDepth;
use std::ops::Bound;
use std::path::Path;

/// Where the database is.
pub(crate) const DIR: &str = "/db";

/// How a session is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The database is closed.
    Close,
    /// The process dies.
    Kill,
    /// The power is cut.
    PowerCut(CrashPlan),
}

/// One collection's part of a commit.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Append(Vec<(Vec<u8>, Vec<u8>, u64, i64)>),
    CompareAndAppend(Vec<(Vec<u8>, Vec<u8>, u64, i64)>, Frontier, Frontier),
    Advance(Frontier),
    Since(Frontier),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) fs: MemFs,
    db: Option<Db>,
    pub(crate) model: Model,
    /// The model after each commit, by seqno; 0 is the empty database.
    pub(crate) states: Vec<(u64, Model)>,
    /// The last commit that survives the death of the process, and a power cut.
    kept_by_kill: u64,
    kept_by_power_cut: u64,
    held: Vec<(Snapshot, Contents)>,
}

/// Small, so that a few commits fill a memtable and a log file.
pub(crate) fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        background_threads: 0,
        compression: Compression::Cold { level: 1 },
        ..Options::default()
    }
}

/// Opens the database in `fs`.
pub(crate) fn open(fs: &MemFs) -> Result<Db, Error> {
    Db::open(Env::memory(fs.clone()), Path::new(DIR), options())
}

impl Session {
    pub(crate) fn new() -> Self {
        let fs = MemFs::new();
        let db = open(&fs).expect("a new database opens");
        let states = vec![(0, Model::new())];
        let (model, held) = (Model::new(), Vec::new());
        Self { fs, db: Some(db), model, states, kept_by_kill: 0, kept_by_power_cut: 0, held }
    }

    fn db(&self) -> Db {
        self.db.clone().expect("it is open between operations")
    }

    /// The upper of a collection, if it exists.
    pub(crate) fn upper(&self, name: &str) -> Option<Frontier> {
        self.model.get(name).map(|collection| collection.upper)
    }

    fn committed(&mut self, seqno: u64, durability: Durability) {
        self.states.push((seqno, self.model.clone()));
        match durability {
            Durability::Fsync => (self.kept_by_kill, self.kept_by_power_cut) = (seqno, seqno),
            Durability::Buffer => self.kept_by_kill = seqno,
            Durability::None => {}
        }
    }

    fn last_seqno(&self) -> u64 {
        self.states.last().map_or(0, |(seqno, _)| *seqno)
    }

    /// Creates a collection if there is none.
    pub(crate) fn create(&mut self, name: &str) {
        self.db().create_or_load(Kind::Multiset, name, &[]).expect("a good name");
        if !self.model.contains_key(name) {
            self.model.insert(name.to_owned(), ModelCollection::default());
            self.committed(self.db().stats().last_seqno, Durability::Fsync);
        }
    }

    /// Drops a collection.
    pub(crate) fn drop_collection(&mut self, name: &str) {
        let found = self.db().drop_collection(name).expect("nothing fails");
        assert_eq!(found, self.model.contains_key(name), "whether '{name}' was there");
        if self.model.remove(name).is_some() {
            self.committed(self.db().stats().last_seqno, Durability::Fsync);
        }
    }

    /// Commits parts of different collections that exist; the model says whether it must succeed.
    pub(crate) fn commit(&mut self, parts: &[(String, Part)], durability: Durability) {
        let db = self.db();
        let mut commit = Commit::new();
        let mut model = self.model.clone();
        let mut is_legal = true;
        let mut syncs = false;
        for (name, part) in parts {
            let id = db.find(name).expect("it exists").id;
            let Some(collection) = model.get_mut(name) else { continue };
            let pushed = match part {
                Part::Append(updates) => {
                    let below = |ts: u64| collection.upper.is_beyond(ts);
                    is_legal &= !updates.iter().any(|(_, _, ts, _)| below(*ts));
                    let mut batch = commit.append(id, name);
                    let pushed = updates.iter().try_for_each(|row| batch.push(update(row)));
                    collection.updates.extend(updates.iter().cloned());
                    pushed.and_then(|()| batch.finish())
                }
                Part::CompareAndAppend(updates, expected, new) => {
                    is_legal &= *expected == collection.upper && new >= expected;
                    is_legal &= updates
                        .iter()
                        .all(|(_, _, ts, _)| !expected.is_beyond(*ts) && new.is_beyond(*ts));
                    collection.updates.extend(updates.iter().cloned());
                    collection.upper = *new;
                    commit.compare_and_append(id, name, *expected, *new).and_then(|mut batch| {
                        updates.iter().try_for_each(|row| batch.push(update(row)))?;
                        batch.finish()
                    })
                }
                Part::Advance(upper) => {
                    collection.upper = collection.upper.max(*upper);
                    commit.advance_upper(id, *upper)
                }
                Part::Since(since) => {
                    syncs = true;
                    collection.since = collection.since.max(*since);
                    commit.compact_below(id, *since)
                }
            };
            if let Err(e) = pushed {
                assert!(!is_legal, "{parts:?} is legal: {e}");
                return;
            }
        }
        match db.commit(commit, durability) {
            Ok(done) => {
                assert!(is_legal, "{parts:?} is not legal");
                self.model = model;
                self.committed(done.seqno.0, if syncs { Durability::Fsync } else { durability });
            }
            Err(e) => {
                assert!(!is_legal, "{parts:?} is legal: {e}");
                let kind = e.kind();
                assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::UpperMismatch), "{e}");
            }
        }
    }

    /// Everything so far is durable from now on.
    fn all_kept(&mut self) {
        let last = self.last_seqno();
        (self.kept_by_kill, self.kept_by_power_cut) = (last, last);
    }

    pub(crate) fn sync(&mut self) {
        self.db().sync().expect("nothing fails");
        self.all_kept();
    }

    pub(crate) fn flush(&mut self) {
        self.db().flush().expect("nothing fails");
        self.all_kept();
    }

    pub(crate) fn compact(&mut self) {
        self.db().compact(None).expect("nothing fails");
        self.all_kept();
    }

    /// Runs up to `count` background steps.
    pub(crate) fn maintain(&mut self, count: usize) {
        for _ in 0..count {
            if !self.db().step().expect("nothing fails") {
                return;
            }
        }
    }

    /// Holds a snapshot at the latest time of a collection, to be compared at the end.
    pub(crate) fn hold(&mut self, name: &str) {
        let Some(collection) = self.model.get(name) else { return };
        let Some(as_of) = collection.upper.last_below().filter(|ts| collection.is_readable(*ts))
        else {
            return;
        };
        let db = self.db();
        let id = db.find(name).expect("it exists").id;
        let snapshot = db.snapshot(id, as_of).expect("it is readable");
        self.held.push((snapshot, collection.contents(as_of)));
    }

    /// Ends this use of the database and opens it again: what had to survive is there.
    pub(crate) fn restart(&mut self, how: Interruption) {
        let kept = match how {
            Interruption::Close => {
                self.db().close().expect("nothing fails");
                self.all_kept();
                self.kept_by_kill
            }
            Interruption::Kill => {
                self.fs = self.fs.kill();
                self.kept_by_kill
            }
            Interruption::PowerCut(plan) => {
                self.fs = self.fs.crash(plan);
                self.kept_by_power_cut
            }
        };
        self.db = None;
        let db = open(&self.fs).unwrap_or_else(|e| panic!("after {how:?}: {e}"));
        let last = db.stats().last_seqno;
        // A commit that changed nothing has no trace but in the log.
        let state_at = |seqno: u64| self.states.iter().rfind(|(at, _)| *at <= seqno);
        let is_kept = last >= kept || state_at(last).map(|s| &s.1) == state_at(kept).map(|s| &s.1);
        assert!(is_kept, "commit {kept} is lost after {how:?}, {last} is the last one");
        // A number that was given to a commit that is lost may be given again.
        self.states.retain(|(seqno, _)| *seqno <= last);
        self.model = self.states.last().map(|(_, model)| model.clone()).unwrap_or_default();
        self.db = Some(db);
        // What was recovered is durable now: it was read from the device, or written anew.
        self.all_kept();
        self.check();
    }

    /// Compares everything that can be read.
    pub(crate) fn check(&self) {
        let db = self.db();
        let names: Vec<String> =
            db.collections().iter().map(|c| c.collection.description.name.to_string()).collect();
        assert!(names.iter().eq(self.model.keys()), "{names:?} are there");
        for (name, collection) in &self.model {
            check_collection(&db, name, collection).unwrap_or_else(|e| panic!("'{name}': {e}"));
        }
    }

    /// The last checks: held snapshots, and the files.
    pub(crate) fn finish(self) {
        self.check();
        for (snapshot, contents) in &self.held {
            check_snapshot(snapshot, contents).expect("a held snapshot stays readable");
        }
        let report = self.db().verify(VerifyDepth::Full, |_, _| {}).expect("nothing fails");
        assert!(report.is_clean(), "{:?}", report.damage);
    }
}

fn update((key, val, ts, diff): &(Vec<u8>, Vec<u8>, u64, i64)) -> Update<'_> {
    Update { key, val, ts: *ts, diff: *diff }
}

/// Compares a collection at every interesting time.
pub(crate) fn check_collection(
    db: &Db,
    name: &str,
    collection: &ModelCollection,
) -> Result<(), Error> {
    let found = db.collection(db.find(name)?.id)?;
    assert_eq!(found.upper, collection.upper, "upper of '{name}'");
    assert_eq!(found.since, collection.since, "since of '{name}'");
    for as_of in collection.interesting_times() {
        match db.snapshot(found.description.id, as_of) {
            Ok(snapshot) => {
                assert!(collection.is_readable(as_of), "'{name}' cannot be read at {as_of}");
                check_snapshot(&snapshot, &collection.contents(as_of))?;
            }
            Err(e) => {
                assert!(!collection.is_readable(as_of), "'{name}' can be read at {as_of}: {e}");
            }
        }
    }
    Ok(())
}

/// Compares a snapshot, read in every way.
fn check_snapshot(snapshot: &Snapshot, contents: &Contents) -> Result<(), Error> {
    let at = snapshot.as_of();
    compare(snapshot, RangeSpec::ALL, contents.iter(), "all rows")?;
    let mut keys: Vec<&Vec<u8>> = contents.keys().map(|(key, _)| key).collect();
    keys.dedup();
    for key in keys {
        let mut found = Vec::new();
        snapshot.get(key, |val, diff| {
            found.push((val.to_vec(), diff));
            Ok(())
        })?;
        let wanted = contents.iter().filter(|((k, _), _)| k == key);
        let wanted: Vec<_> = wanted.map(|((_, val), diff)| (val.clone(), *diff)).collect();
        assert_eq!(found, wanted, "get at {at}");
    }
    let middle = contents.keys().nth(contents.len() / 2).map(|(key, _)| key.clone());
    let Some(middle) = middle else { return Ok(()) };
    let upward = RangeSpec { start: Bound::Excluded(middle.clone()), end: Bound::Unbounded };
    compare(snapshot, upward, contents.iter().filter(|((k, _), _)| *k > middle), "above")?;
    let downward = RangeSpec { start: Bound::Unbounded, end: Bound::Included(middle.clone()) };
    compare(snapshot, downward, contents.iter().filter(|((k, _), _)| *k <= middle), "below")?;
    let prefix = middle.get(..1).unwrap_or_default();
    let wanted = contents.iter().filter(|((k, _), _)| k.starts_with(prefix));
    compare(snapshot, prefix_range(prefix), wanted, "prefix")
}

/// Compares the rows of a range in both directions.
fn compare<'m>(
    snapshot: &Snapshot,
    range: RangeSpec,
    wanted: impl Iterator<Item = (&'m (Vec<u8>, Vec<u8>), &'m i64)>,
    what: &str,
) -> Result<(), Error> {
    let mut wanted: Vec<_> = wanted.map(|((k, v), diff)| (k.clone(), v.clone(), *diff)).collect();
    for is_reverse in [false, true] {
        let mut rows = snapshot.rows(range.clone());
        if is_reverse {
            rows = rows.reversed();
            wanted.reverse();
        }
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.key.to_vec(), row.val.to_vec(), row.diff));
        }
        let at = snapshot.as_of();
        assert!(
            found == wanted,
            "{what} at {at}, reverse: {is_reverse}: {found:?}, not {wanted:?}"
        );
    }
    Ok(())
}
