//! Little-endian numbers at a place in a byte slice: how columns are read where they lie.
//!
//! A place outside the slice reads as zero instead of panicking. Whoever uses these functions has
//! checked the extent of the column once, so that zero is never what a reader gets to see; it is
//! there so that no bytes from disk, however hostile, can make a reader panic.

#![deny(clippy::indexing_slicing)]

/// The byte at `at`.
#[inline(always)]
#[must_use]
pub fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

/// The 16-bit number at `at`.
#[inline(always)]
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(chunk(bytes, at))
}

/// The 32-bit number at `at`.
#[inline(always)]
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(chunk(bytes, at))
}

/// The 64-bit number at `at`.
#[inline(always)]
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(chunk(bytes, at))
}

/// The eight bytes at `at` as a number that compares like them.
#[inline(always)]
#[must_use]
pub fn head_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(chunk(bytes, at))
}

/// The bytes `start..end`, empty when they are not all there.
#[inline(always)]
#[must_use]
pub fn slice_at(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

/// The first eight bytes of `key`, zeros behind a shorter one, as a number. Where two heads differ
/// they compare like the keys; where they are equal nothing is known.
#[inline]
#[must_use]
pub fn head(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut padded = [0; 8];
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(padded)
}

/// Length of the prefix that `a` and `b` have in common.
#[must_use]
pub fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[inline(always)]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    // A place so far out that its end wraps around is a reversed range, and so none.
    match bytes.get(at..at.wrapping_add(N)).and_then(|b| b.first_chunk::<N>()) {
        Some(chunk) => *chunk,
        None => [0; N],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_read_as_zero() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u16_at(&bytes, 7), 0x0908);
        assert_eq!(u16_at(&bytes, 8), 0);
        assert_eq!(u64_at(&bytes, usize::MAX), 0);
        assert_eq!(head_at(&bytes, 1), 0x0203_0405_0607_0809);
        assert_eq!(slice_at(&bytes, 8, 10), b"");
    }

    #[test]
    fn heads_that_differ_compare_like_keys() {
        let keys: [&[u8]; 7] =
            [b"", b"\0", b"a", b"a\0", b"abcdefgh", b"abcdefghi", b"b\xff\xff\xff\xff\xff\xff\xff"];
        for a in keys {
            for b in keys {
                if head(a) != head(b) {
                    assert_eq!(head(a).cmp(&head(b)), a.cmp(b), "{a:?} {b:?}");
                }
            }
        }
    }
}
