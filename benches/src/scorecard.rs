//! The scorecard: what the project promises about speed and memory, measured once, as one table.
//!
//! Each row measures itself and its peer in turns, in rounds, and takes medians, so that what else
//! the machine does hits both. Rows whose `must` is empty are there to explain others.

mod append;
mod as_of;
mod build;
mod commit;
mod compaction;
mod deep;
mod load;
mod open;
mod read;
mod table;
mod tree;

pub use commit::warm_up;
pub use table::{Line, Met};

use crate::Result;
use std::io::Write;
use std::path::PathBuf;

/// How the rows are measured.
#[derive(Clone, Debug)]
pub struct Context {
    /// Smaller data and fewer rounds: a look at whether all works, not a measurement.
    pub quick: bool,
    /// Rounds of a row, if not the usual count.
    pub rounds: Option<usize>,
    /// The program itself, for rows that need a process of their own.
    pub program: PathBuf,
}

impl Context {
    /// `full`, or `quick` in a quick run.
    #[must_use]
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Rounds of a row.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(self.pick(5, 1))
    }
}

/// Measures one row of the table, or a few that share their data.
pub type Row = fn(&Context) -> Result<Vec<Line>>;

/// Every row, with the name that selects it.
pub const ROWS: &[(&str, Row)] = &[
    ("machine", commit::machine),
    ("get", read::get),
    ("scan", read::scan),
    ("commit", commit::commit),
    ("append", append::append),
    ("merge", compaction::merge),
    ("as_of", as_of::as_of),
    ("deep", deep::deep),
    ("open", open::open),
    ("load20m", load::load),
    ("compact_none", compaction::nothing_to_gain),
    ("engine", build::engine),
    ("cargo_tree", tree::cargo_tree),
];

/// Work that a row does in a process of its own, by name: the name's argument is a directory.
pub type Child = fn(&std::path::Path, &[String]) -> Result<()>;

/// Every such work.
pub const CHILDREN: &[(&str, Child)] = &[("load", load::child), ("open", open::child)];

/// Measures the rows whose names are in `names`, or all, and prints the table.
///
/// # Errors
/// What a row returns; the table of the rows before it is printed all the same.
pub fn run(context: &Context, names: &[String], out: &mut dyn Write) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| ROWS.iter().all(|(row, _)| row != name)) {
        let known: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no row '{unknown}'; there are: {}", known.join(" ")).into());
    }
    let mut lines = Vec::new();
    let mut failed = Ok(());
    for (name, row) in ROWS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        note(&format!("{name} ..."));
        match row(context) {
            Ok(more) => lines.extend(more),
            Err(e) => {
                failed = Err(format!("row {name}: {e}").into());
                lines.push(Line::failed(name, &e.to_string()));
            }
        }
    }
    table::print(&lines, out)?;
    failed
}

/// Tells whoever waits what is being done.
pub(crate) fn note(text: &str) {
    // A closed stderr is no reason to stop measuring.
    let _ = writeln!(std::io::stderr(), "{text}");
}
