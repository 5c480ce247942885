//! What frames a segment file: the header at its start, the section table and the trailer at its
//! end.
//!
//! # Invariants
//! 1. The trailer's checksum covers the trailer, which holds the checksum of the section table,
//!    which holds those of the sections; the block index holds those of the blocks. So the one
//!    checksum that the manifest keeps vouches for the whole file, apart from padding.
//! 2. A section of an unknown kind is skipped unless it is marked as required.

#![deny(clippy::indexing_slicing)]

use super::{FormatError, Reader, SpecConstant, SpecLayout, crc_matches, crc32};
use crate::types::{CollectionId, Kind, SegmentId};
use std::ops::Range;

/// First bytes of a segment file.
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"dtssegm\n");
/// First bytes of a segment file's trailer.
pub const SEGMENT_TRAILER_MAGIC: u64 = u64::from_le_bytes(*b"dtssend\n");
/// Version of the segment format that this build writes, and the newest that it reads.
pub const SEGMENT_VERSION: u32 = 1;
/// Length of the header.
pub const SEGMENT_HEADER_LEN: usize = 64;
/// Length of the trailer.
pub const SEGMENT_TRAILER_LEN: usize = 64;
/// Length of one row of the section table.
pub const SECTION_ENTRY_LEN: usize = 32;
/// Sections start at multiples of this.
pub const SECTION_ALIGN: usize = 64;
/// Most sections of a segment.
pub const SECTION_COUNT_MAX: usize = 64;
/// Entries are ordered by key, then value, then time.
pub const ORDER_KEY_VAL_TS: u8 = 0;
/// Bytes of a timestamp.
pub const TS_WIDTH: u8 = 8;
/// Flag of a section that a reader must understand.
pub const SECTION_REQUIRED: u16 = 1;
/// Version of every section that this build writes.
pub const SECTION_VERSION: u32 = 1;
/// Section: the block index.
pub const SECTION_BLOCK_INDEX: u16 = 1;
/// Section: statistics.
pub const SECTION_STATS: u16 = 2;
/// Section: the filter.
pub const SECTION_FILTER: u16 = 3;
/// Section: the hash index.
pub const SECTION_HASH_INDEX: u16 = 4;
/// Section: anchors in long histories.
pub const SECTION_ANCHORS: u16 = 5;
/// Section: blocks with older versions (reserved).
pub const SECTION_HISTORY: u16 = 6;
/// Section: a sketch of the set of keys (reserved).
pub const SECTION_KEY_SKETCH: u16 = 7;

/// Constants of this module under their names in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("SEGMENT_MAGIC", SEGMENT_MAGIC),
    ("SEGMENT_TRAILER_MAGIC", SEGMENT_TRAILER_MAGIC),
    ("SEGMENT_VERSION", SEGMENT_VERSION as u64),
    ("SEGMENT_HEADER_LEN", SEGMENT_HEADER_LEN as u64),
    ("SEGMENT_TRAILER_LEN", SEGMENT_TRAILER_LEN as u64),
    ("SECTION_ENTRY_LEN", SECTION_ENTRY_LEN as u64),
    ("SECTION_ALIGN", SECTION_ALIGN as u64),
    ("SECTION_COUNT_MAX", SECTION_COUNT_MAX as u64),
    ("ORDER_KEY_VAL_TS", ORDER_KEY_VAL_TS as u64),
    ("TS_WIDTH", TS_WIDTH as u64),
    ("SECTION_REQUIRED", SECTION_REQUIRED as u64),
    ("SECTION_VERSION", SECTION_VERSION as u64),
    ("SECTION_BLOCK_INDEX", SECTION_BLOCK_INDEX as u64),
    ("SECTION_STATS", SECTION_STATS as u64),
    ("SECTION_FILTER", SECTION_FILTER as u64),
    ("SECTION_HASH_INDEX", SECTION_HASH_INDEX as u64),
    ("SECTION_ANCHORS", SECTION_ANCHORS as u64),
    ("SECTION_HISTORY", SECTION_HISTORY as u64),
    ("SECTION_KEY_SKETCH", SECTION_KEY_SKETCH as u64),
];

/// Layouts of this module under their names in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    (
        "SegmentHeader",
        &[
            ("magic", 8),
            ("format_version", 4),
            ("kind", 1),
            ("order", 1),
            ("ts_width", 1),
            ("reserved", 1),
            ("db_uuid", 16),
            ("segment_id", 8),
            ("collection_id", 8),
            ("reserved", 12),
            ("crc", 4),
        ],
    ),
    (
        "SectionEntry",
        &[
            ("kind", 2),
            ("flags", 2),
            ("version", 4),
            ("offset", 8),
            ("len", 8),
            ("crc", 4),
            ("reserved", 4),
        ],
    ),
    (
        "SegmentTrailer",
        &[
            ("magic", 8),
            ("format_version", 4),
            ("section_count", 4),
            ("table_offset", 8),
            ("table_len", 4),
            ("table_crc", 4),
            ("file_len", 8),
            ("segment_id", 8),
            ("collection_id", 8),
            ("reserved", 4),
            ("crc", 4),
        ],
    ),
];

/// Why a frame cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is not what was written.
    Damaged(FormatError),
    /// A newer datestone wrote it; the version or the section kind found.
    TooNew(u32),
}

impl From<FormatError> for FrameError {
    fn from(error: FormatError) -> Self {
        Self::Damaged(error)
    }
}

/// The header of a segment file: whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The database.
    pub db_uuid: u128,
    /// The segment.
    pub segment: SegmentId,
    /// The collection.
    pub collection: CollectionId,
    /// The collection's kind.
    pub kind: Kind,
}

impl SegmentHeader {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_LEN);
        out.extend(SEGMENT_MAGIC.to_le_bytes());
        out.extend(SEGMENT_VERSION.to_le_bytes());
        out.extend([self.kind.code(), ORDER_KEY_VAL_TS, TS_WIDTH, 0]);
        out.extend(self.db_uuid.to_le_bytes());
        out.extend(self.segment.0.to_le_bytes());
        out.extend(self.collection.0.to_le_bytes());
        out.extend([0; 12]);
        let crc = crc32(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// Reads it from the first bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (mut reader, version) = sealed(bytes, SEGMENT_HEADER_LEN, SEGMENT_MAGIC)?;
        if version > SEGMENT_VERSION {
            return Err(FrameError::TooNew(version));
        }
        let shape = (reader.u8()?, reader.u8()?, reader.u8()?);
        let (Some(kind), ORDER_KEY_VAL_TS, TS_WIDTH) = (Kind::from_code(shape.0), shape.1, shape.2)
        else {
            return Err(reader.error(format!("kind, order and ts width are {shape:?}")).into());
        };
        reader.zeros(1)?;
        let header = Self {
            db_uuid: reader.u128()?,
            segment: SegmentId(reader.u64()?),
            collection: CollectionId(reader.u64()?),
            kind,
        };
        reader.zeros(12)?;
        Ok(header)
    }
}

/// One row of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// What it holds.
    pub kind: u16,
    /// [`SECTION_REQUIRED`] or nothing.
    pub flags: u16,
    /// Version of its encoding.
    pub version: u32,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Its checksum.
    pub crc: u32,
}

impl SectionEntry {
    /// Its place in the file. Only for entries that [`SectionEntry::decode_table`] returned, which
    /// lie inside the file.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start.saturating_add(self.len as usize)
    }

    /// The bytes of a table.
    #[must_use]
    pub fn encode_table(entries: &[Self]) -> Vec<u8> {
        let mut out = Vec::with_capacity(entries.len() * SECTION_ENTRY_LEN);
        for entry in entries {
            out.extend(entry.kind.to_le_bytes());
            out.extend(entry.flags.to_le_bytes());
            out.extend(entry.version.to_le_bytes());
            out.extend(entry.offset.to_le_bytes());
            out.extend(entry.len.to_le_bytes());
            out.extend(entry.crc.to_le_bytes());
            out.extend([0; 4]);
        }
        out
    }

    /// Reads a table of a file whose sections end at `end`, and leaves out what this build does not
    /// know and need not know.
    pub fn decode_table(bytes: &[u8], end: u64) -> Result<Vec<Self>, FrameError> {
        let mut reader = Reader::new(bytes);
        let mut entries: Vec<Self> = Vec::new();
        while reader.left() > 0 {
            let entry = Self::decode(&mut reader, end)?;
            let known = matches!(
                entry.kind,
                SECTION_BLOCK_INDEX
                    | SECTION_STATS
                    | SECTION_FILTER
                    | SECTION_HASH_INDEX
                    | SECTION_ANCHORS
            );
            if entries.iter().any(|e| e.kind == entry.kind) {
                return Err(reader.error(format!("section {} is there twice", entry.kind)).into());
            }
            if known && entry.version <= SECTION_VERSION {
                entries.push(entry);
            } else if entry.flags & SECTION_REQUIRED != 0 {
                return Err(FrameError::TooNew(u32::from(entry.kind)));
            }
        }
        Ok(entries)
    }

    fn decode(reader: &mut Reader<'_>, end: u64) -> Result<Self, FormatError> {
        let entry = Self {
            kind: reader.u16()?,
            flags: reader.u16()?,
            version: reader.u32()?,
            offset: reader.u64()?,
            len: reader.u64()?,
            crc: reader.u32()?,
        };
        reader.zeros(4)?;
        let inside = entry.offset.checked_add(entry.len).is_some_and(|e| e <= end);
        if !inside || entry.offset < SEGMENT_HEADER_LEN as u64 {
            return Err(reader.error(format!("section {} lies outside the file", entry.kind)));
        }
        if !entry.offset.is_multiple_of(SECTION_ALIGN as u64) {
            return Err(reader.error(format!("section {} is not aligned", entry.kind)));
        }
        Ok(entry)
    }
}

/// The last bytes of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentTrailer {
    /// Count of sections.
    pub section_count: u32,
    /// Where the section table starts.
    pub table_offset: u64,
    /// Checksum of the section table.
    pub table_crc: u32,
    /// Length of the file.
    pub file_len: u64,
    /// The segment.
    pub segment: SegmentId,
    /// The collection.
    pub collection: CollectionId,
    /// Checksum of the trailer; computed by [`SegmentTrailer::encode`].
    pub crc: u32,
}

impl SegmentTrailer {
    /// Its bytes; sets the checksum.
    #[must_use]
    pub fn encode(&mut self) -> Vec<u8> {
        let table_len = self.section_count * SECTION_ENTRY_LEN as u32;
        let mut out = Vec::with_capacity(SEGMENT_TRAILER_LEN);
        out.extend(SEGMENT_TRAILER_MAGIC.to_le_bytes());
        out.extend(SEGMENT_VERSION.to_le_bytes());
        out.extend(self.section_count.to_le_bytes());
        out.extend(self.table_offset.to_le_bytes());
        out.extend(table_len.to_le_bytes());
        out.extend(self.table_crc.to_le_bytes());
        out.extend(self.file_len.to_le_bytes());
        out.extend(self.segment.0.to_le_bytes());
        out.extend(self.collection.0.to_le_bytes());
        out.extend([0; 4]);
        self.crc = crc32(&out);
        out.extend(self.crc.to_le_bytes());
        out
    }

    /// Reads it from the last bytes of a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (mut reader, version) = sealed(bytes, SEGMENT_TRAILER_LEN, SEGMENT_TRAILER_MAGIC)?;
        if version > SEGMENT_VERSION {
            return Err(FrameError::TooNew(version));
        }
        let section_count = reader.u32()?;
        let table_offset = reader.u64()?;
        let table_len = reader.u32()?;
        let trailer = Self {
            section_count,
            table_offset,
            table_crc: reader.u32()?,
            file_len: reader.u64()?,
            segment: SegmentId(reader.u64()?),
            collection: CollectionId(reader.u64()?),
            crc: {
                reader.zeros(4)?;
                reader.u32()?
            },
        };
        let counted = u64::from(section_count) * SECTION_ENTRY_LEN as u64;
        let end = table_offset.checked_add(counted + SEGMENT_TRAILER_LEN as u64);
        if section_count as usize > SECTION_COUNT_MAX
            || counted != u64::from(table_len)
            || end != Some(trailer.file_len)
        {
            return Err(reader.error("the section table does not end at the trailer").into());
        }
        Ok(trailer)
    }

    /// The place of the section table.
    #[must_use]
    pub fn table_range(&self) -> Range<usize> {
        let start = self.table_offset as usize;
        start..start.saturating_add(self.section_count as usize * SECTION_ENTRY_LEN)
    }
}

/// Checks length, magic and the checksum in the last four bytes; the reader stands behind the
/// version.
fn sealed(bytes: &[u8], len: usize, magic: u64) -> Result<(Reader<'_>, u32), FormatError> {
    if bytes.len() != len {
        return Err(FormatError::new(0, format!("{len} bytes expected, {} there", bytes.len())));
    }
    let mut reader = Reader::new(bytes);
    let found = reader.u64()?;
    if found != magic {
        return Err(FormatError::new(0, format!("magic {magic:#x} expected, {found:#x} found")));
    }
    let body = bytes.get(..len - 4).unwrap_or_default();
    let crc = super::column::u32_at(bytes, len - 4);
    let computed = crc32(body);
    if !crc_matches(crc, computed) {
        return Err(FormatError::new(
            len - 4,
            format!("checksum {computed:#010x} expected, {crc:#010x} found"),
        ));
    }
    let version = reader.u32()?;
    Ok((reader, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> SegmentTrailer {
        SegmentTrailer {
            section_count: 2,
            table_offset: 640,
            table_crc: 7,
            file_len: 640 + 64 + 64,
            segment: SegmentId(5),
            collection: CollectionId(6),
            crc: 0,
        }
    }

    #[test]
    fn header_and_trailer_come_back_and_any_damage_is_seen() {
        let header = SegmentHeader {
            db_uuid: 77,
            segment: SegmentId(5),
            collection: CollectionId(6),
            kind: Kind::Log,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        let mut wanted = trailer();
        let trailer_bytes = wanted.encode();
        assert_eq!(SegmentTrailer::decode(&trailer_bytes), Ok(wanted));
        for at in 0..64 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(SegmentHeader::decode(&damaged).is_err(), "header byte {at}");
            let mut damaged = trailer_bytes.clone();
            damaged[at] ^= 4;
            assert!(SegmentTrailer::decode(&damaged).is_err(), "trailer byte {at}");
        }
        assert!(SegmentHeader::decode(&bytes[..63]).is_err());
    }

    #[test]
    fn a_newer_version_says_so() {
        let header = SegmentHeader {
            db_uuid: 77,
            segment: SegmentId(5),
            collection: CollectionId(6),
            kind: Kind::Log,
        };
        let mut bytes = header.encode();
        bytes[8] = 9;
        let crc = crc32(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(FrameError::TooNew(9)));
    }

    #[test]
    fn unknown_sections_are_skipped_unless_required() {
        let entry = SectionEntry { kind: 1, flags: 1, version: 1, offset: 64, len: 8, crc: 0 };
        let unknown = SectionEntry { kind: 900, flags: 0, offset: 128, ..entry };
        let table = SectionEntry::encode_table(&[entry, unknown]);
        assert_eq!(SectionEntry::decode_table(&table, 1000), Ok(vec![entry]));
        let required = SectionEntry { flags: SECTION_REQUIRED, ..unknown };
        let table = SectionEntry::encode_table(&[entry, required]);
        assert_eq!(SectionEntry::decode_table(&table, 1000), Err(FrameError::TooNew(900)));
        let table = SectionEntry::encode_table(&[entry]);
        assert!(matches!(SectionEntry::decode_table(&table, 71), Err(FrameError::Damaged(_))));
        let table = SectionEntry::encode_table(&[entry, entry]);
        assert!(matches!(SectionEntry::decode_table(&table, 1000), Err(FrameError::Damaged(_))));
    }
}
