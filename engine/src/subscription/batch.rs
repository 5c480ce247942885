//! [`UpdateBatch`]: some updates in one piece of memory.

use crate::types::{Timestamp, Update};
use std::fmt;

/// Updates with their own memory: keys and values lie one behind the other.
///
/// ```
/// use datestone_engine::{subscription::UpdateBatch, types::Update};
/// let mut batch = UpdateBatch::default();
/// batch.push(Update { key: b"a", val: b"x", ts: 4, diff: 1 });
/// assert_eq!(batch.iter().next().map(|update| update.ts), Some(4));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UpdateBatch {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    key_at: usize,
    val_at: usize,
    end: usize,
    ts: Timestamp,
    diff: i64,
}

impl UpdateBatch {
    /// Adds an update.
    pub fn push(&mut self, update: Update<'_>) {
        let key_at = self.bytes.len();
        self.bytes.extend_from_slice(update.key);
        let val_at = self.bytes.len();
        self.bytes.extend_from_slice(update.val);
        let (ts, diff, end) = (update.ts, update.diff, self.bytes.len());
        self.items.push(Item { key_at, val_at, end, ts, diff });
    }

    /// Count of the updates.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The update at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Update<'_>> {
        self.items.get(index).map(|item| self.update(item))
    }

    /// The updates in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Update<'_>> {
        self.items.iter().map(|item| self.update(item))
    }

    /// Bytes of memory in use.
    pub(super) const fn len_bytes(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<Item>()
    }

    /// Sorts by `(ts, key, val)` what is sorted by `(key, val, ts)`.
    pub(super) fn sort(&mut self) {
        self.items.sort_by_key(|item| item.ts);
    }

    /// The time in the middle; 0 when there is none.
    pub(super) fn median_ts(&self) -> Timestamp {
        let mut times: Vec<Timestamp> = self.items.iter().map(|item| item.ts).collect();
        let middle = times.len() / 2;
        if times.is_empty() { 0 } else { *times.select_nth_unstable(middle).1 }
    }

    fn update(&self, item: &Item) -> Update<'_> {
        let slice = |from, to| self.bytes.get(from..to).unwrap_or_default();
        Update {
            key: slice(item.key_at, item.val_at),
            val: slice(item.val_at, item.end),
            ts: item.ts,
            diff: item.diff,
        }
    }
}

impl fmt::Debug for UpdateBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
