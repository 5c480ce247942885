//! [`Blocks`]: the blocks of a segment, checked on first touch.
//!
//! For every block that was touched its place, its times and its shape are kept in one row of a
//! table: what a point read needs to know, close together and likely in cache, instead of spread
//! over the columns of the index and the block's own header. A row that is there is also the mark
//! that the block was verified.

use super::Segment;
use super::codec;
use crate::error::{Error, Result};
use crate::format::block::{BlockFacts, BlockShape};
use crate::format::block_index::{BlockIndex, BlockInfo};
use crate::format::{FormatError, crc_matches, crc32};
use crate::planted::{Bug, planted};
use crate::types::TimeWindow;
use bytes::Bytes;
use std::ops::Range;
use std::sync::OnceLock;

/// The block index and what is known of each block.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) index: BlockIndex,
    rows: Box<[OnceLock<BlockRow>]>,
}

/// What is kept of a verified block.
#[derive(Clone, Debug)]
pub(super) struct BlockRow {
    pub(super) shape: BlockShape,
    /// The times of its updates.
    pub(super) window: TimeWindow,
    /// Its place in the map; empty when it is not stored raw.
    mapped: Range<usize>,
}

/// The bytes of a verified block.
#[derive(Debug)]
pub(super) enum BlockBytes<'s> {
    /// In the map.
    Mapped(&'s [u8]),
    /// Decoded.
    Decoded(Bytes),
}

impl BlockBytes<'_> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Decoded(bytes) => bytes,
        }
    }
}

impl Blocks {
    pub(super) fn decode(section: Bytes) -> std::result::Result<Self, FormatError> {
        let index = BlockIndex::decode(section)?;
        let rows = (0..index.blocks()).map(|_| OnceLock::new()).collect();
        Ok(Self { index, rows })
    }

    /// Entries, updates and bytes of all blocks.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (0..self.index.blocks()).map(|i| self.index.block(i)).fold((0, 0, 0), |sums, block| {
            (
                sums.0 + u64::from(block.entries),
                sums.1 + u64::from(block.updates),
                sums.2 + u64::from(block.raw_len),
            )
        })
    }
}

impl Segment {
    /// Calls `visit` with the first key of a block, and the bytes from there on to the next such
    /// key, each time about `step` bytes have come together. Returns all bytes. Only blocks with a
    /// time in `window` count; none is read.
    pub fn weigh(
        &self,
        window: TimeWindow,
        step: u64,
        visit: &mut impl FnMut(Vec<u8>, u64),
    ) -> Result<u64> {
        let index = &self.blocks()?.index;
        let (mut total, mut first, mut weight) = (0, None, 0);
        for i in (0..index.blocks()).filter(|i| index.window(*i).intersect(window).is_some()) {
            first = first.or(Some(i));
            weight += u64::from(index.block(i).raw_len);
            if weight >= step {
                total += weight;
                first.take().into_iter().for_each(|i| visit(index.first_key(i), weight));
                weight = 0;
            }
        }
        first.into_iter().for_each(|i| visit(index.first_key(i), weight));
        Ok(total + weight)
    }

    /// Blocks that were touched since the segment was opened, and all.
    pub fn blocks_touched(&self) -> Result<(usize, usize)> {
        let rows = &self.blocks()?.rows;
        Ok((rows.iter().filter(|row| row.get().is_some()).count(), rows.len()))
    }

    /// Block `i`, verified, without a copy where it is stored raw.
    #[inline]
    pub(super) fn block<'s>(
        &'s self,
        blocks: &'s Blocks,
        i: usize,
    ) -> Result<(BlockBytes<'s>, &'s BlockRow)> {
        if let Some(row) = blocks.rows.get(i).and_then(OnceLock::get)
            && let Some(bytes) = self.map.get(row.mapped.start..row.mapped.end)
            && !bytes.is_empty()
        {
            return Ok((BlockBytes::Mapped(bytes), row));
        }
        self.block_slow(blocks, i)
    }

    #[cold]
    #[inline(never)]
    fn block_slow<'s>(
        &'s self,
        blocks: &'s Blocks,
        i: usize,
    ) -> Result<(BlockBytes<'s>, &'s BlockRow)> {
        let Some(cell) = blocks.rows.get(i) else {
            let what = format!("block {i} of {} is referred to", blocks.index.blocks());
            return Err(Error::corruption(&self.path, 0, what));
        };
        let stored = blocks.index.stored_range(i);
        let (mapped, bytes) = if blocks.index.is_raw(i) {
            let bytes = self.map.get(stored.clone()).unwrap_or_default();
            (stored, BlockBytes::Mapped(bytes))
        } else {
            (0..0, BlockBytes::Decoded(self.decoded(blocks, i)?))
        };
        if let Some(row) = cell.get() {
            return Ok((bytes, row));
        }
        let checked = self.check_block(blocks, i, bytes.as_slice());
        if checked.is_err() {
            self.cache.forget(self.meta.id, i as u32);
        }
        let (shape, _) = checked?;
        let row = BlockRow { shape, window: blocks.index.window(i), mapped };
        Ok((bytes, cell.get_or_init(|| row)))
    }

    /// Block `i` as owned bytes that share the map or the cache's copy.
    pub(super) fn block_owned(&self, blocks: &Blocks, i: usize) -> Result<(Bytes, BlockShape)> {
        let (bytes, row) = self.block(blocks, i)?;
        let bytes = match bytes {
            BlockBytes::Mapped(bytes) => self.map.slice_ref(bytes),
            BlockBytes::Decoded(bytes) => bytes,
        };
        Ok((bytes, row.shape))
    }

    /// The compressed block `i`, expanded: from the cache, or from the file after its checksum was
    /// verified.
    fn decoded(&self, blocks: &Blocks, i: usize) -> Result<Bytes> {
        if let Some(bytes) = self.cache.get(self.meta.id, i as u32) {
            return Ok(bytes);
        }
        let info = blocks.index.block(i);
        let stored = self.stored(blocks, i, &info)?;
        let raw = codec::decode(stored, info.raw_len as usize, &self.path, info.offset)?;
        let bytes = Bytes::from(raw);
        self.cache.put(self.meta.id, i as u32, bytes.clone());
        Ok(bytes)
    }

    /// The stored bytes of block `i`, checksum verified.
    pub(super) fn stored(&self, blocks: &Blocks, i: usize, info: &BlockInfo) -> Result<&[u8]> {
        let stored = self.map.get(blocks.index.stored_range(i)).unwrap_or_default();
        let found = crc32(stored);
        if !crc_matches(info.crc, found) && !planted(Bug::BlockChecksumIgnored) {
            let what =
                format!("block {i}: checksum {:#010x} expected, {found:#010x} found", info.crc);
            return Err(Error::corruption(&self.path, info.offset, what));
        }
        Ok(stored)
    }

    /// Verifies block `i`: checksum, structure, and that it is what the index says.
    pub(super) fn check_block(
        &self,
        blocks: &Blocks,
        i: usize,
        raw: &[u8],
    ) -> Result<(BlockShape, BlockFacts)> {
        let info = blocks.index.block(i);
        self.stored(blocks, i, &info)?;
        let (shape, facts) = BlockShape::check(raw).map_err(|e| self.damaged(e, info.offset))?;
        let fits = (shape.keys(), shape.entries(), shape.updates())
            == (info.keys, info.entries, info.updates)
            && (facts.min_ts, facts.max_ts) == (info.min_ts, info.max_ts)
            && (facts.repeats == 0 || blocks.index.repeats(i))
            && shape.key_to_vec(raw, 0) == blocks.index.first_key(i)
            && blocks.index.may_end_with(i, &shape.key_to_vec(raw, shape.keys() - 1));
        if !fits {
            let what = format!("block {i} is not as the index says: {info:?}, {facts:?}");
            return Err(Error::corruption(&self.path, info.offset, what));
        }
        Ok((shape, facts))
    }
}

/// Bytes that a block takes in the file; none when it would not lie in it.
pub(super) fn stored_slice(map: &[u8], offset: usize, len: u32) -> &[u8] {
    map.get(offset..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
}
