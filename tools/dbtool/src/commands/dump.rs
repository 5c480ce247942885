//! `dbtool dump`: the database as text.

use crate::args::Dump;
use crate::dump::{CollectionHead, DumpHead, DumpWriter, Mode};
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, OnStdout as _};
use crate::store::Store;
use datestone::{Collection, Frontier, Update};
use std::io::Write;

/// Runs the command.
pub(crate) fn run(args: &Dump) -> Result<()> {
    if args.as_of.is_some() && args.mode != Mode::Snapshot {
        return Err(Failure::usage("--as-of is for --mode snapshot")
            .why("--mode updates writes every update")
            .hint("add --mode snapshot"));
    }
    let store = Store::existing(&args.db)?;
    let source_format = store.db.stats().format_version;
    let head = DumpHead { source_format, mode: args.mode, as_of: args.as_of };
    let collections = store.find_or_all(args.collection.as_deref())?;
    let mut writer = DumpWriter::new(output::stdout(), &head).on_stdout()?;
    for collection in &collections {
        match args.mode {
            Mode::Updates => updates(&store, collection, &mut writer)?,
            Mode::Snapshot => snapshot(&store, collection, args.as_of, &mut writer)?,
        }
        writer.end().on_stdout()?;
    }
    writer.finish().on_stdout()?;
    store.close()
}

/// Writes every update of a collection.
fn updates<W: Write>(
    store: &Store,
    collection: &Collection,
    writer: &mut DumpWriter<W>,
) -> Result<()> {
    let info = store.info(collection)?;
    let (since, upper) = (info.since, info.upper);
    writer.begin(&CollectionHead { name: info.name, since, upper, meta: info.meta }).on_stdout()?;
    let mut updates = collection.updates().in_database(store.path())?;
    while let Some(update) = updates.next_update().in_database(store.path())? {
        writer.row(update).on_stdout()?;
    }
    Ok(())
}

/// Writes the contents of a collection at one time, as if they had all come at that time.
fn snapshot<W: Write>(
    store: &Store,
    collection: &Collection,
    as_of: Option<u64>,
    writer: &mut DumpWriter<W>,
) -> Result<()> {
    let info = store.info(collection)?;
    let snapshot = store.snapshot(collection, as_of)?;
    let ts = snapshot.as_of();
    let (since, upper) = (Frontier::at(ts), Frontier::just_beyond(ts));
    writer.begin(&CollectionHead { name: info.name, since, upper, meta: info.meta }).on_stdout()?;
    let mut rows = snapshot.iter();
    while let Some(row) = rows.next_row().in_database(store.path())? {
        writer.row(Update { key: row.key, val: row.val, ts, diff: row.diff }).on_stdout()?;
    }
    Ok(())
}
