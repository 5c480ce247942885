//! [`Actor`]: one kind of work of the child, and how the supervisor judges what is left of it.
//!
//! An actor makes steps 0, 1, 2 and so on. What the database holds of it follows from their number
//! alone, so that it can go on after a kill and its remains can be judged. One step at most can have
//! been made without anybody having heard of it: the one that the kill has hit.

use crate::{accounts, alike, bulk, copier, copies, events, holds, multisets, tables};
use datestone::{Collection, Datestone, Error, ErrorKind};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a child and its supervisor are at work.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) db: Datestone,
    /// The directory with that of the database, and those of its copies.
    pub(crate) place: PathBuf,
}

/// What is known of an actor when the database is judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Steps that must be there: acknowledged, or found after an earlier kill.
    pub(crate) count: u64,
    /// Steps that can be there: mostly one more.
    pub(crate) most: u64,
    /// Of those that must be there, the ones that were acknowledged: the last one found may lack its second half.
    pub(crate) acknowledged: u64,
    /// What steps have said beside their number; of the last ones only.
    pub(crate) marks: BTreeMap<u64, u64>,
    /// Whether the child that was killed last was told to make such steps.
    pub(crate) active: bool,
    /// Chance, for checks that look at a sample.
    pub(crate) chance: u64,
}

impl Known {
    /// The greatest mark, for marks that never go back.
    pub(crate) fn furthest(&self) -> Option<u64> {
        self.marks.values().max().copied()
    }

    /// How many steps are there, of those that must be and those that can be, when just one number fits.
    pub(crate) fn pick(&self, holds: impl Fn(u64) -> Result<(), String>) -> Result<u64, Wrong> {
        let mut wrong = Vec::new();
        for count in self.count..=self.most {
            match holds(count) {
                Ok(()) => return Ok(count),
                Err(what) => wrong.push(format!("not {count} steps: {what}")),
            }
        }
        Err(Wrong(wrong.join("; ")))
    }
}

/// What is wrong, in words; an error begins with its kind.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

impl From<Error> for Wrong {
    fn from(e: Error) -> Self {
        Self(format!("{}: {e}", e.kind()))
    }
}

impl From<std::io::Error> for Wrong {
    fn from(e: std::io::Error) -> Self {
        Self(format!("{}: {e}", ErrorKind::Io))
    }
}

pub(crate) type Outcome<T> = Result<T, Wrong>;

/// Makes step `n` and returns its mark.
pub(crate) type Step = Box<dyn FnMut(u64) -> Outcome<u64>>;

pub(crate) trait Actor: Sync {
    fn name(&self) -> String;

    /// What makes the steps of a child, in its own thread; `count` of them were found to be made.
    fn begin(&self, stage: &Stage, count: u64) -> Outcome<Step>;

    /// The first step of a child. Who can be asked twice for the same is asked again for the last one.
    fn first(&self, count: u64) -> u64 {
        count
    }

    /// How many steps the database has, when what it holds is what so many steps make.
    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64>;
}

/// All actors; the first one speaks in every life.
pub(crate) fn actors() -> Vec<Box<dyn Actor>> {
    let mut all: Vec<Box<dyn Actor>> = Vec::new();
    all.extend((0..3).map(|writer| Box::new(multisets::Writer(writer)) as Box<dyn Actor>));
    all.extend((0..accounts::MOVERS).map(|n| Box::new(accounts::Mover(n)) as Box<dyn Actor>));
    all.push(Box::new(tables::OnClock));
    all.push(Box::new(tables::Timed));
    all.push(Box::new(alike::Alike));
    all.push(Box::new(events::Producer));
    all.push(Box::new(events::Loader));
    all.push(Box::new(holds::Keeper));
    all.push(Box::new(holds::Presser));
    all.push(Box::new(holds::Retained));
    all.push(Box::new(copier::Origin));
    all.push(Box::new(copier::Copier));
    all.push(Box::new(bulk::Ingester));
    all.push(Box::new(bulk::Eraser));
    all.push(Box::new(bulk::Truncater));
    all.push(Box::new(copies::Checkpoints));
    all.push(Box::new(copies::BackupTaker));
    all
}

/// `wrong!` as `format!`: leaves the function with what is wrong.
macro_rules! wrong {
    ($($arg:tt)*) => {
        return Err($crate::actor::Wrong(format!($($arg)*)))
    };
}
pub(crate) use wrong;

/// Nothing where there is none (yet).
pub(crate) fn there<T>(found: datestone::Result<T>) -> Outcome<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotYet) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A key and a value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);
pub(crate) type Contents = BTreeMap<Row, i64>;

/// What a collection holds as of a time.
pub(crate) fn contents(collection: &Collection, as_of: u64) -> Outcome<Contents> {
    let mut found = BTreeMap::new();
    for row in collection.snapshot(as_of)?.iter() {
        let row = row?;
        if found.insert((row.key, row.val), row.diff).is_some() {
            wrong!("{}: a row comes twice as of {as_of}", collection.name());
        }
    }
    Ok(found)
}

/// All updates, by row and time.
pub(crate) fn updates(collection: &Collection) -> Outcome<BTreeMap<(Row, u64), i64>> {
    let mut found = BTreeMap::new();
    let mut rows = collection.updates()?;
    while let Some(update) = rows.next_update()? {
        let key = ((update.key.to_vec(), update.val.to_vec()), update.ts);
        if found.insert(key, update.diff).is_some() {
            wrong!("{}: an update comes twice", collection.name());
        }
    }
    Ok(found)
}

/// The time that a frontier has; none of these collections is closed.
pub(crate) fn ts(frontier: datestone::Frontier) -> u64 {
    frontier.ts().unwrap_or(u64::MAX)
}

/// The first difference, `None` when there is none.
pub(crate) fn difference<K: Ord + std::fmt::Debug, V: PartialEq>(
    found: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Option<String> {
    let missing = wanted.iter().find(|(key, val)| found.get(*key) != Some(*val));
    let foreign = found.iter().find(|(key, val)| wanted.get(*key) != Some(*val));
    let key = |row: Option<(&K, &V)>| {
        row.map(|(key, _)| format!("{key:?}").chars().take(200).collect::<String>())
    };
    match (key(missing), key(foreign)) {
        (None, None) => None,
        (missing, foreign) => Some(format!("missing {missing:?}, not expected {foreign:?}")),
    }
}

/// The same as an outcome.
pub(crate) fn require_same<K: Ord + std::fmt::Debug, V: PartialEq>(
    what: impl std::fmt::Display,
    found: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Outcome<()> {
    difference(found, wanted).map_or(Ok(()), |that| Err(Wrong(format!("{what}: {that}"))))
}

/// A number that looks like chance and follows from `n`.
pub(crate) const fn mixed(n: u64) -> u64 {
    n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20)
}

/// A value that names its step, of a length that follows from it.
pub(crate) fn val(n: u64) -> Vec<u8> {
    let mut val = format!("{n:06} ").into_bytes();
    val.resize(val.len() + usize::try_from(mixed(n) % 120).unwrap_or_default(), b'v');
    val
}

/// A number in 8 bytes, in order.
pub(crate) fn key_of(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}
