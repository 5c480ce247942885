//! Arguments of the commands that write by hand or destroy.

use super::bytes;
use crate::datum::ArgBytes;
use crate::row::parse_ts;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Gives a key of a table a value
///
/// A table that does not exist is made: on the database's clock, or with --ts on its user's.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The database's directory; made when it does not exist
    pub(crate) db: PathBuf,
    /// The table
    pub(crate) table: String,
    /// The key: text, or {"b64": ".."}
    #[arg(value_parser = bytes())]
    pub(crate) key: ArgBytes,
    /// The value: text, or {"b64": ".."}
    #[arg(value_parser = bytes())]
    pub(crate) val: ArgBytes,
    /// The time, of a table on its user's clock
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) ts: Option<u64>,
    /// Declares T complete, so that it can be read
    #[arg(long, requires = "ts")]
    pub(crate) advance: bool,
}

/// Takes the value of a key of a table away
#[derive(Debug, clap::Args)]
pub(crate) struct Del {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The table
    pub(crate) table: String,
    /// The key: text, or {"b64": ".."}
    #[arg(value_parser = bytes())]
    pub(crate) key: ArgBytes,
    /// The time, of a table on its user's clock
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) ts: Option<u64>,
    /// Declares T complete, so that it can be read
    #[arg(long, requires = "ts")]
    pub(crate) advance: bool,
}

/// Appends events to a log
#[derive(Debug, clap::Args)]
pub(crate) struct Append {
    /// The database's directory; made when it does not exist
    pub(crate) db: PathBuf,
    /// The log; made when it does not exist
    pub(crate) log: String,
    /// The event: text, or {"b64": ".."} [default: each line of stdin is one]
    #[arg(value_parser = bytes())]
    pub(crate) event: Option<ArgBytes>,
    /// Only if the log has no event of this id
    #[arg(long, value_parser = bytes(), requires = "event", conflicts_with = "expect")]
    pub(crate) id: Option<ArgBytes>,
    /// Only if the log has so many events
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u64>,
}

/// Discards all updates from a time on
#[derive(Debug, clap::Args)]
pub(crate) struct Truncate {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// The time; upper goes back to it
    #[arg(long, value_name = "T", value_parser = parse_ts)]
    pub(crate) at: u64,
    /// Does it; without, the plan is printed
    #[arg(long)]
    pub(crate) commit: bool,
}

/// Removes keys from every file, whatever their times
#[derive(Debug, clap::Args)]
pub(crate) struct Erase {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// The key: text, or {"b64": ".."}
    #[arg(value_parser = bytes(), conflicts_with_all = ["prefix", "from", "to"])]
    pub(crate) key: Option<ArgBytes>,
    /// All keys that begin with this
    #[arg(long, value_parser = bytes(), conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<ArgBytes>,
    /// All keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from: Option<ArgBytes>,
    /// All keys below this one
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to: Option<ArgBytes>,
    /// Does it; without, the plan is printed
    #[arg(long)]
    pub(crate) commit: bool,
}

/// Makes a database of its own that holds all commits so far, by links to the same files
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The new directory, missing or empty
    pub(crate) dir: PathBuf,
}

/// Adds a backup of all commits so far to those in a directory: copies only what no backup there has
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The directory of the backups; made when it does not exist
    pub(crate) dir: PathBuf,
    /// Removes all backups but the latest N afterwards
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<NonZeroUsize>,
}

/// Lists the backups in a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Backups {
    /// The directory of the backups
    pub(crate) dir: PathBuf,
    /// Reads every file too, and compares it with its digest
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Makes a database out of a backup
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The directory of the backups
    pub(crate) dir: PathBuf,
    /// The new database's directory, missing or empty
    pub(crate) db: PathBuf,
    /// The backup's number [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) backup: Option<u64>,
    /// Checks the new database in full afterwards
    #[arg(long)]
    pub(crate) verify: bool,
}

/// Lists the durable holds and subscriptions: what keeps history from being forgotten, over restarts
#[derive(Debug, clap::Args)]
pub(crate) struct Holds {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// Releases the hold or subscription of this name, whoever has it
    #[arg(long, value_name = "NAME")]
    pub(crate) release: Option<String>,
    /// Does it; without, the plan is printed
    #[arg(long, requires = "release")]
    pub(crate) commit: bool,
}

/// Shows or sets how much of its past a collection keeps by itself
#[derive(Debug, clap::Args)]
pub(crate) struct Retention {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// manual, everything, latest, or how many timestamps before the latest
    pub(crate) retention: Option<datestone::Retention>,
    /// Sets it; without, the plan is printed
    #[arg(long, requires = "retention")]
    pub(crate) commit: bool,
}

/// Drops a collection
#[derive(Debug, clap::Args)]
pub(crate) struct Drop {
    /// The database's directory
    pub(crate) db: PathBuf,
    /// The collection
    pub(crate) collection: String,
    /// Does it; without, the plan is printed
    #[arg(long)]
    pub(crate) commit: bool,
}
