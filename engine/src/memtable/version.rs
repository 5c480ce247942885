//! The read of one version of a table's key.

use super::{Memtable, Slot};
use crate::found::{ValRef, Version};
use crate::types::TimeWindow;

/// Versions of a key that are looked at one by one before the sorted runs are asked.
const CHAIN_STEPS_MAX: usize = 32;

impl Memtable {
    /// Calls `visit` with the version of `key` that counts at the end of `window`, if it lies in
    /// the window. Costs time in the logarithm of the versions.
    pub fn version<'s>(
        &'s self,
        slot: &'s Slot,
        key: &[u8],
        hash: u64,
        window: TimeWindow,
        mut visit: impl FnMut(Version<'_>),
    ) {
        let place = self.buckets.place(slot.number(), hash);
        let mut link = self.buckets.head(place);
        // Looked at after the head: what is seen from there on was published with it.
        let newest_first = slot.is_ordered();
        let mut steps = 0;
        let mut best: Option<Version<'s>> = None;
        while let Some(at) = place.follow(link) {
            let entry = self.arena.entry(at);
            if entry.key == key && entry.slot() == slot.number() {
                let found = Version { stored: ValRef::Borrowed(entry.val), diff: entry.diff() };
                if window.contains(entry.ts()) && best.as_ref().is_none_or(|b| found.precedes(b)) {
                    best = Some(found);
                    if newest_first {
                        break;
                    }
                }
                steps += 1;
                if steps == CHAIN_STEPS_MAX {
                    return visit_in_runs(slot, key, window, &mut visit);
                }
            }
            link = entry.next_in_bucket();
        }
        if let Some(best) = best {
            visit(best);
        }
    }
}

fn visit_in_runs(slot: &Slot, key: &[u8], window: TimeWindow, visit: &mut dyn FnMut(Version<'_>)) {
    for run in slot.sorted_runs() {
        let from = crate::format::table_val::first_at(window.last);
        if let Some(row) = run.first_of(key, &from).filter(|row| window.contains(row.ts())) {
            visit(Version { stored: ValRef::Borrowed(row.val), diff: row.diff() });
        }
    }
}
