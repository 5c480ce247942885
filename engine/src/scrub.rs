//! [`Scrub`]: reads every segment once a period, to find what the device has lost before it is needed.
//!
//! A pass goes over the segments by their identifiers, piece by piece. What a merge or a drop has
//! taken away is left out, what was written since the pass began is left to the next one.
//!
//! # Invariants
//! 1. No segment is kept between two steps, only its identifier and the place in it.
//! 2. A piece that took a part of the pass's bytes is followed by a pause of that part of the period,
//!    but for pauses of the last [`LATE_MAX`] that were too long.
//! 3. A damaged segment is told of and counted once a pass.

use crate::config::Options;
use crate::error::Result;
use crate::events::DbEvent;
use crate::limits::SCRUB_PIECE_LEN;
use crate::segment::{ScrubPlace, Segment};
use crate::sync::{Mutex, MutexGuard};
use crate::types::SegmentId;
use crate::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How much of the time that other work took is caught up with.
const LATE_MAX: Duration = Duration::from_secs(10);
/// Bounds of the time after which a thread looks again.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The scrub of one database.
#[derive(Debug)]
pub(crate) struct Scrub {
    period: Duration,
    /// Held while a piece is read: at most one is. No other lock but the catalog's is taken under it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pass: Option<Pass>,
    /// By the monotonic clock: when the next piece may be read.
    due: Duration,
}

#[derive(Debug)]
struct Pass {
    started: Duration,
    /// Bytes of the segments that were there when it began.
    bytes: u64,
    /// The segments below this were there when it began.
    end: SegmentId,
    /// The segment that it is at, or the next that is left.
    segment: SegmentId,
    place: ScrubPlace,
    /// Bytes of it that were read.
    done: u64,
}

impl Scrub {
    /// The scrub that the options ask for, if they do.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let period = Duration::from_secs(options.scrub_period_seconds);
        (!period.is_zero()).then(|| Self { period, state: Mutex::default() })
    }

    /// How long a thread may wait before it looks again, zero when a piece is due.
    pub(crate) fn pause(&self, view: &View) -> Duration {
        let Some(state) = self.state.try_lock() else { return PAUSE_MAX };
        let now = view.env.clock.monotonic();
        match state.due.checked_sub(now) {
            Some(left) if !left.is_zero() => left.clamp(PAUSE_MIN, PAUSE_MAX),
            _ if state.pass.is_none() && live_from(view, SegmentId(0)).is_none() => PAUSE_MAX,
            _ => Duration::ZERO,
        }
    }

    /// Reads the next piece if it is due; whether it was.
    pub(crate) fn step(&self, view: &View) -> bool {
        let Some(mut state) = self.state.try_lock() else { return false };
        let now = view.env.clock.monotonic();
        if now < state.due {
            return false;
        }
        if state.pass.is_none() {
            // The first pass begins when it is asked for, others when the one before has had its time.
            let late = if state.due.is_zero() { now } else { now.saturating_sub(LATE_MAX) };
            let start = state.due.max(late);
            state.pass = Pass::begin(view, start);
            state.due = start;
        }
        let Some(pass) = &mut state.pass else { return false };
        let next = live_from(view, pass.segment).filter(|next| next.meta().id < pass.end);
        let Some(segment) = next else {
            state.due = pass.started + self.period;
            state.pass = None;
            view.counters.scrub_passes(1);
            return true;
        };
        let (bytes, found) = pass.piece(&segment);
        drop(segment);
        let part = (bytes as f64 / pass.bytes.max(1) as f64).min(1.0);
        state.due = state.due.max(now.saturating_sub(LATE_MAX)) + self.period.mul_f64(part);
        Self::tell(view, state, bytes, found);
        true
    }

    /// Counts what was read and tells of damage, outside of the lock.
    fn tell(view: &View, state: MutexGuard<'_, State>, bytes: u64, found: Result<()>) {
        drop(state);
        view.counters.scrubbed_bytes(bytes);
        if let Err(error) = found {
            view.counters.scrub_damaged(1);
            view.tell(|| DbEvent::Damage { error });
        }
    }
}

impl Pass {
    /// A pass over the segments that there are now, `None` when there are none.
    fn begin(view: &View, now: Duration) -> Option<Self> {
        let mut live = BTreeMap::new();
        each_live(view, |segment| {
            live.insert(segment.meta().id, segment.meta().file_len);
        });
        let bytes = live.values().sum();
        let end = live.last_key_value().map(|(id, _)| SegmentId(id.0.saturating_add(1)));
        let (segment, place) = (SegmentId(0), ScrubPlace::default());
        Some(Self { started: now, bytes, end: end?, segment, place, done: 0 })
    }

    fn go_to(&mut self, segment: SegmentId) {
        (self.segment, self.place, self.done) = (segment, ScrubPlace::default(), 0);
    }

    /// Reads a piece of `segment`; its bytes, and what is wrong with it.
    fn piece(&mut self, segment: &Segment) -> (u64, Result<()>) {
        let id = segment.meta().id;
        if self.segment != id {
            self.go_to(id);
        }
        let scrubbed = segment.scrub(&mut self.place, SCRUB_PIECE_LEN);
        let (bytes, found) = match scrubbed {
            Ok(Some(bytes)) => {
                self.done += bytes;
                return (bytes, Ok(()));
            }
            Ok(None) => (0, Ok(())),
            // About what was read until then.
            Err(e) => {
                let left = segment.meta().file_len.saturating_sub(self.done);
                (left.min(SCRUB_PIECE_LEN as u64), Err(e))
            }
        };
        self.go_to(SegmentId(id.0.saturating_add(1)));
        (bytes, found)
    }
}

/// The live segment with the least identifier from `from` on.
fn live_from(view: &View, from: SegmentId) -> Option<Arc<Segment>> {
    let mut least: Option<Arc<Segment>> = None;
    each_live(view, |segment| {
        let id = segment.meta().id;
        if id >= from && least.as_ref().is_none_or(|least| id < least.meta().id) {
            least = Some(Arc::clone(segment));
        }
    });
    least
}

/// Visits the live segments under the catalog's lock; one of several parts more than once.
fn each_live(view: &View, mut visit: impl FnMut(&Arc<Segment>)) {
    let catalog = view.catalog.read();
    for collection in catalog.collections().iter() {
        let reads = catalog.reads(collection.description.id);
        reads.parts.iter().flat_map(|part| part.segments.iter()).for_each(&mut visit);
    }
}
