//! The model of a whole database, and what each step means in it.

use super::steps::{Choice, Op, Part, Probe, Refusal, Step, What, bulk, key, step, val};
use datestone_engine::config::Durability;
use datestone_engine::types::Frontier;
use datestone_tests::model::{Model, OwnedUpdate};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// The collections that a history may have.
pub(super) const NAMES: [&str; 3] = ["apples", "b", "c\u{e9}dilles"];
/// Most snapshots held at a time.
const HELD_MAX: usize = 5;

/// What the database should be.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// By position in [`NAMES`].
    pub(super) collections: BTreeMap<usize, Model>,
    pub(super) held: Vec<Held>,
    /// The least that all acknowledged commits are known to survive.
    pub(super) safety: Safety,
    /// The same before the last step.
    pub(super) safety_before: Safety,
    /// What the last step means.
    pub(super) action: Action,
    /// The read after it.
    pub(super) probe: Option<Probe>,
}

/// A snapshot that somebody holds: the state of the collection when it was taken, and its time.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) which: usize,
    pub(super) as_of: u64,
    pub(super) model: Arc<Model>,
}

/// What all commits survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Safety {
    Nothing,
    Kill,
    #[default]
    PowerCut,
}

/// A step as it is carried out.
#[derive(Clone, Debug, Default)]
pub(super) enum Action {
    #[default]
    Nothing,
    Create(usize),
    Drop(usize),
    Commit {
        parts: Vec<(usize, Change)>,
        durability: Durability,
    },
    Refused {
        parts: Vec<(usize, Change)>,
        refusal: Refusal,
    },
    Hold {
        which: usize,
        as_of: u64,
    },
    Release(usize),
    /// Anything that changes nothing; the step says what.
    Maintenance(Op),
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(Vec<OwnedUpdate>),
    Compare { updates: Vec<OwnedUpdate>, expected: Frontier, new: Frontier },
    AdvanceUpper(Frontier),
    CompactBelow(Frontier),
}

/// The reference machine.
pub(super) struct Machine<const PROFILE: u8>;

impl<const PROFILE: u8> ReferenceStateMachine for Machine<PROFILE> {
    type State = World;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<World> {
        Just(World::default()).boxed()
    }

    fn transitions(_: &World) -> BoxedStrategy<Step> {
        step(PROFILE).boxed()
    }

    fn apply(mut world: World, step: &Step) -> World {
        world.action = world.meaning(&step.op);
        world.safety_before = world.safety;
        world.perform();
        world.probe = Some(step.probe.clone());
        world
    }
}

impl World {
    /// The existing collection that a choice means.
    pub(super) fn pick(&self, which: u8) -> Option<usize> {
        let count = self.collections.len();
        self.collections.keys().nth(usize::from(which) % count.max(1)).copied()
    }

    /// A readable time of a collection.
    pub(super) fn pick_time(&self, which: usize, at: u16) -> Option<u64> {
        let times = self.collections[&which].telling_times();
        times.get(usize::from(at) % times.len().max(1)).copied()
    }

    fn meaning(&self, op: &Op) -> Action {
        let existing = |which: &u8| self.pick(*which);
        match op {
            Op::Create(which) => Action::Create(usize::from(*which) % NAMES.len()),
            Op::Drop(which) => existing(which).map_or(Action::Nothing, Action::Drop),
            Op::Commit { parts, durability } => {
                Action::Commit { parts: self.changes(parts), durability: *durability }
            }
            Op::Refused { which, refusal, others } => existing(which)
                .and_then(|which| self.refused(which, *refusal, others))
                .unwrap_or_default(),
            Op::Hold { which, at } => existing(which)
                .and_then(|which| Some(Action::Hold { which, as_of: self.pick_time(which, *at)? }))
                .unwrap_or_default(),
            Op::Release(which) if !self.held.is_empty() => {
                Action::Release(usize::from(*which) % self.held.len())
            }
            Op::Release(_) => Action::Nothing,
            Op::Flush
            | Op::BackgroundSteps(_)
            | Op::Compact(_)
            | Op::Sync
            | Op::Verify
            | Op::Reopen { .. } => Action::Maintenance(op.clone()),
        }
    }

    fn changes(&self, parts: &[Part]) -> Vec<(usize, Change)> {
        let mut changes: Vec<(usize, Change)> = Vec::new();
        for part in parts {
            let Some(which) = self.pick(part.which) else { continue };
            let model = &self.collections[&which];
            let Some(change) = change(model, &part.what) else { continue };
            // A commit compares an upper once.
            let again = matches!(change, Change::Compare { .. })
                && changes.iter().any(|(w, c)| *w == which && matches!(c, Change::Compare { .. }));
            if !again {
                changes.push((which, change));
            }
        }
        changes
    }

    fn refused(&self, which: usize, refusal: Refusal, others: &[Part]) -> Option<Action> {
        let upper = self.collections[&which].upper;
        let update = |ts| vec![OwnedUpdate { key: b"refused".into(), val: vec![], ts, diff: 1 }];
        let wrong = match refusal {
            Refusal::BelowUpper => Change::Append(update(upper.last_below()?)),
            Refusal::UpperMismatch => {
                let expected = Frontier::just_beyond(upper.ts()?);
                Change::Compare { updates: vec![], expected, new: Frontier::CLOSED }
            }
            Refusal::BeyondNewUpper => {
                let new = Frontier::at(upper.ts()?.checked_add(1)?);
                let updates = update(upper.ts()? + 1);
                Change::Compare { updates, expected: upper, new }
            }
            // The system puts the id of a dropped collection in.
            Refusal::Dropped => Change::Append(update(u64::MAX)),
        };
        let mut parts = self.changes(others);
        parts.retain(|(_, change)| !matches!(change, Change::Compare { .. }));
        parts.push((which, wrong));
        Some(Action::Refused { parts, refusal })
    }

    fn perform(&mut self) {
        match self.action.clone() {
            Action::Nothing | Action::Refused { .. } => {}
            Action::Create(which) => {
                if let Entry::Vacant(place) = self.collections.entry(which) {
                    place.insert(Model::default());
                    self.safety = Safety::PowerCut;
                }
            }
            Action::Drop(which) => {
                self.collections.remove(&which);
                self.safety = Safety::PowerCut;
            }
            Action::Commit { parts, durability } => self.commit(parts, durability),
            Action::Hold { which, as_of } => {
                if self.held.len() == HELD_MAX {
                    self.held.remove(0);
                }
                let model = Arc::new(self.collections[&which].clone());
                self.held.push(Held { which, as_of, model });
            }
            Action::Release(index) => {
                self.held.remove(index);
            }
            Action::Maintenance(op) => {
                // Before the end of a process `System` syncs what that end could take away, and a
                // recovery makes durable what it brings back.
                if matches!(op, Op::Flush | Op::Compact(_) | Op::Sync | Op::Reopen { .. }) {
                    self.safety = Safety::PowerCut;
                }
            }
        }
    }

    fn commit(&mut self, parts: Vec<(usize, Change)>, durability: Durability) {
        let raises_since = parts.iter().any(|(_, c)| matches!(c, Change::CompactBelow(_)));
        self.safety = match durability {
            Durability::Fsync => Safety::PowerCut,
            _ if raises_since => Safety::PowerCut,
            Durability::Buffer => self.safety.min(Safety::Kill),
            Durability::None => Safety::Nothing,
        };
        for (which, change) in parts {
            let Some(model) = self.collections.get_mut(&which) else { continue };
            match change {
                Change::Append(updates) => model.append(updates),
                Change::Compare { updates, new, .. } => {
                    model.append(updates);
                    model.advance_upper(new);
                }
                Change::AdvanceUpper(upper) => model.advance_upper(upper),
                Change::CompactBelow(since) => model.compact_below(since),
            }
        }
    }
}

/// What a part of a commit means for a collection in this state; `None` when nothing legal.
fn change(model: &Model, what: &What) -> Option<Change> {
    let upper = model.upper;
    let later = |by: u8| upper.ts().map(|ts| ts.checked_add(u64::from(by)));
    let frontier = |ts: Option<u64>| ts.map_or(Frontier::CLOSED, Frontier::at);
    Some(match what {
        What::Append(choices) => Change::Append(updates(upper, choices.iter().copied())?),
        What::Bulk { seed, count, spread } => {
            Change::Append(updates(upper, bulk(*seed, *count, *spread))?)
        }
        What::Compare { updates: choices, by } => {
            let new = frontier(later(*by)?);
            let mut updates = updates(upper, choices.iter().copied())?;
            updates.retain(|update| new.is_beyond(update.ts));
            Change::Compare { updates, expected: upper, new }
        }
        What::AdvanceUpper(by) => Change::AdvanceUpper(frontier(later(*by)?)),
        What::AdvanceFar => Change::AdvanceUpper(Frontier::at(u64::MAX)),
        What::CloseUpper => Change::AdvanceUpper(Frontier::CLOSED),
        What::CompactBelow(choice) => {
            // Also below the since that is, which changes nothing.
            let last = model.upper.last_below().unwrap_or(0);
            let first = model.since.ts()?.saturating_sub(2);
            let span = last.saturating_sub(first).saturating_add(1);
            Change::CompactBelow(Frontier::at(first + u64::from(*choice) % span))
        }
        What::CompactBeyondUpper(by) => Change::CompactBelow(frontier(later(*by)?)),
        What::CloseSince => Change::CompactBelow(Frontier::CLOSED),
    })
}

/// Updates at or beyond upper; `None` when it is closed.
fn updates(upper: Frontier, choices: impl Iterator<Item = Choice>) -> Option<Vec<OwnedUpdate>> {
    let upper = upper.ts()?;
    Some(
        choices
            .map(|choice| OwnedUpdate {
                key: key(choice.key),
                val: val(choice.val),
                ts: match choice.ahead {
                    // The last times there are.
                    253.. => u64::MAX - u64::from(255 - choice.ahead),
                    ahead => upper.saturating_add(u64::from(ahead)),
                }
                .max(upper),
                diff: choice.diff,
            })
            .collect(),
    )
}
