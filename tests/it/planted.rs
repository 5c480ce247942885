//! The tests would see it: for each of many bugs, planted in the engine on request, the suite fails.
//!
//! Goal: a promise whose test cannot fail is no promise. Method: this binary runs itself again with one
//! bug planted and only the tests that are there to catch it; one of them must fail, soon. What catches
//! which bug is printed.
//!
//! Needs the feature `planted`: `cargo test -p datestone-tests --features planted --test it planted`.

use datestone_engine::io::{Clock as _, OsClock};
use datestone_engine::planted::{Bug, PLANTED_VARIABLE};
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest that a bug may live.
const CAUGHT_WITHIN: Duration = Duration::from_secs(60);

/// The tests that are run, one module after the other until one fails.
fn checks(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::ErasureKeepsLog => &["absent"],
        Bug::BackupNameUnsynced => &["backup"],
        Bug::ChecksumsIgnored | Bug::BlockChecksumIgnored => &["corruption", "salvage"],
        Bug::RangesUnvalidated | Bug::HoldsIgnored => &["mixed", "transactions", "books"],
        Bug::FailedSyncRetried => &["api"],
        Bug::FailedCommitKept => &["api"],
        Bug::AdvancedOutOfInterval | Bug::ReverseCrossesWrong => &["model"],
        Bug::EventIdsUnchecked => &["kinds", "mixed"],
        Bug::TokenForgotten => &["mixed", "books"],
        Bug::CacheMixedUp => &["mixed", "model", "deep", "absent"],
        Bug::WalSyncSkipped
        | Bug::AcknowledgedEarly
        | Bug::WalReusedEarly
        | Bug::DirSyncSkipped
        | Bug::SegmentSyncSkipped
        | Bug::ManifestSyncSkipped
        | Bug::ManifestNameUnsynced => &["power_cut", "surgery", "mixed", "books"],
        _ => &["mixed", "kinds", "model", "power_cut", "streaming", "api", "deep"],
    }
}

/// Runs the tests of a module with a bug; the names of those that failed, or that it did not end.
fn failures(bug: Bug, module: &str, within: Duration) -> Vec<String> {
    let clock = OsClock;
    let end = clock.monotonic() + within;
    // A file: nobody reads a pipe meanwhile, and failures can be long.
    let mut log = tempfile::tempfile().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{module}::"), "--test-threads", "2"])
        .env(PLANTED_VARIABLE, bug.name())
        // The same histories each time.
        .env("DATESTONE_SEED", "20261127")
        .env("RUST_BACKTRACE", "0")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if clock.monotonic() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            return vec![format!("{module}, which does not end")];
        }
        clock.sleep(Duration::from_millis(20));
    };
    let mut text = Vec::new();
    log.rewind().unwrap();
    log.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    let failed = text.lines().filter_map(|line| line.strip_suffix(" ... FAILED"));
    let names: Vec<String> = failed.map(|line| line.trim_start_matches("test ").into()).collect();
    // A test that takes the whole process with it has no line.
    let died = !status.success() && names.is_empty();
    if died { vec![format!("{module}, which died: {status}")] } else { names }
}

#[test]
fn each_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for &bug in Bug::ALL {
        let clock = OsClock;
        let start = clock.monotonic();
        let mut caught = Vec::new();
        for module in checks(bug) {
            let left = CAUGHT_WITHIN.saturating_sub(clock.monotonic() - start);
            caught = failures(bug, module, left);
            if !caught.is_empty() {
                break;
            }
        }
        let seconds = (clock.monotonic() - start).as_secs_f64();
        match caught.first() {
            Some(by) => report(&format!("{:<24} {seconds:5.1} s  {by}", bug.name())),
            None => {
                report(&format!("{:<24} {seconds:5.1} s  NOT CAUGHT: {}", bug.name(), bug.what()));
                missed.push(bug.name());
            }
        }
    }
    assert!(Bug::ALL.len() >= 20 && missed.is_empty(), "not caught: {missed:?}");
}

fn report(line: &str) {
    println!("{line}");
}
