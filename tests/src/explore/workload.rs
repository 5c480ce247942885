//! What a workload is: steps, each of which leaves one known state and is one durable change.

use super::check::State;
use super::disk::{Disk, Fate, Image, Model, Node};
use super::record::{Op, RecordFs, Skip};
use crate::database::{DIR, small_options};
use crate::sweep::Sweep;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::{Error, Result};
use datestone_engine::io::{Env, Fs, MemFs, NoThreads};
use std::path::Path;
use std::sync::Arc;

/// A workload. Step 0 opens the database.
pub trait Workload {
    /// Its name.
    fn name(&self) -> String;
    /// Count of steps.
    fn len(&self) -> usize;
    /// Whether there is no step.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Makes step `n`; all before it have been made.
    ///
    /// # Errors
    /// What the database returns.
    fn step(&self, world: &mut World, n: usize) -> Result<()>;
    /// Whether everything up to step `n` is durable when that is made; a step that is not promises
    /// nothing until a later one is.
    fn is_durable(&self, _n: usize) -> bool {
        true
    }
    /// The copies of the database that the steps make.
    fn copies(&self) -> Vec<Copy> {
        Vec::new()
    }
    /// What is wrong with the database after `count` steps that nothing has disturbed.
    ///
    /// # Errors
    /// What the database returns.
    fn difference(&self, _db: &Db, _count: usize) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A copy of the database that a step makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The step.
    pub step: usize,
    /// It holds the state after so many steps.
    pub holds: usize,
    /// Where it is.
    pub place: Place,
}

/// Where a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A database in a directory: a checkpoint, or a backup restored.
    Database(String),
    /// A backup of this number in a directory.
    Backup(String, u64),
}

/// What steps act on.
#[derive(Debug)]
pub struct World {
    /// Files, clock and no threads.
    pub env: Env,
    db: Option<Db>,
}

impl World {
    /// Nothing has been done yet.
    #[must_use]
    pub const fn new(env: Env) -> Self {
        Self { env, db: None }
    }

    /// The open database.
    ///
    /// # Errors
    /// When there is none.
    pub fn db(&self) -> Result<&Db> {
        self.db.as_ref().ok_or_else(|| Error::invalid("step 0 opens the database"))
    }

    /// Opens the database.
    ///
    /// # Errors
    /// What opening returns.
    pub fn open(&mut self) -> Result<()> {
        self.db = Some(Db::open(self.env.clone(), Path::new(DIR), small_options())?);
        Ok(())
    }

    /// Closes the database.
    ///
    /// # Errors
    /// What closing returns.
    pub fn close(&mut self) -> Result<()> {
        self.db.take().map_or(Ok(()), |db| db.close())
    }
}

/// A file system in memory as an environment whose changes are recorded.
#[must_use]
pub fn recorded(fs: MemFs, image: &Image, skip: Skip) -> (Env, RecordFs) {
    let clock = Arc::new(fs.clock().clone());
    let record = RecordFs::over(fs, image, skip);
    (Env { fs: Arc::new(record.clone()), clock, threads: Arc::new(NoThreads) }, record)
}

/// A workload that ran undisturbed.
#[derive(Debug)]
pub struct Run {
    /// What it did to the file system.
    pub ops: Vec<Op>,
    /// The state after each count of steps, the first after none.
    pub states: Vec<State>,
}

/// Runs a workload.
///
/// # Errors
/// When a step fails, or leaves a wrong state.
pub fn run(workload: &dyn Workload, seed: u64, skip: Skip) -> std::result::Result<Run, String> {
    let fs = MemFs::seeded(seed);
    let (env, record) = recorded(fs.clone(), &Image::default(), skip);
    let mut world = World::new(env);
    let mut states = vec![State::default()];
    for n in 0..workload.len() {
        let failed = |e: Error| format!("{}: step {n}: {e}", workload.name());
        record.mark(Op::Begun(n + 1));
        workload.step(&mut world, n).map_err(failed)?;
        if workload.is_durable(n) {
            record.mark(Op::Acknowledged(n + 1));
        }
        let db = world.db().map_err(failed)?;
        states.push(State::of(db).map_err(failed)?);
        if let Some(what) = workload.difference(db, n + 1).map_err(failed)? {
            return Err(format!("{}: after step {n}: {what}", workload.name()));
        }
    }
    let ops = record.take();
    missing(&fs, &ops).map_or(Ok(Run { ops, states }), Err)
}

/// What the record does not know of what is in the file system; an explorer that misses a change
/// proves nothing.
fn missing(fs: &MemFs, ops: &[Op]) -> Option<String> {
    let mut disk = Disk::new(Model::Strict, &Image::default());
    ops.iter().for_each(|op| disk.take(op));
    let image = disk.image(&vec![Fate::Keep; disk.pending.len()]);
    for (path, node) in &image.nodes {
        let is_same = match node {
            Node::Dir => {
                let known = image.nodes.keys().filter(|name| name.parent() == Some(path)).count();
                fs.list(path).is_ok_and(|entries| entries.len() == known)
            }
            // The text of a lock is not recorded.
            Node::File(_) if path.ends_with("LOCK") => true,
            Node::File(content) => fs.read_file(path).is_ok_and(|live| live == **content),
        };
        if !is_same {
            return Some(format!("{} is not as it was recorded", path.display()));
        }
    }
    None
}

/// The workload of [`Sweep`], whose states a model knows: plain commits to two collections with
/// updates ahead of upper, flushes, merges.
#[derive(Debug)]
pub struct Swept {
    sweep: Sweep,
    steps: Vec<Act>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Open,
    Commit(usize),
    Flush,
    Compact,
    Work,
}

impl Swept {
    /// The workload of a seed, with so many commits.
    #[must_use]
    pub fn new(seed: u64, commits: usize) -> Self {
        let mut steps = vec![Act::Open];
        for n in 0..commits {
            steps.push(Act::Commit(n));
            match n % 9 {
                3 | 5 | 7 => steps.push(Act::Flush),
                8 => steps.push(Act::Compact),
                _ if n % 2 == 0 => steps.push(Act::Work),
                _ => {}
            }
        }
        Self { sweep: Sweep::new(seed, commits, 4), steps }
    }
}

impl Workload for Swept {
    fn name(&self) -> String {
        "sweep".into()
    }

    fn len(&self) -> usize {
        self.steps.len()
    }

    fn step(&self, world: &mut World, n: usize) -> Result<()> {
        match self.steps.get(n) {
            Some(Act::Open) => world.open(),
            Some(Act::Commit(n)) => self.sweep.commit(world.db()?, *n, Durability::Fsync),
            Some(Act::Flush) => world.db()?.flush(),
            Some(Act::Compact) => world.db()?.compact(None),
            Some(Act::Work) => world.db()?.step().map(drop),
            None => Ok(()),
        }
    }

    fn difference(&self, db: &Db, count: usize) -> Result<Option<String>> {
        let made = self.steps.iter().take(count).filter(|act| matches!(act, Act::Commit(_)));
        let (made, found) = (made.count(), self.sweep.count(db)?);
        if made != found {
            return Ok(Some(format!("{found} commits, not {made}")));
        }
        self.sweep.difference(db)
    }
}
