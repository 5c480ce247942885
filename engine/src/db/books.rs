//! What the database keeps about its users: durable holds, and the tokens of commits. It keeps them
//! in a table of its own, so that log, flush, recovery and checkpoint know them as they know any
//! data, and checks what it writes there with a transaction.
//!
//! | key | value |
//! | --- | --- |
//! | `hold/` and the hold's name | epoch (8), collection (8), at (16, a frontier), seqno (8), the owner's text |
//! | `retention/` and the collection (8, big-endian) | its retention: a tag, a count (8) |
//! | `subscription/` and its name | epoch (8), collection (8), start (8), acknowledged (16, a frontier), seqno (8), the owner's text |
//! | `token/` and the writer's name | the token of its last commit |
//!
//! Numbers are little-endian. The table is called [`BOOKS`] and is made when it is first needed.

use super::{Committed, Db};
use crate::collection::Description;
use crate::commit::{Commit, Reads};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result, display_bytes};
use crate::format::Reader;
use crate::holds::ReadHold;
use crate::limits;
use crate::planted::{Bug, planted};
use crate::types::{CollectionId, Frontier, Kind, SeqNo, Timestamp};
use std::path::Path;

/// Name of the table that the database keeps for itself.
pub const BOOKS: &str = "$datestone";
const HOLD: &[u8] = b"hold/";
const TOKEN: &[u8] = b"token/";
/// Versions of the table that are kept, about: what is older is forgotten when a database is opened.
const VERSIONS_KEPT: u64 = 1_000;

/// A durable hold, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableHold {
    /// Its name.
    pub name: String,
    /// How often it was taken: who took it before is fenced off.
    pub epoch: u64,
    /// The collection.
    pub collection: CollectionId,
    /// The since of the collection stays at or below this.
    pub at: Frontier,
    /// The last commit when it was first taken.
    pub seqno: SeqNo,
    /// Who holds, in words for people.
    pub owner: String,
}

/// What a commit has let go of: a durable hold, or a subscription's.
#[derive(Clone, Debug)]
pub struct Loosened {
    pub(super) key: Vec<u8>,
    /// `None`: it is gone.
    pub(super) at: Option<Frontier>,
}

impl DurableHold {
    fn key(&self) -> Vec<u8> {
        [HOLD, self.name.as_bytes()].concat()
    }

    /// What is stored, when who took it as `epoch` lets go of the times below `at`, or of all.
    fn loosened(
        name: &str,
        stored: Option<&[u8]>,
        epoch: u64,
        at: Option<Frontier>,
    ) -> Result<Option<Self>> {
        let Some(val) = stored else {
            return Err(Error::NotFound { what: format!("hold '{name}'") });
        };
        let known = Self::decode(name.as_bytes(), val)?;
        if known.epoch != epoch {
            return Err(Error::Fenced { name: name.into(), epoch: known.epoch });
        }
        Ok(at.map(|at| Self { at: at.max(known.at), ..known }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.collection.0.to_le_bytes());
        out.extend_from_slice(&self.at.encode());
        out.extend_from_slice(&self.seqno.0.to_le_bytes());
        out.extend_from_slice(self.owner.as_bytes());
        out
    }

    fn decode(name: &[u8], val: &[u8]) -> Result<Self> {
        let broken = |what: &str| unreadable("hold", name, what);
        let mut reader = Reader::new(val);
        let mut decode = || {
            let (epoch, collection) = (reader.u64()?, CollectionId(reader.u64()?));
            let (at, seqno) = (reader.frontier()?, SeqNo(reader.u64()?));
            let owner = reader.bytes(reader.left())?;
            Ok::<_, crate::format::FormatError>((epoch, collection, at, seqno, owner.to_vec()))
        };
        let (epoch, collection, at, seqno, owner) = decode().map_err(|e| broken(&e.what))?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| broken("a text that is not UTF-8"))
        };
        Ok(Self { name: text(name)?, epoch, collection, at, seqno, owner: text(&owner)? })
    }
}

impl Db {
    /// Takes the durable hold `name`: at `at` on a collection when there is none of this name;
    /// otherwise as it is stored, under a new epoch, so that who took it before is fenced off.
    ///
    /// # Errors
    /// [`Error::Compacted`] when since is beyond `at` already; [`Error::Invalid`] when the hold is one
    /// on another collection, or a text is empty or too long.
    pub fn take_hold(
        &self,
        name: &str,
        id: CollectionId,
        at: Timestamp,
        owner: &str,
    ) -> Result<DurableHold> {
        check_text("the name of a hold", name)?;
        super::check_owner(owner)?;
        let key = [HOLD, name.as_bytes()].concat();
        let (hold, kept) = self.update_books(&key, |stored| {
            let hold = match stored {
                Some(val) => {
                    let known = DurableHold::decode(name.as_bytes(), val)?;
                    if known.collection != id {
                        let other = known.collection;
                        let what = format!("hold '{name}' is one on collection {other}, not {id}");
                        return Err(Error::invalid(what));
                    }
                    DurableHold { epoch: known.epoch + 1, owner: owner.into(), ..known }
                }
                None => DurableHold {
                    name: name.into(),
                    epoch: 1,
                    collection: id,
                    at: Frontier::at(at),
                    seqno: self.last_seqno()?,
                    owner: owner.into(),
                },
            };
            // Kept in memory before it is stored: since cannot pass in between.
            let kept = self.keep(&hold)?;
            Ok((Some(hold.encode()), (hold, kept)))
        })?;
        self.0.writer()?.named.lock().insert(hold.key(), kept);
        Ok(hold)
    }

    /// Lets a durable hold go of the times below `at`, or with `None` of all: it is gone then.
    ///
    /// # Errors
    /// [`Error::Fenced`] when somebody else has taken it since; [`Error::NotFound`] when it is gone.
    pub fn loosen_hold(&self, name: &str, epoch: u64, at: Option<Frontier>) -> Result<()> {
        let key = [HOLD, name.as_bytes()].concat();
        let loosened = self.update_books(&key, |stored| {
            let next = DurableHold::loosened(name, stored, epoch, at)?;
            let loosened = Loosened { key: key.clone(), at: next.as_ref().map(|next| next.at) };
            Ok((next.as_ref().map(DurableHold::encode), loosened))
        })?;
        self.loosened(&loosened)
    }

    /// The same as a part of `commit`: it happens if and only if that is made. The caller calls
    /// [`loosened`](Self::loosened) then.
    ///
    /// # Errors
    /// As [`loosen_hold`](Self::loosen_hold).
    pub fn loosen_hold_in(
        &self,
        commit: &mut Commit,
        name: &str,
        epoch: u64,
        at: Option<Frontier>,
    ) -> Result<Loosened> {
        let key = [HOLD, name.as_bytes()].concat();
        self.change_books(commit, &key, |stored| {
            let next = DurableHold::loosened(name, stored, epoch, at)?;
            let loosened = Loosened { key: key.clone(), at: next.as_ref().map(|next| next.at) };
            Ok((next.as_ref().map(DurableHold::encode), loosened))
        })
    }

    /// All durable holds, in order of their names; those of dropped collections too.
    pub fn durable_holds(&self) -> Result<Vec<DurableHold>> {
        let stored = self.stored_with(HOLD)?;
        stored.iter().map(|(name, val)| DurableHold::decode(name, val)).collect()
    }

    /// What the table has at a key.
    pub(super) fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Ok(books) = self.find(BOOKS) else { return Ok(None) };
        Ok(self.read_books(&books, key)?.1.map(|(val, _)| val))
    }

    /// The rows of the table whose keys begin so, without that beginning.
    pub(super) fn stored_with(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let Ok(books) = self.find(BOOKS) else { return Ok(Vec::new()) };
        let range = crate::read::range::prefix_range(prefix);
        let mut rows = self.latest(books.id)?.version_rows(range);
        let mut stored = Vec::new();
        while let Some(row) = rows.next()? {
            let key = row.key.strip_prefix(prefix).unwrap_or_default();
            stored.push((key.to_vec(), row.val.to_vec()));
        }
        Ok(stored)
    }

    /// Replaces what the table has at a key by what `change` makes of it, which is called again when
    /// somebody else is faster; it may refuse.
    pub(super) fn update_books<T>(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)>,
    ) -> Result<T> {
        let books = self.books()?;
        loop {
            let (reads, stored) = self.read_books(&books, key)?;
            let (val, made) = change(stored.as_ref().map(|(val, _)| val.as_slice()))?;
            match self.write_books(&books, key, val.as_deref(), reads) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                written => return written.map(|_| made),
            }
        }
    }

    /// Makes a commit under a token of a writer: when the writer's last commit had the same token, it
    /// was made already, and nothing is done but to say at which time that was. `true`: it was.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else commits as the same writer at the same time.
    pub fn commit_once(
        &self,
        mut commit: Commit,
        writer: &str,
        token: &[u8],
        durability: Durability,
    ) -> Result<(Committed, bool)> {
        check_text("the name of a writer", writer)?;
        if token.len() > limits::NAME_LEN_MAX {
            let (len, max) = (token.len(), limits::NAME_LEN_MAX);
            return Err(Error::invalid(format!("a token has {len} bytes, the most is {max}")));
        }
        let books = self.books()?;
        let key = [TOKEN, writer.as_bytes()].concat();
        let (reads, stored) = self.read_books(&books, &key)?;
        if let Some((known, ts)) = stored
            && known == token
            && !planted(Bug::TokenForgotten)
        {
            return Ok((Committed { ts, ..Committed::default() }, true));
        }
        amend(&mut commit, &books, &key, Some(token), reads)?;
        Ok((self.commit(commit, durability)?, false))
    }

    /// As [`update_books`](Self::update_books), as a part of `commit`, which is refused with
    /// [`Error::Conflict`] when somebody else is faster.
    pub(super) fn change_books<T>(
        &self,
        commit: &mut Commit,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)>,
    ) -> Result<T> {
        let books = self.books()?;
        let (reads, stored) = self.read_books(&books, key)?;
        let (val, made) = change(stored.as_ref().map(|(val, _)| val.as_slice()))?;
        amend(commit, &books, key, val.as_deref(), reads)?;
        Ok(made)
    }

    /// Lets go in memory of what a commit has let go of.
    pub fn loosened(&self, loosened: &Loosened) -> Result<()> {
        let mut named = self.0.writer()?.named.lock();
        match loosened.at {
            Some(at) => {
                named.get_mut(&loosened.key).into_iter().for_each(|kept| kept.downgrade(at));
            }
            None => drop(named.remove(&loosened.key)),
        }
        Ok(())
    }

    /// Keeps in memory what is stored, when a database is opened.
    pub(super) fn keep_durable_holds(&self) -> Result<()> {
        for hold in self.durable_holds()? {
            if self.collection(hold.collection).is_ok() {
                let kept = self.keep(&hold)?;
                self.0.writer()?.named.lock().insert(hold.key(), kept);
            }
        }
        self.keep_durable_subscriptions()?;
        if let Ok(books) = self.find(BOOKS) {
            let since = Frontier::at(self.now().saturating_sub(VERSIONS_KEPT));
            if self.collection(books.id)?.since < since {
                let mut commit = Commit::new();
                commit.compact_below(books.id, since)?;
                self.commit(commit, Durability::Fsync)?;
            }
        }
        Ok(())
    }

    fn keep(&self, hold: &DurableHold) -> Result<ReadHold> {
        // A closed frontier holds nothing; the greatest time stands for it.
        let at = hold.at.ts().unwrap_or(Timestamp::MAX);
        let owner = format!("{} (durable: {})", hold.owner, hold.name);
        self.keep_for(hold.collection, at, &owner, hold.seqno)
    }

    /// A hold in memory for what is stored, whose text may be longer than a caller's.
    pub(super) fn keep_for(
        &self,
        id: CollectionId,
        at: Timestamp,
        owner: &str,
        seqno: SeqNo,
    ) -> Result<ReadHold> {
        let end = owner.floor_char_boundary(limits::NAME_LEN_MAX);
        self.hold_from(id, at, owner.get(..end).unwrap_or_default(), Some(seqno))
    }

    pub(super) fn last_seqno(&self) -> Result<SeqNo> {
        Ok(self.0.writer()?.leader.lock().state.last_seqno)
    }

    fn books(&self) -> Result<Description> {
        self.create_or_load(Kind::ClockTable, BOOKS, &[])
    }

    /// What a key of the table has, with its time, and the read to be found unchanged.
    #[expect(clippy::type_complexity, reason = "a value and its time, and what was read")]
    fn read_books(
        &self,
        books: &Description,
        key: &[u8],
    ) -> Result<(Reads, Option<(Vec<u8>, Timestamp)>)> {
        let snapshot = self.latest(books.id)?;
        let mut found = None;
        snapshot.version(key, |val, ts| {
            found = Some((val.to_vec(), ts));
            Ok(())
        })?;
        let keys = vec![(books.id, key.to_vec())];
        Ok((Reads { as_of: snapshot.as_of(), keys, ranges: Vec::new() }, found))
    }

    fn write_books(
        &self,
        books: &Description,
        key: &[u8],
        val: Option<&[u8]>,
        reads: Reads,
    ) -> Result<Committed> {
        let mut commit = Commit::new();
        amend(&mut commit, books, key, val, reads)?;
        self.commit(commit, Durability::Fsync)
    }
}

/// The error for a row of the table that is not what it should be. Its checksum was right, so it was
/// written so; what it holds is not forgotten, and not guessed either.
pub(super) fn unreadable(what: &str, name: &[u8], why: &str) -> Error {
    let what = format!("the stored {what} {} cannot be read: {why}", display_bytes(name));
    Error::corruption(Path::new(BOOKS), 0, what)
}

pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > limits::NAME_LEN_MAX {
        let (len, max) = (text.len(), limits::NAME_LEN_MAX);
        return Err(Error::invalid(format!("{what} has 1 to {max} bytes, this one has {len}")));
    }
    Ok(())
}

/// Adds a row of the table to a commit, with the read that must be found unchanged.
fn amend(
    commit: &mut Commit,
    books: &Description,
    key: &[u8],
    val: Option<&[u8]>,
    mut reads: Reads,
) -> Result<()> {
    let mut puts = commit.puts(books)?;
    match val {
        Some(val) => puts.put(key, val, None)?,
        None => puts.delete(key, None)?,
    }
    puts.finish();
    let own = commit.reads().clone();
    if !own.is_empty() {
        reads.as_of = reads.as_of.min(own.as_of);
    }
    reads.keys.extend(own.keys);
    reads.ranges.extend(own.ranges);
    commit.depend_on(reads);
    Ok(())
}
