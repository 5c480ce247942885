//! [`Compaction`]: one merge from choice to installation, in bounded steps.
//!
//! # Crash behaviour
//! Until the manifest edit is durable the output is orphans, which the next open removes, and the
//! inputs are live; after it the inputs are orphans.

use super::merge::{Merge, MergeInput, MergeState};
use super::policy::{
    Job, PartShape, PolicyInput, PolicyOptions, RunShape, bytes_in_window, pick, pick_full,
};
use super::versions::Floor;
use crate::error::{Error, Result};
use crate::events::{CompactionReason, DbEvent};
use crate::format::manifest_edit::{Edit, EditOp, Part, RunList};
use crate::install::{Installer, Shared, Warmth};
use crate::manifest::{self, Replaced, part_window};
use crate::planted::{Bug, planted};
use crate::read::PartCursor;
use crate::segment::{SegmentIdentity, SegmentWriter};
use crate::types::{CollectionId, Frontier, SegmentMeta, TimeWindow};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Updates that one step merges, about: some tens of milliseconds of work.
const STEP_UPDATES: u64 = 200_000;

/// Whether a job has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Call `step` again.
    More,
    /// The result is installed.
    Done,
}

/// Starts the segments of a merge's output.
type MakeWriter = Box<dyn FnMut() -> Result<SegmentWriter> + Send>;

/// A merge under way.
pub(crate) struct Compaction {
    identity: SegmentIdentity,
    input: manifest::MergeInput,
    /// `None` once the result was taken.
    merge: Option<Merge<MakeWriter>>,
    reason: CompactionReason,
    /// When it was chosen, on the monotonic clock.
    start: Duration,
    /// What is to be told of it, once it is done.
    finished: Option<DbEvent>,
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Compaction {
    /// Chooses what to merge next, over all collections but the `broken` ones.
    pub(crate) fn choose(
        shared: &Arc<Shared>,
        broken: &HashSet<CollectionId>,
    ) -> Result<Option<Self>> {
        let ids: Vec<CollectionId> = {
            let catalog = shared.view.catalog.read();
            catalog.collections().iter().map(|c| c.description.id).collect()
        };
        for id in ids.into_iter().filter(|id| !broken.contains(id)) {
            let chosen = Self::plan(shared, id, |shape| pick(shape, &PolicyOptions::default()))?;
            if chosen.is_some() {
                return Ok(chosen);
            }
        }
        Ok(None)
    }

    /// Merges all sealed runs of a collection; `None` when nothing is gained by it.
    pub(crate) fn whole(shared: &Arc<Shared>, collection: CollectionId) -> Result<Option<Self>> {
        let planned = Self::plan(shared, collection, pick_full)?;
        Ok(planned.map(|planned| Self { reason: CompactionReason::Explicit, ..planned }))
    }

    fn plan(
        shared: &Arc<Shared>,
        collection: CollectionId,
        choose: impl FnOnce(&PolicyInput) -> Option<Job>,
    ) -> Result<Option<Self>> {
        let installer = shared.installer.lock();
        let Some(known) = installer.log.state().collections().get(&collection) else {
            return Ok(None);
        };
        // What readers are refused already, and no less: since is published when it is durable.
        let Some(since) =
            shared.view.catalog.read().collections().get(collection).map(|known| known.since)
        else {
            return Ok(None);
        };
        let shape =
            shape(&installer, &known.runs, since, shared.view.options.memtable_bytes as u64)?;
        let Some(job) = choose(&shape) else { return Ok(None) };
        let (input, warmth, reason) = match &job {
            Job::MergeRuns { first_run, last_run } => {
                let warmth = if *first_run == 0 { Warmth::Cold } else { Warmth::Warm };
                (known.runs.plan_runs(*first_run, *last_run), warmth, CompactionReason::Runs)
            }
            Job::MergeFuture { parts } => {
                (known.runs.plan_future(parts), Warmth::Warm, CompactionReason::Future)
            }
        };
        let input = input.ok_or_else(|| Error::Internal {
            what: format!("{job:?} is not among the runs of collection {collection}"),
        })?;
        let interval = input.interval().unwrap_or(TimeWindow::ALL);
        let inputs = input
            .sources()
            .into_iter()
            .map(|(part, window)| {
                let cursor = part_cursor(&installer, &part, window)?;
                Ok(MergeInput::new(cursor, since, interval))
            })
            .collect::<Result<_>>()?;
        let writers = Arc::clone(shared);
        let identity = shared.identity(collection, known.head.kind);
        let make: MakeWriter = Box::new(move || writers.segment_writer(identity, warmth));
        let (fs, dir) = (Arc::clone(&shared.view.env.fs), shared.view.dir.clone());
        let mut merge = Merge::new(inputs, fs, dir, make);
        if known.head.kind.is_table() {
            // The oldest run is the one that ends in cold storage.
            let floor = match warmth {
                Warmth::Cold => Floor::Nothing,
                Warmth::Warm => Floor::OlderMayExist,
            };
            merge = merge.of_versions(since, floor);
        }
        let merge = Some(merge);
        let start = shared.view.env.clock.monotonic();
        Ok(Some(Self { identity, input, merge, reason, start, finished: None }))
    }

    /// The collection that is worked on.
    pub(crate) const fn collection(&self) -> CollectionId {
        self.identity.collection
    }

    /// What is to be told of it, once it is done, by a caller that holds no lock.
    pub(crate) fn take_event(&mut self) -> Option<DbEvent> {
        self.finished.take()
    }

    /// Merges a bounded number of updates, and installs the result after the last.
    pub(crate) fn step(&mut self, shared: &Shared) -> Result<Progress> {
        let Some(mut merge) = self.merge.take() else { return Ok(Progress::Done) };
        match merge.step(STEP_UPDATES)? {
            MergeState::Running => {
                self.merge = Some(merge);
                Ok(Progress::More)
            }
            MergeState::Drained => {
                self.install(shared, merge.finish()?)?;
                Ok(Progress::Done)
            }
        }
    }

    fn install(&mut self, shared: &Shared, output: Vec<SegmentMeta>) -> Result<()> {
        let id = self.identity.collection;
        let opened = shared.open_new(self.identity, &output)?;
        if !opened.is_empty()
            && let Err(e) = shared.sync_dir()
        {
            // Nobody else knows these files: the next attempt writes its own.
            opened.iter().for_each(|segment| segment.mark_obsolete());
            return Err(e);
        }
        let sources = self.input.sources();
        let inputs: Vec<&SegmentMeta> = sources.iter().flat_map(|(part, _)| part).collect();
        let input_bytes = inputs.iter().map(|meta| meta.file_len).sum();
        let output_bytes = output.iter().map(|meta| meta.file_len).sum();
        shared.view.counters.compactions(1);
        shared.view.counters.compaction_read_bytes(input_bytes);
        shared.view.counters.compaction_write_bytes(output_bytes);
        let name = {
            let catalog = shared.view.catalog.read();
            catalog.collections().get(id).map(|known| known.description.name.to_string())
        };
        let finished = DbEvent::CompactionFinished {
            collection: name.unwrap_or_default(),
            reason: self.reason,
            inputs: inputs.len() as u64,
            input_bytes,
            outputs: output.len() as u64,
            output_bytes,
            duration: shared.view.env.clock.monotonic().saturating_sub(self.start),
        };
        shared.install(opened, None, |state| {
            // Dropped or superseded meanwhile: without an edit that names them, the new segments
            // are let go again.
            let Some(known) = state.collections().get(&id) else { return Ok(Edit::default()) };
            let mut runs = RunList::clone(&known.runs);
            let ops = match runs.replace(&self.input, output)? {
                Replaced::Done => vec![EditOp::Runs { id, runs }],
                Replaced::Superseded => Vec::new(),
            };
            Ok(Edit { ops })
        })?;
        self.finished = Some(finished);
        Ok(())
    }
}

fn part_cursor(installer: &Installer, part: &Part, window: TimeWindow) -> Result<PartCursor> {
    let segments: Arc<[_]> =
        part.iter().map(|meta| installer.segment(meta.id)).collect::<Result<_>>()?;
    let shown = if planted(Bug::MergeShowsHidden) { TimeWindow::ALL } else { window };
    Ok(PartCursor::new(segments, shown))
}

/// What the policy chooses from.
fn shape(
    installer: &Installer,
    runs: &RunList,
    since: Frontier,
    memtable_bytes: u64,
) -> Result<PolicyInput> {
    let part_shape = |part: &Part, window: Option<TimeWindow>| {
        let times = part_window(part);
        let (Some(window), Some(times)) = (window, times) else {
            return Ok(PartShape::default());
        };
        let bytes = part.iter().map(|meta| meta.file_len).sum();
        let mut shape =
            PartShape { bytes: bytes_in_window(bytes, times, window), ..PartShape::default() };
        // Of a part that other runs see as well, nothing would be freed.
        if window.covers(times) {
            for meta in part {
                shape.dead_bytes += installer.segment(meta.id)?.garbage(since)?.bytes;
            }
        }
        Ok::<_, Error>(shape)
    };
    let run_shape = |parts: &[Part], window| {
        parts.iter().map(|part| part_shape(part, window)).collect::<Result<Vec<_>>>()
    };
    Ok(PolicyInput {
        runs: runs
            .sealed
            .iter()
            .map(|run| Ok(RunShape { parts: run_shape(&run.parts, run.interval())? }))
            .collect::<Result<_>>()?,
        future: run_shape(&runs.future, runs.future_interval())?,
        memtable_bytes,
        read_hot: false,
    })
}
