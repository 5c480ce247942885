//! `dbtool get`: the rows of one key.

use crate::args::{Get, Global};
use crate::datum;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Format, OnStdout as _, RowsOut};
use crate::store::Store;
use datestone::Update;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Get) -> Result<()> {
    let store = Store::reading(&args.db)?;
    let collection = store.find(&args.collection)?;
    let snapshot = store.snapshot(&collection, args.as_of)?;
    let key = args.key.0.as_slice();
    let mut found = vec![];
    snapshot
        .get_with(key, |val, diff| found.push((val.to_vec(), diff)))
        .in_database(store.path())?;
    let ts = snapshot.as_of();
    if found.is_empty() {
        let shown = datum::to_cell(key);
        let name = &args.collection;
        let what = format!("no row with key '{shown}' in collection '{name}' as of {ts}");
        let hint =
            format!("dbtool scan {} {name} --as-of {ts} --from '{shown}'", args.db.display());
        return Err(Failure::new(Exit::NotFound, what).hint(hint));
    }
    let format = global.format.unwrap_or(Format::Jsonl);
    let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
    for (val, diff) in &found {
        rows.row(Update { key, val, ts, diff: *diff }).on_stdout()?;
    }
    rows.finish().on_stdout()?;
    store.close()
}
