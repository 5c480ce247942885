//! A kill at every call of the system that changes something.
//!
//! Goal: as of a kill at a random moment, but no moment is left out. Between two such calls the files stay
//! as they are, so that a kill at the beginning of each one sees every state that they go through. Method:
//! strace sends SIGKILL when a thread of the child begins its n-th call of a kind, for each kind that the
//! workload makes and n = 1, 2, .. until the workload ends unharmed. The call itself does not happen. It
//! counts the calls of each thread; workloads whose actors act in turn have one thread.
//!
//! `DATESTONE_SYSCALL_STRIDE` leaves calls out by chance: of so many, one is hit.

use crate::actor::{Outcome, Wrong, wrong};
use crate::child::{ACTORS_VARIABLE, COURSE_VARIABLE, PLACE_VARIABLE};
use crate::course::Course;
use crate::ledger::{Ledger, Said};
use crate::site::temporary;
use crate::supervisor::{Tally, judge, tell};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

/// The calls; those of the list that a machine does not know are left out.
const CALLS: &[&str] = &[
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "copy_file_range",
    "sendfile",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "truncate",
    "ftruncate",
    "fallocate",
    "open",
    "openat",
    "creat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
];

const SIGKILL: i32 = 9;

struct Workload {
    name: &'static str,
    course: Course,
    /// Everybody when `None`.
    cast: Option<&'static [&'static str]>,
    /// Whether it begins with what a kill has left, not with nothing.
    after_kill: bool,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "commits",
        course: Course::InTurn(12),
        cast: Some(&["writer-0", "mover-0", "clock", "timed", "alike", "events", "loader"]),
        after_kill: false,
    },
    Workload {
        name: "copies and surgery",
        course: Course::InTurn(4),
        cast: Some(&[
            "alike",
            "keeper",
            "presser",
            "retained",
            "origin",
            "copier",
            "ingester",
            "eraser",
            "truncater",
            "checkpoints",
            "backups",
        ]),
        after_kill: false,
    },
    Workload { name: "recovery", course: Course::InTurn(1), cast: None, after_kill: true },
    Workload {
        name: "threads",
        course: Course::Beside(16),
        cast: Some(&["writer-0", "writer-1", "mover-0", "clock", "alike", "ingester"]),
        after_kill: false,
    },
];

/// Why this cannot be done here.
pub(crate) fn obstacle() -> Option<String> {
    let attempt = Command::new("strace").args(["-f", "-qqq", "-o", "/dev/null", "true"]).output();
    match attempt {
        Err(e) => Some(format!("strace: {e}")),
        Ok(output) if !output.status.success() => {
            Some(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(_) => None,
    }
}

/// The calls that a life makes when nothing happens: of each kind, how many, and which of them change
/// something. Opening a file does so only when it creates one.
#[derive(Default)]
struct Made {
    count: u64,
    changes: Vec<u64>,
}

/// A workload with what its lives begin with.
struct Prepared {
    workload: &'static Workload,
    ledger: Ledger,
    left: Option<TempDir>,
}

pub(crate) fn run(stride: u64) -> bool {
    let seed = seed("kill_syscalls");
    let mut chance = Chance::new(seed);
    let mut passed = true;
    for workload in WORKLOADS {
        let result = prepare(workload, &mut chance).and_then(|prepared| {
            let calls = prepared.calls()?;
            Ok(prepared.kill_at_all(&calls, stride, &mut chance))
        });
        match result {
            Ok(true) => {}
            Ok(false) => passed = false,
            Err(Wrong(what)) => {
                passed = false;
                tell(&format!("kill_syscalls: '{}': {what}", workload.name));
            }
        }
    }
    if !passed {
        tell(&format!("kill_syscalls: DATESTONE_SEED={seed}"));
    }
    passed
}

fn prepare(workload: &'static Workload, chance: &mut Chance) -> Outcome<Prepared> {
    let mut ledger = Ledger::new();
    if !workload.after_kill {
        return Ok(Prepared { workload, ledger, left: None });
    }
    let (left, program) = (temporary()?, this_program());
    let mut child = Command::new(program)
        .env(PLACE_VARIABLE, left.path())
        .env(ACTORS_VARIABLE, ledger.cast_of(None))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut said = Said::default();
    for line in lines.by_ref().take(150).map_while(Result::ok) {
        said.hear(&line);
    }
    child.kill()?;
    child.wait()?;
    for line in lines.map_while(Result::ok) {
        said.hear(&line);
    }
    // Who opens it knows how many steps are there; the same are there for whoever opens another copy.
    let opened = temporary()?;
    copy(left.path(), opened.path())?;
    judge(opened.path(), 0, &said, &mut ledger, chance, &mut Tally::default())?;
    Ok(Prepared { workload, ledger, left: Some(left) })
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// How a life ended.
struct Life {
    place: TempDir,
    said: Said,
    ledger: Ledger,
    status: ExitStatus,
}

impl Prepared {
    /// A life under strace with these arguments.
    fn live(&self, arguments: &[&str]) -> Outcome<Life> {
        let place = temporary()?;
        if let Some(left) = &self.left {
            copy(left.path(), place.path())?;
        }
        let mut ledger = self.ledger.again();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qqq", "-e", "signal=none"]).args(arguments);
        let mut child = strace
            .arg(this_program())
            .env(PLACE_VARIABLE, place.path())
            .env(ACTORS_VARIABLE, ledger.cast_of(self.workload.cast))
            .env(COURSE_VARIABLE, self.workload.course.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = Said::default();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for line in lines.map_while(Result::ok) {
            said.hear(&line);
        }
        let status = child.wait()?;
        Ok(Life { place, said, ledger, status })
    }

    /// The calls that are made when nothing happens.
    fn calls(&self) -> Outcome<BTreeMap<&'static str, Made>> {
        let trace = temporary()?;
        let file = trace.path().join("calls");
        let known: Vec<String> = CALLS.iter().map(|call| format!("?{call}")).collect();
        let only = format!("trace={}", known.join(","));
        let life = self.live(&["-e", &only, "-o", &file.display().to_string()])?;
        if !life.said.ended {
            wrong!("nothing has hit it: {}, {:?}", life.status, life.said.failed);
        }
        let mut calls: BTreeMap<&'static str, Made> = BTreeMap::new();
        for line in std::fs::read_to_string(&file)?.lines() {
            // Behind the number of the thread.
            let call = line.split_once(' ').and_then(|(_, rest)| rest.trim_start().split_once('('));
            let Some((call, arguments)) = call else { continue };
            let Some(known) = CALLS.iter().find(|known| **known == call) else { continue };
            let made = calls.entry(known).or_default();
            made.count += 1;
            if !known.starts_with("open") || arguments.contains("O_CREAT") {
                made.changes.push(made.count);
            }
        }
        Ok(calls)
    }

    /// The numbers of the calls of a kind to kill at. All are tried until there is none, if calls are not
    /// left out; in one thread, opening is known to come in the same order again.
    fn numbers(&self, call: &str, made: &Made, stride: u64, chance: &mut Chance) -> Vec<u64> {
        let in_turn = matches!(self.workload.course, Course::InTurn(_));
        if stride > 1 {
            return made.changes.iter().copied().filter(|_| chance.one_in(stride)).collect();
        }
        if in_turn && call.starts_with("open") {
            return made.changes.clone();
        }
        (1..=2 * made.count + 100).collect()
    }

    /// Kills at every call, or at one of `stride`, in lanes beside each other.
    fn kill_at_all(
        &self,
        calls: &BTreeMap<&'static str, Made>,
        stride: u64,
        chance: &mut Chance,
    ) -> bool {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mut kinds: Vec<(&str, Vec<u64>)> = Vec::new();
        for (call, made) in calls {
            kinds.push((call, self.numbers(call, made, stride, chance)));
        }
        let lanes = count("DATESTONE_CRASH_LANES", 2).max(1);
        let mut kills: BTreeMap<&str, u64> = BTreeMap::new();
        std::thread::scope(|scope| {
            let begin = |_| {
                let mut chance = Chance::new(chance.next_u64());
                let (next, stop, kinds) = (&next, &stop, &kinds);
                scope.spawn(move || {
                    let mut kills = Vec::new();
                    while let Some((call, numbers)) = kinds.get(next.fetch_add(1, Ordering::SeqCst))
                    {
                        kills.push((*call, self.kill_at_each(call, numbers, &mut chance, stop)));
                    }
                    kills
                })
            };
            let running: Vec<_> = (0..lanes).map(begin).collect();
            for lane in running {
                kills.extend(lane.join().expect("a lane ends without a panic"));
            }
        });
        let each = |(call, kills): (&&str, &u64)| {
            let made = calls.get(*call).map_or(0, |made| made.changes.len());
            format!("{call} {kills} of {made}")
        };
        let each: Vec<_> = kills.iter().map(each).collect();
        let failed = stop.load(Ordering::SeqCst);
        tell(&format!(
            "kill_syscalls: '{}': {} kills {}: {}",
            self.workload.name,
            kills.values().sum::<u64>(),
            if failed { "until one FAILED" } else { "passed" },
            each.join(", ")
        ));
        !failed
    }

    /// Kills at these calls of a kind, one in each life, until there is no such call; how often.
    fn kill_at_each(
        &self,
        call: &str,
        numbers: &[u64],
        chance: &mut Chance,
        stop: &AtomicBool,
    ) -> u64 {
        let mut kills = 0;
        for nth in numbers {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            match self.kill_at(call, *nth, chance) {
                Ok(true) => kills += 1,
                Ok(false) => break,
                Err(Wrong(what)) => {
                    stop.store(true, Ordering::SeqCst);
                    let workload = self.workload.name;
                    tell(&format!("kill_syscalls: '{workload}', {call} {nth}: {what}"));
                }
            }
        }
        kills
    }

    /// Whether there was such a call.
    fn kill_at(&self, call: &str, nth: u64, chance: &mut Chance) -> Outcome<bool> {
        let (only, kill) =
            (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={nth}"));
        let mut life = self.live(&["-o", "/dev/null", "-e", &only, "-e", &kill])?;
        if let Some(failed) = &life.said.failed {
            wrong!("the child failed by itself: {failed}");
        }
        // strace ends as the child does.
        let killed = life.status.signal() == Some(SIGKILL);
        if !killed && !life.said.ended {
            wrong!("the child was not killed and did not end: {}", life.status);
        }
        let mut tally = Tally::default();
        judge(life.place.path(), 0, &life.said, &mut life.ledger, chance, &mut tally).map_err(
            |Wrong(what)| {
                let last = life.said.last();
                let kept = life.place.keep();
                Wrong(format!("{what}\n  the child had said {last}\n  kept in {}", kept.display()))
            },
        )?;
        Ok(killed)
    }
}
