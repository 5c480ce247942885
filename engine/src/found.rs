//! [`Found`]: what a point read gathers from the sources before it adds up.

use bytes::Bytes;

/// A value where it lies: in memory that the reader's snapshot keeps, or in a shared buffer.
#[derive(Clone, Debug)]
pub enum ValRef<'s> {
    /// Borrowed from a memtable or a mapped block.
    Borrowed(&'s [u8]),
    /// Part of a decoded block.
    Shared(Bytes),
}

impl ValRef<'_> {
    /// The value's bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(slice) => slice,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Values of one key with their multiplicities so far. The first one needs no allocation, as most
/// keys have one value in one source.
#[derive(Debug, Default)]
pub struct Found<'s> {
    first: Option<(ValRef<'s>, i128)>,
    rest: Vec<(ValRef<'s>, i128)>,
}

impl<'s> Found<'s> {
    /// Nothing found yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    /// Adds `sum` copies of `val`; the same value may come again.
    #[inline]
    pub fn push(&mut self, val: ValRef<'s>, sum: i128) {
        if sum == 0 {
            return;
        }
        match &mut self.first {
            None => self.first = Some((val, sum)),
            Some((first, total)) if first.as_slice() == val.as_slice() => *total += sum,
            Some(_) => self.rest.push((val, sum)),
        }
    }

    /// Adds up equal values, drops those with sum zero and calls `visit` for the others in
    /// ascending order. Costs O(n log n) for n pushed values.
    pub fn visit<E>(self, mut visit: impl FnMut(&[u8], i128) -> Result<(), E>) -> Result<(), E> {
        let Some((val, sum)) = self.first else { return Ok(()) };
        if self.rest.is_empty() {
            return if sum == 0 { Ok(()) } else { visit(val.as_slice(), sum) };
        }
        let mut all = self.rest;
        all.push((val, sum));
        all.sort_by(|a, b| a.0.as_slice().cmp(b.0.as_slice()));
        for group in all.chunk_by(|a, b| a.0.as_slice() == b.0.as_slice()) {
            let sum: i128 = group.iter().map(|(_, sum)| sum).sum();
            if let Some((val, _)) = group.first()
                && sum != 0
            {
                visit(val.as_slice(), sum)?;
            }
        }
        Ok(())
    }
}

/// A version of a table's key as it is stored; see [`table_val`](crate::format::table_val).
#[derive(Clone, Debug)]
pub struct Version<'s> {
    /// Its time, and its value behind it.
    pub stored: ValRef<'s>,
    /// Whether it was put (1) or deletes the key (-1).
    pub diff: i64,
}

impl Version<'_> {
    /// Whether it is newer than `other`.
    #[inline]
    #[must_use]
    pub fn precedes(&self, other: &Version<'_>) -> bool {
        self.stored.as_slice() < other.stored.as_slice()
    }
}
