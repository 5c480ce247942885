//! The [`Cursor`] contract: how every ordered source of updates is read.
//!
//! A cursor stands on an *entry*: one `(key, val)` with its updates in ascending order of time. It
//! sees only the updates in the time window that it was made with. Entries are ordered by
//! `(key, val)` bytes; **neighbouring entries may be equal** (a long list of updates goes on in the
//! next entry), so whoever needs sums over a whole `(key, val)` adds up equal neighbours, as it
//! does for equal entries of several sources. An entry may have no update in the window.
//!
//! # Invariants
//! 1. `key`, `val`, `updates` and `sum` are called only while `valid` is true (checked by debug
//!    assertions; otherwise they return empty data).
//! 2. After an error the cursor is invalid and every later move returns the same error.
//! 3. A move from an invalid cursor, other than a seek, does nothing.

use crate::error::Result;
use crate::prefetch::prefetch_ahead;
use crate::types::Timestamp;
use bytes::Bytes;

/// An ordered source of entries; see the module's contract.
pub trait Cursor {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;

    /// Key of the entry.
    fn key(&self) -> &[u8];

    /// Value of the entry.
    fn val(&self) -> &[u8];

    /// Key and value of the entry.
    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        (self.key(), self.val())
    }

    /// Appends the entry's updates in the window to `out`, in ascending order of time.
    fn updates(&self, out: &mut Vec<(Timestamp, i64)>);

    /// The sum of the diffs of the entry's updates in the window.
    fn sum(&self) -> i128;

    /// Whether the next or previous entry of this cursor may be equal to this one, because a long
    /// list of updates was split.
    fn may_repeat(&self) -> bool;

    /// Where rows can be read from one block without asking the cursor for each: those from the
    /// current one on whose keys are before `end`, each a single update of diff one in the window.
    /// The cursor goes to the last of them. `None` where there are not at least two.
    #[inline]
    fn take_plain(&mut self, end: Option<&[u8]>) -> Option<PlainRows> {
        let _ = end;
        None
    }

    /// To the next entry, in ascending order; invalid after the last one.
    fn next(&mut self) -> Result<()>;

    /// As [`next`](Self::next), but passes over entries of the same key where that costs nothing.
    #[inline]
    fn leave_key(&mut self) -> Result<()> {
        self.next()
    }

    /// As [`next`](Self::next), but passes over entries of the same key that have no update in the
    /// window, where that is cheaper than to come to each of them.
    #[inline]
    fn next_in_window(&mut self) -> Result<()> {
        self.next()
    }

    /// To the previous entry; invalid before the first one.
    fn prev(&mut self) -> Result<()>;

    /// To the first entry.
    fn seek_first(&mut self) -> Result<()>;

    /// To the last entry.
    fn seek_last(&mut self) -> Result<()>;

    /// To the first entry whose key is at or after `key`.
    fn seek(&mut self, key: &[u8]) -> Result<()>;

    /// To the last entry whose key is strictly before `key`.
    fn seek_before(&mut self, key: &[u8]) -> Result<()>;
}

/// Rows of a block that lie at equal distances: what is left of them. Each counts once.
#[derive(Clone, Debug, Default)]
pub struct PlainRows {
    /// The block.
    pub bytes: Bytes,
    /// Where the next key starts.
    pub key_at: usize,
    /// Length of each key.
    pub key_len: usize,
    /// Where the next value starts.
    pub val_at: usize,
    /// Length of each value.
    pub val_len: usize,
    /// Count of the rows.
    pub left: u32,
}

impl PlainRows {
    /// Key and value of the next row.
    #[inline(always)]
    pub fn next_row(&mut self) -> Option<(&[u8], &[u8])> {
        self.left = self.left.checked_sub(1)?;
        let (key, val) = (self.key_at, self.val_at);
        (self.key_at, self.val_at) = (key + self.key_len, val + self.val_len);
        prefetch_ahead(&self.bytes, val);
        let slice = |from, to| self.bytes.get(from..to).unwrap_or_default();
        Some((slice(key, self.key_at), slice(val, self.val_at)))
    }
}

/// Takes entries in ascending order of `(key, val)`; what a flush and a merge write to.
pub trait EntrySink {
    /// Takes one entry: `updates` is not empty and ascends in time (equal times are allowed only
    /// where a sum would overflow 64 bits). Equal neighbours are legal, see the module's contract.
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()>;
}

impl<S: EntrySink> EntrySink for &mut S {
    #[inline]
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        (**self).push(key, val, updates)
    }
}
