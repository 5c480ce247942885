//! What a crashed database is looked at for, and whether that is what the acknowledgements promise.

use super::disk::Image;
use super::record::Op;
use super::workload::{Copy, Place};
use crate::database::{DIR, Row, Whole, collect, damage, small_options, whole};
use datestone_engine::backup::Backups;
use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Options};
use datestone_engine::db::{BOOKS, Db, DurableHold, DurableSubscription};
use datestone_engine::error::{Error, ErrorKind, Result};
use datestone_engine::io::{Env, Fs, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{Kind, SeqNo, Update};
use std::ops::RangeInclusive;
use std::path::Path;

/// The collection that is written to every database that was recovered.
const PROBE: &str = "~probe";

/// All that a database says of itself that does not depend on how its files are laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    collections: Vec<Whole>,
    /// Since which commit they are there is left out: the mark of a clean shutdown is numbered with the
    /// commits, and is not there when a close found no space.
    holds: Vec<DurableHold>,
    subscriptions: Vec<DurableSubscription>,
    /// What else the database keeps in the table of its own. Its history is nobody's business.
    books: Vec<Row>,
}

impl State {
    /// The state of an open database, without the probe.
    ///
    /// # Errors
    /// What reading returns.
    pub fn of(db: &Db) -> Result<Self> {
        let mut collections = whole(db)?;
        collections.retain(|(name, ..)| !name.starts_with('$') && name != PROBE);
        collections.iter_mut().for_each(|(.., updates)| updates.sort());
        let mut books = match db.find(BOOKS) {
            Ok(books) => collect(db.latest(books.id)?.contents(RangeSpec::ALL))?,
            Err(_) => Vec::new(),
        };
        let decoded = |key: &[u8]| key.starts_with(b"hold/") || key.starts_with(b"subscription/");
        books.retain(|(key, ..)| !decoded(key));
        let holds = db.durable_holds()?.into_iter();
        let holds = holds.map(|hold| DurableHold { seqno: SeqNo(0), ..hold }).collect();
        let subscriptions = db.durable_subscriptions()?.into_iter();
        let subscriptions =
            subscriptions.map(|known| DurableSubscription { seqno: SeqNo(0), ..known }).collect();
        Ok(Self { collections, holds, subscriptions, books })
    }

    /// Where the two differ, in short.
    fn difference(&self, other: &Self) -> String {
        let names =
            |state: &Self| state.collections.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
        if names(self) != names(other) {
            return format!("collections {:?}, not {:?}", names(self), names(other));
        }
        for (found, wanted) in self.collections.iter().zip(&other.collections) {
            if found != wanted {
                let (name, _, since, upper, updates) = found;
                let missing = wanted.4.iter().find(|update| !updates.contains(update));
                let extra = updates.iter().find(|update| !wanted.4.contains(update));
                return format!(
                    "'{name}' is {since}..{upper} with {} updates, not {}..{} with {}; missing \
                     {missing:?}, extra {extra:?}",
                    updates.len(),
                    wanted.2,
                    wanted.3,
                    wanted.4.len(),
                );
            }
        }
        if self.holds != other.holds {
            return format!("holds {:?}, not {:?}", self.holds, other.holds);
        }
        if self.subscriptions != other.subscriptions {
            let (found, wanted) = (&self.subscriptions, &other.subscriptions);
            return format!("subscriptions {found:?}, not {wanted:?}");
        }
        format!("books {:?}, not {:?}", self.books, other.books)
    }
}

/// What has been promised when the power goes.
#[derive(Clone, Debug)]
pub struct Promise {
    /// From the steps that are acknowledged to those begun.
    pub steps: RangeInclusive<usize>,
    /// The state that an open database has shown, after a recovery.
    pub state: Option<usize>,
    /// From the probes that are acknowledged to those begun.
    pub probes: RangeInclusive<u64>,
}

impl Promise {
    /// Nothing was promised.
    pub const NONE: Self = Self { steps: 0..=0, state: None, probes: 0..=0 };

    /// Takes a mark; other operations promise nothing.
    pub const fn take(&mut self, op: &Op) {
        match op {
            Op::Begun(count) => self.steps = *self.steps.start()..=*count,
            Op::Acknowledged(count) => self.steps = *count..=*self.steps.end(),
            Op::Opened(state) => self.state = Some(*state),
            Op::ProbeBegun(count) => self.probes = *self.probes.start()..=*count,
            Op::Probed(count) => self.probes = *count..=*self.probes.end(),
            _ => {}
        }
    }
}

/// What a state of the disk was seen to hold.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Whether there was a database, or one had to be made.
    existed: bool,
    /// Which of the known states it has.
    pub state: usize,
    /// How many probes there are.
    pub probes: u64,
    /// Which known state each copy has, or why it has none.
    copies: Vec<std::result::Result<usize, String>>,
}

/// The states that a workload goes through.
#[derive(Debug)]
pub struct Expected {
    /// Without repetitions.
    known: Vec<State>,
    /// Which of them there is after each count of steps.
    after: Vec<usize>,
    copies: Vec<Copy>,
}

impl Expected {
    /// From the state after each count of steps.
    #[must_use]
    pub fn new(states: Vec<State>, copies: Vec<Copy>) -> Self {
        let (mut known, mut after) = (Vec::<State>::new(), Vec::new());
        for state in states {
            let found = known.iter().position(|known| *known == state);
            after.push(found.unwrap_or(known.len()));
            if found.is_none() {
                known.push(state);
            }
        }
        Self { known, after, copies }
    }

    /// Opens what an image holds, looks at everything, goes on writing, and opens it once more.
    ///
    /// # Errors
    /// What is wrong with it, whatever was acknowledged.
    pub fn observe(&self, image: &Image, hash: u128) -> std::result::Result<Observed, String> {
        let fs = image.materialise(hash as u64).map_err(|e| format!("a broken image: {e}"))?;
        self.observe_in(&fs, hash)
    }

    /// The same of a file system; `hash` decides how it goes on.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub fn observe_in(&self, fs: &MemFs, hash: u128) -> std::result::Result<Observed, String> {
        let followed = if hash % 8 == 2 { follow(fs)? } else { None };
        let existing = Options { create_if_missing: false, ..small_options() };
        let (db, existed) = match open(fs, DIR, existing) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                (open(fs, DIR, small_options()).map_err(told("cannot be made anew"))?, false)
            }
            opened => (opened.map_err(told("cannot be opened"))?, true),
        };
        let found = State::of(&db).map_err(told("cannot be read"))?;
        let Some(state) = self.known.iter().position(|known| *known == found) else {
            let (_, near) = self.nearest(&found);
            return Err(format!("no state that there ever was: {near}"));
        };
        if let Some(followed) = followed.filter(|followed| *followed != found) {
            return Err(format!("a reader saw something else: {}", followed.difference(&found)));
        }
        if let Some(e) = damage(&db).map_err(told("cannot be verified"))? {
            return Err(format!("is damaged: {e}"));
        }
        let probes = probe(&db, hash).map_err(told("cannot be written to"))?;
        end(&db, hash).map_err(told("cannot be closed"))?;
        drop(db);
        let db = open(fs, DIR, small_options()).map_err(told("cannot be opened again"))?;
        let again = State::of(&db).map_err(told("cannot be read again"))?;
        if again != found {
            return Err(format!("opened again, changed: {}", again.difference(&found)));
        }
        probed(&db, probes + 1)?;
        let copies = self.copies.iter().map(|copy| self.look(fs, &copy.place)).collect();
        let repos = self.copies.iter().find_map(|copy| match &copy.place {
            Place::Backup(repo, _) => Some(repo),
            Place::Database(_) => None,
        });
        if let Some(repo) = repos {
            // Whatever is left of backups, the next one works.
            db.backup(Path::new(repo)).map_err(told("cannot be backed up"))?;
        }
        Ok(Observed { existed, state, probes, copies })
    }

    /// How many different states there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.known.len()
    }

    /// The known state that is most like one, and the difference.
    fn nearest(&self, found: &State) -> (usize, String) {
        let alike = |known: &State| {
            let pairs = known.collections.iter().zip(&found.collections);
            pairs.filter(|(a, b)| a == b).count()
        };
        let best = self.known.iter().enumerate().max_by_key(|(_, known)| alike(known));
        best.map_or((0, String::new()), |(at, known)| (at, found.difference(known)))
    }

    fn look(&self, fs: &MemFs, place: &Place) -> std::result::Result<usize, String> {
        let dir = match place {
            Place::Database(dir) => dir.clone(),
            Place::Backup(repo, number) => {
                if !fs.exists(Path::new(repo)).map_err(|e| e.to_string())? {
                    return Err("no backups".into());
                }
                let to = format!("/restored-{number}");
                let backups = Backups::open(Env::memory(fs.clone()), Path::new(repo));
                backups
                    .and_then(|backups| backups.restore(Some(*number), Path::new(&to)))
                    .map_err(|e| e.to_string())?;
                to
            }
        };
        let existing = Options { create_if_missing: false, ..small_options() };
        let db = open(fs, &dir, existing).map_err(|e| e.to_string())?;
        let found = State::of(&db).map_err(|e| e.to_string())?;
        let known = self.known.iter().position(|known| *known == found);
        // A number that no step ever has.
        Ok(known.unwrap_or(usize::MAX))
    }

    /// Whether what was seen is what was promised.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, seen: &Observed, promise: &Promise) -> std::result::Result<(), String> {
        let Promise { steps, state, probes } = promise;
        let (acknowledged, begun) = (*steps.start(), *steps.end());
        if (acknowledged > 0 || state.is_some()) && !seen.existed {
            return Err("the database is gone".into());
        }
        if !probes.contains(&seen.probes) {
            return Err(format!("{} probes, of {probes:?}", seen.probes));
        }
        if state.is_some_and(|state| state != seen.state) {
            return Err("the database has shown another state before".into());
        }
        let allowed = self.after.get(steps.clone()).unwrap_or_default();
        if !allowed.contains(&seen.state) {
            let of = self.after.iter().position(|state| *state == seen.state);
            let why = match (self.known.get(seen.state), allowed.first()) {
                (Some(found), Some(wanted)) => {
                    self.known.get(*wanted).map(|wanted| found.difference(wanted))
                }
                _ => None,
            };
            let why = why.unwrap_or_default();
            return Err(format!("the state of after {of:?} steps: {why}"));
        }
        for (copy, found) in self.copies.iter().zip(&seen.copies) {
            let wanted = self.after.get(copy.holds);
            let place = &copy.place;
            match found {
                Ok(state) if Some(state) != wanted => {
                    return Err(format!("{place:?} does not hold what was copied"));
                }
                Ok(_) if copy.step >= begun => {
                    return Err(format!("{place:?} is there before it was begun"));
                }
                Err(e) if copy.step < acknowledged => {
                    return Err(format!("{place:?} is acknowledged and not there: {e}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn open(fs: &MemFs, dir: &str, options: Options) -> Result<Db> {
    Db::open(Env::memory(fs.clone()), Path::new(dir), options)
}

/// What a reader sees before anybody has opened the database to write it.
fn follow(fs: &MemFs) -> std::result::Result<Option<State>, String> {
    match Db::open_read_only(Env::memory(fs.clone()), Path::new(DIR), small_options()) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("cannot be opened to read: {e}")),
        Ok(db) => State::of(&db).map(Some).map_err(told("cannot be read by a reader")),
    }
}

fn told(what: &'static str) -> impl Fn(Error) -> String {
    move |e| format!("{what}: {e}")
}

/// Goes on with a database as if nothing had happened, now and then with a flush and a merge; how
/// many probes there were before.
///
/// # Errors
/// What the database returns.
pub fn probe(db: &Db, hash: u128) -> Result<u64> {
    let id = db.create_or_load(Kind::Multiset, PROBE, b"")?.id;
    let ts = db.collection(id)?.upper.ts().unwrap_or_default();
    let mut commit = Commit::new();
    let mut batch = commit.append(id, PROBE);
    batch.push(Update { key: b"probe", val: b"", ts, diff: 1 })?;
    batch.finish()?;
    commit.advance_upper(id, (ts + 1).into())?;
    db.commit(commit, Durability::Fsync)?;
    match hash % 16 {
        0 => db.flush()?,
        1 => db.compact(None)?,
        _ => {}
    }
    Ok(ts)
}

/// One in two ends without closing.
///
/// # Errors
/// What closing returns.
pub fn end(db: &Db, hash: u128) -> Result<()> {
    if hash.is_multiple_of(2) { db.close() } else { Ok(()) }
}

fn probed(db: &Db, wanted: u64) -> std::result::Result<(), String> {
    let found = db.find(PROBE).and_then(|found| crate::database::updates(db, found.id));
    let found = found.map_err(told("the probe cannot be read"))?.len() as u64;
    if found == wanted { Ok(()) } else { Err(format!("{found} probes, of {wanted}")) }
}
