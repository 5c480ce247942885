//! The process that comes to a sudden end: its actors make steps, as its [`Course`] says, and tell of every
//! one that was acknowledged.

use crate::actor::{Actor, Outcome, Stage, Step, Wrong, actors};
use crate::course::Course;
use datestone::{Datestone, Options};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Where the child is at work; says that this process is the child.
pub(crate) const PLACE_VARIABLE: &str = "DATESTONE_CRASH_CHILD_PLACE";
/// Which actors there are, each with the steps that it has made: `name=count name=count`.
pub(crate) const ACTORS_VARIABLE: &str = "DATESTONE_CRASH_CHILD_ACTORS";

/// What course they take; for ever when it is not set.
pub(crate) const COURSE_VARIABLE: &str = "DATESTONE_CRASH_CHILD_COURSE";

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
    match act(place) {
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

fn act(place: &Path) -> Outcome<()> {
    let course = match std::env::var(COURSE_VARIABLE) {
        Ok(course) => course.parse()?,
        Err(_) => Course::ForEver,
    };
    let options = match course {
        Course::InTurn(_) => Options { background_threads: 0, ..options() },
        Course::ForEver | Course::Beside(_) => options(),
    };
    let db = Datestone::open_with(place.join("db"), options)?;
    let stage = Stage { db, place: place.into() };
    say("opened");
    let told = std::env::var(ACTORS_VARIABLE).unwrap_or_default();
    let all = actors();
    let cast: Vec<(&dyn Actor, u64)> = (told.split_whitespace())
        .map(|part| {
            let (name, count) = part.split_once('=').expect("a name and a count");
            let actor = all.iter().find(|actor| actor.name() == name).expect("an actor");
            (&**actor, count.parse().expect("a count is a number"))
        })
        .collect();
    match course {
        Course::ForEver => act_beside(&stage, &cast, u64::MAX),
        Course::Beside(steps) => act_beside(&stage, &cast, steps),
        Course::InTurn(rounds) => act_in_turn(&stage, &cast, rounds)?,
    }
    stage.db.close()?;
    say("ended");
    Ok(())
}

/// An actor at work in a child.
struct Role {
    name: String,
    step: Step,
    next: u64,
}

impl Role {
    fn new(actor: &dyn Actor, stage: &Stage, count: u64) -> Outcome<Self> {
        let step = actor.begin(stage, count)?;
        Ok(Self { name: actor.name(), step, next: actor.first(count) })
    }

    fn act(&mut self) -> Outcome<()> {
        let mark = (self.step)(self.next)?;
        say(&format!("ack {} {} {mark}", self.name, self.next));
        self.next += 1;
        Ok(())
    }
}

fn act_beside(stage: &Stage, cast: &[(&dyn Actor, u64)], steps: u64) {
    std::thread::scope(|scope| {
        for &(actor, count) in cast {
            scope.spawn(move || {
                let acted = Role::new(actor, stage, count)
                    .and_then(|mut role| (0..steps).try_for_each(|_| role.act()));
                if let Err(Wrong(what)) = acted {
                    // At once: the others would go on.
                    say(&format!("failed {}: {what}", actor.name()));
                    std::process::exit(1);
                }
            });
        }
    });
}

fn act_in_turn(stage: &Stage, cast: &[(&dyn Actor, u64)], rounds: u64) -> Outcome<()> {
    let begin = |&(actor, count): &(&dyn Actor, u64)| Role::new(actor, stage, count);
    let mut roles = cast.iter().map(begin).collect::<Outcome<Vec<Role>>>()?;
    for _ in 0..rounds {
        for role in &mut roles {
            role.act()?;
            stage.db.maintain()?;
        }
    }
    Ok(())
}
