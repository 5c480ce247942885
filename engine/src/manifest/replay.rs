//! From the bytes of a manifest file to a state: the decision table of its recovery.
//!
//! The first frame, the snapshot, was synced before the file got its name: it is valid or the file
//! is corrupt. Every edit was synced before the next was written, so at most the last one can be
//! torn: an invalid frame with nothing valid behind it is a *torn tail* and was never acknowledged;
//! an invalid frame with a valid one behind it is a hole in what was synced, and corruption.
//!
//! # Invariants
//! 1. Never an older state than the last one that a valid frame proves.
//! 2. Time and memory are linear in the length of the input (but for the order of a map), also for
//!    hostile input.

use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::manifest_edit::Edit;
use crate::format::manifest_frame::{
    FrameSearch, MANIFEST_FORMAT_VERSION, MANIFEST_FRAME_LEN, MANIFEST_HEADER_LEN, MANIFEST_UNIT,
    ManifestFrame, ManifestHeader,
};
use crate::manifest::state::ManifestState;
use std::path::Path;

/// What was found in a manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaySummary {
    /// The file's number.
    pub number: u64,
    /// Edits behind the snapshot.
    pub edits: u64,
    /// Number of the last edit.
    pub last_edit_no: u64,
    /// Length of the valid bytes.
    pub valid_len: u64,
    /// Length of the file; what is beyond `valid_len` is a torn tail.
    pub file_len: u64,
}

impl ReplaySummary {
    /// Whether the file ends with a torn tail.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.valid_len < self.file_len
    }
}

/// Reads the state out of the `bytes` of the manifest `file`, whose name says `number`.
///
/// # Errors
/// [`Error::Corruption`] or [`Error::FormatTooNew`], naming file and offset.
pub fn replay(bytes: &[u8], file: &Path, number: u64) -> Result<(ManifestState, ReplaySummary)> {
    let (header, seed) = ManifestHeader::decode(bytes).map_err(|e| e.in_file(file, 0))?;
    if header.format_version > MANIFEST_FORMAT_VERSION {
        let (found, max) = (header.format_version, MANIFEST_FORMAT_VERSION);
        return Err(Error::FormatTooNew { file: file.into(), found, max });
    }
    if header.number != number {
        let what = format!("the header says manifest {}, the name {number}", header.number);
        return Err(Error::corruption(file, 0, what));
    }
    let mut state = None;
    let summary = replay_frames(&mut state, bytes, file, number, (header.db_uuid, seed))?;
    let state = state.ok_or_else(|| Error::Internal { what: "a replay without a state".into() })?;
    Ok((state, summary))
}

/// The state that the frames say; after an error `state` is that before the damage.
pub(super) fn replay_frames(
    state: &mut Option<ManifestState>,
    bytes: &[u8],
    file: &Path,
    number: u64,
    (uuid, seed): (u128, u32),
) -> Result<ReplaySummary> {
    let in_file = |e: FormatError| e.in_file(file, 0);
    let mut fresh = ManifestState::new(uuid);
    let snapshot = ManifestFrame::decode(bytes, MANIFEST_HEADER_LEN, seed).map_err(in_file)?;
    if snapshot.previous_crc != 0 {
        return Err(Error::corruption(
            file,
            MANIFEST_HEADER_LEN as u64,
            "no snapshot at the start",
        ));
    }
    apply(&mut fresh, &snapshot, MANIFEST_HEADER_LEN, file)?;
    let state = state.insert(fresh);
    let mut last = snapshot;
    let mut edits = 0;
    while last.end < bytes.len() {
        let at = last.end;
        let frame = match ManifestFrame::decode(bytes, at, seed) {
            Ok(frame) => frame,
            Err(_) if is_torn_tail(bytes, at, seed) => break,
            Err(e) => {
                let what = format!("{}, but valid edits follow", e.what);
                return Err(FormatError::new(e.offset, what).in_file(file, 0));
            }
        };
        check_link(&last, &frame).map_err(|what| Error::corruption(file, at as u64, what))?;
        apply(state, &frame, at, file)?;
        (last, edits) = (frame, edits + 1);
    }
    Ok(ReplaySummary {
        number,
        edits,
        last_edit_no: last.edit_no,
        valid_len: last.end as u64,
        file_len: bytes.len() as u64,
    })
}

fn apply(
    state: &mut ManifestState,
    frame: &ManifestFrame<'_>,
    at: usize,
    file: &Path,
) -> Result<()> {
    let payload_at = at.saturating_add(MANIFEST_FRAME_LEN) as u64;
    let edit = Edit::decode(frame.payload).map_err(|e| e.in_file(file, payload_at))?;
    state.apply(&edit).map_err(|e| {
        Error::corruption(file, at as u64, format!("edit {} does not apply: {e}", frame.edit_no))
    })
}

/// Whether `next` is the frame that was written after `last`.
fn check_link(
    last: &ManifestFrame<'_>,
    next: &ManifestFrame<'_>,
) -> std::result::Result<(), String> {
    if last.edit_no.checked_add(1) != Some(next.edit_no) || next.previous_crc != last.crc {
        let (found, after) = (next.edit_no, last.edit_no);
        return Err(format!("edit {found} does not follow edit {after}"));
    }
    Ok(())
}

/// Whether nothing behind the invalid frame at `at` is a valid frame of this file.
fn is_torn_tail(bytes: &[u8], at: usize, seed: u32) -> bool {
    let behind = bytes.get(at.saturating_add(MANIFEST_UNIT)..).unwrap_or_default();
    let search = FrameSearch::new(behind, seed);
    !(0..behind.len()).step_by(MANIFEST_UNIT).any(|start| search.is_frame(start))
}

#[cfg(test)]
mod tests;
