//! Makes steps that the database accepts: it knows the frontiers, and who holds what.

use super::{Part, Step, Theme};
use crate::model::OwnedUpdate;
use crate::seed::Chance;
use datestone_engine::config::Durability;
use datestone_engine::types::Kind;

/// Most collections at a time.
const COLLECTIONS_MAX: usize = 5;

/// Something to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Commit,
    /// A commit that is not durable when it is made.
    Loose,
    Once,
    Flush,
    Compact,
    Work,
    Settle,
    Reopen,
    Create,
    Drop,
    CompactBelow,
    Truncate,
    Erase,
    Ingest,
    Hold,
    Loosen,
    Subscribe,
    Acknowledge,
    Checkpoint,
    Backup,
    Restore,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    kind: Kind,
    since: u64,
    upper: u64,
    /// Who keeps since at or below what.
    holds: Vec<Holder>,
}

#[derive(Clone, Debug)]
struct Holder {
    name: String,
    at: u64,
    is_subscription: bool,
}

impl Known {
    /// Since cannot pass this.
    fn held(&self) -> u64 {
        self.holds.iter().map(|hold| hold.at).min().unwrap_or(u64::MAX)
    }
}

pub(super) struct Generator<'t> {
    theme: &'t Theme,
    chance: Chance,
    known: Vec<Known>,
    made: u64,
    backups: u64,
}

impl<'t> Generator<'t> {
    pub(super) const fn new(theme: &'t Theme, seed: u64) -> Self {
        Self { theme, chance: Chance::new(seed), known: Vec::new(), made: 0, backups: 0 }
    }

    pub(super) fn steps(mut self) -> Vec<Step> {
        let mut steps = vec![Step::Open];
        for kind in self.theme.kinds {
            steps.push(self.create(*kind));
        }
        let end = steps.len() + self.theme.steps;
        // Acts that nothing can be done for are passed over.
        for _ in 0..100 * end {
            if steps.len() >= end {
                break;
            }
            let at = self.below(self.theme.acts.len() as u64) as usize;
            let act = self.theme.acts.get(at).copied().unwrap_or(Act::Commit);
            steps.extend(self.step(act));
        }
        steps
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound.max(1))
    }

    fn name(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}{:02}", self.made)
    }

    fn create(&mut self, kind: Kind) -> Step {
        let name = self.name("c");
        let known = Known { name: name.clone(), kind, since: 0, upper: 0, holds: Vec::new() };
        self.known.push(known);
        Step::Create(kind, name)
    }

    /// One of the collections, if it is of one of these kinds.
    fn any(&mut self, kinds: &[Kind]) -> Option<&mut Known> {
        let at = self.below(self.known.len() as u64) as usize;
        self.known.get_mut(at).filter(|known| kinds.contains(&known.kind))
    }

    fn step(&mut self, act: Act) -> Option<Step> {
        const SET: &[Kind] = &[Kind::Multiset];
        const TIMED: &[Kind] = &[Kind::Multiset, Kind::Table];
        match act {
            Act::Commit => Some(Step::Commit(self.parts(), Durability::Fsync)),
            Act::Loose => {
                let is_given = self.chance.one_in(2);
                let durability = if is_given { Durability::Buffer } else { Durability::None };
                Some(Step::Commit(self.parts(), durability))
            }
            Act::Once => {
                self.made += 1;
                Some(Step::Once(self.made, self.parts()))
            }
            Act::Flush => Some(Step::Flush),
            Act::Compact => Some(Step::Compact),
            Act::Work => Some(Step::Work),
            Act::Settle => Some(Step::Settle),
            Act::Reopen => Some(Step::Reopen),
            Act::Create if self.known.len() < COLLECTIONS_MAX => {
                let at = self.below(self.theme.kinds.len() as u64) as usize;
                let kind = self.theme.kinds.get(at).copied()?;
                Some(self.create(kind))
            }
            Act::Drop if self.known.len() > 1 => {
                let at = self.below(self.known.len() as u64) as usize;
                // What holds a collection outlives it, in the books; that is not what this is about.
                let is_held = self.known.get(at).is_some_and(|known| !known.holds.is_empty());
                (!is_held).then(|| Step::Drop(self.known.remove(at).name))
            }
            Act::Create | Act::Drop => None,
            Act::CompactBelow => {
                let back = self.below(5);
                let known = self.any(TIMED)?;
                let since = known.upper.saturating_sub(back).min(known.held());
                (since > known.since).then(|| {
                    known.since = since;
                    Step::CompactBelow(known.name.clone(), since)
                })
            }
            Act::Truncate => {
                let back = self.below(4);
                let known = self.any(TIMED)?;
                let at = known.upper.saturating_sub(back);
                (at > known.since && known.holds.is_empty()).then(|| {
                    known.upper = at;
                    Step::Truncate(known.name.clone(), at)
                })
            }
            Act::Erase => {
                let prefix = vec![b'a' + self.below(4) as u8];
                let known = self.any(TIMED)?;
                Some(Step::Erase(known.name.clone(), prefix))
            }
            Act::Ingest => {
                let known = self.any(SET)?.clone();
                let mut rows: Vec<_> = (0..self.below(50)).map(|_| self.row(known.upper)).collect();
                rows.sort();
                let upper = known.upper + self.below(4);
                self.known.iter_mut().find(|k| k.name == known.name)?.upper = upper;
                Some(Step::Ingest(known.name, rows, upper))
            }
            Act::Hold | Act::Subscribe => self.hold(matches!(act, Act::Subscribe)),
            Act::Loosen => self.loosen(),
            Act::Acknowledge => self.acknowledge(),
            Act::Checkpoint => Some(Step::Checkpoint(format!("/{}", self.name("checkpoint")))),
            Act::Backup => {
                self.backups += 1;
                Some(Step::Backup)
            }
            Act::Restore => (self.backups > 0).then(|| {
                let number = 1 + self.below(self.backups);
                Step::Restore(number, format!("/{}", self.name("copy")))
            }),
        }
    }

    fn hold(&mut self, is_subscription: bool) -> Option<Step> {
        let name = self.name("h");
        let ahead = self.below(3);
        let known = self.any(&[Kind::Multiset])?;
        // A subscription begins at a time that can be read.
        let most = if is_subscription { known.upper.checked_sub(1)? } else { known.upper };
        if most < known.since {
            return None;
        }
        let at = (known.since + ahead).min(most);
        known.holds.push(Holder { name: name.clone(), at, is_subscription });
        let of = known.name.clone();
        Some(if is_subscription {
            Step::Subscribe(name, of, at)
        } else {
            Step::TakeHold(name, of, at)
        })
    }

    fn loosen(&mut self) -> Option<Step> {
        let (ahead, is_last) = (self.below(4), self.chance.one_in(3));
        let known = self.any(&[Kind::Multiset])?;
        let index = known.holds.iter().position(|hold| !hold.is_subscription)?;
        if is_last {
            return Some(Step::LoosenHold(known.holds.remove(index).name, None));
        }
        let hold = known.holds.get_mut(index)?;
        hold.at += ahead;
        Some(Step::LoosenHold(hold.name.clone(), Some(hold.at)))
    }

    fn acknowledge(&mut self) -> Option<Step> {
        let part = self.part()?;
        let known = self.any(&[Kind::Multiset])?;
        let upper = known.upper;
        let hold = known.holds.iter_mut().find(|hold| hold.is_subscription)?;
        let at = upper.max(hold.at);
        hold.at = at.saturating_sub(1).max(hold.at);
        let name = hold.name.clone();
        self.take_upper(&part);
        Some(Step::Acknowledge(name, at, part))
    }

    fn parts(&mut self) -> Vec<Part> {
        let mut parts = Vec::<Part>::new();
        for _ in 0..=self.below(3) {
            if let Some(part) = self.part()
                && parts.iter().all(|other| other.name != part.name)
            {
                self.take_upper(&part);
                parts.push(part);
            }
        }
        parts
    }

    fn take_upper(&mut self, part: &Part) {
        let known = self.known.iter_mut().find(|known| known.name == part.name);
        if let (Some(known), Some(upper)) = (known, part.upper) {
            known.upper = upper;
        }
    }

    fn part(&mut self) -> Option<Part> {
        let at = self.below(self.known.len() as u64) as usize;
        let known = self.known.get(at)?.clone();
        let mut part = Part { name: known.name, ..Part::default() };
        for _ in 0..=self.below(10) {
            let row = self.row(known.upper);
            match known.kind {
                Kind::Log => part.events.push(row.val),
                _ => part.rows.push(row),
            }
        }
        if matches!(known.kind, Kind::Multiset | Kind::Table) && !self.chance.one_in(3) {
            part.upper = Some(known.upper + self.below(4));
        }
        if matches!(known.kind, Kind::Table | Kind::ClockTable) {
            // One version of a key at a time.
            part.rows.sort();
            part.rows.dedup_by(|a, b| a.key == b.key);
        }
        Some(part)
    }

    /// A row at or beyond upper.
    fn row(&mut self, upper: u64) -> OwnedUpdate {
        let len_max = if self.chance.one_in(8) { self.theme.val_len_max } else { 30 };
        let (key, fill) = (vec![b'a' + self.below(4) as u8, self.below(9) as u8], self.below(4));
        let val = vec![fill as u8; self.below(len_max) as usize];
        let diff = if self.chance.one_in(3) { -1 } else { 1 };
        OwnedUpdate { key, val, ts: upper + self.below(4), diff }
    }
}
