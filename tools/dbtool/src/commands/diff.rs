//! `dbtool diff`: how the contents differ between two times.

use crate::args::{Diff, Global};
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Format, OnStdout as _, RowsOut};
use crate::store::Store;
use datestone::Update;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Diff) -> Result<()> {
    let store = Store::reading(&args.db)?;
    let collection = store.find(&args.collection)?;
    let ts = args.after;
    let mut changes =
        collection.changes_in(&args.keys.range(), args.before, ts).in_database(store.path())?;
    let format = global.format.unwrap_or(Format::Jsonl);
    let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
    while let Some(row) = changes.next_row().in_database(store.path())? {
        rows.row(Update { key: row.key, val: row.val, ts, diff: row.diff }).on_stdout()?;
    }
    rows.finish().on_stdout()?;
    store.close()
}
