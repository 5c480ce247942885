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
//! 4. When nobody leads, no group gathers: who has led passes the lead on while there is one.
//!
//! ```text
//! submit -> gather -> [nobody leads] -> lead the oldest group -> hand out results, wake its members
//!                 \-> wait <------------------------------------ pass the lead on to one of the next
//! ```

use crate::sync::{Arc, Mutex, MutexGuard, Signal, Wake, yield_now};
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
    /// [`PENDING`], [`TURN`] or [`DONE`].
    stage: Signal,
    /// A result for each item until its thread has taken it; fewer when the leader failed.
    results: Mutex<Vec<Option<R>>>,
}

/// The group has no outcome, and is led by a member, or not yet.
const PENDING: u32 = 0;
/// The member that first takes this away leads the group.
const TURN: u32 = 1;
/// The results are there.
const DONE: u32 = 2;

impl<R> Group<R> {
    fn new() -> Arc<Self> {
        Arc::new(Self { stage: Signal::new(PENDING), results: Mutex::new(Vec::new()) })
    }

    /// The result of the item at `index`, of a group that is done.
    fn take(&self, index: usize) -> Result<R, LeaderPanicked> {
        self.results.lock().get_mut(index).and_then(Option::take).ok_or(LeaderPanicked)
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
        if !state.is_led {
            state.is_led = true; // I1; the group is the only one, I4
            self.lead(state, false, lead);
            return group.take(index);
        }
        drop(state);
        loop {
            if group.stage.wait_while(PENDING) == DONE {
                return group.take(index);
            }
            if group.stage.replace(TURN, PENDING) {
                self.lead(self.state.lock(), true, lead); // I1: the lead was passed on
                return group.take(index);
            }
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
        *self.group.results.lock() = results.into_iter().map(Some).collect();
        let next = {
            let mut state = self.commit.state.lock();
            let next = state.gathering.front().map(|next| Arc::clone(&next.group));
            state.is_led = next.is_some(); // I4
            next
        };
        self.group.stage.set(DONE, Wake::All);
        if let Some(next) = next {
            next.stage.set(TURN, Wake::One);
        }
    }
}

#[cfg(test)]
mod tests;
