//! Where chance comes from: one seed for a whole test, printed and settable.

use datestone_engine::io::{Clock, OsClock};

/// The variable that sets the seed.
const VARIABLE: &str = "DATESTONE_SEED";

/// The seed of this run: `DATESTONE_SEED` when it is set, otherwise a new one. It is printed under
/// the name of the test, so that a failure can be repeated.
///
/// # Panics
/// When `DATESTONE_SEED` is not a number.
#[must_use]
#[expect(clippy::print_stderr, reason = "the seed of a failing run must be seen")]
pub fn seed(test: &str) -> u64 {
    let seed = match std::env::var(VARIABLE) {
        Ok(text) => text.trim().parse().expect("DATESTONE_SEED is a decimal number below 2^64"),
        Err(_) => OsClock.random_u64(),
    };
    eprintln!("{test}: {VARIABLE}={seed}");
    seed
}

/// A number from an environment variable, for how much a test does.
///
/// # Panics
/// When the variable is set and not a number.
#[must_use]
pub fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.trim().parse().expect("the variable is a decimal number"))
}

/// A small seeded generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
