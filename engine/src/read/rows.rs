//! [`Rows`]: the consolidated rows of a snapshot, in order.
//!
//! The sources' time windows end at the snapshot's as-of, so adding up what they show gives the
//! contents at that time.
//!
//! # Invariants
//! 1. Rows come in strictly ascending (or, reversed, descending) order of `(key, val)`, each with a
//!    diff that is not zero.
//! 2. After an error every call returns the same error; after the end every call returns `None`.

use super::merge::{Direction, MergeCursor};
use super::range::RangeSpec;
use crate::cursor::{Cursor, PlainRows};
use crate::error::{Error, Result, display_bytes};
use std::sync::Arc;

/// A row of a collection: `diff` copies of `(key, val)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub val: &'a [u8],
    /// The multiplicity; never zero.
    pub diff: i64,
}

/// Reads the rows of a range of keys; see the module's documentation.
#[derive(Debug)]
pub struct Rows<C> {
    merge: MergeCursor<C>,
    collection: Arc<str>,
    range: RangeSpec,
    direction: Direction,
    /// The first key that is no longer wanted (forward), or the least key that is (reverse).
    limit: Option<Vec<u8>>,
    state: State,
    /// Rows that are read before the merge is asked again; its current group is the last of them.
    plain: PlainRows,
}

#[derive(Debug)]
enum State {
    /// Nothing was read yet.
    Unread,
    Reading,
    Ended,
    Failed(Error),
}

impl<C: Cursor> Rows<C> {
    /// The rows that `sources` add up to in `range`, forward. The name of the collection is for
    /// errors. Nothing is read before the first row is asked for.
    #[must_use]
    pub fn new(sources: Vec<C>, collection: Arc<str>, range: RangeSpec) -> Self {
        Self {
            merge: MergeCursor::new(sources),
            collection,
            range,
            direction: Direction::Forward,
            limit: None,
            state: State::Unread,
            plain: PlainRows::default(),
        }
    }

    /// The same rows in the other direction. Only before the first row was read: later it starts
    /// again at the other end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.direction = match self.direction {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        };
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Unread;
            self.plain = PlainRows::default();
        }
        self
    }

    /// The next row, `None` after the last one.
    ///
    /// # Errors
    /// [`Error::DiffOverflow`] when a multiplicity leaves 64 bits, and what the sources meet.
    #[expect(clippy::should_implement_trait, reason = "a lending iterator is no `Iterator`")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Row<'_>>> {
        if self.plain.left == 0 {
            let Some(diff) = self.advance()? else {
                return Ok(None);
            };
            match self.merge.take_plain(self.limit.as_deref()) {
                Some(plain) => self.plain = plain,
                None => {
                    let (key, val) = self.merge.entry();
                    return Ok(Some(Row { key, val, diff }));
                }
            }
        }
        Ok(self.plain.next_row().map(|(key, val)| Row { key, val, diff: 1 }))
    }

    /// Reads all the remaining rows and counts them.
    ///
    /// # Errors
    /// Those of [`Rows::next`].
    pub fn count(mut self) -> Result<u64> {
        let mut count = u64::from(self.plain.left);
        while self.advance()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// To the next row, whose diff is returned.
    #[inline]
    fn advance(&mut self) -> Result<Option<i64>> {
        if !matches!(self.state, State::Reading) && !self.enter()? {
            return Ok(None);
        }
        loop {
            let mut sum = 0_i128;
            match self.merge.next_group(|_, source| sum += source.sum()) {
                Ok(true) => {}
                Ok(false) => return Ok(self.end()),
                Err(error) => return self.fail(error),
            }
            if sum == 0 {
                continue;
            }
            if !self.within_limit() {
                return Ok(self.end());
            }
            return match i64::try_from(sum) {
                Ok(diff) => Ok(Some(diff)),
                Err(_) => self.fail_overflow(),
            };
        }
    }

    /// Leaves any state but `Reading`; returns whether there is something to read.
    #[cold]
    fn enter(&mut self) -> Result<bool> {
        match &self.state {
            State::Ended => Ok(false),
            State::Failed(error) => Err(error.clone()),
            State::Unread | State::Reading => {
                let sought = self.seek();
                self.state = State::Reading;
                match sought {
                    Ok(()) => Ok(true),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    fn seek(&mut self) -> Result<()> {
        let (first, end) = (self.range.first_key(), self.range.end_key());
        match self.direction {
            Direction::Forward => {
                self.limit = end;
                match first {
                    Some(key) => self.merge.seek(&key),
                    None => self.merge.seek_first(),
                }
            }
            Direction::Reverse => {
                self.limit = first;
                match end {
                    Some(key) => self.merge.seek_before(&key),
                    None => self.merge.seek_last(),
                }
            }
        }
    }

    #[inline]
    fn within_limit(&self) -> bool {
        match (&self.limit, self.direction) {
            (None, _) => true,
            (Some(end), Direction::Forward) => self.merge.key() < end.as_slice(),
            (Some(first), Direction::Reverse) => self.merge.key() >= first.as_slice(),
        }
    }

    #[cold]
    fn end(&mut self) -> Option<i64> {
        self.state = State::Ended;
        None
    }

    #[cold]
    fn fail<T>(&mut self, error: Error) -> Result<T> {
        self.state = State::Failed(error.clone());
        Err(error)
    }

    #[cold]
    fn fail_overflow<T>(&mut self) -> Result<T> {
        let (collection, key) = (self.collection.to_string(), display_bytes(self.merge.key()));
        self.fail(Error::DiffOverflow { collection, key })
    }
}

#[cfg(test)]
mod tests;
