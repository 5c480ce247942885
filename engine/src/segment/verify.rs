//! [`Segment::verify`]: looks at a segment on purpose instead of lazily.
//!
//! The full depth reads every byte again from the map, also of blocks that were verified before,
//! and proves what no read relies on: that blocks follow each other in order, that padding is
//! zero, that statistics are true, and that filter and hash index lead to every key.

use super::Segment;
use super::blocks::Blocks;
use super::codec;
use super::reader::check_frame;
use crate::error::{Error, Result};
use crate::format::anchors::{Anchors, AnchorsBuilder};
use crate::format::block::{BlockFacts, BlockShape};
use crate::format::hash_index::{HashIndex, KeyPlace};
use crate::format::key_hash;
use crate::format::segment_filter::Filter;
use crate::format::segment_footer::{
    SECTION_ALIGN, SECTION_FILTER, SECTION_HASH_INDEX, SEGMENT_TRAILER_LEN,
};
use crate::format::segment_stats::SegmentStats;
use std::cmp::Ordering;

/// How thoroughly to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentDepth {
    /// The frame and the sections.
    Quick,
    /// Every block, and everything against everything.
    Full,
}

/// What a verification has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// Blocks checked.
    pub blocks: u64,
    /// Keys in them.
    pub keys: u64,
    /// Entries in them.
    pub entries: u64,
    /// Updates in them.
    pub updates: u64,
    /// Bytes of the file that were read.
    pub bytes: u64,
}

/// What is carried from block to block.
#[derive(Default)]
struct Walk {
    report: SegmentReport,
    repeats: u64,
    last_key: Vec<u8>,
    last_val: Vec<u8>,
    /// What the anchors must be, when there are any.
    anchors: Option<AnchorsBuilder>,
    facts: Option<BlockFacts>,
}

impl Segment {
    /// Verifies the segment. `progress` is called with the count of further bytes read.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify(
        &self,
        depth: SegmentDepth,
        progress: &mut dyn FnMut(u64),
    ) -> Result<SegmentReport> {
        check_frame(&self.map, &self.path, &self.meta, self.identity)?;
        let blocks = self.blocks()?;
        let stats = self.stats()?;
        let filter = self.filter()?;
        let hash_index = self.hash_index()?;
        self.verify_sections()?;
        let sections_len = self.meta.file_len - blocks.index.data_end();
        progress(sections_len);
        if depth == SegmentDepth::Quick {
            return Ok(SegmentReport { bytes: sections_len, ..SegmentReport::default() });
        }
        self.verify_padding(blocks)?;
        let anchors = self.anchors()?.map(|_| AnchorsBuilder::default());
        let mut walk = Walk { anchors, ..Walk::default() };
        for i in 0..blocks.index.blocks() {
            let len = self.verify_block(blocks, i, &mut walk, filter, hash_index)?;
            progress(len);
        }
        self.verify_stats(stats, &walk)?;
        self.verify_anchors(walk.anchors.take())?;
        walk.report.bytes = self.meta.file_len;
        Ok(walk.report)
    }

    /// Checks the checksums of all sections, once more if they were used before.
    fn verify_sections(&self) -> Result<()> {
        for entry in &self.sections {
            self.section(entry.kind)?;
        }
        Ok(())
    }

    /// What lies between blocks, sections and table is zero.
    fn verify_padding(&self, blocks: &Blocks) -> Result<()> {
        let mut end = blocks.index.data_end() as usize;
        let table = self.map.len().saturating_sub(SEGMENT_TRAILER_LEN);
        let mut ranges: Vec<_> = self.sections.iter().map(|entry| entry.range()).collect();
        ranges.sort_by_key(|range| range.start);
        for range in ranges {
            // Behind the next multiple may lie a section that this build does not know.
            let gap_end = end.next_multiple_of(SECTION_ALIGN).min(range.start);
            self.verify_zeros(end, gap_end)?;
            end = range.end;
        }
        self.verify_zeros(end, end.next_multiple_of(SECTION_ALIGN).min(table))
    }

    fn verify_zeros(&self, start: usize, end: usize) -> Result<()> {
        let zeros = self.map.get(start..end).is_some_and(|gap| gap.iter().all(|&b| b == 0));
        if !zeros {
            let what = "sections overlap, or the padding between them is not zero";
            return Err(Error::corruption(&self.path, start as u64, what));
        }
        Ok(())
    }

    /// Reads block `i` anew, past the cache and the mark that it was verified.
    fn verify_block(
        &self,
        blocks: &Blocks,
        i: usize,
        walk: &mut Walk,
        filter: Option<&Filter>,
        hash_index: Option<&HashIndex>,
    ) -> Result<u64> {
        let info = blocks.index.block(i);
        let stored = self.stored(blocks, i, &info)?;
        let expanded;
        let raw = if blocks.index.is_raw(i) {
            stored
        } else {
            expanded = codec::decode(stored, info.raw_len as usize, &self.path, info.offset)?;
            &expanded
        };
        let (shape, facts) = self.check_block(blocks, i, raw)?;
        let wrong = |what: String| Error::corruption(&self.path, info.offset, what);
        walk.anchor(blocks, i, &shape, raw);
        walk.join(blocks, i, &shape, facts, raw).map_err(wrong)?;
        let continues = blocks.index.continues(i);
        let mut missing = None;
        let mut number = 0;
        shape.each_key(raw, |key| {
            let place = KeyPlace { block: i as u32, key: number };
            number += 1;
            if place.key == 0 && continues {
                return;
            }
            let hash = key_hash(key);
            if filter.is_some_and(|filter| !filter.may_contain(hash)) {
                missing = Some((SECTION_FILTER, place));
            }
            if hash_index.is_some_and(|index| !index.places(hash).any(|found| found == place)) {
                missing = Some((SECTION_HASH_INDEX, place));
            }
        });
        if let Some((section, place)) = missing {
            return Err(wrong(format!("section {section} does not lead to {place:?}")));
        }
        Ok(u64::from(info.stored_len))
    }

    /// What the anchors say of a key is what the blocks do.
    fn verify_anchors(&self, rebuilt: Option<AnchorsBuilder>) -> Result<()> {
        let Some(anchors) = self.anchors()? else { return Ok(()) };
        let wrong = |what: String| Error::corruption(&self.path, 0, what);
        let rebuilt = rebuilt.and_then(AnchorsBuilder::finish).unwrap_or_default();
        let rebuilt = Anchors::decode(rebuilt.into())
            .map_err(|_| wrong("there are anchors, but no long history".into()))?;
        for (place, key) in anchors.keys() {
            if !rebuilt.find(place).is_some_and(|rebuilt| rebuilt.is_same(&key)) {
                return Err(wrong(format!("the anchors at {place:?} are not those of the blocks")));
            }
        }
        Ok(())
    }

    fn verify_stats(&self, stats: &SegmentStats, walk: &Walk) -> Result<()> {
        let report = &walk.report;
        let meta = (self.meta.keys, self.meta.entries, self.meta.updates);
        let same = meta == (report.keys, report.entries, report.updates)
            && stats.repeats == walk.repeats
            && stats.max_key == walk.last_key
            && walk.facts.is_some_and(|facts| {
                (stats.min_diff, stats.max_diff) == (facts.min_diff, facts.max_diff)
                    && (stats.min_ts, stats.max_ts) == (facts.min_ts, facts.max_ts)
            })
            && self.meta.garbage_first_ts == self.first_garbage(stats);
        if !same {
            let what = format!("statistics say {stats:?}, the blocks {report:?}");
            return Err(Error::corruption(&self.path, 0, what));
        }
        Ok(())
    }

    /// The manifest's threshold when the histogram bears it out: its first bucket may be later,
    /// because buckets are joined, but there is one exactly when there is a threshold.
    fn first_garbage(&self, stats: &SegmentStats) -> Option<u64> {
        let first = stats.garbage.first()?.since;
        self.meta.garbage_first_ts.filter(|&since| since <= first).or(Some(first))
    }
}

impl Walk {
    /// Builds the anchors anew from the next block, whatever comes of it.
    fn anchor(&mut self, blocks: &Blocks, i: usize, shape: &BlockShape, raw: &[u8]) {
        let Some(anchors) = &mut self.anchors else { return };
        let may_repeat = blocks.index.repeats(i);
        let mut updates = Vec::new();
        for key in 0..shape.keys() {
            let goes_on = key == 0 && blocks.index.continues(i);
            if goes_on {
                anchors.begin_block();
            } else {
                anchors.begin_key((i as u32, key));
            }
            let entries = shape.entries_of(raw, key);
            for entry in entries.clone() {
                let repeats = may_repeat
                    && match entry == entries.start {
                        true => goes_on && self.last_val == shape.val(raw, entry),
                        false => shape.val(raw, entry - 1) == shape.val(raw, entry),
                    };
                updates.clear();
                let of_entry = shape.updates_of(raw, entry);
                updates.extend(of_entry.map(|at| (shape.ts(raw, at), shape.diff(raw, at))));
                anchors.entry(&updates, repeats);
            }
        }
    }

    /// Takes the next block; it must follow the one before in order.
    fn join(
        &mut self,
        blocks: &Blocks,
        i: usize,
        shape: &BlockShape,
        facts: BlockFacts,
        raw: &[u8],
    ) -> std::result::Result<(), String> {
        // That first keys ascend is proved with the index, and that a block ends below the next one
        // with the block; what is left are the values of a key that goes on.
        let (index, continues) = (&blocks.index, blocks.index.continues(i));
        if continues {
            match self.last_val.as_slice().cmp(shape.val(raw, 0)) {
                Ordering::Less => {}
                Ordering::Equal if index.repeats(i - 1) && index.repeats(i) => self.repeats += 1,
                _ => return Err(format!("block {i} does not follow the one before by value")),
            }
        }
        self.repeats += u64::from(facts.repeats);
        let so_far = self.facts.unwrap_or(facts);
        self.facts = Some(BlockFacts {
            min_ts: so_far.min_ts.min(facts.min_ts),
            max_ts: so_far.max_ts.max(facts.max_ts),
            min_diff: so_far.min_diff.min(facts.min_diff),
            max_diff: so_far.max_diff.max(facts.max_diff),
            repeats: 0,
        });
        self.report.blocks += 1;
        self.report.keys += u64::from(shape.keys()) - u64::from(continues);
        self.report.entries += u64::from(shape.entries());
        self.report.updates += u64::from(shape.updates());
        self.last_key = shape.key_to_vec(raw, shape.keys() - 1);
        self.last_val = shape.val(raw, shape.entries() - 1).to_vec();
        Ok(())
    }
}
