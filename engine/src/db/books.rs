//! What the database keeps about its users: durable holds, and the tokens of commits. It keeps them
//! in a table of its own, so that log, flush, recovery and checkpoint know them as they know any
//! data, and checks what it writes there with a transaction.
//!
//! | key | value |
//! | --- | --- |
//! | `hold/` and the hold's name | epoch (8), collection (8), at (16, a frontier), the owner's text |
//! | `token/` and the writer's name | the token of its last commit |
//!
//! Numbers are little-endian. The table is called [`BOOKS`] and is made when it is first needed.

use super::{Committed, Db};
use crate::collection::Description;
use crate::commit::{Commit, Reads};
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Reader;
use crate::holds::ReadHold;
use crate::limits;
use crate::types::{CollectionId, Frontier, Kind, Timestamp};

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
    /// Who holds, in words for people.
    pub owner: String,
}

impl DurableHold {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.collection.0.to_le_bytes());
        out.extend_from_slice(&self.at.encode());
        out.extend_from_slice(self.owner.as_bytes());
        out
    }

    fn decode(name: &[u8], val: &[u8]) -> Result<Self> {
        let broken = |what: &str| Error::Internal { what: format!("a stored hold: {what}") };
        let mut reader = Reader::new(val);
        let mut decode = || {
            let (epoch, collection) = (reader.u64()?, CollectionId(reader.u64()?));
            let at = reader.frontier()?;
            let owner = reader.bytes(reader.left())?;
            Ok::<_, crate::format::FormatError>((epoch, collection, at, owner.to_vec()))
        };
        let (epoch, collection, at, owner) = decode().map_err(|e| broken(&e.what))?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| broken("a text that is not UTF-8"))
        };
        Ok(Self { name: text(name)?, epoch, collection, at, owner: text(&owner)? })
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
        let books = self.books()?;
        let key = [HOLD, name.as_bytes()].concat();
        loop {
            let (reads, stored) = self.read_books(&books, &key)?;
            let hold = match stored {
                Some((val, _)) => {
                    let known = DurableHold::decode(name.as_bytes(), &val)?;
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
                    owner: owner.into(),
                },
            };
            // Kept in memory before it is stored: since cannot pass in between.
            let kept = self.keep(&hold)?;
            match self.write_books(&books, &key, Some(&hold.encode()), reads) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
                Ok(_) => {
                    self.0.writer()?.named.lock().insert(name.into(), kept);
                    return Ok(hold);
                }
            }
        }
    }

    /// Lets a durable hold go of the times below `at`, or with `None` of all: it is gone then.
    ///
    /// # Errors
    /// [`Error::Fenced`] when somebody else has taken it since; [`Error::NotFound`] when it is gone.
    pub fn loosen_hold(&self, name: &str, epoch: u64, at: Option<Frontier>) -> Result<()> {
        let books = self.books()?;
        let key = [HOLD, name.as_bytes()].concat();
        loop {
            let (reads, stored) = self.read_books(&books, &key)?;
            let Some((val, _)) = stored else {
                return Err(Error::NotFound { what: format!("hold '{name}'") });
            };
            let known = DurableHold::decode(name.as_bytes(), &val)?;
            if known.epoch != epoch {
                return Err(Error::Fenced { name: name.into(), epoch: known.epoch });
            }
            let next = at.map(|at| DurableHold { at: at.max(known.at), ..known });
            let val = next.as_ref().map(DurableHold::encode);
            match self.write_books(&books, &key, val.as_deref(), reads) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
                Ok(_) => {
                    let mut named = self.0.writer()?.named.lock();
                    match next {
                        Some(next) => {
                            named
                                .get_mut(name)
                                .into_iter()
                                .for_each(|kept| kept.downgrade(next.at));
                        }
                        None => drop(named.remove(name)),
                    }
                    return Ok(());
                }
            }
        }
    }

    /// All durable holds, in order of their names; those of dropped collections too.
    pub fn durable_holds(&self) -> Result<Vec<DurableHold>> {
        let Ok(books) = self.find(BOOKS) else { return Ok(Vec::new()) };
        let mut rows = self.latest(books.id)?.version_rows(crate::read::range::prefix_range(HOLD));
        let mut holds = Vec::new();
        while let Some(row) = rows.next()? {
            let name = row.key.strip_prefix(HOLD).unwrap_or_default();
            holds.push(DurableHold::decode(name, row.val)?);
        }
        Ok(holds)
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
        let (mut reads, stored) = self.read_books(&books, &key)?;
        if let Some((known, ts)) = stored
            && known == token
        {
            return Ok((Committed { ts, ..Committed::default() }, true));
        }
        let mut puts = commit.puts(&books)?;
        puts.put(&key, token, None)?;
        puts.finish();
        let own = commit.reads().clone();
        if !own.is_empty() {
            reads.as_of = reads.as_of.min(own.as_of);
        }
        reads.keys.extend(own.keys);
        reads.ranges.extend(own.ranges);
        commit.depend_on(reads);
        Ok((self.commit(commit, durability)?, false))
    }

    /// Keeps in memory what is stored, when a database is opened.
    pub(super) fn keep_durable_holds(&self) -> Result<()> {
        for hold in self.durable_holds()? {
            if self.collection(hold.collection).is_ok() {
                let kept = self.keep(&hold)?;
                self.0.writer()?.named.lock().insert(hold.name.clone(), kept);
            }
        }
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
        self.hold(hold.collection, at, &format!("{} (durable: {})", hold.owner, hold.name))
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
        let mut puts = commit.puts(books)?;
        match val {
            Some(val) => puts.put(key, val, None)?,
            None => puts.delete(key, None)?,
        }
        puts.finish();
        commit.depend_on(reads);
        self.commit(commit, Durability::Fsync)
    }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > limits::NAME_LEN_MAX {
        let (len, max) = (text.len(), limits::NAME_LEN_MAX);
        return Err(Error::invalid(format!("{what} has 1 to {max} bytes, this one has {len}")));
    }
    Ok(())
}
