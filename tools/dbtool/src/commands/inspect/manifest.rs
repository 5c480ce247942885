//! `dbtool inspect manifest`: the edits of one manifest file, the first of which is a snapshot.

use super::file::Source;
use super::{Report, hex, text};
use crate::failure::Result;
use crate::output::Fact;
use datestone_engine::format::FormatError;
use datestone_engine::format::manifest_edit::{Edit, EditOp, Part, RunList};
use datestone_engine::format::manifest_frame::{
    MANIFEST_EDIT_LEN_MAX, MANIFEST_FORMAT_VERSION, MANIFEST_FRAME_LEN, MANIFEST_HEADER_LEN,
    MANIFEST_UNIT, ManifestFrame, ManifestHeader,
};
use datestone_engine::format::padded;
use datestone_engine::types::CollectionId;

/// Tells what is in a manifest.
pub(super) fn inspect(source: &mut Source, report: &mut Report) -> Result<()> {
    let bytes = source.read(0, MANIFEST_HEADER_LEN as u64)?;
    let (header, seed) = match ManifestHeader::decode(&bytes) {
        Ok(header) => header,
        Err(error) => return report.bad_format(0, &error),
    };
    report.line(
        "file",
        vec![
            ("name", text(source.name())),
            ("bytes", Fact::Bytes(source.len())),
            ("database", hex(header.db_uuid)),
            ("number", Fact::Count(header.number)),
        ],
    )?;
    if header.format_version > MANIFEST_FORMAT_VERSION {
        let found = header.format_version;
        let why = format!("format version {found}; this build reads {MANIFEST_FORMAT_VERSION}");
        return report.damage(8, &why);
    }
    let mut at = MANIFEST_HEADER_LEN as u64;
    let mut previous: Option<(u32, u64)> = None;
    while at < source.len() {
        let bytes = frame_bytes(source, at)?;
        let frame = match ManifestFrame::decode(&bytes, 0, seed) {
            Ok(frame) => frame,
            Err(error) => return report.bad_format(at, &error),
        };
        let follows = match previous {
            None => frame.previous_crc == 0,
            Some((crc, edit_no)) => {
                frame.previous_crc == crc && Some(frame.edit_no) == edit_no.checked_add(1)
            }
        };
        if !follows {
            return report.damage(at, "the edit does not follow the one before it");
        }
        report.line(
            if previous.is_none() { "snapshot" } else { "edit" },
            vec![
                ("at", Fact::Count(at)),
                ("edit_no", Fact::Count(frame.edit_no)),
                ("payload_bytes", Fact::Bytes(frame.payload.len() as u64)),
            ],
        )?;
        match Edit::decode(frame.payload) {
            Ok(edit) => edit.ops.iter().try_for_each(|op| tell_op(op, report))?,
            Err(error) => {
                let inside = FormatError::new(MANIFEST_FRAME_LEN + error.offset, error.what);
                report.bad_format(at, &inside)?;
            }
        }
        previous = Some((frame.crc, frame.edit_no));
        at = at.saturating_add(frame.end as u64);
    }
    report.stopped(at, "the end of the file")
}

/// The bytes of the frame at `at`, as many as its length says and the file has.
fn frame_bytes(source: &mut Source, at: u64) -> Result<Vec<u8>> {
    let head = source.read(at, 4)?;
    let len = head.try_into().map_or(0, u32::from_le_bytes) as usize;
    let len = padded(len.min(MANIFEST_EDIT_LEN_MAX), MANIFEST_UNIT) + MANIFEST_FRAME_LEN;
    source.read(at, len as u64)
}

fn tell_op(op: &EditOp, report: &mut Report) -> Result<()> {
    match op {
        EditOp::NextIds { collection, segment } => report.line(
            "next_ids",
            vec![("collection", Fact::Count(collection.0)), ("segment", Fact::Count(segment.0))],
        ),
        EditOp::Flushed(seqno) => report.line("flushed", vec![("seqno", Fact::Count(seqno.0))]),
        EditOp::Clock(clock) => report.line("clock", vec![("next", Fact::Count(*clock))]),
        EditOp::Truncate { id, upper } => report.line(
            "truncate",
            vec![("collection", Fact::Count(id.0)), ("upper", Fact::Frontier(*upper))],
        ),
        EditOp::Collection(head) => report.line(
            "head",
            vec![
                ("collection", Fact::Count(head.id.0)),
                ("name", text(&head.name)),
                ("kind", text(head.kind.name())),
                ("since", Fact::Frontier(head.since)),
                ("upper", Fact::Frontier(head.upper)),
                ("meta_bytes", Fact::Bytes(head.meta.len() as u64)),
            ],
        ),
        EditOp::Drop(id) => report.line("drop", vec![("collection", Fact::Count(id.0))]),
        EditOp::Runs { id, runs } => tell_runs(*id, runs, report),
    }
}

fn tell_runs(id: CollectionId, runs: &RunList, report: &mut Report) -> Result<()> {
    report.line(
        "runs",
        vec![
            ("collection", Fact::Count(id.0)),
            ("sealed", Fact::Count(runs.sealed.len() as u64)),
            ("future_parts", Fact::Count(runs.future.len() as u64)),
        ],
    )?;
    for run in &runs.sealed {
        report.line(
            "run",
            vec![("lower", Fact::Frontier(run.lower)), ("upper", Fact::Frontier(run.upper))],
        )?;
        run.parts.iter().try_for_each(|part| tell_part(part, "run", report))?;
    }
    runs.future.iter().try_for_each(|part| tell_part(part, "future", report))
}

fn tell_part(part: &Part, of: &'static str, report: &mut Report) -> Result<()> {
    part.iter().try_for_each(|meta| {
        report.line(
            "segment",
            vec![
                ("of", text(of)),
                ("id", Fact::Count(meta.id.0)),
                ("bytes", Fact::Bytes(meta.file_len)),
                ("keys", Fact::Count(meta.keys)),
                ("updates", Fact::Count(meta.updates)),
                ("min_ts", Fact::Count(meta.min_ts)),
                ("max_ts", Fact::Count(meta.max_ts)),
            ],
        )
    })
}
