//! [`Transaction`]: reads and writes of tables that happen as one step.

use crate::{Codec, Commit, Committed, Durability, Error, ErrorKind, Result, Table, TableRow};
use datestone_engine::collection::Description;
use datestone_engine::commit::{Commit as EngineCommit, Reads};
use datestone_engine::db::Db;
use datestone_engine::read::RangeSpec;
use datestone_engine::snapshot::Snapshot;
use datestone_engine::types::{CollectionId, Kind};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// An optimistic, serializable transaction over tables on the database's clock.
///
/// It reads the tables as they were when it began, with its own writes over them, and locks nothing.
/// [`commit`](Self::commit) makes its writes one commit, unless a key or a range that it has read was
/// written meanwhile: then it is a `Conflict`, nothing was written, and the transaction is to be run
/// again. So transactions that succeed have the effect of running one after the other, in the order
/// of their times. Dropping a transaction gives it up.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// use datestone::ErrorKind;
/// let balances = db.typed_table::<str, u64>("balances")?;
/// balances.put("alice", &100)?;
///
/// let mut transaction: datestone::Transaction = db.transaction();
/// let balance = transaction.get(&balances, "alice")?.unwrap_or(0);
/// transaction.put(&balances, "alice", &(balance - 30))?;
/// balances.put("alice", &50)?;
/// assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::Conflict);
///
/// db.transact(|transaction| {
///     let balance = transaction.get(&balances, "alice")?.unwrap_or(0);
///     transaction.put(&balances, "alice", &(balance - 30))
/// })?;
/// assert_eq!(balances.get("alice")?, Some(20));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Transaction {
    db: Db,
    as_of: u64,
    snapshots: BTreeMap<CollectionId, Snapshot>,
    reads: Reads,
    writes: BTreeMap<CollectionId, Writes>,
    durability: Durability,
}

struct Writes {
    table: Description,
    /// A value for each key, none for a deletion.
    vals: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("as_of", &self.as_of).finish_non_exhaustive()
    }
}

/// Rows of a table, decoded.
type RowsOf<K, V> = Vec<TableRow<<K as Codec>::Owned, <V as Codec>::Owned>>;

impl Transaction {
    pub(crate) fn new(db: Db) -> Self {
        let (as_of, durability) = (db.now(), db.options().durability);
        let reads = Reads { as_of, ..Reads::default() };
        let (snapshots, writes) = (BTreeMap::new(), BTreeMap::new());
        Self { db, as_of, snapshots, reads, writes, durability }
    }

    /// The time as of which it reads.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let now = db.table("t")?.put(b"k", b"v")?;
    /// assert_eq!(db.transaction().as_of(), now);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// Asks for another durability than the database's default.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let mut transaction = db.transaction();
    /// transaction.durability(datestone::Durability::Buffer);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub const fn durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    fn snapshot(&mut self, table: CollectionId) -> Result<&Snapshot> {
        match self.snapshots.entry(table) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                Ok(new.insert(self.db.snapshot(table, self.as_of)?))
            }
        }
    }

    /// The value of a key, the transaction's own if it has written one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let t = db.table("t")?;
    /// let mut transaction = db.transaction();
    /// transaction.put(&t, b"k", b"v")?;
    /// assert_eq!(transaction.get(&t, b"k")?.as_deref(), Some(&b"v"[..]));
    /// assert_eq!(t.get(b"k")?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when since has passed the transaction's time; `NotFound` when the table was
    /// dropped; `Corruption`, `Io`, and what decoding returns.
    pub fn get<K: Codec + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V::Owned>> {
        let mut scratch = Vec::new();
        let key = key.encode(&mut scratch);
        let id = table.inner.id;
        if let Some(val) = self.writes.get(&id).and_then(|writes| writes.vals.get(key)) {
            return val.as_deref().map(V::decode).transpose();
        }
        let mut found = None;
        self.snapshot(id)?.version(key, |val, _| {
            found = Some(V::decode(val)?);
            Ok(())
        })?;
        self.reads.keys.push((id, key.to_vec()));
        Ok(found)
    }

    /// The rows whose key is in `range`, in order, with the transaction's own writes, which have its
    /// own time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let squares = db.typed_table::<u64, u64>("squares")?;
    /// squares.put(&2, &4)?;
    /// let mut transaction = db.transaction();
    /// transaction.put(&squares, &3, &9)?;
    /// assert_eq!(transaction.range(&squares, 0..10)?.len(), 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn range<K: Codec + ?Sized, V: Codec + ?Sized, Q: Borrow<K> + ?Sized>(
        &mut self,
        table: &Table<K, V>,
        range: impl RangeBounds<Q>,
    ) -> Result<RowsOf<K, V>> {
        let bound =
            |bound: Bound<&Q>| bound.map(|key| key.borrow().encode(&mut Vec::new()).to_vec());
        let (start, end) = (bound(range.start_bound()), bound(range.end_bound()));
        let spec = RangeSpec { start, end };
        let id = table.inner.id;
        let mut found: BTreeMap<Vec<u8>, (Vec<u8>, u64)> = BTreeMap::new();
        let mut rows = self.snapshot(id)?.version_rows(spec.clone());
        while let Some(row) = rows.next()? {
            found.insert(row.key.to_vec(), (row.val.to_vec(), row.ts));
        }
        let own = self.writes.get(&id).into_iter().flat_map(|writes| &writes.vals);
        for (key, val) in own.filter(|(key, _)| spec.contains(key)) {
            match val {
                Some(val) => found.insert(key.clone(), (val.clone(), self.as_of + 1)),
                None => found.remove(key),
            };
        }
        self.reads.ranges.push((id, spec));
        found
            .into_iter()
            .map(|(key, (val, ts))| {
                Ok(TableRow { key: K::decode(&key)?, val: V::decode(&val)?, ts })
            })
            .collect()
    }

    /// Gives a key a value when the transaction is committed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let t = db.table("t")?;
    /// let mut transaction = db.transaction();
    /// transaction.put(&t, b"k", b"v")?;
    /// transaction.commit()?;
    /// assert!(t.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// None at present; what is out of bounds is found by [`commit`](Self::commit).
    pub fn put<K: Codec + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        val: &V,
    ) -> Result<()> {
        let val = val.encode(&mut Vec::new()).to_vec();
        self.write(table, key, Some(val));
        Ok(())
    }

    /// Takes the value of a key away when the transaction is committed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let t = db.table("t")?;
    /// t.put(b"k", b"v")?;
    /// let mut transaction = db.transaction();
    /// transaction.delete(&t, b"k")?;
    /// transaction.commit()?;
    /// assert!(!t.contains(b"k")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete<K: Codec + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<()> {
        self.write(table, key, None);
        Ok(())
    }

    fn write<K: Codec + ?Sized, V: Codec + ?Sized>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        val: Option<Vec<u8>>,
    ) {
        let key = key.encode(&mut Vec::new()).to_vec();
        let description = table.inner.description(Kind::ClockTable);
        let writes = self
            .writes
            .entry(table.inner.id)
            .or_insert_with(|| Writes { table: description, vals: BTreeMap::new() });
        writes.vals.insert(key, val);
    }

    /// Makes its writes one commit. A transaction that has written nothing does nothing: its reads
    /// agree with each other as they are.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let t = db.table("t")?;
    /// let mut transaction = db.transaction();
    /// transaction.put(&t, b"k", b"v")?;
    /// let done = transaction.commit()?.expect("something was written");
    /// assert_eq!(t.latest()?.as_of(), done.ts);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Conflict`, naming a key, when something that it has read was written since; `Compacted` when
    /// since has passed its time, so that nobody can tell; `Invalid` when a key or value is too long;
    /// `NotFound` when a table was dropped; `Io`, `NoSpace`, `Poisoned`. Nothing was written then,
    /// except perhaps after `Io`.
    pub fn commit(self) -> Result<Option<Committed>> {
        if self.writes.is_empty() {
            return Ok(None);
        }
        let mut commit = EngineCommit::new();
        for writes in self.writes.values() {
            let mut puts = commit.puts(&writes.table)?;
            for (key, val) in &writes.vals {
                match val {
                    Some(val) => puts.put(key, val, None)?,
                    None => puts.delete(key, None)?,
                }
            }
            puts.finish();
        }
        commit.depend_on(self.reads);
        Commit::of(self.db, commit, self.durability).run().map(Some)
    }
}

/// Tries of [`Datestone::transact`](crate::Datestone::transact) before it gives up.
const TRIES_MAX: usize = 1_000;

/// Runs `work` in a transaction until it can be committed.
pub(crate) fn transact<T>(
    db: &Db,
    mut work: impl FnMut(&mut Transaction) -> Result<T>,
) -> Result<T> {
    let mut tries = 0;
    loop {
        let mut transaction = Transaction::new(db.clone());
        let result = work(&mut transaction);
        let committed = match result {
            Ok(result) => transaction.commit().map(|_| result),
            Err(e) => Err(e),
        };
        match committed {
            Err(e) if retries(&e) && tries < TRIES_MAX => tries += 1,
            done => return done,
        }
    }
}

/// Whether a later try may succeed: also when since has overtaken the transaction.
fn retries(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Compacted)
}
