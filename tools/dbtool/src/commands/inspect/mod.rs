//! `dbtool inspect`: what is in one file of a database.
//!
//! Works on the file alone: takes no lock, opens no database, writes nothing, so that it can look
//! at a database that is open, damaged, or only there in part.
//!
//! # Invariants
//! 1. What cannot be read is told as a line `stopped` or `damage`, with its offset and why; what was
//!    read before it is told before it, and damage ends the command with its exit code.
//! 2. Values are shown only when asked for; their lengths always.
//! 3. Memory is bounded by the longest frame, edit, block or index of the file.

mod file;
mod manifest;
mod segment;
mod wal;

use crate::args::{Global, Inspect};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_object};
use datestone_engine::format::FormatError;
use file::Source;
use std::io::{BufWriter, StdoutLock, Write as _};

/// Runs the command.
pub(crate) fn run(global: &Global, what: &Inspect) -> Result<()> {
    let mut report = Report::new(global.format.unwrap_or(Format::Table));
    match what {
        Inspect::Wal { file, rows, values } => {
            let shown = wal::Shown { rows: *rows || *values, values: *values };
            wal::inspect(&mut Source::open(file)?, shown, &mut report)?;
        }
        Inspect::Manifest { file } => manifest::inspect(&mut Source::open(file)?, &mut report)?,
        Inspect::Segment { file } => segment::inspect(&mut Source::open(file)?, &mut report)?,
        Inspect::Block { file, index, values } => {
            segment::inspect_block(&mut Source::open(file)?, *index, *values, &mut report)?;
        }
    }
    report.finish()
}

/// The lines that tell what is in a file.
struct Report {
    out: BufWriter<StdoutLock<'static>>,
    format: Format,
    /// The first damage.
    damage: Option<String>,
}

impl Report {
    fn new(format: Format) -> Self {
        Self { out: output::stdout(), format, damage: None }
    }

    /// Tells of one thing: its sort, then what is known of it.
    fn line(&mut self, sort: &'static str, facts: Facts) -> Result<()> {
        if self.format == Format::Jsonl {
            let mut all = vec![("is", Fact::Text(sort.into()))];
            all.extend(facts);
            return write_object(&mut self.out, &all).on_stdout();
        }
        write!(self.out, "{sort:<8}").on_stdout()?;
        for (name, fact) in &facts {
            write!(self.out, "  {name}={}", fact.for_people()).on_stdout()?;
        }
        writeln!(self.out).on_stdout()
    }

    /// Tells where the file ends as far as it can be read, though nothing is wrong with that.
    fn stopped(&mut self, at: u64, why: &str) -> Result<()> {
        self.line("stopped", vec![("at", Fact::Count(at)), ("why", text(why))])
    }

    /// Tells of damage.
    fn damage(&mut self, at: u64, why: &str) -> Result<()> {
        if self.damage.is_none() {
            self.damage = Some(format!("damage at offset {at}: {why}"));
        }
        self.line("damage", vec![("at", Fact::Count(at)), ("why", text(why))])
    }

    /// Tells of damage that a decoder found in what starts at `base`.
    fn bad_format(&mut self, base: u64, error: &FormatError) -> Result<()> {
        self.damage(base.saturating_add(error.offset as u64), &error.what)
    }

    fn finish(mut self) -> Result<()> {
        self.out.flush().on_stdout()?;
        match self.damage {
            None => Ok(()),
            Some(first) => Err(Failure::new(Exit::Corruption, first)
                .hint("dbtool verify DB --full tells how far it goes")),
        }
    }
}

fn text(text: impl Into<String>) -> Fact {
    Fact::Text(text.into())
}

/// A number in hexadecimal, as checksums and identifiers are read.
fn hex(number: impl std::fmt::LowerHex) -> Fact {
    Fact::Text(format!("{number:#x}"))
}
