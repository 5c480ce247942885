//! The process that is killed: it writes for ever and tells of every commit that was acknowledged.

use crate::ledger::{WRITERS, add, names};
use crate::surface;
use datestone::{Collection, Datestone, Options, Result};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Where the child's database is; says that this process is the child.
pub(crate) const DIR_VARIABLE: &str = "DATESTONE_CRASH_CHILD_DIR";

/// The smallest memtables and log files, so that flushes, merges and rotations are always near.
pub(crate) fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        background_threads: 1,
        ..Options::default()
    }
}

pub(crate) fn run(dir: &Path) -> ExitCode {
    say("begun");
    match write_for_ever(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("failed {e}"));
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

fn write_for_ever(dir: &Path) -> Result<()> {
    let db = Datestone::open_with(dir, options())?;
    say("opened");
    // Whoever fails says so at once: the others go on.
    let tell = |outcome: Result<()>| {
        if let Err(e) = outcome {
            say(&format!("failed {e}"));
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = &db;
            scope.spawn(move || tell(write(db, writer)));
        }
        scope.spawn(|| tell(surface::kinds(&db, say)));
        scope.spawn(|| tell(surface::copier(&db)));
        scope.spawn(|| tell(surface::whole(&db, dir, say)));
    });
    Ok(())
}

fn write(db: &Datestone, writer: u64) -> Result<()> {
    let [left, right] = names(writer);
    let sides: [Collection; 2] = [db.collection(&left)?, db.collection(&right)?];
    for n in sides[0].upper()?.ts().unwrap_or(0).. {
        add(db.commit(), writer, &sides, n).run()?;
        say(&format!("ack {writer} {n}"));
        match n % 50 {
            13 => db.flush()?,
            31 => sides[0].compact()?,
            // A collection that comes and goes.
            40 => drop(db.collection("passing")?),
            47 => drop(db.drop_collection("passing")?),
            _ => {}
        }
    }
    Ok(())
}
