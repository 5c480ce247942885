//! `dbtool inspect wal`: the frames of the current use of one file of the log.
//!
//! A file is used again and again, so behind the frames of its current use lie those of earlier
//! ones: that the frames end is no damage. That a frame of this use lies behind the end is, and so
//! is a payload that is not what its header says, unless the power failed while it was written; the
//! order of files in a whole log is what recovery knows, not this.

use super::file::Source;
use super::{Report, hex, text};
use crate::failure::Result;
use crate::output::{Fact, Facts};
use datestone::{Frontier, Update};
use datestone_engine::format::crc32;
use datestone_engine::format::wal_frame::{
    FRAME_OFFSET_AT, FileHeader, FileState, FrameHeader, WAL_FILE_HEADER_LEN, WAL_FORMAT_VERSION,
    WAL_FRAME_ALIGN, WAL_FRAME_CLOSE, WAL_FRAME_COMMIT, WAL_FRAME_HEADER_LEN,
};
use datestone_engine::format::wal_record::{Op, decode};
use datestone_engine::limits::COMMIT_LEN_MAX;
use datestone_engine::types::CollectionId;

/// Bytes that are looked through at a time.
const PIECE_LEN: u64 = 1 << 20;

/// What is shown of updates.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// Whether they are shown.
    pub(super) rows: bool,
    /// Whether their values are.
    pub(super) values: bool,
}

/// Tells what is in a file of the log.
pub(super) fn inspect(source: &mut Source, shown: Shown, report: &mut Report) -> Result<()> {
    let bytes = source.read(0, WAL_FILE_HEADER_LEN as u64)?;
    let header = match FileHeader::decode(&bytes) {
        FileState::InUse(header) => header,
        FileState::Zero => return report.stopped(0, "a spare: the header is zeros"),
        FileState::Damaged(error) => return report.bad_format(0, &error),
        FileState::TooNew(found) => {
            let why = format!("format version {found}; this build reads {WAL_FORMAT_VERSION}");
            return report.damage(8, &why);
        }
    };
    report.line(
        "file",
        vec![
            ("name", text(source.name())),
            ("bytes", Fact::Bytes(source.len())),
            ("database", hex(header.database)),
            ("number", Fact::Count(header.file_number)),
            ("first_seqno", Fact::Count(header.first_seqno.0)),
        ],
    )?;
    let mut at = WAL_FILE_HEADER_LEN as u64;
    let mut seqno = header.first_seqno;
    while let Some(frame) = frame_at(source, &header, at)? {
        if frame.seqno != seqno {
            let why = format!("seqno {} expected, {} found", seqno.0, frame.seqno.0);
            return report.damage(at, &why);
        }
        if !tell(source, &frame, at, shown, report)? {
            return Ok(());
        }
        at = at.saturating_add(frame.frame_len());
        seqno = seqno.next();
    }
    match frame_behind(source, &header, at)? {
        None => report.stopped(at, "no frame of this use of the file from here on"),
        Some((behind, found)) => {
            let why = format!("no frame here, but seqno {} at offset {behind}", found.seqno.0);
            report.damage(at, &why)
        }
    }
}

fn frame_at(source: &mut Source, header: &FileHeader, at: u64) -> Result<Option<FrameHeader>> {
    let bytes = source.read(at, WAL_FRAME_HEADER_LEN as u64)?;
    Ok(FrameHeader::decode(&bytes, header.salt(), at))
}

/// The first frame of this use of the file that lies behind `at`.
fn frame_behind(
    source: &mut Source,
    header: &FileHeader,
    at: u64,
) -> Result<Option<(u64, FrameHeader)>> {
    let mut from = at;
    while from < source.len() {
        let piece = source.read(from, PIECE_LEN + WAL_FRAME_HEADER_LEN as u64)?;
        for (place, bytes) in (from..).zip(piece.windows(WAL_FRAME_HEADER_LEN)) {
            // A frame states its own place, which costs less to compare than its checksum.
            let stated = bytes.get(FRAME_OFFSET_AT..) == Some(&place.to_le_bytes()[..]);
            if stated
                && place.is_multiple_of(WAL_FRAME_ALIGN as u64)
                && let Some(found) = FrameHeader::decode(bytes, header.salt(), place)
            {
                return Ok(Some((place, found)));
            }
        }
        from = from.saturating_add(PIECE_LEN);
    }
    Ok(None)
}

/// Tells of one frame; whether what follows can be read.
fn tell(
    source: &mut Source,
    frame: &FrameHeader,
    at: u64,
    shown: Shown,
    report: &mut Report,
) -> Result<bool> {
    let kind = match frame.kind {
        WAL_FRAME_COMMIT => "commit",
        WAL_FRAME_CLOSE => "close",
        _ => "unknown",
    };
    report.line(
        "frame",
        vec![
            ("at", Fact::Count(at)),
            ("seqno", Fact::Count(frame.seqno.0)),
            ("kind", text(kind)),
            ("payload_bytes", Fact::Bytes(frame.payload_len.into())),
            ("durable_seqno", Fact::Count(frame.durable_seqno.0)),
        ],
    )?;
    let payload_at = at + WAL_FRAME_HEADER_LEN as u64;
    if frame.payload_len as usize > COMMIT_LEN_MAX {
        report.damage(at, "the payload is longer than any commit")?;
        return Ok(false);
    }
    let payload = source.read(payload_at, frame.payload_len.into())?;
    let found = crc32(&payload);
    if payload.len() != frame.payload_len as usize || found != frame.payload_crc {
        let why = format!(
            "payload: checksum {:#010x} expected, {found:#010x} found; torn when it was written, or damaged",
            frame.payload_crc
        );
        report.damage(payload_at, &why)?;
        return Ok(false);
    }
    if frame.kind != WAL_FRAME_COMMIT {
        return Ok(true);
    }
    let ops = match decode(&payload) {
        Ok(ops) => ops,
        Err(error) => return report.bad_format(payload_at, &error).map(|()| true),
    };
    for op in ops {
        match op {
            Ok(op) => tell_op(op, shown, report)?,
            Err(error) => return report.bad_format(payload_at, &error).map(|()| true),
        }
    }
    Ok(true)
}

fn tell_op(op: Op<'_>, shown: Shown, report: &mut Report) -> Result<()> {
    let id = |CollectionId(id)| ("collection", Fact::Count(id));
    let frontier = |name, at: Frontier| (name, Fact::Frontier(at));
    match op {
        Op::Append { collection, rows } => {
            let updates = rows.clone().count() as u64;
            report.line("append", vec![id(collection), ("updates", Fact::Count(updates))])?;
            if shown.rows {
                rows.into_iter().try_for_each(|row| tell_row(row, shown.values, report))?;
            }
            Ok(())
        }
        Op::AdvanceUpper { collection, upper } => {
            report.line("upper", vec![id(collection), frontier("upper", upper)])
        }
        Op::CompactBelow { collection, since } => {
            report.line("since", vec![id(collection), frontier("since", since)])
        }
        Op::Create { collection, create } => {
            let mut facts: Facts = vec![id(collection), ("name", text(create.name))];
            facts.push(("meta_bytes", Fact::Bytes(create.meta.len() as u64)));
            report.line("create", facts)
        }
        Op::Drop { collection } => report.line("drop", vec![id(collection)]),
        Op::SetMeta { collection, meta } => {
            let meta_bytes = ("meta_bytes", Fact::Bytes(meta.len() as u64));
            report.line("meta", vec![id(collection), meta_bytes])
        }
    }
}

/// Tells of an update.
pub(super) fn tell_row(row: Update<'_>, values: bool, report: &mut Report) -> Result<()> {
    let mut facts = vec![("key", Fact::Datum(row.key.into()))];
    match values {
        true => facts.push(("val", Fact::Datum(row.val.into()))),
        false => facts.push(("val_bytes", Fact::Bytes(row.val.len() as u64))),
    }
    facts.push(("ts", Fact::Count(row.ts)));
    facts.push(("diff", text(row.diff.to_string())));
    report.line("update", facts)
}
