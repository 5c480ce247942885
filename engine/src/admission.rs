//! [`Admission`]: a commit begins only when there is memory for what it will insert.
//!
//! # Invariants
//! 1. What is in memtables and what is promised to commits that have begun are together never more
//!    than the share. A commit that was inserted counts twice until it ends, which is on the safe
//!    side.
//! 2. Who waits holds no promise, so that the wait ends.

use crate::sync::{Condvar, Mutex, wait};

/// Hands out the share of the memory that memtables have.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Bytes; `None` when nothing limits them.
    share: Option<u64>,
    /// Bytes of a memtable with nothing in it. Each commit may be followed by a freeze, which makes
    /// one, and so may the last one before the next is let in.
    empty_bytes: u64,
    /// Bytes promised to commits that have begun.
    promised: Mutex<u64>,
    /// Notified when a promise ends.
    ended: Condvar,
}

/// A promise of memory, kept until it is dropped.
#[derive(Debug)]
pub(crate) struct Promise<'a> {
    admission: &'a Admission,
    bytes: u64,
}

/// Why there is no memory now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Whether other commits have promises that will end.
    pub(crate) others_end: bool,
}

impl Admission {
    pub(crate) fn new(share: Option<u64>, empty_bytes: u64) -> Self {
        Self { share, empty_bytes, promised: Mutex::new(0), ended: Condvar::new() }
    }

    /// Most bytes that can ever be promised to one commit; `None` when nothing limits them.
    pub(crate) fn most(&self) -> Option<u64> {
        // Beside the memtable that there always is.
        self.share.map(|share| share.saturating_sub(3 * self.empty_bytes))
    }

    /// Promises `bytes` if they are there beside those that are in use. `in_use` is asked while
    /// nobody else is promised anything.
    pub(crate) fn enter(
        &self,
        bytes: u64,
        in_use: impl FnOnce() -> u64,
    ) -> Result<Promise<'_>, Full> {
        let Some(share) = self.share else { return Ok(Promise { admission: self, bytes: 0 }) };
        let bytes = bytes.saturating_add(self.empty_bytes);
        let mut promised = self.promised.lock();
        let wanted = in_use().saturating_add(*promised).saturating_add(bytes);
        if wanted.saturating_add(self.empty_bytes) > share {
            return Err(Full { others_end: *promised > 0 });
        }
        *promised += bytes;
        Ok(Promise { admission: self, bytes })
    }

    /// Waits until a promise has ended, if there is any.
    pub(crate) fn wait_for_end(&self) {
        let promised = self.promised.lock();
        if *promised > 0 {
            drop(wait(&self.ended, promised));
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            *self.admission.promised.lock() -= self.bytes;
            self.admission.ended.notify_all();
        }
    }
}

#[cfg(all(test, not(datestone_loom)))]
mod tests {
    use super::*;

    #[test]
    fn promises_and_use_stay_within_the_share() {
        let admission = Admission::new(Some(100), 0);
        let first = admission.enter(60, || 0).unwrap();
        assert_eq!(admission.enter(41, || 0).unwrap_err(), Full { others_end: true });
        let second = admission.enter(40, || 0).unwrap();
        drop(first);
        assert!(admission.enter(1, || 60).is_err());
        drop(second);
        assert_eq!(admission.enter(41, || 60).unwrap_err(), Full { others_end: false });
        assert!(admission.enter(40, || 60).is_ok());
        admission.wait_for_end();
        let admission = Admission::new(Some(100), 10);
        assert_eq!(admission.most(), Some(70));
        assert!(admission.enter(71, || 10).is_err());
        assert!(admission.enter(70, || 10).is_ok());
        let none = Admission::new(None, 0);
        assert!(none.enter(u64::MAX, || u64::MAX).is_ok());
    }
}
