//! [`Puts`] and [`Events`]: what a commit writes to tables and logs.

use super::{Check, Commit};
use crate::collection::{Change, Description};
use crate::error::{Error, Result, display_bytes};
use crate::format::table_val::{TABLE_VAL_HEADER_LEN, VERSION_DELETE, VERSION_PUT};
use crate::format::wal_record::WAL_TS_ASSIGNED;
use crate::limits::{KEY_LEN_MAX, VAL_LEN_MAX};
use crate::types::{CollectionId, Kind, TimeWindow, Timestamp, Update};

/// The puts and deletes of one table on their way into a [`Commit`].
#[derive(Debug)]
pub struct Puts<'c> {
    commit: &'c mut Commit,
    name: &'c str,
    kind: Kind,
    run: PutRun,
    count: usize,
}

/// Puts to one table without anything else between: one operation of the record, however many
/// batches they came in.
#[derive(Debug)]
pub(super) struct PutRun {
    collection: CollectionId,
    times: Option<TimeWindow>,
    assigned: bool,
    last_key: Option<Vec<u8>>,
    /// Among the commit's checks; `None` while it has none, and where it creates the table.
    check: Option<usize>,
    /// Among its changes.
    change: Option<usize>,
}

impl Commit {
    /// Starts adding puts and deletes to a table.
    ///
    /// # Errors
    /// `Invalid` when the collection is none.
    pub fn puts<'c>(&'c mut self, table: &'c Description) -> Result<Puts<'c>> {
        let (collection, kind, name) = (table.id, table.kind, &*table.name);
        if !kind.is_table() {
            return Err(wrong_kind(table, "a table"));
        }
        let open = self.put_run.take().filter(|run| {
            run.collection == collection && self.record.appends_to() == Some(collection)
        });
        if let Some(run) = open {
            return Ok(Puts { commit: self, name, kind, run, count: 0 });
        }
        self.record.begin_append(collection);
        // Earlier puts may have the same keys.
        if self.tables.contains(&collection) {
            self.overwrites = true;
        } else {
            self.tables.push(collection);
        }
        let (times, assigned, last_key) = (None, false, None);
        let run = PutRun { collection, times, assigned, last_key, check: None, change: None };
        Ok(Puts { commit: self, name, kind, run, count: 0 })
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
                    self.run.times.unwrap_or(TimeWindow { first: ts, last: ts });
                self.run.times = Some(TimeWindow { first: first.min(ts), last: last.max(ts) });
            }
            (None, _) => self.run.assigned = true,
        }
        match &mut self.run.last_key {
            Some(last) if last.as_slice() < key => {
                last.clear();
                last.extend_from_slice(key);
            }
            Some(_) => self.commit.overwrites = true,
            None => self.run.last_key = Some(key.to_vec()),
        }
        self.count += 1;
        self.commit.record.row(&Update { key, val, ts: ts.unwrap_or(WAL_TS_ASSIGNED), diff })
    }

    /// Ends the batch.
    pub fn finish(self) {
        let Self { commit, mut run, count, .. } = self;
        let PutRun { collection, times, assigned, .. } = run;
        commit.update_count += count as u64;
        let check = Check::Puts { collection, times, assigned };
        match run.check.and_then(|known| commit.checks.get_mut(known)) {
            Some(known) => *known = check,
            None => {
                let before = commit.checks.len();
                commit.check(collection, check);
                run.check = (commit.checks.len() > before).then_some(before);
            }
        }
        let change = Change::Put { collection, times, assigned };
        match run.change.and_then(|known| commit.changes.get_mut(known)) {
            Some(known) => *known = change,
            None => {
                run.change = Some(commit.changes.len());
                commit.changes.push(change);
            }
        }
        commit.put_run = Some(run);
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
        commit.changes.push(Change::Append { collection, count });
    }
}

fn too_long(name: &str, index: usize, key_len: usize, val_len: usize) -> Error {
    Error::invalid(format!(
        "row {index} for collection '{name}' has a key of {key_len} and a value of {val_len} bytes; \
         the most are {KEY_LEN_MAX} and {}",
        VAL_LEN_MAX - TABLE_VAL_HEADER_LEN
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::wal_record::{Op, decode};

    fn table(id: u64, kind: Kind) -> Description {
        Description { id: CollectionId(id), name: "t".into(), meta: Default::default(), kind }
    }

    fn put(commit: &mut Commit, table: &Description, key: &[u8], val: &[u8], ts: Option<u64>) {
        let mut puts = commit.puts(table).unwrap();
        puts.put(key, val, ts).unwrap();
        puts.finish();
    }

    type KeyVal = (Vec<u8>, Vec<u8>);

    /// The rows of each operation of the record.
    fn ops(commit: &Commit) -> Vec<(u64, Vec<KeyVal>)> {
        let ops = decode(commit.payload()).unwrap().map(|op| op.unwrap());
        ops.map(|op| match op {
            Op::Append { collection, rows } => {
                (collection.0, rows.map(|row| (row.key.to_vec(), row.val.to_vec())).collect())
            }
            other => panic!("{other:?}"),
        })
        .collect()
    }

    /// Goal: puts one after the other are one operation, one check and one change, and puts to
    /// another table between end it. Method: the record, read back.
    #[test]
    fn puts_in_a_row_are_one_operation() {
        let (a, b) = (table(1, Kind::Table), table(2, Kind::Table));
        let mut commit = Commit::new();
        for (key, ts) in [(b"k3", 9), (b"k1", 4), (b"k2", 7)] {
            put(&mut commit, &a, key, b"v", Some(ts));
        }
        put(&mut commit, &b, b"k1", b"v", Some(5));
        put(&mut commit, &a, b"k9", b"v", Some(6));
        commit.seal().unwrap();
        let rows: Vec<_> = ops(&commit).iter().map(|(id, rows)| (*id, rows.len())).collect();
        assert_eq!(rows, [(1, 3), (2, 1), (1, 1)]);
        assert_eq!(commit.update_count(), 5);
        let times = |first, last| Some(TimeWindow { first, last });
        let check =
            |id, times| Check::Puts { collection: CollectionId(id), times, assigned: false };
        let checks = [check(1, times(4, 9)), check(2, times(5, 5)), check(1, times(6, 6))];
        assert_eq!(commit.checks(), checks);
        assert_eq!(commit.changes().len(), 3);
    }

    /// Goal: whatever comes between ends a run of puts, so that no row goes to what came between.
    #[test]
    fn updates_between_puts_keep_their_rows() {
        let a = table(1, Kind::Table);
        let mut commit = Commit::new();
        put(&mut commit, &a, b"k1", b"v", Some(4));
        let mut batch = commit.append(CollectionId(7), "bag");
        batch.push(Update { key: b"b", val: b"", ts: 1, diff: 1 }).unwrap();
        batch.finish().unwrap();
        put(&mut commit, &a, b"k2", b"v", Some(4));
        commit.seal().unwrap();
        let rows: Vec<_> = ops(&commit).iter().map(|(id, rows)| (*id, rows.len())).collect();
        assert_eq!(rows, [(1, 1), (7, 1), (1, 1)]);
    }

    /// Goal: the last put of a key at a time counts, whichever batch it came in, and of other times
    /// and tables none is lost.
    #[test]
    fn the_last_put_of_a_key_counts() {
        let (a, b, clock) =
            (table(1, Kind::Table), table(2, Kind::Table), table(3, Kind::ClockTable));
        let mut commit = Commit::new();
        for (table, key, val, ts) in [
            (&a, b"k1", b"v0", Some(3)),
            (&a, b"k1", b"v1", Some(4)),
            (&a, b"k1", b"v2", Some(3)),
            (&b, b"k1", b"v3", Some(3)),
            (&clock, b"k1", b"v4", None),
            (&clock, b"k0", b"v5", None),
            (&clock, b"k1", b"v6", None),
        ] {
            put(&mut commit, table, key, val, ts);
        }
        commit.seal().unwrap();
        let vals: Vec<_> =
            ops(&commit).into_iter().flat_map(|(_, rows)| rows).map(|(_, val)| val).collect();
        assert_eq!(vals, [b"v1", b"v2", b"v3", b"v5", b"v6"]);
    }
}
