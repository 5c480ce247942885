//! [`FileReader`]: streams the frames of one file with bounded memory.
//!
//! # Invariants
//! 1. The window grows to one frame at most, whose length is bounded by the file's.
//! 2. A frame is returned only when its header and its payload have their checksums.

use super::FRAMES_START;
use crate::error::{Error, Result};
use crate::format::wal_frame::{
    FRAME_OFFSET_AT, FrameHeader, WAL_FILE_HEADER_LEN, WAL_FRAME_ALIGN, WAL_FRAME_HEADER_LEN,
};
use crate::format::{crc_matches, crc32};
use crate::io::File;
use std::path::Path;

/// Bytes read at once.
const WINDOW_LEN: usize = 1 << 20;

/// What is at a place in a file.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A whole frame.
    Frame(FrameHeader, &'a [u8]),
    /// A frame's header, whose payload is not what was written.
    BrokenPayload,
    /// No frame of this use of the file.
    Nothing,
}

/// Reads one file from front to back.
#[derive(Debug)]
pub(super) struct FileReader<'a> {
    file: &'a dyn File,
    path: &'a Path,
    pub(super) len: u64,
    window: Vec<u8>,
    /// Where in the file the window starts.
    start: u64,
    /// Bytes of the window that were read.
    filled: usize,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(file: &'a dyn File, path: &'a Path) -> Result<Self> {
        let len = file.len().map_err(|e| Error::io("reading the length of", path, e))?;
        Ok(Self { file, path, len, window: Vec::new(), start: 0, filled: 0 })
    }

    /// The bytes before the first frame, or as many as the file has.
    pub(super) fn header(&mut self) -> Result<&[u8]> {
        self.bytes(0, WAL_FILE_HEADER_LEN)
    }

    /// Whether the file has nothing but zeros in its first `len` bytes.
    pub(super) fn is_zero_up_to(&mut self, len: usize) -> Result<bool> {
        Ok(self.bytes(0, len)?.iter().all(|&byte| byte == 0))
    }

    /// `len` bytes at `offset`, or as many as the file has.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(len, |left| len.min(left));
        if offset < self.start || offset + len as u64 > self.start + self.filled as u64 {
            self.load(offset, len)?;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.window.get(at..).and_then(|rest| rest.get(..len)).unwrap_or_default())
    }

    /// Moves the window to `offset`, with at least `len` bytes that the file has.
    fn load(&mut self, offset: u64, len: usize) -> Result<()> {
        let left = self.len.saturating_sub(offset);
        // The header is read alone: of most files nothing else is wanted.
        let ahead = if offset == 0 { len } else { len.max(WINDOW_LEN) };
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(ahead);
        let kept = offset
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip < self.filled)
            .map_or(0..0, |skip| skip..self.filled);
        let kept_len = kept.len();
        self.window.copy_within(kept, 0);
        (self.start, self.filled) = (offset, 0);
        if self.window.len() < wanted {
            self.window.resize(wanted, 0);
        }
        let target = self.window.get_mut(kept_len..wanted).unwrap_or_default();
        self.file
            .read_exact_at(target, offset + kept_len as u64)
            .map_err(|e| Error::io("reading", self.path, e))?;
        self.filled = wanted;
        Ok(())
    }

    /// What is at `offset` of this use of the file.
    pub(super) fn frame(&mut self, offset: u64, salt: u32) -> Result<Found<'_>> {
        let file_len = self.len;
        let bytes = self.bytes(offset, WAL_FRAME_HEADER_LEN)?;
        let Some(header) = FrameHeader::decode(bytes, salt, offset) else {
            return Ok(Found::Nothing);
        };
        let payload_at = offset + WAL_FRAME_HEADER_LEN as u64;
        if header.frame_len() > file_len.saturating_sub(offset) {
            return Ok(Found::BrokenPayload);
        }
        let padded_len = header.frame_len() as usize - WAL_FRAME_HEADER_LEN;
        let bytes = self.bytes(payload_at, padded_len)?;
        let (payload, padding) =
            bytes.split_at_checked(header.payload_len as usize).unwrap_or((bytes, &[1]));
        let is_whole = padding.iter().all(|&byte| byte == 0);
        if !is_whole || !crc_matches(header.payload_crc, crc32(payload)) {
            return Ok(Found::BrokenPayload);
        }
        Ok(Found::Frame(header, payload))
    }

    /// The first frame header at or behind `offset` that was written under one of `salts` and that
    /// `wanted` takes. The payload does not matter: a header that was written says what was durable
    /// then, whatever became of the bytes behind it.
    pub(super) fn find_header(
        &mut self,
        offset: u64,
        salts: &[u32],
        wanted: impl Fn(&FrameHeader) -> bool,
    ) -> Result<Option<FrameHeader>> {
        let mut places = Vec::new();
        let mut at = offset.max(FRAMES_START).next_multiple_of(WAL_FRAME_ALIGN as u64);
        while at + WAL_FRAME_HEADER_LEN as u64 <= self.len {
            // A header that straddles two windows is looked at with the second one.
            let window = self.bytes(at, WINDOW_LEN)?;
            let count = (window.len() - WAL_FRAME_HEADER_LEN) / WAL_FRAME_ALIGN + 1;
            places.clear();
            states_its_place(window, at, &mut places);
            for &place in &places {
                let bytes = self.bytes(place, WAL_FRAME_HEADER_LEN)?;
                let found = salts
                    .iter()
                    .find_map(|&salt| FrameHeader::decode(bytes, salt, place))
                    .filter(&wanted);
                if found.is_some() {
                    return Ok(found);
                }
            }
            at += (count * WAL_FRAME_ALIGN) as u64;
        }
        Ok(None)
    }
}

/// The places in `window`, which starts at `at`, where a frame could be: those that name themselves.
fn states_its_place(window: &[u8], at: u64, places: &mut Vec<u64>) {
    let fields = window.get(FRAME_OFFSET_AT..).unwrap_or_default();
    let (words, _) = fields.as_chunks::<WAL_FRAME_ALIGN>();
    for (index, word) in words.iter().enumerate() {
        let place = at + (index * WAL_FRAME_ALIGN) as u64;
        if u64::from_le_bytes(*word) == place {
            places.push(place);
        }
    }
}
