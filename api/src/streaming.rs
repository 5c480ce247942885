//! Reading along the time axis: history, changes, waiting, holds, and the way to subscriptions.

use crate::{
    Codec, Collection, Frontier, KeyRange, Result, Rows, Snapshot, Subscription, UpdateRows,
};
use datestone_engine::holds::ReadHold as EngineHold;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

impl<K: Codec + ?Sized, V: Codec + ?Sized> Collection<K, V> {
    /// The updates with keys in `keys` and times in `times`, in order of `(key, val, ts)`, equal
    /// ones added up. Times below since count as since, before and after any compaction. Without an
    /// end the times go up to upper. Reads as it goes, in bounded memory; what comes later changes
    /// nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::KeyRange;
    /// let stock = db.typed::<str, ()>("stock")?;
    /// stock.append([("tea", &(), 2, 5), ("tea", &(), 4, -1), ("tea", &(), 9, -1)])?;
    /// stock.advance_upper(10)?;
    /// let mut history = stock.history(&KeyRange::all(), 3..9)?;
    /// assert_eq!(history.next_update()?.map(|u| (u.ts, u.diff)), Some((4, -1)));
    /// assert_eq!(history.next_update()?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotYet` when the times go beyond upper; `NotFound` when the collection was dropped.
    pub fn history(&self, keys: &KeyRange, times: impl RangeBounds<u64>) -> Result<UpdateRows> {
        let lower = match times.start_bound() {
            Bound::Unbounded => Some(0),
            Bound::Included(ts) => Some(*ts),
            Bound::Excluded(ts) => ts.checked_add(1),
        };
        let upper = match times.end_bound() {
            Bound::Unbounded => None,
            Bound::Included(ts) => Some(Frontier::just_beyond(*ts)),
            Bound::Excluded(ts) => Some(Frontier::at(*ts)),
        };
        // Nothing lies beyond the last timestamp.
        let (lower, upper) = match lower {
            Some(lower) => (lower, upper),
            None => (0, Some(Frontier::MIN)),
        };
        Ok(UpdateRows::new(self.db.history(self.id, keys.0.clone(), lower, upper)?))
    }

    /// What differs between the contents at `from` and at `to`, in order of `(key, val)`: rows
    /// whose diff is by how much the multiplicity has changed. Takes work in proportion to what has
    /// times beyond `from` up to `to`, not to what is stored.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let roles = db.typed::<str, str>("roles")?;
    /// roles.append([("alice", "owner", 1, 1), ("bob", "user", 1, 1)])?;
    /// roles.append([("alice", "owner", 2, -1), ("alice", "user", 2, 1)])?;
    /// roles.advance_upper(3)?;
    /// let changes = roles.changes(1, 2)?.collect::<datestone::Result<Vec<_>>>()?;
    /// let shown: Vec<_> = changes.iter().map(|row| (row.val.as_str(), row.diff)).collect();
    /// assert_eq!(shown, [("owner", -1), ("user", 1)]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` or `NotYet` when one of the times cannot be read, `Invalid` when `from` lies
    /// behind `to`.
    pub fn changes(&self, from: u64, to: u64) -> Result<Rows<K, V>> {
        self.changes_in(&KeyRange::all(), from, to)
    }

    /// As [`changes`](Self::changes), of the keys in a range.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::KeyRange;
    /// let numbers = db.typed::<u64, ()>("numbers")?;
    /// numbers.append([(&1, &(), 1, 1), (&2, &(), 1, 1)])?;
    /// numbers.advance_upper(2)?;
    /// let changes = numbers.changes_in(&KeyRange::of::<u64, u64>(2..), 0, 1)?;
    /// assert_eq!(changes.count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    pub fn changes_in(&self, keys: &KeyRange, from: u64, to: u64) -> Result<Rows<K, V>> {
        Ok(Rows::new(self.db.changes(self.id, keys.0.clone(), from, to)?))
    }

    /// The contents at `as_of`, waiting until upper passes it, at most `at_most`. The thread sleeps
    /// until the commit that closes that time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use std::time::Duration;
    /// let words = db.typed::<str, ()>("words")?;
    /// std::thread::scope(|scope| {
    ///     let reader = scope.spawn(|| words.snapshot_wait(0, Duration::from_secs(60))?.count());
    ///     words.append([("a", &(), 0, 1)])?;
    ///     words.advance_upper(1)?;
    ///     assert_eq!(reader.join().unwrap()?, 1);
    ///     Ok::<(), datestone::Error>(())
    /// })?;
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotYet` when that time has passed; at once `Compacted` when `as_of` lies below since,
    /// `Closed` when the database is closed, `NotFound` when the collection is dropped.
    pub fn snapshot_wait(&self, as_of: u64, at_most: Duration) -> Result<Snapshot<K, V>> {
        Ok(Snapshot::new(self.db.snapshot_wait(self.id, as_of, at_most)?))
    }

    /// Exactly the updates with times beyond `as_of`, in order of time, as upper passes them; times
    /// that upper has passed already first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::{Event, Frontier};
    /// let words = db.typed::<str, ()>("words")?;
    /// let mut news = words.listen(0)?;
    /// assert!(news.try_next()?.is_none());
    /// words.append([("a", &(), 0, 1), ("b", &(), 3, 1)])?;
    /// words.advance_upper(4)?;
    /// let Some(Event::Updates(updates)) = news.try_next()? else { panic!("news") };
    /// assert_eq!(updates.iter().map(|u| (u.key, u.ts)).collect::<Vec<_>>(), [(&b"b"[..], 3)]);
    /// assert!(matches!(news.try_next()?, Some(Event::Progress(frontier)) if frontier == Frontier::at(4)));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when `as_of` lies below since, `NotFound`, `Closed`.
    pub fn listen(&self, as_of: u64) -> Result<Subscription<K, V>> {
        Ok(Subscription::new(self.db.listen(self.id, as_of, "listen")?))
    }

    /// The contents at `as_of`, as updates of that time, and then what [`listen`](Self::listen)
    /// gives: no gap, no overlap.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::Event;
    /// let words = db.typed::<str, ()>("words")?;
    /// words.append([("a", &(), 1, 1), ("b", &(), 3, 1)])?;
    /// words.advance_upper(4)?;
    /// let mut all = words.subscribe(2)?;
    /// let mut seen = Vec::new();
    /// while let Some(event) = all.try_next()? {
    ///     if let Event::Updates(updates) = event {
    ///         seen.extend(updates.iter().map(|u| (u.key.to_vec(), u.ts)));
    ///     }
    /// }
    /// assert_eq!(seen, [(b"a".to_vec(), 2), (b"b".to_vec(), 3)]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` or `NotYet` when `as_of` cannot be read, `NotFound`, `Closed`.
    pub fn subscribe(&self, as_of: u64) -> Result<Subscription<K, V>> {
        Ok(Subscription::new(self.db.subscribe(self.id, as_of, "subscribe")?))
    }

    /// Keeps since at or below `ts`, whatever others allow to be forgotten, until the hold is
    /// dropped. `owner` tells people who it is. It is not durable: it ends with the process.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::Frontier;
    /// let words = db.collection("words")?;
    /// let hold = words.hold(3, "nightly report")?;
    /// assert_eq!(words.compact_below(8)?, Frontier::at(3));
    /// assert_eq!(words.requested_since()?, Frontier::at(8));
    /// drop(hold); // What was held back takes effect soon, or at once with the next compaction.
    /// words.compact()?;
    /// assert_eq!(words.since()?, Frontier::at(8));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` when since is beyond `ts` already, `Invalid` when `owner` has more than 255
    /// bytes, `NotFound`, `Closed`.
    pub fn hold(&self, ts: u64, owner: &str) -> Result<ReadHold> {
        Ok(ReadHold { hold: self.db.hold(self.id, ts, owner)? })
    }

    /// Who keeps since from rising, oldest first; subscriptions too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// let _hold = words.hold(3, "nightly report")?;
    /// let _news = words.listen(7)?;
    /// let owners: Vec<_> = words.holds().into_iter().map(|hold| hold.owner).collect();
    /// assert_eq!(owners, ["nightly report", "listen"]);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn holds(&self) -> Vec<HoldInfo> {
        let all = self.db.holds().into_iter().filter(|hold| hold.collection == self.id);
        all.map(|hold| HoldInfo { owner: hold.owner.to_string(), at: hold.at, seqno: hold.seqno.0 })
            .collect()
    }

    /// The greatest since that was asked for: beyond [`since`](Self::since) where holds keep it
    /// back. It is remembered while the database is open.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// words.compact_below(8)?;
    /// assert_eq!(words.requested_since()?, words.since()?);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the collection was dropped.
    pub fn requested_since(&self) -> Result<Frontier> {
        self.db.requested_since(self.id)
    }
}

/// Keeps the since of a collection at or below a time; made by [`Collection::hold`], released when
/// dropped. Dropping it does no I/O and waits for nobody.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.collection("words")?;
/// let hold: datestone::ReadHold = words.hold(3, "nightly report")?;
/// drop(hold);
/// assert!(words.holds().is_empty());
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadHold {
    hold: EngineHold,
}

impl ReadHold {
    /// Where it holds.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let hold = db.collection("words")?.hold(3, "nightly report")?;
    /// assert_eq!(hold.at(), datestone::Frontier::at(3));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn at(&self) -> Frontier {
        self.hold.at()
    }

    /// Lets go of the times below `at`; a lower one than before changes nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.collection("words")?;
    /// let mut hold = words.hold(3, "nightly report")?;
    /// hold.downgrade(5);
    /// assert_eq!(words.compact_below(8)?.ts(), Some(5));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    pub fn downgrade(&mut self, at: impl Into<Frontier>) {
        self.hold.downgrade(at.into());
    }
}

/// What is known of a hold on a collection.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let words = db.collection("words")?; // The first commit.
/// let _hold = words.hold(3, "nightly report")?;
/// let info: datestone::HoldInfo = words.holds().remove(0);
/// assert_eq!((info.owner.as_str(), info.at.ts(), info.seqno), ("nightly report", Some(3), 1));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldInfo {
    /// Who holds, in words for people.
    pub owner: String,
    /// Since stays at or below this.
    pub at: Frontier,
    /// The last commit when the hold was made.
    pub seqno: u64,
}
