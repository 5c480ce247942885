//! The n-th call of each kind to the file system fails, for n = 1, 2, .. until it is not reached, once and
//! for ever after: nothing acknowledged is lost, nothing is half there, and life goes on afterwards.
//!
//! Method: the workloads of the crash explorer, whose states are known. Each runs until a step fails; what
//! is open is still read; then the power goes, and what is left is opened (now and then with a failure in
//! that too), compared with what was acknowledged and begun, verified, and written to.
//!
//! `DATESTONE_NTH_WORKLOADS` says how many workloads are run, of all 17; `.ci/nth_failure` runs all.
//! `DATESTONE_SEED` repeats a run.

use datestone_engine::error::ErrorKind;
use datestone_engine::io::{CrashPlan, Env, FaultOp, MemFs, OpCounts};
use datestone_tests::database::{open, small_options};
use datestone_tests::explore::check::{Expected, Promise, State};
use datestone_tests::explore::record::Skip;
use datestone_tests::explore::script::{Script, THEMES};
use datestone_tests::explore::workload::{Swept, Workload, World, run};
use datestone_tests::seed::{Chance, count, seed};
use std::io;

const OPS: [FaultOp; 13] = [
    FaultOp::CreateDir,
    FaultOp::Open,
    FaultOp::Create,
    FaultOp::Read,
    FaultOp::Write,
    FaultOp::Sync,
    FaultOp::SetLen,
    FaultOp::Rename,
    FaultOp::Link,
    FaultOp::Remove,
    FaultOp::List,
    FaultOp::SyncDir,
    FaultOp::Map,
];

/// How a call fails: with what, and whether for ever after.
const WAYS: [(io::ErrorKind, bool); 3] = [
    (io::ErrorKind::Other, false),
    (io::ErrorKind::StorageFull, false),
    (io::ErrorKind::Other, true),
];

/// How often there was such a call.
fn calls(counts: OpCounts, op: FaultOp) -> u64 {
    match op {
        FaultOp::CreateDir => counts.create_dirs,
        FaultOp::Open => counts.opens,
        FaultOp::Create => counts.creates,
        FaultOp::Read => counts.reads,
        FaultOp::Write => counts.writes,
        FaultOp::Sync => counts.syncs,
        FaultOp::SetLen => counts.set_lens,
        FaultOp::Rename => counts.renames,
        FaultOp::Link => counts.links,
        FaultOp::Remove => counts.removes,
        FaultOp::List => counts.lists,
        FaultOp::SyncDir => counts.dir_syncs,
        FaultOp::Map => counts.maps,
        _ => panic!("{op:?} is not one kind of call"),
    }
}

/// The first ones are those that CI runs.
fn workload(at: usize, seed: u64) -> Box<dyn Workload> {
    const FIRST: [&str; 2] = ["mix", "log files"];
    if at == 0 {
        return Box::new(Swept::new(seed, 26));
    }
    let others = THEMES.iter().filter(|theme| !FIRST.contains(&theme.name));
    let first = FIRST.iter().filter_map(|name| THEMES.iter().find(|theme| theme.name == *name));
    let theme = first.chain(others).nth(at - 1).unwrap();
    Box::new(Script::new(theme, seed))
}

/// How far a workload came.
struct Outcome {
    promise: Promise,
    failed: bool,
}

/// Runs a workload on a file system in which something may fail.
fn attempt(workload: &dyn Workload, fs: &MemFs, what: &str) -> Outcome {
    let mut world = World::new(Env::memory(fs.clone()));
    let mut promise = Promise::NONE;
    for n in 0..workload.len() {
        promise.steps = *promise.steps.start()..=n + 1;
        if let Err(e) = workload.step(&mut world, n) {
            assert_ne!(e.kind(), ErrorKind::Internal, "{what}: step {n}: {e}");
            assert_ne!(e.kind(), ErrorKind::Corruption, "{what}: step {n}: {e}");
            if let Ok(db) = world.db() {
                // It may be refused what cannot be read now; it never panics.
                drop(State::of(db));
            }
            return Outcome { promise, failed: true };
        }
        if workload.is_durable(n) {
            promise.steps = n + 1..=n + 1;
        }
    }
    Outcome { promise, failed: false }
}

/// What is left after the power went is what was promised.
fn check(expected: &Expected, left: &MemFs, promise: &Promise, chance: &mut Chance, what: &str) {
    let mut left = left.crash(CrashPlan::KeepAll);
    if chance.one_in(3) {
        // The recovery meets a failure too, and the power goes again.
        left.fail_nth(FaultOp::Any, 1 + chance.below(60), io::ErrorKind::Other);
        if let Err(e) = open(&left, &small_options()) {
            let kind = e.kind();
            assert!(!matches!(kind, ErrorKind::Internal | ErrorKind::Corruption), "{what}: {e}");
        }
        left = left.crash(CrashPlan::Random(chance.next_u64()));
    }
    let seen = expected.observe_in(&left, u128::from(chance.next_u64()));
    let judged = seen.and_then(|seen| expected.judge(&seen, promise));
    judged.unwrap_or_else(|e| panic!("{what}: {e}"));
}

#[test]
fn the_nth_failure_of_every_call_loses_nothing() {
    let first = seed("nth_failure");
    let mut chance = Chance::new(first);
    for at in 0..count("DATESTONE_NTH_WORKLOADS", 3) as usize {
        let workload = workload(at, first);
        let undisturbed = run(&*workload, first, Skip::Nothing).unwrap();
        let expected = Expected::new(undisturbed.states, workload.copies());
        let (mut failures, mut noticed) = (0, 0);
        for (op, (kind, forever)) in
            OPS.iter().flat_map(|op| WAYS.iter().map(move |way| (*op, *way)))
        {
            for n in 1.. {
                let fs = MemFs::seeded(first);
                match forever {
                    true => fs.fail_from(op, n, kind),
                    false => fs.fail_nth(op, n, kind),
                }
                let what = format!(
                    "{}, seed {first}: {op:?} {n} fails with {kind:?}{}",
                    workload.name(),
                    if forever { " for ever" } else { "" }
                );
                let outcome = attempt(&*workload, &fs, &what);
                if calls(fs.counts(), op) < n {
                    break;
                }
                failures += 1;
                noticed += u64::from(outcome.failed);
                let plan = match chance.below(3) {
                    0 => CrashPlan::LoseUnsynced,
                    1 => CrashPlan::KeepAll,
                    _ => CrashPlan::Random(chance.next_u64()),
                };
                check(
                    &expected,
                    &fs.crash(plan),
                    &outcome.promise,
                    &mut chance,
                    &format!("{what}, {plan:?}"),
                );
            }
        }
        eprintln!("{}: {failures} failures, {noticed} of them told, 0 violations", workload.name());
        assert!(failures > 100 && noticed > 50, "{failures} failures prove nothing");
    }
}
