//! Durable subscriptions: where a consumer of a collection has got to, kept over restarts. One is a
//! row of the database's own table and a hold just below what the consumer has acknowledged, so that
//! what it has yet to see is still there when it comes back.

use super::Db;
use super::books::{Loosened, check_text, unreadable};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::format::Reader;
use crate::holds::ReadHold;
use crate::types::{CollectionId, Frontier, SeqNo, Timestamp};

/// Before the name, in the keys of durable subscriptions.
const SUBSCRIPTION: &[u8] = b"subscription/";

/// A durable subscription, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableSubscription {
    /// Its name.
    pub name: String,
    /// How often it was taken: who took it before is fenced off.
    pub epoch: u64,
    /// The collection.
    pub collection: CollectionId,
    /// It begins with the contents at this time.
    pub start: Timestamp,
    /// Everything below was acknowledged; at or below `start` when nothing was.
    pub frontier: Frontier,
    /// The last commit when it was first taken.
    pub seqno: SeqNo,
    /// Who it is, in words for people.
    pub owner: String,
}

impl DurableSubscription {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.collection.0.to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.frontier.encode());
        out.extend_from_slice(&self.seqno.0.to_le_bytes());
        out.extend_from_slice(self.owner.as_bytes());
        out
    }

    fn decode(name: &[u8], val: &[u8]) -> Result<Self> {
        let broken = |why: String| unreadable("subscription", name, &why);
        let mut reader = Reader::new(val);
        let mut decode = || {
            let (epoch, collection) = (reader.u64()?, CollectionId(reader.u64()?));
            let (start, frontier, seqno) =
                (reader.u64()?, reader.frontier()?, SeqNo(reader.u64()?));
            let owner = reader.bytes(reader.left())?;
            Ok::<_, crate::format::FormatError>((epoch, collection, start, frontier, seqno, owner))
        };
        let (epoch, collection, start, frontier, seqno, owner) =
            decode().map_err(|e| broken(e.what))?;
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| broken(e.to_string()));
        let (name, owner) = (text(name)?, text(owner)?);
        Ok(Self { name, epoch, collection, start, frontier, seqno, owner })
    }

    /// Where since is kept.
    #[must_use]
    pub fn at(&self) -> Frontier {
        match self.frontier.ts() {
            Some(ts) => Frontier::at(self.start.max(ts.saturating_sub(1))),
            None => Frontier::CLOSED,
        }
    }

    /// The same when everything below `frontier` is acknowledged, by who took it as `epoch`.
    fn acknowledged(self, epoch: u64, frontier: Frontier) -> Result<Self> {
        if self.epoch != epoch {
            return Err(Error::Fenced { name: self.name, epoch: self.epoch });
        }
        Ok(Self { frontier: frontier.max(self.frontier), ..self })
    }
}

fn key_of(name: &str) -> Vec<u8> {
    [SUBSCRIPTION, name.as_bytes()].concat()
}

fn missing(name: &str) -> Error {
    Error::NotFound { what: format!("subscription '{name}'") }
}

impl Db {
    /// Takes the durable subscription `name`: from the contents at `start` on when there is none of
    /// this name; otherwise as it is stored, under a new epoch.
    ///
    /// # Errors
    /// For a new one [`Error::Compacted`] when since is beyond `start`, [`Error::NotYet`] when upper is not;
    /// [`Error::Invalid`] when it is one to
    /// another collection, or a text is empty or too long.
    pub fn take_subscription(
        &self,
        name: &str,
        id: CollectionId,
        start: Timestamp,
        owner: &str,
    ) -> Result<DurableSubscription> {
        check_text("the name of a subscription", name)?;
        super::check_owner(owner)?;
        let (taken, kept) = self.update_books(&key_of(name), |stored| {
            let taken = match stored {
                Some(val) => {
                    let known = DurableSubscription::decode(name.as_bytes(), val)?;
                    if known.collection != id {
                        let other = known.collection;
                        let what = format!("subscription '{name}' is one to collection {other}");
                        return Err(Error::invalid(format!("{what}, not {id}")));
                    }
                    DurableSubscription { epoch: known.epoch + 1, owner: owner.into(), ..known }
                }
                None => {
                    // What cannot begin is not stored.
                    self.collection(id)?.check_as_of(start)?;
                    DurableSubscription {
                        name: name.into(),
                        epoch: 1,
                        collection: id,
                        start,
                        frontier: Frontier::at(start),
                        seqno: self.last_seqno()?,
                        owner: owner.into(),
                    }
                }
            };
            // Kept in memory before it is stored: since cannot pass in between.
            let kept = self.keep_subscription(&taken)?;
            Ok((Some(taken.encode()), (taken, kept)))
        })?;
        self.0.writer()?.named.lock().insert(key_of(name), kept);
        Ok(taken)
    }

    /// Remembers durably that everything below `frontier` was seen, or with `None` drops the
    /// subscription.
    ///
    /// # Errors
    /// [`Error::Fenced`] when somebody else has taken it since; [`Error::NotFound`] when it is gone.
    pub fn acknowledge(&self, name: &str, epoch: u64, frontier: Option<Frontier>) -> Result<()> {
        let loosened = self.update_books(&key_of(name), |stored| {
            let known =
                DurableSubscription::decode(name.as_bytes(), stored.ok_or_else(|| missing(name))?)?;
            let next = known.acknowledged(epoch, frontier.unwrap_or(Frontier::MIN))?;
            let next = frontier.map(|_| next);
            let loosened = Loosened { key: key_of(name), at: next.as_ref().map(|next| next.at()) };
            Ok((next.as_ref().map(DurableSubscription::encode), loosened))
        })?;
        self.loosened(&loosened)
    }

    /// The same as a part of `commit`: it is remembered if and only if that is made. The caller calls
    /// [`loosened`](Self::loosened) then.
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge).
    pub fn acknowledge_in(
        &self,
        commit: &mut Commit,
        name: &str,
        epoch: u64,
        frontier: Frontier,
    ) -> Result<Loosened> {
        self.change_books(commit, &key_of(name), |stored| {
            let known =
                DurableSubscription::decode(name.as_bytes(), stored.ok_or_else(|| missing(name))?)?;
            let next = known.acknowledged(epoch, frontier)?;
            Ok((Some(next.encode()), Loosened { key: key_of(name), at: Some(next.at()) }))
        })
    }

    /// All durable subscriptions, in order of their names; those to dropped collections too.
    pub fn durable_subscriptions(&self) -> Result<Vec<DurableSubscription>> {
        let stored = self.stored_with(SUBSCRIPTION)?;
        stored.iter().map(|(name, val)| DurableSubscription::decode(name, val)).collect()
    }

    /// Keeps in memory what is stored, when a database is opened.
    pub(super) fn keep_durable_subscriptions(&self) -> Result<()> {
        for stored in self.durable_subscriptions()? {
            if self.collection(stored.collection).is_ok() {
                let kept = self.keep_subscription(&stored)?;
                self.0.writer()?.named.lock().insert(key_of(&stored.name), kept);
            }
        }
        Ok(())
    }

    fn keep_subscription(&self, stored: &DurableSubscription) -> Result<ReadHold> {
        let at = stored.at().ts().unwrap_or(Timestamp::MAX);
        let DurableSubscription { owner, name, .. } = stored;
        let owner = format!("{owner} (subscription: {name})");
        self.keep_for(stored.collection, at, &owner, stored.seqno)
    }
}
