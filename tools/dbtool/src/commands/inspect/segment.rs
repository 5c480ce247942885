//! `dbtool inspect segment` and `dbtool inspect block`: how a segment is made up, and one block of it.
//!
//! The parts of a segment are checked each by itself, so that what is whole of a damaged file is
//! told: the trailer at its end leads to the sections, the block index to the blocks.

use super::file::Source;
use super::wal::tell_row;
use super::{Report, hex, text};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Fact;
use datestone::Update;
use datestone_engine::format::block::BlockShape;
use datestone_engine::format::block_index::{BlockIndex, BlockInfo, CODEC_RAW, CODEC_ZSTD};
use datestone_engine::format::crc32;
use datestone_engine::format::segment_footer::{
    FrameError, SECTION_BLOCK_INDEX, SECTION_FILTER, SECTION_HASH_INDEX, SECTION_STATS,
    SEGMENT_HEADER_LEN, SEGMENT_TRAILER_LEN, SectionEntry, SegmentHeader, SegmentTrailer,
};
use datestone_engine::format::segment_stats::SegmentStats;
use datestone_engine::limits::BLOCK_LEN_MAX;

/// Tells what is in a segment.
pub(super) fn inspect(source: &mut Source, report: &mut Report) -> Result<()> {
    report
        .line("file", vec![("name", text(source.name())), ("bytes", Fact::Bytes(source.len()))])?;
    let head = source.read(0, SEGMENT_HEADER_LEN as u64)?;
    match SegmentHeader::decode(&head) {
        Ok(header) => report.line(
            "header",
            vec![
                ("database", hex(header.db_uuid)),
                ("segment", Fact::Count(header.segment.0)),
                ("collection", Fact::Count(header.collection.0)),
            ],
        )?,
        // The trailer may be whole all the same.
        Err(error) => tell_frame_error(&error, 0, report)?,
    }
    let Some(sections) = sections(source, report)? else { return Ok(()) };
    let mut index = None;
    for section in &sections {
        report.line(
            "section",
            vec![
                ("kind", text(section_name(section.kind))),
                ("at", Fact::Count(section.offset)),
                ("bytes", Fact::Bytes(section.len)),
            ],
        )?;
        match section.kind {
            SECTION_STATS => tell_stats(source, section, report)?,
            SECTION_BLOCK_INDEX => index = read_index(source, section, report)?,
            _ => {}
        }
    }
    let Some(index) = index else { return Ok(()) };
    for number in 0..index.blocks() {
        let info = index.block(number);
        report.line(
            "block",
            vec![
                ("number", Fact::Count(number as u64)),
                ("at", Fact::Count(info.offset)),
                ("bytes", Fact::Bytes(info.stored_len.into())),
                ("codec", text(codec_name(info.codec))),
                ("keys", Fact::Count(info.keys.into())),
                ("updates", Fact::Count(info.updates.into())),
                ("min_ts", Fact::Count(info.min_ts)),
                ("max_ts", Fact::Count(info.max_ts)),
                ("first_key", Fact::Datum(index.first_key(number))),
            ],
        )?;
        stored(source, number, &info, report)?;
    }
    Ok(())
}

/// Tells what is in one block of a segment.
pub(super) fn inspect_block(
    source: &mut Source,
    number: usize,
    values: bool,
    report: &mut Report,
) -> Result<()> {
    let Some(sections) = sections(source, report)? else { return Ok(()) };
    let Some(section) = sections.iter().find(|section| section.kind == SECTION_BLOCK_INDEX) else {
        return report.damage(0, "there is no block index");
    };
    let Some(index) = read_index(source, section, report)? else { return Ok(()) };
    if number >= index.blocks() {
        let what = format!("{} has no block {number}", source.name());
        return Err(
            Failure::new(Exit::NotFound, what).why(format!("it has {} blocks", index.blocks()))
        );
    }
    let info = index.block(number);
    let Some(stored) = stored(source, number, &info, report)? else { return Ok(()) };
    let raw = match info.codec {
        CODEC_ZSTD if info.raw_len as usize <= BLOCK_LEN_MAX => {
            match zstd::bulk::decompress(&stored, info.raw_len as usize) {
                Ok(raw) => raw,
                Err(error) => return report.damage(info.offset, &error.to_string()),
            }
        }
        CODEC_RAW => stored,
        _ => return report.damage(info.offset, "the block cannot be expanded"),
    };
    let (shape, _) = match BlockShape::check(&raw) {
        Ok(checked) => checked,
        Err(error) => return report.bad_format(info.offset, &error),
    };
    report.line(
        "block",
        vec![
            ("number", Fact::Count(number as u64)),
            ("at", Fact::Count(info.offset)),
            ("keys", Fact::Count(shape.keys().into())),
            ("entries", Fact::Count(shape.entries().into())),
            ("updates", Fact::Count(shape.updates().into())),
        ],
    )?;
    for key in 0..shape.keys() {
        let key_bytes = shape.key_to_vec(&raw, key);
        for entry in shape.entries_of(&raw, key) {
            for update in shape.updates_of(&raw, entry) {
                let row = Update {
                    key: &key_bytes,
                    val: shape.val(&raw, entry),
                    ts: shape.ts(&raw, update),
                    diff: shape.diff(&raw, update),
                };
                tell_row(row, values, report)?;
            }
        }
    }
    Ok(())
}

/// The sections that the trailer leads to; `None` when it leads nowhere, which is then told.
fn sections(source: &mut Source, report: &mut Report) -> Result<Option<Vec<SectionEntry>>> {
    let at = source.len().saturating_sub(SEGMENT_TRAILER_LEN as u64);
    let bytes = source.read(at, SEGMENT_TRAILER_LEN as u64)?;
    let trailer = match SegmentTrailer::decode(&bytes) {
        Ok(trailer) => trailer,
        Err(error) => return tell_frame_error(&error, at, report).map(|()| None),
    };
    if trailer.file_len != source.len() {
        let why = format!("the trailer is that of a file of {} bytes", trailer.file_len);
        return report.damage(at, &why).map(|()| None);
    }
    let table = source.read(trailer.table_offset, at.saturating_sub(trailer.table_offset))?;
    let found = crc32(&table);
    if found != trailer.table_crc {
        let expected = trailer.table_crc;
        let why = format!("section table: checksum {expected:#010x} expected, {found:#010x} found");
        return report.damage(trailer.table_offset, &why).map(|()| None);
    }
    match SectionEntry::decode_table(&table, trailer.table_offset) {
        Ok(sections) => Ok(Some(sections)),
        Err(error) => tell_frame_error(&error, trailer.table_offset, report).map(|()| None),
    }
}

/// The bytes of a section; `None` when they are damaged, which is then told.
fn section_bytes(
    source: &mut Source,
    section: &SectionEntry,
    report: &mut Report,
) -> Result<Option<Vec<u8>>> {
    let bytes = source.read(section.offset, section.len)?;
    let (expected, found) = (section.crc, crc32(&bytes));
    if expected == found {
        return Ok(Some(bytes));
    }
    let why = format!("section: checksum {expected:#010x} expected, {found:#010x} found");
    report.damage(section.offset, &why).map(|()| None)
}

fn tell_stats(source: &mut Source, section: &SectionEntry, report: &mut Report) -> Result<()> {
    let Some(bytes) = section_bytes(source, section, report)? else { return Ok(()) };
    match SegmentStats::decode(&bytes) {
        Ok(stats) => report.line(
            "stats",
            vec![
                ("keys", Fact::Count(stats.keys)),
                ("entries", Fact::Count(stats.entries)),
                ("updates", Fact::Count(stats.updates)),
                ("min_ts", Fact::Count(stats.min_ts)),
                ("max_ts", Fact::Count(stats.max_ts)),
                ("min_key", Fact::Datum(stats.min_key)),
                ("max_key", Fact::Datum(stats.max_key)),
            ],
        ),
        Err(error) => report.bad_format(section.offset, &error),
    }
}

fn read_index(
    source: &mut Source,
    section: &SectionEntry,
    report: &mut Report,
) -> Result<Option<BlockIndex>> {
    let Some(bytes) = section_bytes(source, section, report)? else { return Ok(None) };
    match BlockIndex::decode(bytes.into()) {
        Ok(index) => Ok(Some(index)),
        Err(error) => report.bad_format(section.offset, &error).map(|()| None),
    }
}

/// The stored bytes of a block; `None` when they are damaged, which is then told.
fn stored(
    source: &mut Source,
    number: usize,
    info: &BlockInfo,
    report: &mut Report,
) -> Result<Option<Vec<u8>>> {
    let bytes = source.read(info.offset, info.stored_len.into())?;
    let found = crc32(&bytes);
    if bytes.len() == info.stored_len as usize && found == info.crc {
        return Ok(Some(bytes));
    }
    let expected = info.crc;
    let why = format!("block {number}: checksum {expected:#010x} expected, {found:#010x} found");
    report.damage(info.offset, &why).map(|()| None)
}

fn tell_frame_error(error: &FrameError, base: u64, report: &mut Report) -> Result<()> {
    match error {
        FrameError::Damaged(error) => report.bad_format(base, error),
        FrameError::TooNew(found) => {
            report.damage(base, &format!("version or section {found} is newer than this build"))
        }
    }
}

fn section_name(kind: u16) -> String {
    match kind {
        SECTION_BLOCK_INDEX => "block_index".into(),
        SECTION_STATS => "stats".into(),
        SECTION_FILTER => "filter".into(),
        SECTION_HASH_INDEX => "hash_index".into(),
        other => other.to_string(),
    }
}

fn codec_name(codec: u8) -> String {
    match codec {
        CODEC_RAW => "raw".into(),
        CODEC_ZSTD => "zstd".into(),
        other => other.to_string(),
    }
}
