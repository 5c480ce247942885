//! [`SortedRun`]: rows of a memtable in order, for those who read in order.
//!
//! The memtable itself keeps no order; that makes inserting cheap. The first ordered read sorts
//! what is there, later ones only what came since, and runs of similar size are merged, so a slot
//! has a number of runs logarithmic in its rows. A run is an index: for each row 8 bytes of its key
//! and where the row lies in the arena.
//!
//! # Invariants
//! 1. The entries of a run ascend in (key, val, ts).
//! 2. All keys of a run agree in their first `prefix_len` bytes; `head` is the 8 bytes after them,
//!    big-endian, padded with zeros. So different heads decide the order of two keys, equal ones
//!    do not.
//! 3. The runs of a slot cover each row from the oldest up to `Sorting::covered` exactly once.

use super::arena::{Arena, Entry, EntryRef};
use crate::sync::Arc;
use crate::types::{TimeWindow, Timestamp};
use std::borrow::Cow;
use std::cmp::Ordering;

/// A row in a run.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    head: u64,
    at: EntryRef,
}

const _: () = assert!(size_of::<IndexEntry>() == 16);

/// Rows of one collection in order; see the module's documentation. Keeps what it needs of the
/// memtable alive.
#[derive(Debug)]
pub struct SortedRun {
    arena: Arc<Arena>,
    prefix_len: usize,
    entries: Vec<IndexEntry>,
    times: TimeWindow,
}

impl SortedRun {
    /// Sorts the rows from `newest` back to, not including, `until`; `None` when there is none.
    fn build(
        arena: &Arc<Arena>,
        newest: Option<EntryRef>,
        until: Option<EntryRef>,
    ) -> Option<Self> {
        let first_key = arena.entry(newest.filter(|_| newest != until)?).key;
        let mut run = Self {
            arena: Arc::clone(arena),
            prefix_len: first_key.len(),
            entries: Vec::new(),
            times: TimeWindow { first: Timestamp::MAX, last: 0 },
        };
        let mut next = newest;
        while let Some(at) = next
            && next != until
        {
            let entry = arena.entry(at);
            run.prefix_len = common_prefix_len(first_key, entry.key, run.prefix_len);
            run.times.first = run.times.first.min(entry.ts());
            run.times.last = run.times.last.max(entry.ts());
            run.entries.push(IndexEntry { head: head_of(entry.key, 0), at });
            next = entry.prev_in_collection();
        }
        // Oldest first: rows that came in order are then found in order.
        run.entries.reverse();
        if run.prefix_len > 0 {
            set_heads(arena, &mut run.entries, run.prefix_len);
        }
        run.sort();
        Some(run)
    }

    /// One run with the rows of both.
    fn merge(a: &Self, b: &Self) -> Self {
        let first_keys = a.get(0).zip(b.get(0));
        let prefix_len = first_keys
            .map_or(0, |(x, y)| common_prefix_len(x.key, y.key, a.prefix_len.min(b.prefix_len)));
        let mut merged = Self {
            arena: Arc::clone(&a.arena),
            prefix_len,
            entries: Vec::with_capacity(a.entries.len() + b.entries.len()),
            times: TimeWindow {
                first: a.times.first.min(b.times.first),
                last: a.times.last.max(b.times.last),
            },
        };
        let (a, b) = (a.entries_with_prefix(prefix_len), b.entries_with_prefix(prefix_len));
        let (mut a, mut b) = (&*a, &*b);
        while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
            if merged.compare(x, y).is_le() {
                merged.entries.push(*x);
                a = rest_a;
            } else {
                merged.entries.push(*y);
                b = rest_b;
            }
        }
        merged.entries.extend_from_slice(a);
        merged.entries.extend_from_slice(b);
        merged
    }

    /// Count of the rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The key of the row at `index`.
    #[must_use]
    pub fn key_at(&self, index: usize) -> Option<&[u8]> {
        self.get(index).map(|row| row.key)
    }

    /// The times of the rows.
    #[must_use]
    pub fn times(&self) -> TimeWindow {
        self.times
    }

    /// Bytes of memory that the index takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.entries.capacity() * size_of::<IndexEntry>()) as u64
    }

    /// The row at `index`.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Entry<'_>> {
        self.entries.get(index).map(|entry| self.arena.entry(entry.at))
    }

    /// Announces that the row at `index` will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, index: usize) {
        if let Some(entry) = self.entries.get(index) {
            self.arena.prefetch(entry.at);
        }
    }

    /// Whether the rows at two places have equal key and val.
    #[inline]
    pub(super) fn is_same_row(&self, a: usize, b: usize) -> bool {
        let (Some(x), Some(y)) = (self.entries.get(a), self.entries.get(b)) else { return false };
        x.head == y.head && {
            let (x, y) = (self.arena.entry(x.at), self.arena.entry(y.at));
            x.key == y.key && x.val == y.val
        }
    }

    /// Count of the rows with keys before `key`.
    pub(super) fn count_before(&self, key: &[u8]) -> usize {
        let Some(first) = self.get(0) else { return 0 };
        let prefix = &first.key[..self.prefix_len];
        match key.get(..self.prefix_len).unwrap_or(key).cmp(prefix) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.entries.len(),
            Ordering::Equal => {}
        }
        // A different head decides (I2).
        let head = head_of(key, self.prefix_len);
        let from = self.entries.partition_point(|entry| entry.head < head);
        let tied = self.entries[from..].partition_point(|entry| entry.head == head);
        let tied = &self.entries[from..from + tied];
        from + tied.partition_point(|entry| self.arena.entry(entry.at).key < key)
    }

    /// The index with heads after a shorter prefix.
    fn entries_with_prefix(&self, prefix_len: usize) -> Cow<'_, [IndexEntry]> {
        if prefix_len == self.prefix_len {
            return Cow::Borrowed(&self.entries);
        }
        let mut entries = self.entries.clone();
        set_heads(&self.arena, &mut entries, prefix_len);
        Cow::Owned(entries)
    }

    /// Orders two rows (I1), heads first.
    #[inline]
    fn compare(&self, a: &IndexEntry, b: &IndexEntry) -> Ordering {
        a.head.cmp(&b.head).then_with(|| {
            let (x, y) = (self.arena.entry(a.at), self.arena.entry(b.at));
            (x.key, x.val, x.ts()).cmp(&(y.key, y.val, y.ts()))
        })
    }

    /// Puts the index into order: by heads alone, which needs no look at the rows, then what is
    /// tied by the rows, the next 8 bytes of their keys first.
    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.head);
        let mut rows = Vec::new();
        for tied in self.entries.chunk_by_mut(|a, b| a.head == b.head) {
            if tied.len() == 1 {
                continue;
            }
            rows.clear();
            rows.extend(tied.iter().map(|tied| {
                let row = self.arena.entry(tied.at);
                let head = head_of(row.key, self.prefix_len + size_of::<u64>());
                (head, row.key, row.val, row.ts(), tied.at)
            }));
            rows.sort_unstable_by_key(|&(head, key, val, ts, _)| (head, key, val, ts));
            for (tied, row) in tied.iter_mut().zip(&rows) {
                tied.at = row.4;
            }
        }
    }
}

/// The sorted runs of a slot.
#[derive(Debug, Default)]
pub(super) struct Sorting {
    /// The newest row in a run (I3).
    covered: Option<EntryRef>,
    /// Oldest rows first, each more than twice as long as the next.
    runs: Vec<Arc<SortedRun>>,
}

impl Sorting {
    /// Takes in all rows from `newest` back to those that the runs cover.
    pub(super) fn cover(&mut self, arena: &Arc<Arena>, newest: Option<EntryRef>) {
        let Some(run) = SortedRun::build(arena, newest, self.covered) else { return };
        self.covered = newest;
        self.runs.push(Arc::new(run));
        while let [.., a, b] = self.runs.as_slice()
            && a.count() <= 2 * b.count()
        {
            self.merge_last_two();
        }
    }

    /// Merges the runs into one and returns it.
    pub(super) fn fold(&mut self) -> Option<Arc<SortedRun>> {
        while self.runs.len() > 1 {
            self.merge_last_two();
        }
        self.runs.first().cloned()
    }

    pub(super) fn runs(&self) -> &[Arc<SortedRun>] {
        &self.runs
    }

    fn merge_last_two(&mut self) {
        if let (Some(b), Some(a)) = (self.runs.pop(), self.runs.pop()) {
            self.runs.push(Arc::new(SortedRun::merge(&a, &b)));
        }
    }
}

/// Stores the heads of entries whose keys agree in the first `prefix_len` bytes.
fn set_heads(arena: &Arena, entries: &mut [IndexEntry], prefix_len: usize) {
    for entry in entries {
        entry.head = head_of(arena.entry(entry.at).key, prefix_len);
    }
}

/// The 8 bytes after the prefix, see I2.
#[inline]
fn head_of(key: &[u8], prefix_len: usize) -> u64 {
    let rest = key.get(prefix_len..).unwrap_or_default();
    if let Some(head) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(head)
}

/// How many bytes two keys have in common from the start, at most `len_max`.
#[inline]
fn common_prefix_len(a: &[u8], b: &[u8], len_max: usize) -> usize {
    a.iter().zip(b).take(len_max).take_while(|(x, y)| x == y).count()
}
