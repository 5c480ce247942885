//! The header of a manifest file and the frame around each edit in it.
//!
//! ```text
//! header | frame: snapshot | frame: edit | frame: edit | ..
//! ```
//!
//! # Invariants
//! 1. A frame's checksum starts from its file's header checksum, so no frame of another manifest
//!    file is ever valid in this one.
//! 2. A frame carries the checksum of the frame before it (the snapshot: 0): a chain, of which
//!    every link can also be recognised alone. That is what tells a torn tail from a hole.
//! 3. A frame starts at a multiple of 8 bytes and its payload is not empty.

use super::{
    FormatError, PartCrcs, Reader, SpecConstant, SpecLayout, crc_matches, crc32, crc32_seeded,
    padded,
};

/// First 8 bytes of a manifest file, `DSMANIFS` read as a little-endian number.
pub const MANIFEST_MAGIC: u64 = u64::from_le_bytes(*b"DSMANIFS");
/// Newest format version of a manifest that this build reads, and the one that it writes.
pub const MANIFEST_FORMAT_VERSION: u32 = 1;
/// Length of a manifest file's header, in bytes.
pub const MANIFEST_HEADER_LEN: usize = 64;
/// Length of a frame before its payload, in bytes.
pub const MANIFEST_FRAME_LEN: usize = 24;
/// Frames and what is in them start at multiples of this many bytes.
pub const MANIFEST_UNIT: usize = 8;
/// Longest payload of a frame, in bytes; also bounds the snapshot, and so the whole state.
pub const MANIFEST_EDIT_LEN_MAX: usize = 1 << 30;
/// Longest manifest file, in bytes.
pub const MANIFEST_FILE_LEN_MAX: u64 = 8 << 30;

/// The constants of this module in FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("MANIFEST_MAGIC", MANIFEST_MAGIC),
    ("MANIFEST_FORMAT_VERSION", MANIFEST_FORMAT_VERSION as u64),
    ("MANIFEST_HEADER_LEN", MANIFEST_HEADER_LEN as u64),
    ("MANIFEST_FRAME_LEN", MANIFEST_FRAME_LEN as u64),
    ("MANIFEST_UNIT", MANIFEST_UNIT as u64),
    ("MANIFEST_EDIT_LEN_MAX", MANIFEST_EDIT_LEN_MAX as u64),
    ("MANIFEST_FILE_LEN_MAX", MANIFEST_FILE_LEN_MAX),
];

/// The layouts of this module in FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    (
        "ManifestHeader",
        &[
            ("magic", 8),
            ("format_version", 4),
            ("reserved", 4),
            ("db_uuid", 16),
            ("number", 8),
            ("reserved", 20),
            ("crc", 4),
        ],
    ),
    (
        "ManifestFrame",
        &[("payload_len", 4), ("crc", 4), ("previous_crc", 4), ("reserved", 4), ("edit_no", 8)],
    ),
];

// A file is rolled when its edits outgrow four snapshots, and one edit may come on top.
const _: () = assert!(6 * MANIFEST_EDIT_LEN_MAX as u64 <= MANIFEST_FILE_LEN_MAX);
const _: () = assert!(MANIFEST_EDIT_LEN_MAX <= u32::MAX as usize);
const _: () = assert!(MANIFEST_HEADER_LEN.is_multiple_of(MANIFEST_UNIT));
const _: () = assert!(MANIFEST_FRAME_LEN.is_multiple_of(MANIFEST_UNIT));

/// What the header of a manifest file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestHeader {
    /// Format version of the file.
    pub format_version: u32,
    /// The database that it belongs to.
    pub db_uuid: u128,
    /// Its number, the same as in its name.
    pub number: u64,
}

impl ManifestHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MANIFEST_HEADER_LEN);
        out.extend_from_slice(&MANIFEST_MAGIC.to_le_bytes());
        out.extend_from_slice(&self.format_version.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.db_uuid.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&[0; 20]);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the front of `bytes`, with its checksum, which seeds those of the frames.
    ///
    /// The place and meaning of magic, format version and checksum are the same in every format
    /// version, so that a newer file is told from a damaged one; the caller compares the version.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), FormatError> {
        let mut reader = Reader::new(bytes);
        let covered = Reader::new(bytes).bytes(MANIFEST_HEADER_LEN - 4)?;
        if reader.u64()? != MANIFEST_MAGIC {
            return Err(FormatError::new(0, "not a manifest: wrong magic"));
        }
        let format_version = reader.u32()?;
        let reserved_at = reader.offset();
        let reserved = reader.u32()?;
        let (db_uuid, number) = (reader.u128()?, reader.u64()?);
        let rest = reader.bytes(20)?;
        let crc_at = reader.offset();
        let crc = reader.u32()?;
        let computed = crc32(covered);
        if !crc_matches(crc, computed) {
            let what = format!("header checksum is {computed:#010x}, {crc:#010x} expected");
            return Err(FormatError::new(crc_at, what));
        }
        if format_version == 0 {
            return Err(FormatError::new(8, "format version 0"));
        }
        let zeros = reserved == 0 && rest.iter().all(|&byte| byte == 0);
        if format_version <= MANIFEST_FORMAT_VERSION && !zeros {
            return Err(FormatError::new(reserved_at, "reserved bytes are not zero"));
        }
        Ok((Self { format_version, db_uuid, number }, crc))
    }
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestFrame<'a> {
    /// The encoded edit.
    pub payload: &'a [u8],
    /// Number of the edit: each is one more than that of the frame before.
    pub edit_no: u64,
    /// Checksum of the frame before, 0 for the first one of a file.
    pub previous_crc: u32,
    /// Checksum of this frame.
    pub crc: u32,
    /// Offset of the next frame.
    pub end: usize,
}

impl<'a> ManifestFrame<'a> {
    /// Reads the frame at `at` in the file's `bytes`, whose header checksum is `seed`. Offsets in
    /// errors are those of the file.
    pub fn decode(bytes: &'a [u8], at: usize, seed: u32) -> Result<Self, FormatError> {
        let shifted = |e: FormatError| FormatError::new(at.saturating_add(e.offset), e.what);
        let rest = bytes.get(at..).ok_or_else(|| FormatError::new(at, "beyond the end"))?;
        Self::decode_front(rest, at, seed).map_err(shifted)
    }

    fn decode_front(rest: &'a [u8], at: usize, seed: u32) -> Result<Self, FormatError> {
        let mut reader = Reader::new(rest);
        let payload_len = reader.u32()?;
        let crc = reader.u32()?;
        let previous_crc = reader.u32()?;
        reader.zeros(4)?;
        let edit_no = reader.u64()?;
        let len = payload_len as usize;
        if len == 0 || len > MANIFEST_EDIT_LEN_MAX {
            return Err(FormatError::new(0, format!("payload of {len} bytes")));
        }
        let payload = reader.bytes(len)?;
        reader.bytes(padded(len, MANIFEST_UNIT) - len)?;
        let end = reader.offset();
        let covered = Reader::new(rest.get(8..).unwrap_or_default()).bytes(end - 8)?;
        let computed = frame_crc(seed, payload_len, covered);
        if !crc_matches(crc, computed) {
            let what = format!("frame checksum is {computed:#010x}, {crc:#010x} expected");
            return Err(FormatError::new(4, what));
        }
        Ok(Self { payload, edit_no, previous_crc, crc, end: at.saturating_add(end) })
    }
}

/// Where valid frames can begin, in time and memory that are linear in the length of the bytes, whatever
/// they are: the numbers of an edit can look like the lengths of very many frames.
#[derive(Debug)]
pub struct FrameSearch<'a> {
    bytes: &'a [u8],
    seed: u32,
    crcs: PartCrcs,
}

impl<'a> FrameSearch<'a> {
    /// Searches `bytes`, which begin at a multiple of [`MANIFEST_UNIT`] of a file whose header checksum
    /// is `seed`.
    #[must_use]
    pub fn new(bytes: &'a [u8], seed: u32) -> Self {
        Self { bytes, seed, crcs: PartCrcs::new(bytes, MANIFEST_UNIT) }
    }

    /// Whether the bytes from `at` on, a multiple of [`MANIFEST_UNIT`], are a valid frame.
    #[must_use]
    pub fn is_frame(&self, at: usize) -> bool {
        self.checksums(at).is_some_and(|(read, computed)| crc_matches(read, computed))
    }

    /// What a frame at `at` has as its checksum, and what it should have; `None` when it does not fit.
    fn checksums(&self, at: usize) -> Option<(u32, u32)> {
        let mut reader = Reader::new(self.bytes.get(at..)?);
        let (payload_len, crc) = (reader.u32().ok()?, reader.u32().ok()?);
        reader.u32().ok()?;
        reader.zeros(4).ok()?;
        let len = payload_len as usize;
        if len == 0 || len > MANIFEST_EDIT_LEN_MAX {
            return None;
        }
        let start = at.checked_add(8)?;
        let end = at.checked_add(MANIFEST_FRAME_LEN)?.checked_add(padded(len, MANIFEST_UNIT))?;
        let seed = crc32_seeded(self.seed, &payload_len.to_le_bytes());
        Some((crc, self.crcs.seeded(seed, start, end)?))
    }
}

/// Where [`FrameBuilder::begin`] left off: the frame's place in the buffer.
#[derive(Debug)]
pub struct FrameBuilder {
    at: usize,
}

impl FrameBuilder {
    /// Makes room for a frame's head at the end of `out`, to which the caller then appends the
    /// payload.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0; MANIFEST_FRAME_LEN]);
        Self { at }
    }

    /// Pads the payload, fills in the head and returns the frame's checksum.
    pub fn finish(
        self,
        out: &mut Vec<u8>,
        seed: u32,
        previous_crc: u32,
        edit_no: u64,
    ) -> Result<u32, FormatError> {
        let len = out.len().saturating_sub(self.at + MANIFEST_FRAME_LEN);
        if len == 0 || len > MANIFEST_EDIT_LEN_MAX {
            return Err(FormatError::new(self.at, format!("payload of {len} bytes")));
        }
        let payload_len = len as u32;
        out.resize(out.len() + padded(len, MANIFEST_UNIT) - len, 0);
        let frame = out.get_mut(self.at..).unwrap_or_default();
        let mut head = Vec::with_capacity(MANIFEST_FRAME_LEN);
        head.extend_from_slice(&payload_len.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&previous_crc.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&edit_no.to_le_bytes());
        if let Some(place) = frame.get_mut(..MANIFEST_FRAME_LEN) {
            place.copy_from_slice(&head);
        }
        let crc = frame_crc(seed, payload_len, frame.get(8..).unwrap_or_default());
        if let Some(place) = frame.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        Ok(crc)
    }
}

/// Checksum of a frame: over the payload length, then over all behind the checksum field.
fn frame_crc(seed: u32, payload_len: u32, behind: &[u8]) -> u32 {
    crc32_seeded(crc32_seeded(seed, &payload_len.to_le_bytes()), behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seed: u32, previous: u32, edit_no: u64, payload: &[u8]) -> (Vec<u8>, u32) {
        let mut out = Vec::new();
        let builder = FrameBuilder::begin(&mut out);
        out.extend_from_slice(payload);
        let crc = builder.finish(&mut out, seed, previous, edit_no).unwrap();
        (out, crc)
    }

    /// A header and a frame are read back as written, and every changed bit is noticed.
    #[test]
    fn every_bit_of_header_and_frame_is_covered() {
        let header = ManifestHeader { format_version: 1, db_uuid: 77, number: 3 };
        let bytes = header.encode();
        assert_eq!(bytes.len(), MANIFEST_HEADER_LEN);
        let (read, seed) = ManifestHeader::decode(&bytes).unwrap();
        assert_eq!(read, header);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(ManifestHeader::decode(&bytes).is_err(), "bit {bit}");
        }
        let (bytes, crc) = frame(seed, 5, 9, b"abc");
        assert_eq!(bytes.len(), 32);
        let read = ManifestFrame::decode(&bytes, 0, seed).unwrap();
        let expected = ManifestFrame { payload: b"abc", edit_no: 9, previous_crc: 5, crc, end: 32 };
        assert_eq!(read, expected);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(ManifestFrame::decode(&bytes, 0, seed).is_err(), "bit {bit}");
        }
    }

    /// I1: a frame of another file is not valid; zeros never are; a cut frame is not.
    #[test]
    fn frames_of_other_files_zeros_and_cut_frames_are_refused() {
        let (bytes, _) = frame(1, 0, 1, &[7; 100]);
        assert!(ManifestFrame::decode(&bytes, 0, 1).is_ok());
        assert!(ManifestFrame::decode(&bytes, 0, 2).is_err());
        for len in 0..bytes.len() {
            assert!(ManifestFrame::decode(&bytes[..len], 0, 1).is_err(), "cut to {len}");
        }
        assert!(ManifestFrame::decode(&[0; 4096], 0, 0).is_err());
        assert!(ManifestFrame::decode(&bytes, 4096, 1).is_err());
        let mut out = Vec::new();
        assert!(FrameBuilder::begin(&mut out).finish(&mut out, 0, 0, 1).is_err(), "I3");
    }
}
