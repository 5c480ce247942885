//! [`Failure`]: why a command stopped, told to a person (what; why; the next command) and to a
//! script (the exit code).

use crate::exit::Exit;
use datestone::{Error, ErrorKind};
use std::fmt;
use std::io;
use std::path::Path;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has gone: there is nobody left to tell.
    BrokenPipe,
    /// Something to tell.
    Told(Box<Told>),
}

/// A failure to tell.
#[derive(Debug)]
pub(crate) struct Told {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// What could not be done.
    pub(crate) what: String,
    /// Why, when `what` does not say it.
    pub(crate) why: Option<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

/// The result of every command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that ends the program with `exit`.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self::Told(Box::new(Told { exit, what: what.into(), why: None, hint: None }))
    }

    /// A wrong command line.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Says why.
    pub(crate) fn why(mut self, why: impl fmt::Display) -> Self {
        if let Self::Told(told) = &mut self {
            told.why = Some(why.to_string());
        }
        self
    }

    /// Says what to do next, in place of what was said before.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    /// A failure of the operating system at `path`.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
            _ => Exit::Error,
        };
        Self::new(exit, format!("cannot {doing} {}", path.display())).why(error)
    }

    /// A failure of the database at `db`.
    pub(crate) fn database(error: &Error, db: &Path) -> Self {
        let shown = db.display();
        let hint = match error.kind() {
            ErrorKind::NotFound => Some(format!("dbtool ls {shown}")),
            ErrorKind::Compacted | ErrorKind::NotYet => {
                Some("choose a time in that window, or leave --as-of out to read the latest".into())
            }
            ErrorKind::Locked => Some("wait for that process, or end it, then try again".into()),
            ErrorKind::NoSpace => Some("free some space, then run the same command again".into()),
            ErrorKind::Poisoned => Some(format!("see to the disk, then dbtool verify {shown}")),
            ErrorKind::Corruption => {
                Some(format!("dbtool verify {shown} --full tells how far it goes"))
            }
            ErrorKind::FormatTooNew => Some("use the dbtool of the version that wrote it".into()),
            _ => None,
        };
        let failure = Self::new(exit_of(error), error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::BrokenPipe => Exit::Ok,
            Self::Told(told) => told.exit,
        }
    }
}

/// The exit code of an error of the database.
fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Compacted | ErrorKind::NotYet => Exit::OutsideWindow,
        ErrorKind::Locked => Exit::Locked,
        ErrorKind::NoSpace => Exit::NoSpace,
        ErrorKind::Corruption => Exit::Corruption,
        ErrorKind::FormatTooNew => Exit::Format,
        // Of what is invalid, a wrong call is wrong usage; a wrong update is wrong data.
        ErrorKind::Invalid
            if matches!(
                error,
                Error::Invalid { .. }
                    | Error::UnknownOption { .. }
                    | Error::OptionOutOfBounds { .. }
            ) =>
        {
            Exit::Usage
        }
        _ => Exit::Error,
    }
}

impl fmt::Display for Failure {
    /// One line: what; why; hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Told(told) = self else { return f.write_str("the reader of stdout has gone") };
        f.write_str(&told.what)?;
        if let Some(why) = &told.why {
            write!(f, "; {why}")?;
        }
        if let Some(hint) = &told.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

/// Gives a failure of the database its place.
pub(crate) trait InDatabase<T> {
    /// Turns the error into a [`Failure`] that knows the database at `db`.
    fn in_database(self, db: &Path) -> Result<T>;
}

impl<T> InDatabase<T> for datestone::Result<T> {
    fn in_database(self, db: &Path) -> Result<T> {
        self.map_err(|error| Failure::database(&error, db))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datestone::Frontier;
    use std::sync::Arc;

    #[test]
    fn a_failure_reads_as_what_why_hint() {
        let failure = Failure::usage("no such thing").why("it is not there").hint("dbtool ls db");
        assert_eq!(failure.to_string(), "no such thing; it is not there; hint: dbtool ls db");
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(Failure::BrokenPipe.exit(), Exit::Ok);
    }

    #[test]
    fn every_kind_of_database_error_has_its_exit_code() {
        let window = |as_of| Error::Compacted {
            collection: "c".into(),
            as_of,
            since: Frontier::at(17),
            upper: Frontier::at(42),
        };
        let cases = [
            (Error::NotFound { what: "collection 'c'".into() }, Exit::NotFound),
            (window(3), Exit::OutsideWindow),
            (
                Error::NotYet {
                    collection: "c".into(),
                    as_of: 42,
                    since: Frontier::at(17),
                    upper: Frontier::at(42),
                },
                Exit::OutsideWindow,
            ),
            (
                Error::Locked { path: "LOCK".into(), pid: 1, host: "h".into(), since: 0 },
                Exit::Locked,
            ),
            (Error::NoSpace { what: "writing", path: "wal".into() }, Exit::NoSpace),
            (Error::corruption(Path::new("wal"), 8, "bad checksum"), Exit::Corruption),
            (Error::FormatTooNew { file: Path::new("wal").into(), found: 2, max: 1 }, Exit::Format),
            (Error::invalid("an empty name"), Exit::Usage),
            (Error::DiffOverflow { collection: "c".into(), key: "k".into() }, Exit::Error),
            (Error::Poisoned { cause: Arc::from("sync failed") }, Exit::Error),
        ];
        for (error, exit) in cases {
            assert_eq!(Failure::database(&error, Path::new("db")).exit(), exit, "{error}");
        }
        let told = Failure::database(&window(3), Path::new("db")).to_string();
        assert!(told.contains("readable window is 17..42; hint: "), "{told}");
    }
}
