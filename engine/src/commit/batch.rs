//! [`Puts`] and [`Events`]: what a commit writes to tables and logs.

use super::{Check, Commit};
use crate::collection::Description;
use crate::error::{Error, Result, display_bytes};
use crate::format::table_val::{TABLE_VAL_HEADER_LEN, VERSION_DELETE, VERSION_PUT};
use crate::format::wal_record::WAL_TS_ASSIGNED;
use crate::limits::{KEY_LEN_MAX, VAL_LEN_MAX};
use crate::types::{CollectionId, Kind, TimeWindow, Timestamp, Update};

/// The puts and deletes of one table on their way into a [`Commit`].
#[derive(Debug)]
pub struct Puts<'c> {
    commit: &'c mut Commit,
    collection: CollectionId,
    name: &'c str,
    kind: Kind,
    times: Option<TimeWindow>,
    assigned: bool,
    last_key: Option<Vec<u8>>,
    count: usize,
}

impl Commit {
    /// Starts adding puts and deletes to a table.
    ///
    /// # Errors
    /// `Invalid` when the collection is none.
    pub fn puts<'c>(&'c mut self, table: &'c Description) -> Result<Puts<'c>> {
        let (collection, kind) = (table.id, table.kind);
        if !kind.is_table() {
            return Err(wrong_kind(table, "a table"));
        }
        self.record.begin_append(collection);
        // Puts of an earlier batch may have the same keys.
        if self.tables.contains(&collection) {
            self.overwrites = true;
        } else {
            self.tables.push(collection);
        }
        Ok(Puts {
            commit: self,
            collection,
            name: &table.name,
            kind,
            times: None,
            assigned: false,
            last_key: None,
            count: 0,
        })
    }

    /// Starts adding events to a log, which must be at `expected` if that is given.
    ///
    /// # Errors
    /// `Invalid` when the collection is none.
    pub fn events<'c>(
        &'c mut self,
        log: &'c Description,
        expected: Option<u64>,
    ) -> Result<Events<'c>> {
        if log.kind != Kind::Log {
            return Err(wrong_kind(log, "a log"));
        }
        let collection = log.id;
        if let Some(expected) = expected {
            self.check(collection, Check::Upper { collection, expected: expected.into() });
        }
        self.record.begin_append(collection);
        self.must_sync = true;
        Ok(Events { commit: self, collection, name: &log.name, count: 0 })
    }
}

fn wrong_kind(collection: &Description, wanted: &str) -> Error {
    Error::invalid(format!(
        "collection '{}' is a {}, not {wanted}",
        collection.name, collection.kind
    ))
}

impl Puts<'_> {
    /// Gives `key` the value `val`; in a table on the caller's clock from `ts` on, in one on the
    /// database's clock from the time of the commit on. A time given to the latter restores what was
    /// there: it is at or beyond the table's own upper, not the clock, and the caller advances upper
    /// when everything is there again.
    ///
    /// # Errors
    /// `Invalid` when key or value are too long, or no time is given where the caller gives it.
    #[inline]
    pub fn put(&mut self, key: &[u8], val: &[u8], ts: Option<Timestamp>) -> Result<()> {
        self.push(key, val, ts, VERSION_PUT)
    }

    /// Takes the value of `key` away, if it has one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8], ts: Option<Timestamp>) -> Result<()> {
        self.push(key, &[], ts, VERSION_DELETE)
    }

    #[inline]
    fn push(&mut self, key: &[u8], val: &[u8], ts: Option<Timestamp>, diff: i64) -> Result<()> {
        if key.len() > KEY_LEN_MAX || val.len() > VAL_LEN_MAX - TABLE_VAL_HEADER_LEN {
            return Err(too_long(self.name, self.count, key.len(), val.len()));
        }
        match (ts, self.kind) {
            (Some(WAL_TS_ASSIGNED), _) => {
                return Err(Error::invalid(format!("a table has no time {WAL_TS_ASSIGNED}")));
            }
            (None, Kind::Table) => {
                let name = self.name;
                return Err(Error::invalid(format!("table '{name}' needs a time with each put")));
            }
            (Some(ts), _) => {
                let TimeWindow { first, last } =
                    self.times.unwrap_or(TimeWindow { first: ts, last: ts });
                self.times = Some(TimeWindow { first: first.min(ts), last: last.max(ts) });
            }
            (None, _) => self.assigned = true,
        }
        match &mut self.last_key {
            Some(last) if last.as_slice() < key => {
                last.clear();
                last.extend_from_slice(key);
            }
            Some(_) => self.commit.overwrites = true,
            None => self.last_key = Some(key.to_vec()),
        }
        self.count += 1;
        self.commit.record.row(&Update { key, val, ts: ts.unwrap_or(WAL_TS_ASSIGNED), diff })
    }

    /// Ends the batch.
    pub fn finish(self) {
        let Self { commit, collection, times, assigned, count, .. } = self;
        commit.update_count += count as u64;
        commit.check(collection, Check::Puts { collection, times, assigned });
        commit.changes.push(crate::collection::Change::Put { collection, times, assigned });
    }
}

/// The events of one log on their way into a [`Commit`].
#[derive(Debug)]
pub struct Events<'c> {
    commit: &'c mut Commit,
    collection: CollectionId,
    name: &'c str,
    count: u64,
}

impl Events<'_> {
    /// Adds an event; with an `id`, which must not be empty, only if the log has none of this id.
    ///
    /// # Errors
    /// `Invalid` when the event or the id are too long, or the id is empty or is twice in the
    /// commit.
    pub fn push(&mut self, id: Option<&[u8]>, event: &[u8]) -> Result<()> {
        let id = match id {
            Some([]) => return Err(Error::invalid("the id of an event is empty")),
            Some(id) => id,
            None => &[],
        };
        // Id and event are stored in one value.
        if id.len() > KEY_LEN_MAX - 9 || event.len() > VAL_LEN_MAX - KEY_LEN_MAX {
            return Err(too_long(self.name, self.count as usize, id.len(), event.len()));
        }
        if !id.is_empty() {
            let new = (self.collection, id.to_vec());
            if self.commit.event_ids.contains(&new) {
                let id = display_bytes(id);
                return Err(Error::invalid(format!("event id {id} is twice in one commit")));
            }
            self.commit.event_ids.push(new);
        }
        self.count += 1;
        self.commit.record.row(&Update { key: id, val: event, ts: WAL_TS_ASSIGNED, diff: 1 })
    }

    /// Ends the batch.
    pub fn finish(self) {
        let Self { commit, collection, count, .. } = self;
        commit.update_count += count;
        commit.check(collection, Check::Events { collection });
        commit.changes.push(crate::collection::Change::Append { collection, count });
    }
}

fn too_long(name: &str, index: usize, key_len: usize, val_len: usize) -> Error {
    Error::invalid(format!(
        "row {index} for collection '{name}' has a key of {key_len} and a value of {val_len} bytes; \
         the most are {KEY_LEN_MAX} and {}",
        VAL_LEN_MAX - TABLE_VAL_HEADER_LEN
    ))
}
