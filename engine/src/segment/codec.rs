//! How a block is stored: as it is, or compressed. The only place that knows the compressor.

use crate::error::{Error, Result};
#[cfg(feature = "zstd")]
use crate::format::block_index::CODEC_RATIO_MAX;
use crate::format::block_index::{CODEC_RAW, CODEC_ZSTD};
#[cfg(feature = "zstd")]
use crate::limits::BLOCK_LEN_MAX;
#[cfg(feature = "zstd")]
use std::cell::RefCell;
use std::path::Path;

/// How blocks are to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockCodec {
    /// As they are, to be read in place.
    #[default]
    Raw,
    /// Compressed, those that shrink by an eighth at least.
    Zstd {
        /// The compressor's level.
        level: i32,
    },
}

/// Compresses blocks; keeps the compressor between them.
pub(super) struct Encoder {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::bulk::Compressor<'static>>,
    stored: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    #[cfg(feature = "zstd")]
    pub(super) fn new(codec: BlockCodec) -> Result<Self> {
        let zstd = match codec {
            BlockCodec::Raw => None,
            BlockCodec::Zstd { level } => Some(
                zstd::bulk::Compressor::new(level)
                    .map_err(|e| Error::invalid(format!("zstd level {level}: {e}")))?,
            ),
        };
        Ok(Self { zstd, stored: Vec::new() })
    }

    #[cfg(not(feature = "zstd"))]
    pub(super) fn new(codec: BlockCodec) -> Result<Self> {
        match codec {
            BlockCodec::Raw => Ok(Self { stored: Vec::new() }),
            BlockCodec::Zstd { .. } => Err(Error::invalid("this build is without zstd")),
        }
    }

    /// What to store for the block `raw`, and under which codec.
    #[cfg(feature = "zstd")]
    pub(super) fn encode<'a>(&'a mut self, raw: &'a [u8]) -> (&'a [u8], u8) {
        let Some(zstd) = &mut self.zstd else { return (raw, CODEC_RAW) };
        self.stored.clear();
        // Room for what is worth storing and no more: the compressor gives up beyond.
        self.stored.reserve(raw.len() - raw.len() / 8);
        match zstd.compress_to_buffer(raw, &mut self.stored) {
            Ok(len) if len <= raw.len() - raw.len() / 8 => (&self.stored, CODEC_ZSTD),
            _ => (raw, CODEC_RAW),
        }
    }

    #[cfg(not(feature = "zstd"))]
    pub(super) fn encode<'a>(&'a mut self, raw: &'a [u8]) -> (&'a [u8], u8) {
        let _ = (&self.stored, CODEC_ZSTD);
        (raw, CODEC_RAW)
    }
}

/// The block that was compressed to `stored`; it must have `raw_len` bytes, which the caller has
/// bounded.
#[cfg(feature = "zstd")]
pub(super) fn decode(stored: &[u8], raw_len: usize, file: &Path, offset: u64) -> Result<Vec<u8>> {
    thread_local! {
        // Making one costs more than expanding a block.
        static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            const { RefCell::new(None) };
    }
    let expanded = DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut made = match kept.take() {
            Some(made) => made,
            None => zstd::bulk::Decompressor::new()?,
        };
        let expanded = made.decompress(stored, raw_len);
        *kept = Some(made);
        expanded
    });
    match expanded {
        Ok(raw) if raw.len() == raw_len => Ok(raw),
        Ok(raw) => {
            let what = format!("the block expands to {} bytes, not to {raw_len}", raw.len());
            Err(Error::corruption(file, offset, what))
        }
        Err(e) => Err(Error::corruption(file, offset, format!("the block does not expand: {e}"))),
    }
}

#[cfg(not(feature = "zstd"))]
pub(super) fn decode(_: &[u8], _: usize, file: &Path, offset: u64) -> Result<Vec<u8>> {
    let (file, codec) = (file.display(), CODEC_ZSTD);
    let what =
        format!("{file} has a block at {offset} with codec {codec}; this build is without zstd");
    Err(Error::invalid(what))
}

/// The lengths, stored and expanded, of a compressed block that begins with `bytes`; `None` when none
/// does.
#[cfg(feature = "zstd")]
pub(super) fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    let bytes = bytes.get(..BLOCK_LEN_MAX).unwrap_or(bytes);
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let stored = zstd::zstd_safe::find_frame_compressed_size(bytes).ok()?;
    let raw = zstd::zstd_safe::get_frame_content_size(bytes).ok()??;
    let raw = usize::try_from(raw).ok().filter(|&raw| raw <= BLOCK_LEN_MAX)?;
    let expands = stored < raw && raw <= stored.saturating_mul(CODEC_RATIO_MAX);
    expands.then_some((stored, raw))
}

#[cfg(not(feature = "zstd"))]
pub(super) const fn measure(_: &[u8]) -> Option<(usize, usize)> {
    None
}
