//! The rules of collections as pure state: names, frontiers, and what a commit may do to them.
//!
//! The commit leader checks a commit against this state, makes it durable, and then applies it;
//! recovery applies the same records in the same order. Nothing here does I/O.
//!
//! # Invariants
//! 1. `since` and `upper` of a collection never go back.
//! 2. A name belongs to at most one collection; an id is never used again.
//! 3. A commit is checked against the state before it as a whole: an upper that it advances does
//!    not concern its own updates.

use crate::commit::{Check, Commit};
use crate::error::{Error, Result};
use crate::format::log_key::LOG_ID_PREFIX;
use crate::limits;
use crate::types::{CollectionId, Frontier, Kind, TimeWindow, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a collection is: fixed at its creation, but for the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its id, never reused.
    pub id: CollectionId,
    /// Its name.
    pub name: Arc<str>,
    /// Opaque bytes of the user.
    pub meta: Arc<[u8]>,
    /// What it holds.
    pub kind: Kind,
}

/// A collection and its frontiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// What it is.
    pub description: Description,
    /// Reads need `as_of >= since`.
    pub since: Frontier,
    /// First time that is not closed yet.
    pub upper: Frontier,
}

impl Collection {
    /// A collection as it is created: everything may be read, nothing is closed.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self { description, since: Frontier::MIN, upper: Frontier::MIN }
    }

    /// The times that can be read; `None` when there is none.
    #[must_use]
    pub fn readable(&self) -> Option<TimeWindow> {
        TimeWindow::between(self.since, self.upper)
    }

    /// Whether `as_of` can be read.
    pub fn check_as_of(&self, as_of: u64) -> Result<()> {
        self.check_since(as_of)?;
        if !self.upper.is_beyond(as_of) {
            let collection = self.description.name.to_string();
            let (since, upper) = (self.since, self.upper);
            return Err(Error::NotYet { collection, as_of, since, upper });
        }
        Ok(())
    }

    /// Refuses a time whose history may have been forgotten.
    ///
    /// # Errors
    /// [`Error::Compacted`].
    pub fn check_since(&self, as_of: u64) -> Result<()> {
        if self.since.is_beyond(as_of) {
            let collection = self.description.name.to_string();
            let (since, upper) = (self.since, self.upper);
            return Err(Error::Compacted { collection, as_of, since, upper });
        }
        Ok(())
    }
}

/// One change that a commit makes to the collections (its updates apart).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Raises upper; a lower one changes nothing.
    AdvanceUpper(CollectionId, Frontier),
    /// Raises since; a lower one changes nothing.
    CompactBelow(CollectionId, Frontier),
    /// Creates a collection.
    Create(Description),
    /// Drops a collection.
    Drop(CollectionId),
    /// Replaces the user's metadata.
    SetMeta(CollectionId, Arc<[u8]>),
    /// Puts to a table. On the database's clock upper passes the times of the puts.
    Put {
        /// The table.
        collection: CollectionId,
        /// Least and greatest of the times given.
        times: Option<TimeWindow>,
        /// Whether the database gives times.
        assigned: bool,
    },
    /// Appends to a log: upper passes the events.
    Append {
        /// The log.
        collection: CollectionId,
        /// Count of the events.
        count: u64,
    },
}

impl Change {
    /// The collection that it concerns.
    #[must_use]
    pub const fn collection(&self) -> CollectionId {
        match self {
            Self::AdvanceUpper(id, _)
            | Self::CompactBelow(id, _)
            | Self::Drop(id)
            | Self::SetMeta(id, _)
            | Self::Put { collection: id, .. }
            | Self::Append { collection: id, .. } => *id,
            Self::Create(description) => description.id,
        }
    }
}

/// The first time that the database gives; before it tables on its clock are empty.
const CLOCK_MIN: Timestamp = 1;

/// All collections of a database, and which of them changed since somebody last asked.
#[derive(Clone, Debug)]
pub struct Collections {
    by_id: BTreeMap<CollectionId, Collection>,
    by_name: HashMap<Arc<str>, CollectionId>,
    changed: BTreeSet<CollectionId>,
    /// The greatest id ever seen, also of collections that were dropped.
    last_id: Option<CollectionId>,
    /// The next time that the database gives: at or beyond the upper of every table on its clock,
    /// and the upper of all of them.
    clock: Timestamp,
}

impl Collections {
    /// The collections that a manifest holds; none of them counts as changed.
    #[must_use]
    pub fn restore(collections: impl IntoIterator<Item = Collection>) -> Self {
        let by_id: BTreeMap<_, _> =
            collections.into_iter().map(|c| (c.description.id, c)).collect();
        let by_name =
            by_id.values().map(|c| (Arc::clone(&c.description.name), c.description.id)).collect();
        let last_id = by_id.last_key_value().map(|(id, _)| *id);
        Self { by_id, by_name, changed: BTreeSet::new(), last_id, clock: CLOCK_MIN }
    }

    /// The same collections with the database's clock at `clock`, or later if a collection says so.
    #[must_use]
    pub fn at_clock(mut self, clock: Timestamp) -> Self {
        let on_clock = self.by_id.values().filter(|c| c.description.kind == Kind::ClockTable);
        self.clock =
            on_clock.filter_map(|c| c.upper.ts()).fold(clock.max(CLOCK_MIN), Timestamp::max);
        self
    }

    /// The next time that the database gives.
    #[must_use]
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Sets the clock, to publish it or to take a commit back.
    pub const fn set_clock(&mut self, clock: Timestamp) {
        self.clock = clock;
    }

    /// Upper of a collection, which for tables on the database's clock is the clock.
    #[must_use]
    pub fn upper(&self, collection: &Collection) -> Frontier {
        match collection.description.kind {
            Kind::ClockTable => collection.upper.max(Frontier::at(self.clock)),
            _ => collection.upper,
        }
    }

    /// A collection by id with its upper as readers see it.
    pub fn current(&self, id: CollectionId) -> Result<Collection> {
        let mut collection = self.require(id)?.clone();
        collection.upper = self.upper(&collection);
        Ok(collection)
    }

    /// A collection by id.
    #[must_use]
    pub fn get(&self, id: CollectionId) -> Option<&Collection> {
        self.by_id.get(&id)
    }

    /// A collection by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Collection> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// All collections in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.by_id.values()
    }

    /// The greatest id ever seen, also of collections that were dropped.
    #[must_use]
    pub const fn last_id(&self) -> Option<CollectionId> {
        self.last_id
    }

    /// The collections that changed (or went away) since this was last called, in order of id.
    pub fn take_changed(&mut self) -> BTreeSet<CollectionId> {
        std::mem::take(&mut self.changed)
    }

    /// Puts a collection's state, or its absence, in place of what is known of it.
    pub fn replace(&mut self, id: CollectionId, collection: Option<&Collection>) {
        if let Some(old) = self.by_id.remove(&id)
            && self.by_name.get(&old.description.name) == Some(&id)
        {
            self.by_name.remove(&old.description.name);
        }
        if let Some(new) = collection {
            self.by_name.insert(Arc::clone(&new.description.name), id);
            self.by_id.insert(id, new.clone());
        }
    }

    /// A collection by id, or the error for its absence.
    pub fn require(&self, id: CollectionId) -> Result<&Collection> {
        self.by_id
            .get(&id)
            .ok_or_else(|| Error::NotFound { what: format!("collection with id {id} (dropped?)") })
    }

    /// Whether `commit` may be made in this state (invariant 3).
    pub fn check(&self, commit: &Commit) -> Result<()> {
        for check in commit.checks() {
            self.check_one(commit, check)?;
        }
        Ok(())
    }

    fn check_one(&self, commit: &Commit, check: &Check) -> Result<()> {
        match check {
            Check::Updates { collection, times } => {
                let collection = self.require(*collection)?;
                require_kind(collection, "updates", |kind| kind == Kind::Multiset)?;
                if collection.upper.is_beyond(times.first) {
                    return Err(commit.first_update_below(collection, collection.upper));
                }
            }
            Check::Upper { collection, expected } => {
                let collection = self.require(*collection)?;
                if collection.upper != *expected {
                    return Err(Error::UpperMismatch {
                        collection: collection.description.name.to_string(),
                        expected: *expected,
                        actual: collection.upper,
                    });
                }
            }
            Check::Exists { collection } => {
                self.require(*collection)?;
            }
            Check::Puts { collection, times, assigned } => {
                let collection = self.require(*collection)?;
                require_kind(collection, "puts", Kind::is_table)?;
                let kind = collection.description.kind;
                require_kind(collection, "times of the database", |_| {
                    !assigned || kind == Kind::ClockTable
                })?;
                let upper = collection.upper;
                if times.is_some_and(|times| upper.is_beyond(times.first)) {
                    return Err(commit.first_update_below(collection, upper));
                }
            }
            Check::Events { collection } => {
                let collection = self.require(*collection)?;
                require_kind(collection, "events", |kind| kind == Kind::Log)?;
            }
            Check::Advances { collection } => {
                let collection = self.require(*collection)?;
                require_kind(collection, "an upper from its user", |kind| kind != Kind::Log)?;
            }
            Check::Forgets { collection } => {
                let collection = self.require(*collection)?;
                require_kind(collection, "forgetting", |kind| kind != Kind::Log)?;
            }
            Check::Absent { name } => {
                if self.by_name.contains_key(name) {
                    return Err(Error::AlreadyExists { what: format!("collection '{name}'") });
                }
                if self.by_id.len() >= limits::COLLECTION_COUNT_MAX {
                    return Err(Error::invalid(format!(
                        "the database has {} collections, the most there may be",
                        limits::COLLECTION_COUNT_MAX
                    )));
                }
            }
        }
        Ok(())
    }

    /// Makes one change of a commit that was checked, or that recovery reads back. `Err` when it
    /// names a collection that does not exist: a checked commit never does.
    /// `clock` is the time that the database gives to the commit.
    pub fn apply(&mut self, change: &Change, clock: Timestamp) -> Result<()> {
        match change {
            Change::Create(description) => {
                let id = description.id;
                if self.by_id.contains_key(&id) || self.by_name.contains_key(&description.name) {
                    return Err(Error::AlreadyExists {
                        what: format!("collection '{}' or id {id}", description.name),
                    });
                }
                self.last_id = self.last_id.max(Some(id));
                self.by_name.insert(Arc::clone(&description.name), id);
                self.by_id.insert(id, Collection::new(description.clone()));
                self.changed.insert(id);
            }
            Change::Drop(id) => {
                let gone = self.by_id.remove(id).ok_or_else(|| missing(*id))?;
                self.by_name.remove(&gone.description.name);
                self.changed.insert(*id);
            }
            Change::AdvanceUpper(id, upper) => {
                let collection = self.by_id.get_mut(id).ok_or_else(|| missing(*id))?;
                if collection.upper < *upper {
                    collection.upper = *upper;
                    self.changed.insert(*id);
                }
                if let (Kind::ClockTable, Some(ts)) = (collection.description.kind, upper.ts()) {
                    self.clock = self.clock.max(ts);
                }
            }
            Change::Put { collection: id, assigned, .. } => {
                // Updates of a table on the caller's clock do not move its upper.
                let kind = self.by_id.get(id).ok_or_else(|| missing(*id))?.description.kind;
                if kind == Kind::ClockTable && *assigned {
                    self.apply(&Change::AdvanceUpper(*id, Frontier::just_beyond(clock)), clock)?;
                }
            }
            Change::Append { collection: id, count } => {
                let collection = self.by_id.get_mut(id).ok_or_else(|| missing(*id))?;
                let end = collection.upper.ts().and_then(|ts| ts.checked_add(*count));
                let end = end.filter(|end| *end < LOG_ID_PREFIX).ok_or_else(|| {
                    Error::invalid(format!("log '{}' is full", collection.description.name))
                })?;
                collection.upper = Frontier::at(end);
                self.changed.insert(*id);
            }
            Change::CompactBelow(id, since) => {
                let collection = self.by_id.get_mut(id).ok_or_else(|| missing(*id))?;
                if collection.since < *since {
                    collection.since = *since;
                    self.changed.insert(*id);
                }
            }
            Change::SetMeta(id, meta) => {
                let collection = self.by_id.get_mut(id).ok_or_else(|| missing(*id))?;
                collection.description.meta = Arc::clone(meta);
                self.changed.insert(*id);
            }
        }
        Ok(())
    }
}

fn require_kind(collection: &Collection, what: &str, fits: impl Fn(Kind) -> bool) -> Result<()> {
    let Description { name, kind, .. } = &collection.description;
    if fits(*kind) {
        return Ok(());
    }
    Err(Error::invalid(format!("collection '{name}' is a {kind}, which has no {what}")))
}

fn missing(id: CollectionId) -> Error {
    Error::NotFound { what: format!("collection with id {id}") }
}

/// Refuses names that no collection may have.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > limits::NAME_LEN_MAX {
        return Err(Error::invalid(format!(
            "a collection name has 1 to {} bytes, this one has {}",
            limits::NAME_LEN_MAX,
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "collection name {} has a control character",
            name.escape_debug()
        )));
    }
    Ok(())
}
