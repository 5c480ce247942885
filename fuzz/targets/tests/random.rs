//! Random inputs for the targets that take instructions rather than a format: what a fuzzer without
//! guidance would do, on a stable compiler.
//!
//! `DATESTONE_SEED` starts elsewhere, `DATESTONE_CASES` does more.

use datestone_fuzz_targets::TARGETS;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

#[expect(clippy::print_stdout, reason = "the seed of a failure")]
fn run(name: &str, len: usize, cases: u64) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let first = setting("DATESTONE_SEED", 0);
    for seed in first..first + setting("DATESTONE_CASES", cases) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(len)
        .collect();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
            println!("{name} failed with DATESTONE_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// Goal: a database holds what its model holds, through restarts, kills and power cuts.
#[test]
fn ops() {
    run("ops", 2_500, 200);
}

/// Goal: a damaged directory gives errors or what was written up to some commit.
#[test]
fn open_dir() {
    run("open_dir", 60, 500);
}

/// Goal: whatever is salvaged of a damaged directory is a whole database that makes nothing up.
#[test]
fn salvage() {
    run("salvage", 60, 200);
}

/// Goal: damaged backups give errors or what was backed up.
#[test]
fn backup() {
    run("backup", 60, 200);
}

/// Goal: a damaged log gives an error or the commits that were written.
#[test]
fn wal_open() {
    run("wal_open", 60, 500);
}

/// Goal: one flipped bit anywhere in a log loses no synced commit without an error. Method: the
/// encoding of that damage, for places all over the files.
#[test]
fn flips() {
    const FLIP: u8 = 2;
    for place in 0..setting("DATESTONE_CASES", 500) {
        let offset = (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as u32;
        let mut bytes = vec![0, (place % 7) as u8, FLIP];
        bytes.extend(offset.to_le_bytes());
        bytes.push((place % 8) as u8);
        datestone_fuzz_targets::wal_open(&bytes);
    }
}
