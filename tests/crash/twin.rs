//! What a reader sees of a database that nobody has opened since the kill, and what it shows when it
//! is opened: the same.

use crate::actor::{Outcome, Row, difference, ts, updates, wrong};
use datestone::{Datestone, ErrorKind, Kind, Options};
use std::collections::BTreeMap;
use std::path::Path;

/// Updates, since and upper, by collection.
#[derive(Default)]
pub(crate) struct Seen {
    since: BTreeMap<String, u64>,
    upper: BTreeMap<String, u64>,
    updates: BTreeMap<String, BTreeMap<(Row, u64), i64>>,
}

fn see(db: &Datestone) -> Outcome<Seen> {
    let mut seen = Seen::default();
    for info in db.collections() {
        let collection = db.find(&info.name)?;
        // A policy may have it forget more in the background: the times are those of one since.
        let (since, updates) = loop {
            let (since, updates) = (collection.since()?, updates(&collection)?);
            if collection.since()? == since {
                break (since, updates);
            }
        };
        seen.since.insert(info.name.clone(), ts(since));
        // The clock may go on while a database is opened.
        if info.kind != Kind::ClockTable {
            seen.upper.insert(info.name.clone(), ts(info.upper));
        }
        seen.updates.insert(info.name, updates);
    }
    Ok(seen)
}

/// What a reader sees; `None` when there is no database.
pub(crate) fn read_only(path: &Path) -> Outcome<Option<Seen>> {
    let options = Options { background_threads: 0, ..crate::child::options() };
    match Datestone::open_read_only_with(path, options) {
        Ok(reader) => see(&reader).map(Some),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => wrong!("read only: {e}"),
    }
}

impl Seen {
    /// Compares with a database that was opened. It may have forgotten more since, as policies ask.
    pub(crate) fn compare(self, db: &Datestone) -> Outcome<()> {
        let opened = see(db)?;
        if self.upper != opened.upper {
            wrong!("uppers {:?}, a reader saw {:?}", opened.upper, self.upper);
        }
        for (name, since) in &opened.since {
            if Some(since) < self.since.get(name) {
                wrong!("{name}: since {since}, a reader saw {:?}", self.since.get(name));
            }
            let mut seen: BTreeMap<(Row, u64), i64> = BTreeMap::new();
            for ((row, time), diff) in self.updates.get(name).into_iter().flatten() {
                *seen.entry((row.clone(), *time.max(since))).or_default() += diff;
            }
            seen.retain(|_, diff| *diff != 0);
            let found = opened.updates.get(name).cloned().unwrap_or_default();
            if let Some(what) = difference(&found, &seen) {
                wrong!("{name}: opened it shows something else than to a reader: {what}");
            }
        }
        Ok(())
    }
}
