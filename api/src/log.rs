//! [`Log`]: an append-only sequence of events.

use crate::{Codec, Collection, CollectionInfo, Error, ErrorKind, Frontier, Result};
use datestone_engine::error::display_bytes;
use datestone_engine::format::log_key;
use datestone_engine::read::{self, RangeSpec};
use datestone_engine::snapshot::Snapshot;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;

/// How many events a log must have for an append to happen.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// use datestone::{ErrorKind, Expected};
/// let orders = db.log("orders")?;
/// orders.append_at(Expected::Empty, [&b"placed"[..]])?;
/// let refused = orders.append_at(Expected::Exact(7), [&b"paid"[..]]).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::UpperMismatch);
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// However many.
    #[default]
    Any,
    /// None.
    Empty,
    /// So many: the position of the first event appended.
    Exact(u64),
}

impl Expected {
    pub(crate) const fn position(self) -> Option<u64> {
        match self {
            Self::Any => None,
            Self::Empty => Some(0),
            Self::Exact(position) => Some(position),
        }
    }
}

/// A log: events at the positions 0, 1, 2 and so on, a source of truth. Nothing of it is ever
/// changed or forgotten, and every append is durable when it returns, whatever the database's
/// default is.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let orders: datestone::Log<str> = db.typed_log("orders")?;
/// orders.append_all(["placed", "paid"])?;
/// let events = orders.read(0)?.collect::<datestone::Result<Vec<_>>>()?;
/// assert_eq!(events, [(0, "placed".to_string()), (1, "paid".to_string())]);
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct Log<E: ?Sized = [u8]> {
    pub(crate) inner: Collection<[u8], E>,
}

impl<E: ?Sized> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<E: ?Sized> fmt::Debug for Log<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.inner).finish()
    }
}

impl<E: Codec + ?Sized> Log<E> {
    /// The name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.log("orders")?.name(), "orders");
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The log as a collection, for its changes, subscriptions and waiting: its keys are positions in
    /// 8 bytes, big-endian.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// orders.append_all(["placed", "paid"])?;
    /// assert_eq!(orders.as_collection().changes(0, 1)?.count(), 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    #[must_use]
    pub const fn as_collection(&self) -> &Collection<[u8], E> {
        &self.inner
    }

    /// Sizes and counts; its upper is the count of its events.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.log("orders")?.info()?.kind, datestone::Kind::Log);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped.
    pub fn info(&self) -> Result<CollectionInfo> {
        self.inner.info()
    }

    /// Count of its events: the position of the next one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.log("orders")?;
    /// orders.append(b"placed")?;
    /// assert_eq!(orders.len()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped.
    #[expect(clippy::len_without_is_empty, reason = "both can fail; one is enough")]
    pub fn len(&self) -> Result<u64> {
        Ok(self.inner.upper()?.ts().unwrap_or(u64::MAX))
    }

    /// Appends an event; its position.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.log("orders")?.append(b"placed")?, 0);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` when the event is too long; `NotFound` when the log was dropped; `Io`, `NoSpace`,
    /// `Poisoned`.
    pub fn append(&self, event: &E) -> Result<u64> {
        self.append_all([event])
    }

    /// Appends events, all or nothing; the position of the first one. The others follow it without
    /// a gap.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// assert_eq!(orders.append_all(["placed", "paid"])?, 0);
    /// assert_eq!(orders.append_all(["sent"])?, 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_all<'e>(&self, events: impl IntoIterator<Item = &'e E>) -> Result<u64>
    where
        E: 'e,
    {
        self.append_at(Expected::Any, events)
    }

    /// Appends events if the log has as many as expected; the position of the first one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// use datestone::Expected;
    /// let orders = db.typed_log::<str>("orders")?;
    /// orders.append_at(Expected::Empty, ["placed"])?;
    /// orders.append_at(Expected::Exact(1), ["paid"])?;
    /// assert!(orders.append_at(Expected::Exact(1), ["paid"]).is_err());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append); `UpperMismatch`, with the count of its events, when it has
    /// another one: nothing was appended then.
    pub fn append_at<'e>(
        &self,
        expected: Expected,
        events: impl IntoIterator<Item = &'e E>,
    ) -> Result<u64>
    where
        E: 'e,
    {
        let commit = crate::Commit::new(self.inner.db.clone());
        let done = commit.append_events_at(self, expected, events).run()?;
        Ok(done.position(self).unwrap_or_default())
    }

    /// Appends an event under an id, unless the log has it already; its position, or the earlier
    /// one. What a producer that tries again needs: the answer is the same after a restart.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// assert_eq!(orders.append_once(b"order-7", "placed")?, 0);
    /// assert_eq!(orders.append_once(b"order-8", "placed")?, 1);
    /// assert_eq!(orders.append_once(b"order-7", "placed")?, 0);
    /// assert!(orders.append_once(b"order-7", "something else").is_err());
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Self::append); `AlreadyExists` when the log has another event under this id.
    pub fn append_once(&self, id: &[u8], event: &E) -> Result<u64> {
        let earlier = loop {
            let commit = crate::Commit::new(self.inner.db.clone());
            match commit.append_once(self, id, event).run() {
                Ok(done) => return Ok(done.position(self).unwrap_or_default()),
                Err(Error::EventExists { position, .. }) => break position,
                // The same id is on its way in another thread: see what becomes of it.
                Err(e) if e.kind() == ErrorKind::Busy => std::thread::yield_now(),
                Err(e) => return Err(e),
            }
        };
        let mut scratch = Vec::new();
        let wanted = event.encode(&mut scratch);
        let mut same = false;
        self.snapshot()?.get(&log_key::event_key(earlier), |stored, _| {
            same = log_key::split_event(stored).1 == wanted;
            Ok(())
        })?;
        if same {
            return Ok(earlier);
        }
        let (log, id) = (self.name(), display_bytes(id));
        Err(Error::AlreadyExists {
            what: format!("another event with id {id} of log '{log}', at position {earlier},"),
        })
    }

    /// Position of the event with this id.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.log("orders")?;
    /// orders.append_once(b"order-7", b"placed")?;
    /// assert_eq!(orders.position_of(b"order-7")?, Some(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped; `Corruption`, `Io`.
    pub fn position_of(&self, id: &[u8]) -> Result<Option<u64>> {
        let mut position = None;
        if self.len()? > 0 {
            self.snapshot()?.get(&log_key::id_key(id), |val, _| {
                position = log_key::position_of(val);
                Ok(())
            })?;
        }
        Ok(position)
    }

    /// The event at a position, `None` when there is none yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// orders.append("placed")?;
    /// assert_eq!(orders.get(0)?.as_deref(), Some("placed"));
    /// assert_eq!(orders.get(1)?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped; `Corruption`, `Io`, and what decoding returns.
    pub fn get(&self, position: u64) -> Result<Option<E::Owned>> {
        let mut event = None;
        if position < self.len()? {
            self.snapshot()?.get(&log_key::event_key(position), |stored, _| {
                event = Some(E::decode(log_key::split_event(stored).1)?);
                Ok(())
            })?;
        }
        Ok(event)
    }

    /// The events from a position on, in order, up to the end of the log as it is now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let orders = db.typed_log::<str>("orders")?;
    /// orders.append_all(["placed", "paid", "sent"])?;
    /// assert_eq!(orders.read(1)?.count(), 2);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped.
    pub fn read(&self, from: u64) -> Result<LogEvents<E>> {
        let rows = if self.len()? == 0 {
            None
        } else {
            let bound = |position| log_key::event_key(position).to_vec();
            Some(self.snapshot()?.rows(RangeSpec {
                start: Bound::Included(bound(from)),
                end: Bound::Excluded(bound(log_key::LOG_ID_PREFIX)),
            }))
        };
        Ok(LogEvents { rows, failed: false, types: PhantomData })
    }

    /// What it holds now; it must not be empty.
    fn snapshot(&self) -> Result<Snapshot> {
        self.inner.db.latest(self.inner.id)
    }

    /// Count of its events as a frontier.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.log("orders")?.upper()?, datestone::Frontier::at(0));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the log was dropped.
    pub fn upper(&self) -> Result<Frontier> {
        self.inner.upper()
    }
}

/// An event of a log, as bytes where they lie.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let orders = db.log("orders")?;
/// orders.append_once(b"order-7", b"placed")?;
/// let mut events = orders.read(0)?;
/// assert_eq!(events.next_event()?.unwrap().id, Some(&b"order-7"[..]));
/// # Ok::<(), datestone::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEvent<'a> {
    /// Its position.
    pub position: u64,
    /// The id under which it was appended, if under one.
    pub id: Option<&'a [u8]>,
    /// The event.
    pub event: &'a [u8],
}

/// LogEvents of a log with their positions, in order; made by [`Log::read`].
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = datestone::Datestone::open(dir.path())?;
/// let orders = db.typed_log::<str>("orders")?;
/// orders.append("placed")?;
/// let mut events: datestone::LogEvents<str> = orders.read(0)?;
/// let first: datestone::LogEvent<'_> = events.next_event()?.unwrap();
/// assert_eq!((first.position, first.id, first.event), (0, None, &b"placed"[..]));
/// # Ok::<(), datestone::Error>(())
/// ```
pub struct LogEvents<E: ?Sized = [u8]> {
    /// `None` for a log without events.
    rows: Option<read::Rows<read::Source>>,
    failed: bool,
    types: PhantomData<fn(&E)>,
}

impl<E: ?Sized> fmt::Debug for LogEvents<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEvents").finish_non_exhaustive()
    }
}

impl<E: Codec + ?Sized> LogEvents<E> {
    /// The next event as bytes where they lie, and its id; `None` after the last one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// assert_eq!(db.log("orders")?.read(0)?.next_event()?, None);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Corruption` when a block is damaged, `Io`.
    pub fn next_event(&mut self) -> Result<Option<LogEvent<'_>>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let Some(row) = rows.next()? else { return Ok(None) };
        let position = log_key::position_of(row.key).ok_or_else(|| Error::Internal {
            what: format!("key {} of a log is no position", display_bytes(row.key)),
        })?;
        let (id, event) = log_key::split_event(row.val);
        Ok(Some(LogEvent { position, id: (!id.is_empty()).then_some(id), event }))
    }
}

impl<E: Codec + ?Sized> Iterator for LogEvents<E> {
    type Item = Result<(u64, E::Owned)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self
            .next_event()
            .and_then(|next| next.map(|e| Ok((e.position, E::decode(e.event)?))).transpose());
        self.failed = next.is_err();
        next.transpose()
    }
}
