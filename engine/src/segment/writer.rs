//! [`SegmentWriter`]: entries in order in, a sealed segment file out.
//!
//! Blocks go to the file as they fill up; what leads to them (block index, statistics, filter, hash
//! index) is gathered in memory and written behind them by [`SegmentWriter::finish`].
//!
//! # Invariants
//! 1. Entries are taken only in ascending order of `(key, val)`; anything else is an error and
//!    nothing is written of it.
//! 2. A writer that was not finished leaves no file behind, as far as the system lets it remove it.

use super::codec::Encoder;
use super::garbage::GarbageBuilder;
use super::output::Output;
use super::{BlockCodec, BlockCopy, SegmentIdentity, segment_file_name};
use crate::cursor::EntrySink;
use crate::error::{Error, Result, display_bytes};
use crate::format::anchors::{ANCHORS_LEN_MAX, AnchorsBuilder};
use crate::format::block_builder::BlockBuilder;
use crate::format::block_index::{
    BLOCK_CONTINUES, BLOCK_REPEATS, BlockIndexBuilder, BlockInfo, CODEC_RAW,
};
use crate::format::hash_index::{BlockKeys, encode_hash_index};
use crate::format::segment_filter::encode_filter;
use crate::format::segment_footer::{
    SECTION_ALIGN, SECTION_ANCHORS, SECTION_BLOCK_INDEX, SECTION_FILTER, SECTION_HASH_INDEX,
    SECTION_REQUIRED, SECTION_STATS, SECTION_VERSION, SectionEntry, SegmentHeader, SegmentTrailer,
};
use crate::format::segment_stats::SegmentStats;
use crate::format::{crc32, key_hash};
use crate::io::{Fs, Threads};
use crate::limits::{
    BLOCK_LEN_TARGET, ENTRY_UPDATES_MAX, KEY_LEN_MAX, SEGMENT_BLOCKS_MAX, SEGMENT_LEN_TARGET,
    VAL_LEN_MAX,
};
use crate::planted::{Bug, planted};
use crate::types::{Kind, SegmentId, SegmentMeta, Timestamp};
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

/// A segment with so many keys is full whatever its length, so that what is kept in memory for
/// filter and hash index is bounded.
const SEGMENT_KEYS_TARGET: usize = 1 << 22;

/// How a segment is to be written.
#[derive(Clone, Copy, Debug)]
pub struct SegmentOptions {
    /// How blocks are stored.
    pub codec: BlockCodec,
    /// A block is closed when it reaches this length, in bytes.
    pub block_len: usize,
    /// Bits of the filter for each key; 0 for no filter.
    pub bits_per_key: usize,
    /// Whether there is to be a hash index.
    pub hash_index: bool,
    /// Length of the blocks at which the segment counts as full.
    pub len_target: u64,
    /// Most bytes of anchors, for which a writer takes up to three times as many in memory.
    pub anchors_len_max: usize,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            codec: BlockCodec::Raw,
            block_len: BLOCK_LEN_TARGET,
            bits_per_key: 12,
            hash_index: true,
            len_target: SEGMENT_LEN_TARGET,
            anchors_len_max: ANCHORS_LEN_MAX,
        }
    }
}

/// Writes one segment.
#[derive(Debug)]
pub struct SegmentWriter {
    output: Output,
    header: SegmentHeader,
    options: SegmentOptions,
    encoder: Encoder,
    raw: Vec<u8>,
    /// The block that is being filled, or the last one that was closed.
    block: BlockBuilder,
    block_closed: bool,
    block_flags: u8,
    /// The last key taken, when it came in a block copy.
    copied_key: Option<Vec<u8>>,
    index: BlockIndexBuilder,
    hashes: Vec<u64>,
    garbage: GarbageBuilder,
    /// Of multisets only: tables find a version by its time, logs have one update a key.
    anchors: Option<AnchorsBuilder>,
    totals: Totals,
}

/// What adds up over the closed blocks.
#[derive(Debug)]
struct Totals {
    keys: u64,
    entries: u64,
    updates: u64,
    repeats: u64,
    data_len: u64,
    min_ts: Timestamp,
    max_ts: Timestamp,
    min_diff: i64,
    max_diff: i64,
    first_key: Vec<u8>,
}

/// How an entry follows the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    NewKey,
    NewVal,
    Repeat,
}

impl SegmentWriter {
    /// Creates the file of segment `id` in `dir`, which must not have one.
    pub fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        id: SegmentId,
        identity: SegmentIdentity,
        options: SegmentOptions,
    ) -> Result<Self> {
        let SegmentIdentity { db_uuid, collection, kind } = identity;
        let header = SegmentHeader { db_uuid, segment: id, collection, kind };
        let encoder = Encoder::new(options.codec)?;
        let mut output = Output::create(fs, dir.join(segment_file_name(id)))?;
        output.put(&header.encode())?;
        Ok(Self {
            output,
            header,
            options,
            encoder,
            raw: Vec::new(),
            block: BlockBuilder::default(),
            block_closed: true,
            block_flags: 0,
            copied_key: None,
            index: BlockIndexBuilder::default(),
            hashes: Vec::new(),
            garbage: GarbageBuilder::new(kind),
            anchors: (kind == Kind::Multiset).then(|| AnchorsBuilder::new(options.anchors_len_max)),
            totals: Totals::new(),
        })
    }

    /// The segment that it writes.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.header.segment
    }

    /// Lets a thread write the file behind the writer's back, once it is worth one. What is written
    /// is the same.
    pub fn write_behind(&mut self, threads: Arc<dyn Threads>) {
        self.output.set_threads(threads);
    }

    /// Bytes of the blocks closed so far, before compression.
    #[must_use]
    pub const fn data_len(&self) -> u64 {
        self.totals.data_len
    }

    /// Bytes written to the file so far, or about to be.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.output.position()
    }

    /// Whether the segment has reached its target and should be finished before the next new key.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.totals.data_len >= self.options.len_target
            || self.hashes.len() >= SEGMENT_KEYS_TARGET
            || self.index.len_bytes() as u64 >= self.options.len_target / 4
            || self.index.blocks().len() >= SEGMENT_BLOCKS_MAX / 2
    }

    /// Whether nothing was taken yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty() && self.index.blocks().is_empty()
    }

    /// Takes a whole block as it is; its first key must be above every key so far.
    pub fn copy_block(&mut self, copy: &BlockCopy) -> Result<()> {
        if self.follows(copy.first_key(), &[])? != Follows::NewKey {
            return Err(out_of_order(copy.first_key()));
        }
        self.close_block()?;
        if let Some(anchors) = &mut self.anchors {
            // In a copied block each entry has one update, so no key in it is of few values.
            anchors.skip();
        }
        copy.shape.each_key(&copy.raw, |key| self.hashes.push(key_hash(key)));
        let (stored, codec, crc) = if copy.codec == CODEC_RAW {
            let (stored, codec) = self.encoder.encode(&copy.raw);
            (stored, codec, if codec == CODEC_RAW { copy.crc } else { crc32(stored) })
        } else {
            (&*copy.stored, copy.codec, copy.crc)
        };
        let info = BlockInfo {
            offset: self.output.position(),
            stored_len: stored.len() as u32,
            raw_len: copy.raw.len() as u32,
            keys: copy.shape.keys(),
            entries: copy.shape.entries(),
            updates: copy.shape.updates(),
            crc,
            min_ts: copy.times.first,
            max_ts: copy.times.last,
            codec,
            flags: 0,
        };
        self.totals.add(&info, copy.diffs, copy.first_key());
        self.index.push(info, copy.first_key());
        self.output.put(stored)?;
        self.block.clear();
        self.copied_key = Some(copy.last_key.clone());
        Ok(())
    }

    /// How an entry follows the last one; an error when it does not.
    #[inline]
    fn follows(&self, key: &[u8], val: &[u8]) -> Result<Follows> {
        if let Some(copied) = &self.copied_key {
            return if copied.as_slice() < key {
                Ok(Follows::NewKey)
            } else {
                Err(out_of_order(key))
            };
        }
        if self.block.is_empty() {
            return Ok(Follows::NewKey);
        }
        match self.block.last_key().cmp(key) {
            Ordering::Less => Ok(Follows::NewKey),
            Ordering::Equal => match self.block.last_val().cmp(val) {
                Ordering::Less => Ok(Follows::NewVal),
                Ordering::Equal => Ok(Follows::Repeat),
                Ordering::Greater => Err(out_of_order(key)),
            },
            Ordering::Greater => Err(out_of_order(key)),
        }
    }

    /// Takes an entry that is known to have few enough updates.
    fn push_piece(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        let follows = self.follows(key, val)?;
        if val.len() > self.options.block_len {
            // A large value gets a block of its own, so that its neighbours stay cheap to read.
            self.close_block()?;
        }
        if self.block_closed {
            self.block.clear();
            self.block_closed = false;
            self.block_flags = if follows == Follows::NewKey { 0 } else { BLOCK_CONTINUES };
            if follows == Follows::Repeat {
                self.index.flag_last(BLOCK_REPEATS);
            }
            if follows != Follows::NewKey
                && let Some(anchors) = &mut self.anchors
            {
                anchors.begin_block();
            }
            self.copied_key = None;
            self.block.push_key(key, val, updates);
        } else if follows == Follows::NewKey {
            self.block.push_key(key, val, updates);
        } else {
            self.block.push_entry(val, updates);
        }
        if follows == Follows::NewKey {
            self.hashes.push(key_hash(key));
        }
        let repeat = follows == Follows::Repeat;
        if let Some(anchors) = &mut self.anchors {
            if follows == Follows::NewKey {
                let block = self.index.blocks().len() as u32;
                anchors.begin_key((block, self.block.keys() as u32 - 1));
            }
            anchors.entry(updates, repeat);
        }
        if repeat {
            self.block_flags |= BLOCK_REPEATS;
            self.totals.repeats += 1;
        }
        if self.garbage.is_of_versions() {
            let ts = updates.first().map_or(0, |(ts, _)| *ts);
            let new_key = follows == Follows::NewKey;
            self.garbage.push_version(key.len() + val.len(), ts, new_key);
        } else {
            self.garbage.push(key.len() + val.len(), updates, repeat);
        }
        if self.block.is_full(self.options.block_len) {
            self.close_block()?;
        }
        Ok(())
    }

    /// Encodes the block that is being filled and hands it to the file. What it held stays in the
    /// builder until the next entry has been compared with it.
    fn close_block(&mut self) -> Result<()> {
        if self.block_closed {
            return Ok(());
        }
        self.block_closed = true;
        self.raw.clear();
        self.block.encode(&mut self.raw);
        let (stored, codec) = self.encoder.encode(&self.raw);
        let (min_ts, max_ts) = self.block.ts_range();
        let info = BlockInfo {
            offset: self.output.position(),
            stored_len: stored.len() as u32,
            raw_len: self.raw.len() as u32,
            keys: self.block.keys() as u32,
            entries: self.block.entries() as u32,
            updates: self.block.updates() as u32,
            crc: crc32(stored),
            min_ts,
            max_ts,
            codec,
            flags: self.block_flags,
        };
        self.totals.add(&info, self.block.diff_range(), self.block.first_key());
        self.index.push(info, self.block.first_key());
        self.output.put(stored)
    }

    /// Writes the sections and the trailer and syncs the file. The caller syncs the directory
    /// before it puts the segment into the manifest. `None`, and no file, when nothing was taken.
    pub fn finish(mut self) -> Result<Option<SegmentMeta>> {
        self.close_block()?;
        if self.index.blocks().is_empty() {
            return Ok(None);
        }
        let data_end = self.output.position();
        let last_key = match self.copied_key.take() {
            Some(key) => key,
            None => self.block.last_key().to_vec(),
        };
        let (garbage, garbage_first_ts) =
            std::mem::replace(&mut self.garbage, GarbageBuilder::new(Kind::Multiset)).finish();
        let stats = self.totals.stats(last_key, garbage);
        let mut table = Vec::new();
        let index = self.index.encode(&stats.max_key, data_end);
        self.put_section(&mut table, SECTION_BLOCK_INDEX, SECTION_REQUIRED, &index)?;
        self.put_section(&mut table, SECTION_STATS, SECTION_REQUIRED, &stats.encode())?;
        if self.options.bits_per_key > 0 {
            let known = self.hashes.len() - usize::from(planted(Bug::StaleFilter));
            let filter = encode_filter(
                self.hashes.get(..known).unwrap_or_default(),
                self.options.bits_per_key,
            );
            self.put_section(&mut table, SECTION_FILTER, 0, &filter)?;
        }
        if self.options.hash_index
            && let Some(hash_index) = encode_hash_index(&self.hashes, &self.block_keys())
        {
            self.put_section(&mut table, SECTION_HASH_INDEX, 0, &hash_index)?;
        }
        if let Some(anchors) = self.anchors.take().and_then(AnchorsBuilder::finish) {
            self.put_section(&mut table, SECTION_ANCHORS, 0, &anchors)?;
        }
        let (file_len, trailer_crc) = self.put_trailer(&table)?;
        self.output.seal()?;
        Ok(Some(SegmentMeta {
            id: self.id(),
            file_len,
            trailer_crc,
            keys: stats.keys,
            entries: stats.entries,
            updates: stats.updates,
            min_ts: stats.min_ts,
            max_ts: stats.max_ts,
            data_len: self.totals.data_len,
            garbage_first_ts,
        }))
    }

    fn block_keys(&self) -> Vec<BlockKeys> {
        let first = |flags| u32::from(flags & BLOCK_CONTINUES != 0);
        let keys = |b: &BlockInfo| BlockKeys { first: first(b.flags), end: b.keys };
        self.index.blocks().iter().map(keys).collect()
    }

    fn put_section(
        &mut self,
        table: &mut Vec<SectionEntry>,
        kind: u16,
        flags: u16,
        bytes: &[u8],
    ) -> Result<()> {
        self.output.align(SECTION_ALIGN as u64);
        table.push(SectionEntry {
            kind,
            flags,
            version: SECTION_VERSION,
            offset: self.output.position(),
            len: bytes.len() as u64,
            crc: crc32(bytes),
        });
        self.output.put(bytes)
    }

    fn put_trailer(&mut self, table: &[SectionEntry]) -> Result<(u64, u32)> {
        self.output.align(SECTION_ALIGN as u64);
        let table_offset = self.output.position();
        let bytes = SectionEntry::encode_table(table);
        self.output.put(&bytes)?;
        let mut trailer = SegmentTrailer {
            section_count: table.len() as u32,
            table_offset,
            table_crc: crc32(&bytes),
            file_len: self.output.position() + 64,
            segment: self.header.segment,
            collection: self.header.collection,
            crc: 0,
        };
        let bytes = trailer.encode();
        debug_assert_eq!(trailer.file_len, self.output.position() + bytes.len() as u64);
        self.output.put(&bytes)?;
        Ok((trailer.file_len, trailer.crc))
    }
}

impl EntrySink for SegmentWriter {
    fn push(&mut self, key: &[u8], val: &[u8], updates: &[(Timestamp, i64)]) -> Result<()> {
        if let [_] = updates {
            // The common case needs no further look at the times.
        } else if updates.is_empty() || !updates.is_sorted_by_key(|&(ts, _)| ts) {
            let what = format!("updates of key {} are out of order", display_bytes(key));
            return Err(Error::Internal { what });
        }
        if key.len() > KEY_LEN_MAX || val.len() > VAL_LEN_MAX {
            let what = format!("an entry of {} and {} bytes", key.len(), val.len());
            return Err(Error::Internal { what });
        }
        if updates.len() <= ENTRY_UPDATES_MAX {
            return self.push_piece(key, val, updates);
        }
        updates.chunks(ENTRY_UPDATES_MAX).try_for_each(|piece| self.push_piece(key, val, piece))
    }
}

impl Totals {
    const fn new() -> Self {
        Self {
            keys: 0,
            entries: 0,
            updates: 0,
            repeats: 0,
            data_len: 0,
            min_ts: Timestamp::MAX,
            max_ts: 0,
            min_diff: i64::MAX,
            max_diff: i64::MIN,
            first_key: Vec::new(),
        }
    }

    fn add(&mut self, block: &BlockInfo, diffs: (i64, i64), first_key: &[u8]) {
        if self.entries == 0 {
            self.first_key = first_key.to_vec();
        }
        // A key that goes on from the block before was counted there.
        self.keys += u64::from(block.keys) - u64::from(block.flags & BLOCK_CONTINUES != 0);
        self.entries += u64::from(block.entries);
        self.updates += u64::from(block.updates);
        self.data_len += u64::from(block.raw_len);
        self.min_ts = self.min_ts.min(block.min_ts);
        self.max_ts = self.max_ts.max(block.max_ts);
        self.min_diff = self.min_diff.min(diffs.0);
        self.max_diff = self.max_diff.max(diffs.1);
    }

    fn stats(
        &mut self,
        max_key: Vec<u8>,
        garbage: Vec<crate::format::segment_stats::GarbageBucket>,
    ) -> SegmentStats {
        SegmentStats {
            keys: self.keys,
            entries: self.entries,
            updates: self.updates,
            repeats: self.repeats,
            min_ts: self.min_ts,
            max_ts: self.max_ts,
            min_diff: self.min_diff,
            max_diff: self.max_diff,
            min_key: std::mem::take(&mut self.first_key),
            max_key,
            garbage,
        }
    }
}

fn out_of_order(key: &[u8]) -> Error {
    Error::Internal { what: format!("key {} comes out of order", display_bytes(key)) }
}
