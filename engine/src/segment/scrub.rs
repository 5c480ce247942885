//! [`Segment::scrub`]: reads a segment's file again, piece by piece, and compares checksums.
//!
//! The file is read, not the map: what the device cannot give back is an error and not the end of
//! the process, and the pages that readers need stay where they are. A checksum proves that bytes are
//! those that were written; that they are well formed is for [`Segment::verify`].
//!
//! # Invariants
//! 1. A piece is at most `len_max` bytes or one block, and the frame of the file one piece more.
//! 2. Every byte before the end was compared with a checksum, or is padding and was seen to be zero.

use super::Segment;
use super::reader::{check_ends, frame_error};
use crate::error::{Error, Result};
use crate::format::segment_footer::{
    SECTION_ALIGN, SEGMENT_HEADER_LEN, SEGMENT_TRAILER_LEN, SectionEntry, SegmentTrailer,
};
use crate::format::{crc_matches, crc32, crc32_seeded};
use crate::io::{File, OpenMode};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How far a scrub of a segment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubPlace {
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Frame,
    /// Of this section so many bytes were read, with this checksum.
    Section { index: usize, done: usize, crc: u32 },
    /// Before this block.
    Block(usize),
}

/// A file that is read in pieces.
struct Pieces<'s> {
    file: Arc<dyn File>,
    path: &'s Path,
    /// Bytes that were read.
    bytes: u64,
}

impl Pieces<'_> {
    fn read(&mut self, range: Range<usize>) -> Result<Vec<u8>> {
        let mut buf = vec![0; range.len()];
        self.file.read_exact_at(&mut buf, range.start as u64).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::corruption(self.path, range.start as u64, "the file was cut off")
            }
            _ => Error::io("reading", self.path, e),
        })?;
        self.bytes += buf.len() as u64;
        Ok(buf)
    }
}

impl Segment {
    /// Checks the next piece, of at most `len_max` bytes or one block; the bytes that it read, `None`
    /// behind the last piece.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::FormatTooNew`] for bytes that are not those that were
    /// written, [`Error::Io`] when they cannot be read. There is nothing to go on with then.
    pub fn scrub(&self, place: &mut ScrubPlace, len_max: usize) -> Result<Option<u64>> {
        if let At::Block(i) = place.at
            && i >= self.blocks()?.index.blocks()
        {
            return Ok(None);
        }
        let file = self.fs.open(&self.path, OpenMode::Read).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Error::corruption(&self.path, 0, "the segment file is missing")
            }
            _ => Error::io("opening", &self.path, e),
        })?;
        let mut pieces = Pieces { file, path: &self.path, bytes: 0 };
        place.at = match place.at {
            At::Frame => {
                self.scrub_frame(&mut pieces)?;
                At::Section { index: 0, done: 0, crc: crc32(&[]) }
            }
            At::Section { index, done, crc } => match self.sections.get(index) {
                Some(entry) => {
                    let range = entry.range();
                    let start = range.start + done;
                    let end = range.end.min(start.saturating_add(len_max));
                    let crc = crc32_seeded(crc, &pieces.read(start..end)?);
                    if end == range.end {
                        self.check_section_crc(entry, crc)?;
                        At::Section { index: index + 1, done: 0, crc: crc32(&[]) }
                    } else {
                        At::Section { index, done: end - range.start, crc }
                    }
                }
                None => At::Block(0),
            },
            At::Block(first) => At::Block(self.scrub_blocks(&mut pieces, first, len_max)?),
        };
        Ok(Some(pieces.bytes))
    }

    /// Header, trailer and table of sections, and that what lies between sections is zero.
    fn scrub_frame(&self, pieces: &mut Pieces<'_>) -> Result<()> {
        let len = pieces.file.len().map_err(|e| Error::io("reading", &self.path, e))?;
        let trailer_at = (self.meta.file_len as usize).saturating_sub(SEGMENT_TRAILER_LEN);
        if len != self.meta.file_len {
            let what = format!("{} bytes expected, {len} there", self.meta.file_len);
            return Err(Error::corruption(&self.path, len, what));
        }
        let header = pieces.read(0..SEGMENT_HEADER_LEN)?;
        let trailer = pieces.read(trailer_at..trailer_at + SEGMENT_TRAILER_LEN)?;
        let trailer: SegmentTrailer =
            check_ends(&header, &trailer, &self.path, &self.meta, self.identity)?;
        let table = pieces.read(trailer.table_range())?;
        let base = trailer.table_offset;
        let found = crc32(&table);
        if !crc_matches(trailer.table_crc, found) {
            let what = format!("section table: checksum {:#010x} expected", trailer.table_crc);
            return Err(Error::corruption(
                &self.path,
                base,
                format!("{what}, {found:#010x} found"),
            ));
        }
        SectionEntry::decode_table(&table, base).map_err(|e| frame_error(e, &self.path, base))?;
        let table = trailer.table_range().start;
        self.sections.iter().try_for_each(|entry| self.scrub_gap(pieces, entry.range().end, table))
    }

    /// Up to the next multiple of a section's place, or `limit`, everything is zero.
    fn scrub_gap(&self, pieces: &mut Pieces<'_>, end: usize, limit: usize) -> Result<()> {
        let gap = pieces.read(end..end.next_multiple_of(SECTION_ALIGN).min(limit).max(end))?;
        if gap.iter().any(|&byte| byte != 0) {
            let what = "the padding between sections is not zero";
            return Err(Error::corruption(&self.path, end as u64, what));
        }
        Ok(())
    }

    fn check_section_crc(&self, entry: &SectionEntry, found: u32) -> Result<()> {
        if !crc_matches(entry.crc, found) {
            let what = format!("section {}: checksum {:#010x} expected", entry.kind, entry.crc);
            let what = format!("{what}, {found:#010x} found");
            return Err(Error::corruption(&self.path, entry.offset, what));
        }
        Ok(())
    }

    /// Checks the blocks from `first` on that fit in `len_max`, at least one; the first behind them.
    fn scrub_blocks(&self, pieces: &mut Pieces<'_>, first: usize, len_max: usize) -> Result<usize> {
        let index = &self.blocks()?.index;
        let mut read = 0;
        let mut next = first;
        while next < index.blocks() {
            let range = index.stored_range(next);
            read += range.len();
            if next > first && read > len_max {
                break;
            }
            let info = index.block(next);
            let found = crc32(&pieces.read(range)?);
            if !crc_matches(info.crc, found) {
                let what = format!(
                    "block {next}: checksum {:#010x} expected, {found:#010x} found",
                    info.crc
                );
                return Err(Error::corruption(&self.path, info.offset, what));
            }
            next += 1;
        }
        if next == index.blocks() {
            let sections = self.sections.iter().map(|entry| entry.range().start).min();
            let end = index.data_end() as usize;
            self.scrub_gap(pieces, end, sections.unwrap_or(end))?;
        }
        Ok(next)
    }
}
