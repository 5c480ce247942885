//! The file header and the frame header of the WAL: what tells a frame that was written from bytes
//! that only look like one.
//!
//! A WAL file is used again and again, so it is full of frames of earlier uses. Every use has a
//! *file number* of its own; the checksum of a frame's header is seeded with a salt made of the
//! database and that number. CRC-32 is a bijection of its seed, and two numbers that differ within
//! 32 neighbouring bits have different salts, so a frame of an earlier use never passes for one of
//! the current use. A frame also states its own place in the file, so that looking for frames at
//! every possible place costs one comparison each.
//!
//! # Invariants
//! 1. `decode(encode(x)) == x` for every header with its fields in range.
//! 2. Nothing here allocates, and no input makes it panic.

#![deny(clippy::indexing_slicing)]

use super::{FormatError, Reader, SpecConstant, SpecLayout, crc_matches, crc32, crc32_seeded};
use crate::types::SeqNo;

/// First eight bytes of a WAL file in use: `DSTNWAL` and a zero byte.
pub const WAL_MAGIC: u64 = u64::from_le_bytes(*b"DSTNWAL\0");
/// The format version that this build writes, and the newest that it reads.
pub const WAL_FORMAT_VERSION: u32 = 1;
/// Bytes at the start of a file before its first frame; the header and zeros.
pub const WAL_FILE_HEADER_LEN: usize = 4096;
/// Bytes of the file header that are in use.
pub const WAL_FILE_HEADER_USED_LEN: usize = 64;
/// Bytes of a frame's header.
pub const WAL_FRAME_HEADER_LEN: usize = 40;
/// Frames start at multiples of this; the payload is padded with zeros.
pub const WAL_FRAME_ALIGN: usize = 8;
/// Kind of a frame that holds a commit record.
pub const WAL_FRAME_COMMIT: u8 = 1;
/// Kind of the frame that a clean shutdown writes last; its payload is empty.
pub const WAL_FRAME_CLOSE: u8 = 2;

/// Greatest file number and seqno in a file header, so that counting on never overflows.
pub const WAL_NUMBER_MAX: u64 = (1 << 62) - 1;

/// Where a frame's header states its own offset in the file.
pub const FRAME_OFFSET_AT: usize = 32;

/// The constants of FORMAT.md.
pub const CONSTANTS: &[SpecConstant] = &[
    ("WAL_MAGIC", WAL_MAGIC),
    ("WAL_FORMAT_VERSION", WAL_FORMAT_VERSION as u64),
    ("WAL_FILE_HEADER_LEN", WAL_FILE_HEADER_LEN as u64),
    ("WAL_FILE_HEADER_USED_LEN", WAL_FILE_HEADER_USED_LEN as u64),
    ("WAL_FRAME_HEADER_LEN", WAL_FRAME_HEADER_LEN as u64),
    ("WAL_FRAME_ALIGN", WAL_FRAME_ALIGN as u64),
    ("WAL_FRAME_COMMIT", WAL_FRAME_COMMIT as u64),
    ("WAL_FRAME_CLOSE", WAL_FRAME_CLOSE as u64),
    ("WAL_NUMBER_MAX", WAL_NUMBER_MAX),
];

/// The layouts of FORMAT.md.
pub const LAYOUTS: &[SpecLayout] = &[
    (
        "WalFileHeader",
        &[
            ("magic", 8),
            ("format_version", 4),
            ("reserved", 4),
            ("database", 16),
            ("file_number", 8),
            ("first_seqno", 8),
            ("file_len", 8),
            ("reserved", 4),
            ("crc", 4),
        ],
    ),
    (
        "WalFrameHeader",
        &[
            ("header_crc", 4),
            ("payload_len", 4),
            ("payload_crc", 4),
            ("kind", 1),
            ("reserved", 3),
            ("seqno", 8),
            ("durable_seqno", 8),
            ("file_offset", 8),
        ],
    ),
];

const _: () = assert!(WAL_FILE_HEADER_LEN.is_multiple_of(WAL_FRAME_ALIGN));
const _: () = assert!(WAL_FRAME_HEADER_LEN.is_multiple_of(WAL_FRAME_ALIGN));
const _: () = assert!(FRAME_OFFSET_AT + 8 == WAL_FRAME_HEADER_LEN);

/// The seed of the checksums of frame headers in the given use of a file.
#[must_use]
pub fn salt(database: u128, file_number: u64) -> u32 {
    let mut bytes = [0; 24];
    let (head, tail) = bytes.split_at_mut(16);
    head.copy_from_slice(&database.to_le_bytes());
    tail.copy_from_slice(&file_number.to_le_bytes());
    crc32(&bytes)
}

/// What the first bytes of a WAL file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Only zeros: a spare that was never used, as far as the header goes.
    Zero,
    /// Neither zeros nor a header.
    Damaged(FormatError),
    /// A header of a newer format version.
    TooNew(u32),
    /// A header.
    InUse(FileHeader),
}

/// The header of one use of a WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The database that the file belongs to.
    pub database: u128,
    /// The number of this use: grows with every use of any file, never used again.
    pub file_number: u64,
    /// The seqno of the file's first frame.
    pub first_seqno: SeqNo,
    /// The length that the file had, durably, before this header was written.
    pub file_len: u64,
}

impl FileHeader {
    /// The bytes before the file's first frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(WAL_FILE_HEADER_LEN);
        out.extend_from_slice(&WAL_MAGIC.to_le_bytes());
        out.extend_from_slice(&WAL_FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.database.to_le_bytes());
        out.extend_from_slice(&self.file_number.to_le_bytes());
        out.extend_from_slice(&self.first_seqno.0.to_le_bytes());
        out.extend_from_slice(&self.file_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = crc32(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(WAL_FILE_HEADER_LEN, 0);
        out
    }

    /// What the first [`WAL_FILE_HEADER_LEN`] bytes of a file, or as many as it has, say.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> FileState {
        if bytes.iter().all(|&byte| byte == 0) {
            return FileState::Zero;
        }
        match Self::decode_used(bytes) {
            Ok(Ok(header)) => FileState::InUse(header),
            Ok(Err(version)) => FileState::TooNew(version),
            Err(e) => FileState::Damaged(e),
        }
    }

    /// The header, or the newer version that wrote it.
    fn decode_used(bytes: &[u8]) -> Result<Result<Self, u32>, FormatError> {
        let mut reader = Reader::new(bytes);
        let covered = Reader::new(bytes).bytes(WAL_FILE_HEADER_USED_LEN - 4)?;
        if reader.u64()? != WAL_MAGIC {
            return Err(FormatError::new(0, "not a WAL file: wrong magic"));
        }
        let version = reader.u32()?;
        let mut crc_reader = Reader::new(bytes);
        crc_reader.bytes(covered.len())?;
        if !crc_matches(crc_reader.u32()?, crc32(covered)) {
            return Err(FormatError::new(covered.len(), "checksum of the header does not match"));
        }
        if version > WAL_FORMAT_VERSION {
            return Ok(Err(version));
        }
        if version != WAL_FORMAT_VERSION {
            return Err(FormatError::new(8, format!("format version {version} was never used")));
        }
        reader.zeros(4)?;
        let header = Self {
            database: reader.u128()?,
            file_number: reader.u64()?,
            first_seqno: SeqNo(reader.u64()?),
            file_len: reader.u64()?,
        };
        reader.zeros(4)?;
        reader.u32()?;
        reader.zeros(WAL_FILE_HEADER_LEN - WAL_FILE_HEADER_USED_LEN)?;
        let numbers = [header.file_number, header.first_seqno.0];
        if numbers.iter().any(|&number| number == 0 || number > WAL_NUMBER_MAX) {
            return Err(FormatError::new(32, "file number or first seqno is out of range"));
        }
        Ok(Ok(header))
    }

    /// The seed of the frame checksums of this use.
    #[must_use]
    pub fn salt(&self) -> u32 {
        salt(self.database, self.file_number)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the payload, in bytes, without padding.
    pub payload_len: u32,
    /// CRC-32 of the payload without padding.
    pub payload_crc: u32,
    /// [`WAL_FRAME_COMMIT`] or [`WAL_FRAME_CLOSE`]; the decoder leaves other values to its caller.
    pub kind: u8,
    /// Its position in the WAL.
    pub seqno: SeqNo,
    /// The last seqno that was known to be durable when the frame was encoded.
    pub durable_seqno: SeqNo,
    /// Where in the file the frame starts.
    pub file_offset: u64,
}

impl FrameHeader {
    /// The header's bytes under the salt of the file's use.
    #[must_use]
    pub fn encode(&self, salt: u32) -> [u8; WAL_FRAME_HEADER_LEN] {
        let mut out = [0; WAL_FRAME_HEADER_LEN];
        let (crc, rest) = out.split_at_mut(4);
        let (lens, words) = rest.split_at_mut(12);
        let (payload_len, lens) = lens.split_at_mut(4);
        let (payload_crc, kind) = lens.split_at_mut(4);
        payload_len.copy_from_slice(&self.payload_len.to_le_bytes());
        payload_crc.copy_from_slice(&self.payload_crc.to_le_bytes());
        kind.copy_from_slice(&[self.kind, 0, 0, 0]);
        let values = [self.seqno.0, self.durable_seqno.0, self.file_offset];
        for (word, value) in words.chunks_exact_mut(8).zip(values) {
            word.copy_from_slice(&value.to_le_bytes());
        }
        crc.copy_from_slice(&crc32_seeded(salt, rest).to_le_bytes());
        out
    }

    /// The header at `file_offset`, if `bytes` start with one that was written there in the file's
    /// current use.
    #[must_use]
    pub fn decode(bytes: &[u8], salt: u32, file_offset: u64) -> Option<Self> {
        let bytes = bytes.get(..WAL_FRAME_HEADER_LEN)?;
        let mut reader = Reader::new(bytes);
        let crc = reader.u32().ok()?;
        let header = Self {
            payload_len: reader.u32().ok()?,
            payload_crc: reader.u32().ok()?,
            kind: reader.u8().ok()?,
            seqno: {
                reader.zeros(3).ok()?;
                SeqNo(reader.u64().ok()?)
            },
            durable_seqno: SeqNo(reader.u64().ok()?),
            file_offset: reader.u64().ok()?,
        };
        let fits = header.file_offset == file_offset && header.kind != 0;
        (fits && crc_matches(crc, crc32_seeded(salt, bytes.get(4..)?))).then_some(header)
    }

    /// Bytes that the frame takes in the file.
    #[must_use]
    pub const fn frame_len(&self) -> u64 {
        frame_len(self.payload_len as usize)
    }
}

/// Bytes that a frame with such a payload takes in a file.
#[must_use]
pub const fn frame_len(payload_len: usize) -> u64 {
    WAL_FRAME_HEADER_LEN as u64 + super::padded(payload_len, WAL_FRAME_ALIGN) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: FileHeader =
        FileHeader { database: 7 << 90, file_number: 3, first_seqno: SeqNo(9), file_len: 1 << 20 };

    #[test]
    fn layouts_have_the_lengths_of_the_headers() {
        let len = |at: usize| LAYOUTS[at].1.iter().map(|(_, len)| len).sum::<usize>();
        assert_eq!(len(0), WAL_FILE_HEADER_USED_LEN);
        assert_eq!(len(1), WAL_FRAME_HEADER_LEN);
    }

    #[test]
    fn every_flipped_bit_of_a_file_header_is_noticed() {
        let good = FILE.encode();
        assert_eq!(good.len(), WAL_FILE_HEADER_LEN);
        assert_eq!(FileHeader::decode(&good), FileState::InUse(FILE));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(FileHeader::decode(&bad), FileState::Damaged(_)), "bit {bit}");
        }
        for len in 1..good.len() {
            assert!(matches!(FileHeader::decode(&good[..len]), FileState::Damaged(_)), "{len}");
        }
        assert_eq!(FileHeader::decode(&[]), FileState::Zero);
        assert_eq!(FileHeader::decode(&[0; 4096]), FileState::Zero);
    }

    #[test]
    fn a_newer_format_version_is_told_from_damage() {
        let mut newer = FILE.encode();
        newer[8] = 2;
        let crc = crc32(&newer[..60]);
        newer[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&newer), FileState::TooNew(2));
    }

    #[test]
    fn salts_of_neighbouring_uses_and_other_databases_differ() {
        let salts: std::collections::HashSet<u32> = (1..10_000).map(|n| salt(5, n)).collect();
        assert_eq!(salts.len(), 9_999);
        assert_ne!(salt(5, 1), salt(6, 1));
    }

    proptest! {
        #[test]
        fn a_frame_header_comes_back_only_unchanged_at_its_place_and_in_its_use(
            payload_len: u32, payload_crc: u32, kind in 1_u8.., seqno: u64, durable: u64,
            offset: u64, salt: u32, bit in 0_usize..320, other_salt: u32,
        ) {
            let header = FrameHeader {
                payload_len, payload_crc, kind, seqno: SeqNo(seqno),
                durable_seqno: SeqNo(durable), file_offset: offset,
            };
            let mut bytes = header.encode(salt);
            prop_assert_eq!(FrameHeader::decode(&bytes, salt, offset), Some(header));
            prop_assert_eq!(FrameHeader::decode(&bytes, salt, offset ^ 8), None);
            if other_salt != salt {
                prop_assert_eq!(FrameHeader::decode(&bytes, other_salt, offset), None);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(&bytes, salt, offset), None);
        }
    }
}
