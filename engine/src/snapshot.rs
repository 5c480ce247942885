//! [`Snapshot`]: a reader's hold on the segments and memtables of one collection at one time.

mod changes;
mod contents;
mod diffs;
mod versions;

pub use changes::VersionChanges;
pub use contents::Contents;
pub use versions::{VersionRow, VersionRows};

use crate::catalog::{MemSet, PartSource, ReadSet};
use crate::collection::Description;
use crate::consolidate::advance_and_consolidate;
use crate::cursor::Cursor;
use crate::error::{Error, Result, display_bytes};
use crate::format::key_hash;
use crate::format::log_key::{event_key, split_event};
use crate::found::Found;
use crate::memtable::{MemCursor, Memtable, Slot};
use crate::read::{MergeCursor, PartCursor, RangeSpec, Rows, Source};
use crate::segment::Segment;
use crate::sync;
use crate::types::{Frontier, Kind, TimeWindow, Timestamp, Update};
use contents::events_only;
use diffs::Diffs;
use std::sync::Arc;

/// The contents of a collection at one time. Cheap to clone; stays correct whatever happens to the
/// collection, because everything that it reads is immutable below its time.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    name: Arc<str>,
    kind: Kind,
    /// What lies before is not seen; 0 unless it was asked what was written since.
    from: Timestamp,
    as_of: Timestamp,
    memtables: Vec<(Arc<Memtable>, sync::Arc<Slot>)>,
    reads: Arc<ReadSet>,
}

impl Snapshot {
    /// Pins what is read at `as_of`. The caller has checked that it may be.
    pub(crate) fn new(
        description: &Description,
        as_of: Timestamp,
        mem: &MemSet,
        reads: Arc<ReadSet>,
    ) -> Self {
        Self::of_window(description, TimeWindow { first: 0, last: as_of }, mem, reads)
    }

    /// Pins what was written in a window of times.
    pub(crate) fn of_window(
        description: &Description,
        window: TimeWindow,
        mem: &MemSet,
        reads: Arc<ReadSet>,
    ) -> Self {
        let Description { id, kind, .. } = *description;
        let name = Arc::clone(&description.name);
        let memtables = mem
            .iter()
            .filter_map(|memtable| Some((Arc::clone(memtable), memtable.slot(id)?)))
            .filter(|(_, slot)| slot.times().is_some_and(|times| times.intersect(window).is_some()))
            .collect();
        Self(Arc::new(Inner {
            name,
            kind,
            from: window.first,
            as_of: window.last,
            memtables,
            reads,
        }))
    }

    /// The time that it answers for.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        self.0.as_of
    }

    fn window(&self) -> TimeWindow {
        TimeWindow { first: self.0.from, last: self.0.as_of }
    }

    fn parts(&self) -> impl Iterator<Item = (&PartSource, TimeWindow)> {
        self.parts_in(self.window())
    }

    fn parts_in(&self, window: TimeWindow) -> impl Iterator<Item = (&PartSource, TimeWindow)> {
        self.0
            .reads
            .parts
            .iter()
            .filter_map(move |part| Some((part, part.window.intersect(window)?)))
    }

    /// Calls `visit` with each value of `key` and its multiplicity, in order of the values.
    #[inline]
    pub fn get(&self, key: &[u8], mut visit: impl FnMut(&[u8], i64) -> Result<()>) -> Result<()> {
        let hash = key_hash(key);
        let mut found = Found::new();
        for (memtable, slot) in &self.0.memtables {
            memtable.get(slot, key, hash, self.window(), &mut found);
        }
        // A filter saves a probe of the hash index only when most parts lack the key.
        let use_filter = self.0.reads.parts.len() > 1;
        for (part, window) in self.parts() {
            if let Some(segment) = segment_with(&part.segments, key)? {
                segment.get(key, hash, window, &mut found, use_filter)?;
            }
        }
        found.visit(|val, sum| visit(val, self.multiplicity(key, sum)?))
    }

    /// Announces that `key` will be looked up soon.
    #[inline]
    pub(crate) fn announce(&self, key: &[u8]) {
        // Several parts ask their filters first, which mostly end the search.
        if let [part] = self.0.reads.parts.as_slice()
            && let Ok(Some(segment)) = segment_with(&part.segments, key)
        {
            segment.announce(key_hash(key));
        }
    }

    fn multiplicity(&self, key: &[u8], sum: i128) -> Result<i64> {
        i64::try_from(sum).map_err(|_| Error::DiffOverflow {
            collection: self.0.name.to_string(),
            key: display_bytes(key),
        })
    }

    /// The rows whose key is in `range`, in order of `(key, val)`.
    #[must_use]
    pub fn rows(&self, range: RangeSpec) -> Rows<Source> {
        Rows::new(self.sources(), Arc::clone(&self.0.name), range)
    }

    /// Everything that is read, in order of `(key, val)`.
    fn sources(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        for (_, slot) in &self.0.memtables {
            memtable_sources(slot, self.window(), &mut sources);
        }
        for (part, window) in self.parts() {
            sources.push(Source::Segment(PartCursor::new(Arc::clone(&part.segments), window)));
        }
        sources
    }

    /// The difference between the contents at `from` and at `to`, in order of `(key, val)`. The
    /// caller has checked that since is not beyond `from`. Touches only memtables, segments and
    /// blocks with times in between, and of a table the versions before of the keys in them.
    pub(crate) fn changes(&self, from: Timestamp, to: Timestamp, range: RangeSpec) -> Contents {
        if self.0.kind.is_table() {
            return Contents::Changes(Box::new(self.version_changes(from, to, range)));
        }
        let window = TimeWindow::between(Frontier::just_beyond(from), Frontier::just_beyond(to));
        let rows = |range| Rows::new(self.sources_in(window), Arc::clone(&self.0.name), range);
        match self.0.kind {
            Kind::Log => Contents::Events(rows(events_only(range))),
            _ => Contents::Rows(rows(range)),
        }
    }

    /// The updates in `window`, with times below `since` at since. The caller has made the window
    /// begin at 0 where updates that may have been advanced to since belong to it.
    pub(crate) fn updates(
        &self,
        window: Option<TimeWindow>,
        since: Frontier,
        range: RangeSpec,
    ) -> Updates {
        let kind = self.0.kind;
        let range = if kind == Kind::Log { events_only(range) } else { range };
        let mut updates = Updates::over(kind, self.sources_in(window), since, range);
        if kind.is_table()
            && let Some(before) = window.and_then(|window| window.first.checked_sub(1))
        {
            updates.before = Some((self.clone(), before));
        }
        updates
    }

    /// Calls `visit` with a key, and the bytes from there on to the next such key of the same
    /// source, each time about `step` bytes have come together. Returns all bytes. No data is read:
    /// blocks are weighed by their index, rows in memory by their average.
    pub(crate) fn weigh(&self, step: u64, mut visit: impl FnMut(Vec<u8>, u64)) -> Result<u64> {
        let mut total = 0;
        for (_, slot) in &self.0.memtables {
            let average = (slot.bytes() / slot.updates().max(1)).max(1);
            let rows = usize::try_from(step / average).unwrap_or(usize::MAX).max(1);
            for run in slot.sorted_runs() {
                total += run.count() as u64 * average;
                for at in (0..run.count()).step_by(rows) {
                    let weight = rows.min(run.count() - at) as u64 * average;
                    run.key_at(at).into_iter().for_each(|key| visit(key.to_vec(), weight));
                }
            }
        }
        for (part, window) in self.parts() {
            for segment in part.segments.iter() {
                total += segment.weigh(window, step, &mut visit)?;
            }
        }
        Ok(total)
    }

    /// Sources with times in the window only; of a part only the segments that have any.
    fn sources_in(&self, window: Option<TimeWindow>) -> Vec<Source> {
        let mut sources = Vec::new();
        let Some(window) = window.and_then(|window| window.intersect(self.window())) else {
            return sources;
        };
        for (_, slot) in &self.0.memtables {
            if slot.times().is_some_and(|times| times.intersect(window).is_some()) {
                memtable_sources(slot, window, &mut sources);
            }
        }
        for (part, window) in self.parts_in(window) {
            let has_times = |s: &&Arc<Segment>| s.meta().window().intersect(window).is_some();
            let segments: Arc<[_]> = part.segments.iter().filter(has_times).cloned().collect();
            if !segments.is_empty() {
                sources.push(Source::Segment(PartCursor::new(segments, window)));
            }
        }
        sources
    }
}

/// The segment of a part that may hold `key`: they are disjoint in their keys.
#[inline]
fn segment_with<'s>(segments: &'s [Arc<Segment>], key: &[u8]) -> Result<Option<&'s Arc<Segment>>> {
    if let [one] = segments {
        return Ok(Some(one));
    }
    let (mut low, mut high) = (0, segments.len());
    while let Some(middle) = segments.get(low + (high - low) / 2).filter(|_| low < high) {
        if middle.stats()?.max_key.as_slice() < key {
            low += (high - low) / 2 + 1;
        } else {
            high = low + (high - low) / 2;
        }
    }
    Ok(segments.get(low))
}

fn memtable_sources(slot: &sync::Arc<Slot>, window: TimeWindow, sources: &mut Vec<Source>) {
    for run in slot.sorted_runs() {
        sources.push(Source::Memtable(MemCursor::new(run, window)));
    }
}

/// All updates of a collection, in order of `(key, val, ts)` and consolidated, with times below
/// since at since.
///
/// # Invariants
/// 1. After an error every later call returns the same error.
/// 2. After the end every later call returns `None`.
#[derive(Debug)]
pub struct Updates {
    kind: Kind,
    merge: MergeCursor<Source>,
    since: Frontier,
    /// For tables: the key that was read last, and its updates that are still to come.
    key: Vec<u8>,
    val: Vec<u8>,
    /// For a table that is not read from its beginning: where to find what a key had before.
    before: Option<(Snapshot, Timestamp)>,
    of_key: std::vec::IntoIter<(Vec<u8>, Timestamp, i64)>,
    range: RangeSpec,
    /// The first key beyond the range.
    limit: Option<Vec<u8>>,
    pending: Vec<(Timestamp, i64)>,
    next: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unread,
    Reading,
    Ended,
}

impl Updates {
    /// Everything in `frozen` memtables and `reads`. The caller has frozen the active memtable, so
    /// that no commit is seen by halves.
    pub(crate) fn new(
        Description { id, kind, .. }: &Description,
        since: Frontier,
        mem: &MemSet,
        reads: &ReadSet,
    ) -> Self {
        let mut sources = Vec::new();
        for frozen in &mem.frozen {
            if let Some(slot) = frozen.memtable.slot(*id) {
                memtable_sources(&slot, TimeWindow::ALL, &mut sources);
            }
        }
        for part in &reads.parts {
            let segments = Arc::clone(&part.segments);
            sources.push(Source::Segment(PartCursor::new(segments, part.window)));
        }
        Self::over(*kind, sources, since, RangeSpec::ALL)
    }

    /// The updates that `sources` show in a range of keys.
    fn over(kind: Kind, sources: Vec<Source>, since: Frontier, range: RangeSpec) -> Self {
        let (merge, limit) = (MergeCursor::new(sources), range.end_key());
        let (key, val, of_key) = (Vec::new(), Vec::new(), Vec::new().into_iter());
        let (pending, next, state) = (Vec::new(), 0, State::Unread);
        let before = None;
        Self { kind, merge, since, key, val, before, of_key, range, limit, pending, next, state }
    }

    /// The next update, `None` after the last one.
    #[expect(clippy::should_implement_trait, reason = "it lends; an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Update<'_>>> {
        if self.state == State::Unread {
            self.state = State::Reading;
            match self.range.first_key() {
                Some(key) => self.merge.seek(&key)?,
                None => self.merge.seek_first()?,
            }
        }
        if self.kind.is_table() {
            return self.next_of_table();
        }
        while self.next >= self.pending.len() {
            self.pending.clear();
            self.next = 0;
            let pending = &mut self.pending;
            if self.state == State::Ended
                || !self.merge.next_group(|_, source| source.updates(pending))?
                || self.limit.as_deref().is_some_and(|limit| self.merge.key() >= limit)
            {
                self.state = State::Ended;
                self.pending.clear();
                return Ok(None);
            }
            // The ids of a log follow its events.
            if self.kind == Kind::Log && self.merge.key().len() != event_key(0).len() {
                return Ok(None);
            }
            advance_and_consolidate(&mut self.pending, self.since);
        }
        let Some(&(ts, diff)) = self.pending.get(self.next) else { return Ok(None) };
        self.next += 1;
        let (key, val) = self.merge.entry();
        let val = if self.kind == Kind::Log { split_event(val).1 } else { val };
        Ok(Some(Update { key, val, ts, diff }))
    }

    /// The next update of a table: the versions of a key are gathered, as its older values are told
    /// from the newer ones.
    fn next_of_table(&mut self) -> Result<Option<Update<'_>>> {
        loop {
            if let Some((val, ts, diff)) = self.of_key.next() {
                self.val = val;
                return Ok(Some(Update { key: &self.key, val: &self.val, ts, diff }));
            }
            let Some(source) = self.merge.current() else { return Ok(None) };
            if self.limit.as_deref().is_some_and(|limit| source.key() >= limit) {
                return Ok(None);
            }
            self.key.clear();
            self.key.extend_from_slice(source.key());
            let mut diffs = Diffs::default();
            while let Some(source) = self.merge.current().filter(|source| source.key() == self.key)
            {
                let diff = source.sum() as i64;
                if diff != 0 {
                    diffs.push(source.val(), diff);
                }
                self.merge.step()?;
            }
            if diffs.is_empty() {
                continue;
            }
            let before = match &self.before {
                Some((snapshot, ts)) => snapshot.val_at(&self.key, *ts)?,
                None => None,
            };
            self.of_key = diffs.take(self.kind, self.since, before).into_iter();
        }
    }
}
