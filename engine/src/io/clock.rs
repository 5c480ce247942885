//! Time and chance: the system's, and one that tests move by hand.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Clock;
use crate::sync::Mutex;

/// The system's clock and chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsClock;

/// Where [`OsClock::monotonic`] counts from.
static START: OnceLock<Instant> = OnceLock::new();

impl Clock for OsClock {
    #[expect(clippy::disallowed_methods, reason = "this is the layer that reads clocks")]
    fn monotonic(&self) -> Duration {
        START.get_or_init(Instant::now).elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that reads clocks")]
    fn unix_seconds(&self) -> u64 {
        // A clock before 1970 is only worth a 0: nothing is decided by it.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that sleeps")]
    fn sleep(&self, how_long: Duration) {
        std::thread::sleep(how_long);
    }

    #[expect(clippy::disallowed_methods, reason = "this is the layer that reads clocks")]
    fn random_u64(&self) -> u64 {
        // The keys of a RandomState come from the system's random source; time and process are
        // mixed in for a system whose source is poor.
        let mut hasher = RandomState::new().build_hasher();
        if let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) {
            hasher.write_u128(since.as_nanos());
        }
        hasher.write_u32(std::process::id());
        hasher.finish()
    }
}

/// A clock for tests: it stands still until [`ManualClock::advance`] or a sleep moves it, and its
/// chance follows from a seed. Clones share one time and one sequence.
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now: Duration,
    chance: Chance,
}

/// What [`ManualClock::unix_seconds`] starts at: 2020-01-01.
const MANUAL_START_SECONDS: u64 = 1_577_836_800;

impl ManualClock {
    /// A clock at zero whose chance follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = ManualState { now: Duration::ZERO, chance: Chance::new(seed) };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.now = state.now.saturating_add(by);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.state.lock().now
    }

    fn unix_seconds(&self) -> u64 {
        MANUAL_START_SECONDS.saturating_add(self.state.lock().now.as_secs())
    }

    fn sleep(&self, how_long: Duration) {
        self.advance(how_long);
    }

    fn random_u64(&self) -> u64 {
        self.state.lock().chance.next_u64()
    }
}

/// A small seeded generator (SplitMix64) for everything in this layer that must repeat.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The sequence of `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }
}
