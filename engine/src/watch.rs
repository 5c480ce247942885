//! [`Watch`]: how those who wait for a collection to change learn of it.
//!
//! Whoever waits leaves a waker and then looks whether what it waits for is there already; whoever
//! publishes a change wakes those who wait for that collection. A thread waits with a waker of its
//! own ([`Parker`]), a future with that of its task: there is one mechanism.
//!
//! # Invariants
//! 1. No wake-up is lost: a waker is registered before its owner looks at the catalog under its read
//!    lock, and the publisher looks for wakers after it has changed the catalog under its write
//!    lock. So either the owner sees the change, or the publisher sees the waker.
//! 2. A waker is woken at most once for each registration.
//! 3. With nobody waiting, publishing costs one load and no system call.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, wait, wait_for};
use crate::types::CollectionId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// Who waits for which collection.
#[derive(Debug, Default)]
pub struct Watch {
    waiters: Mutex<Waiters>,
    /// Count of the wakers, for I3.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    by_collection: HashMap<CollectionId, BTreeMap<u64, Waker>>,
}

impl Watch {
    /// Has `waker` woken at the next change of a collection, unless the registration is dropped
    /// before. The caller looks for what it waits for *after* this call.
    #[must_use]
    pub fn register(self: &Arc<Self>, collection: CollectionId, waker: Waker) -> Registration {
        let mut waiters = self.waiters.lock();
        let id = waiters.next;
        waiters.next += 1;
        waiters.by_collection.entry(collection).or_default().insert(id, waker);
        // SeqCst, with the load in `changed`; the locks of the catalog would do as well (I1).
        self.count.fetch_add(1, Ordering::SeqCst);
        Registration { watch: Arc::clone(self), collection, id }
    }

    /// Wakes those who wait for one of `collections`, whose changes are published.
    pub fn changed<'c>(&self, collections: impl IntoIterator<Item = &'c CollectionId>) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return; // I3
        }
        let mut woken = Vec::new();
        {
            let mut waiters = self.waiters.lock();
            for id in collections {
                woken.extend(waiters.by_collection.remove(id).unwrap_or_default().into_values());
            }
            self.count.fetch_sub(woken.len(), Ordering::SeqCst);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// The collections that somebody waits for.
    pub fn waited_for(&self) -> Vec<CollectionId> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        self.waiters.lock().by_collection.keys().copied().collect()
    }

    /// Wakes everybody: the database is closed.
    pub fn close(&self) {
        let all: Vec<CollectionId> = self.waiters.lock().by_collection.keys().copied().collect();
        self.changed(&all);
    }
}

/// A waker that waits to be woken; dropping it takes the waker back.
#[derive(Debug)]
pub struct Registration {
    watch: Arc<Watch>,
    collection: CollectionId,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut waiters = self.watch.waiters.lock();
        let Some(on_it) = waiters.by_collection.get_mut(&self.collection) else { return };
        let waker = on_it.remove(&self.id);
        if waker.is_some() {
            self.watch.count.fetch_sub(1, Ordering::SeqCst);
        }
        if on_it.is_empty() {
            waiters.by_collection.remove(&self.collection);
        }
        // A waker may be foreign code, also where it is dropped: not under the lock.
        drop(waiters);
        drop(waker);
    }
}

/// What a thread waits with.
#[derive(Debug, Default)]
pub struct Parker {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    /// Waits until it was woken since the last call, at most so long where that is said; whether it
    /// was woken.
    pub fn park(&self, at_most: Option<Duration>) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            match at_most {
                None => woken = wait(&self.condvar, woken),
                Some(at_most) => {
                    let (guard, timed_out) = wait_for(&self.condvar, woken, at_most);
                    woken = guard;
                    if timed_out {
                        break;
                    }
                }
            }
        }
        std::mem::take(&mut *woken)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.condvar.notify_all();
    }
}

#[cfg(all(test, datestone_loom))]
mod loom;

#[cfg(all(test, not(datestone_loom)))]
mod tests {
    use super::*;

    const C: CollectionId = CollectionId(1);
    const OTHER: CollectionId = CollectionId(2);
    const SOON: Option<Duration> = Some(Duration::from_millis(1));

    #[test]
    fn a_change_wakes_who_waits_for_it_once() {
        let watch = Arc::new(Watch::default());
        let parker = Arc::new(Parker::default());
        let waiting = watch.register(C, Arc::clone(&parker).into());
        watch.changed(&[OTHER]);
        assert!(!parker.park(SOON));
        watch.changed(&[C]);
        assert!(parker.park(None));
        watch.changed(&[C]);
        assert!(!parker.park(SOON), "woken twice for one registration");
        drop(waiting);
        assert_eq!(watch.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_registration_that_is_dropped_leaves_nothing() {
        let watch = Arc::new(Watch::default());
        let parker = Arc::new(Parker::default());
        let waiting = watch.register(C, Arc::clone(&parker).into());
        let other = watch.register(C, Arc::clone(&parker).into());
        drop(waiting);
        watch.close();
        assert!(parker.park(SOON));
        drop(other);
        let none = watch.waiters.lock().by_collection.is_empty();
        assert!(none && watch.count.load(Ordering::SeqCst) == 0);
    }
}
