//! [`Reader`]: takes fields off the front of a byte slice.

use crate::error::Error;
use crate::types::Frontier;
use std::path::Path;

/// Why bytes could not be decoded, and where in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Offset in the decoder's input.
    pub offset: usize,
    /// What is wrong.
    pub what: String,
}

impl FormatError {
    /// An error at `offset`.
    pub fn new(offset: usize, what: impl Into<String>) -> Self {
        Self { offset, what: what.into() }
    }

    /// The same as corruption of `file`, whose input began at `base`.
    #[must_use]
    pub fn in_file(self, file: &Path, base: u64) -> Error {
        Error::corruption(file, base.saturating_add(self.offset as u64), self.what)
    }
}

/// Takes fields off the front of a byte slice; every method fails rather than read past the end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// An error at the current place.
    pub fn error(&self, what: impl Into<String>) -> FormatError {
        FormatError::new(self.offset, what)
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let end = self.offset.checked_add(len);
        match end.and_then(|end| self.bytes.get(self.offset..end)) {
            Some(taken) => {
                self.offset += len;
                Ok(taken)
            }
            None => Err(self.error(format!("{len} bytes expected, {} left", self.left()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let at = self.offset;
        self.bytes(N)?.try_into().map_err(|_| FormatError::new(at, "short field"))
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A 16-bit number.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A 32-bit number.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A 64-bit number.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A signed 64-bit number.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A 128-bit number.
    pub fn u128(&mut self) -> Result<u128, FormatError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// `len` reserved bytes, which must be zero.
    pub fn zeros(&mut self, len: usize) -> Result<(), FormatError> {
        let at = self.offset;
        if self.bytes(len)?.iter().any(|&b| b != 0) {
            return Err(FormatError::new(at, "reserved bytes are not zero"));
        }
        Ok(())
    }

    /// A frontier: tag `u64` (0 = at, 1 = closed), then the timestamp (0 when closed).
    pub fn frontier(&mut self) -> Result<Frontier, FormatError> {
        let at = self.offset;
        match (self.u64()?, self.u64()?) {
            (0, ts) => Ok(Frontier::at(ts)),
            (1, 0) => Ok(Frontier::CLOSED),
            (tag, _) => Err(FormatError::new(at, format!("frontier tag {tag} is neither 0 nor 1"))),
        }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.left() != 0 {
            return Err(self.error(format!("{} bytes too many", self.left())));
        }
        Ok(())
    }
}

impl Frontier {
    /// The 16 bytes that [`Reader::frontier`] reads.
    #[must_use]
    pub fn encode(self) -> [u8; 16] {
        let (tag, ts) = match self.ts() {
            Some(ts) => (0_u64, ts),
            None => (1, 0),
        };
        let mut out = [0; 16];
        out[..8].copy_from_slice(&tag.to_le_bytes());
        out[8..].copy_from_slice(&ts.to_le_bytes());
        out
    }
}
