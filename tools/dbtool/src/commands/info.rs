//! `dbtool info`: a database on one screen.

use crate::args::Global;
use crate::failure::Result;
use crate::output::{self, Fact, Format, OnStdout as _, write_list, write_one};
use crate::store::{FACT_NAMES, Store, facts};
use std::io::{self, Write};
use std::path::Path;

/// Runs the command.
pub(crate) fn run(global: &Global, db: &Path) -> Result<()> {
    let store = Store::reading(db)?;
    let format = global.format.unwrap_or(Format::Table);
    write(&store, format).on_stdout()?;
    store.close()
}

fn write(store: &Store, format: Format) -> io::Result<()> {
    let mut out = output::stdout();
    let collections = store.db.collections();
    let mut database = vec![("database", Fact::Text(store.path().display().to_string()))];
    database.extend(super::stat::database(store));
    write_one(&mut out, format, &database)?;
    if format == Format::Table && !collections.is_empty() {
        writeln!(out)?;
        let list: Vec<_> = collections.iter().map(facts).collect();
        write_list(&mut out, format, &FACT_NAMES, &list)?;
    }
    out.flush()
}
