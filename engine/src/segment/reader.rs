//! [`Segment`]: an open segment file.
//!
//! Opening maps the file and checks what frames it, no more. Sections are checked when they are
//! first used, blocks when they are first touched; both are used where they lie.
//!
//! # Invariants
//! 1. The map is never written: a segment's file is immutable (see the module above).
//! 2. A section or a block that was found good stays good; one that was found damaged is checked
//!    again, and refused again, by whoever comes next.

use super::blocks::Blocks;
use super::{BlockCache, SegmentCursor, SegmentIdentity, segment_file_name};
use crate::error::{Error, Result};
use crate::format::anchors::Anchors;
use crate::format::hash_index::HashIndex;
use crate::format::segment_filter::Filter;
use crate::format::segment_footer::{
    FrameError, SECTION_ANCHORS, SECTION_BLOCK_INDEX, SECTION_FILTER, SECTION_HASH_INDEX,
    SECTION_STATS, SEGMENT_HEADER_LEN, SEGMENT_TRAILER_LEN, SEGMENT_VERSION, SectionEntry,
    SegmentHeader, SegmentTrailer,
};
use crate::format::segment_stats::{Garbage, SegmentStats};
use crate::format::{FormatError, crc_matches, crc32};
use crate::io::Fs;
use crate::types::{CollectionId, Frontier, SegmentMeta, TimeWindow};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// An open segment; shared by everybody who reads it.
#[derive(Debug)]
pub struct Segment {
    pub(super) map: Bytes,
    pub(super) path: PathBuf,
    pub(super) meta: SegmentMeta,
    pub(super) identity: SegmentIdentity,
    pub(super) cache: Arc<BlockCache>,
    pub(super) sections: Vec<SectionEntry>,
    blocks: OnceLock<Blocks>,
    stats: OnceLock<SegmentStats>,
    /// `None` inside: the segment has no such section.
    filter: OnceLock<Option<Filter>>,
    hash_index: OnceLock<Option<HashIndex>>,
    anchors: OnceLock<Option<Anchors>>,
    pub(super) fs: Arc<dyn Fs>,
    obsolete: AtomicBool,
}

impl Segment {
    /// Opens the segment that the manifest describes as `expected`.
    ///
    /// # Errors
    /// [`Error::Corruption`] when the file is missing or is not the one that was written,
    /// [`Error::FormatTooNew`] when a newer datestone wrote it, and what the file system says.
    pub fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        expected: &SegmentMeta,
        identity: SegmentIdentity,
        cache: &Arc<BlockCache>,
    ) -> Result<Arc<Self>> {
        let path = dir.join(segment_file_name(expected.id));
        let map = fs.map(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::corruption(&path, 0, "the segment file is missing"),
            _ => Error::io("mapping", &path, e),
        })?;
        let trailer = check_frame(&map, &path, expected, identity)?;
        let base = trailer.table_offset;
        let sections = decode_sections(&map, &path, &trailer)?;
        for kind in [SECTION_BLOCK_INDEX, SECTION_STATS] {
            if !sections.iter().any(|s| s.kind == kind) {
                return Err(Error::corruption(&path, base, format!("section {kind} is missing")));
            }
        }
        Ok(Arc::new(Self {
            map,
            path,
            meta: expected.clone(),
            identity,
            cache: Arc::clone(cache),
            sections,
            blocks: OnceLock::new(),
            stats: OnceLock::new(),
            filter: OnceLock::new(),
            hash_index: OnceLock::new(),
            anchors: OnceLock::new(),
            fs: Arc::clone(fs),
            obsolete: AtomicBool::new(false),
        }))
    }

    /// What the manifest knows of it.
    #[must_use]
    pub const fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// The collection that it is of.
    #[must_use]
    pub const fn collection(&self) -> CollectionId {
        self.identity.collection
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its statistics.
    pub fn stats(&self) -> Result<&SegmentStats> {
        lazily(&self.stats, || {
            let (bytes, base) = self.required(SECTION_STATS)?;
            let stats = SegmentStats::decode(&bytes).map_err(|e| self.damaged(e, base))?;
            let meta = &self.meta;
            let same = (stats.keys, stats.entries, stats.updates, stats.min_ts, stats.max_ts)
                == (meta.keys, meta.entries, meta.updates, meta.min_ts, meta.max_ts);
            if !same {
                let what = "statistics are not those in the manifest";
                return Err(Error::corruption(&self.path, base, what));
            }
            Ok(stats)
        })
    }

    /// About how much a merge at `since` would get rid of inside this segment.
    pub fn garbage(&self, since: Frontier) -> Result<Garbage> {
        let reached = |first| since.ts().is_none_or(|since| first <= since);
        if !self.meta.garbage_first_ts.is_some_and(reached) {
            return Ok(Garbage::default());
        }
        Ok(self.stats()?.garbage_at(since))
    }

    /// A cursor over its updates in `window`; stands nowhere until it is told to seek.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, window: TimeWindow) -> SegmentCursor {
        SegmentCursor::new(Arc::clone(self), window)
    }

    /// Has the file removed when the last user lets go of the segment.
    pub fn mark_obsolete(&self) {
        // Relaxed: the last drop comes after this call through the reference count of the `Arc`.
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// The blocks.
    #[inline]
    pub(super) fn blocks(&self) -> Result<&Blocks> {
        lazily(&self.blocks, || {
            let (bytes, base) = self.required(SECTION_BLOCK_INDEX)?;
            let blocks = Blocks::decode(bytes).map_err(|e| self.damaged(e, base))?;
            let counts = blocks.counts();
            if counts != (self.meta.entries, self.meta.updates, self.meta.data_len)
                || blocks.index.data_end() > base
            {
                let what =
                    format!("{counts:?} entries, updates and bytes are not as in the manifest");
                return Err(Error::corruption(&self.path, base, what));
            }
            Ok(blocks)
        })
    }

    /// The filter, if there is one.
    #[inline]
    pub(super) fn filter(&self) -> Result<Option<&Filter>> {
        Ok(lazily(&self.filter, || self.optional(SECTION_FILTER, Filter::decode))?.as_ref())
    }

    /// The hash index, if there is one.
    #[inline]
    pub(super) fn hash_index(&self) -> Result<Option<&HashIndex>> {
        let decode = || self.optional(SECTION_HASH_INDEX, HashIndex::decode);
        Ok(lazily(&self.hash_index, decode)?.as_ref())
    }

    /// The anchors, if there are any.
    #[inline]
    pub(super) fn anchors(&self) -> Result<Option<&Anchors>> {
        let decode = || self.optional(SECTION_ANCHORS, Anchors::decode);
        Ok(lazily(&self.anchors, decode)?.as_ref())
    }

    /// Decodes a section that may be missing.
    fn optional<T>(
        &self,
        kind: u16,
        decode: impl FnOnce(Bytes) -> std::result::Result<T, FormatError>,
    ) -> Result<Option<T>> {
        let Some((bytes, base)) = self.section(kind)? else { return Ok(None) };
        decode(bytes).map(Some).map_err(|e| self.damaged(e, base))
    }

    fn required(&self, kind: u16) -> Result<(Bytes, u64)> {
        let missing = || Error::corruption(&self.path, 0, format!("section {kind} is missing"));
        self.section(kind)?.ok_or_else(missing)
    }

    /// The bytes of a section and where they start, checksum verified.
    pub(super) fn section(&self, kind: u16) -> Result<Option<(Bytes, u64)>> {
        let Some(entry) = self.sections.iter().find(|s| s.kind == kind) else { return Ok(None) };
        let range = entry.range();
        let bytes = self.map.get(range.clone()).unwrap_or_default();
        let found = crc32(bytes);
        if !crc_matches(entry.crc, found) {
            let what = format!("section {kind}: checksum {:#010x} expected", entry.crc);
            let what = format!("{what}, {found:#010x} found");
            return Err(Error::corruption(&self.path, entry.offset, what));
        }
        Ok(Some((self.map.slice(range), entry.offset)))
    }

    pub(super) fn damaged(&self, error: FormatError, base: u64) -> Error {
        error.in_file(&self.path, base)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed) {
            // Some systems refuse to remove a mapped file, so everything that holds the map goes
            // first. A file that stays is an orphan, and the next open removes it.
            self.blocks.take();
            self.filter.take();
            self.hash_index.take();
            self.anchors.take();
            self.map = Bytes::new();
            let _ = self.fs.remove_file(&self.path);
        }
    }
}

/// Checks header and trailer against each other and what is expected.
pub(super) fn check_frame(
    map: &[u8],
    path: &Path,
    expected: &SegmentMeta,
    identity: SegmentIdentity,
) -> Result<SegmentTrailer> {
    if map.len() as u64 != expected.file_len || map.len() < SEGMENT_HEADER_LEN + SEGMENT_TRAILER_LEN
    {
        let what = format!("{} bytes expected, {} there", expected.file_len, map.len());
        return Err(Error::corruption(path, map.len() as u64, what));
    }
    let header = map.get(..SEGMENT_HEADER_LEN).unwrap_or_default();
    let trailer = map.get(map.len() - SEGMENT_TRAILER_LEN..).unwrap_or_default();
    check_ends(header, trailer, path, expected, identity)
}

/// Checks the bytes of header and trailer of a file of the expected length against each other and what
/// is expected.
pub(super) fn check_ends(
    header: &[u8],
    trailer: &[u8],
    path: &Path,
    expected: &SegmentMeta,
    identity: SegmentIdentity,
) -> Result<SegmentTrailer> {
    let trailer_at = expected.file_len.saturating_sub(SEGMENT_TRAILER_LEN as u64);
    let header = SegmentHeader::decode(header).map_err(|e| frame_error(e, path, 0))?;
    let trailer = SegmentTrailer::decode(trailer).map_err(|e| frame_error(e, path, trailer_at))?;
    let wanted = SegmentHeader {
        db_uuid: identity.db_uuid,
        segment: expected.id,
        collection: identity.collection,
        kind: identity.kind,
    };
    if header != wanted {
        let what = format!("{wanted:?} expected, {header:?} found");
        return Err(Error::corruption(path, 0, what));
    }
    let trailer_fits = trailer.segment == wanted.segment
        && trailer.collection == wanted.collection
        && trailer.file_len == expected.file_len
        && crc_matches(expected.trailer_crc, trailer.crc);
    if !trailer_fits {
        let what = format!("the trailer of {expected:?} expected, {trailer:?} found");
        return Err(Error::corruption(path, trailer_at, what));
    }
    Ok(trailer)
}

/// The section table that the trailer leads to, checksum verified.
pub(super) fn decode_sections(
    map: &[u8],
    path: &Path,
    trailer: &SegmentTrailer,
) -> Result<Vec<SectionEntry>> {
    let base = trailer.table_offset;
    let bytes = map.get(trailer.table_range()).unwrap_or_default();
    let found = crc32(bytes);
    if !crc_matches(trailer.table_crc, found) {
        let what = format!("section table: checksum {:#010x} expected", trailer.table_crc);
        return Err(Error::corruption(path, base, format!("{what}, {found:#010x} found")));
    }
    SectionEntry::decode_table(bytes, base).map_err(|e| frame_error(e, path, base))
}

pub(super) fn frame_error(error: FrameError, path: &Path, base: u64) -> Error {
    match error {
        FrameError::Damaged(error) => error.in_file(path, base),
        FrameError::TooNew(found) => {
            Error::FormatTooNew { file: path.into(), found, max: SEGMENT_VERSION }
        }
    }
}

/// The value of `cell`, made on first use. Two threads may make it at once; one value is kept.
#[inline(always)]
fn lazily<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => make_lazily(cell, make),
    }
}

#[cold]
#[inline(never)]
fn make_lazily<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
