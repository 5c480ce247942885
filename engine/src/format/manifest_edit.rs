//! Encoding of a manifest edit: what changes in the set of collections and their segments.
//!
//! An edit is a list of operations; a snapshot is an edit that makes the whole state out of
//! nothing. Pure data: what an edit *does* is said in `manifest::state`.
//!
//! # Invariants
//! 1. What [`Edit::encode`] accepts, [`Edit::decode`] returns unchanged; both apply the same
//!    checks, so that no manifest is written that cannot be read.
//! 2. A decoder allocates no more than a small multiple of its input's length.

use super::{FormatError, Reader, SpecConstant, SpecLayout, padded};
use crate::limits::{META_LEN_MAX, NAME_LEN_MAX};
use crate::types::{CollectionId, Frontier, Kind, SegmentId, SegmentMeta, SeqNo, Timestamp};

/// Operation: the next free identifiers.
pub const MANIFEST_OP_NEXT_IDS: u8 = 1;
/// Operation: everything up to this seqno is in segments.
pub const MANIFEST_OP_FLUSHED: u8 = 2;
/// Operation: a collection is made, or its head replaced.
pub const MANIFEST_OP_COLLECTION: u8 = 3;
/// Operation: a collection is dropped.
pub const MANIFEST_OP_DROP: u8 = 4;
/// Operation: the run list of a collection is replaced.
pub const MANIFEST_OP_RUNS: u8 = 5;
/// Operation: the database's clock.
pub const MANIFEST_OP_CLOCK: u8 = 6;
/// Operation: a collection's upper goes back.
pub const MANIFEST_OP_TRUNCATE: u8 = 7;
/// Kind of a collection: a multiset.
pub const COLLECTION_KIND_MULTISET: u8 = Kind::Multiset.code();
/// Kind of a collection: a table on the caller's clock.
pub const COLLECTION_KIND_TABLE: u8 = Kind::Table.code();
/// Kind of a collection: a log.
pub const COLLECTION_KIND_LOG: u8 = Kind::Log.code();
/// Kind of a collection: a table on the database's clock.
pub const COLLECTION_KIND_CLOCK_TABLE: u8 = Kind::ClockTable.code();
/// Bytes of a timestamp (16 is reserved).
pub const COLLECTION_TS_WIDTH: u8 = 8;

const OP_LEN: usize = 8;
const RUN_LEN: usize = 40;
const PART_LEN: usize = 8;
const SEGMENT_LEN: usize = 88;
const UNIT: usize = 8;
const GARBAGE_KNOWN: u32 = 1;

/// The constants of this module in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("MANIFEST_OP_NEXT_IDS", MANIFEST_OP_NEXT_IDS as u64),
    ("MANIFEST_OP_FLUSHED", MANIFEST_OP_FLUSHED as u64),
    ("MANIFEST_OP_COLLECTION", MANIFEST_OP_COLLECTION as u64),
    ("MANIFEST_OP_DROP", MANIFEST_OP_DROP as u64),
    ("MANIFEST_OP_RUNS", MANIFEST_OP_RUNS as u64),
    ("MANIFEST_OP_CLOCK", MANIFEST_OP_CLOCK as u64),
    ("MANIFEST_OP_TRUNCATE", MANIFEST_OP_TRUNCATE as u64),
    ("COLLECTION_KIND_MULTISET", COLLECTION_KIND_MULTISET as u64),
    ("COLLECTION_KIND_TABLE", COLLECTION_KIND_TABLE as u64),
    ("COLLECTION_KIND_LOG", COLLECTION_KIND_LOG as u64),
    ("COLLECTION_KIND_CLOCK_TABLE", COLLECTION_KIND_CLOCK_TABLE as u64),
    ("COLLECTION_TS_WIDTH", COLLECTION_TS_WIDTH as u64),
];

/// The layouts of this module in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    ("ManifestEdit", &[("op_count", 4), ("reserved", 4)]),
    ("ManifestOp", &[("kind", 1), ("reserved", 3), ("body_len", 4)]),
    ("ManifestNextIds", &[("collection", 8), ("segment", 8)]),
    ("ManifestFlushed", &[("seqno", 8)]),
    ("ManifestClock", &[("clock", 8)]),
    ("ManifestTruncate", &[("id", 8), ("upper", 16)]),
    (
        "ManifestCollection",
        &[
            ("id", 8),
            ("since", 16),
            ("upper", 16),
            ("kind", 1),
            ("ts_width", 1),
            ("name_len", 2),
            ("meta_len", 4),
        ],
    ),
    ("ManifestDrop", &[("id", 8)]),
    ("ManifestRuns", &[("id", 8), ("sealed_count", 4), ("future_count", 4)]),
    ("ManifestRun", &[("lower", 16), ("upper", 16), ("part_count", 4), ("reserved", 4)]),
    ("ManifestPart", &[("segment_count", 4), ("reserved", 4)]),
    (
        "ManifestSegment",
        &[
            ("id", 8),
            ("file_len", 8),
            ("trailer_crc", 4),
            ("flags", 4),
            ("keys", 8),
            ("entries", 8),
            ("updates", 8),
            ("min_ts", 8),
            ("max_ts", 8),
            ("data_len", 8),
            ("garbage_first_ts", 8),
            ("reserved", 8),
        ],
    ),
];

/// Key-ordered list of key-disjoint segments; never empty inside a run.
pub type Part = Vec<SegmentMeta>;

/// A sealed run: parts that together hold the updates of one interval of times. A part may reach
/// beyond the interval; the run then has only the part's updates inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDesc {
    /// First time of the interval.
    pub lower: Frontier,
    /// First time after the interval.
    pub upper: Frontier,
    /// The parts, in any order; they may overlap in key and time.
    pub parts: Vec<Part>,
}

/// The runs of one collection: sealed ones in order of time, then the open future run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunList {
    /// Sealed runs, whose intervals are contiguous and start at 0.
    pub sealed: Vec<RunDesc>,
    /// Parts of the future run, which begins where the last sealed run ends and has no end.
    pub future: Vec<Part>,
}

/// What is said of a collection apart from its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionHead {
    /// The collection.
    pub id: CollectionId,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of its timestamps: [`COLLECTION_TS_WIDTH`].
    pub ts_width: u8,
    /// Its name.
    pub name: String,
    /// The user's metadata.
    pub meta: Vec<u8>,
    /// Its since.
    pub since: Frontier,
    /// Its upper.
    pub upper: Frontier,
}

/// One operation of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditOp {
    /// The next free identifiers.
    NextIds {
        /// Of a collection.
        collection: CollectionId,
        /// Of a segment.
        segment: SegmentId,
    },
    /// Everything up to this seqno is in segments (or needs none).
    Flushed(SeqNo),
    /// The next time that the database's clock gives, as of the flushed seqno.
    Clock(Timestamp),
    /// A collection's upper goes back; its runs follow in the same edit.
    Truncate {
        /// The collection.
        id: CollectionId,
        /// Its new upper.
        upper: Frontier,
    },
    /// Makes a collection without runs, or replaces the head of an existing one.
    Collection(CollectionHead),
    /// Drops a collection.
    Drop(CollectionId),
    /// Replaces the whole run list of a collection.
    Runs {
        /// The collection.
        id: CollectionId,
        /// Its new runs.
        runs: RunList,
    },
}

/// A change of the manifest's state: all operations or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The operations, in the order in which they apply.
    pub ops: Vec<EditOp>,
}

impl Edit {
    /// Appends the encoded edit to `out`, which is unusable after an error.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let mut encoder = EditEncoder::begin(out);
        for op in &self.ops {
            match op {
                EditOp::NextIds { collection, segment } => encoder.next_ids(*collection, *segment),
                EditOp::Flushed(seqno) => encoder.flushed(*seqno),
                EditOp::Clock(clock) => encoder.clock(*clock),
                EditOp::Truncate { id, upper } => encoder.truncate(*id, *upper),
                EditOp::Collection(head) => encoder.collection(head)?,
                EditOp::Drop(id) => encoder.drop_collection(*id),
                EditOp::Runs { id, runs } => encoder.runs(*id, runs)?,
            }
        }
        encoder.finish()
    }

    /// Decodes a whole payload.
    pub fn decode(payload: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(payload);
        let count = reader.u32()? as usize;
        reader.zeros(4)?;
        let mut ops = Vec::with_capacity(count.min(reader.left() / (OP_LEN + UNIT)));
        for _ in 0..count {
            ops.push(decode_op(&mut reader)?);
        }
        reader.finish()?;
        Ok(Self { ops })
    }
}

/// Encodes an edit operation by operation, from borrowed parts: a snapshot of a large state is not
/// copied first.
#[derive(Debug)]
pub struct EditEncoder<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    op_count: u32,
}

impl<'a> EditEncoder<'a> {
    /// Starts an edit at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0; 8]);
        Self { out, at, op_count: 0 }
    }

    /// Appends [`EditOp::NextIds`].
    pub fn next_ids(&mut self, collection: CollectionId, segment: SegmentId) {
        let op = self.begin_op(MANIFEST_OP_NEXT_IDS);
        self.u64(collection.0);
        self.u64(segment.0);
        self.end_op(op);
    }

    /// Appends [`EditOp::Flushed`].
    pub fn flushed(&mut self, seqno: SeqNo) {
        let op = self.begin_op(MANIFEST_OP_FLUSHED);
        self.u64(seqno.0);
        self.end_op(op);
    }

    /// Appends [`EditOp::Clock`].
    pub fn clock(&mut self, clock: Timestamp) {
        let op = self.begin_op(MANIFEST_OP_CLOCK);
        self.u64(clock);
        self.end_op(op);
    }

    /// Appends [`EditOp::Truncate`].
    pub fn truncate(&mut self, id: CollectionId, upper: Frontier) {
        let op = self.begin_op(MANIFEST_OP_TRUNCATE);
        self.u64(id.0);
        self.out.extend_from_slice(&upper.encode());
        self.end_op(op);
    }

    /// Appends [`EditOp::Collection`].
    pub fn collection(&mut self, head: &CollectionHead) -> Result<(), FormatError> {
        check_head(head).map_err(|what| FormatError::new(self.out.len(), what))?;
        let op = self.begin_op(MANIFEST_OP_COLLECTION);
        self.u64(head.id.0);
        self.out.extend_from_slice(&head.since.encode());
        self.out.extend_from_slice(&head.upper.encode());
        self.out.push(head.kind.code());
        self.out.push(head.ts_width);
        // Both lengths were checked against limits that fit.
        self.out.extend_from_slice(&(head.name.len() as u16).to_le_bytes());
        self.out.extend_from_slice(&(head.meta.len() as u32).to_le_bytes());
        self.out.extend_from_slice(head.name.as_bytes());
        self.out.extend_from_slice(&head.meta);
        self.end_op(op);
        Ok(())
    }

    /// Appends [`EditOp::Drop`].
    pub fn drop_collection(&mut self, id: CollectionId) {
        let op = self.begin_op(MANIFEST_OP_DROP);
        self.u64(id.0);
        self.end_op(op);
    }

    /// Appends [`EditOp::Runs`].
    pub fn runs(&mut self, id: CollectionId, runs: &RunList) -> Result<(), FormatError> {
        let op = self.begin_op(MANIFEST_OP_RUNS);
        self.u64(id.0);
        self.count(runs.sealed.len())?;
        self.count(runs.future.len())?;
        for run in &runs.sealed {
            self.out.extend_from_slice(&run.lower.encode());
            self.out.extend_from_slice(&run.upper.encode());
            self.count(run.parts.len())?;
            self.out.extend_from_slice(&[0; 4]);
            for part in &run.parts {
                self.part(part)?;
            }
        }
        for part in &runs.future {
            self.part(part)?;
        }
        self.end_op(op);
        Ok(())
    }

    /// Ends the edit, whose length the caller bounds.
    pub fn finish(mut self) -> Result<(), FormatError> {
        if u32::try_from(self.out.len() - self.at).is_err() {
            return Err(FormatError::new(self.at, "the edit is longer than 4 GiB"));
        }
        let count = self.op_count;
        self.patch(self.at, count);
        Ok(())
    }

    fn part(&mut self, part: &[SegmentMeta]) -> Result<(), FormatError> {
        if part.is_empty() {
            return Err(FormatError::new(self.out.len(), "a part without segments"));
        }
        self.count(part.len())?;
        self.out.extend_from_slice(&[0; 4]);
        for meta in part {
            check_segment(meta).map_err(|what| FormatError::new(self.out.len(), what))?;
            self.segment(meta);
        }
        Ok(())
    }

    fn segment(&mut self, meta: &SegmentMeta) {
        let at = self.out.len();
        self.u64(meta.id.0);
        self.u64(meta.file_len);
        self.out.extend_from_slice(&meta.trailer_crc.to_le_bytes());
        let flags = if meta.garbage_first_ts.is_some() { GARBAGE_KNOWN } else { 0 };
        self.out.extend_from_slice(&flags.to_le_bytes());
        for field in [meta.keys, meta.entries, meta.updates, meta.min_ts, meta.max_ts] {
            self.u64(field);
        }
        self.u64(meta.data_len);
        self.u64(meta.garbage_first_ts.unwrap_or(0));
        self.u64(0);
        debug_assert_eq!(self.out.len() - at, SEGMENT_LEN, "the layout is fixed");
    }

    fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn count(&mut self, count: usize) -> Result<(), FormatError> {
        let count = u32::try_from(count)
            .map_err(|_| FormatError::new(self.out.len(), format!("{count} are too many")))?;
        self.out.extend_from_slice(&count.to_le_bytes());
        Ok(())
    }

    fn begin_op(&mut self, kind: u8) -> usize {
        let at = self.out.len();
        self.out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        self.op_count += 1;
        at
    }

    fn end_op(&mut self, at: usize) {
        let len = self.out.len() - at - OP_LEN;
        // `finish` refuses an edit whose length, and so this one, does not fit.
        self.patch(at + 4, len as u32);
        let end = at + OP_LEN + padded(len, UNIT);
        self.out.resize(end, 0);
    }

    fn patch(&mut self, at: usize, value: u32) {
        if let Some(place) = self.out.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn decode_op(reader: &mut Reader<'_>) -> Result<EditOp, FormatError> {
    let at = reader.offset();
    let kind = reader.u8()?;
    reader.zeros(3)?;
    let len = reader.u32()? as usize;
    let base = reader.offset();
    let mut body = Reader::new(reader.bytes(len)?);
    reader.zeros(padded(len, UNIT) - len)?;
    let op = match kind {
        MANIFEST_OP_NEXT_IDS => decode_next_ids(&mut body),
        MANIFEST_OP_FLUSHED => body.u64().map(|seqno| EditOp::Flushed(SeqNo(seqno))),
        MANIFEST_OP_CLOCK => body.u64().map(EditOp::Clock),
        MANIFEST_OP_TRUNCATE => {
            let id = CollectionId(body.u64()?);
            body.frontier().map(|upper| EditOp::Truncate { id, upper })
        }
        MANIFEST_OP_COLLECTION => decode_head(&mut body).map(EditOp::Collection),
        MANIFEST_OP_DROP => body.u64().map(|id| EditOp::Drop(CollectionId(id))),
        MANIFEST_OP_RUNS => decode_runs(&mut body),
        _ => return Err(FormatError::new(at, format!("unknown operation {kind}"))),
    };
    op.and_then(|op| body.finish().map(|()| op))
        .map_err(|e| FormatError::new(base.saturating_add(e.offset), e.what))
}

fn decode_next_ids(body: &mut Reader<'_>) -> Result<EditOp, FormatError> {
    let (collection, segment) = (CollectionId(body.u64()?), SegmentId(body.u64()?));
    Ok(EditOp::NextIds { collection, segment })
}

fn decode_head(body: &mut Reader<'_>) -> Result<CollectionHead, FormatError> {
    let id = CollectionId(body.u64()?);
    let (since, upper) = (body.frontier()?, body.frontier()?);
    let kind_at = body.offset();
    let (kind, ts_width) = (body.u8()?, body.u8()?);
    let kind = Kind::from_code(kind).ok_or_else(|| {
        FormatError::new(kind_at, format!("collection {id} has unknown kind {kind}"))
    })?;
    let (name_len, meta_len) = (body.u16()?, body.u32()?);
    let name_at = body.offset();
    let name = std::str::from_utf8(body.bytes(name_len.into())?)
        .map_err(|_| FormatError::new(name_at, "the collection's name is not UTF-8"))?;
    let meta = body.bytes(meta_len as usize)?;
    let (name, meta) = (name.to_owned(), meta.to_vec());
    let head = CollectionHead { id, kind, ts_width, name, meta, since, upper };
    check_head(&head).map_err(|what| FormatError::new(0, what))?;
    Ok(head)
}

fn decode_runs(body: &mut Reader<'_>) -> Result<EditOp, FormatError> {
    let id = CollectionId(body.u64()?);
    let (sealed_count, future_count) = (body.u32()? as usize, body.u32()? as usize);
    let mut sealed = Vec::with_capacity(sealed_count.min(body.left() / RUN_LEN));
    for _ in 0..sealed_count {
        let (lower, upper) = (body.frontier()?, body.frontier()?);
        let part_count = body.u32()? as usize;
        body.zeros(4)?;
        sealed.push(RunDesc { lower, upper, parts: decode_parts(body, part_count)? });
    }
    let future = decode_parts(body, future_count)?;
    Ok(EditOp::Runs { id, runs: RunList { sealed, future } })
}

fn decode_parts(body: &mut Reader<'_>, count: usize) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::with_capacity(count.min(body.left() / (PART_LEN + SEGMENT_LEN)));
    for _ in 0..count {
        let segment_count = body.u32()? as usize;
        body.zeros(4)?;
        if segment_count == 0 {
            return Err(body.error("a part without segments"));
        }
        let mut part = Vec::with_capacity(segment_count.min(body.left() / SEGMENT_LEN));
        for _ in 0..segment_count {
            part.push(decode_segment(body)?);
        }
        parts.push(part);
    }
    Ok(parts)
}

fn decode_segment(body: &mut Reader<'_>) -> Result<SegmentMeta, FormatError> {
    let at = body.offset();
    let (id, file_len) = (SegmentId(body.u64()?), body.u64()?);
    let (trailer_crc, flags) = (body.u32()?, body.u32()?);
    let (keys, entries, updates) = (body.u64()?, body.u64()?, body.u64()?);
    let (min_ts, max_ts, data_len) = (body.u64()?, body.u64()?, body.u64()?);
    let garbage_first_ts = match (flags, body.u64()?) {
        (0, 0) => None,
        (GARBAGE_KNOWN, ts) => Some(ts),
        _ => return Err(FormatError::new(at, format!("segment flags {flags:#x}"))),
    };
    body.zeros(8)?;
    let meta = SegmentMeta {
        id,
        file_len,
        trailer_crc,
        keys,
        entries,
        updates,
        min_ts,
        max_ts,
        data_len,
        garbage_first_ts,
    };
    check_segment(&meta).map_err(|what| FormatError::new(at, what))?;
    Ok(meta)
}

/// What a collection's head must satisfy on both sides of the disk.
fn check_head(head: &CollectionHead) -> Result<(), String> {
    let id = head.id;
    if head.ts_width != COLLECTION_TS_WIDTH {
        return Err(format!("collection {id} has timestamps of {} bytes", head.ts_width));
    }
    if head.name.is_empty() || head.name.len() > NAME_LEN_MAX {
        return Err(format!("collection {id} has a name of {} bytes", head.name.len()));
    }
    if head.meta.len() > META_LEN_MAX {
        return Err(format!("collection {id} has metadata of {} bytes", head.meta.len()));
    }
    Ok(())
}

/// What a segment's description must satisfy on both sides of the disk.
fn check_segment(meta: &SegmentMeta) -> Result<(), String> {
    let id = meta.id;
    if meta.min_ts > meta.max_ts {
        return Err(format!("segment {id} has times {}..={}", meta.min_ts, meta.max_ts));
    }
    if meta.keys == 0 || meta.keys > meta.entries || meta.entries > meta.updates {
        let SegmentMeta { keys, entries, updates, .. } = meta;
        return Err(format!("segment {id} has {keys} keys, {entries} entries, {updates} updates"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
