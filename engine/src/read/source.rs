//! [`Source`]: whatever a snapshot reads from, without dynamic dispatch.

use super::part::PartCursor;
use crate::cursor::{Cursor, PlainRows};
use crate::error::Result;
use crate::memtable::MemCursor;
use crate::types::Timestamp;

/// One ordered source of a snapshot.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most sources are segments, and a box would be one more load for every row"
)]
pub enum Source {
    /// A part of segments.
    Segment(PartCursor),
    /// A sorted run of a memtable.
    Memtable(MemCursor),
}

/// Calls the same method of whichever cursor there is.
macro_rules! each {
    ($source:expr, $cursor:ident => $call:expr) => {
        match $source {
            Source::Segment($cursor) => $call,
            Source::Memtable($cursor) => $call,
        }
    };
}

impl Cursor for Source {
    #[inline]
    fn valid(&self) -> bool {
        each!(self, cursor => cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        each!(self, cursor => cursor.key())
    }

    #[inline]
    fn val(&self) -> &[u8] {
        each!(self, cursor => cursor.val())
    }

    #[inline]
    fn entry(&self) -> (&[u8], &[u8]) {
        each!(self, cursor => cursor.entry())
    }

    #[inline]
    fn updates(&self, out: &mut Vec<(Timestamp, i64)>) {
        each!(self, cursor => cursor.updates(out));
    }

    #[inline]
    fn sum(&self) -> i128 {
        each!(self, cursor => cursor.sum())
    }

    #[inline]
    fn may_repeat(&self) -> bool {
        each!(self, cursor => cursor.may_repeat())
    }

    #[inline]
    fn take_plain(&mut self, end: Option<&[u8]>) -> Option<PlainRows> {
        each!(self, cursor => cursor.take_plain(end))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next())
    }

    #[inline]
    fn leave_key(&mut self) -> Result<()> {
        each!(self, cursor => cursor.leave_key())
    }

    #[inline]
    fn next_in_window(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next_in_window())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        each!(self, cursor => cursor.prev())
    }

    fn seek_first(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek(key))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek_before(key))
    }
}

#[cfg(test)]
mod tests {
    //! Goal: rows come out the same whichever kind of source the updates are in. Method: every
    //! third update in a memtable, the others in two parts of segments.

    use super::*;
    use crate::memtable::Memtable;
    use crate::read::test_parts::PartStore;
    use crate::read::vec_cursor::Entry;
    use crate::read::{RangeSpec, Rows};
    use crate::types::{CollectionId, TimeWindow, Update};

    #[test]
    fn memtables_and_segments_add_up() {
        let store = PartStore::new(200);
        let memtable = Memtable::new(1 << 16);
        let mut parts: [Vec<Entry>; 2] = [Vec::new(), Vec::new()];
        let mut writer = memtable.writer();
        let slot = writer.slot(CollectionId(3));
        for n in 0..300_u16 {
            // Every key gets 1 + 2 - 1 copies, one update in each place; the last one comes late.
            let key = (n / 3).to_be_bytes();
            match n % 3 {
                2 => writer.insert(&slot, Update { key: &key, val: b"v", ts: 8, diff: -1 }),
                at => parts[usize::from(at)].push((
                    key.to_vec(),
                    b"v".to_vec(),
                    vec![(u64::from(at), i64::from(at) + 1)],
                )),
            }
        }
        drop(writer);
        for (last, diff) in [(9, 2), (7, 3), (0, 1)] {
            let window = TimeWindow { first: 0, last };
            let segments = parts.iter().map(|entries| store.part(entries, 40));
            let mut sources: Vec<Source> =
                segments.map(|part| Source::Segment(PartCursor::new(part, window))).collect();
            let runs = slot.sorted_runs().into_iter();
            sources.extend(runs.map(|run| Source::Memtable(MemCursor::new(run, window))));
            let mut rows = Rows::new(sources, "c".into(), RangeSpec::ALL);
            let mut count = 0_u16;
            while let Some(row) = rows.next().unwrap() {
                assert_eq!(
                    (row.key, row.val, row.diff),
                    (&count.to_be_bytes()[..], &b"v"[..], diff)
                );
                count += 1;
            }
            assert_eq!(count, 100);
        }
    }
}
