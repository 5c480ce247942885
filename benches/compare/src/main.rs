//! A race of datestone against its peers: the same work, the same data and the same durability, each
//! engine in a process of its own, one after the other in every round. See `benches/README.md`.

mod chart;
mod collections;
mod data;
mod engine;
mod engines;
mod figure;
mod floors;
mod machine;
mod run;
mod summary;
mod table;
mod timed;
mod work;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// What fails says why; nobody here handles one failure unlike another.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The same for every engine: it takes the place of malloc as well, so C and C++ use it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A race of datestone against other embedded databases.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every work with every engine, in turns, and write a line of JSON for each figure.
    Run(RunArgs),
    /// Run one work with one engine in this process: what `run` starts for each.
    One(OneArgs),
    /// Print a table of medians as Markdown, what is lost first.
    Table {
        /// What `run` wrote.
        file: PathBuf,
    },
    /// Write a chart of the ratios as SVG.
    Chart {
        /// What `run` wrote.
        file: PathBuf,
        /// Where the chart goes.
        #[arg(long, default_value = "compare.svg")]
        out: PathBuf,
    },
    /// Print the names of engines and works.
    List,
}

/// What a run does.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// How often everything is done; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Engines, by comma; all that were built in if left out.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Works, by comma; all if left out.
    #[arg(long, value_delimiter = ',')]
    work: Vec<String>,
    /// Rows of the data.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Where databases are made: on a disk, not in memory. Beside the program if left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the lines go; they are added to what is there.
    #[arg(long, default_value = "compare.jsonl")]
    out: PathBuf,
    /// Seconds after which an engine is stopped and left out of that work.
    #[arg(long, default_value_t = 900)]
    limit_seconds: u64,
}

/// What one process does.
#[derive(Args)]
pub(crate) struct OneArgs {
    /// The engine.
    engine: String,
    /// The work.
    work: String,
    /// A directory that is empty.
    #[arg(long)]
    dir: PathBuf,
    /// Rows of the data.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Which round this is.
    #[arg(long, default_value_t = 0)]
    round: u32,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::One(args) => work::one(args),
        Command::Table { file } => table::print(&file),
        Command::Chart { file, out } => chart::write(&file, &out),
        Command::List => {
            println!("engines: {}", engines::names().join(","));
            println!("works:   {}", work::names().join(","));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
