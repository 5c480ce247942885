//! [`Slot`]: what a memtable knows of one collection.

use super::arena::{Arena, EntryRef, Head, entry_len};
use super::deep::Deep;
use super::sorted::{SortedRun, Sorting};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::types::{CollectionId, TimeWindow, Timestamp, Update};

/// The rows of one collection in one memtable: a list from the newest entry to the oldest, figures
/// about it, and its sorted runs and histories as far as somebody has asked for them.
///
/// # Invariants
/// 1. The figures are stored before the entry is published: who sees an entry sees a count and
///    times that cover it.
#[derive(Debug)]
pub struct Slot {
    collection: CollectionId,
    number: u32,
    arena: Arc<Arena>,
    newest: Head,
    updates: AtomicU64,
    bytes: AtomicU64,
    /// Whether times have never descended.
    ordered: AtomicBool,
    min_ts: AtomicU64,
    max_ts: AtomicU64,
    /// Taken by scanners and the flush only, never by the writer.
    sorting: Mutex<Sorting>,
    deep: Deep,
}

impl Slot {
    pub(super) fn new(collection: CollectionId, number: u32, arena: Arc<Arena>) -> Self {
        Self {
            collection,
            number,
            newest: Head::new(&arena),
            arena,
            updates: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ordered: AtomicBool::new(true),
            min_ts: AtomicU64::new(Timestamp::MAX),
            max_ts: AtomicU64::new(0),
            sorting: Mutex::new(Sorting::default()),
            deep: Deep::new(),
        }
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// Count of the updates.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates.load(Ordering::Relaxed)
    }

    /// Bytes that the updates take in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether updates were inserted in the order of their times. Covers what the caller can see.
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered.load(Ordering::Relaxed)
    }

    /// The times of the updates; `None` while there is none. Covers at least what the caller can
    /// see.
    #[must_use]
    pub fn times(&self) -> Option<TimeWindow> {
        let window = TimeWindow {
            first: self.min_ts.load(Ordering::Relaxed),
            last: self.max_ts.load(Ordering::Relaxed),
        };
        (window.first <= window.last).then_some(window)
    }

    /// Sorted runs that together hold every update inserted so far (and perhaps some inserted
    /// meanwhile), each once. Sorts what no run covers yet, so the cost is paid by those who read
    /// in order, and once: about 30 ns a row when
    /// keys differ early.
    #[must_use]
    pub fn sorted_runs(&self) -> Vec<Arc<SortedRun>> {
        let mut sorting = self.sorting.lock();
        // The head is read under the lock: an older one would lie behind what is covered.
        sorting.cover(&self.arena, self.newest.load());
        sorting.runs().to_vec()
    }

    /// As [`Slot::sorted_runs`], in one run; `None` when there is nothing. For the flush.
    #[must_use]
    pub fn sort_all(&self) -> Option<Arc<SortedRun>> {
        let mut sorting = self.sorting.lock();
        sorting.cover(&self.arena, self.newest.load());
        sorting.fold()
    }

    /// The histories of keys.
    #[inline]
    pub(super) fn deep(&self) -> &Deep {
        &self.deep
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn belongs_to(&self, arena: &Arc<Arena>) -> bool {
        Arc::ptr_eq(&self.arena, arena)
    }

    pub(super) fn newest(&self) -> Option<EntryRef> {
        self.newest.load()
    }

    /// Adds the entry `at` with `update` in it to the list. The one writer only.
    #[inline]
    pub(super) fn publish(&self, at: EntryRef, update: &Update<'_>) {
        // Relaxed loads and stores: there is one writer, and readers get the figures with the
        // entry, over the release in `Head::publish` (I1).
        let add = |figure: &AtomicU64, by: usize| {
            figure.store(figure.load(Ordering::Relaxed) + by as u64, Ordering::Relaxed);
        };
        add(&self.updates, 1);
        add(&self.bytes, entry_len(update.key.len(), update.val.len()));
        if update.ts < self.max_ts.load(Ordering::Relaxed) {
            self.ordered.store(false, Ordering::Relaxed);
        }
        if update.ts < self.min_ts.load(Ordering::Relaxed) {
            self.min_ts.store(update.ts, Ordering::Relaxed);
        }
        if update.ts > self.max_ts.load(Ordering::Relaxed) {
            self.max_ts.store(update.ts, Ordering::Relaxed);
        }
        self.newest.publish(at);
    }
}
