//! [`MergeCursor`]: several ordered sources read as one, equal entries side by side.
//!
//! A tree of losers over the sources: every inner node keeps the source that lost there, so after
//! the winner has moved, one comparison per level finds the next one. Comparisons run on cached
//! heads (the first 16 bytes of the key as a number) and touch keys and values only where heads are
//! equal. One source alone is passed through without any comparison.
//!
//! ```text
//! winner              of all
//! losers[1]           loser of the final            losers[0] is not used
//! losers[2] [3]       losers of the halves          leaf of source i = k + i (not stored)
//! ```
//!
//! # Invariants
//! 1. `winner` names a source whose entry is first in the direction of reading; every loser's
//!    entry is at or after that of the winner of its subtree.
//! 2. `winner.tied` is true exactly when another source stands on an equal entry.
//! 3. After an error the cursor is invalid and every later move returns the same error.

use crate::cursor::{Cursor, PlainRows};
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::hint::select_unpredictable;

/// In which order entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending by `(key, val)`.
    Forward,
    /// Descending by `(key, val)`.
    Reverse,
}

/// Merges sources; see the module's documentation. Unpositioned until the first seek, which also
/// decides the direction.
#[derive(Debug)]
pub struct MergeCursor<C> {
    sources: Vec<C>,
    /// The tournament, see the diagram; empty for fewer than two sources.
    losers: Vec<Player>,
    winner: Player,
    direction: Direction,
    group: Group,
    held_key: Vec<u8>,
    held_val: Vec<u8>,
    failed: Option<Error>,
}

/// Where the group that was read last stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// No group: the current entry was not visited.
    Outside,
    /// The current entry is the last one of the group: it lends the group its key and value.
    Current,
    /// Key and value of the group were copied; the current entry lies behind the group.
    Copied,
}

/// A source in the tournament.
#[derive(Clone, Copy, Debug)]
struct Player {
    /// First 16 bytes of the key as a number, turned round for reading in reverse; the greatest
    /// number when the source is exhausted.
    head: u128,
    source: u32,
    /// Whether a source that this one has beaten on its way here stands on an equal entry.
    tied: bool,
}

impl Player {
    /// Nobody has come to this node yet.
    const NOBODY: Self = Self { head: u128::MAX, source: u32::MAX, tied: false };
    /// The first source, with nobody to play against.
    const ALONE: Self = Self { head: 0, source: 0, tied: false };
}

impl<C: Cursor> MergeCursor<C> {
    /// Merges `sources`, in any order and however they are positioned.
    #[must_use]
    pub fn new(sources: Vec<C>) -> Self {
        Self {
            sources,
            losers: Vec::new(),
            winner: Player::ALONE,
            direction: Direction::Forward,
            group: Group::Outside,
            held_key: Vec::new(),
            held_val: Vec::new(),
            failed: None,
        }
    }

    /// To the first entry of all, reading forward from there.
    pub fn seek_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, C::seek_first)
    }

    /// To the last entry of all, reading in reverse from there.
    pub fn seek_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Reverse, C::seek_last)
    }

    /// To the first entry whose key is at or after `key`, reading forward from there.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.seek_all(Direction::Forward, |source| source.seek(key))
    }

    /// To the last entry whose key is before `key`, reading in reverse from there.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.seek_all(Direction::Reverse, |source| source.seek_before(key))
    }

    /// The source that stands on the current entry; `None` at the end and after an error.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Option<&C> {
        self.sources.get(self.winner()).filter(|source| source.valid())
    }

    /// Index of the current source among those given to [`MergeCursor::new`].
    #[inline]
    #[must_use]
    pub fn current_index(&self) -> usize {
        self.winner()
    }

    /// Whether another source stands on an entry equal to the current one.
    #[inline]
    #[must_use]
    pub fn has_equal(&self) -> bool {
        self.winner.tied // I2
    }

    /// The source with the first entry after the current one among all *other* sources; `None` when
    /// they are exhausted. Costs a comparison for every level of the tree.
    #[must_use]
    pub fn runner_up(&self) -> Option<&C> {
        let mut best: Option<Player> = None;
        let mut node = (self.sources.len() + self.winner()) / 2;
        while let Some(loser) = self.losers.get(node).filter(|_| node > 0) {
            if best.is_none_or(|best| self.order(loser, &best) == Ordering::Less) {
                best = Some(*loser);
            }
            node /= 2;
        }
        best.and_then(|player| self.sources.get(player.source as usize)).filter(|c| c.valid())
    }

    /// To the next entry in the direction of reading.
    #[inline]
    pub fn step(&mut self) -> Result<()> {
        let direction = self.direction;
        self.step_with(|source| match direction {
            Direction::Forward => source.next(),
            Direction::Reverse => source.prev(),
        })
    }

    /// Lets `advance` move the current source, in the direction of reading and past its current
    /// entry; does nothing at the end.
    #[inline]
    pub fn step_with(&mut self, advance: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let winner = self.winner();
        let Some(source) = self.sources.get_mut(winner).filter(|c| c.valid()) else {
            return self.failure(); // I3: after an error there is no source.
        };
        self.group = Group::Outside;
        if let Err(error) = advance(source) {
            return self.fail(error);
        }
        if !self.losers.is_empty() {
            self.replay(winner);
        }
        Ok(())
    }

    /// To the next *group*: all equal entries of all sources, each shown to `visit` together with
    /// the index of its source (a source's entries in its own order). Returns false at the end.
    /// Afterwards [`MergeCursor::key`] and [`MergeCursor::val`] are those of the group.
    #[inline]
    pub fn next_group(&mut self, mut visit: impl FnMut(usize, &C)) -> Result<bool> {
        self.leave_group()?;
        let Some(mut source) = self.current() else {
            return Ok(false);
        };
        loop {
            if source.may_repeat() {
                return self.copy_group(visit);
            }
            visit(self.winner(), source);
            if !self.has_equal() {
                self.group = Group::Current;
                return Ok(true);
            }
            self.step()?;
            // I2: an equal entry is left, so there is a current one.
            let Some(next) = self.current() else { return Ok(false) };
            source = next;
        }
    }

    /// Moves behind the group read last, so that the current entry is one not yet visited.
    #[inline]
    pub fn leave_group(&mut self) -> Result<()> {
        match self.group {
            Group::Current => self.step(),
            Group::Outside | Group::Copied => {
                self.group = Group::Outside;
                if self.sources.is_empty() { self.failure() } else { Ok(()) }
            }
        }
    }

    /// Key of the group read last.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        if self.group == Group::Copied {
            return &self.held_key;
        }
        self.current().map_or(&[], C::key)
    }

    /// Value of the group read last.
    #[inline]
    #[must_use]
    pub fn val(&self) -> &[u8] {
        if self.group == Group::Copied {
            return &self.held_val;
        }
        self.current().map_or(&[], C::val)
    }

    /// With one source, read forward: takes the plain rows under the cursor, see
    /// [`Cursor::take_plain`]. The group read last is the first of them; afterwards the last is.
    #[inline]
    pub fn take_plain(&mut self, end: Option<&[u8]>) -> Option<PlainRows> {
        match (self.sources.as_mut_slice(), self.direction) {
            ([source], Direction::Forward) => source.take_plain(end),
            _ => None,
        }
    }

    /// Key and value of the group read last.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> (&[u8], &[u8]) {
        if self.group == Group::Copied {
            return (&self.held_key, &self.held_val);
        }
        self.current().map_or((&[], &[]), C::entry)
    }

    /// The rest of a group whose current source may go on with an equal entry, so that equality has
    /// to be seen on the bytes.
    #[cold]
    fn copy_group(&mut self, mut visit: impl FnMut(usize, &C)) -> Result<bool> {
        if let Some(source) = self.sources.get(self.winner()) {
            self.held_key.clear();
            self.held_key.extend_from_slice(source.key());
            self.held_val.clear();
            self.held_val.extend_from_slice(source.val());
        }
        while let Some(source) = self.current() {
            if source.key() != self.held_key || source.val() != self.held_val {
                break;
            }
            visit(self.winner(), source);
            self.step()?;
        }
        self.group = Group::Copied;
        Ok(true)
    }

    fn seek_all(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        if self.failed.is_some() {
            return self.failure();
        }
        self.direction = direction;
        self.group = Group::Outside;
        for at in 0..self.sources.len() {
            if let Err(error) = seek(&mut self.sources[at]) {
                return self.fail(error);
            }
        }
        self.play_all();
        Ok(())
    }

    /// Plays the whole tournament: at every inner node the first to come waits for the second.
    fn play_all(&mut self) {
        let count = self.sources.len();
        self.losers.clear();
        self.winner = Player::ALONE;
        if count < 2 {
            return;
        }
        self.losers.resize(count, Player::NOBODY);
        for source in 0..count {
            let mut winner = self.player(source);
            let mut node = (count + source) / 2;
            while node > 0 && self.losers[node].source != Player::NOBODY.source {
                (winner, self.losers[node]) = self.play(self.losers[node], winner);
                node /= 2;
            }
            if node == 0 {
                self.winner = winner;
            } else {
                self.losers[node] = winner;
            }
        }
    }

    /// Plays the games of one source that has moved, from its leaf to the root. The winner so far
    /// is kept in scalars, and the swap is done without a branch: who wins cannot be predicted.
    #[inline]
    fn replay(&mut self, moved: usize) {
        let Player { mut head, mut source, mut tied } = self.player(moved);
        let mut node = (self.losers.len() + moved) / 2;
        while node > 0 {
            let loser = &mut self.losers[node];
            let other = *loser;
            if other.head == head {
                let (first, second) = self.play(Player { head, source, tied }, other);
                self.losers[node] = second;
                (head, source, tied) = (first.head, first.source, first.tied);
            } else {
                let loses = other.head < head;
                loser.head = select_unpredictable(loses, head, other.head);
                loser.source = select_unpredictable(loses, source, other.source);
                loser.tied = select_unpredictable(loses, tied, other.tied);
                head = select_unpredictable(loses, other.head, head);
                source = select_unpredictable(loses, other.source, source);
                tied = select_unpredictable(loses, other.tied, tied);
            }
            node /= 2;
        }
        self.winner = Player { head, source, tied };
    }

    /// Winner and loser of one game.
    fn play(&self, mut a: Player, mut b: Player) -> (Player, Player) {
        match self.order(&a, &b) {
            Ordering::Less => (a, b),
            Ordering::Greater => (b, a),
            Ordering::Equal if a.source < b.source => {
                a.tied = true;
                (a, b)
            }
            Ordering::Equal => {
                b.tied = true;
                (b, a)
            }
        }
    }

    #[inline]
    fn order(&self, a: &Player, b: &Player) -> Ordering {
        a.head.cmp(&b.head).then_with(|| self.order_of_entries(a, b))
    }

    /// The order of two players with equal heads. Exhausted sources come last and are never equal.
    fn order_of_entries(&self, a: &Player, b: &Player) -> Ordering {
        let (x, y) = (&self.sources[a.source as usize], &self.sources[b.source as usize]);
        match (x.valid(), y.valid()) {
            (true, true) => {
                let order = x.key().cmp(y.key()).then_with(|| x.val().cmp(y.val()));
                if self.direction == Direction::Reverse { order.reverse() } else { order }
            }
            (false, true) => Ordering::Greater,
            (_, false) => Ordering::Less,
        }
    }

    #[inline]
    fn player(&self, source: usize) -> Player {
        let cursor = &self.sources[source];
        let head = match (cursor.valid(), self.direction) {
            (false, _) => u128::MAX,
            (true, Direction::Forward) => key_head(cursor.key()),
            (true, Direction::Reverse) => !key_head(cursor.key()),
        };
        // Sources are open files or memory: there are never 2^32 of them.
        Player { head, source: source as u32, tied: false }
    }

    #[inline]
    fn winner(&self) -> usize {
        self.winner.source as usize
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Result<()> {
        self.failed = Some(error);
        // I3: without sources there is no current entry.
        self.sources.clear();
        self.losers.clear();
        self.winner = Player::ALONE;
        self.group = Group::Outside;
        self.failure()
    }

    #[cold]
    fn failure(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

/// The first 16 bytes of `key` as a big-endian number, shorter keys filled up with zeros: numbers
/// order as keys do, except that different keys may have the same number.
#[inline]
fn key_head(key: &[u8]) -> u128 {
    match key.first_chunk::<16>() {
        Some(head) => u128::from_be_bytes(*head),
        None => short_key_head(key),
    }
}

/// [`key_head`] of a key of fewer than 16 bytes: two overlapping words instead of a copy of unknown
/// length.
#[inline]
fn short_key_head(key: &[u8]) -> u128 {
    if let (Some(first), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        let (first, last) = (u64::from_be_bytes(*first), u64::from_be_bytes(*last));
        // `last` starts at byte `len - 8` of the key, where it agrees with what `first` holds.
        return (u128::from(first) << 64) | (u128::from(last) << (8 * (16 - key.len())));
    }
    let mut head = [0; 16];
    for (to, from) in head.iter_mut().zip(key) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}

#[cfg(test)]
mod tests;
