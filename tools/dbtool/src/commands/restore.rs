//! `dbtool load --dump`: restores a dump.
//!
//! # Invariants
//! 1. Nothing of a collection can be read before all of it is there: upper moves in the last commit
//!    of the collection, when its rows have been counted and their CRC compared. Except for logs,
//!    and for tables on the database's clock when that has moved already.
//! 2. A dump that fails leaves no collection behind: those that it made are dropped again.

use super::note;
use crate::args::{Global, Load};
use crate::batch::Batch;
use crate::dump::{CollectionHead, DumpReader, Event};
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::input::Input;
use crate::progress::Bar;
use crate::store::Store;
use datestone::{Collection, Commit, Kind, Update};
use std::collections::BTreeMap;
use std::path::Path;

/// Most bytes of keys and values in a commit.
const BATCH_LEN_MAX: usize = 64 << 20;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Load, dump: &Path, bar: &Bar) -> Result<()> {
    let mut reader = DumpReader::new(Input::open(dump, bar)?)?;
    let store = Store::existing_or_new(&args.db)?;
    let mut restore = Restore { store: &store, made: vec![], batch: args.batch.get() };
    if let Err(failure) = restore.all(&mut reader, args.allow_partial) {
        restore.drop_made(); // I2
        return Err(failure);
    }
    let (collections, rows) = (restore.made.len(), reader.rows());
    store.close()?;
    bar.clear();
    let what = reader.head().mode.name();
    note(global, format_args!("restored {what} of {collections} collections, {rows} rows"));
    Ok(())
}

struct Restore<'a> {
    store: &'a Store,
    /// Names of the collections that this restore has made.
    made: Vec<String>,
    /// Updates in a commit.
    batch: usize,
}

/// The collection that is being restored.
struct Open {
    head: CollectionHead,
    collection: Collection,
}

impl Restore<'_> {
    fn all(&mut self, reader: &mut DumpReader, allow_partial: bool) -> Result<()> {
        let mut batch = Batch::default();
        let mut open = None;
        loop {
            let full = batch.len() >= self.batch || batch.len_bytes() >= BATCH_LEN_MAX;
            match reader.next_event()? {
                Event::Begin(head) => open = Some(self.begin(head)?),
                Event::Row(update, line) => {
                    // What a table's key was at one time takes all rows of the key to know.
                    let whole = open.as_ref().is_none_or(|open: &Open| !open.head.kind.is_table())
                        || batch.last_key() != Some(update.key);
                    let full = full && whole;
                    match &open {
                        Some(open) if full => {
                            let (key, val) = (update.key.to_vec(), update.val.to_vec());
                            self.append(open, &mut batch)?;
                            batch.push(Update { key: &key, val: &val, ..update }, line);
                        }
                        _ => batch.push(update, line),
                    }
                }
                Event::End => self.end(open.take(), &mut batch)?,
                Event::Finished => return Ok(()),
                Event::Cut if allow_partial => return self.end(open.take(), &mut batch),
                Event::Cut => return Err(cut_short(reader.name())),
            }
        }
    }

    /// Makes the collection.
    fn begin(&mut self, head: CollectionHead) -> Result<Open> {
        let store = self.store;
        let commit = store.db.commit().create_kind(head.kind, &head.name, &head.meta);
        commit.run().in_database(store.path()).map_err(|failure| match &failure {
            Failure::Told(told) if told.what.contains("exists already") => {
                failure.hint("restore into a new directory")
            }
            _ => failure,
        })?;
        self.made.push(head.name.clone());
        let collection = store.find(&head.name)?;
        Ok(Open { head, collection })
    }

    /// Appends what was read, and empties `batch`.
    fn append(&self, open: &Open, batch: &mut Batch) -> Result<()> {
        let commit = self.rows(open, batch)?;
        commit.run().in_database(self.store.path())?;
        batch.clear();
        Ok(())
    }

    /// A commit of what was read, in the manner of the collection's kind.
    fn rows(&self, open: &Open, batch: &Batch) -> Result<Commit> {
        let Open { head, collection } = open;
        let db = &self.store.db;
        let mut commit = db.commit();
        match head.kind {
            Kind::Multiset => commit = commit.append(collection, batch.updates()),
            Kind::Table => {
                let table = db.find_timed_table(&head.name).in_database(self.store.path())?;
                for (key, ts, val) in puts(batch) {
                    commit = match val {
                        Some(val) => commit.put_at(&table, key, val, ts),
                        None => commit.delete_at(&table, key, ts),
                    };
                }
            }
            Kind::ClockTable => {
                let table = db.find_table(&head.name).in_database(self.store.path())?;
                for (key, ts, val) in puts(batch) {
                    commit = commit.restore_put(&table, key, val, ts);
                }
            }
            Kind::Log => {
                let log = db.find_log(&head.name).in_database(self.store.path())?;
                for event in batch.updates() {
                    commit = match event.key {
                        [] => commit.append_events(&log, [event.val]),
                        id => commit.append_once(&log, id, event.val),
                    };
                }
            }
        }
        Ok(commit)
    }

    /// Appends the rest, and makes all of it readable.
    fn end(&self, open: Option<Open>, batch: &mut Batch) -> Result<()> {
        let Some(open) = open else { return Ok(()) };
        let mut commit = self.rows(&open, batch)?;
        let Open { head, collection } = &open;
        if head.kind != Kind::Log {
            commit = commit.advance_upper(collection, head.upper); // I1
            commit = commit.compact_below(collection, head.since);
        }
        commit.run().in_database(self.store.path())?;
        batch.clear();
        Ok(())
    }

    /// Drops what was made.
    fn drop_made(&self) {
        for name in &self.made {
            // The failure that led here is the one to tell. What stays is not readable (I1), unless
            // it was restored in full.
            let _ = self.store.db.drop_collection(name);
        }
    }
}

fn cut_short(name: &str) -> Failure {
    Failure::new(Exit::Error, format!("the dump {name} is cut short"))
        .why("its last line {\"end_dump\": ..} is missing; nothing was restored")
        .hint("get the whole dump, or keep what there is with --allow-partial")
}

/// A key, a time, and what was put there; `None` when it was deleted.
type Put<'b> = (&'b [u8], u64, Option<&'b [u8]>);

/// What the updates of a table say was put, or deleted, at which time; in order of keys, and of times
/// within a key.
fn puts(batch: &Batch) -> Vec<Put<'_>> {
    let mut puts: BTreeMap<(&[u8], u64), Option<&[u8]>> = BTreeMap::new();
    for update in batch.updates() {
        let put = puts.entry((update.key, update.ts)).or_default();
        if update.diff > 0 {
            *put = Some(update.val);
        }
    }
    puts.into_iter().map(|((key, ts), val)| (key, ts, val)).collect()
}
