//! The read of one version of a table's key.

use super::deep::{CHAIN_STEPS_MAX, Sought, Want};
use super::{Memtable, Slot};
use crate::found::{ValRef, Version};
use crate::types::TimeWindow;

/// Entries of a chain that are looked at before the history that the key may have.
const FIRST_STEPS: usize = 1;

impl Memtable {
    /// Calls `visit` with the version of `key` that counts at the end of `window`, if it lies in
    /// the window. Costs time in the logarithm of the versions.
    pub fn version<'s>(
        &'s self,
        slot: &'s Slot,
        key: &[u8],
        hash: u64,
        window: TimeWindow,
        mut visit: impl FnMut(Version<'s>),
    ) {
        let place = self.buckets.place(slot.number(), hash);
        let mut link = self.buckets.head(place);
        // Looked at after the head: what is seen from there on was published with it.
        let newest_first = slot.is_ordered();
        let may_be_deep = slot.deep().may_have(hash);
        let mut ask_at = if may_be_deep { FIRST_STEPS } else { CHAIN_STEPS_MAX };
        let (mut steps, mut rows) = (0, 0);
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
                rows += 1;
            }
            link = entry.next_in_bucket();
            steps += 1;
            if steps == ask_at {
                let sought = Sought { slot, key, hash, place };
                if steps >= CHAIN_STEPS_MAX {
                    self.make_history(sought, rows, Want::Version);
                }
                if self.version_deep(sought, window, &mut visit) {
                    return;
                }
                ask_at = if steps < CHAIN_STEPS_MAX { CHAIN_STEPS_MAX } else { usize::MAX };
            }
        }
        if let Some(best) = best {
            visit(best);
        }
    }
}
