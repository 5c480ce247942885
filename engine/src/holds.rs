//! [`Holds`]: who keeps which history from being forgotten.
//!
//! A hold at `ts` keeps the since of its collection at or below `ts`. When somebody asks for more
//! (`compact_below`), the *effective* since is the least of what was asked for and all holds; what
//! was held back is remembered here and takes effect when the holds let go of it.
//!
//! ```text
//! compact_below(ts) -> leader: min(ts, holds) -> log, publish        (what takes effect, durable)
//!                        \-> remember(ts)                            (what was held back)
//! release, downgrade -> is_due -> wake -> Holds::due -> a commit with the rest
//! ```
//!
//! # Invariants
//! 1. While a hold exists, no since beyond it is published: a hold is made, and a since is limited
//!    by the holds, only under the lock of the commit leader. Letting go needs no such lock, as it
//!    only allows more.
//! 2. What takes effect later is logged and synced like any `compact_below` before compaction acts
//!    on it. Letting go of a hold does no I/O and waits for nobody who does.
//! 3. What was held back is remembered at least until its collection's since has reached it, or the
//!    database is closed: it is not on disk, so that a restart never forgets more than was
//!    effective.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{CollectionId, Frontier, SeqNo};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What is known of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldInfo {
    /// The collection.
    pub collection: CollectionId,
    /// Who holds, in words for people.
    pub owner: Arc<str>,
    /// The since of the collection stays at or below this.
    pub at: Frontier,
    /// The last commit when the hold was made.
    pub seqno: SeqNo,
}

/// What is done when something becomes due: must not block.
type Wake = Box<dyn Fn() + Send + Sync>;

/// The holds of a database, and what they hold back.
#[derive(Default)]
pub struct Holds {
    state: Mutex<State>,
    /// Whether a request may have become effective in the meantime.
    due: AtomicBool,
    wake: OnceLock<Wake>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    holds: BTreeMap<u64, HoldInfo>,
    /// The greatest since that was asked for where it was held back (I3).
    requested: BTreeMap<CollectionId, Frontier>,
}

impl State {
    /// The least of the holds on a collection; closed when there is none.
    fn least(&self, collection: CollectionId) -> Frontier {
        let on_it = self.holds.values().filter(|hold| hold.collection == collection);
        on_it.map(|hold| hold.at).min().unwrap_or(Frontier::CLOSED)
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Holds {
    /// Names what is called, from any thread, when something may be due. Once only.
    pub fn on_due(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second call would be a second database around the same holds; the first one stays.
        let _ = self.wake.set(Box::new(wake));
    }

    /// Makes a hold. The caller has the leader's lock (I1) and has seen that since is at or below
    /// `at`.
    #[must_use]
    pub fn hold(
        self: &Arc<Self>,
        collection: CollectionId,
        at: Frontier,
        owner: &str,
        seqno: SeqNo,
    ) -> ReadHold {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.holds.insert(id, HoldInfo { collection, owner: owner.into(), at, seqno });
        ReadHold { holds: Arc::clone(self), id }
    }

    /// What `since` would be limited to by the holds on a collection. Final only under the leader's
    /// lock (I1).
    #[must_use]
    pub fn limit(&self, collection: CollectionId, since: Frontier) -> Frontier {
        since.min(self.state.lock().least(collection))
    }

    /// Remembers that `since` was asked for and has not taken effect as a whole.
    pub fn remember(&self, collection: CollectionId, since: Frontier) {
        let requested = &mut self.state.lock().requested;
        let known = requested.entry(collection).or_insert(since);
        *known = since.max(*known);
        // The hold may have gone while the commit was logged.
        self.due.store(true, Ordering::Release);
    }

    /// The greatest since that was asked for and held back, if any.
    #[must_use]
    pub fn requested(&self, collection: CollectionId) -> Option<Frontier> {
        self.state.lock().requested.get(&collection).copied()
    }

    /// Whether [`due`](Self::due) may have something to say.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    /// What was held back and may take effect, as far as it may, where that is more than `since_of`
    /// says is in effect (`None`: the collection is gone). The caller has the leader's lock (I1),
    /// and calls [`retry`](Self::retry) when it could not make it take effect.
    pub fn due(
        &self,
        since_of: impl Fn(CollectionId) -> Option<Frontier>,
    ) -> Vec<(CollectionId, Frontier)> {
        let mut state = self.state.lock();
        self.due.store(false, Ordering::Release);
        let wanted: Vec<_> = state.requested.iter().map(|(id, since)| (*id, *since)).collect();
        let mut due = Vec::new();
        for (id, wanted) in wanted {
            let limited = wanted.min(state.least(id));
            let since = since_of(id);
            if since.is_none_or(|since| since >= wanted) {
                state.requested.remove(&id);
            } else if since.is_some_and(|since| since < limited) {
                due.push((id, limited));
            }
        }
        due
    }

    /// What [`due`](Self::due) said could not be done yet.
    pub fn retry(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// All holds, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<HoldInfo> {
        self.state.lock().holds.values().cloned().collect()
    }

    /// Changes the holds; calls for whoever makes held-back requests effective when there are any.
    fn loosen(&self, change: impl FnOnce(&mut State) -> Option<CollectionId>) {
        let mut state = self.state.lock();
        let touched = change(&mut state);
        if touched.is_some_and(|id| state.requested.contains_key(&id)) {
            self.due.store(true, Ordering::Release);
            drop(state);
            if let Some(wake) = self.wake.get() {
                wake();
            }
        }
    }
}

/// Keeps the since of a collection at or below a time; released when dropped.
pub struct ReadHold {
    holds: Arc<Holds>,
    id: u64,
}

impl ReadHold {
    /// Where it holds.
    #[must_use]
    pub fn at(&self) -> Frontier {
        self.info().map_or(Frontier::CLOSED, |info| info.at)
    }

    /// What is known of it.
    #[must_use]
    pub fn info(&self) -> Option<HoldInfo> {
        self.holds.state.lock().holds.get(&self.id).cloned()
    }

    /// Says who holds, in other words than before.
    pub fn set_owner(&mut self, owner: &str) {
        if let Some(hold) = self.holds.state.lock().holds.get_mut(&self.id) {
            hold.owner = owner.into();
        }
    }

    /// Lets go of the times below `at`; a lower one than before changes nothing. Never waits for
    /// I/O.
    pub fn downgrade(&mut self, at: Frontier) {
        self.holds.loosen(|state| {
            let hold = state.holds.get_mut(&self.id).filter(|hold| hold.at < at)?;
            hold.at = at;
            Some(hold.collection)
        });
    }
}

impl fmt::Debug for ReadHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHold").field("info", &self.info()).finish()
    }
}

impl Drop for ReadHold {
    fn drop(&mut self) {
        self.holds.loosen(|state| state.holds.remove(&self.id).map(|hold| hold.collection));
    }
}

#[cfg(all(test, datestone_loom))]
mod loom;

#[cfg(test)]
mod tests {
    //! Goal: the registry by itself. How it works with commits is shown by tests of the whole.

    use super::*;
    use std::sync::atomic::AtomicUsize;

    const C: CollectionId = CollectionId(1);
    const OTHER: CollectionId = CollectionId(2);

    #[test]
    fn the_least_hold_limits_and_what_it_held_back_becomes_due() {
        let holds = Arc::new(Holds::default());
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        holds.on_due(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let mut low = holds.hold(C, Frontier::at(3), "low", SeqNo(7));
        let high = holds.hold(C, Frontier::at(8), "high", SeqNo(9));
        assert_eq!(holds.limit(C, Frontier::at(2)), Frontier::at(2));
        assert_eq!(holds.limit(C, Frontier::at(5)), Frontier::at(3));
        assert_eq!(holds.limit(OTHER, Frontier::CLOSED), Frontier::CLOSED);

        holds.remember(C, Frontier::at(10));
        holds.remember(C, Frontier::at(6));
        assert_eq!(holds.requested(C), Some(Frontier::at(10)));
        let since = |at| move |_| Some(Frontier::at(at));
        assert_eq!(holds.due(since(3)), []);
        assert!(!holds.is_due());

        low.downgrade(Frontier::at(2)); // Lower: nothing.
        assert_eq!((low.at(), woken.load(Ordering::Relaxed)), (Frontier::at(3), 0));
        low.downgrade(Frontier::at(5));
        assert!(holds.is_due());
        assert_eq!(holds.due(since(3)), [(C, Frontier::at(5))]);
        drop(low);
        assert_eq!(holds.due(since(5)), [(C, Frontier::at(8))]);
        assert_eq!(holds.list().len(), 1);
        assert_eq!(holds.list()[0].owner.as_ref(), "high");
        drop(high);
        assert_eq!(woken.load(Ordering::Relaxed), 3);
        assert_eq!(holds.due(since(8)), [(C, Frontier::at(10))]);
        assert_eq!(holds.due(since(10)), []);
        assert_eq!(holds.requested(C), None);
    }

    #[test]
    fn a_collection_that_is_gone_has_nothing_due() {
        let holds = Arc::new(Holds::default());
        let hold = holds.hold(C, Frontier::at(3), "who", SeqNo(1));
        holds.remember(C, Frontier::at(10));
        assert_eq!(holds.due(|_| None), []);
        assert_eq!(holds.requested(C), None);
        drop(hold);
        assert!(!holds.is_due());
    }
}
