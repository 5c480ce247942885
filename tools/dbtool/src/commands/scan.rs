//! `dbtool scan`: rows in order of key and value.

use crate::args::{Global, Scan};
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Format, OnStdout as _, RowsOut, write_one};
use crate::store::Store;
use datestone::{Rows, Snapshot, Update};
use std::io::Write as _;
use std::ops::Bound;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Scan) -> Result<()> {
    let store = Store::reading(&args.db)?;
    let collection = store.find(&args.collection)?;
    let snapshot = store.snapshot(&collection, args.as_of)?;
    let ts = snapshot.as_of();
    let format = global.format.unwrap_or(Format::Jsonl);
    if args.count {
        let rows = each_row(&store, &snapshot, args, |_| Ok(()))?;
        let facts = vec![("as_of", Fact::Count(ts)), ("rows", Fact::Count(rows))];
        let mut out = output::stdout();
        write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()?;
    } else {
        let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
        each_row(&store, &snapshot, args, |update| rows.row(update).on_stdout())?;
        rows.finish().on_stdout()?;
    }
    store.close()
}

/// Calls `visit` with each row that `args` asks for, and counts them.
fn each_row(
    store: &Store,
    snapshot: &Snapshot,
    args: &Scan,
    mut visit: impl FnMut(Update<'_>) -> Result<()>,
) -> Result<u64> {
    let mut rows = rows(snapshot, args);
    let ts = snapshot.as_of();
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut count = 0;
    while count < limit
        && let Some(row) = rows.next_row().in_database(store.path())?
    {
        visit(Update { key: row.key, val: row.val, ts, diff: row.diff })?;
        count += 1;
    }
    Ok(count)
}

/// The rows of the range that `args` asks for, in its direction.
fn rows(snapshot: &Snapshot, args: &Scan) -> Rows {
    let rows = match &args.prefix {
        Some(prefix) => snapshot.prefix(&prefix.0),
        None => {
            let from = args.from.as_ref().map_or(Bound::Unbounded, |key| Bound::Included(&*key.0));
            let to = args.to.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&*key.0));
            snapshot.range::<[u8]>((from, to))
        }
    };
    if args.reverse { rows.reversed() } else { rows }
}
