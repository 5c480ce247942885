//! The command line.

pub(crate) mod change;

use crate::datum::ArgBytes;
use crate::dump::Mode;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::input::RowFormat;
use crate::output::Format;
use crate::progress::Wanted;
use crate::row::parse_ts;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgGroup, Parser, Subcommand};
use datestone::Options;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Loads, reads, verifies and compacts datestone databases
#[derive(Debug, Parser)]
#[command(name = "dbtool", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// How data is written [default: jsonl for rows, table for all else]
    #[arg(long, global = true, value_enum, hide_possible_values = false)]
    pub(crate) format: Option<Format>,
    /// Shows no progress bar, not on a terminal either
    #[arg(long, global = true)]
    no_progress: bool,
    /// Says nothing on stderr but failures
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Opens databases with this option; may be repeated (dbtool config lists the options)
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Takes options from the environment too, as DATESTONE_KEY; --set goes before
    #[arg(long, global = true)]
    env: bool,
}

impl Global {
    /// Whether progress may be shown.
    pub(crate) fn progress(&self) -> Wanted {
        if self.no_progress || self.quiet { Wanted::No } else { Wanted::Yes }
    }

    /// The options that databases are opened with.
    pub(crate) fn options(&self) -> Result<Options> {
        let wrong = |error: datestone::Error| {
            Failure::usage(error.to_string()).hint("dbtool config lists the options")
        };
        let mut options =
            if self.env { Options::from_env() } else { Ok(Options::default()) }.map_err(wrong)?;
        for given in &self.set {
            let Some((key, value)) = given.split_once('=') else {
                return Err(Failure::usage(format!("--set {given} is not of the form KEY=VALUE"))
                    .hint("dbtool config lists the options"));
            };
            options.set(key, value).map_err(wrong)?;
        }
        Ok(options)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Load(Load),
    /// Shows a database on one screen
    Info {
        /// The database's directory
        db: PathBuf,
    },
    /// Lists the collections
    Ls {
        /// The database's directory
        db: PathBuf,
    },
    /// Shows all that is known of a collection, or of the database
    Stat {
        /// The database's directory
        db: PathBuf,
        /// The collection [default: the database]
        collection: Option<String>,
    },
    /// Shows where the bytes are: on disk, in use, still readable; by collection, and by who holds
    Space {
        /// The database's directory
        db: PathBuf,
        /// Also what compact --below T would free
        #[arg(long, value_name = "T", value_parser = parse_ts)]
        below: Option<u64>,
    },
    Get(Get),
    Scan(Scan),
    History(History),
    Diff(Diff),
    Tail(Tail),
    Dump(Dump),
    Verify(Verify),
    Salvage(Salvage),
    Compact(Compact),
    Put(change::Put),
    Del(change::Del),
    Append(change::Append),
    Truncate(change::Truncate),
    Erase(change::Erase),
    Drop(change::Drop),
    Checkpoint(change::Checkpoint),
    Backup(change::Backup),
    Backups(change::Backups),
    Restore(change::Restore),
    Holds(change::Holds),
    Retention(change::Retention),
    ImportGit(ImportGit),
    /// Shows what is in a file of a database, also of one that is damaged or open
    #[command(subcommand)]
    Inspect(Inspect),
    /// Checks a dump: that it is whole, unchanged and in order; needs no database
    CheckDump {
        /// The dump, plain or .zst; - is stdin
        file: PathBuf,
    },
    /// Brings every file to the format that this build writes, and checks the database
    Upgrade {
        /// The database's directory
        db: PathBuf,
        /// Does it; without, the plan is printed
        #[arg(long)]
        commit: bool,
    },
    /// Lists all options: what they are, what they may be, what they are for
    Config,
    /// Writes completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the manual page, or that of one command
    Man {
        /// The command
        of: Option<String>,
    },
    /// Shows what datestone does on real data: the history of a Cargo.lock
    Demo {
        /// A new directory to work in [default: one in the system's temporary directory]
        dir: Option<PathBuf>,
    },
}

impl Command {
    /// The command's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Info { .. } => "info",
            Self::Ls { .. } => "ls",
            Self::Stat { .. } => "stat",
            Self::Space { .. } => "space",
            Self::Get(_) => "get",
            Self::Scan(_) => "scan",
            Self::History(_) => "history",
            Self::Diff(_) => "diff",
            Self::Tail(_) => "tail",
            Self::Dump(_) => "dump",
            Self::Verify(_) => "verify",
            Self::Salvage(_) => "salvage",
            Self::Compact(_) => "compact",
            Self::Put(_) => "put",
            Self::Del(_) => "del",
            Self::Append(_) => "append",
            Self::Truncate(_) => "truncate",
            Self::Erase(_) => "erase",
            Self::Drop(_) => "drop",
            Self::Checkpoint(_) => "checkpoint",
            Self::Backup(_) => "backup",
            Self::Backups(_) => "backups",
            Self::Restore(_) => "restore",
            Self::Holds(_) => "holds",
            Self::Retention(_) => "retention",
            Self::ImportGit(_) => "import-git",
            Self::Inspect(_) => "inspect",
            Self::CheckDump { .. } => "check-dump",
            Self::Upgrade { .. } => "upgrade",
            Self::Config => "config",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
            Self::Demo { .. } => "demo",
        }
    }
}

/// Loads rows into a collection, or restores a dump
///
/// A row is a line {"key": .., "val": .., "ts": n, "diff": n}; in CSV the header names these
/// columns. Rows come in order of ts: upper advances as time passes.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The database's directory; made when it does not exist
    pub(crate) db: PathBuf,
    /// The collection; made when it does not exist
    #[arg(required_unless_present = "dump", conflicts_with = "dump")]
    pub(crate) collection: Option<String>,
    /// The file, plain or .zst; - is stdin
    #[arg(default_value = "-", conflicts_with = "dump")]
    pub(crate) file: PathBuf,
    /// Updates in a commit
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) batch: NonZeroUsize,
    /// Leaves upper at the last ts, so that more updates of that time may follow
    #[arg(long, conflicts_with = "dump")]
    pub(crate) open_ended: bool,
    /// Takes rows in any order of ts: upper advances at the end only
    #[arg(long, conflicts_with = "dump")]
    pub(crate) unordered: bool,
    /// Prints {"rows": total, "upper": u} after each durable commit
    #[arg(long, conflicts_with = "dump")]
    pub(crate) ack: bool,
    /// Goes on where the last durable commit of a stopped load of the same input ended
    #[arg(long, conflicts_with = "dump")]
    pub(crate) resume: bool,
    /// How rows are written [default: as the file's name says]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "dump")]
    pub(crate) input: Option<RowFormat>,
    /// Restores a dump (plain or .zst; - is stdin) instead
    #[arg(long, value_name = "FILE")]
    pub(crate) dump: Option<PathBuf>,
    /// Keeps what there is of a dump that is cut short
    #[arg(long, requires = "dump", conflicts_with = "collection")]
    pub(crate) allow_partial: bool,
}

/// Prints the rows of one key
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// The key: text, or {"b64": ".."}
    #[arg(value_parser = bytes())]
    pub(crate) key: ArgBytes,
    /// The time to read as of [default: the latest readable]
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) as_of: Option<u64>,
}

/// Prints rows in order of key and value
#[derive(Debug, clap::Args)]
pub(crate) struct Scan {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// The time to read as of [default: the latest readable]
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) as_of: Option<u64>,
    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<ArgBytes>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from: Option<ArgBytes>,
    /// Only keys below this one
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to: Option<ArgBytes>,
    /// Last row first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Prints the number of rows instead
    #[arg(long)]
    pub(crate) count: bool,
}

/// Which keys are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Keys {
    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), conflicts_with_all = ["from_key", "to_key"])]
    pub(crate) prefix: Option<ArgBytes>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from_key: Option<ArgBytes>,
    /// Only keys below this one
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to_key: Option<ArgBytes>,
}

/// Prints the updates at their own times, in order of key, value and time
///
/// What was compacted counts as being at since.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// Only this key: text, or {"b64": ".."}
    #[arg(value_parser = bytes(), conflicts_with_all = ["prefix", "from_key", "to_key"])]
    pub(crate) key: Option<ArgBytes>,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Only times from this one on
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) from: Option<u64>,
    /// Only times below this one [default: upper]
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) to: Option<u64>,
}

/// Prints how the contents differ between two times, in order of key and value
///
/// The diff of a row is by how much its count has changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// The earlier time
    #[arg(value_name = "T1", value_parser = parse_ts)]
    pub(crate) before: u64,
    /// The later time
    #[arg(value_name = "T2", value_parser = parse_ts)]
    pub(crate) after: u64,
    #[command(flatten)]
    pub(crate) keys: Keys,
}

/// Prints the updates in order of time
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// Only times from this one on [default: the contents at since, then all that follows]
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) from: Option<u64>,
    /// Goes on with what the process adds that writes the database
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Writes the database as text, from which load --dump restores it
#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection [default: all]
    pub(crate) collection: Option<String>,
    /// What to dump of each collection
    #[arg(long, value_enum, default_value = "updates")]
    pub(crate) mode: Mode,
    /// The time of --mode snapshot [default: the latest readable]
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) as_of: Option<u64>,
}

/// Checks that the files are what was written
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("depth"))]
pub(crate) struct Verify {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// Headers, trailers and sections only (the default)
    #[arg(long, group = "depth")]
    pub(crate) quick: bool,
    /// Every block, row order, counts and indexes too
    #[arg(long, group = "depth")]
    pub(crate) full: bool,
    /// Looks for these bytes in every file instead: text, or {"b64": ".."}; ends with code 1 when found
    #[arg(long, value_name = "BYTES", value_parser = bytes(), group = "depth")]
    pub(crate) absent: Option<ArgBytes>,
}

/// Writes what is whole of a damaged database to a new one, and tells what is lost
///
/// The damaged database is only read. Ends with code 4 when anything was damaged.
#[derive(Debug, clap::Args)]
pub(crate) struct Salvage {
    /// The damaged database's directory
    pub(crate) db: PathBuf,
    /// The new directory, missing or empty
    pub(crate) new: PathBuf,
    /// Takes blocks too whose checksums are lost, as they are
    #[arg(long)]
    pub(crate) unchecked: bool,
}

/// Merges segments, and with --below forgets history
#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection [default: all]
    pub(crate) collection: Option<String>,
    /// Raises since to T first: what was before it can no longer be told apart
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) below: Option<u64>,
}

/// Imports the first-parent history of a git repository
///
/// Each path of the tree is a key, its val is "mode object-id", and ts is the ordinal of the commit
/// from 0: the contents as of n are what git ls-tree -r lists of that commit. The same command again
/// goes on behind the commits that are imported already.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportGit {
    /// The database's directory; made when it does not exist
    pub(crate) db: PathBuf,
    /// The repository's directory
    pub(crate) repo: PathBuf,
    /// The collection; made when it does not exist
    #[arg(long, value_name = "NAME", default_value = "git")]
    pub(crate) collection: String,
    /// The commit whose history is imported
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub(crate) rev: String,
    /// Updates in a commit of the database, about
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) batch: NonZeroUsize,
}

/// What to inspect.
#[derive(Debug, Subcommand)]
pub(crate) enum Inspect {
    /// A file of the log (wal-*.log): its header, and every frame of its current use
    Wal {
        /// The file
        file: PathBuf,
        /// Shows the updates, without their values
        #[arg(long)]
        rows: bool,
        /// Shows the updates with their values
        #[arg(long)]
        values: bool,
    },
    /// A manifest (MANIFEST-*): its header, and every edit
    Manifest {
        /// The file
        file: PathBuf,
    },
    /// A segment (*.seg): header, sections, statistics and blocks
    Segment {
        /// The file
        file: PathBuf,
    },
    /// A block of a segment: its updates
    Block {
        /// The segment's file
        file: PathBuf,
        /// The block's number, from 0
        index: usize,
        /// Shows the values too
        #[arg(long)]
        values: bool,
    },
}

/// Parses bytes that need not be UTF-8.
fn bytes() -> impl clap::builder::TypedValueParser<Value = ArgBytes> {
    OsStringValueParser::new().try_map(|arg| ArgBytes::parse(&arg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for bad in [
            "load db",
            "load db c --dump f",
            "load db --allow-partial c",
            "load db c --batch 0",
            "get db c",
            "get db c k --as-of -1",
            "get db c k --as-of 2019-03-01",
            "get db c {\"b64\":1}",
            "scan db c --prefix a --from b",
            "history db c k --prefix a",
            "history db c --prefix a --from-key b",
            "history db c --from x",
            "diff db c 1",
            "tail db c --from x",
            "verify db --quick --full",
            "compact db --below x",
        ] {
            let words = std::iter::once("dbtool").chain(bad.split(' '));
            let error = Args::try_parse_from(words).expect_err(bad);
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn bytes_are_text_or_base64() {
        let words = ["dbtool", "get", "db", "c", r#"{"b64":"/w=="}"#, "--format", "tsv"];
        let args = Args::try_parse_from(words).unwrap();
        assert_eq!(args.global.format, Some(Format::Tsv));
        let Command::Get(get) = args.command else { panic!("get") };
        assert_eq!(get.key, ArgBytes(vec![0xff]));
    }
}
