//! Retention policies: what a collection forgets by itself. A policy is a row of the database's own
//! table; it works through the holds, as any request to forget does: what it asks for takes effect as
//! far as holds allow, and `Everything` is itself a hold.

use super::Db;
use super::writer::Writer;
use crate::config::Retention;
use crate::error::{Error, Result};
use crate::holds::ReadHold;
use crate::leader::WriteState;
use crate::types::{CollectionId, Frontier, Kind, Timestamp};
use std::collections::BTreeMap;

/// Before the id of the collection, in the keys of its policies.
pub(super) const RETENTION: &[u8] = b"retention/";

/// The policies of a database, but for `Manual`, with the holds of those that keep everything.
pub(super) type Policies = BTreeMap<CollectionId, (Retention, Option<ReadHold>)>;

fn key_of(id: CollectionId) -> Vec<u8> {
    [RETENTION, &id.0.to_be_bytes()].concat()
}

impl Db {
    /// Says how much of its past a collection keeps by itself. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a log, which keeps everything.
    pub fn set_retention(&self, id: CollectionId, retention: Retention) -> Result<()> {
        let description = self.collection(id)?.description;
        if description.kind == Kind::Log {
            let what =
                format!("collection '{}' is a log, which keeps everything", description.name);
            return Err(Error::invalid(what));
        }
        let val = (retention != Retention::Manual).then(|| retention.encode());
        let key = key_of(id);
        self.update_books(&key, |_| Ok((val.clone(), ())))?;
        self.keep_retention(id, retention)?;
        self.0.writer()?.ask_retention();
        Ok(())
    }

    /// How much of its past a collection keeps by itself.
    pub fn retention(&self, id: CollectionId) -> Result<Retention> {
        self.collection(id)?;
        let stored = self.stored(&key_of(id))?;
        Ok(stored.map_or(Retention::Manual, |val| decode(&val)))
    }

    /// Has the policies in force that are stored, when a database is opened.
    pub(super) fn keep_retentions(&self) -> Result<()> {
        for (key, val) in self.stored_with(RETENTION)? {
            let Ok(id) = key.as_slice().try_into().map(u64::from_be_bytes) else { continue };
            if self.collection(CollectionId(id)).is_ok() {
                self.keep_retention(CollectionId(id), decode(&val))?;
            }
        }
        Ok(())
    }

    fn keep_retention(&self, id: CollectionId, retention: Retention) -> Result<()> {
        let writer = self.0.writer()?;
        let hold = match retention {
            Retention::Everything => {
                let since = self.collection(id)?.since.ts().unwrap_or(Timestamp::MAX);
                Some(self.hold(id, since, "retention: everything")?)
            }
            _ => None,
        };
        let mut policies = writer.policies.lock();
        match retention {
            Retention::Manual => policies.remove(&id),
            _ => policies.insert(id, (retention, hold)),
        };
        Ok(())
    }
}

/// A policy that this build does not know forgets nothing.
fn decode(val: &[u8]) -> Retention {
    Retention::decode(val).unwrap_or(Retention::Everything)
}

impl Writer {
    /// Asks for the sinces that the policies want now.
    pub(super) fn ask_retention(&self) {
        let leader = self.leader.lock();
        self.want_retention(&leader.state);
        drop(leader);
        self.worker.call();
    }

    /// The same for who has the leader's lock.
    pub(super) fn want_retention(&self, state: &WriteState) {
        for (id, (retention, _)) in &*self.policies.lock() {
            let Some(collection) = state.collections.get(*id) else { continue };
            let upper: Frontier = state.collections.upper(collection);
            if let Some(since) = retention.since(upper).filter(|since| *since > collection.since) {
                self.shared.view.holds.remember(*id, since);
            }
        }
    }
}
