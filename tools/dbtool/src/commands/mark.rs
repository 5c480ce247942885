//! How far something has come with a collection: kept in a collection of its own, written in the
//! same commit as what it stands for, so that a killed command goes on exactly behind its last
//! durable commit.
//!
//! # Invariants
//! 1. There is at most one mark for each target at any time.
//! 2. The history of marks is compacted away as it goes: only the last one is kept.

use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::store::Store;
use datestone::{Collection, Commit, Frontier, Update};

/// The mark of one collection.
pub(crate) struct Mark {
    marks: Collection,
    /// The collection that keeps the marks: key = name of a collection, val = its mark.
    kept_in: &'static str,
    /// The collection that is marked.
    target: String,
    /// Upper of the marks: the time of the next one.
    upper: Frontier,
    /// The durable mark; `None` when there never was one.
    val: Option<Vec<u8>>,
}

impl Mark {
    /// Reads the mark of `target` from the collection `kept_in`, which is made when it does not
    /// exist.
    pub(crate) fn open(store: &Store, kept_in: &'static str, target: &str) -> Result<Self> {
        let marks = store.db.collection(kept_in).in_database(store.path())?;
        let mut found = vec![];
        let upper = store.info(&marks)?.upper;
        if upper > Frontier::MIN {
            let snapshot = store.snapshot(&marks, None)?;
            snapshot
                .get_with(target.as_bytes(), |val, _| found.push(val.to_vec()))
                .in_database(store.path())?;
        }
        let mark = Self { marks, kept_in, target: target.into(), upper, val: None };
        match found.len() {
            0 | 1 => Ok(Self { val: found.pop(), ..mark }),
            _ => Err(mark.odd()), // I1
        }
    }

    /// The mark that is durable.
    pub(crate) fn val(&self) -> Option<&[u8]> {
        self.val.as_deref()
    }

    /// Adds "the mark is `val`" to `commit`.
    pub(crate) fn put(&self, commit: Commit, val: &[u8]) -> Result<Commit> {
        let kept_in = self.kept_in;
        let Some(ts) = self.upper.ts() else {
            return Err(Failure::new(Exit::Error, format!("collection '{kept_in}' is closed"))
                .hint("load into a new database"));
        };
        let key = self.target.as_bytes();
        let mut updates = vec![];
        if let Some(old) = &self.val {
            updates.push(Update { key, val: old, ts, diff: -1 });
        }
        updates.push(Update { key, val, ts, diff: 1 });
        Ok(commit
            .append(&self.marks, &updates)
            .advance_upper(&self.marks, Frontier::just_beyond(ts))
            .compact_below(&self.marks, Frontier::at(ts))) // I2
    }

    /// The commit with the mark `val` is durable.
    pub(crate) fn committed(&mut self, val: &[u8]) {
        self.val = Some(val.into());
        self.upper = self.upper.ts().map_or(self.upper, Frontier::just_beyond);
    }

    /// The failure of a mark that is none.
    pub(crate) fn odd(&self) -> Failure {
        let (target, kept_in) = (&self.target, self.kept_in);
        let what = format!("the mark of collection '{target}' cannot be read");
        Failure::new(Exit::Error, what)
            .why(format!("collection '{kept_in}' was changed by something else"))
            .hint("load into a new database")
    }
}
