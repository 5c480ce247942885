//! [`Commit`]: what one commit does, checked and encoded before it meets anybody else.
//!
//! A caller builds a commit on its own thread: updates are checked against the limits and encoded
//! as they come, straight into the record that the WAL will hold. The commit leader then needs only
//! the [`Check`]s.

mod batch;
mod reads;

use batch::PutRun;
pub use batch::{Events, Puts};
pub use reads::Reads;

use crate::collection::{Change, Collection, Description, check_name};
use crate::error::{Error, Result, display_bytes};
use crate::format::wal_record::{Create, Op, RecordBuilder, WAL_TS_WIDTH, decode};
use crate::format::{FormatError, key_hash};
use crate::limits;
use crate::types::{CollectionId, Frontier, Kind, TimeWindow, Update};
use std::collections::HashMap;
use std::sync::Arc;

/// What must hold before a commit may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The collection is a multiset and no update lies below its upper.
    Updates {
        /// The collection.
        collection: CollectionId,
        /// Least and greatest time of the updates.
        times: TimeWindow,
    },
    /// The collection exists and has this upper.
    Upper {
        /// The collection.
        collection: CollectionId,
        /// Its upper.
        expected: Frontier,
    },
    /// The collection exists.
    Exists {
        /// The collection.
        collection: CollectionId,
    },
    /// The collection is a table, and may be put to at these times.
    Puts {
        /// The collection.
        collection: CollectionId,
        /// Least and greatest of the times given; none where the database gives them all.
        times: Option<TimeWindow>,
        /// Whether the database is to give times.
        assigned: bool,
    },
    /// The collection is a log.
    Events {
        /// The collection.
        collection: CollectionId,
    },
    /// The caller may advance the collection's upper.
    Advances {
        /// The collection.
        collection: CollectionId,
    },
    /// The collection's history may be forgotten.
    Forgets {
        /// The collection.
        collection: CollectionId,
    },
    /// No collection has this name.
    Absent {
        /// The name.
        name: Arc<str>,
    },
}

/// What one commit does; all or nothing.
#[derive(Debug, Default)]
pub struct Commit {
    record: RecordBuilder,
    payload: Vec<u8>,
    checks: Vec<Check>,
    changes: Vec<Change>,
    created: Vec<CollectionId>,
    update_count: u64,
    must_sync: bool,
    /// Tables that it puts to.
    tables: Vec<CollectionId>,
    /// Whether a key of a table may be in it twice.
    overwrites: bool,
    /// The puts that came last; they go on while nothing else comes.
    put_run: Option<PutRun>,
    /// What must not have changed meanwhile.
    reads: Reads,
    /// The ids of the events that it appends, and their logs.
    event_ids: Vec<(CollectionId, Vec<u8>)>,
    /// Collections whose diffs are so large that their sums have to be checked.
    suspects: Vec<(CollectionId, Arc<str>)>,
}

impl Commit {
    /// A commit that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What must hold before it may be made.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What it changes, its updates apart, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Updates that it adds.
    #[must_use]
    pub const fn update_count(&self) -> u64 {
        self.update_count
    }

    /// Whether it must be durable whatever the caller asked for: what compaction may act upon
    /// (since) and what names files (creations and drops) is never taken back by a crash.
    #[must_use]
    pub const fn must_sync(&self) -> bool {
        self.must_sync
    }

    /// Whether it does nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Bytes of its record so far.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.record.len()
    }

    /// Ends the building: from now on [`payload`](Self::payload) is the record for the WAL.
    pub(crate) fn seal(&mut self) -> Result<()> {
        self.payload = std::mem::take(&mut self.record).finish()?;
        if self.overwrites && may_overwrite(&self.payload, &self.tables) {
            self.payload = without_overwritten(&self.payload, &self.tables)?;
        }
        for (collection, name) in &self.suspects {
            check_sums(&self.payload, *collection, name)?;
        }
        Ok(())
    }

    /// The record for the WAL, once sealed.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The ids of the events that it appends, and their logs.
    pub(crate) fn event_ids(&self) -> &[(CollectionId, Vec<u8>)] {
        &self.event_ids
    }

    /// Makes the commit depend on what a transaction has read: it conflicts when any of it was
    /// written since.
    pub fn depend_on(&mut self, reads: Reads) {
        self.reads = reads;
    }

    /// What it depends on.
    pub(crate) const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The reads were found unchanged up to `as_of`.
    pub(crate) const fn reads_hold_at(&mut self, as_of: u64) {
        self.reads.as_of = as_of;
    }

    /// A key that it writes to a table and that `reads` cover.
    pub(crate) fn written_of(&self, reads: &Reads) -> Option<(CollectionId, Vec<u8>)> {
        for op in decode(&self.payload).into_iter().flatten().flatten() {
            if let Op::Append { collection, rows } = op
                && self.tables.contains(&collection)
            {
                for row in rows {
                    if reads.cover(collection, row.key) {
                        return Some((collection, row.key.to_vec()));
                    }
                }
            }
        }
        None
    }

    /// Whether it appends an event of this id to this log.
    pub(crate) fn appends_id(&self, log: CollectionId, id: &[u8]) -> bool {
        self.event_ids.iter().any(|(other, known)| *other == log && known == id)
    }

    /// Lowers every since that it asks for to what `limit` allows; what was asked for where that is
    /// more. A record that says less is written anew, so that the log never holds a since that was
    /// not in effect.
    pub(crate) fn limit_since(
        &mut self,
        limit: impl Fn(CollectionId, Frontier) -> Frontier,
    ) -> Result<Vec<(CollectionId, Frontier)>> {
        let mut held_back = Vec::new();
        for change in &mut self.changes {
            if let Change::CompactBelow(id, since) = change {
                let limited = limit(*id, *since);
                if limited < *since {
                    held_back.push((*id, *since));
                    *since = limited;
                }
            }
        }
        if !held_back.is_empty() {
            let changes = self.changes.iter();
            let sinces = changes.filter_map(|change| match change {
                Change::CompactBelow(_, since) => Some(*since),
                _ => None,
            });
            self.payload = with_sinces(&self.payload, sinces)?;
        }
        Ok(held_back)
    }

    /// Count of the collections that it has updates of, or more.
    pub(crate) const fn collections_max(&self) -> u64 {
        (self.checks.len() + self.created.len()) as u64
    }

    fn check(&mut self, collection: CollectionId, check: Check) {
        // What this commit creates exists once the commit is made.
        if !self.created.contains(&collection) {
            self.checks.push(check);
        }
    }

    /// Starts adding updates with times at or beyond upper.
    pub fn append<'c>(&'c mut self, collection: CollectionId, name: &'c str) -> Batch<'c> {
        Batch::new(self, collection, name, None)
    }

    /// Starts adding updates with `expected <= ts < new`, and advances upper from `expected` to
    /// `new`.
    pub fn compare_and_append<'c>(
        &'c mut self,
        collection: CollectionId,
        name: &'c str,
        expected: Frontier,
        new: Frontier,
    ) -> Result<Batch<'c>> {
        if new < expected {
            return Err(Error::invalid(format!(
                "new upper {new} of collection '{name}' is below the expected upper {expected}"
            )));
        }
        if self.created.contains(&collection) && expected != Frontier::MIN {
            let (collection, actual) = (name.to_owned(), Frontier::MIN);
            return Err(Error::UpperMismatch { collection, expected, actual });
        }
        self.check(collection, Check::Upper { collection, expected });
        Ok(Batch::new(self, collection, name, Some((expected, new))))
    }

    /// Advances upper.
    pub fn advance_upper(&mut self, collection: CollectionId, upper: Frontier) -> Result<()> {
        self.check(collection, Check::Advances { collection });
        self.record.advance_upper(collection, upper);
        self.changes.push(Change::AdvanceUpper(collection, upper));
        Ok(())
    }

    /// Raises since.
    pub fn compact_below(&mut self, collection: CollectionId, since: Frontier) -> Result<()> {
        self.check(collection, Check::Forgets { collection });
        self.record.compact_below(collection, since);
        self.changes.push(Change::CompactBelow(collection, since));
        self.must_sync = true;
        Ok(())
    }

    /// Creates a collection with an id that was never used.
    pub fn create(&mut self, id: CollectionId, kind: Kind, name: &str, meta: &[u8]) -> Result<()> {
        check_name(name)?;
        check_meta(meta)?;
        let name: Arc<str> = name.into();
        self.checks.push(Check::Absent { name: Arc::clone(&name) });
        self.record.create(id, &Create { kind, ts_width: WAL_TS_WIDTH, name: &name, meta })?;
        self.changes.push(Change::Create(Description { id, name, meta: meta.into(), kind }));
        self.created.push(id);
        self.must_sync = true;
        Ok(())
    }

    /// Drops a collection.
    pub fn drop_collection(&mut self, collection: CollectionId) -> Result<()> {
        self.check(collection, Check::Exists { collection });
        self.record.drop_collection(collection);
        self.changes.push(Change::Drop(collection));
        self.must_sync = true;
        Ok(())
    }

    /// Replaces the user's metadata of a collection.
    pub fn set_meta(&mut self, collection: CollectionId, meta: &[u8]) -> Result<()> {
        check_meta(meta)?;
        self.check(collection, Check::Exists { collection });
        self.record.set_meta(collection, meta)?;
        self.changes.push(Change::SetMeta(collection, meta.into()));
        Ok(())
    }

    /// The error for the first update of this commit below the collection's upper. Reads the record
    /// back, as only a refused commit needs to know.
    pub(crate) fn first_update_below(&self, collection: &Collection, upper: Frontier) -> Error {
        let name = collection.description.name.to_string();
        let mut index = 0;
        for op in decode(&self.payload).into_iter().flatten().flatten() {
            if let Op::Append { collection: id, rows } = op
                && id == collection.description.id
            {
                for update in rows {
                    if upper.is_beyond(update.ts) {
                        return Error::TsBelowUpper {
                            collection: name,
                            index,
                            ts: update.ts,
                            upper,
                        };
                    }
                    index += 1;
                }
            }
        }
        Error::Internal { what: format!("no update of '{name}' lies below its upper {upper}") }
    }
}

/// Whether a key may be put twice at one time: whether two rows have one hash. Far cheaper than to
/// look for the keys themselves, and most commits have none.
fn may_overwrite(payload: &[u8], tables: &[CollectionId]) -> bool {
    let mut hashes = Vec::new();
    for op in decode(payload).into_iter().flatten().flatten() {
        if let Op::Append { collection, rows } = op
            && tables.contains(&collection)
        {
            // Odd factors, so that no two tables or times of one key come to the same.
            let of = |row: Update<'_>| {
                let time = row.ts.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let table = collection.0.wrapping_mul(0xd6e8_feb8_6659_fd93);
                key_hash(row.key) ^ time ^ table.rotate_left(32)
            };
            hashes.extend(rows.map(of));
        }
    }
    hashes.sort_unstable();
    !hashes.is_sorted_by(|a, b| a < b)
}

/// The record without the puts that a later put of the same key at the same time makes void.
fn without_overwritten(payload: &[u8], tables: &[CollectionId]) -> Result<Vec<u8>> {
    let ops = || decode(payload).into_iter().flatten().flatten();
    let mut last: HashMap<(CollectionId, &[u8], u64), usize> = HashMap::new();
    let mut index = 0;
    for op in ops() {
        if let Op::Append { collection, rows } = op
            && tables.contains(&collection)
        {
            for Update { key, ts, .. } in rows {
                last.insert((collection, key, ts), index);
                index += 1;
            }
        }
    }
    let mut record = RecordBuilder::with_capacity(payload.len());
    let mut index = 0;
    for op in ops() {
        match op {
            Op::Append { collection, rows } if tables.contains(&collection) => {
                record.begin_append(collection);
                for update in rows {
                    if last.get(&(collection, update.key, update.ts)) == Some(&index) {
                        record.row(&update)?;
                    }
                    index += 1;
                }
            }
            other => record.op_again(&other)?,
        }
    }
    record.finish()
}

/// The record with other sinces, in the order in which it asks for them.
fn with_sinces(payload: &[u8], sinces: impl IntoIterator<Item = Frontier>) -> Result<Vec<u8>> {
    let mut sinces = sinces.into_iter();
    let unreadable = |e: FormatError| Error::Internal { what: format!("record: {}", e.what) };
    let mut record = RecordBuilder::with_capacity(payload.len());
    for op in decode(payload).map_err(unreadable)? {
        match op.map_err(unreadable)? {
            Op::CompactBelow { collection, since } => {
                record.compact_below(collection, sinces.next().unwrap_or(since));
            }
            other => record.op_again(&other)?,
        }
    }
    record.finish()
}

fn check_meta(meta: &[u8]) -> Result<()> {
    if meta.len() > limits::META_LEN_MAX {
        return Err(Error::invalid(format!(
            "metadata has {} bytes, the most is {}",
            meta.len(),
            limits::META_LEN_MAX
        )));
    }
    Ok(())
}

/// The updates of one collection on their way into a [`Commit`].
#[derive(Debug)]
pub struct Batch<'c> {
    commit: &'c mut Commit,
    collection: CollectionId,
    name: &'c str,
    bounds: Option<(Frontier, Frontier)>,
    times: Option<TimeWindow>,
    count: usize,
    magnitude: u128,
}

impl<'c> Batch<'c> {
    fn new(
        commit: &'c mut Commit,
        collection: CollectionId,
        name: &'c str,
        bounds: Option<(Frontier, Frontier)>,
    ) -> Self {
        commit.record.begin_append(collection);
        Self { commit, collection, name, bounds, times: None, count: 0, magnitude: 0 }
    }

    /// Adds an update.
    #[inline]
    pub fn push(&mut self, update: Update<'_>) -> Result<()> {
        let index = self.count;
        if update.key.len() > limits::KEY_LEN_MAX || update.val.len() > limits::VAL_LEN_MAX {
            return Err(self.too_long(index, update));
        }
        if let Some((expected, new)) = self.bounds {
            let (collection, ts) = (self.name.to_owned(), update.ts);
            if expected.is_beyond(ts) {
                return Err(Error::TsBelowUpper { collection, index, ts, upper: expected });
            }
            if !new.is_beyond(ts) {
                return Err(Error::TsBeyondNewUpper { collection, index, ts, new_upper: new });
            }
        }
        self.times = Some(match self.times {
            None => TimeWindow { first: update.ts, last: update.ts },
            Some(TimeWindow { first, last }) => {
                TimeWindow { first: first.min(update.ts), last: last.max(update.ts) }
            }
        });
        self.magnitude += u128::from(update.diff.unsigned_abs());
        self.count += 1;
        self.commit.record.row(&update)
    }

    fn too_long(&self, index: usize, update: Update<'_>) -> Error {
        let (what, len, max) = if update.key.len() > limits::KEY_LEN_MAX {
            ("key", update.key.len(), limits::KEY_LEN_MAX)
        } else {
            ("value", update.val.len(), limits::VAL_LEN_MAX)
        };
        Error::invalid(format!(
            "update {index} of collection '{}' has a {what} of {len} bytes, the most is {max}",
            self.name
        ))
    }

    /// Ends the batch.
    pub fn finish(self) -> Result<()> {
        let Self { commit, collection, name, bounds, times, count, magnitude } = self;
        if magnitude > i64::MAX.unsigned_abs().into() {
            commit.suspects.push((collection, name.into()));
        }
        commit.update_count += count as u64;
        match (times, bounds) {
            (Some(times), None) => commit.check(collection, Check::Updates { collection, times }),
            (None, None) => commit.check(collection, Check::Exists { collection }),
            (_, Some((_, new))) => {
                commit.record.advance_upper(collection, new);
                commit.changes.push(Change::AdvanceUpper(collection, new));
            }
        }
        Ok(())
    }
}

/// Refuses updates whose diffs at one `(key, val, ts)` add up beyond 64 bits. Called only when the
/// magnitudes allow for it.
fn check_sums(payload: &[u8], collection: CollectionId, name: &str) -> Result<()> {
    let mut sums: HashMap<(&[u8], &[u8], u64), i128> = HashMap::new();
    for op in decode(payload).into_iter().flatten().flatten() {
        if let Op::Append { collection: id, rows } = op
            && id == collection
        {
            for Update { key, val, ts, diff } in rows {
                *sums.entry((key, val, ts)).or_default() += i128::from(diff);
            }
        }
    }
    match sums.into_iter().find(|(_, sum)| i64::try_from(*sum).is_err()) {
        Some(((key, _, _), _)) => {
            Err(Error::DiffOverflow { collection: name.to_owned(), key: display_bytes(key) })
        }
        None => Ok(()),
    }
}
