//! [`Segment::get`]: the point read.

use super::Segment;
use super::blocks::{BlockBytes, BlockRow, Blocks};
use crate::error::Result;
use crate::found::{Found, ValRef};
use crate::types::TimeWindow;

impl Segment {
    /// Announces that a key with this hash will be looked up soon.
    #[inline]
    pub fn announce(&self, hash: u64) {
        // What is damaged is told by the look-up.
        if let Ok(Some(hash_index)) = self.hash_index() {
            hash_index.announce(hash);
        }
    }

    /// Adds the values of `key` to `found`, with the sums of their diffs in `window`.
    ///
    /// `hash` is [`key_hash`](crate::format::key_hash) of the key. `use_filter` asks the filter
    /// first: worth it when the key is probably in another segment.
    #[inline]
    pub fn get<'s>(
        &'s self,
        key: &[u8],
        hash: u64,
        window: TimeWindow,
        found: &mut Found<'s>,
        use_filter: bool,
    ) -> Result<()> {
        if use_filter
            && let Some(filter) = self.filter()?
            && !filter.may_contain(hash)
        {
            return Ok(());
        }
        let blocks = self.blocks()?;
        let Some(hash_index) = self.hash_index()? else {
            return self.get_by_order(blocks, key, window, found);
        };
        for place in hash_index.places(hash) {
            let i = place.block as usize;
            let (bytes, row) = self.block(blocks, i)?;
            if place.key < row.shape.keys() && row.shape.key_is(bytes.as_slice(), place.key, key) {
                return self.gather(blocks, i, bytes, row, place.key, key, window, found);
            }
        }
        Ok(())
    }

    /// Looks the key up in the block index, then in the one block where it can begin.
    fn get_by_order<'s>(
        &'s self,
        blocks: &'s Blocks,
        key: &[u8],
        window: TimeWindow,
        found: &mut Found<'s>,
    ) -> Result<()> {
        // The last block that starts below the key may hold it further on; otherwise it can only
        // be the first key of the next one.
        let next = blocks.index.blocks_before(key);
        if let Some(i) = next.checked_sub(1) {
            let (bytes, row) = self.block(blocks, i)?;
            let at = row.shape.lower_bound(bytes.as_slice(), key, 0);
            if at < row.shape.keys() {
                if row.shape.key_is(bytes.as_slice(), at, key) {
                    return self.gather(blocks, i, bytes, row, at, key, window, found);
                }
                return Ok(());
            }
        }
        if next < blocks.index.blocks() && blocks.index.first_key_is(next, key) {
            let (bytes, row) = self.block(blocks, next)?;
            return self.gather(blocks, next, bytes, row, 0, key, window, found);
        }
        Ok(())
    }

    /// Adds the entries of the key at `at` in block `i`, and of the blocks behind it in which the
    /// key goes on.
    #[expect(clippy::too_many_arguments, reason = "the state of one read, passed on in registers")]
    #[inline]
    fn gather<'s>(
        &'s self,
        blocks: &'s Blocks,
        mut i: usize,
        mut bytes: BlockBytes<'s>,
        mut row: &'s BlockRow,
        mut at: u32,
        key: &[u8],
        window: TimeWindow,
        found: &mut Found<'s>,
    ) -> Result<()> {
        loop {
            gather_block(&bytes, row, at, window, found);
            i += 1;
            if at + 1 != row.shape.keys() || !blocks.index.continues(i) {
                return Ok(());
            }
            (bytes, row) = self.block(blocks, i)?;
            at = 0;
            if !row.shape.key_is(bytes.as_slice(), 0, key) {
                return Ok(());
            }
        }
    }
}

#[inline]
fn gather_block<'s>(
    bytes: &BlockBytes<'s>,
    row: &BlockRow,
    key: u32,
    window: TimeWindow,
    found: &mut Found<'s>,
) {
    if window.intersect(row.window).is_none() {
        return;
    }
    let (shape, covered) = (&row.shape, window.covers(row.window));
    let entries = shape.entries_of(bytes.as_slice(), key);
    shape.each_sum(bytes.as_slice(), entries, window, covered, |entry, sum| {
        let val = match bytes {
            BlockBytes::Mapped(bytes) => ValRef::Borrowed(shape.val(bytes, entry)),
            BlockBytes::Decoded(bytes) => ValRef::Shared(bytes.slice_ref(shape.val(bytes, entry))),
        };
        found.push(val, sum);
    });
}
