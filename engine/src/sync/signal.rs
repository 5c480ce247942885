//! [`Signal`]: a number that threads wait for.
//!
//! What a condition variable does for many waiters costs a wake-up and a turn at the lock for each
//! of them, one after the other. Here they wait for the number itself: one call of the system wakes
//! all, and none needs a lock to go on.

pub use real::Signal;

/// Whom a change of a [`Signal`] wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// One of those that wait, if any does.
    One,
    /// All that wait.
    All,
}

#[cfg(all(target_os = "linux", feature = "platform", not(any(datestone_loom, datestone_shuttle))))]
mod real {
    use super::Wake;
    use rustix::io::Errno;
    use rustix::thread::futex;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// See the module's documentation. On a futex, which looks at the number before it lets a
    /// thread sleep: so who changes it and then wakes is never missed.
    #[derive(Debug)]
    pub struct Signal(AtomicU32);

    impl Signal {
        /// A signal that is at `value`.
        pub const fn new(value: u32) -> Self {
            Self(AtomicU32::new(value))
        }

        /// Waits while it is at `value`; what it is at then. Sees what came before the change.
        pub fn wait_while(&self, value: u32) -> u32 {
            loop {
                // Acquire: partner of `set`.
                let now = self.0.load(Ordering::Acquire);
                if now != value {
                    return now;
                }
                match futex::wait(&self.0, futex::Flags::PRIVATE, value, None) {
                    Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                    // Not known to happen; waiting goes on, at a cost.
                    Err(_) => std::thread::yield_now(),
                }
            }
        }

        /// Puts it to `to` if it is at `from`; whether it was. Wakes nobody.
        pub fn replace(&self, from: u32, to: u32) -> bool {
            // Acquire: as in `wait_while`. Nothing is released to those that see `to`.
            self.0.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
        }

        /// Puts it to `value` and wakes.
        pub fn set(&self, value: u32, wake: Wake) {
            // Release: whoever sees the value sees what was done before.
            self.0.store(value, Ordering::Release);
            let most = match wake {
                Wake::One => 1,
                Wake::All => i32::MAX as u32,
            };
            // Fails for bad addresses only, and `self` is a good one.
            let _ = futex::wake(&self.0, futex::Flags::PRIVATE, most);
        }
    }
}

#[cfg(not(all(
    target_os = "linux",
    feature = "platform",
    not(any(datestone_loom, datestone_shuttle))
)))]
mod real {
    use super::Wake;
    use crate::sync::{Condvar, Mutex, wait};

    /// See the module's documentation. Without a futex: a lock, and a condition variable.
    #[derive(Debug)]
    pub struct Signal {
        value: Mutex<u32>,
        changed: Condvar,
    }

    impl Signal {
        /// A signal that is at `value`.
        pub fn new(value: u32) -> Self {
            Self { value: Mutex::new(value), changed: Condvar::new() }
        }

        /// Waits while it is at `value`; what it is at then. Sees what came before the change.
        pub fn wait_while(&self, value: u32) -> u32 {
            let mut now = self.value.lock();
            while *now == value {
                now = wait(&self.changed, now);
            }
            *now
        }

        /// Puts it to `to` if it is at `from`; whether it was. Wakes nobody.
        pub fn replace(&self, from: u32, to: u32) -> bool {
            let mut now = self.value.lock();
            let was = *now == from;
            if was {
                *now = to;
            }
            was
        }

        /// Puts it to `value` and wakes.
        pub fn set(&self, value: u32, wake: Wake) {
            *self.value.lock() = value;
            // parking_lot says how many it woke.
            match wake {
                Wake::One => _ = self.changed.notify_one(),
                Wake::All => _ = self.changed.notify_all(),
            }
        }
    }
}

#[cfg(all(test, not(any(datestone_loom, datestone_shuttle))))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Goal: nobody sleeps through a change, whether it comes before, while or after a thread begins
    /// to wait, and a turn is taken by one. Method: threads hand a turn on, until all rounds are over.
    #[test]
    fn no_wake_up_is_missed_and_a_turn_is_taken_once() {
        const ROUNDS: u32 = 5_000;
        let (signal, taken) = (Signal::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while signal.wait_while(0) != 2 {
                        if signal.replace(1, 0) {
                            let before = taken.fetch_add(1, Ordering::Relaxed);
                            match before + 1 == ROUNDS {
                                true => signal.set(2, Wake::All),
                                false => signal.set(1, Wake::One),
                            }
                        }
                    }
                });
            }
            signal.set(1, Wake::One);
        });
        assert_eq!(taken.load(Ordering::Relaxed), ROUNDS);
        assert_eq!(signal.wait_while(0), 2);
    }
}
