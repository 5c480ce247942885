//! [`replay_remains`]: what a damaged manifest file still says, for salvage alone: the recovery never
//! takes less than the whole.

use super::replay::{ReplaySummary, replay, replay_frames};
use super::state::ManifestState;
use crate::error::{Error, Result};
use crate::format::crc32;
use crate::format::manifest_edit::{CollectionHead, Edit, EditOp};
use crate::format::manifest_frame::{
    FrameSearch, MANIFEST_HEADER_LEN, MANIFEST_UNIT, ManifestFrame,
};
use crate::types::CollectionId;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the header has its checksum, which seeds those of the frames.
const CRC_AT: usize = MANIFEST_HEADER_LEN - 4;
/// What is left of a manifest file.
#[derive(Debug)]
pub struct ManifestRemains {
    /// The state; after damage to a frame the one before it.
    pub state: Option<ManifestState>,
    /// What the whole frames say of collections, wherever they are.
    pub heads: BTreeMap<CollectionId, CollectionHead>,
    /// Whether the state is that of the whole file; its summary then.
    pub whole: Option<ReplaySummary>,
    /// Whether the identity of the database may be another than the state's.
    pub is_uuid_doubtful: bool,
    /// What is damaged.
    pub damage: Option<Error>,
}

/// Reads what is left in the `bytes` of the manifest `file`, whose name says `number`.
///
/// # Errors
/// [`Error::FormatTooNew`].
pub fn replay_remains(bytes: &[u8], file: &Path, number: u64) -> Result<ManifestRemains> {
    let damage = match replay(bytes, file, number) {
        Ok((state, summary)) => {
            return Ok(ManifestRemains {
                state: Some(state),
                heads: BTreeMap::new(),
                whole: Some(summary),
                is_uuid_doubtful: false,
                damage: None,
            });
        }
        Err(e @ Error::FormatTooNew { .. }) => return Err(e),
        Err(e) => e,
    };
    let mut best = ManifestRemains {
        state: None,
        heads: BTreeMap::new(),
        whole: None,
        is_uuid_doubtful: false,
        damage: Some(damage),
    };
    // In a header with one damaged byte either the checksum is what it was, or what it is of.
    let (body, rest) = bytes.split_at_checked(CRC_AT).unwrap_or_default();
    let stored = rest.first_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
    let uuid = bytes.get(16..).and_then(|rest| rest.first_chunk());
    let uuid = uuid.map_or(0, |uuid| u128::from_le_bytes(*uuid));
    for (seed, is_uuid_doubtful) in [(crc32(body), false), (stored, stored != crc32(body))] {
        let mut state = None;
        let summary = replay_frames(&mut state, bytes, file, number, (uuid, seed));
        if state.is_some() && best.state.is_none() {
            (best.state, best.whole) = (state, summary.ok());
            best.is_uuid_doubtful = is_uuid_doubtful;
        }
        if best.heads.is_empty() {
            best.heads = heads(bytes, seed);
        }
    }
    Ok(best)
}

/// What whole frames say of collections, the later frame before the earlier.
fn heads(bytes: &[u8], seed: u32) -> BTreeMap<CollectionId, CollectionHead> {
    let mut heads = BTreeMap::new();
    let search = FrameSearch::new(bytes, seed);
    let mut at = MANIFEST_HEADER_LEN;
    while at < bytes.len() {
        let frame = Some(at).filter(|at| search.is_frame(*at));
        let Some(Ok(frame)) = frame.map(|at| ManifestFrame::decode(bytes, at, seed)) else {
            at += MANIFEST_UNIT;
            continue;
        };
        at = frame.end;
        let Ok(edit) = Edit::decode(frame.payload) else { continue };
        for op in edit.ops {
            match op {
                EditOp::Collection(head) => {
                    heads.insert(head.id, head);
                }
                EditOp::Drop(id) => {
                    heads.remove(&id);
                }
                _ => {}
            }
        }
    }
    heads
}
