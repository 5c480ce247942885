//! [`GroupCommit`]: many threads commit, one of them does the work for all that came meanwhile.
//!
//! A thread that submits puts its item into the group that is being gathered. If nobody leads, it
//! becomes the leader: it takes the oldest group, does the work for it, hands out the results and
//! leaves. There is no timer: while one group is being written and synced, the next one gathers.
//!
//! # Invariants
//! 1. At most one thread leads at a time.
//! 2. Groups are led in the order in which they were begun, and items keep the order in which they
//!    were submitted.
//! 3. Every thread that submitted gets the result of its own item, or learns that the leader
//!    panicked; nobody waits for a group that nobody leads.
//!
//! ```text
//! submit -> gather -> [nobody leads] -> lead the oldest group -> hand out results, wake its members
//!                 \-> wait <------------------------------------ wake one of the next group
//! ```

use crate::sync::{Arc, Condvar, Mutex, MutexGuard, wait, yield_now};
use std::collections::VecDeque;
use std::fmt;

/// How often a leader lets others come before it seals its group, at most.
const YIELDS_MAX: u32 = 4;

/// How large a group may become.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Most items.
    pub items_max: usize,
    /// Most weight of the items together; a single item may exceed it.
    pub weight_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { items_max: 1024, weight_max: 8 << 20 }
    }
}

/// The thread that did the work for this item panicked; whether it was done is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderPanicked;

impl fmt::Display for LeaderPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread that committed for the group panicked")
    }
}

impl std::error::Error for LeaderPanicked {}

/// Gathers items of many threads into groups that one of them works off.
#[derive(Debug)]
pub struct GroupCommit<T, R> {
    /// Protects everything; never held while work is done.
    state: Mutex<State<T, R>>,
    limits: GroupLimits,
}

#[derive(Debug)]
struct State<T, R> {
    /// The groups that are not yet led, oldest first; only the last one takes items.
    gathering: VecDeque<Gathering<T, R>>,
    is_led: bool,
    /// Count of items in the group led last, and of those that came while it was led: what the
    /// next leader may expect to come.
    expected: usize,
}

#[derive(Debug)]
struct Gathering<T, R> {
    items: Vec<T>,
    weight: usize,
    group: Arc<Group<R>>,
}

/// What the members of a group wait for.
#[derive(Debug)]
struct Group<R> {
    /// Goes with the lock of the state.
    wake: Condvar,
    outcome: Mutex<Outcome<R>>,
}

#[derive(Debug)]
enum Outcome<R> {
    Pending,
    /// A result for each item until its thread has taken it; fewer when the leader failed.
    Done(Vec<Option<R>>),
}

impl<R> Group<R> {
    fn new() -> Arc<Self> {
        Arc::new(Self { wake: Condvar::new(), outcome: Mutex::new(Outcome::Pending) })
    }

    /// The result of the item at `index`, once there is an outcome.
    fn take(&self, index: usize) -> Option<Result<R, LeaderPanicked>> {
        match &mut *self.outcome.lock() {
            Outcome::Pending => None,
            Outcome::Done(results) => {
                Some(results.get_mut(index).and_then(Option::take).ok_or(LeaderPanicked))
            }
        }
    }
}

impl<T, R> GroupCommit<T, R> {
    /// Without items.
    #[must_use]
    pub fn new(limits: GroupLimits) -> Self {
        let state = State { gathering: VecDeque::new(), is_led: false, expected: 0 };
        Self { state: Mutex::new(state), limits }
    }

    /// Has `item` worked off, by this thread or another, and returns its result. Whoever leads
    /// calls its own `lead` with all items of the group, which must return one result for each, in
    /// their order. `weight` counts against the limit of a group.
    ///
    /// # Errors
    /// [`LeaderPanicked`] when the leader panicked or returned too few results.
    ///
    /// # Panics
    /// When this thread leads and `lead` panics.
    pub fn submit(
        &self,
        item: T,
        weight: usize,
        lead: impl FnOnce(Vec<T>) -> Vec<R>,
    ) -> Result<R, LeaderPanicked> {
        let mut state = self.state.lock();
        let (group, index) = state.gather(item, weight, self.limits);
        let mut has_waited = false;
        loop {
            if let Some(result) = group.take(index) {
                return result;
            }
            let is_oldest =
                state.gathering.front().is_some_and(|oldest| Arc::ptr_eq(&oldest.group, &group));
            if is_oldest && !state.is_led {
                state.is_led = true; // I1
                self.lead(state, has_waited, lead);
                return group.take(index).unwrap_or(Err(LeaderPanicked));
            }
            has_waited = true;
            state = wait(&group.wake, state);
        }
    }

    /// Works the oldest group off.
    fn lead(
        &self,
        state: MutexGuard<'_, State<T, R>>,
        has_waited: bool,
        lead: impl FnOnce(Vec<T>) -> Vec<R>,
    ) {
        let mut state = self.let_others_come(state, has_waited);
        let Some(sealed) = state.gathering.pop_front() else {
            state.is_led = false;
            return;
        };
        state.expected = sealed.items.len();
        drop(state);
        // From here on a panic must not leave the members waiting (I3).
        let mut finish = Finish { commit: self, group: sealed.group, results: Vec::new() };
        finish.results = lead(sealed.items);
    }

    /// Gives the processor away while that makes the group grow. The threads of the last group have
    /// just got their results and are about to come again, but this one was faster. A thread that
    /// commits alone never gets here, so its latency does not suffer.
    fn let_others_come<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T, R>>,
        has_waited: bool,
    ) -> MutexGuard<'a, State<T, R>> {
        let mut gathered = state.gathered();
        if !has_waited && gathered <= 1 && state.expected <= 1 {
            return state;
        }
        for _ in 0..YIELDS_MAX {
            drop(state);
            yield_now();
            state = self.state.lock();
            let now = state.gathered();
            if now == gathered || state.gathering.len() > 1 {
                break;
            }
            gathered = now;
        }
        state
    }
}

impl<T, R> State<T, R> {
    /// Puts `item` into the group that gathers, or begins one.
    fn gather(&mut self, item: T, weight: usize, limits: GroupLimits) -> (Arc<Group<R>>, usize) {
        let open = self.gathering.back_mut().filter(|open| {
            open.items.len() < limits.items_max
                && open.weight.saturating_add(weight) <= limits.weight_max
        });
        if let Some(open) = open {
            open.items.push(item);
            open.weight += weight;
            return (Arc::clone(&open.group), open.items.len() - 1);
        }
        let group = Group::new();
        let mut items = Vec::with_capacity(self.expected);
        items.push(item);
        self.gathering.push_back(Gathering { items, weight, group: Arc::clone(&group) });
        (group, 0)
    }

    /// Count of items of the oldest group.
    fn gathered(&self) -> usize {
        self.gathering.front().map_or(0, |oldest| oldest.items.len())
    }
}

/// Hands out the results when dropped, also when the leader panics: then there are none.
struct Finish<'a, T, R> {
    commit: &'a GroupCommit<T, R>,
    group: Arc<Group<R>>,
    results: Vec<R>,
}

impl<T, R> Drop for Finish<'_, T, R> {
    fn drop(&mut self) {
        let results = std::mem::take(&mut self.results);
        *self.group.outcome.lock() = Outcome::Done(results.into_iter().map(Some).collect());
        let mut state = self.commit.state.lock();
        state.is_led = false;
        let next = state.gathering.front().map(|next| Arc::clone(&next.group));
        // Under the lock: a member that has seen no outcome is waiting by now.
        self.group.wake.notify_all();
        if let Some(next) = next {
            next.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
