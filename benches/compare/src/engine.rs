//! What a work asks of an engine. One adapter implements it for each in `engines`.

use crate::Result;
use crate::data::{Key, Seen, Val};

/// A change of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op<'a> {
    /// The key.
    pub(crate) key: &'a [u8],
    /// Its new value; none to delete it.
    pub(crate) val: Option<&'a [u8]>,
}

impl<'a> Op<'a> {
    /// Gives a key a value.
    pub(crate) const fn put(key: &'a [u8], val: &'a [u8]) -> Self {
        Self { key, val: Some(val) }
    }

    /// Deletes a key.
    pub(crate) const fn delete(key: &'a [u8]) -> Self {
        Self { key, val: None }
    }
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut: it is on the device when the commit returns.
    Synced,
    /// What the engine gives without waiting for the device.
    Deferred,
}

/// An open database with one ordered map of bytes.
pub(crate) trait Engine: Send + Sync {
    /// Makes `ops` one commit.
    fn write(&self, ops: &[Op<'_>], durability: Durability) -> Result<()>;

    /// Reads the newest value of one key, with whatever it takes to begin and end a read; whether it
    /// is there.
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool>;

    /// Runs `job` with a reader of the contents as they are now.
    fn read(&self, job: &mut dyn FnMut(&dyn Reader) -> Result<()>) -> Result<()>;

    /// Loads rows in order of their keys into the empty database, the fastest way that the engine
    /// offers; they are on the device when it returns.
    fn load_sorted(&self, rows: &mut dyn Iterator<Item = (Key, Val)>) -> Result<()>;

    /// What `load_sorted` does, in a few words.
    fn bulk_path(&self) -> &'static str;

    /// Makes all commits so far durable.
    fn sync(&self) -> Result<()>;

    /// Writes what is in memory or in a log to the place where it stays; no compaction of what is
    /// there already.
    fn flush(&self) -> Result<()>;

    /// Drops what reads as of `since` or later do not need, of versions as `timed` stores them, in a
    /// compaction; whether the engine can do that.
    fn forget_versions(&mut self, _since: u64) -> Result<bool> {
        Ok(false)
    }

    /// Gives back the space of what was deleted, the way that the engine's documentation says.
    fn reclaim(&mut self) -> Result<()>;
}

/// The contents of a database at one moment.
pub(crate) trait Reader {
    /// Reads the value of a key; whether it is there.
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool>;

    /// Reads the values of many keys, with the engine's own call where it has one.
    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<()> {
        for key in keys {
            self.get(key, seen)?;
        }
        Ok(())
    }

    /// Reads at most `limit` rows from `from` on, before `to` when it is given.
    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: u64, seen: &mut Seen) -> Result<()>;

    /// Reads at most `limit` rows from the last one on backwards.
    fn scan_reverse(&self, limit: u64, seen: &mut Seen) -> Result<()>;

    /// Gives each row from `from` on to `visit` until it returns false.
    fn rows(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;
}
