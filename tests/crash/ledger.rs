//! What the supervisor knows: of each actor, the steps that must be there.

use crate::actor::{Actor, Known, Stage, Wrong, actors};
use datestone_tests::seed::Chance;
use std::collections::BTreeMap;

/// Marks that are remembered, of the last steps.
const MARKS_MAX: usize = 64;

/// What a child said before it was killed.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) opened: bool,
    /// It has done all that it was told to do.
    pub(crate) ended: bool,
    /// By actor, the steps acknowledged with their marks.
    steps: BTreeMap<String, BTreeMap<u64, u64>>,
    /// By actor, the last step that was acknowledged while the file system stopped.
    late: BTreeMap<String, u64>,
    pub(crate) failed: Option<String>,
}

impl Said {
    pub(crate) fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["opened"] => self.opened = true,
            ["ended"] => self.ended = true,
            ["ack", actor, n, mark] => {
                if let (Ok(n), Ok(mark)) = (n.parse(), mark.parse()) {
                    self.steps.entry((*actor).to_owned()).or_default().insert(n, mark);
                }
            }
            ["failed", ..] => self.failed = Some(line.into()),
            _ => {}
        }
    }

    /// What is said while the file system stops. A system that loses its power is not there to say it, and
    /// a sync that begins before that and ends after it may say that all is well when nothing is: ext4 has
    /// ended the transaction that it was to wait for. So these steps may be there and need not.
    pub(crate) fn hear_late(&mut self, line: &str) {
        let mut late = Self::default();
        late.hear(line);
        self.opened |= late.opened;
        self.failed = self.failed.take().or(late.failed);
        for (actor, steps) in late.steps {
            self.late.extend(steps.last_key_value().map(|(n, _)| (actor, *n)));
        }
    }

    /// The last step of each actor, in words.
    pub(crate) fn last(&self) -> String {
        let last = |(actor, steps): (&String, &BTreeMap<u64, u64>)| {
            steps.last_key_value().map(|(n, mark)| format!("{actor} {n} ({mark})"))
        };
        let last: Vec<String> = self.steps.iter().filter_map(last).collect();
        let (opened, failed, late) = (self.opened, &self.failed, &self.late);
        format!("opened: {opened}, failed: {failed:?}, {}, late: {late:?}", last.join(", "))
    }
}

/// The steps of one database.
pub(crate) struct Ledger {
    actors: Vec<Box<dyn Actor>>,
    known: Vec<Known>,
}

/// What all kills together did to an actor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) steps: u64,
    /// Kills that hit a step which was there nevertheless.
    pub(crate) in_flight: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let actors = actors();
        let known = vec![Known::default(); actors.len()];
        Self { actors, known }
    }

    /// Another one that knows the same.
    pub(crate) fn again(&self) -> Self {
        Self { actors: actors(), known: self.known.clone() }
    }

    /// These act in the next life, or everybody.
    pub(crate) fn cast_of(&mut self, names: Option<&[&str]>) -> String {
        let mut cast = Vec::new();
        for (actor, known) in self.actors.iter().zip(&mut self.known) {
            known.active = names.is_none_or(|names| names.contains(&&*actor.name()));
            if known.active {
                cast.push(format!("{}={}", actor.name(), known.count));
            }
        }
        cast.join(" ")
    }

    /// Chooses who acts in the next life, few enough for each to get far. The first one always does.
    pub(crate) fn cast(&mut self, chance: &mut Chance) -> String {
        let often = 2 + chance.below(3);
        let mut cast = Vec::new();
        for (index, (actor, known)) in self.actors.iter().zip(&mut self.known).enumerate() {
            known.active = index == 0 || chance.one_in(often);
            if known.active {
                cast.push(format!("{}={}", actor.name(), known.count));
            }
        }
        cast.join(" ")
    }

    /// Compares what is left with what must be there, and remembers what was found.
    pub(crate) fn judge(
        &mut self,
        stage: &Stage,
        said: &Said,
        chance: &mut Chance,
        tally: &mut BTreeMap<String, Count>,
    ) -> Result<(), Wrong> {
        for (actor, known) in self.actors.iter().zip(&mut self.known) {
            let name = actor.name();
            let before = known.count;
            known.chance = chance.next_u64();
            known.marks.extend(said.steps.get(&name).into_iter().flatten());
            while known.marks.len() > MARKS_MAX {
                known.marks.pop_first();
            }
            let acknowledged = known.marks.last_key_value().map_or(0, |(n, _)| n + 1);
            known.acknowledged = acknowledged;
            known.count = before.max(acknowledged);
            let late = said.late.get(&name).map_or(0, |n| n + 1);
            // And the step that the end has hit.
            known.most = known.count.max(late) + u64::from(known.active || before == 0);
            let most = known.most;
            let wrong = |what: String| Wrong(format!("{name}: {what}"));
            let found = actor.check(stage, known).map_err(|Wrong(what)| wrong(what))?;
            if found < known.count || found > most {
                return Err(wrong(format!("{found} steps, {} are known", known.count)));
            }
            let count = tally.entry(name).or_default();
            count.steps += found - before;
            count.in_flight += found - known.count;
            known.count = found;
        }
        Ok(())
    }
}
