//! [`Earlier`]: what was saved already, so that nothing is taken twice when no manifest says which
//! segments count.
//!
//! A merge that was cut off, or whose inputs were still read, leaves segments that have the same updates.
//! Segments are saved from the newest to the oldest. Of a table or a log an update that a newer segment
//! has is left out: there no two are equal. Of a multiset two equal updates may well be two updates, so
//! a segment is left out only when a newer one has every update of it. What a merge has changed before
//! it wrote it (times that since has made equal, updates that it summed up) is not recognised, and
//! counts twice.

use crate::cursor::Cursor;
use crate::error::Result;
use crate::segment::{Segment, SegmentCursor};
use crate::types::{TimeWindow, Timestamp};
use std::sync::Arc;

/// The segments that were saved already of a collection.
#[derive(Default)]
pub(super) struct Earlier {
    cursors: Vec<SegmentCursor>,
    scratch: Vec<(Timestamp, i64)>,
}

impl Earlier {
    /// Remembers a segment of the new database.
    pub(super) fn add(&mut self, segment: &Arc<Segment>) {
        self.cursors.push(segment.cursor(TimeWindow::ALL));
    }

    /// Starts over for the next segment.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.cursors.iter_mut().try_for_each(Cursor::seek_first)
    }

    /// Takes out of the updates of a `(key, val)` those that are here. Calls come in order.
    pub(super) fn leave_out(
        &mut self,
        key: &[u8],
        val: &[u8],
        updates: &mut Vec<(Timestamp, i64)>,
    ) -> Result<()> {
        for cursor in &mut self.cursors {
            if cursor.valid() && cursor.key() < key {
                cursor.seek(key)?;
            }
            while cursor.valid() && cursor.entry() < (key, val) {
                cursor.next()?;
            }
            // A long list of updates goes on in the next entry.
            while cursor.valid() && cursor.entry() == (key, val) {
                self.scratch.clear();
                cursor.updates(&mut self.scratch);
                self.scratch.sort_unstable();
                updates.retain(|update| self.scratch.binary_search(update).is_err());
                cursor.next()?;
            }
        }
        Ok(())
    }
}
