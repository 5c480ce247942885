//! The database that a command works on, with failures that know its path.

use crate::exit::Exit;
use crate::failure::{InDatabase as _, Result};
use crate::output::{Fact, Facts};
use datestone::{Collection, CollectionInfo, Datestone, Options, Snapshot};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What databases are opened with, as the command line says.
static OPTIONS: OnceLock<Options> = OnceLock::new();

/// From now on databases are opened with `options`. Once is enough: the first call counts.
pub(crate) fn open_with(options: Options) {
    let _ = OPTIONS.set(options);
}

fn options() -> Options {
    OPTIONS.get().cloned().unwrap_or_default()
}

/// An open database.
pub(crate) struct Store {
    path: PathBuf,
    /// The database.
    pub(crate) db: Datestone,
}

impl Store {
    /// Opens the database at `path`, which must exist, to read it, whoever writes it meanwhile.
    pub(crate) fn reading(path: &Path) -> Result<Self> {
        // One state is enough for a command.
        let options = Options { background_threads: 0, ..options() };
        Self::opened(path, Datestone::open_read_only_with(path, options))
    }

    /// Opens the database at `path`, which must exist, to read what its writer does.
    pub(crate) fn following(path: &Path) -> Result<Self> {
        let background_threads = options().background_threads.max(1);
        let options = Options { background_threads, ..options() };
        Self::opened(path, Datestone::open_read_only_with(path, options))
    }

    /// Opens the database at `path`, which must exist, to write it.
    pub(crate) fn existing(path: &Path) -> Result<Self> {
        let options = Options { create_if_missing: false, ..options() };
        Self::opened(path, Datestone::open_with(path, options))
    }

    fn opened(path: &Path, opened: datestone::Result<Datestone>) -> Result<Self> {
        let db = opened.in_database(path).map_err(|failure| {
            if failure.exit() == Exit::NotFound {
                let hint = format!("dbtool load {} COLLECTION FILE makes one", path.display());
                return failure.hint(hint);
            }
            failure
        })?;
        Ok(Self { path: path.into(), db })
    }

    /// Opens the database at `path`, and makes it when it does not exist.
    pub(crate) fn existing_or_new(path: &Path) -> Result<Self> {
        let db = Datestone::open_with(path, options()).in_database(path)?;
        Ok(Self { path: path.into(), db })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The collection called `name`, which must exist.
    pub(crate) fn find(&self, name: &str) -> Result<Collection> {
        self.db.find(name).in_database(&self.path)
    }

    /// The collection called `name`, or every collection in order of names.
    pub(crate) fn find_or_all(&self, name: Option<&str>) -> Result<Vec<Collection>> {
        match name {
            Some(name) => Ok(vec![self.find(name)?]),
            None => self.db.collections().iter().map(|info| self.find(&info.name)).collect(),
        }
    }

    /// A snapshot of `collection` at `as_of`, or the latest readable one.
    pub(crate) fn snapshot(&self, collection: &Collection, as_of: Option<u64>) -> Result<Snapshot> {
        let snapshot = match as_of {
            Some(as_of) => collection.snapshot(as_of),
            None => collection.latest(),
        };
        snapshot.in_database(&self.path)
    }

    /// Since, upper, sizes and counts of `collection`.
    pub(crate) fn info(&self, collection: &Collection) -> Result<CollectionInfo> {
        collection.info().in_database(&self.path)
    }

    /// Closes the database, so that a failure to do so is told.
    pub(crate) fn close(self) -> Result<()> {
        self.db.close().in_database(&self.path)
    }
}

/// The names of [`facts`].
pub(crate) const FACT_NAMES: [&str; 10] = [
    "collection",
    "id",
    "kind",
    "since",
    "upper",
    "updates",
    "bytes",
    "garbage",
    "segments",
    "runs",
];

/// What is known of a collection, in the order of [`FACT_NAMES`].
pub(crate) fn facts(info: &CollectionInfo) -> Facts {
    let values = [
        Fact::Text(info.name.clone()),
        Fact::Count(info.id),
        Fact::Text(info.kind.to_string()),
        Fact::Frontier(info.since),
        Fact::Frontier(info.upper),
        Fact::Count(info.updates + info.memtable_updates),
        Fact::Bytes(info.bytes),
        Fact::share(info.garbage_bytes, info.bytes),
        Fact::Count(info.segments),
        Fact::Count(info.runs),
    ];
    FACT_NAMES.into_iter().zip(values).collect()
}
