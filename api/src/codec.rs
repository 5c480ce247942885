//! [`Codec`]: how typed keys and values become bytes.

use crate::{Error, Result};

/// How a type becomes the bytes of a key or value, and back.
///
/// Keys are ordered by their bytes: an encoding that keeps the order of the type (as all of those
/// here do) makes ranges of the type ranges of the collection. The name is stored with the
/// collection, so that opening it with another codec is refused.
///
/// ```
/// use datestone::{Codec, Error, Result};
///
/// /// A point in time, to the minute, that sorts in time order.
/// struct Minute(u32);
///
/// impl Codec for Minute {
///     type Owned = Minute;
///     const NAME: &'static str = "minute-be32";
///     fn encode<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
///         scratch.clear();
///         scratch.extend_from_slice(&self.0.to_be_bytes());
///         scratch
///     }
///     fn decode(bytes: &[u8]) -> Result<Minute> {
///         let bytes = bytes.try_into().map_err(|_| Error::invalid("a minute has 4 bytes"))?;
///         Ok(Minute(u32::from_be_bytes(bytes)))
///     }
/// }
///
/// let mut scratch = Vec::new();
/// assert_eq!(Minute(258).encode(&mut scratch), [0, 0, 1, 2]);
/// assert_eq!(Minute::decode(&[0, 0, 1, 2])?.0, 258);
/// # Ok::<(), Error>(())
/// ```
pub trait Codec {
    /// What decoding gives: the type itself, or its owned form.
    type Owned;

    /// Names the encoding, for ever; at most 100 bytes.
    const NAME: &'static str;

    /// The bytes of this value: its own where it has them, else written into `scratch`.
    fn encode<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8];

    /// The value of these bytes.
    ///
    /// # Errors
    /// `Invalid` when they are not of this encoding.
    fn decode(bytes: &[u8]) -> Result<Self::Owned>;
}

impl Codec for [u8] {
    type Owned = Vec<u8>;
    const NAME: &'static str = "bytes";

    #[inline]
    fn encode<'a>(&'a self, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

impl Codec for Vec<u8> {
    type Owned = Self;
    const NAME: &'static str = "bytes";

    #[inline]
    fn encode<'a>(&'a self, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(bytes.to_vec())
    }
}

impl Codec for str {
    type Owned = String;
    const NAME: &'static str = "utf8";

    #[inline]
    fn encode<'a>(&'a self, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.as_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<String> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => Err(Error::invalid(format!("stored text is not UTF-8: {e}"))),
        }
    }
}

impl Codec for String {
    type Owned = Self;
    const NAME: &'static str = "utf8";

    #[inline]
    fn encode<'a>(&'a self, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.as_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        <str as Codec>::decode(bytes)
    }
}

/// No bytes at all: the value of a set.
impl Codec for () {
    type Owned = Self;
    const NAME: &'static str = "unit";

    fn encode<'a>(&'a self, _scratch: &'a mut Vec<u8>) -> &'a [u8] {
        &[]
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(format!("a unit has no bytes, {} are stored", bytes.len())))
        }
    }
}

macro_rules! number {
    ($type:ty, $name:literal, $to:expr, $from:expr) => {
        impl Codec for $type {
            type Owned = Self;
            const NAME: &'static str = $name;

            fn encode<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
                scratch.clear();
                scratch.extend_from_slice(&$to(*self).to_be_bytes());
                scratch
            }

            fn decode(bytes: &[u8]) -> Result<Self> {
                match bytes.try_into() {
                    Ok(array) => Ok($from(array)),
                    Err(_) => Err(Error::invalid(format!(
                        "a {} has {} bytes, {} are stored",
                        $name,
                        size_of::<$type>(),
                        bytes.len()
                    ))),
                }
            }
        }
    };
}

// Big-endian, so that the order of the bytes is the order of the numbers; the sign bit of signed
// ones is flipped for the same reason.
number!(u32, "u32-be", |n: u32| n, u32::from_be_bytes);
number!(u64, "u64-be", |n: u64| n, u64::from_be_bytes);
number!(i64, "i64-be-flipped", |n: i64| n.cast_unsigned() ^ (1 << 63), |bytes| {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number comes back, and the order of bytes is the order of numbers.
    #[test]
    fn numbers_keep_their_order() {
        let numbers = [i64::MIN, -300, -1, 0, 1, 255, 256, i64::MAX];
        let mut last: Option<Vec<u8>> = None;
        for n in numbers {
            let mut scratch = Vec::new();
            let bytes = n.encode(&mut scratch).to_vec();
            assert_eq!(i64::decode(&bytes).unwrap(), n);
            assert!(last.is_none_or(|last| last < bytes), "{n}");
            last = Some(bytes);
        }
        assert!(u64::decode(&[1, 2]).is_err());
        assert!(<str as Codec>::decode(&[0xff]).is_err());
        assert!(<() as Codec>::decode(&[0]).is_err());
    }
}
