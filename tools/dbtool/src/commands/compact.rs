//! `dbtool compact`: merges segments, and with `--below` forgets history.

use super::note;
use super::position::POSITIONS;
use crate::args::{Compact, Global};
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list};
use crate::store::Store;
use datestone::{Collection, Frontier, Kind};
use std::io::Write as _;

const NAMES: [&str; 6] =
    ["collection", "since", "updates_before", "updates_after", "bytes_before", "bytes_after"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Compact) -> Result<()> {
    let store = Store::existing(&args.db)?;
    store.db.flush().in_database(store.path())?;
    let mut list = vec![];
    for collection in store.find_or_all(args.collection.as_deref())? {
        // The positions of loads have times of their own, which T does not speak of; logs forget
        // nothing.
        let info = store.info(&collection)?;
        let forgets = info.kind != Kind::Log && collection.name() != POSITIONS;
        let below = args.below.filter(|_| forgets || args.collection.is_some());
        let upper = info.upper;
        if let Some(ts) = below
            && !upper.is_beyond(ts)
        {
            let name = collection.name();
            note(
                global,
                format_args!("nothing of '{name}' is readable until upper, {upper}, passes {ts}"),
            );
        }
        list.push(compact(&store, &collection, below)?);
    }
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_list(&mut out, format, &NAMES, &list).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}

/// Raises since if asked to, works off the garbage, and tells the space before and after.
pub(super) fn compact(store: &Store, collection: &Collection, below: Option<u64>) -> Result<Facts> {
    let before = store.info(collection)?;
    if let Some(ts) = below {
        collection.compact_below(Frontier::at(ts)).in_database(store.path())?;
    }
    collection.compact().in_database(store.path())?;
    let after = store.info(collection)?;
    let values = [
        Fact::Text(before.name),
        Fact::Frontier(after.since),
        Fact::Count(before.updates),
        Fact::Count(after.updates),
        Fact::Bytes(before.bytes),
        Fact::Bytes(after.bytes),
    ];
    Ok(NAMES.into_iter().zip(values).collect())
}
