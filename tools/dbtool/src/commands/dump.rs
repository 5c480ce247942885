//! `dbtool dump`: the database as text.

use crate::args::Dump;
use crate::dump::{CollectionHead, DumpHead, DumpWriter, Mode};
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, OnStdout as _};
use crate::store::Store;
use datestone::{Collection, Frontier, Kind, Update};
use std::io::Write;

/// Runs the command.
pub(crate) fn run(args: &Dump) -> Result<()> {
    if args.as_of.is_some() && args.mode != Mode::Snapshot {
        return Err(Failure::usage("--as-of is for --mode snapshot")
            .why("--mode updates writes every update")
            .hint("add --mode snapshot"));
    }
    let store = Store::reading(&args.db)?;
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
    let (since, upper, kind) = (info.since, info.upper, info.kind);
    let head = CollectionHead { name: info.name, since, upper, meta: info.meta, kind };
    writer.begin(&head).on_stdout()?;
    if kind == Kind::Log {
        return events(store, collection, u64::MAX, writer);
    }
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
    let (kind, upper) = (info.kind, Frontier::just_beyond(ts));
    // All events of a log stay what they were.
    let since = if kind == Kind::Log { Frontier::MIN } else { Frontier::at(ts) };
    let head = CollectionHead { name: info.name, since, upper, meta: info.meta, kind };
    writer.begin(&head).on_stdout()?;
    if kind == Kind::Log {
        return events(store, collection, ts, writer);
    }
    let mut rows = snapshot.iter();
    while let Some(row) = rows.next_row().in_database(store.path())? {
        writer.row(Update { key: row.key, val: row.val, ts, diff: row.diff }).on_stdout()?;
    }
    Ok(())
}

/// Writes the events of a log up to position `last`.
fn events<W: Write>(
    store: &Store,
    collection: &Collection,
    last: u64,
    writer: &mut DumpWriter<W>,
) -> Result<()> {
    let log = store.db.find_log(collection.name()).in_database(store.path())?;
    let mut events = log.read(0).in_database(store.path())?;
    while let Some(event) = events.next_event().in_database(store.path())?
        && event.position <= last
    {
        let key = event.id.unwrap_or_default();
        let update = Update { key, val: event.event, ts: event.position, diff: 1 };
        writer.row(update).on_stdout()?;
    }
    Ok(())
}
