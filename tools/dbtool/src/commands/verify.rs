//! `dbtool verify`: checks that the files are what was written.

use super::note;
use crate::args::{Global, Verify};
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_one};
use crate::progress::Bar;
use crate::store::Store;
use datestone::VerifyDepth;
use std::io::Write as _;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Verify) -> Result<()> {
    let store = Store::reading(&args.db)?;
    let depth = if args.full { VerifyDepth::Full } else { VerifyDepth::Quick };
    let bar = Bar::bytes("verifying", global.progress());
    let facts = verify(global, &store, depth, &bar)?;
    bar.clear();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()?;
    note(global, "everything that was checked is as it was written");
    store.close()
}

/// Checks the database and tells how much was checked.
pub(super) fn verify(
    global: &Global,
    store: &Store,
    depth: VerifyDepth,
    bar: &Bar,
) -> Result<Facts> {
    let mut total = None;
    let report = store.db.verify(depth, |done, all| {
        if total != Some(all) {
            total = Some(all);
            bar.set_length(all);
        }
        bar.set_position(done);
    });
    let report = report.in_database(store.path())?;
    // The first damage ends the command with its exit code; the others are told before.
    for damage in report.damage.iter().skip(1) {
        note(global, damage);
    }
    if let Some(first) = report.damage.into_iter().next() {
        return Err(first).in_database(store.path());
    }
    let depth = match depth {
        VerifyDepth::Quick => "quick",
        VerifyDepth::Full => "full",
    };
    Ok(vec![
        ("depth", Fact::Text(depth.into())),
        ("segments", Fact::Count(report.segments)),
        ("blocks", Fact::Count(report.blocks)),
        ("updates", Fact::Count(report.updates)),
        ("bytes", Fact::Bytes(report.bytes)),
    ])
}
