//! `dbtool history`: updates at their own times.

use crate::args::{Global, History};
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Format, OnStdout as _, RowsOut};
use crate::store::Store;
use datestone::KeyRange;
use std::ops::Bound;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &History) -> Result<()> {
    let store = Store::reading(&args.db)?;
    let collection = store.find(&args.collection)?;
    let keys = match &args.key {
        Some(key) => KeyRange::of::<[u8], &[u8]>(key.0.as_slice()..=key.0.as_slice()),
        None => args.keys.range(),
    };
    let from = args.from.map_or(Bound::Unbounded, Bound::Included);
    let to = args.to.map_or(Bound::Unbounded, Bound::Excluded);
    let mut history = collection.history(&keys, (from, to)).in_database(store.path())?;
    let format = global.format.unwrap_or(Format::Jsonl);
    let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
    while let Some(update) = history.next_update().in_database(store.path())? {
        rows.row(update).on_stdout()?;
    }
    rows.finish().on_stdout()?;
    store.close()
}
