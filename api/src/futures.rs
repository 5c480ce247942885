//! Waiting without a thread: futures for any runtime, woken by the same notification as threads.
//!
//! Polling one reads from memory and disk like the blocking calls do, a piece of bounded size at a
//! time; only the waiting is asynchronous.

use crate::{Codec, Collection, ErrorKind, Event, Result, Snapshot, Subscription};
use datestone_engine::watch::Registration;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<K: Codec + ?Sized, V: Codec + ?Sized> Collection<K, V> {
    /// As [`snapshot_wait`](Self::snapshot_wait), as a future without an end to the waiting: bound
    /// it with the runtime's means. Dropping it takes the waiting back.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let waiting = words.snapshot_async(0);
    /// words.append([("a", &(), 0, 1)])?;
    /// words.advance_upper(1)?;
    /// assert_eq!(pollster::block_on(waiting)?.count()?, 1);
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`snapshot_wait`](Self::snapshot_wait), but for `NotYet`.
    pub fn snapshot_async(
        &self,
        as_of: u64,
    ) -> impl Future<Output = Result<Snapshot<K, V>>> + Send + use<K, V> {
        SnapshotFuture { collection: self.clone(), as_of, registered: None }
    }
}

impl<K: ?Sized, V: ?Sized> Subscription<K, V> {
    /// As [`next`](Self::next), as a future without an end to the waiting; dropping it loses
    /// nothing. `None` when upper is closed and everything was delivered.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = datestone::Datestone::open(dir.path())?;
    /// let words = db.typed::<str, ()>("words")?;
    /// let mut news = words.listen(0)?;
    /// words.advance_upper(2)?;
    /// let event = pollster::block_on(news.next_async())?;
    /// assert!(matches!(event, Some(datestone::Event::Progress(_))));
    /// # Ok::<(), datestone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next_async(&mut self) -> impl Future<Output = Result<Option<Event<K, V>>>> + Send {
        EventFuture { subscription: self, registered: None }
    }
}

struct SnapshotFuture<K: ?Sized, V: ?Sized> {
    collection: Collection<K, V>,
    as_of: u64,
    registered: Option<Registration>,
}

impl<K: Codec + ?Sized, V: Codec + ?Sized> Future for SnapshotFuture<K, V> {
    type Output = Result<Snapshot<K, V>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (db, id) = (&this.collection.db, this.collection.id);
        // Before looking, so that no change is missed.
        this.registered = Some(db.watch(id, context.waker().clone()));
        match this.collection.snapshot(this.as_of) {
            Err(e) if e.kind() == ErrorKind::NotYet => Poll::Pending,
            found => Poll::Ready(found),
        }
    }
}

struct EventFuture<'s, K: ?Sized, V: ?Sized> {
    subscription: &'s mut Subscription<K, V>,
    registered: Option<Registration>,
}

impl<K: ?Sized, V: ?Sized> Future for EventFuture<'_, K, V> {
    type Output = Result<Option<Event<K, V>>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.registered = Some(this.subscription.inner.watch(context.waker().clone()));
        match this.subscription.try_next() {
            Ok(None) if !this.subscription.frontier().is_closed() => Poll::Pending,
            event => Poll::Ready(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Collection, Datestone, ErrorKind, Event, Frontier};

    fn words() -> (tempfile::TempDir, Datestone, Collection<str, ()>) {
        let dir = tempfile::tempdir().unwrap();
        let db = Datestone::open(dir.path()).unwrap();
        let words = db.typed::<str, ()>("words").unwrap();
        (dir, db, words)
    }

    /// Goal: futures that wait are woken by commits, drops and the closing. Method: each waits on a
    /// thread of its own while this one commits.
    #[test]
    fn futures_are_woken() {
        let (_dir, db, words) = words();
        std::thread::scope(|scope| {
            let snapshot = scope.spawn(|| pollster::block_on(words.snapshot_async(5))?.count());
            let mut news = words.listen(0).unwrap();
            let listener = scope.spawn(move || {
                let mut seen = Vec::new();
                loop {
                    match pollster::block_on(news.next_async()).unwrap() {
                        Some(Event::Updates(updates)) => {
                            seen.extend(updates.iter().map(|update| update.ts));
                        }
                        Some(Event::Progress(_)) => {}
                        None => return seen,
                    }
                }
            });
            for ts in 1..6 {
                words.append([("a", &(), ts, 1)]).unwrap();
                words.advance_upper(ts + 1).unwrap();
            }
            words.advance_upper(Frontier::CLOSED).unwrap();
            assert_eq!(snapshot.join().unwrap().unwrap(), 1);
            assert_eq!(listener.join().unwrap(), [1, 2, 3, 4, 5]);
        });
        let more = db.typed::<str, ()>("more").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pollster::block_on(more.snapshot_async(5)).err());
            db.drop_collection("more").unwrap();
            let error = waiting.join().unwrap().unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        });
        let other = db.typed::<str, ()>("other").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pollster::block_on(other.snapshot_async(5)).err());
            db.clone().close().unwrap();
            assert_eq!(waiting.join().unwrap().unwrap().kind(), ErrorKind::Closed);
        });
    }
}
