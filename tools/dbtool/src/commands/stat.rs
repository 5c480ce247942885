//! `dbtool stat`: all that is known of a collection, or of the database.

use crate::args::Global;
use crate::failure::Result;
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_one};
use crate::store::{Store, facts};
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(global: &Global, db: &Path, collection: Option<&str>) -> Result<()> {
    let store = Store::reading(db)?;
    let shown = match collection {
        Some(name) => {
            let info = store.info(&store.find(name)?)?;
            let mut shown = facts(&info);
            shown.push(("meta_bytes", Fact::Bytes(info.meta.len() as u64)));
            shown
        }
        None => database(&store),
    };
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &shown).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}

/// What is known of the database as a whole.
pub(super) fn database(store: &Store) -> Facts {
    let stats = store.db.stats();
    let collections = store.db.collections();
    let bytes = collections.iter().map(|info| info.bytes).sum();
    let garbage = collections.iter().map(|info| info.garbage_bytes).sum();
    vec![
        ("format_version", Fact::Count(u64::from(stats.format_version))),
        ("collections", Fact::Count(collections.len() as u64)),
        (
            "updates",
            Fact::Count(collections.iter().map(|info| info.updates + info.memtable_updates).sum()),
        ),
        ("bytes", Fact::Bytes(bytes)),
        ("garbage", Fact::share(garbage, bytes)),
        ("segments", Fact::Count(stats.segments)),
        ("segment_bytes", Fact::Bytes(stats.segment_bytes)),
        ("wal_files", Fact::Count(stats.wal_files)),
        ("wal_bytes", Fact::Bytes(stats.wal_bytes)),
        ("memtable_bytes", Fact::Bytes(stats.memtable_bytes)),
        ("seqno", Fact::Count(stats.last_seqno)),
    ]
}
