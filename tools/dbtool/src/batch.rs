//! [`Batch`]: the updates of one commit, kept together in one buffer.

use datestone::Update;

/// The updates of one commit, with the lines that they came from.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Every key and value, back to back.
    bytes: Vec<u8>,
    rows: Vec<Slot>,
    ts_max: Option<u64>,
}

#[derive(Debug)]
struct Slot {
    key_start: usize,
    val_start: usize,
    val_end: usize,
    ts: u64,
    diff: i64,
    line: u64,
}

impl Batch {
    /// Adds an update that came from `line` (from 1).
    pub(crate) fn push(&mut self, update: Update<'_>, line: u64) {
        let key_start = self.bytes.len();
        self.bytes.extend_from_slice(update.key);
        let val_start = self.bytes.len();
        self.bytes.extend_from_slice(update.val);
        let val_end = self.bytes.len();
        let Update { ts, diff, .. } = update;
        self.rows.push(Slot { key_start, val_start, val_end, ts, diff, line });
        self.ts_max = self.ts_max.max(Some(ts));
    }

    /// The updates, in the order of the input.
    pub(crate) fn updates(&self) -> Vec<Update<'_>> {
        let update = |slot: &Slot| Update {
            key: &self.bytes[slot.key_start..slot.val_start],
            val: &self.bytes[slot.val_start..slot.val_end],
            ts: slot.ts,
            diff: slot.diff,
        };
        self.rows.iter().map(update).collect()
    }

    /// The key of the last update.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.rows.last().map(|slot| &self.bytes[slot.key_start..slot.val_start])
    }

    /// The line that update `index` came from.
    pub(crate) fn line(&self, index: usize) -> Option<u64> {
        self.rows.get(index).map(|slot| slot.line)
    }

    /// Count of updates.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no update.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all keys and values.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The greatest time, `None` when empty.
    pub(crate) fn ts_max(&self) -> Option<u64> {
        self.ts_max
    }

    /// Forgets every update and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.ts_max = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_come_back_with_their_lines() {
        let mut batch = Batch::default();
        assert_eq!((batch.ts_max(), batch.is_empty()), (None, true));
        let first = Update { key: b"key", val: b"", ts: 9, diff: -1 };
        let second = Update { key: b"", val: b"val", ts: 7, diff: 2 };
        batch.push(first, 1);
        batch.push(second, 3);
        assert_eq!(batch.updates(), [first, second]);
        assert_eq!((batch.line(1), batch.line(2)), (Some(3), None));
        assert_eq!((batch.len(), batch.len_bytes(), batch.ts_max()), (2, 6, Some(9)));
        batch.clear();
        assert_eq!((batch.len(), batch.len_bytes(), batch.ts_max()), (0, 0, None));
    }
}
