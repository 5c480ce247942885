//! [`Remains`]: what is left of a segment's file that may be damaged anywhere.
//!
//! A reader of a segment refuses what is not as it was written; here every block is tried by itself,
//! under its own checksum, whatever became of the rest of the file. The way to the blocks is, in this
//! order: the block index where the trailer says it is; the block index where it looks like one,
//! because header, trailer or section table are damaged or cut off; and, when there is no index, the
//! blocks themselves, which tell their lengths.
//!
//! # Invariants
//! 1. A block is handed out only when its structure is proved and either its checksum fits or the
//!    caller asked for blocks that have none any longer.
//! 2. Time and memory are linear in the length of the file, also for hostile bytes.

use super::blocks::stored_slice;
use super::{codec, segment_file_name};
use crate::error::{Error, Result};
use crate::format::block::BlockShape;
use crate::format::block_index::{
    BLOCK_INDEX_HEADER_LEN, BlockIndex, CODEC_RAW, CODEC_ZSTD, could_be_index, crcs_behind,
};
use crate::format::segment_footer::{
    FrameError, SECTION_ALIGN, SECTION_BLOCK_INDEX, SECTION_STATS, SEGMENT_HEADER_LEN,
    SEGMENT_TRAILER_LEN, SEGMENT_VERSION, SectionEntry, SegmentHeader, SegmentTrailer,
};
use crate::format::{crc_matches, crc32};
use crate::io::Fs;
use crate::limits::SEGMENT_BLOCKS_MAX;
use crate::types::{SegmentId, TimeWindow};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment's file, and the way to its blocks.
#[derive(Debug)]
pub struct Remains {
    map: Bytes,
    path: PathBuf,
    header: Option<SegmentHeader>,
    trailer: Option<SegmentTrailer>,
    blocks: Way,
    /// Damage that costs no block by itself: where, and what.
    damages: Vec<(u64, String)>,
}

/// How the blocks are found.
#[derive(Debug)]
enum Way {
    Index(BlockIndex),
    /// Block after block, with the checksums that were where the index had them.
    Walk {
        blocks: Vec<Walked>,
        end: usize,
    },
}

/// A block that was found without an index.
#[derive(Clone, Copy, Debug)]
struct Walked {
    offset: usize,
    stored_len: u32,
    raw_len: u32,
    codec: u8,
    crc: Option<u32>,
}

/// A block that cannot be had, and what its index says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostBlock {
    /// Where in the file it is.
    pub offset: u64,
    /// Its first key.
    pub first_key: Option<Vec<u8>>,
    /// The first key of the block behind it.
    pub end_key: Option<Vec<u8>>,
    /// The times of its updates.
    pub times: Option<TimeWindow>,
    /// Count of its updates.
    pub updates: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Remains {
    /// Looks at the file of segment `id` in `dir`.
    ///
    /// # Errors
    /// [`Error::Corruption`] when the file is missing, [`Error::FormatTooNew`], and what the file
    /// system says. Damage is no error.
    pub fn open(fs: &Arc<dyn Fs>, dir: &Path, id: SegmentId) -> Result<Self> {
        let path = dir.join(segment_file_name(id));
        let map = fs.map(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::corruption(&path, 0, "the segment file is missing")
            }
            _ => Error::io("mapping", &path, e),
        })?;
        let mut damages = Vec::new();
        let header = map.get(..SEGMENT_HEADER_LEN).unwrap_or_default();
        let header = intact(SegmentHeader::decode(header), &path, 0, &mut damages)?;
        let at = map.len().saturating_sub(SEGMENT_TRAILER_LEN);
        let trailer = SegmentTrailer::decode(map.get(at..).unwrap_or_default());
        let trailer = intact(trailer, &path, at, &mut damages)?;
        let mut remains = Self {
            map,
            path,
            header,
            trailer,
            blocks: Way::Walk { blocks: Vec::new(), end: SEGMENT_HEADER_LEN },
            damages,
        };
        remains.blocks = match remains.find_index()? {
            Some(index) => Way::Index(index),
            None => remains.walk(),
        };
        Ok(remains)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its header, if that is whole.
    #[must_use]
    pub const fn header(&self) -> Option<&SegmentHeader> {
        self.header.as_ref()
    }

    /// Its trailer, if that is whole.
    #[must_use]
    pub const fn trailer(&self) -> Option<&SegmentTrailer> {
        self.trailer.as_ref()
    }

    /// Damage that costs no block by itself: where, and what.
    #[must_use]
    pub fn damages(&self) -> &[(u64, String)] {
        &self.damages
    }

    /// Whether the blocks were found by an index, so that all that there were are known.
    #[must_use]
    pub const fn has_index(&self) -> bool {
        matches!(self.blocks, Way::Index(_))
    }

    /// Count of the blocks that were found.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        match &self.blocks {
            Way::Index(index) => index.blocks(),
            Way::Walk { blocks, .. } => blocks.len(),
        }
    }

    /// Where the blocks that were found end.
    #[must_use]
    pub fn data_end(&self) -> u64 {
        match &self.blocks {
            Way::Index(index) => index.data_end(),
            Way::Walk { end, .. } => *end as u64,
        }
    }

    /// Block `i`, expanded, and its shape; `unchecked` takes also what has no checksum any longer.
    ///
    /// # Errors
    /// The block is damaged, or has no checksum.
    pub fn block(
        &self,
        i: usize,
        unchecked: bool,
    ) -> std::result::Result<(Bytes, BlockShape), LostBlock> {
        let block = self.place(i);
        let read = self.read(block, unchecked);
        read.map_err(|what| self.lost(i, block, what))
    }

    /// Why block `i` counts as lost though it can be read.
    #[must_use]
    pub fn lost_block(&self, i: usize, what: String) -> LostBlock {
        self.lost(i, self.place(i), what)
    }

    /// Where block `i` starts in the file.
    #[must_use]
    pub fn block_offset(&self, i: usize) -> u64 {
        self.place(i).offset as u64
    }

    /// Whether block `i` is stored in another form than it is read.
    #[must_use]
    pub fn is_compressed(&self, i: usize) -> bool {
        self.place(i).codec != CODEC_RAW
    }

    fn place(&self, i: usize) -> Walked {
        match &self.blocks {
            Way::Index(index) => {
                let info = index.block(i);
                Walked {
                    offset: index.stored_range(i).start,
                    stored_len: info.stored_len,
                    raw_len: info.raw_len,
                    codec: info.codec,
                    crc: Some(info.crc),
                }
            }
            Way::Walk { blocks, .. } => blocks.get(i).copied().unwrap_or(Walked {
                offset: 0,
                stored_len: 0,
                raw_len: 0,
                codec: CODEC_RAW,
                crc: None,
            }),
        }
    }

    fn read(
        &self,
        block: Walked,
        unchecked: bool,
    ) -> std::result::Result<(Bytes, BlockShape), String> {
        let stored = stored_slice(&self.map, block.offset, block.stored_len);
        match block.crc {
            Some(crc) => {
                let found = crc32(stored);
                if !crc_matches(crc, found) {
                    return Err(format!("checksum {crc:#010x} expected, {found:#010x} found"));
                }
            }
            None if !unchecked => return Err("its checksum is lost".into()),
            None => {}
        }
        let raw = if block.codec == CODEC_RAW {
            self.map.slice_ref(stored)
        } else {
            let (len, offset) = (block.raw_len as usize, block.offset as u64);
            codec::decode(stored, len, &self.path, offset).map_err(|e| e.to_string())?.into()
        };
        let (shape, _) = BlockShape::check(&raw).map_err(|e| e.what)?;
        Ok((raw, shape))
    }

    fn lost(&self, i: usize, block: Walked, what: String) -> LostBlock {
        let lost = LostBlock {
            offset: block.offset as u64,
            first_key: None,
            end_key: None,
            times: None,
            updates: None,
            what,
        };
        let Way::Index(index) = &self.blocks else { return lost };
        LostBlock {
            first_key: Some(index.first_key(i)),
            end_key: (i + 1 < index.blocks()).then(|| index.first_key(i + 1)),
            times: Some(index.window(i)),
            updates: Some(u64::from(index.block(i).updates)),
            ..lost
        }
    }

    /// The block index, if it can be read, and notes of what is damaged around it.
    fn find_index(&mut self) -> Result<Option<BlockIndex>> {
        let sections = self.sections()?;
        for section in &sections {
            let bytes = self.map.get(section.range()).unwrap_or_default();
            if !crc_matches(section.crc, crc32(bytes)) {
                let what = format!("section {} is damaged", section.kind);
                self.damages.push((section.offset, what));
            }
        }
        if let Some(section) = sections.iter().find(|s| s.kind == SECTION_BLOCK_INDEX) {
            // Where the index is damaged it is used as far as it makes sense: a block is believed
            // its own checksum.
            return Ok(BlockIndex::decode(self.map.slice(section.range())).ok());
        }
        Ok(self.search_index())
    }

    /// The section table; empty when it cannot be read.
    fn sections(&mut self) -> Result<Vec<SectionEntry>> {
        let Some(trailer) = self.trailer else { return Ok(Vec::new()) };
        let Some(bytes) = self.map.get(trailer.table_range()) else {
            self.damages.push((trailer.table_offset, "no section table".into()));
            return Ok(Vec::new());
        };
        let at = trailer.table_offset as usize;
        if !crc_matches(trailer.table_crc, crc32(bytes)) {
            self.damages.push((at as u64, "the section table is damaged".into()));
            return Ok(Vec::new());
        }
        let sections = SectionEntry::decode_table(bytes, trailer.table_offset);
        let sections = intact(sections, &self.path, at, &mut self.damages)?.unwrap_or_default();
        let has = |kind| sections.iter().any(|s| s.kind == kind);
        if !has(SECTION_BLOCK_INDEX) || !has(SECTION_STATS) {
            self.damages.push((at as u64, "sections are missing".into()));
        }
        Ok(sections)
    }

    /// Looks for a block index at every place where one could be.
    fn search_index(&self) -> Option<BlockIndex> {
        let end = self.map.len().checked_sub(BLOCK_INDEX_HEADER_LEN)?;
        // A file that was made to look like many indexes must not cost the square of its length.
        let mut budget = self.map.len().saturating_mul(4);
        for at in (SEGMENT_HEADER_LEN..=end).step_by(SECTION_ALIGN) {
            let Some(len) = could_be_index(self.map.get(at..).unwrap_or_default(), at as u64)
            else {
                continue;
            };
            budget = budget.checked_sub(len)?;
            if let Ok(index) = BlockIndex::decode(self.map.slice(at..at + len)) {
                return Some(index);
            }
        }
        None
    }

    /// Goes from block to block by what each says of its length. Their checksums are where the index
    /// would have them if these are all blocks.
    fn walk(&self) -> Way {
        let mut blocks: Vec<Walked> = Vec::new();
        let mut at = SEGMENT_HEADER_LEN;
        while blocks.len() < SEGMENT_BLOCKS_MAX {
            let rest = self.map.get(at..).unwrap_or_default();
            let (stored_len, raw_len, codec) = match BlockShape::measure(rest) {
                Some(len) => (len, len, CODEC_RAW),
                None => match codec::measure(rest) {
                    Some((stored_len, raw_len)) => (stored_len, raw_len, CODEC_ZSTD),
                    None => break,
                },
            };
            let (offset, stored_len, raw_len) = (at, stored_len as u32, raw_len as u32);
            blocks.push(Walked { offset, stored_len, raw_len, codec, crc: None });
            at += stored_len as usize;
        }
        let index_at = at.next_multiple_of(SECTION_ALIGN);
        let index = self.map.get(index_at..).unwrap_or_default();
        let crcs: Vec<u32> = crcs_behind(index, blocks.len()).collect();
        // One checksum that fits proves that they are where they are taken to be; none that does
        // means that the blocks are not all there were.
        let fits = |block: &Walked, crc: u32| {
            crc_matches(crc, crc32(stored_slice(&self.map, block.offset, block.stored_len)))
        };
        if crcs.len() == blocks.len() && blocks.iter().zip(&crcs).any(|(b, crc)| fits(b, *crc)) {
            blocks.iter_mut().zip(crcs).for_each(|(block, crc)| block.crc = Some(crc));
        }
        Way::Walk { blocks, end: at }
    }
}

/// What was decoded; a note of the damage when it could not be.
fn intact<T>(
    decoded: std::result::Result<T, FrameError>,
    path: &Path,
    base: usize,
    damages: &mut Vec<(u64, String)>,
) -> Result<Option<T>> {
    match decoded {
        Ok(decoded) => Ok(Some(decoded)),
        Err(FrameError::Damaged(e)) => {
            damages.push((base.saturating_add(e.offset) as u64, e.what));
            Ok(None)
        }
        Err(FrameError::TooNew(found)) => {
            Err(Error::FormatTooNew { file: path.into(), found, max: SEGMENT_VERSION })
        }
    }
}
