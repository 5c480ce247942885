//! [`Datestone`]: a database.

use crate::transaction::transact;
use crate::{
    Checkpoint, Codec, Collection, CollectionInfo, Commit, DurableHold, DurableHoldInfo, Error,
    Log, Occurrences, Options, Result, Snapshot, Space, Stats, Table, TimedTable, Transaction,
    VerifyDepth, VerifyReport,
};
use datestone_engine::collection::Description;
use datestone_engine::db::{BOOKS, Db};
use datestone_engine::io::Env;
use datestone_engine::types::Kind;
use std::path::Path;

/// An open database: a directory that one process at a time writes.
///
/// A handle is cheap to clone and may be used from any thread. The database is closed when
/// [`close`](Self::close) is called or the last handle, collection and snapshot is gone; the latter
/// is a best effort that has nobody to tell about an error, and loses nothing acknowledged.
#[derive(Clone, Debug)]
pub struct Datestone {
    pub(crate) db: Db,
}

impl Datestone {
    /// Opens the database in the directory `path` with default [`Options`], creating it when there
    /// is none. Takes time in proportion to the log that was not flushed (64 MiB take a fraction of
    /// a second), not to the data.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = datestone::Datestone::open(dir.path().join("data"))?;
    /// db.close()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Locked` when another handle or process has it open, `Corruption` or `FormatTooNew` when the
    /// files cannot be read, `Invalid` when the directory holds something else, `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// Opens the database in the directory `path`.
    ///
    /// ```
    /// use datestone::{Datestone, ErrorKind, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let options = Options { create_if_missing: false, ..Options::default() };
    /// let missing = Datestone::open_with(dir.path().join("data"), options);
    /// assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open); `NotFound` when there is none and none is to be created; `Invalid`
    /// when an option is out of bounds.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self { db: Db::open(Env::os_readable_by(options.access), path.as_ref(), options)? })
    }

    /// Opens the database in the directory `path` to read it, with default [`Options`]; also while
    /// another process writes it, and on a device that cannot be written. Takes no lock and changes
    /// nothing.
    ///
    /// What it shows are the writer's commits up to one of them: when it returns, every one that was
    /// acknowledged with `Fsync` or `Buffer` before the call. A background thread follows the writer,
    /// within about 200 ms; [`refresh`](Self::refresh) catches up at once. Snapshots stay as they are,
    /// [`Collection::listen`] and the like go on. Commits that the writer has not made durable yet are
    /// seen as well; a power cut takes them from both. Nothing keeps the writer from forgetting what
    /// is read here: take a [durable hold](Self::durable_hold) there.
    ///
    /// ```
    /// use datestone::{Datestone, ErrorKind};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let writer = Datestone::open(dir.path())?;
    /// let users = writer.table("users")?;
    /// users.put(b"alice", b"admin")?;
    ///
    /// let reader = Datestone::open_read_only(dir.path())?;
    /// let seen = reader.table("users")?;
    /// assert_eq!(seen.get(b"alice")?.as_deref(), Some(&b"admin"[..]));
    /// users.put(b"alice", b"user")?;
    /// reader.refresh()?;
    /// assert_eq!(seen.get(b"alice")?.as_deref(), Some(&b"user"[..]));
    /// assert_eq!(seen.put(b"alice", b"root").unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Corruption`, `FormatTooNew`, `Io`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_read_only_with(path, Options::default())
    }

    /// As [`open_read_only`](Self::open_read_only); with `background_threads: 0` nothing but
    /// [`refresh`](Self::refresh) follows the writer. Options of writes are without effect.
    ///
    /// ```
    /// use datestone::{Datestone, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # drop(Datestone::open(dir.path())?);
    /// let options = Options { background_threads: 0, ..Options::default() };
    /// let reader = Datestone::open_read_only_with(dir.path(), options)?;
    /// assert!(reader.is_read_only());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_read_only`](Self::open_read_only); `Invalid` when an option is out of bounds.
    pub fn open_read_only_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self { db: Db::open_read_only(Env::os(), path.as_ref(), options)? })
    }

    /// Whether the database was opened to be read only.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// assert!(!datestone::Datestone::open(dir.path())?.is_read_only());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.db.is_read_only()
    }

    /// Has a database that was opened to be read show every commit that its writer had acknowledged
    /// before this call; whether there was anything new. Costs a look at the directory and what the
    /// log has gained since; after a flush of the writer, what it has logged since that flush. On a
    /// database that this process writes there is never anything new.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let writer = datestone::Datestone::open(dir.path())?;
    /// let reader = datestone::Datestone::open_read_only(dir.path())?;
    /// writer.table("users")?.put(b"alice", b"admin")?;
    /// reader.refresh()?;
    /// assert!(reader.find_table("users")?.contains(b"alice")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`open_read_only`](Self::open_read_only); what was seen before stays readable.
    pub fn refresh(&self) -> Result<bool> {
        self.db.refresh()
    }

    /// The collection `name` with keys and values that are plain bytes; created when there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.collection("orders")?;
    /// assert_eq!(orders.name(), "orders");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when the name is empty, longer than 255 bytes or has control characters; and as
    /// for any commit when it has to be created.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        self.of_kind(Kind::Multiset, name)
    }

    /// The collection `name` with typed keys and values; created when there is none. Its codecs are
    /// stored with it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let ages = db.typed::<str, u64>("ages")?;
    /// ages.append([("alice", &41, 0, 1)])?;
    /// ages.advance_upper(1)?;
    /// assert_eq!(ages.snapshot(0)?.get("alice")?, [(41, 1)]);
    /// assert!(db.typed::<str, str>("ages").is_err());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`collection`](Self::collection); `Invalid` when it was created with other codecs.
    pub fn typed<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        name: &str,
    ) -> Result<Collection<K, V>> {
        self.of_kind(Kind::Multiset, name)
    }

    /// The existing collection `name`, whatever its kind and codecs are, as plain bytes. A table
    /// reads as the multiset of its rows, each once, its updates as what each put and deletion
    /// changes; a log as its events, keyed by their positions in 8 bytes, big-endian. Writes in the
    /// manner of another kind are refused.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.find("orders").unwrap_err().kind(), datestone::ErrorKind::NotFound);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn find(&self, name: &str) -> Result<Collection> {
        let found = self.db.find(name)?;
        Ok(Collection::raw(self.db.clone(), found))
    }

    /// The table `name`, on the database's clock, with keys and values that are plain bytes; created
    /// when there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// users.put(b"alice", b"admin")?;
    /// assert_eq!(users.get(b"alice")?.as_deref(), Some(&b"admin"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`collection`](Self::collection); `Invalid` when the collection is of another kind.
    pub fn table(&self, name: &str) -> Result<Table> {
        self.typed_table(name)
    }

    /// The table `name`, on the database's clock, with typed keys and values; created when there is
    /// none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let ages = db.typed_table::<str, u64>("ages")?;
    /// ages.put("alice", &41)?;
    /// assert_eq!(ages.get("alice")?, Some(41));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`typed`](Self::typed); `Invalid` when the collection is of another kind.
    pub fn typed_table<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        name: &str,
    ) -> Result<Table<K, V>> {
        Ok(Table { inner: self.of_kind(Kind::ClockTable, name)? })
    }

    /// The table `name` whose times are the caller's, with plain bytes; created when there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// prices.put(b"oil", b"81", 20240101)?;
    /// prices.advance_upper(20240102)?;
    /// assert_eq!(prices.get_as_of(b"oil", 20240101)?.as_deref(), Some(&b"81"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`table`](Self::table).
    pub fn timed_table(&self, name: &str) -> Result<TimedTable> {
        self.typed_timed_table(name)
    }

    /// The table `name` whose times are the caller's, with typed keys and values; created when there
    /// is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.typed_timed_table::<str, u64>("prices")?;
    /// prices.put("oil", &81, 20240101)?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`typed_table`](Self::typed_table).
    pub fn typed_timed_table<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        name: &str,
    ) -> Result<TimedTable<K, V>> {
        Ok(TimedTable { inner: self.of_kind(Kind::Table, name)? })
    }

    /// The log `name`, whose events are plain bytes; created when there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.log("orders")?;
    /// assert_eq!(orders.append(b"placed")?, 0);
    /// assert_eq!(orders.append(b"paid")?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`collection`](Self::collection); `Invalid` when the collection is of another kind.
    pub fn log(&self, name: &str) -> Result<Log> {
        self.typed_log(name)
    }

    /// The log `name` with typed events; created when there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// orders.append("placed")?;
    /// assert_eq!(orders.get(0)?.as_deref(), Some("placed"));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`typed`](Self::typed); `Invalid` when the collection is of another kind.
    pub fn typed_log<E: Codec + ?Sized>(&self, name: &str) -> Result<Log<E>> {
        Ok(Log { inner: self.of_kind(Kind::Log, name)? })
    }

    /// A collection of a kind, created when there is none.
    fn of_kind<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Collection<K, V>> {
        check_name(name)?;
        let meta = Collection::<K, V>::meta();
        let found = self.db.create_or_load(kind, name, meta.as_bytes())?;
        require_kind(&found, &[kind])?;
        Collection::new(self.db.clone(), found)
    }

    /// The existing table `name` on the database's clock, whatever its codecs are, as plain bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.typed_table::<str, u64>("ages")?.put("alice", &41)?;
    /// assert!(db.find_table("ages")?.contains(b"alice")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Invalid` when it is of another kind.
    pub fn find_table(&self, name: &str) -> Result<Table> {
        Ok(Table { inner: self.find_kind(Kind::ClockTable, name)? })
    }

    /// The existing table `name` on the caller's clock, whatever its codecs are, as plain bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.typed_timed_table::<str, u64>("prices")?;
    /// assert_eq!(db.find_timed_table("prices")?.name(), "prices");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`find_table`](Self::find_table).
    pub fn find_timed_table(&self, name: &str) -> Result<TimedTable> {
        Ok(TimedTable { inner: self.find_kind(Kind::Table, name)? })
    }

    /// The existing log `name`, whatever its codec is, as plain bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.typed_log::<str>("orders")?.append("placed")?;
    /// assert_eq!(db.find_log("orders")?.len()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`find_table`](Self::find_table).
    pub fn find_log(&self, name: &str) -> Result<Log> {
        Ok(Log { inner: self.find_kind(Kind::Log, name)? })
    }

    fn find_kind(&self, kind: Kind, name: &str) -> Result<Collection> {
        let found = self.db.find(name)?;
        require_kind(&found, &[kind])?;
        Ok(Collection::raw(self.db.clone(), found))
    }

    /// Drops the collection `name` with all its data; whether there was one. Its space comes back
    /// when the drop is flushed; snapshots of it stay readable. The name can be used again.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.collection("orders")?;
    /// assert!(db.drop_collection("orders")?);
    /// assert!(!db.drop_collection("orders")?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for any commit.
    pub fn drop_collection(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        self.db.drop_collection(name)
    }

    /// All collections, in order of their names; without the table in which the database keeps durable
    /// holds and tokens.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.collection("b")?;
    /// db.collection("a")?;
    /// let names: Vec<_> = db.collections().into_iter().map(|c| c.name).collect();
    /// assert_eq!(names, ["a", "b"]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn collections(&self) -> Vec<CollectionInfo> {
        let all = self.db.collections().into_iter().map(CollectionInfo::from);
        all.filter(|info| info.name != BOOKS).collect()
    }

    /// Starts a commit that may cover any number of collections.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let from = db.typed::<str, i64>("from")?;
    /// let to = db.typed::<str, i64>("to")?;
    /// db.commit()
    ///     .append(&from, [("alice", &100, 0, -1)])
    ///     .append(&to, [("bob", &100, 0, 1)])
    ///     .advance_upper(&from, 1)
    ///     .advance_upper(&to, 1)
    ///     .run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn commit(&self) -> Commit {
        Commit::new(self.db.clone())
    }

    /// Starts a transaction over tables on the database's clock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let t = db.table("t")?;
    /// let mut transaction = db.transaction();
    /// if transaction.get(&t, b"k")?.is_none() {
    ///     transaction.put(&t, b"k", b"first")?;
    /// }
    /// transaction.commit()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.db.clone())
    }

    /// Runs `work` in a transaction and commits it; runs it again after a conflict, so `work` should
    /// do nothing but read and write through the transaction.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let counters = db.typed_table::<str, u64>("counters")?;
    /// let count = db.transact(|transaction| {
    ///     let count = transaction.get(&counters, "visits")?.unwrap_or(0) + 1;
    ///     transaction.put(&counters, "visits", &count)?;
    ///     Ok(count)
    /// })?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `work` and [`Transaction::commit`] return; `Conflict` only after a thousand tries.
    pub fn transact<T>(&self, work: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        transact(&self.db, work)
    }

    /// The latest time of the database's clock that can be read: of the last commit to a table on it.
    /// What is read as of it stays the same, whatever is put later.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// users.put(b"alice", b"admin")?;
    /// let before = db.now();
    /// users.delete(b"alice")?;
    /// assert_eq!(users.get_as_of(b"alice", before)?.as_deref(), Some(&b"admin"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> u64 {
        self.db.now()
    }

    /// Snapshots of several collections at one time, taken at one moment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (a, b) = (db.collection("a")?, db.collection("b")?);
    /// db.commit().advance_upper(&a, 1).advance_upper(&b, 1).run()?;
    /// assert_eq!(db.snapshots(&[&a, &b], 0)?.len(), 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` or `NotYet`, naming the first collection that cannot be read at `as_of`.
    pub fn snapshots<K: ?Sized, V: ?Sized>(
        &self,
        collections: &[&Collection<K, V>],
        as_of: u64,
    ) -> Result<Vec<Snapshot<K, V>>> {
        let ids: Vec<_> = collections.iter().map(|c| c.id).collect();
        Ok(self.db.snapshots(&ids, as_of)?.into_iter().map(Snapshot::new).collect())
    }

    /// Takes the durable hold `name` on a collection: it keeps since from passing `at`, over restarts
    /// too, until it is released. When there is one of this name already, it is taken over as it is
    /// stored, under a new epoch: whoever took it before is fenced off. What a consumer needs that
    /// stops and goes on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("db");
    /// # let db = datestone::Datestone::open(&path)?;
    /// let words = db.collection("words")?;
    /// let mut report = db.durable_hold("report", &words, 3, "nightly report")?;
    /// assert_eq!(words.compact_below(8)?, datestone::Frontier::at(3));
    /// report.downgrade(5)?;
    /// # drop((words, report));
    /// db.close()?;
    ///
    /// let db = datestone::Datestone::open(&path)?;
    /// let words = db.collection("words")?;
    /// let report = db.durable_hold("report", &words, 0, "nightly report")?;
    /// assert_eq!((report.at().ts(), report.epoch()), (Some(5), 2));
    /// report.release()?;
    /// assert_eq!(words.compact_below(8)?, datestone::Frontier::at(8));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when since is beyond `at` already; `Invalid` when the hold of this name is one on
    /// another collection; `NotFound` when the collection was dropped; `Io`, `NoSpace`, `Poisoned`.
    pub fn durable_hold<K: Codec + ?Sized, V: Codec + ?Sized>(
        &self,
        name: &str,
        collection: &Collection<K, V>,
        at: u64,
        owner: &str,
    ) -> Result<DurableHold> {
        let hold = self.db.take_hold(name, collection.id, at, owner)?;
        Ok(DurableHold { db: self.db.clone(), hold })
    }

    /// Releases a durable hold whoever has it: what a person does for a consumer that is gone.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// db.durable_hold("report", &words, 3, "nightly report")?;
    /// let holds = db.durable_holds()?;
    /// assert_eq!((holds[0].name.as_str(), holds[0].at.ts()), ("report", Some(3)));
    /// db.release_durable_hold("report")?;
    /// assert!(db.durable_holds()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name; `Io`, `NoSpace`, `Poisoned`.
    pub fn release_durable_hold(&self, name: &str) -> Result<()> {
        let holds = self.db.durable_holds()?;
        let found = holds.iter().find(|hold| hold.name == name);
        let epoch = found.map_or(0, |hold| hold.epoch);
        self.db.loosen_hold(name, epoch, None)
    }

    /// All durable holds, in order of their names.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.durable_holds()?.is_empty());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption`, `Io`.
    pub fn durable_holds(&self) -> Result<Vec<DurableHoldInfo>> {
        let name_of = |id| self.db.collection(id).map(|c| c.description.name.to_string()).ok();
        let info = |hold: datestone_engine::db::DurableHold| DurableHoldInfo {
            collection: name_of(hold.collection),
            name: hold.name,
            epoch: hold.epoch,
            at: hold.at,
            seqno: hold.seqno.0,
            owner: hold.owner,
        };
        Ok(self.db.durable_holds()?.into_iter().map(info).collect())
    }

    /// Makes a database of its own in the directory `path`, which must be missing or empty, that
    /// holds exactly the commits up to one: all that were made before the call. Segments are
    /// immutable and are linked, not copied, where the file system allows it; commits wait only
    /// while what is in memory is flushed. Whatever happens to either database later does not
    /// concern the other.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path().join("db"))?;
    /// let users = db.table("users")?;
    /// users.put(b"alice", b"admin")?;
    /// let copy = dir.path().join("copy");
    /// db.checkpoint(&copy)?;
    /// users.put(b"alice", b"user")?;
    ///
    /// let copy = datestone::Datestone::open(copy)?;
    /// assert_eq!(copy.find_table("users")?.get(b"alice")?.as_deref(), Some(&b"admin"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists` when there is something at `path`; `Io`, `NoSpace`, `Poisoned`. After an error
    /// `path` may hold files, but no database: opening it is refused.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<Checkpoint> {
        self.db.checkpoint(path.as_ref())
    }

    /// Makes every commit so far durable, those too that asked for less than `Fsync`.
    ///
    /// ```
    /// use datestone::{Datestone, Durability, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let options = Options { durability: Durability::None, ..Options::default() };
    /// let db = Datestone::open_with(dir.path(), options)?;
    /// let set = db.typed::<u64, ()>("set")?;
    /// for n in 0..1000 {
    ///     set.append([(&n, &(), 0, 1)])?;
    /// }
    /// db.sync()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace` or `Poisoned`.
    pub fn sync(&self) -> Result<()> {
        self.db.sync()
    }

    /// Writes everything in memory to segments, so that the next open has no log to replay.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.flush()?;
    /// assert_eq!(db.stats().memtable_bytes, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace` or `Poisoned`.
    pub fn flush(&self) -> Result<()> {
        self.db.flush()
    }

    /// Flushes, then merges each collection into as few segments as possible, leaving out what
    /// since allows to forget. A collection that has nothing to gain is not rewritten.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.compact()?;
    /// assert_eq!(db.stats().counts.compaction_write_bytes, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Corruption` or `Poisoned`.
    pub fn compact(&self) -> Result<()> {
        self.db.compact(None)
    }

    /// Runs one background step (a flush, a piece of a merge, a log file made ready); whether there
    /// was anything to do. For programs that open with `background_threads: 0`.
    ///
    /// ```
    /// use datestone::{Datestone, Options};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let options = Options { background_threads: 0, ..Options::default() };
    /// let db = Datestone::open_with(dir.path(), options)?;
    /// while db.maintain()? {}
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Corruption` or `Poisoned`.
    pub fn maintain(&self) -> Result<bool> {
        self.db.step()
    }

    /// Sizes and counters.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.stats().counts.updates, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.db.stats()
    }

    /// Looks for bytes in every file of the database, as they lie there and decoded where a segment
    /// compresses blocks or shares the beginnings of keys: the proof that what was erased is gone. Reads
    /// everything, and what is written meanwhile: bytes that move from a file to another one are found in
    /// one of them or in both. Checkpoints and backups are other directories.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// users.put(b"alice", b"12 Rose Street")?;
    /// assert!(!db.find_bytes(b"Rose Street")?.is_absent());
    /// users.erase(&b"alice"[..]..=&b"alice"[..])?;
    /// assert!(db.find_bytes(b"Rose Street")?.is_absent());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for no bytes or more than 64 KiB; `Corruption` when a segment cannot be read, so that it
    /// is not known what is in it; `Busy` when new files come without an end; `Io`.
    pub fn find_bytes(&self, bytes: &[u8]) -> Result<Occurrences> {
        self.db.find_bytes(bytes)
    }

    /// Where the bytes of the database are, and who keeps the past from being forgotten: on disk, of that
    /// in use, of that still readable. Reads statistics of the segments, no data.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// for n in 0..100_u8 {
    ///     users.put(b"alice", &[n; 100])?;
    /// }
    /// let hold = users.as_collection().hold(1, "nightly report")?;
    /// db.flush()?;
    /// let space = db.space()?;
    /// assert!(space.disk > space.referenced && space.referenced >= space.live);
    /// assert_eq!(space.holders[0].owner, "nightly report");
    /// assert!(space.holders[0].bytes > 9_000);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io` when the directory cannot be listed; `Corruption`.
    pub fn space(&self) -> Result<Space> {
        self.db.space()
    }

    /// Checks the files. `progress` is told bytes checked so far and bytes in all.
    ///
    /// ```
    /// use datestone::VerifyDepth;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert!(db.verify(VerifyDepth::Full, |_, _| {})?.is_clean());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io` when a file cannot be read. What is damaged is in the report.
    pub fn verify(
        &self,
        depth: VerifyDepth,
        progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport> {
        self.db.verify(depth, progress)
    }

    /// Closes the database: makes everything durable, stops the background threads and gives the
    /// lock back. Other handles, collections and the like of this database return `Closed` from
    /// then on; snapshots stay readable. Nothing is flushed: the next open replays the log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = datestone::Datestone::open(dir.path())?;
    /// db.close()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Io`, `NoSpace` or `Poisoned` when the last commits could not be made durable.
    pub fn close(self) -> Result<()> {
        self.db.close()
    }
}

/// Refuses names that are the database's own.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.starts_with('$') {
        let what = format!("names that begin with $ are the database's own: '{name}'");
        return Err(Error::invalid(what));
    }
    Ok(())
}

/// Refuses a collection of another kind.
pub(crate) fn require_kind(found: &Description, kinds: &[Kind]) -> Result<()> {
    if kinds.contains(&found.kind) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "collection '{}' is a {}; open it as what it is",
        found.name, found.kind
    )))
}
