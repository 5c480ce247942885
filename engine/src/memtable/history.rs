//! [`History`]: the updates of one key in order of time, and what they come to.
//!
//! The memtable's counterpart of the anchors of a segment. A table asks for the last version up to a
//! time: a search in the rows. A multiset asks what the updates up to a time add up to: the last
//! state before it, and the rows from there on. Values stay in the arena.
//!
//! Costs, for `n` rows: 16 bytes a row and 10 more for the states at most; a search takes a few
//! steps when times are spread evenly and O(log n) otherwise; what it adds up is at most the state's
//! entries, and four times as many rows or [`STATE_EVERY`].
//!
//! # Invariants
//! 1. Rows ascend in time, and of one time the greater values come first: so the last row up to a
//!    time is the version that counts there, see [`table_val`](crate::format::table_val).
//! 2. State `i` is the sum of the rows before `ends[i].rows`, with no entry that is zero and none
//!    twice. Ends ascend, by `STATE_EVERY` at least.

use super::arena::{Arena, Entry, EntryRef};
use crate::found::{Found, ValRef};
use crate::gallop::partition_point_near;
use crate::types::{TimeWindow, Timestamp};
use std::cmp::Ordering;

/// Least rows from one state to the next.
const STATE_EVERY: usize = 16;
/// Rows to the next state for each entry of a state: bounds the memory of wide keys, whose reads
/// give that many values anyway.
const ROWS_PER_STATE_ENTRY: usize = 4;

/// An update of the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryRow {
    ts: Timestamp,
    at: EntryRef,
}

const _: () = assert!(size_of::<HistoryRow>() == 16);

impl HistoryRow {
    pub(super) fn new(at: EntryRef, entry: &Entry<'_>) -> Self {
        Self { ts: entry.ts(), at }
    }

    /// See I1.
    fn compare(&self, other: &Self, arena: &Arena) -> Ordering {
        let vals = || arena.entry(other.at).val.cmp(arena.entry(self.at).val);
        self.ts.cmp(&other.ts).then_with(vals)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct History {
    rows: Vec<HistoryRow>,
    spread: Spread,
    /// Rows that the latest [`History::add`] has put others before.
    moved: usize,
    /// Made when somebody asks for sums.
    states: Option<States>,
}

impl History {
    /// Takes in rows, the oldest first. Costs time in the rows from the earliest of their times on.
    pub(super) fn add(&mut self, arena: &Arena, new: &[HistoryRow]) {
        let compare = |a: &HistoryRow, b: &HistoryRow| a.compare(b, arena);
        let Some(first) = new.iter().min_by(|a, b| compare(a, b)) else { return };
        let from = match self.rows.last() {
            Some(last) if compare(first, last).is_lt() => {
                self.rows.partition_point(|row| compare(row, first).is_le())
            }
            _ => self.rows.len(),
        };
        self.moved = self.rows.len() - from;
        self.rows.extend_from_slice(new);
        if let Some(unordered) = self.rows.get_mut(from..) {
            unordered.sort_by(compare);
        }
        self.spread = Spread::of(&self.rows);
        if let Some(states) = &mut self.states {
            states.truncate(from);
            states.extend(arena, &self.rows);
        }
    }

    /// Makes it answer [`History::gather`].
    pub(super) fn keep_states(&mut self, arena: &Arena) {
        self.states.get_or_insert_default().extend(arena, &self.rows);
    }

    pub(super) fn has_states(&self) -> bool {
        self.states.is_some()
    }

    /// Count of the rows.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    /// Rows that the latest addition has put others before.
    pub(super) fn moved(&self) -> usize {
        self.moved
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let states = self.states.as_ref().map_or(0, States::bytes);
        (self.rows.capacity() * size_of::<HistoryRow>()) as u64 + states
    }

    /// The version of a table that counts at the end of `window`, if it lies in the window.
    pub(super) fn version<'a>(&self, arena: &'a Arena, window: TimeWindow) -> Option<Entry<'a>> {
        let last = self.count_until(window.last).checked_sub(1)?;
        let row = self.rows.get(last).filter(|row| window.contains(row.ts))?;
        Some(arena.entry(row.at))
    }

    /// Pushes values with sums that come to what the updates in `window` add up to.
    pub(super) fn gather<'a>(&self, arena: &'a Arena, window: TimeWindow, found: &mut Found<'a>) {
        let end = self.count_until(window.last);
        let start = match window.first.checked_sub(1) {
            Some(before) => self.count_until(before),
            None => 0,
        };
        if start >= end {
            return;
        }
        let (none, empty) = ((0, &[][..]), States::default());
        let states = self.states.as_ref().unwrap_or(&empty);
        let (from, state) = states.before(end);
        // What was there before the window is taken off again, unless all is near.
        let ((from, state), (less_from, less)) = match from > start {
            true => ((from, state), if start > 0 { states.before(start) } else { none }),
            false => ((start, none.1), (start, none.1)),
        };
        let mut push = |entry: Entry<'a>, sum| found.push(ValRef::Borrowed(entry.val), sum);
        state.iter().for_each(|known| push(arena.entry(known.at), known.sum));
        less.iter().for_each(|known| push(arena.entry(known.at), -known.sum));
        let less_end = if from > start { start } else { less_from };
        for row in self.rows.get(from..end).unwrap_or_default() {
            let entry = arena.entry(row.at);
            push(entry, entry.diff().into());
        }
        for row in self.rows.get(less_from..less_end).unwrap_or_default() {
            let entry = arena.entry(row.at);
            push(entry, -i128::from(entry.diff()));
        }
    }

    /// Count of the rows up to `ts`, inclusive. Searched from where it would be if times were
    /// evenly spread.
    fn count_until(&self, ts: Timestamp) -> usize {
        let rows = self.rows.as_slice();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return 0 };
        if ts < first.ts {
            return 0;
        }
        if ts >= last.ts {
            return rows.len();
        }
        let guess = self.spread.guess(ts - first.ts);
        partition_point_near(0..rows.len(), guess, |index| {
            rows.get(index).is_some_and(|row| row.ts <= ts)
        })
    }
}

/// How many rows there are to a step of time, when times are evenly spread: a fixed-point number, so
/// that a guess costs a multiplication.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    rows: u64,
    shift: u32,
}

impl Spread {
    fn of(rows: &[HistoryRow]) -> Self {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Self::default() };
        let (count, span) = (rows.len() as u64 - 1, last.ts - first.ts);
        if span == 0 {
            return Self::default();
        }
        let bits = |number: u64| u64::BITS - number.leading_zeros();
        // As many bits as leave the quotient below 2^64, and the dividend below 2^127.
        let shift = u64::BITS - 1 + bits(span) - bits(count);
        Self { rows: ((u128::from(count) << shift) / u128::from(span)) as u64, shift }
    }

    /// The row `since_first` steps after the first one, to the nearest.
    #[inline]
    fn guess(self, since_first: u64) -> usize {
        let half = (1_u128 << self.shift) >> 1;
        ((u128::from(since_first) * u128::from(self.rows) + half) >> self.shift) as usize
    }
}

/// Some copies of a value.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// An entry with the value.
    at: EntryRef,
    sum: i128,
}

/// Where a state ends.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Count of the rows that it sums up.
    rows: usize,
    /// In `States::entries`.
    entries: usize,
}

/// What the rows add up to, after every so many of them (I2).
#[derive(Debug, Default)]
struct States {
    ends: Vec<End>,
    entries: Vec<Known>,
}

impl States {
    fn bytes(&self) -> u64 {
        let (ends, entries) = (self.ends.capacity(), self.entries.capacity());
        (ends * size_of::<End>() + entries * size_of::<Known>()) as u64
    }

    /// The last state of at most `rows` rows, and how many it sums up.
    fn before(&self, rows: usize) -> (usize, &[Known]) {
        // No more can be before it (I2), and just as many are in a key of few values.
        let most = (rows / STATE_EVERY).min(self.ends.len());
        let all = self.ends.get(..most).unwrap_or_default();
        let count = match all.last() {
            Some(end) if end.rows > rows => all.partition_point(|end| end.rows <= rows),
            _ => most,
        };
        let end_of = |count: usize| count.checked_sub(1).and_then(|last| self.ends.get(last));
        let Some(end) = end_of(count) else { return (0, &[]) };
        let start = end_of(count - 1).map_or(0, |end| end.entries);
        (end.rows, self.entries.get(start..end.entries).unwrap_or_default())
    }

    /// Forgets the states of more than `rows` rows.
    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(self.ends.partition_point(|end| end.rows <= rows));
        self.entries.truncate(self.ends.last().map_or(0, |end| end.entries));
    }

    /// Adds the states that are due. Costs time in the rows since the last one: a state is due only
    /// when they outnumber its entries.
    fn extend(&mut self, arena: &Arena, rows: &[HistoryRow]) {
        loop {
            let (from, state) = self.before(usize::MAX);
            let count = (state.len() * ROWS_PER_STATE_ENTRY).max(STATE_EVERY);
            let Some(new) = rows.get(from..).and_then(|rest| rest.get(..count)) else { return };
            let mut all: Vec<(&[u8], Known)> = Vec::with_capacity(state.len() + count);
            all.extend(state.iter().map(|known| (arena.entry(known.at).val, *known)));
            all.extend(new.iter().map(|row| {
                let entry = arena.entry(row.at);
                (entry.val, Known { at: row.at, sum: entry.diff().into() })
            }));
            all.sort_unstable_by(|a, b| a.0.cmp(b.0));
            for group in all.chunk_by(|a, b| a.0 == b.0) {
                let sum: i128 = group.iter().map(|(_, known)| known.sum).sum();
                if let Some((_, Known { at, .. })) = group.first()
                    && sum != 0
                {
                    self.entries.push(Known { at: *at, sum });
                }
            }
            self.ends.push(End { rows: from + count, entries: self.entries.len() });
        }
    }
}
