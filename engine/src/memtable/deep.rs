//! Keys with deep histories: point reads that do not follow the whole chain.
//!
//! A chain has every version of its keys, so a key with 100,000 of them would cost that many steps,
//! and so would its neighbours in the bucket. A reader that has taken too many steps leaves a
//! [`History`] of its key with the slot. Later readers take what the history covers from there, and
//! follow the chain only through what is newer; when that has become long, one of them adds it to
//! the history. Like sorted runs, histories cost nothing until somebody reads, and the writer knows
//! nothing of them.
//!
//! Costs: one walk to make a history; then each row is added once (rows whose times lie in the past
//! move those behind them, so the more moved, the more steps are taken before the next time). A
//! history covers each row of its key once and of keys with few rows there are at most
//! [`SHALLOW_KEYS_MAX`], so a slot's take a fraction of what its rows do.
//!
//! # Invariants
//! 1. `DeepKey::history` has all rows of the key from `covered` back to the end of the chain, each
//!    once, and no others.
//! 2. The head of the bucket is loaded after the history was got hold of: so `covered` is in the list
//!    from the head on, as nothing is ever unlinked, and no row is met twice or missed.
//! 3. The lock is held by readers only, and not while a first history is made. It is the last one
//!    that a thread takes.

use super::arena::{Entry, EntryRef, Link};
use super::chain::Place;
use super::history::{History, HistoryRow};
use super::{Memtable, Slot};
use crate::found::{Found, ValRef, Version};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::TimeWindow;
use std::collections::BTreeMap;

/// Entries of a chain that are looked at before the key gets a history.
pub(super) const CHAIN_STEPS_MAX: usize = if cfg!(datestone_loom) { 1 } else { 64 };
/// Entries of a chain that may be newer than what a history covers.
const TAIL_STEPS_MAX: usize = if cfg!(datestone_loom) { 1 } else { 32 };
/// For so many rows moved by the latest addition to a history, one step more before the next.
const MOVED_PER_TAIL_STEP: usize = 64;
/// Most histories, in a slot, of fewer rows than `CHAIN_STEPS_MAX`: of neighbours of a deep key.
const SHALLOW_KEYS_MAX: usize = 1024;

/// What a reader wants of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The version of a table's key.
    Version,
    /// What the updates of a multiset's key add up to.
    Sums,
}

/// The histories of a slot; see the module's documentation.
#[derive(Debug)]
pub(super) struct Deep {
    /// Bits of the hashes of the keys, to spare others the lock.
    filter: AtomicU64,
    bytes: AtomicU64,
    keys: RwLock<DeepKeys>,
}

#[derive(Debug, Default)]
struct DeepKeys {
    /// By hash. Of two keys with one hash, the second has none.
    by_hash: BTreeMap<u64, Box<DeepKey>>,
    shallow: usize,
}

#[derive(Debug)]
struct DeepKey {
    key: Box<[u8]>,
    covered: EntryRef,
    history: History,
}

impl Deep {
    pub(super) fn new() -> Self {
        Self {
            filter: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            keys: RwLock::new(DeepKeys::default()),
        }
    }

    /// Whether the key with this hash may have a history.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        // Relaxed: a hint. The history itself is got under the lock.
        self.filter.load(Ordering::Relaxed) & bit(hash) != 0
    }

    /// Bytes of memory that the histories take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether a key that has at least `rows` rows may get a history.
    fn admits(&self, rows: usize) -> bool {
        rows >= CHAIN_STEPS_MAX || self.keys.read().shallow < SHALLOW_KEYS_MAX
    }

    fn add(&self, hash: u64, key: DeepKey) {
        let mut keys = self.keys.write();
        let shallow = key.history.count() < CHAIN_STEPS_MAX;
        // Somebody else may have been faster.
        if keys.by_hash.contains_key(&hash) || (shallow && keys.shallow >= SHALLOW_KEYS_MAX) {
            return;
        }
        keys.shallow += usize::from(shallow);
        self.bytes.fetch_add(key.bytes(), Ordering::Relaxed);
        keys.by_hash.insert(hash, Box::new(key));
        self.filter.fetch_or(bit(hash), Ordering::Relaxed);
    }
}

impl DeepKeys {
    fn get(&self, hash: u64, key: &[u8]) -> Option<&DeepKey> {
        self.by_hash.get(&hash).map(|known| &**known).filter(|known| *known.key == *key)
    }

    fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut DeepKey> {
        self.by_hash.get_mut(&hash).map(|known| &mut **known).filter(|known| *known.key == *key)
    }
}

impl DeepKey {
    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.key.len()) as u64 + self.history.bytes()
    }

    fn serves(&self, want: Want) -> bool {
        want == Want::Version || self.history.has_states()
    }

    fn tail_steps_max(&self) -> usize {
        TAIL_STEPS_MAX.max(self.history.moved() / MOVED_PER_TAIL_STEP)
    }
}

/// A key where it is looked up.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) slot: &'a Slot,
    pub(super) key: &'a [u8],
    pub(super) hash: u64,
    pub(super) place: Place,
}

impl Memtable {
    /// As [`Memtable::get`], with the history of the key; `false`, and nothing, when it has none.
    pub(super) fn get_deep<'s>(
        &'s self,
        sought: Sought<'_>,
        window: TimeWindow,
        found: &mut Found<'s>,
    ) -> bool {
        let read = |known: &DeepKey, head| {
            for (_, entry) in self.newer(sought, head, Some(known.covered)) {
                if window.contains(entry.ts()) {
                    found.push(ValRef::Borrowed(entry.val), entry.diff().into());
                }
            }
            known.history.gather(&self.arena, window, found);
        };
        self.read_deep(sought, Want::Sums, read).is_some()
    }

    /// As [`Memtable::version`], with the history of the key; `false`, and nothing, when it has none.
    pub(super) fn version_deep<'s>(
        &'s self,
        sought: Sought<'_>,
        window: TimeWindow,
        mut visit: impl FnMut(Version<'s>),
    ) -> bool {
        let read = |known: &DeepKey, head: Link| {
            // Handed on in the registers that it comes in: a `Version` of one's own costs as much
            // as the search.
            let mut best = known.history.version(&self.arena, window);
            if head.newest != Some(known.covered) {
                for (_, entry) in self.newer(sought, head, Some(known.covered)) {
                    let counts = window.contains(entry.ts());
                    if counts && best.as_ref().is_none_or(|best| entry.val < best.val) {
                        best = Some(entry);
                    }
                }
            }
            if let Some(entry) = best {
                visit(Version { stored: ValRef::Borrowed(entry.val), diff: entry.diff() });
            }
        };
        self.read_deep(sought, Want::Version, read).is_some()
    }

    /// Makes a history of a key with at least `rows` rows, if there is room.
    #[cold]
    pub(super) fn make_history(&self, sought: Sought<'_>, rows: usize, want: Want) {
        let deep = sought.slot.deep();
        if !deep.admits(rows) {
            return;
        }
        let head = self.buckets.head(sought.place);
        let Some(covered) = head.newest else { return };
        let mut known = DeepKey { key: sought.key.into(), covered, history: History::default() };
        self.take_in(sought, &mut known, head, None, want);
        deep.add(sought.hash, known);
    }

    /// Gives `read` the history of a key and the head from which on it covers all but few entries.
    fn read_deep<R>(
        &self,
        sought: Sought<'_>,
        want: Want,
        read: impl FnOnce(&DeepKey, Link) -> R,
    ) -> Option<R> {
        let deep = sought.slot.deep();
        {
            let keys = deep.keys.read();
            let known = keys.get(sought.hash, sought.key)?;
            let head = self.buckets.head(sought.place); // I2
            if known.serves(want) && self.is_near(sought.place, head, known) {
                return Some(read(known, head));
            }
        }
        let mut keys = deep.keys.write();
        let known = keys.get_mut(sought.hash, sought.key)?;
        let head = self.buckets.head(sought.place); // I2
        let before = known.bytes();
        self.take_in(sought, known, head, Some(known.covered), want);
        deep.bytes.fetch_add(known.bytes() - before, Ordering::Relaxed);
        Some(read(known, head))
    }

    /// Adds to a history what the chain has from `head` back to, not including, `until`.
    fn take_in(
        &self,
        sought: Sought<'_>,
        known: &mut DeepKey,
        head: Link,
        until: Option<EntryRef>,
        want: Want,
    ) {
        let newer = self.newer(sought, head, until);
        let mut rows: Vec<_> = newer.map(|(at, entry)| HistoryRow::new(at, &entry)).collect();
        rows.reverse();
        known.history.add(&self.arena, &rows);
        known.covered = head.newest.unwrap_or(known.covered);
        if want == Want::Sums {
            known.history.keep_states(&self.arena);
        }
    }

    /// Whether few entries of the chain are newer than what a history covers.
    fn is_near(&self, place: Place, head: Link, known: &DeepKey) -> bool {
        if head.newest == Some(known.covered) {
            return true;
        }
        let mut link = head;
        for _ in 0..=known.tail_steps_max() {
            match place.follow(link) {
                Some(at) if at != known.covered => link = self.arena.entry(at).next_in_bucket(),
                _ => return true,
            }
        }
        false
    }

    /// The entries of a key from `head` back to, not including, `until`.
    fn newer<'s>(
        &'s self,
        sought: Sought<'_>,
        head: Link,
        until: Option<EntryRef>,
    ) -> impl Iterator<Item = (EntryRef, Entry<'s>)> {
        let mut link = head;
        let entries = std::iter::from_fn(move || {
            let at = sought.place.follow(link).filter(|at| Some(*at) != until)?;
            let entry = self.arena.entry(at);
            link = entry.next_in_bucket();
            Some((at, entry))
        });
        entries.filter(move |(_, entry)| {
            entry.key == sought.key && entry.slot() == sought.slot.number()
        })
    }
}

/// The bit of a hash in the filter: of its middle bits, as others choose buckets and their filters.
fn bit(hash: u64) -> u64 {
    1 << (hash >> 40 & 63)
}

#[cfg(test)]
mod tests;
