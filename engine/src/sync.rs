//! The one place that names locks and atomics, so that loom can replace them
//! (`RUSTFLAGS="--cfg datestone_loom"`).

mod signal;

pub use signal::{Signal, Wake};

#[cfg(not(datestone_loom))]
mod real {
    pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub use std::sync::Arc;
    pub use std::sync::atomic;
    pub use std::thread::yield_now;

    /// Waits for a notification of `condvar`, giving up `guard` meanwhile.
    pub fn wait<'a, T>(condvar: &Condvar, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(&mut guard);
        guard
    }

    /// As [`wait`], for at most `at_most`; whether that time passed.
    pub fn wait_for<'a, T>(
        condvar: &Condvar,
        mut guard: MutexGuard<'a, T>,
        at_most: std::time::Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let timed_out = condvar.wait_for(&mut guard, at_most).timed_out();
        (guard, timed_out)
    }
}

#[cfg(datestone_loom)]
mod real {
    //! loom's types behind parking_lot's signatures: no poisoning.
    pub use loom::sync::atomic;
    pub use loom::sync::{Arc, Condvar, MutexGuard};
    pub use loom::thread::yield_now;

    /// A mutex that loom watches.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }
        /// Locks it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a loom model does not poison")
        }
        /// Locks it if nobody else has.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// A lock for many readers or one writer that loom watches.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }
        /// Locks it for reading.
        pub fn read(&self) -> loom::sync::RwLockReadGuard<'_, T> {
            self.0.read().expect("a loom model does not poison")
        }
        /// Locks it for writing.
        pub fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("a loom model does not poison")
        }
    }

    /// Waits for a notification of `condvar`, giving up `guard` meanwhile.
    pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("a loom model does not poison")
    }

    /// As [`wait`]; no time passes in a loom model.
    pub fn wait_for<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        at_most: std::time::Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let _ = at_most;
        (wait(condvar, guard), false)
    }
}

pub use real::*;
