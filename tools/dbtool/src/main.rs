//! `dbtool`: loads, reads, verifies and compacts datestone databases.
//!
//! One module a command, in [`commands`]; the pure parts that they share stand beside it: the row
//! form ([`row`], [`datum`]), readers ([`input`]), the dump ([`dump`]), output ([`output`]), failures and
//! exit codes ([`failure`], [`exit`]).
//!
//! # Invariants
//! 1. Data goes to stdout, everything else to stderr.
//! 2. Every failure says what, why and the next command, and ends with its own exit code.
//! 3. When the reader of stdout has gone the program ends silently.

mod args;
mod batch;
mod commands;
mod dates;
mod datum;
mod dump;
mod exit;
mod failure;
mod input;
mod interrupt;
mod output;
mod progress;
mod row;
mod store;

use args::{Args, Command};
use clap::Parser as _;
use failure::{Failure, Result};
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let command = args.command.name();
    match interrupt::install().and_then(|()| run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Told(_) = &failure {
                // Nobody is left to tell when stderr is closed; the exit code still does.
                let _ = writeln!(std::io::stderr(), "dbtool: {command}: {failure}");
            }
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn run(args: Args) -> Result<()> {
    let Args { global, command } = args;
    store::open_with(global.options()?);
    match command {
        Command::Load(args) => commands::load::run(&global, &args),
        Command::Info { db } => commands::info::run(&global, &db),
        Command::Ls { db } => commands::ls::run(&global, &db),
        Command::Stat { db, collection } => {
            commands::stat::run(&global, &db, collection.as_deref())
        }
        Command::Space { db, below } => commands::space::run(&global, &db, below),
        Command::Get(args) => commands::get::run(&global, &args),
        Command::Scan(args) => commands::scan::run(&global, &args),
        Command::History(args) => commands::history::run(&global, &args),
        Command::Diff(args) => commands::diff::run(&global, &args),
        Command::Tail(args) => commands::tail::run(&global, &args),
        Command::Dump(args) => commands::dump::run(&args),
        Command::Verify(args) => commands::verify::run(&global, &args),
        Command::Salvage(args) => commands::salvage::run(&global, &args),
        Command::Compact(args) => commands::compact::run(&global, &args),
        Command::Put(args) => commands::change::put(&global, &args),
        Command::Del(args) => commands::change::del(&global, &args),
        Command::Append(args) => commands::change::append(&global, &args),
        Command::Truncate(args) => commands::change::truncate(&global, &args),
        Command::Erase(args) => commands::change::erase(&global, &args),
        Command::Holds(args) => commands::holds::run(&global, &args),
        Command::Checkpoint(args) => commands::change::checkpoint(&global, &args),
        Command::Backup(args) => commands::backup::take(&global, &args),
        Command::Backups(args) => commands::backup::list(&global, &args),
        Command::Restore(args) => commands::backup::restore(&global, &args),
        Command::Retention(args) => commands::change::retention(&global, &args),
        Command::Drop(args) => commands::change::drop_collection(&global, &args),
        Command::ImportGit(args) => commands::import_git::run(&global, &args),
        Command::Inspect(what) => commands::inspect::run(&global, &what),
        Command::CheckDump { file } => commands::check_dump::run(&global, &file),
        Command::Upgrade { db, commit } => commands::upgrade::run(&global, &db, commit),
        Command::Config => commands::config::run(&global),
        Command::Completions { shell } => commands::shell::completions(shell),
        Command::Man { of } => commands::shell::man(of.as_deref()),
        Command::Demo { dir } => commands::demo::run(&global, dir),
    }
}
