//! What a backup says of itself: which segments it has, their digests, and the manifest's state.
//!
//! ```text
//! header | segment | segment | .. | state | crc
//! ```
//!
//! # Invariants
//! 1. The segments are in order of their ids, each once.
//! 2. The last checksum covers every byte before it, the header's the header alone, so that a newer
//!    version is told from damage.

use super::manifest_frame::MANIFEST_EDIT_LEN_MAX;
use super::{FormatError, Reader, SpecConstant, SpecLayout, crc_matches, crc32};
use crate::types::SegmentId;

/// First 8 bytes of a backup's file, `DSBACKUP` read as a little-endian number.
pub const BACKUP_MAGIC: u64 = u64::from_le_bytes(*b"DSBACKUP");
/// Newest format version of a backup that this build reads, and the one that it writes.
pub const BACKUP_FORMAT_VERSION: u32 = 1;
/// Length of a backup's header, in bytes.
pub const BACKUP_HEADER_LEN: usize = 64;
/// Length of what a backup says of a segment, in bytes.
pub const BACKUP_SEGMENT_LEN: usize = 24;
/// Most segments of a backup.
pub const BACKUP_SEGMENTS_MAX: usize = MANIFEST_EDIT_LEN_MAX / BACKUP_SEGMENT_LEN;
/// Longest file of a backup, in bytes.
pub const BACKUP_FILE_LEN_MAX: u64 = 2 * MANIFEST_EDIT_LEN_MAX as u64 + 68;

/// The constants of this module in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("BACKUP_MAGIC", BACKUP_MAGIC),
    ("BACKUP_FORMAT_VERSION", BACKUP_FORMAT_VERSION as u64),
    ("BACKUP_HEADER_LEN", BACKUP_HEADER_LEN as u64),
    ("BACKUP_SEGMENT_LEN", BACKUP_SEGMENT_LEN as u64),
    ("BACKUP_SEGMENTS_MAX", BACKUP_SEGMENTS_MAX as u64),
    ("BACKUP_FILE_LEN_MAX", BACKUP_FILE_LEN_MAX),
];

/// The layouts of this module in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    (
        "BackupHeader",
        &[
            ("magic", 8),
            ("format_version", 4),
            ("segment_count", 4),
            ("db_uuid", 16),
            ("number", 8),
            ("taken", 8),
            ("state_len", 4),
            ("reserved", 8),
            ("crc", 4),
        ],
    ),
    ("BackupSegment", &[("id", 8), ("digest", 16)]),
];

/// The version of a backup's file that is newer than this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooNew(pub u32);

/// What a backup's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// The database.
    pub db_uuid: u128,
    /// The backup's number, the same as in its name.
    pub number: u64,
    /// When it was taken, in Unix seconds, for people.
    pub taken: u64,
    /// The segments with the digests of their files, XXH3 with 128 bits and seed 0.
    pub segments: Vec<(SegmentId, u128)>,
    /// The manifest's state, encoded as a manifest edit.
    pub state: Vec<u8>,
}

impl BackupFile {
    /// The file's bytes.
    ///
    /// # Errors
    /// When it would be larger than the format allows.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let Self { db_uuid, number, taken, segments, state } = self;
        if segments.len() > BACKUP_SEGMENTS_MAX || state.len() > MANIFEST_EDIT_LEN_MAX {
            return Err(FormatError::new(0, "a backup of too many segments or collections"));
        }
        let mut out = Vec::new();
        out.extend_from_slice(&BACKUP_MAGIC.to_le_bytes());
        out.extend_from_slice(&BACKUP_FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(segments.len() as u32).to_le_bytes());
        out.extend_from_slice(&db_uuid.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&taken.to_le_bytes());
        out.extend_from_slice(&(state.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        for (id, digest) in segments {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&digest.to_le_bytes());
        }
        out.extend_from_slice(state);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// Reads a whole file; `Ok(Err(..))` when it is of a newer version.
    ///
    /// # Errors
    /// When anything is odd.
    pub fn decode(bytes: &[u8]) -> Result<Result<Self, TooNew>, FormatError> {
        let mut reader = Reader::new(bytes);
        let covered = Reader::new(bytes).bytes(BACKUP_HEADER_LEN - 4)?;
        if reader.u64()? != BACKUP_MAGIC {
            return Err(FormatError::new(0, "not a backup: wrong magic"));
        }
        let (version, segment_count) = (reader.u32()?, reader.u32()?);
        let (db_uuid, number, taken) = (reader.u128()?, reader.u64()?, reader.u64()?);
        let state_len = reader.u32()?;
        let rest = reader.bytes(8)?;
        check_crc(&mut reader, covered)?;
        match version {
            0 => return Err(FormatError::new(8, "format version 0")),
            BACKUP_FORMAT_VERSION => {}
            newer => return Ok(Err(TooNew(newer))),
        }
        if rest.iter().any(|&byte| byte != 0) {
            return Err(FormatError::new(52, "reserved bytes are not zero"));
        }
        let body = reader.bytes((segment_count as usize).saturating_mul(BACKUP_SEGMENT_LEN))?;
        let state = reader.bytes(state_len as usize)?.to_vec();
        let covered = Reader::new(bytes).bytes(reader.offset())?;
        check_crc(&mut reader, covered)?;
        reader.finish()?;
        let mut segments = Vec::with_capacity(segment_count as usize);
        let mut body = Reader::new(body);
        while body.left() > 0 {
            let at = BACKUP_HEADER_LEN + body.offset();
            let (id, digest) = (SegmentId(body.u64()?), body.u128()?);
            if segments.last().is_some_and(|(last, _)| *last >= id) {
                return Err(FormatError::new(at, format!("segment {id} is out of order")));
            }
            segments.push((id, digest));
        }
        Ok(Ok(Self { db_uuid, number, taken, segments, state }))
    }
}

fn check_crc(reader: &mut Reader<'_>, covered: &[u8]) -> Result<(), FormatError> {
    let at = reader.offset();
    let (crc, computed) = (reader.u32()?, crc32(covered));
    if crc_matches(crc, computed) {
        return Ok(());
    }
    Err(FormatError::new(at, format!("checksum is {computed:#010x}, {crc:#010x} expected")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> BackupFile {
        let segments = vec![(SegmentId(3), 1 << 100), (SegmentId(9), 7)];
        BackupFile { db_uuid: 5, number: 2, taken: 1_700_000_000, segments, state: vec![1, 2, 3] }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = backup().encode().unwrap();
        assert_eq!(BackupFile::decode(&bytes).unwrap(), Ok(backup()));
        assert_eq!(bytes.len(), BACKUP_HEADER_LEN + 2 * BACKUP_SEGMENT_LEN + 3 + 4);
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let bytes = backup().encode().unwrap();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(BackupFile::decode(&other).is_err(), "byte {at}");
            assert!(BackupFile::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(BackupFile::decode(&longer).is_err());
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = backup().encode().unwrap();
        bytes[8] = 2;
        let crc = crc32(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&crc);
        assert_eq!(BackupFile::decode(&bytes).unwrap(), Err(TooNew(2)));
    }
}
