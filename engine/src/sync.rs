//! The one place that names locks, atomics and channels, so that loom and shuttle can replace them
//! (`RUSTFLAGS="--cfg datestone_loom"`, `RUSTFLAGS="--cfg datestone_shuttle"`).
//!
//! loom tries every order of a few steps, with the memory orders that were asked for; shuttle takes the
//! whole engine through orders drawn by chance, with every access sequentially consistent.

mod signal;

pub use signal::{Signal, Wake};

#[cfg(not(any(datestone_loom, datestone_shuttle)))]
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

#[cfg(datestone_shuttle)]
mod real {
    //! shuttle's types behind parking_lot's signatures: no poisoning.
    pub use shuttle::sync::atomic;
    pub use shuttle::sync::{Arc, Condvar, MutexGuard};
    pub use shuttle::thread::yield_now;

    use shuttle::rand::Rng as _;
    use std::sync::{PoisonError, TryLockError};

    /// A mutex whose locking is a step of the schedule.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A mutex around `value`.
        pub const fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }
        /// Locks it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
        /// Locks it if nobody else has.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    /// A lock for many readers or one writer whose locking is a step of the schedule.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        /// A lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }
        /// Locks it for reading.
        pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }
        /// Locks it for writing.
        pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Waits for a notification of `condvar`, giving up `guard` meanwhile.
    pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`]; chance says whether the time passes first.
    pub fn wait_for<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        at_most: std::time::Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let _ = at_most;
        if shuttle::rand::thread_rng().gen_bool(0.5) {
            return (guard, true);
        }
        (wait(condvar, guard), false)
    }
}

/// Channels with a bound.
pub mod channel {
    #[cfg(not(datestone_shuttle))]
    pub use crossbeam_channel::{Receiver, Sender, bounded};

    #[cfg(datestone_shuttle)]
    pub use shuttle::sync::mpsc::{Receiver, SyncSender as Sender, sync_channel as bounded};
}

pub use real::*;
