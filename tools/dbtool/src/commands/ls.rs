//! `dbtool ls`: the collections, in order of their names.

use crate::args::Global;
use crate::failure::Result;
use crate::output::{self, Format, OnStdout as _, write_list};
use crate::store::{FACT_NAMES, Store, facts};
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(global: &Global, db: &Path) -> Result<()> {
    let store = Store::reading(db)?;
    let list: Vec<_> = store.db.collections().iter().map(facts).collect();
    let format = global.format.unwrap_or(Format::Table);
    let mut out = output::stdout();
    write_list(&mut out, format, &FACT_NAMES, &list).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}
