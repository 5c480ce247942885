//! What a flush and a merge do to the runs of one collection: pure functions on a [`RunList`].
//!
//! A flush [`seal`](RunList::seal)s the times below a new upper into a run. A merge is planned
//! ([`plan_runs`](RunList::plan_runs), [`plan_future`](RunList::plan_future)), reads and writes
//! segments for a while without any lock, and is then put in ([`replace`](RunList::replace)) by
//! what it had read, because flushes and other merges may have changed the list meanwhile.
//!
//! A part of the future run may hold times on both sides of a new upper. It is not rewritten then:
//! both runs refer to it, and each reads it through the window of its own interval.
//!
//! # Invariants
//! 1. The intervals of the sealed runs are contiguous from time 0, and none is empty; the future
//!    run begins where the last one ends.
//! 2. Every update of the collection that was flushed is read through exactly one run: for each
//!    part, the windows of the runs that refer to it are disjoint, and an update of it outside all
//!    of them was merged away. So a window is widened only where the part has no update.
//! 3. A run has a part at most once, and parts that share a segment are equal.
//! 4. Every part of a run has its times (from first to last) meet the run's interval.
//!
//! No I/O, so no crash behaviour: the caller makes the new list durable, then visible.

use crate::error::{Error, Result};
use crate::format::manifest_edit::{Part, RunDesc, RunList};
use crate::types::{Frontier, SegmentId, SegmentMeta, TimeWindow};
use std::collections::{BTreeMap, HashMap};

/// What a merge reads, as it was when it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeInput {
    /// Neighbouring sealed runs, which become one run.
    Runs(Vec<RunDesc>),
    /// Parts of the future run, which become one part.
    Future {
        /// Where the future run began: the parts are read from here on.
        lower: Frontier,
        /// The parts.
        parts: Vec<Part>,
    },
}

/// What became of a merge's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Replaced {
    /// It is in the run list.
    Done,
    /// Another merge has replaced an input: the list is unchanged and the result is of no use.
    Superseded,
}

/// The times of a part, from the first to the last; `None` when it has no segment.
#[must_use]
pub fn part_window(part: &[SegmentMeta]) -> Option<TimeWindow> {
    part.iter()
        .map(SegmentMeta::window)
        .reduce(|a, b| TimeWindow { first: a.first.min(b.first), last: a.last.max(b.last) })
}

impl MergeInput {
    /// The parts to merge and the times of each to read.
    #[must_use]
    pub fn sources(&self) -> Vec<(Part, TimeWindow)> {
        let mut sources = Sources::default();
        match self {
            Self::Runs(runs) => runs.iter().for_each(|run| sources.add(run.interval(), &run.parts)),
            Self::Future { lower, parts } => sources.add(future_interval(*lower), parts),
        }
        sources.list
    }

    /// The frontier that the merge may advance times to: since, but not out of the interval that
    /// the result will be read through.
    #[must_use]
    pub fn advance_to(&self, since: Frontier) -> Frontier {
        match self {
            Self::Runs(_) => match self.interval() {
                Some(interval) => since.min(Frontier::at(interval.last)),
                None => Frontier::MIN,
            },
            Self::Future { .. } => since,
        }
    }

    /// The times that the result may have.
    #[must_use]
    pub fn interval(&self) -> Option<TimeWindow> {
        match self {
            Self::Runs(runs) => {
                let (first, last) = (runs.first()?, runs.last()?);
                TimeWindow::between(first.lower, last.upper)
            }
            Self::Future { lower, .. } => future_interval(*lower),
        }
    }
}

impl RunDesc {
    /// The times that are read through this run.
    #[must_use]
    pub fn interval(&self) -> Option<TimeWindow> {
        TimeWindow::between(self.lower, self.upper)
    }

    /// Whether no part has an update at or beyond the run's upper, so that the upper may be raised
    /// without showing updates that belong elsewhere (I2).
    fn may_end_later(&self) -> bool {
        self.parts.iter().all(|part| ends_below(part, self.upper))
    }

    /// Whether no part has an update below the run's lower.
    fn may_begin_earlier(&self) -> bool {
        self.parts.iter().all(|part| begins_at(part, self.lower))
    }
}

impl RunList {
    /// Where the sealed runs end and the future run begins.
    #[must_use]
    pub fn upper(&self) -> Frontier {
        self.sealed.last().map_or(Frontier::MIN, |run| run.upper)
    }

    /// The times that are read through the future run; `None` when everything is sealed.
    #[must_use]
    pub fn future_interval(&self) -> Option<TimeWindow> {
        future_interval(self.upper())
    }

    /// Takes the result of a flush: every update below `new_upper` is now in a segment.
    ///
    /// Appends the run `upper()..new_upper` with `sealed_part` (all its times inside) and every
    /// part of the future run that reaches into it; `future_part` (all times at or beyond
    /// `new_upper`) joins the future run, and parts without a time there leave it. An interval
    /// without parts widens the last run where that shows nothing new, and an empty last run is
    /// widened instead of followed.
    ///
    /// # Errors
    /// [`Error::Internal`] when the arguments contradict each other; the list is unchanged.
    pub fn seal(
        &mut self,
        new_upper: Frontier,
        sealed_part: Option<Part>,
        future_part: Option<Part>,
    ) -> Result<()> {
        let lower = self.upper();
        let new_parts = sealed_part.iter().chain(&future_part);
        if new_upper < lower || new_parts.clone().any(|part| part_window(part).is_none()) {
            return Err(internal(format!("sealed {lower}..{new_upper}, or an empty part")));
        }
        let sealed_fits = |part: &Part| begins_at(part, lower) && ends_below(part, new_upper);
        if sealed_part.as_ref().is_some_and(|part| !sealed_fits(part)) {
            return Err(internal(format!("a flushed part is not in {lower}..{new_upper}")));
        }
        if future_part.as_ref().is_some_and(|part| !begins_at(part, new_upper)) {
            return Err(internal(format!("a flushed future part begins before {new_upper}")));
        }
        let reaches_in = |part: &&Part| !begins_at(part, new_upper);
        let mut parts: Vec<Part> = self.future.iter().filter(reaches_in).cloned().collect();
        parts.extend(sealed_part);
        if lower < new_upper {
            self.append_run(RunDesc { lower, upper: new_upper, parts });
        }
        self.future.retain(|part| !ends_below(part, new_upper));
        self.future.extend(future_part);
        Ok(())
    }

    /// Shows nothing at or beyond `upper` any longer, and ends the sealed runs there.
    ///
    /// # Errors
    /// [`Error::Internal`] when the list contradicts itself.
    pub fn truncate(&mut self, upper: Frontier) -> Result<()> {
        if self.upper() < upper {
            self.seal(upper, None, None)?;
        }
        self.future.clear();
        self.sealed.retain(|run| run.lower < upper);
        if let Some(last) = self.sealed.last_mut().filter(|last| last.upper > upper) {
            last.upper = upper;
            last.parts.retain(|part| !begins_at(part, upper));
        }
        self.absorb_empty_runs();
        Ok(())
    }

    /// Puts other segments in the place of some, wherever they are; none leaves them out. The new
    /// ones hold a subset of the same updates.
    pub fn substitute_segments(&mut self, with: impl Fn(&SegmentMeta) -> Option<Part>) {
        let substitute = |part: &mut Part| {
            *part =
                part.drain(..).flat_map(|meta| with(&meta).unwrap_or_else(|| vec![meta])).collect();
        };
        for run in &mut self.sealed {
            run.parts.iter_mut().for_each(substitute);
            let interval = run.interval();
            run.parts.retain(|part| {
                let times = part_window(part);
                interval.zip(times).is_some_and(|(a, b)| a.intersect(b).is_some())
            });
        }
        self.future.iter_mut().for_each(substitute);
        let interval = self.future_interval();
        self.future.retain(|part| {
            let times = part_window(part);
            interval.zip(times).is_some_and(|(a, b)| a.intersect(b).is_some())
        });
        self.absorb_empty_runs();
    }

    /// Plans the merge of the sealed runs `first..=last`; `None` when there are no such runs.
    #[must_use]
    pub fn plan_runs(&self, first: usize, last: usize) -> Option<MergeInput> {
        Some(MergeInput::Runs(self.sealed.get(first..=last)?.to_vec()))
    }

    /// Plans the merge of the parts of the future run at `indexes`; `None` when one is not there.
    #[must_use]
    pub fn plan_future(&self, indexes: &[usize]) -> Option<MergeInput> {
        let part = |&index: &usize| self.future.get(index).cloned();
        let parts = indexes.iter().map(part).collect::<Option<Vec<Part>>>()?;
        Some(MergeInput::Future { lower: self.upper(), parts })
    }

    /// Puts the result of a merge in the place of what it read. An empty `output` means that
    /// nothing was left: the input parts vanish, and the intervals stay contiguous.
    ///
    /// The result of a merge of runs replaces exactly those runs, which may no longer be where they
    /// were. The result of a merge of future parts replaces them in the future run and in the runs
    /// that were sealed since the merge was planned; a run below has them still, as it reads other
    /// times of them.
    ///
    /// # Errors
    /// [`Error::Internal`] when the result has times that would not be read; the list is unchanged.
    pub fn replace(&mut self, input: &MergeInput, output: Part) -> Result<Replaced> {
        if let Some(times) = part_window(&output)
            && !input.interval().is_some_and(|interval| interval.covers(times))
        {
            let TimeWindow { first, last } = times;
            return Err(internal(format!("a merge wrote times {first}..={last} out of its runs")));
        }
        let replaced = match input {
            MergeInput::Runs(runs) => self.replace_runs(runs, output),
            MergeInput::Future { lower, parts } => self.replace_future(*lower, parts, output),
        };
        if replaced == Replaced::Done {
            self.absorb_empty_runs();
        }
        Ok(replaced)
    }

    /// All that a reader of this list reads: each part with the times to read of it. Neighbouring
    /// windows of one part are joined.
    #[must_use]
    pub fn sources(&self) -> Vec<(Part, TimeWindow)> {
        let mut sources = Sources::default();
        self.sealed.iter().for_each(|run| sources.add(run.interval(), &run.parts));
        sources.add(self.future_interval(), &self.future);
        sources.list
    }

    /// Every segment that the list refers to, once.
    #[must_use]
    pub fn live_segments(&self) -> BTreeMap<SegmentId, &SegmentMeta> {
        self.parts().flatten().map(|meta| (meta.id, meta)).collect()
    }

    /// All parts of all runs; one that is in several runs comes several times.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.sealed.iter().flat_map(|run| &run.parts).chain(&self.future)
    }

    /// Checks the invariants that can be seen from the list alone (I1, I3, I4).
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> std::result::Result<(), String> {
        let mut lower = Frontier::MIN;
        let mut owners: HashMap<SegmentId, &Part> = HashMap::new();
        for run in &self.sealed {
            let RunDesc { lower: at, upper, .. } = run;
            if *at != lower || run.interval().is_none() {
                return Err(format!("a run has the interval {at}..{upper}, after {lower}"));
            }
            check_parts(&run.parts, run.interval(), &mut owners)?;
            lower = *upper;
        }
        check_parts(&self.future, self.future_interval(), &mut owners)
    }

    /// Appends a run whose interval is not empty.
    fn append_run(&mut self, run: RunDesc) {
        let Some(last) = self.sealed.last_mut() else {
            self.sealed.push(run);
            return;
        };
        if run.parts.is_empty() && last.may_end_later() {
            last.upper = run.upper;
        } else if last.parts.is_empty() && run.may_begin_earlier() {
            last.upper = run.upper;
            last.parts = run.parts;
        } else {
            self.sealed.push(run);
        }
    }

    fn replace_runs(&mut self, planned: &[RunDesc], output: Part) -> Replaced {
        let Some(first) = planned.first() else { return Replaced::Superseded };
        let Ok(at) = self.sealed.binary_search_by_key(&first.lower, |run| run.lower) else {
            return Replaced::Superseded;
        };
        let end = at.saturating_add(planned.len());
        let Some(current) = self.sealed.get(at..end) else { return Replaced::Superseded };
        // The last run may have been widened meanwhile, by times without updates (I2).
        let same = |(now, then): (&RunDesc, &RunDesc)| {
            now.lower == then.lower && now.upper >= then.upper && now.parts == then.parts
        };
        let Some(last) = current.last() else { return Replaced::Superseded };
        if !current.iter().zip(planned).all(same) {
            return Replaced::Superseded;
        }
        let parts = if output.is_empty() { Vec::new() } else { vec![output] };
        let merged = RunDesc { lower: first.lower, upper: last.upper, parts };
        self.sealed.splice(at..end, [merged]);
        Replaced::Done
    }

    fn replace_future(&mut self, lower: Frontier, inputs: &[Part], output: Part) -> Replaced {
        if inputs.is_empty() || !inputs.iter().all(|part| self.is_whole_from(lower, part)) {
            return Replaced::Superseded;
        }
        let future = self.future_interval();
        for run in self.sealed.iter_mut().filter(|run| run.lower >= lower) {
            let interval = run.interval();
            substitute(&mut run.parts, interval, inputs, &output);
        }
        substitute(&mut self.future, future, inputs, &output);
        Replaced::Done
    }

    /// Whether everything of `part` from `lower` on is still read through `part` itself, in runs
    /// that begin at or after `lower`. Otherwise another merge has some of it, with times that it
    /// may have advanced differently: together with a result that has it all, it would count twice.
    fn is_whole_from(&self, lower: Frontier, part: &Part) -> bool {
        let from_lower = future_interval(lower);
        let Some(times) = from_lower.and_then(|from| from.intersect(part_window(part)?)) else {
            return false;
        };
        let meets = |interval: Option<TimeWindow>| {
            interval.is_some_and(|interval| interval.intersect(times).is_some())
        };
        let mut sealed = self.sealed.iter().filter(|run| meets(run.interval()));
        sealed.all(|run| run.lower >= lower && run.parts.contains(part))
            && (!meets(self.future_interval()) || self.future.contains(part))
    }

    /// Gives the interval of each run without parts to a neighbour where that shows nothing new.
    fn absorb_empty_runs(&mut self) {
        let mut kept: Vec<RunDesc> = Vec::with_capacity(self.sealed.len());
        for mut run in self.sealed.drain(..) {
            match kept.last_mut() {
                Some(last) if run.parts.is_empty() && last.may_end_later() => {
                    last.upper = run.upper;
                }
                Some(last) if last.parts.is_empty() && run.may_begin_earlier() => {
                    run.lower = last.lower;
                    *last = run;
                }
                _ => kept.push(run),
            }
        }
        self.sealed = kept;
    }
}

/// Takes `inputs` out of `parts` and puts `output` there if it has times in the run's `interval`;
/// also where no input was, because the merge may have advanced times into that run.
fn substitute(parts: &mut Vec<Part>, interval: Option<TimeWindow>, inputs: &[Part], output: &Part) {
    let at = parts.iter().position(|part| inputs.contains(part)).unwrap_or(parts.len());
    parts.retain(|part| !inputs.contains(part));
    let times = part_window(output);
    if interval.zip(times).is_some_and(|(interval, times)| interval.intersect(times).is_some()) {
        parts.insert(at.min(parts.len()), output.clone());
    }
}

/// Collects parts with windows; see [`RunList::sources`].
#[derive(Default)]
struct Sources {
    list: Vec<(Part, TimeWindow)>,
    latest: HashMap<SegmentId, usize>,
}

impl Sources {
    fn add(&mut self, interval: Option<TimeWindow>, parts: &[Part]) {
        let Some(interval) = interval else { return };
        for part in parts {
            let Some(first) = part.first() else { continue };
            let index = self.latest.get(&first.id).copied();
            match index.and_then(|index| self.list.get_mut(index)) {
                Some((_, window)) if window.last.checked_add(1) == Some(interval.first) => {
                    window.last = interval.last;
                }
                _ => {
                    self.latest.insert(first.id, self.list.len());
                    self.list.push((part.clone(), interval));
                }
            }
        }
    }
}

fn check_parts<'a>(
    parts: &'a [Part],
    interval: Option<TimeWindow>,
    owners: &mut HashMap<SegmentId, &'a Part>,
) -> std::result::Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for part in parts {
        let times = part_window(part).ok_or("a part has no segment")?;
        if interval.is_none_or(|interval| interval.intersect(times).is_none()) {
            let TimeWindow { first, last } = times;
            return Err(format!("a part with times {first}..={last} is outside its run"));
        }
        if !part.iter().all(|meta| seen.insert(meta.id)) {
            return Err("a run has a segment twice".to_owned());
        }
        let known = part.first().and_then(|meta| owners.get(&meta.id).copied());
        let shares = |meta: &SegmentMeta| owners.contains_key(&meta.id);
        if known.map_or_else(|| part.iter().any(shares), |known| known != part) {
            return Err("a segment is in two different parts".to_owned());
        }
        owners.extend(part.iter().map(|meta| (meta.id, part)));
    }
    Ok(())
}

fn future_interval(lower: Frontier) -> Option<TimeWindow> {
    TimeWindow::between(lower, Frontier::CLOSED)
}

/// Whether all times of `part` are at or beyond `lower`.
fn begins_at(part: &[SegmentMeta], lower: Frontier) -> bool {
    part.iter().all(|meta| !lower.is_beyond(meta.min_ts))
}

/// Whether all times of `part` are below `upper`.
fn ends_below(part: &[SegmentMeta], upper: Frontier) -> bool {
    part.iter().all(|meta| upper.is_beyond(meta.max_ts))
}

fn internal(what: String) -> Error {
    Error::Internal { what }
}

#[cfg(test)]
mod tests;
