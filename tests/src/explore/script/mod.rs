//! Workloads written as lists of steps, which chance makes after a theme.

mod generator;
mod themes;

pub use self::themes::{THEMES, Theme};

use self::generator::Generator;
use super::workload::{Copy, Place, Workload, World};
use crate::model::OwnedUpdate;
use datestone_engine::backup::Backups;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::{Error, Result};
use datestone_engine::read::range::prefix_range;
use datestone_engine::types::{Frontier, Kind, Update};
use std::path::Path;

/// Where backups go.
const REPO: &str = "/backups";

/// One step: at most one change of what the database holds.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Reopen,
    Create(Kind, String),
    Drop(String),
    /// Parts for several collections, all or nothing.
    Commit(Vec<Part>, Durability),
    /// A commit under a token, made twice.
    Once(u64, Vec<Part>),
    Flush,
    Compact,
    /// A step in the background.
    Work,
    /// All steps in the background.
    Settle,
    CompactBelow(String, u64),
    Truncate(String, u64),
    Erase(String, Vec<u8>),
    Ingest(String, Vec<OwnedUpdate>, u64),
    TakeHold(String, String, u64),
    LoosenHold(String, Option<u64>),
    Subscribe(String, String, u64),
    /// A commit that says that everything below was seen, and has a part of its own.
    Acknowledge(String, u64, Part),
    Checkpoint(String),
    Backup,
    Restore(u64, String),
}

/// What a commit does to one collection.
#[derive(Clone, Debug, Default)]
struct Part {
    name: String,
    /// Of multisets and tables; a table's row with a diff below 1 is a deletion.
    rows: Vec<OwnedUpdate>,
    /// Of logs.
    events: Vec<Vec<u8>>,
    upper: Option<u64>,
}

/// A workload of a theme.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    steps: Vec<Step>,
    copies: Vec<Copy>,
}

impl Script {
    /// The workload of a theme that follows from a seed.
    #[must_use]
    pub fn new(theme: &Theme, seed: u64) -> Self {
        let steps = Generator::new(theme, seed).steps();
        let copies = copies(&steps);
        Self { name: theme.name, steps, copies }
    }
}

/// The copies that steps make, and what they hold.
fn copies(steps: &[Step]) -> Vec<Copy> {
    let (mut copies, mut backups) = (Vec::new(), Vec::new());
    for (step, made) in steps.iter().enumerate() {
        let (place, holds) = match made {
            Step::Checkpoint(dir) => (Place::Database(dir.clone()), step),
            Step::Backup => {
                backups.push(step);
                (Place::Backup(REPO.into(), backups.len() as u64), step)
            }
            Step::Restore(number, dir) => {
                let index = number.saturating_sub(1) as usize;
                (Place::Database(dir.clone()), backups.get(index).copied().unwrap_or(step))
            }
            _ => continue,
        };
        copies.push(Copy { step, holds, place });
    }
    copies
}

impl Workload for Script {
    fn name(&self) -> String {
        self.name.into()
    }

    fn len(&self) -> usize {
        self.steps.len()
    }

    fn step(&self, world: &mut World, n: usize) -> Result<()> {
        let Some(step) = self.steps.get(n) else { return Ok(()) };
        match step {
            Step::Open => world.open(),
            Step::Reopen => world.close().and_then(|()| world.open()),
            Step::Restore(number, dir) => {
                let backups = Backups::open(world.env.clone(), Path::new(REPO))?;
                backups.restore(Some(*number), Path::new(dir)).map(drop)
            }
            _ => step.run(world.db()?),
        }
        .map_err(|e| Error::invalid(format!("{step:?}: {e}")))
    }

    fn is_durable(&self, n: usize) -> bool {
        // Steps in the background promise nothing of the commits before.
        let before = self.steps.get(..=n).unwrap_or_default();
        let last = before.iter().rfind(|step| !matches!(step, Step::Work | Step::Settle));
        match last {
            Some(Step::Commit(_, durability)) => *durability == Durability::Fsync,
            _ => true,
        }
    }

    fn copies(&self) -> Vec<Copy> {
        self.copies.clone()
    }
}

impl Step {
    fn run(&self, db: &Db) -> Result<()> {
        match self {
            Self::Open | Self::Reopen | Self::Restore(..) => Ok(()),
            Self::Create(kind, name) => db.create_or_load(*kind, name, b"meta").map(drop),
            Self::Drop(name) => db.drop_collection(name).map(drop),
            Self::Commit(parts, durability) => db.commit(gather(db, parts)?, *durability).map(drop),
            Self::Once(token, parts) => {
                let token = token.to_be_bytes();
                for _ in 0..2 {
                    // A log's events and a table's versions would be there twice.
                    db.commit_once(gather(db, parts)?, "writer", &token, Durability::Fsync)?;
                }
                Ok(())
            }
            Self::Flush => db.flush(),
            Self::Compact => db.compact(None),
            Self::Work => db.step().map(drop),
            Self::Settle => {
                while db.step()? {}
                Ok(())
            }
            Self::CompactBelow(name, ts) => {
                let mut commit = Commit::new();
                commit.compact_below(db.find(name)?.id, Frontier::at(*ts))?;
                db.commit(commit, Durability::Fsync).map(drop)
            }
            Self::Truncate(name, at) => db.truncate_at(db.find(name)?.id, *at, false).map(drop),
            Self::Erase(name, prefix) => {
                db.erase(db.find(name)?.id, &prefix_range(prefix)).map(drop)
            }
            Self::Ingest(name, rows, upper) => {
                let mut ingest = db.ingest(db.find(name)?.id)?;
                for OwnedUpdate { key, val, ts, diff } in rows {
                    ingest.push(Update { key, val, ts: *ts, diff: *diff })?;
                }
                db.finish_ingest(ingest, Some(Frontier::at(*upper))).map(drop)
            }
            Self::TakeHold(hold, name, at) => {
                db.take_hold(hold, db.find(name)?.id, *at, "somebody").map(drop)
            }
            Self::LoosenHold(hold, at) => db.loosen_hold(hold, 1, at.map(Frontier::at)),
            Self::Subscribe(subscription, name, start) => {
                let id = db.find(name)?.id;
                db.take_subscription(subscription, id, *start, "somebody").map(drop)
            }
            Self::Acknowledge(subscription, at, part) => {
                let mut commit = Commit::new();
                part.add(db, &mut commit)?;
                let at = Frontier::at(*at);
                let loosened = db.acknowledge_in(&mut commit, subscription, 1, at)?;
                db.commit(commit, Durability::Fsync)?;
                db.loosened(&loosened)
            }
            Self::Checkpoint(dir) => db.checkpoint(Path::new(dir)).map(drop),
            Self::Backup => db.backup(Path::new(REPO)).map(drop),
        }
    }
}

/// A commit of all parts.
fn gather(db: &Db, parts: &[Part]) -> Result<Commit> {
    let mut commit = Commit::new();
    parts.iter().try_for_each(|part| part.add(db, &mut commit))?;
    Ok(commit)
}

impl Part {
    fn add(&self, db: &Db, commit: &mut Commit) -> Result<()> {
        let description = db.find(&self.name)?;
        let (id, kind) = (description.id, description.kind);
        match kind {
            Kind::Multiset => crate::database::push(commit, id, &self.name, &self.rows)?,
            Kind::Log => {
                let mut events = commit.events(&description, None)?;
                self.events.iter().try_for_each(|event| events.push(None, event))?;
                events.finish();
            }
            Kind::Table | Kind::ClockTable => {
                let mut puts = commit.puts(&description)?;
                for OwnedUpdate { key, val, ts, diff } in &self.rows {
                    let ts = (kind == Kind::Table).then_some(*ts);
                    if *diff > 0 { puts.put(key, val, ts)? } else { puts.delete(key, ts)? }
                }
                puts.finish();
            }
        }
        if let Some(upper) = self.upper {
            commit.advance_upper(id, Frontier::at(upper))?;
        }
        Ok(())
    }
}
