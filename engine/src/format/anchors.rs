//! Anchors: the updates of keys with long histories once more, in order of time, with the state after
//! every so many of them. What a point read of such a key as of any time needs: a state and fewer than
//! [`ANCHOR_EVERY`] updates, however long the history is.
//!
//! Values stay in their blocks: an entry is told by its number, counted from the key's first entry on.
//! An optional section: without it, or without a key in it, the history is added up.
//!
//! # Invariants
//! 1. A key is in the section only with all of its updates in the segment.
//! 2. An entry that goes on with the value of the one before counts as that one.
//! 3. A decoded section is safe to read: every range lies inside, times ascend, states are small. That
//!    entries are there is checked by who looks for them.

use super::{FormatError, Reader, SpecConstant, SpecLayout};
use crate::types::Timestamp;
use bytes::Bytes;
use std::ops::Range;

/// Length of the section before its rows.
pub const ANCHORS_HEADER_LEN: usize = 16;
/// Length of the row of a key.
pub const ANCHOR_KEY_LEN: usize = 32;
/// Updates from one state to the next.
pub const ANCHOR_EVERY: usize = 64;
/// Most entries of a state; a key with a larger one has no anchors.
pub const ANCHOR_ENTRIES_MAX: usize = 16;
/// Least updates of a key with anchors.
pub const ANCHOR_UPDATES_MIN: usize = 129;
/// Most updates of a key with anchors: bounds what a writer keeps in memory.
pub const ANCHOR_UPDATES_MAX: usize = 1 << 20;
/// Longest section; further keys have no anchors.
pub const ANCHORS_LEN_MAX: usize = 32 << 20;
/// Flag of a key: its times take 8 bytes, otherwise 4.
pub const ANCHOR_WIDE_TIMES: u32 = 1;
/// Flag of a key: its diffs take 8 bytes, otherwise 1.
pub const ANCHOR_WIDE_DIFFS: u32 = 2;

/// The constants of this module in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("ANCHORS_HEADER_LEN", ANCHORS_HEADER_LEN as u64),
    ("ANCHOR_KEY_LEN", ANCHOR_KEY_LEN as u64),
    ("ANCHOR_EVERY", ANCHOR_EVERY as u64),
    ("ANCHOR_ENTRIES_MAX", ANCHOR_ENTRIES_MAX as u64),
    ("ANCHOR_UPDATES_MIN", ANCHOR_UPDATES_MIN as u64),
    ("ANCHOR_UPDATES_MAX", ANCHOR_UPDATES_MAX as u64),
    ("ANCHORS_LEN_MAX", ANCHORS_LEN_MAX as u64),
    ("ANCHOR_WIDE_TIMES", ANCHOR_WIDE_TIMES as u64),
    ("ANCHOR_WIDE_DIFFS", ANCHOR_WIDE_DIFFS as u64),
];

/// The layouts of this module in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    ("AnchorsHeader", &[("key_count", 4), ("reserved", 12)]),
    (
        "AnchorKey",
        &[
            ("block", 4),
            ("key", 4),
            ("offset", 8),
            ("update_count", 4),
            ("block_count", 4),
            ("state_entries", 4),
            ("flags", 4),
        ],
    ),
];

/// Where a key begins: the number of its block, and its own in there.
pub type AnchorPlace = (u32, u32);

/// Builds the section while entries come in order.
#[derive(Debug)]
pub struct AnchorsBuilder {
    rows: Vec<Row>,
    bodies: Vec<u8>,
    key: Option<Pending>,
    len_max: usize,
    updates_max: usize,
}

impl Default for AnchorsBuilder {
    fn default() -> Self {
        Self::new(ANCHORS_LEN_MAX)
    }
}

/// The key that entries come for.
#[derive(Debug)]
struct Pending {
    place: AnchorPlace,
    /// Number of the key's first entry in each of its blocks.
    firsts: Vec<u32>,
    entries: u32,
    /// Number of the entry whose value the latest one has.
    entry: u32,
    updates: Vec<(Timestamp, u32, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    place: AnchorPlace,
    /// From the start of the section.
    offset: u64,
    updates: u32,
    blocks: u32,
    state_entries: u32,
    flags: u32,
}

impl AnchorsBuilder {
    /// One that makes at most `len_max` bytes (and at most [`ANCHORS_LEN_MAX`]), and takes at most about
    /// three times as many while it does: keys that do not fit have no anchors.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        let len_max = len_max.min(ANCHORS_LEN_MAX);
        let updates_max = ANCHOR_UPDATES_MAX.min(len_max / size_of::<(Timestamp, u32, i64)>());
        Self { rows: Vec::new(), bodies: Vec::new(), key: None, len_max, updates_max }
    }

    /// A new key begins.
    #[inline]
    pub fn begin_key(&mut self, place: AnchorPlace) {
        match &mut self.key {
            // What most keys need: nothing but to forget the one before.
            Some(pending) if pending.updates.len() < ANCHOR_UPDATES_MIN => {
                pending.updates.clear();
                pending.firsts.clear();
                pending.firsts.push(0);
                (pending.place, pending.entries, pending.entry) = (place, 0, 0);
            }
            _ => self.begin_after_long(place),
        }
    }

    #[cold]
    fn begin_after_long(&mut self, place: AnchorPlace) {
        self.end_key();
        let (firsts, updates) = (vec![0], Vec::new());
        self.key = Some(Pending { place, firsts, entries: 0, entry: 0, updates });
    }

    /// The key goes on in another block.
    pub fn begin_block(&mut self) {
        if let Some(pending) = &mut self.key {
            pending.firsts.push(pending.entries);
        }
    }

    /// An entry of the key; `repeats`: with the value of the one before.
    #[inline]
    pub fn entry(&mut self, updates: &[(Timestamp, i64)], repeats: bool) {
        let Some(pending) = &mut self.key else { return };
        if !repeats {
            pending.entry = pending.entries;
        }
        pending.entries = pending.entries.saturating_add(1);
        let entry = pending.entry;
        if pending.updates.len() + updates.len() > self.updates_max {
            self.key = None; // Too long: added up when it is read.
            return;
        }
        pending.updates.extend(updates.iter().map(|&(ts, diff)| (ts, entry, diff)));
    }

    /// The key has ended, and what comes next is not told of.
    pub fn skip(&mut self) {
        self.end_key();
    }

    fn end_key(&mut self) {
        let Some(mut pending) = self.key.take() else { return };
        if pending.updates.len() < ANCHOR_UPDATES_MIN {
            return;
        }
        pending.updates.sort_unstable_by_key(|&(ts, entry, _)| (ts, entry));
        if let Some(states) = States::of(&pending.updates) {
            self.add(&pending, &states);
        }
    }

    fn add(&mut self, pending: &Pending, states: &States) {
        let Pending { place, firsts, updates, .. } = pending;
        let base = updates.first().map_or(0, |(ts, ..)| *ts);
        let narrow_times = updates.iter().all(|(ts, ..)| u32::try_from(ts - base).is_ok());
        let narrow_diffs = updates.iter().all(|(.., diff)| i8::try_from(*diff).is_ok());
        let flags = if narrow_times { 0 } else { ANCHOR_WIDE_TIMES }
            | if narrow_diffs { 0 } else { ANCHOR_WIDE_DIFFS };
        let row = Row {
            place: *place,
            offset: self.bodies.len() as u64,
            updates: updates.len() as u32,
            blocks: firsts.len() as u32,
            state_entries: states.entries.len() as u32,
            flags,
        };
        let rows_len = ANCHORS_HEADER_LEN + (self.rows.len() + 1) * ANCHOR_KEY_LEN;
        if rows_len + self.bodies.len() + row.body().len > self.len_max {
            return;
        }
        self.rows.push(row);
        let out = &mut self.bodies;
        out.extend(base.to_le_bytes());
        firsts.iter().for_each(|first| out.extend(first.to_le_bytes()));
        states.ends.iter().for_each(|end| out.extend(end.to_le_bytes()));
        states.entries.iter().for_each(|(entry, _)| out.extend(entry.to_le_bytes()));
        states.entries.iter().for_each(|(_, sum)| out.extend(sum.to_le_bytes()));
        for (ts, ..) in updates {
            let bytes = (ts - base).to_le_bytes();
            out.extend_from_slice(if narrow_times { &bytes[..4] } else { &bytes });
        }
        updates.iter().for_each(|(_, entry, _)| out.extend(entry.to_le_bytes()));
        for (.., diff) in updates {
            let bytes = diff.to_le_bytes();
            out.extend_from_slice(if narrow_diffs { &bytes[..1] } else { &bytes });
        }
    }

    /// The section; `None` when no key has anchors.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        self.end_key();
        if self.rows.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        out.extend((self.rows.len() as u32).to_le_bytes());
        out.resize(ANCHORS_HEADER_LEN, 0);
        let bodies_at = (ANCHORS_HEADER_LEN + self.rows.len() * ANCHOR_KEY_LEN) as u64;
        for row in &self.rows {
            out.extend(row.place.0.to_le_bytes());
            out.extend(row.place.1.to_le_bytes());
            out.extend((bodies_at + row.offset).to_le_bytes());
            out.extend(row.updates.to_le_bytes());
            out.extend(row.blocks.to_le_bytes());
            out.extend(row.state_entries.to_le_bytes());
            out.extend(row.flags.to_le_bytes());
        }
        out.extend(self.bodies);
        Some(out)
    }
}

/// The states of a key, after each [`ANCHOR_EVERY`] updates.
struct States {
    /// Where each ends in `entries`.
    ends: Vec<u32>,
    entries: Vec<(u32, i64)>,
}

impl States {
    /// `None` when one is too large.
    fn of(updates: &[(Timestamp, u32, i64)]) -> Option<Self> {
        let mut states = Self { ends: Vec::new(), entries: Vec::new() };
        let mut live: Vec<(u32, i64)> = Vec::new();
        for chunk in updates.chunks_exact(ANCHOR_EVERY) {
            for &(_, entry, diff) in chunk {
                match live.iter_mut().find(|(known, _)| *known == entry) {
                    Some((_, sum)) => *sum = sum.checked_add(diff)?,
                    None => live.push((entry, diff)),
                }
            }
            live.retain(|(_, sum)| *sum != 0);
            if live.len() > ANCHOR_ENTRIES_MAX {
                return None;
            }
            live.sort_unstable();
            states.entries.extend(&live);
            states.ends.push(states.entries.len() as u32);
        }
        Some(states)
    }
}

/// Where the columns of a key are, from the start of its body.
struct Body {
    firsts: Range<usize>,
    state_ends: Range<usize>,
    state_entries: Range<usize>,
    state_sums: Range<usize>,
    times: Range<usize>,
    entries: Range<usize>,
    diffs: Range<usize>,
    len: usize,
}

impl Row {
    const fn time_width(&self) -> usize {
        if self.flags & ANCHOR_WIDE_TIMES == 0 { 4 } else { 8 }
    }

    const fn diff_width(&self) -> usize {
        if self.flags & ANCHOR_WIDE_DIFFS == 0 { 1 } else { 8 }
    }

    /// Each count is below 2^32, so nothing overflows.
    const fn body(&self) -> Body {
        let updates = self.updates as usize;
        let firsts = 8..8 + self.blocks as usize * 4;
        let state_ends = firsts.end..firsts.end + updates / ANCHOR_EVERY * 4;
        let state_entries = state_ends.end..state_ends.end + self.state_entries as usize * 4;
        let state_sums = state_entries.end..state_entries.end + self.state_entries as usize * 8;
        let times = state_sums.end..state_sums.end + updates * self.time_width();
        let entries = times.end..times.end + updates * 4;
        let diffs = entries.end..entries.end + updates * self.diff_width();
        let len = diffs.end;
        Body { firsts, state_ends, state_entries, state_sums, times, entries, diffs, len }
    }
}

/// The section of a segment, where it lies.
#[derive(Clone, Debug)]
pub struct Anchors {
    bytes: Bytes,
    rows: Vec<Row>,
}

impl Anchors {
    /// Reads and checks the whole section.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let mut reader = Reader::new(&bytes);
        let key_count = reader.u32()? as usize;
        reader.zeros(ANCHORS_HEADER_LEN - 4)?;
        if key_count == 0 || key_count > reader.left() / ANCHOR_KEY_LEN {
            return Err(FormatError::new(0, format!("{key_count} keys in {} bytes", bytes.len())));
        }
        let mut rows: Vec<Row> = Vec::with_capacity(key_count);
        let mut end = (ANCHORS_HEADER_LEN + key_count * ANCHOR_KEY_LEN) as u64;
        for _ in 0..key_count {
            let at = reader.offset();
            let row = Row {
                place: (reader.u32()?, reader.u32()?),
                offset: reader.u64()?,
                updates: reader.u32()?,
                blocks: reader.u32()?,
                state_entries: reader.u32()?,
                flags: reader.u32()?,
            };
            let fits = row.offset == end
                && rows.last().is_none_or(|last| last.place < row.place)
                && row.updates as usize >= ANCHOR_UPDATES_MIN
                && row.blocks > 0
                && row.flags & !(ANCHOR_WIDE_TIMES | ANCHOR_WIDE_DIFFS) == 0;
            end = end.saturating_add(row.body().len as u64);
            if !fits || end > bytes.len() as u64 {
                return Err(FormatError::new(at, format!("a row of a key: {row:?}")));
            }
            rows.push(row);
        }
        if end != bytes.len() as u64 {
            return Err(FormatError::new(end as usize, "bytes behind the last key"));
        }
        let anchors = Self { bytes, rows };
        for row in &anchors.rows {
            let key = anchors.key(*row);
            key.check().map_err(|what| FormatError::new(row.offset as usize, what))?;
        }
        Ok(anchors)
    }

    /// The key that begins at `place`, if it has anchors.
    #[inline]
    #[must_use]
    pub fn find(&self, place: AnchorPlace) -> Option<AnchoredKey<'_>> {
        let index = self.rows.binary_search_by_key(&place, |row| row.place).ok()?;
        Some(self.key(*self.rows.get(index)?))
    }

    /// The keys, by where they begin.
    pub fn keys(&self) -> impl Iterator<Item = (AnchorPlace, AnchoredKey<'_>)> {
        self.rows.iter().map(|row| (row.place, self.key(*row)))
    }

    fn key(&self, row: Row) -> AnchoredKey<'_> {
        let body = row.body();
        let start = row.offset as usize;
        let bytes = self.bytes.get(start..start + body.len).unwrap_or_default();
        AnchoredKey { bytes, row, body }
    }
}

/// A key with anchors.
pub struct AnchoredKey<'a> {
    bytes: &'a [u8],
    row: Row,
    body: Body,
}

impl AnchoredKey<'_> {
    fn u32(&self, column: &Range<usize>, i: usize) -> u32 {
        let at = column.start + i * 4;
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    }

    fn time(&self, i: usize) -> Timestamp {
        let offset = match self.row.time_width() {
            4 => u64::from(self.u32(&self.body.times, i)),
            _ => self.u64(self.body.times.start + i * 8),
        };
        self.u64(0).saturating_add(offset)
    }

    fn diff(&self, i: usize) -> i64 {
        match self.row.diff_width() {
            1 => {
                let byte = self.bytes.get(self.body.diffs.start + i).copied().unwrap_or_default();
                i64::from(byte.cast_signed())
            }
            _ => self.u64(self.body.diffs.start + i * 8).cast_signed(),
        }
    }

    /// The entries of the state after `count` times [`ANCHOR_EVERY`] updates.
    fn state(&self, count: usize) -> Range<usize> {
        let end = |count: usize| match count.checked_sub(1) {
            Some(last) => self.u32(&self.body.state_ends, last) as usize,
            None => 0,
        };
        match count {
            0 => 0..0,
            _ => end(count - 1)..end(count),
        }
    }

    fn check(&self) -> Result<(), String> {
        let updates = self.row.updates as usize;
        let mut end = 0;
        for count in 1..=updates / ANCHOR_EVERY {
            let state = self.state(count);
            if state.start > state.end || state.len() > ANCHOR_ENTRIES_MAX {
                return Err(format!("state {count} has the entries {state:?}"));
            }
            end = state.end;
        }
        if end != self.row.state_entries as usize {
            return Err(format!("the states end at {end} of {}", self.row.state_entries));
        }
        if !(1..updates).all(|i| self.time(i - 1) <= self.time(i)) {
            return Err("times do not ascend".into());
        }
        let blocks = self.row.blocks as usize;
        let first = |i| self.u32(&self.body.firsts, i);
        if first(0) != 0 || !(1..blocks).all(|i| first(i - 1) < first(i)) {
            return Err("entries of blocks do not ascend".into());
        }
        Ok(())
    }

    /// Calls `visit` with each entry and the sum of its diffs up to `as_of`, where that is not 0. Costs a
    /// binary search, and a state with fewer than [`ANCHOR_EVERY`] updates.
    pub fn each_at(&self, as_of: Timestamp, mut visit: impl FnMut(u32, i128)) {
        let (mut low, mut high) = (0, self.row.updates as usize);
        while low < high {
            let middle = low.midpoint(high);
            if self.time(middle) <= as_of {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let states = low / ANCHOR_EVERY;
        let mut sums = [(0_u32, 0_i128); ANCHOR_ENTRIES_MAX + ANCHOR_EVERY];
        let mut count = 0;
        let mut add = |entry: u32, diff: i64| {
            let known = sums.iter().take(count).position(|(known, _)| *known == entry);
            let at = known.unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            if let Some(sum) = sums.get_mut(at) {
                *sum = (entry, sum.1 + i128::from(diff));
            }
        };
        for i in self.state(states) {
            let sum = self.u64(self.body.state_sums.start + i * 8).cast_signed();
            add(self.u32(&self.body.state_entries, i), sum);
        }
        for i in states * ANCHOR_EVERY..low {
            add(self.u32(&self.body.entries, i), self.diff(i));
        }
        sums.iter()
            .take(count)
            .filter(|(_, sum)| *sum != 0)
            .for_each(|&(entry, sum)| visit(entry, sum));
    }

    /// The block of an entry, counted from the key's first one, and the entry's number among those of
    /// the key in there.
    #[must_use]
    pub fn place_of(&self, entry: u32) -> (u32, u32) {
        let (mut low, mut high) = (0, self.row.blocks as usize);
        while low < high {
            let middle = low.midpoint(high);
            if self.u32(&self.body.firsts, middle) <= entry {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let block = low.saturating_sub(1); // The first entry of the first block is 0.
        (block as u32, entry - self.u32(&self.body.firsts, block).min(entry))
    }

    /// Whether both say the same.
    #[must_use]
    pub fn is_same(&self, other: &AnchoredKey<'_>) -> bool {
        self.bytes == other.bytes && self.row.flags == other.row.flags
    }
}

impl std::fmt::Debug for AnchoredKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnchoredKey").field("row", &self.row).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A key whose value changes with time, over blocks of 50 entries.
    fn register(count: u64, step: u64, diff: i64) -> (Vec<u8>, Vec<(Timestamp, u32, i64)>) {
        let (mut builder, mut all) = (AnchorsBuilder::default(), Vec::new());
        builder.begin_key((3, 7));
        for n in 0..count {
            if n > 0 && n % 50 == 0 {
                builder.begin_block();
            }
            let (put, taken) = (n * step, (n + 1) * step);
            builder.entry(&[(put, diff), (taken, -diff)], false);
            all.extend([(put, n as u32, diff), (taken, n as u32, -diff)]);
        }
        (builder.finish().unwrap(), all)
    }

    #[test]
    fn keys_that_do_not_fit_have_none() {
        let mut builder = AnchorsBuilder::new(20_000);
        for (place, updates) in [(0, 400), (1, 20_000), (2, 400), (3, 2_000), (4, 400)] {
            builder.begin_key((place, 0));
            for ts in 0..updates {
                builder.entry(&[(ts, 1)], ts > 0);
            }
            assert!(builder.key.as_ref().is_none_or(|key| key.updates.len() <= 20_000 / 16));
        }
        let bytes = builder.finish().unwrap();
        assert!(bytes.len() <= 20_000, "{} bytes", bytes.len());
        let anchors = Anchors::decode(bytes.into()).unwrap();
        let places: Vec<_> = anchors.keys().map(|(place, _)| place.0).collect();
        assert_eq!(places, [0, 2, 4]);
    }

    #[test]
    fn states_are_what_the_updates_add_up_to() {
        for (step, diff) in [(1, 1), (3, -5), (1 << 40, 1), (2, 1 << 40)] {
            let (bytes, all) = register(300, step, diff);
            let anchors = Anchors::decode(bytes.into()).unwrap();
            let key = anchors.find((3, 7)).unwrap();
            for as_of in (0..620).map(|half| half * step / 2).chain([u64::MAX]) {
                let mut wanted: BTreeMap<u32, i128> = BTreeMap::new();
                for (ts, entry, diff) in all.iter().filter(|(ts, ..)| *ts <= as_of) {
                    assert!(*ts <= as_of);
                    *wanted.entry(*entry).or_default() += i128::from(*diff);
                }
                wanted.retain(|_, sum| *sum != 0);
                let mut found = BTreeMap::new();
                key.each_at(as_of, |entry, sum| assert!(found.insert(entry, sum).is_none()));
                assert_eq!(found, wanted, "as of {as_of}, step {step}");
            }
            assert_eq!([key.place_of(0), key.place_of(49)], [(0, 0), (0, 49)]);
            assert_eq!([key.place_of(50), key.place_of(299)], [(1, 0), (5, 49)]);
            assert!(anchors.find((3, 6)).is_none() && anchors.find((4, 7)).is_none());
        }
    }

    #[test]
    fn only_long_histories_of_few_values_have_anchors() {
        let mut builder = AnchorsBuilder::default();
        builder.begin_key((0, 0)); // Short.
        (0..64).for_each(|n| builder.entry(&[(n, 1), (n + 1, -1)], false));
        builder.begin_key((0, 1)); // Too many values at a time.
        (0..200).for_each(|n| builder.entry(&[(n, 1)], false));
        builder.begin_key((0, 2)); // Not whole.
        (0..200).for_each(|n| builder.entry(&[(n, 1), (n + 1, -1)], false));
        builder.key = None;
        assert!(builder.finish().is_none());
        let mut builder = AnchorsBuilder::default();
        builder.begin_key((0, 0)); // One value, in entries that repeat it.
        (0..200).for_each(|n| builder.entry(&[(n, 1)], n > 0));
        let anchors = Anchors::decode(builder.finish().unwrap().into()).unwrap();
        let mut found = Vec::new();
        anchors.find((0, 0)).unwrap().each_at(150, |entry, sum| found.push((entry, sum)));
        assert_eq!(found, [(0, 151)]);
    }

    #[test]
    fn whatever_is_changed_is_refused_or_read_without_harm() {
        let (bytes, _) = register(150, 2, 1);
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                if let Ok(anchors) = Anchors::decode(other.into()) {
                    for (_, key) in anchors.keys() {
                        for as_of in [0, 77, u64::MAX] {
                            key.each_at(as_of, |entry, _| assert!(key.place_of(entry).1 <= entry));
                        }
                    }
                }
            }
        }
        for len in 0..bytes.len() {
            assert!(Anchors::decode(bytes[..len].to_vec().into()).is_err(), "cut at {len}");
        }
    }
}
