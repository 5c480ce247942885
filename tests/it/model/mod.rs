//! Random histories of a database agree with the model.
//!
//! Goal: whatever is written, flushed, merged, forgotten, closed, killed or cut off, every legal
//! read gives what a sorted list of updates gives. Method: proptest's state machine walks the model
//! ([`world`]) and the engine on a file system in memory ([`system`]) side by side; after every step
//! one random read is compared, at the end every read at every legal time.
//!
//! `DATESTONE_SEED` repeats a run, `DATESTONE_MODEL_CASES` and `DATESTONE_MODEL_STEPS` set how much
//! is done (per test).

mod steps;
mod system;
mod world;

use datestone_tests::seed::{count, seed};
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use std::sync::atomic::Ordering;
use steps::Profile;
use system::Driver;
use world::Machine;

/// Many small commits, restarts and power cuts.
#[test]
fn histories_of_small_commits_agree_with_the_model() {
    run::<{ Profile::SMALL }>("histories_of_small_commits");
}

/// Commits that fill memtables, so that flushes and merges follow each other.
#[test]
fn histories_of_bulky_commits_agree_with_the_model() {
    run::<{ Profile::BULKY }>("histories_of_bulky_commits");
}

fn run<const PROFILE: u8>(name: &str) {
    let steps = count("DATESTONE_MODEL_STEPS", 200) as usize;
    let config = Config {
        cases: count("DATESTONE_MODEL_CASES", 150) as u32,
        rng_seed: RngSeed::Fixed(seed(name)),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let work = [&system::HISTORICAL_READS, &system::FLUSHES, &system::MERGES];
    let before = work.map(|count| count.load(Ordering::Relaxed));
    let mut runner = TestRunner::new(config.clone());
    let strategy = Machine::<PROFILE>::sequential_strategy(steps..steps + 1);
    let result = runner.run(&strategy, |(world, steps, seen)| {
        Driver::<PROFILE>::test_sequential(config.clone(), world, steps, seen);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (_, steps, _))) => {
            panic!("{reason}\nshortest history that fails: {steps:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("gave up: {reason}"),
    }
    // A model test that only ever reads the present, or memory, would prove little.
    let done: Vec<u64> = (work.iter().zip(before))
        .map(|(count, before)| count.load(Ordering::Relaxed) - before)
        .collect();
    assert!(done.iter().all(|count| *count > 0), "historical reads, flushes, merges: {done:?}");
    report(&format!("{name}: historical reads, flushes, merges: {done:?}"));
}

fn report(line: &str) {
    eprintln!("{line}");
}
