//! [`Commit`]: several changes, all or nothing.

use crate::{AsUpdate, Codec, Collection, Durability, Frontier, Result};
use datestone_engine::commit::Commit as EngineCommit;
use datestone_engine::db::Db;
use datestone_engine::types::Update;

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
    db: Db,
    commit: Result<EngineCommit>,
    durability: Durability,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Position of the commit in the log: dense, ascending.
    pub seqno: u64,
}

impl Commit {
    pub(crate) fn new(db: Db) -> Self {
        let durability = db.options().durability;
        Self { db, commit: Ok(EngineCommit::new()), durability }
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
        let id = self.db.reserve_collection_id();
        self.with(|commit| commit.create(id, name, meta))
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
        let seqno = self.db.commit(self.commit?, self.durability)?;
        Ok(Committed { seqno: seqno.0 })
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
