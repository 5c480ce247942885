//! Test data of the manifest's tests.

use crate::format::manifest_edit::{
    COLLECTION_TS_WIDTH, CollectionHead, Edit, EditOp, RunDesc, RunList,
};
use crate::types::{CollectionId, Frontier, Kind, SegmentId, SegmentMeta, SeqNo};

/// A segment with these times.
pub(super) fn segment(id: u64, min_ts: u64, max_ts: u64) -> SegmentMeta {
    SegmentMeta {
        id: SegmentId(id),
        file_len: 4096 + id,
        trailer_crc: 7 * id as u32,
        keys: 1,
        entries: 2,
        updates: 3,
        min_ts,
        max_ts,
        data_len: 100,
        garbage_first_ts: id.is_multiple_of(2).then_some(min_ts),
    }
}

/// A sealed run; each part is one segment `(id, min_ts, max_ts)`.
pub(super) fn run(lower: u64, upper: u64, parts: &[(u64, u64, u64)]) -> RunDesc {
    let (lower, upper) = (Frontier::at(lower), Frontier::at(upper));
    RunDesc {
        lower,
        upper,
        parts: parts.iter().map(|&(id, a, b)| vec![segment(id, a, b)]).collect(),
    }
}

pub(super) fn head(id: u64, name: &str, upper: u64) -> CollectionHead {
    CollectionHead {
        id: CollectionId(id),
        kind: Kind::Multiset,
        ts_width: COLLECTION_TS_WIDTH,
        name: name.to_owned(),
        meta: vec![1, 2, 3],
        since: Frontier::MIN,
        upper: Frontier::at(upper),
    }
}

/// The edit of the `n`th flush of a test: collection `n` with one segment, seqno `10 * n`.
pub(super) fn flush_edit(n: u64) -> Edit {
    let runs = RunList { sealed: vec![run(0, 5, &[(n, 1, 3)])], future: Vec::new() };
    Edit {
        ops: vec![
            EditOp::NextIds { collection: CollectionId(n + 1), segment: SegmentId(n + 1) },
            EditOp::Collection(head(n, &format!("collection-{n}"), 5)),
            EditOp::Runs { id: CollectionId(n), runs },
            EditOp::Flushed(SeqNo(10 * n)),
        ],
    }
}
