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
use crate::types::Timestamp;

/// An ordered source of entries; see the module's contract.
pub trait Cursor {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;

    /// Key of the entry.
    fn key(&self) -> &[u8];

    /// Value of the entry.
    fn val(&self) -> &[u8];

    /// Appends the entry's updates in the window to `out`, in ascending order of time.
    fn updates(&self, out: &mut Vec<(Timestamp, i64)>);

    /// The sum of the diffs of the entry's updates in the window.
    fn sum(&self) -> i128;

    /// Whether the next or previous entry of this cursor may be equal to this one, because a long
    /// list of updates was split.
    fn may_repeat(&self) -> bool;

    /// To the next entry, in ascending order; invalid after the last one.
    fn next(&mut self) -> Result<()>;

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

/// Takes entries in ascending order of `(key, val)`; what a flush and a merge write to.
pub trait EntrySink {
    /// Takes one entry: `updates` is not empty and ascends in time (equal times are allowed only
    /// where a sum would overflow 64 bits). Equal neighbours are legal, see the module's contract.
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()>;
}
