//! [`Segment::get`]: the point read.

use super::Segment;
use super::blocks::{BlockBytes, BlockRow, Blocks};
use crate::error::{Error, Result};
use crate::format::anchors::AnchoredKey;
use crate::format::column::head_at;
use crate::format::table_val::ts_of;
use crate::found::{Found, ValRef, Version};
use crate::gallop::partition_point_near;
use crate::planted::{Bug, planted};
use crate::types::{TimeWindow, Timestamp};

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
        let Some(Place { block, bytes, row, key: at }) = self.find(blocks, key, hash)? else {
            return Ok(());
        };
        if window.first <= self.meta.min_ts
            && let Some(anchors) = self.anchors()?
            && let Some(anchored) = anchors.find((block as u32, at))
        {
            return self.gather_anchored(blocks, block, at, key, window.last, &anchored, found);
        }
        self.gather(blocks, block, bytes, row, at, key, window, found)
    }

    /// The version of a table's `key` that counts at the end of `window`, if it lies in the window.
    /// Costs time in the logarithm of the key's versions.
    pub fn version(
        &self,
        key: &[u8],
        hash: u64,
        window: TimeWindow,
        use_filter: bool,
    ) -> Result<Option<Version<'_>>> {
        if use_filter
            && let Some(filter) = self.filter()?
            && !filter.may_contain(hash)
        {
            return Ok(None);
        }
        let blocks = self.blocks()?;
        let Some(mut place) = self.find(blocks, key, hash)? else { return Ok(None) };
        let goes_on = place.key + 1 == place.row.shape.keys()
            && blocks.index.continues(place.block + 1)
            && place.is_newer_than(window.last);
        if goes_on {
            // In blocks of its own, in which times descend.
            let Some(i) = blocks.index.block_as_of(place.block + 1, key, window.last) else {
                return Ok(None);
            };
            let (bytes, row) = self.block(blocks, i)?;
            place = Place { block: i, bytes, row, key: 0 };
        }
        let entry = place.first_version_at(window.last);
        let Some(entry) = entry else { return Ok(None) };
        // Its time is in the value too, which is read anyway.
        let stored = val_ref(&place.bytes, place.row, entry);
        if !window.contains(ts_of(stored.as_slice())) {
            return Ok(None);
        }
        let (shape, bytes) = (&place.row.shape, place.bytes.as_slice());
        let diff = shape.diff(bytes, shape.updates_of(bytes, entry).start);
        Ok(Some(Version { stored, diff }))
    }

    /// Where `key` begins.
    #[inline]
    fn find<'s>(&'s self, blocks: &'s Blocks, key: &[u8], hash: u64) -> Result<Option<Place<'s>>> {
        let Some(hash_index) = self.hash_index()? else {
            return self.find_by_order(blocks, key);
        };
        for place in hash_index.places(hash) {
            let block = place.block as usize;
            let (bytes, row) = self.block(blocks, block)?;
            row.shape.announce_val(bytes.as_slice(), place.key);
            if place.key < row.shape.keys() && row.shape.key_is(bytes.as_slice(), place.key, key) {
                return Ok(Some(Place { block, bytes, row, key: place.key }));
            }
            if planted(Bug::FirstPlaceOnly) {
                break;
            }
        }
        Ok(None)
    }

    /// Looks the key up in the block index, then in the one block where it can begin.
    fn find_by_order<'s>(&'s self, blocks: &'s Blocks, key: &[u8]) -> Result<Option<Place<'s>>> {
        // The last block that starts below the key may hold it further on; otherwise it can only
        // be the first key of the next one.
        let next = blocks.index.blocks_before(key);
        if let Some(i) = next.checked_sub(1) {
            let (bytes, row) = self.block(blocks, i)?;
            let at = row.shape.lower_bound(bytes.as_slice(), key, 0);
            if at < row.shape.keys() {
                let here = row.shape.key_is(bytes.as_slice(), at, key);
                return Ok(here.then_some(Place { block: i, bytes, row, key: at }));
            }
        }
        if next < blocks.index.blocks() && blocks.index.first_key_is(next, key) {
            let (bytes, row) = self.block(blocks, next)?;
            return Ok(Some(Place { block: next, bytes, row, key: 0 }));
        }
        Ok(None)
    }

    /// Adds the entries of a key with anchors, which begins at `at` in block `first`, as of a time.
    #[expect(clippy::too_many_arguments, reason = "the state of one read")]
    fn gather_anchored<'s>(
        &'s self,
        blocks: &'s Blocks,
        first: usize,
        at: u32,
        key: &[u8],
        as_of: Timestamp,
        anchored: &AnchoredKey<'_>,
        found: &mut Found<'s>,
    ) -> Result<()> {
        let mut outcome = Ok(());
        anchored.each_at(as_of, |entry, sum| {
            if outcome.is_ok() {
                let val = self.anchored_val(blocks, first, at, key, anchored.place_of(entry));
                outcome = val.map(|val| found.push(val, sum));
            }
        });
        outcome
    }

    /// The value of an entry of a key with anchors.
    fn anchored_val<'s>(
        &'s self,
        blocks: &'s Blocks,
        first: usize,
        at: u32,
        key: &[u8],
        (block, entry): (u32, u32),
    ) -> Result<ValRef<'s>> {
        let at = if block == 0 { at } else { 0 };
        let block = first + block as usize;
        let (bytes, row) = self.block(blocks, block)?;
        let entries = row.shape.entries_of(bytes.as_slice(), at);
        if entry >= entries.len() as u32 || !row.shape.key_is(bytes.as_slice(), at, key) {
            let what = format!("the anchors refer to entry {entry} of block {block}");
            return Err(Error::corruption(self.path(), 0, what));
        }
        Ok(val_ref(&bytes, row, entries.start + entry))
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

/// Where a key is.
struct Place<'s> {
    block: usize,
    bytes: BlockBytes<'s>,
    row: &'s BlockRow,
    /// Index of the key in the block.
    key: u32,
}

impl Place<'_> {
    /// Whether every version of the key in this block was written after `ts`.
    fn is_newer_than(&self, ts: Timestamp) -> bool {
        let (shape, bytes) = (&self.row.shape, self.bytes.as_slice());
        let last = shape.entries_of(bytes, self.key).end - 1;
        head_at(bytes, shape.val_range(bytes, last).start) < first_head_at(ts)
    }

    /// The first version of the key in this block that was written at or before `ts`: stored values
    /// begin with their times, inverted. Searched from where it would be if times were evenly
    /// spread.
    fn first_version_at(&self, ts: Timestamp) -> Option<u32> {
        let (shape, bytes) = (&self.row.shape, self.bytes.as_slice());
        let entries = shape.entries_of(bytes, self.key);
        let first = first_head_at(ts);
        let is_newer = |entry| head_at(bytes, shape.val_range(bytes, entry).start) < first;
        let TimeWindow { first, last } = self.row.window;
        let share = u128::from(last - ts.clamp(first, last)) * entries.len() as u128;
        // Below the count of entries, which is a u32.
        let guess = entries.start + (share / (u128::from(last - first) + 1)) as u32;
        let range = entries.start as usize..entries.end as usize;
        let found = partition_point_near(range, guess as usize, |entry| is_newer(entry as u32));
        let found = found as u32;
        (found < entries.end).then_some(found)
    }
}

/// What stored values of versions written at `ts` begin with.
fn first_head_at(ts: Timestamp) -> u64 {
    if planted(Bug::VersionOffByOne) { !ts + u64::from(ts > 0) } else { !ts }
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
        found.push(val_ref(bytes, row, entry), sum);
    });
}

#[inline(always)]
fn val_ref<'s>(bytes: &BlockBytes<'s>, row: &BlockRow, entry: u32) -> ValRef<'s> {
    match bytes {
        BlockBytes::Mapped(bytes) => ValRef::Borrowed(row.shape.val(bytes, entry)),
        BlockBytes::Decoded(bytes) => ValRef::Shared(bytes.slice_ref(row.shape.val(bytes, entry))),
    }
}
