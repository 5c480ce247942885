//! The one error of the engine. Its [`ErrorKind`] says what the caller should do next.

use crate::types::{Frontier, Timestamp};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible operation of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure an [`Error`] is, and so what to do about it.
///
/// ```
/// use datestone_engine::error::{Error, ErrorKind};
/// assert_eq!(Error::invalid("no such option").kind(), ErrorKind::Invalid);
/// assert_eq!(ErrorKind::NoSpace.name(), "NoSpace");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: fix it.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// What was to be created exists.
    AlreadyExists,
    /// The time read lies below since: its history was compacted.
    Compacted,
    /// The time read is not yet complete: wait until upper passes it.
    NotYet,
    /// Somebody else advanced upper first.
    UpperMismatch,
    /// Somebody else wrote what a transaction has read: run it again.
    Conflict,
    /// Somebody else has taken the durable hold: stop, or take it back.
    Fenced,
    /// Another handle or process has the database open.
    Locked,
    /// The database was opened only to be read: write through the process that has its lock.
    ReadOnly,
    /// The device is full; free space and try again.
    NoSpace,
    /// Would have to wait.
    Busy,
    /// The database was closed.
    Closed,
    /// A WAL write or sync failed: reads go on, writes stop until the database is opened again.
    Poisoned,
    /// Bytes on disk are not what was written.
    Corruption,
    /// The files were written by a newer datestone.
    FormatTooNew,
    /// The operating system refused an operation.
    Io,
    /// A bug in datestone.
    Internal,
}

impl ErrorKind {
    /// The kind's name, the same in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Compacted => "Compacted",
            Self::NotYet => "NotYet",
            Self::UpperMismatch => "UpperMismatch",
            Self::Conflict => "Conflict",
            Self::Fenced => "Fenced",
            Self::Locked => "Locked",
            Self::ReadOnly => "ReadOnly",
            Self::NoSpace => "NoSpace",
            Self::Busy => "Busy",
            Self::Closed => "Closed",
            Self::Poisoned => "Poisoned",
            Self::Corruption => "Corruption",
            Self::FormatTooNew => "FormatTooNew",
            Self::Io => "Io",
            Self::Internal => "Internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong, with what is needed to find the place.
///
/// Cheap to clone, so that an iterator can keep returning the error that it has met.
///
/// ```
/// use datestone_engine::error::Error;
/// let error = Error::invalid("a key of 1 GiB");
/// assert_eq!(error.to_string(), "invalid: a key of 1 GiB");
/// assert!(!error.may_have_happened());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call is wrong: fix it.
    #[error("invalid: {what}")]
    Invalid {
        /// What is wrong and what would be right.
        what: String,
    },
    /// There is no option of this name.
    #[error("no option '{name}' (given the value '{value}'); the nearest is '{nearest}'")]
    UnknownOption {
        /// The name that was given.
        name: String,
        /// The value that it was to have.
        value: String,
        /// The option whose name is most like it.
        nearest: &'static str,
    },
    /// An option cannot have this value.
    #[error("option {name} is {value}, must be {bounds}")]
    OptionOutOfBounds {
        /// The option.
        name: &'static str,
        /// The value that it was to have.
        value: String,
        /// What it may have.
        bounds: String,
    },
    /// An update lies below upper: its time is closed.
    #[error(
        "update {index} of collection '{collection}' has ts {ts}, below upper {upper}: that time is closed"
    )]
    TsBelowUpper {
        /// The collection.
        collection: String,
        /// Position of the update in the batch, from 0.
        index: usize,
        /// The update's time.
        ts: Timestamp,
        /// The collection's upper.
        upper: Frontier,
    },
    /// An update of a compare-and-append lies at or beyond the new upper.
    #[error(
        "update {index} of collection '{collection}' has ts {ts}, not below the new upper {new_upper}"
    )]
    TsBeyondNewUpper {
        /// The collection.
        collection: String,
        /// Position of the update in the batch, from 0.
        index: usize,
        /// The update's time.
        ts: Timestamp,
        /// The upper that the batch was to end at.
        new_upper: Frontier,
    },
    /// A multiplicity does not fit into 64 bits.
    #[error("the multiplicity of key {key} in collection '{collection}' overflows 64 bits")]
    DiffOverflow {
        /// The collection.
        collection: String,
        /// The row's key, escaped and shortened.
        key: String,
    },
    /// What was named does not exist.
    #[error("no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// What was to be created exists.
    #[error("{what} exists already")]
    AlreadyExists {
        /// What was to be created.
        what: String,
    },
    /// A log has an event of this id.
    #[error("event id {id} was appended already, at position {position}")]
    EventExists {
        /// The id.
        id: String,
        /// Position of the event.
        position: u64,
    },
    /// The time read lies below since.
    #[error(
        "as-of {as_of} of collection '{collection}' is before since {since} (history below it was compacted); readable window is {since}..{upper}"
    )]
    Compacted {
        /// The collection.
        collection: String,
        /// The time asked for.
        as_of: Timestamp,
        /// The collection's since.
        since: Frontier,
        /// The collection's upper.
        upper: Frontier,
    },
    /// The time read is not yet complete.
    #[error(
        "as-of {as_of} of collection '{collection}' is not below upper {upper} (that time may still change); readable window is {since}..{upper}"
    )]
    NotYet {
        /// The collection.
        collection: String,
        /// The time asked for.
        as_of: Timestamp,
        /// The collection's since.
        since: Frontier,
        /// The collection's upper.
        upper: Frontier,
    },
    /// A compare-and-append found another upper than it expected.
    #[error("upper of collection '{collection}' is {actual}, expected {expected}")]
    UpperMismatch {
        /// The collection.
        collection: String,
        /// What the caller expected.
        expected: Frontier,
        /// What it is.
        actual: Frontier,
    },
    /// A durable hold was taken by somebody else.
    #[error("hold '{name}' was taken by somebody else, under epoch {epoch}")]
    Fenced {
        /// The hold.
        name: String,
        /// Its present epoch.
        epoch: u64,
    },
    /// Something that a transaction has read was written since.
    #[error(
        "key {key} of table '{collection}' was written after the transaction read it; run it again"
    )]
    Conflict {
        /// The table.
        collection: String,
        /// The key.
        key: String,
    },
    /// Another handle or process has the database open.
    #[error("{} is open in process {pid} on host {host} since {since} (Unix seconds)", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it; 0 when unknown.
        pid: u32,
        /// Its host; empty when unknown.
        host: String,
        /// When it opened the database, in Unix seconds; 0 when unknown.
        since: u64,
    },
    /// The database was opened only to be read.
    #[error("{} is open to be read only; write through the process that has its lock", .dir.display())]
    ReadOnly {
        /// The database's directory.
        dir: PathBuf,
    },
    /// The device is full.
    #[error("no space left while {what} {}", .path.display())]
    NoSpace {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The operation would have to wait.
    #[error("busy: {what}")]
    Busy {
        /// What is waited for.
        what: &'static str,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// A WAL write or sync failed earlier.
    #[error("writes have stopped because {cause}; reopen the database to write again")]
    Poisoned {
        /// The first failure.
        cause: Arc<str>,
    },
    /// Bytes on disk are not what was written.
    #[error("corruption in {} at offset {offset}: {what}", .file.display())]
    Corruption {
        /// The file.
        file: Arc<Path>,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was found.
        what: Arc<str>,
    },
    /// The file was written by a newer datestone.
    #[error("{} has format version {found}, this build reads up to {max}; use a newer datestone", .file.display())]
    FormatTooNew {
        /// The file.
        file: Arc<Path>,
        /// The version found.
        found: u32,
        /// The newest version that this build reads.
        max: u32,
    },
    /// The operating system refused an operation.
    #[error("{what} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A bug in datestone.
    #[error("internal error: {what}; please report it")]
    Internal {
        /// What was found.
        what: String,
    },
}

impl Error {
    /// What the caller should do next.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. }
            | Self::UnknownOption { .. }
            | Self::OptionOutOfBounds { .. }
            | Self::TsBelowUpper { .. }
            | Self::TsBeyondNewUpper { .. }
            | Self::DiffOverflow { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } | Self::EventExists { .. } => ErrorKind::AlreadyExists,
            Self::Compacted { .. } => ErrorKind::Compacted,
            Self::NotYet { .. } => ErrorKind::NotYet,
            Self::UpperMismatch { .. } => ErrorKind::UpperMismatch,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Locked { .. } => ErrorKind::Locked,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::NoSpace { .. } => ErrorKind::NoSpace,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Closed => ErrorKind::Closed,
            Self::Poisoned { .. } => ErrorKind::Poisoned,
            Self::Corruption { .. } => ErrorKind::Corruption,
            Self::FormatTooNew { .. } => ErrorKind::FormatTooNew,
            Self::Io { .. } => ErrorKind::Io,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the failed operation may have taken effect all the same: true for a write that met
    /// an I/O failure, whose fate is known only after the database was opened again.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Internal { .. })
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    /// An [`Error::Corruption`].
    pub fn corruption(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corruption { file: file.into(), offset, what: what.into().into() }
    }

    /// Turns a failure of the operating system into an error that names the file; a full device
    /// becomes [`Error::NoSpace`].
    pub fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { what, path: path.into() }
            }
            _ => Self::Io { what, path: path.into(), source: Arc::new(source) },
        }
    }
}

/// `bytes` as text for an error message: escaped, at most 64 bytes of it.
#[must_use]
pub fn display_bytes(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    match bytes.get(..SHOWN) {
        Some(head) => format!("\"{}\".. ({} bytes)", head.escape_ascii(), bytes.len()),
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}
