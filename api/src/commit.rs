//! [`Commit`]: several changes, all or nothing.

use crate::database::check_name;
use crate::{
    AsUpdate, Codec, Collection, Durability, DurableHold, DurableSubscription, Expected, Frontier,
    Log, Result, Table, TimedTable,
};
use datestone_engine::collection::Description;
use datestone_engine::commit::Commit as EngineCommit;
use datestone_engine::db::{Db, Loosened};
use datestone_engine::types::{CollectionId, Kind, Update};
use std::collections::BTreeMap;

/// A commit over any number of collections: one record of the log, all or nothing, visible at
/// once. Made by [`Datestone::commit`](crate::Datestone::commit); nothing happens before
/// [`run`](Self::run).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let commit: datestone::Commit = db.commit().create("words", b"");
/// commit.run()?;
/// assert!(db.find("words").is_ok());
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a commit does nothing until it is run"]
pub struct Commit {
    pub(crate) db: Db,
    commit: Result<EngineCommit>,
    durability: Durability,
    /// A writer's name and the token of the commit.
    once: Option<(String, Vec<u8>)>,
    /// What is let go of in memory when it was made.
    loosened: Vec<Loosened>,
}

/// What a commit left behind.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let committed: datestone::Committed = db.commit().create("words", b"").run()?;
/// assert_eq!(committed.seqno, 1);
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Position of the commit in the log: dense, ascending.
    pub seqno: u64,
    /// The time that the database gave its puts; meaningless when it has none.
    pub ts: u64,
    /// Whether it had been made before under the same token: then nothing was done now, `ts` is its
    /// time, and `seqno` is 0.
    pub repeated: bool,
    positions: BTreeMap<CollectionId, u64>,
}

impl Committed {
    /// Position of the first event that it appended to a log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.log("orders")?;
    /// orders.append(b"placed")?;
    /// let done = db.commit().append_events(&orders, [&b"paid"[..], b"sent"]).run()?;
    /// assert_eq!(done.position(&orders), Some(1));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn position<E: ?Sized>(&self, log: &Log<E>) -> Option<u64> {
        self.positions.get(&log.inner.id).copied()
    }
}

impl Commit {
    pub(crate) fn new(db: Db) -> Self {
        let durability = db.options().durability;
        Self::of(db, EngineCommit::new(), durability)
    }

    /// A commit that was built already.
    pub(crate) const fn of(db: Db, commit: EngineCommit, durability: Durability) -> Self {
        Self { db, commit: Ok(commit), durability, once: None, loosened: Vec::new() }
    }

    fn with(mut self, change: impl FnOnce(&mut EngineCommit) -> Result<()>) -> Self {
        if let Ok(commit) = &mut self.commit
            && let Err(e) = change(commit)
        {
            self.commit = Err(e);
        }
        self
    }

    /// Asks for another durability than the database's default.
    ///
    /// ```
    /// use datestone::Durability;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// db.commit().append(&words, [("a", &(), 0, 1)]).durability(Durability::Buffer).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Makes the commit only once, however often it is tried: `token` says which commit of `writer`
    /// this is. When the last commit of this writer had the same token, it was made already, before
    /// a restart perhaps, and [`run`](Self::run) says so instead of making it again. Costs a put to a
    /// table that the database keeps, and a time of its clock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let load = || db.commit().append(&words, [("a", &(), 0, 1)]).once("loader", b"batch 7").run();
    /// let first = load()?;
    /// let again = load()?;
    /// assert_eq!((first.repeated, again.repeated, again.ts), (false, true, first.ts));
    /// words.advance_upper(1)?;
    /// assert_eq!(words.latest()?.get("a")?, [((), 1)]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn once(mut self, writer: &str, token: &[u8]) -> Self {
        self.once = Some((writer.into(), token.to_vec()));
        self
    }

    /// Adds updates, as [`Collection::append`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// db.commit().append(&words, [("a", &(), 0, 1)]).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn append<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        collection: &Collection<K, V>,
        updates: impl IntoIterator<Item: AsUpdate<K, V>>,
    ) -> Self {
        self.with(|commit| {
            let mut batch = commit.append(collection.id, collection.name());
            encode_each(updates, |update| batch.push(update))?;
            batch.finish()
        })
    }

    /// Adds updates and advances upper if upper is as expected, as
    /// [`Collection::compare_and_append`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// db.commit().compare_and_append(&words, [("a", &(), 0, 1)], 0, 1).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn compare_and_append<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        collection: &Collection<K, V>,
        updates: impl IntoIterator<Item: AsUpdate<K, V>>,
        expected_upper: impl Into<Frontier>,
        new_upper: impl Into<Frontier>,
    ) -> Self {
        let (expected, new) = (expected_upper.into(), new_upper.into());
        self.with(|commit| {
            let name = collection.name();
            let mut batch = commit.compare_and_append(collection.id, name, expected, new)?;
            encode_each(updates, |update| batch.push(update))?;
            batch.finish()
        })
    }

    /// Creates the collection `name`, which must not exist, with opaque bytes to be stored with it.
    /// [`Datestone::find`](crate::Datestone::find) gives a handle on it once the commit is made.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// db.commit().create("orders", b"schema 7").create("customers", b"").run()?;
    /// assert_eq!(db.find("orders")?.info()?.meta, b"schema 7");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn create(self, name: &str, meta: &[u8]) -> Self {
        self.create_kind(Kind::Multiset, name, meta)
    }

    /// Creates a collection of any kind, as [`create`](Self::create).
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::Kind;
    /// db.commit().create_kind(Kind::Log, "orders", b"").run()?;
    /// assert_eq!(db.find_log("orders")?.len()?, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn create_kind(self, kind: Kind, name: &str, meta: &[u8]) -> Self {
        let id = self.db.reserve_collection_id();
        self.with(|commit| {
            check_name(name)?;
            commit.create(id?, kind, name, meta)
        })
    }

    /// Gives a key of a new table on the database's clock a value, or none, at a time of the past:
    /// how a table is restored. When all is there, [`restore_upper`](Self::restore_upper) says so.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// db.commit().restore_put(&users, b"alice", Some(b"admin"), 7).run()?;
    /// db.commit().restore_upper(&users, 9).run()?;
    /// assert_eq!(users.get_as_of(b"alice", 7)?.as_deref(), Some(&b"admin"[..]));
    /// assert_eq!(users.put(b"bob", b"user")?, 9);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn restore_put(self, table: &Table, key: &[u8], val: Option<&[u8]>, ts: u64) -> Self {
        self.put_to(&table.inner, Kind::ClockTable, key, val, Some(ts))
    }

    /// Says that a restored table is complete below `upper`: the database's clock goes on from there,
    /// if it is not beyond it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// db.commit().restore_upper(&users, 9).run()?;
    /// assert_eq!(users.upper()?, datestone::Frontier::at(9));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn restore_upper(self, table: &Table, upper: impl Into<Frontier>) -> Self {
        self.advance_upper(&table.inner, upper)
    }

    /// Appends an event under an id, as [`Log::append_once`], except that it is an error when the log
    /// has the id.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (orders, stock) = (db.log("orders")?, db.table("stock")?);
    /// let sell = || db.commit().append_once(&orders, b"sale-1", b"sold").put(&stock, b"pen", b"6");
    /// sell().run()?;
    /// assert_eq!(sell().run().unwrap_err().kind(), datestone::ErrorKind::AlreadyExists);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn append_once<E: Codec + ?Sized>(self, log: &Log<E>, id: &[u8], event: &E) -> Self {
        let description = log.inner.description(Kind::Log);
        self.with(|commit| {
            let mut batch = commit.events(&description, None)?;
            batch.push(Some(id), event.encode(&mut Vec::new()))?;
            batch.finish();
            Ok(())
        })
    }

    /// Gives a key of a table a value, as [`Table::put`]. All puts of a commit have one time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (users, emails) = (db.table("users")?, db.table("emails")?);
    /// let done =
    ///     db.commit().put(&users, b"alice", b"a@b.c").put(&emails, b"a@b.c", b"alice").run()?;
    /// assert_eq!(users.snapshot(done.ts)?.get(b"alice")?.as_deref(), Some(&b"a@b.c"[..]));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn put<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &Table<K, V>,
        key: &K,
        val: &V,
    ) -> Self {
        self.put_to(&table.inner, Kind::ClockTable, key, Some(val), None)
    }

    /// Takes the value of a key of a table away, as [`Table::delete`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let users = db.table("users")?;
    /// db.commit().delete(&users, b"alice").run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn delete<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &Table<K, V>,
        key: &K,
    ) -> Self {
        self.put_to(&table.inner, Kind::ClockTable, key, None, None)
    }

    /// Gives a key of a table on the caller's clock a value, as [`TimedTable::put`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// db.commit().put_at(&prices, b"oil", b"81", 7).put_at(&prices, b"gas", b"3", 7).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn put_at<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &TimedTable<K, V>,
        key: &K,
        val: &V,
        ts: u64,
    ) -> Self {
        self.put_to(&table.inner, Kind::Table, key, Some(val), Some(ts))
    }

    /// Takes the value of a key of a table on the caller's clock away, as [`TimedTable::delete`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// db.commit().delete_at(&prices, b"oil", 8).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn delete_at<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &TimedTable<K, V>,
        key: &K,
        ts: u64,
    ) -> Self {
        self.put_to(&table.inner, Kind::Table, key, None, Some(ts))
    }

    /// Declares times of a table on the caller's clock complete, as
    /// [`TimedTable::advance_upper`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let prices = db.timed_table("prices")?;
    /// db.commit().put_at(&prices, b"oil", b"81", 7).advance_table(&prices, 8).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn advance_table<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &TimedTable<K, V>,
        upper: impl Into<Frontier>,
    ) -> Self {
        self.advance_upper(&table.inner, upper)
    }

    /// Appends events to a log, as [`Log::append_all`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (orders, stock) = (db.log("orders")?, db.table("stock")?);
    /// let done = db.commit().append_events(&orders, [&b"sold"[..]]).put(&stock, b"pen", b"6").run()?;
    /// assert_eq!(done.position(&orders), Some(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn append_events<'e, E: Codec + ?Sized + 'e>(
        self,
        log: &Log<E>,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Self {
        self.append_events_at(log, Expected::Any, events)
    }

    /// Appends events to a log if it has as many as expected, as [`Log::append_at`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::Expected;
    /// let orders = db.log("orders")?;
    /// db.commit().append_events_at(&orders, Expected::Empty, [&b"placed"[..]]).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn append_events_at<'e, E: Codec + ?Sized + 'e>(
        self,
        log: &Log<E>,
        expected: Expected,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Self {
        let description = log.inner.description(Kind::Log);
        self.with(|commit| {
            let mut batch = commit.events(&description, expected.position())?;
            let mut scratch = Vec::new();
            for event in events {
                batch.push(None, event.encode(&mut scratch))?;
            }
            batch.finish();
            Ok(())
        })
    }

    fn put_to<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        table: &Collection<K, V>,
        kind: Kind,
        key: &K,
        val: Option<&V>,
        ts: Option<u64>,
    ) -> Self {
        let description: Description = table.description(kind);
        self.with(|commit| {
            let mut puts = commit.puts(&description)?;
            let (mut key_bytes, mut val_bytes) = (Vec::new(), Vec::new());
            let key = key.encode(&mut key_bytes);
            match val {
                Some(val) => puts.put(key, val.encode(&mut val_bytes), ts)?,
                None => puts.delete(key, ts)?,
            }
            puts.finish();
            Ok(())
        })
    }

    /// Declares times complete, as [`Collection::advance_upper`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (a, b) = (db.collection("a")?, db.collection("b")?);
    /// db.commit().advance_upper(&a, 4).advance_upper(&b, 4).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn advance_upper<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        collection: &Collection<K, V>,
        upper: impl Into<Frontier>,
    ) -> Self {
        let upper = upper.into();
        self.with(|commit| commit.advance_upper(collection.id, upper))
    }

    /// Allows times to be forgotten, as [`Collection::compact_below`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let (a, b) = (db.collection("a")?, db.collection("b")?);
    /// db.commit().compact_below(&a, 2).compact_below(&b, 2).run()?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn compact_below<K: Codec + ?Sized, V: Codec + ?Sized>(
        self,
        collection: &Collection<K, V>,
        since: impl Into<Frontier>,
    ) -> Self {
        let since = since.into();
        self.with(|commit| commit.compact_below(collection.id, since))
    }

    /// Remembers that everything below the frontier of a durable subscription was seen, if and only if
    /// the commit is made: together with what a consumer writes, that has each update take effect
    /// exactly once, whatever fails.
    ///
    /// ```
    /// use datestone::Event;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let count = db.typed_table::<str, u64>("count")?;
    /// words.append([("a", &(), 0, 1), ("b", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// let mut news = db.durable_subscription("counter", &words, 0, "counts words")?;
    /// let mut sum = count.get("words")?.unwrap_or(0);
    /// while let Some(event) = news.try_next()? {
    ///     if let Event::Updates(updates) = event {
    ///         sum += updates.len() as u64;
    ///     }
    /// }
    /// db.commit().put(&count, "words", &sum).acknowledge(&news).run()?;
    /// assert_eq!(count.get("words")?, Some(2));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`DurableSubscription::acknowledge`], which [`run`](Self::run) returns.
    pub fn acknowledge<K: ?Sized, V: ?Sized>(mut self, news: &DurableSubscription<K, V>) -> Self {
        let Ok(commit) = &mut self.commit else { return self };
        let (stored, frontier) = (&news.stored, news.frontier());
        match self.db.acknowledge_in(commit, &stored.name, stored.epoch, frontier) {
            Ok(loosened) => self.loosened.push(loosened),
            Err(e) => self.commit = Err(e),
        }
        self
    }

    /// Lets a durable hold go of the times below `at` if and only if the commit is made.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let hold = db.durable_hold("report", &words, 3, "report")?;
    /// db.commit().append(&words, [("a", &(), 5, 1)]).downgrade(&hold, 4).run()?;
    /// assert_eq!(db.durable_holds()?[0].at.ts(), Some(4));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`DurableHold::downgrade`], which [`run`](Self::run) returns.
    pub fn downgrade(mut self, hold: &DurableHold, at: u64) -> Self {
        let Ok(commit) = &mut self.commit else { return self };
        let (stored, at) = (&hold.hold, Some(Frontier::at(at)));
        match self.db.loosen_hold_in(commit, &stored.name, stored.epoch, at) {
            Ok(loosened) => self.loosened.push(loosened),
            Err(e) => self.commit = Err(e),
        }
        self
    }

    /// Makes the commit. It is durable, as far as was asked for, when the call returns.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let first = db.commit().append(&words, [("a", &(), 0, 1)]).run()?;
    /// let second = db.commit().advance_upper(&words, 1).run()?;
    /// assert_eq!(second.seqno, first.seqno + 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first error of any of its parts; nothing was written then. `Io` and `NoSpace` when it
    /// could not be written; `Poisoned` when an earlier one could not.
    pub fn run(self) -> Result<Committed> {
        let Self { db, commit, durability, once, loosened } = self;
        let (done, repeated) = match once {
            Some((writer, token)) => db.commit_once(commit?, &writer, &token, durability)?,
            None => (db.commit(commit?, durability)?, false),
        };
        if !repeated {
            loosened.iter().try_for_each(|loosened| db.loosened(loosened))?;
        }
        Ok(Committed { seqno: done.seqno.0, ts: done.ts, repeated, positions: done.positions })
    }
}

fn encode_each<K: Codec + ?Sized, V: Codec + ?Sized>(
    updates: impl IntoIterator<Item: AsUpdate<K, V>>,
    mut push: impl FnMut(Update<'_>) -> Result<()>,
) -> Result<()> {
    let (mut key, mut val) = (Vec::new(), Vec::new());
    for update in updates {
        let (ts, diff) = (update.ts(), update.diff());
        let (key, val) = (update.key().encode(&mut key), update.val().encode(&mut val));
        push(Update { key, val, ts, diff })?;
    }
    Ok(())
}
