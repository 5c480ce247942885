//! The proofs of a block's invariants, made once before anybody reads it.

use super::{BlockFacts, BlockShape, slice_at, u16_at};
use crate::format::FormatError;
use crate::limits::{KEY_LEN_MAX, VAL_LEN_MAX};
use crate::types::Timestamp;
use std::cmp::Ordering;

impl BlockShape {
    /// Proves that keys are within limits and ascend strictly (I1, I2).
    pub(super) fn check_keys(&self, bytes: &[u8]) -> Result<(), FormatError> {
        let mut end = self.keys_at as usize;
        let mut before: Option<&[u8]> = None;
        for i in 0..self.keys {
            let range = self.key_range(bytes, i);
            if range.start != end || range.end < end {
                return Err(FormatError::new(end, format!("key {i} ends before it starts")));
            }
            end = range.end;
            let suffix = slice_at(bytes, range.start, range.end);
            if suffix.len() + self.prefix_len as usize > KEY_LEN_MAX {
                return Err(FormatError::new(end, format!("key {i} is too long")));
            }
            if before.is_some_and(|before| before >= suffix) {
                return Err(FormatError::new(end, format!("key {i} is not above the one before")));
            }
            before = Some(suffix);
        }
        Ok(())
    }

    /// Proves that entry and update ends ascend to their counts (I2).
    pub(super) fn check_ends(&self, bytes: &[u8]) -> Result<(), FormatError> {
        let levels = [
            (self.entry_ends_at, self.keys, self.entries),
            (self.update_ends_at, self.entries, self.updates),
        ];
        for (at, count, last) in levels {
            let mut before = 0;
            for i in 0..count as usize {
                if at == 0 {
                    break;
                }
                let end = u32::from(u16_at(bytes, at as usize + i * 2));
                if end <= before || (i + 1 == count as usize && end != last) {
                    return Err(FormatError::new(at as usize, format!("end {i} is {end}")));
                }
                before = end;
            }
        }
        Ok(())
    }

    /// Proves that values have their place and ascend within a key (I1, I2); counts repeats.
    pub(super) fn check_vals(&self, bytes: &[u8]) -> Result<u32, FormatError> {
        let mut end = self.vals_at as usize;
        if self.val_end_width != 0 {
            for i in 0..self.entries {
                let range = self.val_range(bytes, i);
                if range.start != end || range.end < end || range.len() > VAL_LEN_MAX {
                    return Err(FormatError::new(end, format!("value {i} ends before it starts")));
                }
                end = range.end;
            }
        }
        let mut repeats = 0;
        if self.entry_ends_at == 0 {
            return Ok(repeats);
        }
        for key in 0..self.keys {
            let entries = self.entries_of(bytes, key);
            for (a, b) in entries.clone().zip(entries.skip(1)) {
                match self.val(bytes, a).cmp(self.val(bytes, b)) {
                    Ordering::Less => {}
                    Ordering::Equal => repeats += 1,
                    Ordering::Greater => {
                        let at = self.val_range(bytes, b).start;
                        return Err(FormatError::new(at, format!("value {b} is below value {a}")));
                    }
                }
            }
        }
        Ok(repeats)
    }

    /// Proves that times ascend within an entry and are in range (I1).
    pub(super) fn check_updates(
        &self,
        bytes: &[u8],
        repeats: u32,
    ) -> Result<BlockFacts, FormatError> {
        let mut facts = BlockFacts {
            min_ts: Timestamp::MAX,
            max_ts: 0,
            min_diff: i64::MAX,
            max_diff: i64::MIN,
            repeats,
        };
        if self.ts_width == 0 {
            (facts.min_ts, facts.max_ts) = (self.ts_base, self.ts_base);
        } else {
            for entry in 0..self.entries {
                let mut before = self.ts_base;
                for update in self.updates_of(bytes, entry) {
                    let ts = self.ts(bytes, update);
                    if ts < before {
                        let at = self.ts_at as usize;
                        return Err(FormatError::new(at, format!("time {update} is out of order")));
                    }
                    before = ts;
                    facts.min_ts = facts.min_ts.min(ts);
                    facts.max_ts = facts.max_ts.max(ts);
                }
            }
        }
        (facts.min_diff, facts.max_diff) = self.diff_range(bytes);
        Ok(facts)
    }
}
