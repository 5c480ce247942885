//! A deterministic workload over two collections whose state after every commit is known, so that a
//! database can be told to be the whole of a prefix of it, or not: what crash and damage tests need.
//!
//! Commit 0 creates `left`, commit 1 creates `right`, commit `n` gives `left` its updates of time
//! `n - 2` by a compare-and-append and `right` updates of now and ahead, in one commit.

use crate::database::{collection_difference, push};
use crate::model::{Model, OwnedUpdate};
use crate::seed::Chance;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::{ErrorKind, Result};
use datestone_engine::types::{Frontier, Kind, Update};

/// The collections.
const NAMES: [&str; 2] = ["left", "right"];
/// Commits before the first with updates.
const CREATIONS: usize = 2;

/// The workload.
#[derive(Clone, Debug)]
pub struct Sweep {
    commits: Vec<Planned>,
}

/// What one commit does to the two collections.
#[derive(Clone, Debug, Default)]
struct Planned {
    left: Vec<OwnedUpdate>,
    right: Vec<OwnedUpdate>,
    since: Option<u64>,
}

impl Sweep {
    /// The workload of `seed`: `commits` commits, about `rows` updates in each.
    #[must_use]
    pub fn new(seed: u64, commits: usize, rows: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut all = vec![Planned::default(); CREATIONS.min(commits)];
        for n in CREATIONS..commits {
            let ts = (n - CREATIONS) as u64;
            let mut planned = Planned::default();
            for _ in 0..1 + chance.below(rows) {
                planned.left.push(update(&mut chance, ts));
                let ahead = if chance.one_in(3) { chance.below(8) } else { 0 };
                planned.right.push(update(&mut chance, ts + ahead));
            }
            if n % 5 == 4 {
                planned.since = Some(ts / 2);
            }
            all.push(planned);
        }
        Self { commits: all }
    }

    /// Count of commits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether there is no commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Makes commit `n`; all before it must have been made.
    ///
    /// # Errors
    /// What the commit returns.
    pub fn commit(&self, db: &Db, n: usize, durability: Durability) -> Result<()> {
        if let Some(name) = NAMES.get(n) {
            return db.create_or_load(Kind::Multiset, name, b"meta").map(drop);
        }
        let Some(planned) = self.commits.get(n) else { return Ok(()) };
        let ts = (n - CREATIONS) as u64;
        let (left, right) = (db.find(NAMES[0])?.id, db.find(NAMES[1])?.id);
        let (expected, new) = (Frontier::at(ts), Frontier::at(ts + 1));
        let mut commit = Commit::new();
        let mut batch = commit.compare_and_append(left, NAMES[0], expected, new)?;
        for OwnedUpdate { key, val, ts, diff } in &planned.left {
            batch.push(Update { key, val, ts: *ts, diff: *diff })?;
        }
        batch.finish()?;
        push(&mut commit, right, NAMES[1], &planned.right)?;
        commit.advance_upper(right, new)?;
        if let Some(since) = planned.since {
            commit.compact_below(left, Frontier::at(since))?;
        }
        db.commit(commit, durability).map(drop)
    }

    /// The collections after the first `count` commits; `None` when not created yet.
    #[must_use]
    pub fn models(&self, count: usize) -> [Option<Model>; 2] {
        let mut left = Model::default();
        let mut right = Model::default();
        for (n, planned) in self.commits.iter().enumerate().take(count).skip(CREATIONS) {
            left.append(planned.left.iter().cloned());
            right.append(planned.right.iter().cloned());
            let upper = Frontier::at((n - CREATIONS) as u64 + 1);
            left.advance_upper(upper);
            right.advance_upper(upper);
            left.compact_below(planned.since.map_or(Frontier::MIN, Frontier::at));
        }
        [(count > 0).then_some(left), (count > 1).then_some(right)]
    }

    /// How many commits the database says that it has.
    ///
    /// # Errors
    /// What asking returns.
    pub fn count(&self, db: &Db) -> Result<usize> {
        let mut count = 0;
        for name in NAMES {
            match db.find(name) {
                Ok(_) => count += 1,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(count),
                Err(e) => return Err(e),
            }
        }
        let upper = db.collection(db.find(NAMES[0])?.id)?.upper;
        Ok(count + usize::try_from(upper.ts().unwrap_or(u64::MAX)).unwrap_or(usize::MAX))
    }

    /// What is wrong with a database that should be the whole of the first [`Self::count`] commits.
    ///
    /// # Errors
    /// What asking returns.
    pub fn difference(&self, db: &Db) -> Result<Option<String>> {
        let count = self.count(db)?;
        if count > self.len() {
            return Ok(Some(format!("{count} commits, of {} that were ever begun", self.len())));
        }
        for (name, model) in NAMES.iter().zip(self.models(count)) {
            let Some(model) = model else {
                if db.find(name).is_ok() {
                    return Ok(Some(format!("'{name}' exists after {count} commits")));
                }
                continue;
            };
            let difference = collection_difference(db, db.find(name)?.id, &model)?;
            if let Some(what) = difference {
                return Ok(Some(format!("'{name}' after {count} commits: {what}")));
            }
        }
        Ok(None)
    }
}

fn update(chance: &mut Chance, ts: u64) -> OwnedUpdate {
    let key = match chance.below(12) {
        0 => Vec::new(),
        1 => vec![0xff; 1 + chance.below(3) as usize],
        n => format!("key-{:03}", chance.below(10 * n)).into_bytes(),
    };
    let val = vec![b'a' + (chance.below(3) as u8); chance.below(40) as usize];
    let diff = if chance.one_in(3) { -1 } else { 1 + chance.below(2).cast_signed() };
    OwnedUpdate { key, val, ts, diff }
}
