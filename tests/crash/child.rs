//! The process that is killed: its actors make steps for ever, each in a thread of its own, and tell
//! of every one that was acknowledged.

use crate::actor::{Actor, Outcome, Stage, Wrong, actors};
use datestone::{Datestone, Options};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Where the child is at work; says that this process is the child.
pub(crate) const PLACE_VARIABLE: &str = "DATESTONE_CRASH_CHILD_PLACE";
/// Which actors there are, each with the steps that it has made: `name=count name=count`.
pub(crate) const ACTORS_VARIABLE: &str = "DATESTONE_CRASH_CHILD_ACTORS";

/// The smallest memtables and log files, so that flushes, merges and rotations are always near.
pub(crate) fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        background_threads: 1,
        ..Options::default()
    }
}

pub(crate) fn run(place: &Path) -> ExitCode {
    say("begun");
    match act_for_ever(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Wrong(what)) => {
            say(&format!("failed {what}"));
            ExitCode::FAILURE
        }
    }
}

/// One line, handed to the system in one piece: a line that the parent has seen is whole.
fn say(line: &str) {
    let line = format!("{line}\n");
    // With nobody left to listen there is nothing left to do.
    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
        std::process::exit(0);
    }
}

fn act_for_ever(place: &Path) -> Outcome<()> {
    let db = Datestone::open_with(place.join("db"), options())?;
    let stage = Stage { db, place: place.into() };
    say("opened");
    let told = std::env::var(ACTORS_VARIABLE).unwrap_or_default();
    let all = actors();
    std::thread::scope(|scope| {
        for part in told.split_whitespace() {
            let (name, count) = part.split_once('=').expect("a name and a count");
            let count: u64 = count.parse().expect("a count is a number");
            let actor = all.iter().find(|actor| actor.name() == name).expect("an actor");
            let stage = &stage;
            scope.spawn(move || {
                let Err(Wrong(what)) = act(&**actor, stage, count);
                // At once: the others would go on for ever.
                say(&format!("failed {}: {what}", actor.name()));
                std::process::exit(1);
            });
        }
    });
    Ok(())
}

fn act(actor: &dyn Actor, stage: &Stage, count: u64) -> Outcome<std::convert::Infallible> {
    let name = actor.name();
    let mut step = actor.begin(stage, count)?;
    let mut n = actor.first(count);
    loop {
        let mark = step(n)?;
        say(&format!("ack {name} {n} {mark}"));
        n += 1;
    }
}
