//! [`Base`]: databases that damage is done to, made once.

use crate::model::Model;
use crate::ops::step;
use crate::session::{DIR, Session, open};
use arbitrary::Unstructured;
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::Error;
use datestone_engine::io::{Fs, MemFs};
use datestone_engine::types::{Frontier, Kind, Timestamp, Update};
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

/// Count of bases.
const COUNT: u64 = 4;

/// The files of a database that was killed, and what it held after each commit.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) fs: MemFs,
    /// By seqno, ascending.
    pub(crate) states: Vec<(u64, Model)>,
}

/// The base that `choice` means.
pub(crate) fn base(choice: u8) -> &'static Base {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    let bases = BASES.get_or_init(|| (0..COUNT).map(make).collect());
    &bases[usize::from(choice) % bases.len()]
}

/// Takes a database through operations that follow from `seed`: it has segments in several runs, a
/// manifest with edits, log files that were used again, and commits that are in the log alone.
fn make(seed: u64) -> Base {
    let mut session = Session::new();
    session.create("a");
    session.create("b");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(4_000)
    .collect();
    let mut bytes = Unstructured::new(&bytes);
    for _ in 0..60 {
        step(&mut session, &mut bytes).expect("there are enough bytes");
    }
    session.check();
    Base { fs: session.fs.kill(), states: session.states }
}

impl Base {
    /// Names of the files, ascending; without the lock.
    pub(crate) fn names(fs: &MemFs) -> Vec<OsString> {
        let entries = fs.list(Path::new(DIR)).unwrap_or_default();
        let mut names: Vec<_> =
            entries.into_iter().filter(|e| e.is_file && e.name != "LOCK").map(|e| e.name).collect();
        names.sort();
        names
    }

    /// What the database held after the commit `seqno`.
    pub(crate) fn state(&self, seqno: u64) -> &Model {
        let after = self.states.partition_point(|(at, _)| *at <= seqno);
        &self.states[after.saturating_sub(1)].1
    }
}

/// A database of all kinds that was killed: segments, some of them compressed, a durable hold, and
/// commits that are in the log alone. `each` is called after every commit that ends a round.
pub(crate) fn every_kind(mut each: impl FnMut(&Db, u64)) -> MemFs {
    const ROUNDS: u64 = 12;
    let fs = MemFs::new();
    let db = open(&fs).expect("a new database opens");
    for (name, kind) in KINDS {
        db.create_or_load(kind, name, name.as_bytes()).expect("a good name");
    }
    for round in 0..ROUNDS {
        round_of_every_kind(&db, round).expect("nothing fails");
        match round {
            3 => {
                let id = db.find("multiset").expect("it exists").id;
                db.take_hold("hold", id, 2, "owner").expect("nothing fails");
            }
            4 | 8 => db.flush().expect("nothing fails"),
            6 => db.compact(None).expect("nothing fails"),
            _ => {}
        }
        each(&db, round);
    }
    fs.kill()
}

/// The collections of [`every_kind`].
const KINDS: [(&str, Kind); 4] = [
    ("multiset", Kind::Multiset),
    ("table", Kind::Table),
    ("log", Kind::Log),
    ("clock-table", Kind::ClockTable),
];

/// One commit to every collection.
fn round_of_every_kind(db: &Db, round: Timestamp) -> Result<(), Error> {
    let [multiset, table, log, clock] = KINDS.map(|(name, _)| db.find(name).expect("it exists"));
    let mut commit = Commit::new();
    let mut batch = commit.append(multiset.id, "multiset");
    for i in 0..20_u8 {
        let val = vec![i ^ round as u8; usize::from(i) * 5];
        let diff = if i % 4 == 0 { -1 } else { i64::from(i) };
        batch.push(Update { key: &[b'k', i % 11], val: &val, ts: round, diff })?;
    }
    batch.finish()?;
    commit.advance_upper(multiset.id, Frontier::at(round + 1))?;
    for (table, given) in [(&table, Some(round)), (&clock, None)] {
        let mut puts = commit.puts(table)?;
        for i in 0..12_u8 {
            let key = [i % 9, i];
            match (u64::from(i) + round) % 5 {
                0 => puts.delete(&key, given)?,
                _ => puts.put(&key, &[round as u8; 30], given)?,
            }
        }
        puts.finish();
    }
    commit.advance_upper(table.id, Frontier::at(round + 1))?;
    let mut events = commit.events(&log, None)?;
    for i in 0..6_u8 {
        let id = [round as u8, i];
        events.push((i % 2 == 0).then_some(&id[..]), &[i; 40])?;
    }
    events.finish();
    db.commit(commit, Durability::Fsync).map(drop)
}
