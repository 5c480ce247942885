//! `dbtool upgrade`: every file in the format that this build writes. There is one version of segments so
//! far, so that opening the database and emptying its log is all of it.

use super::note;
use super::verify::verify;
use crate::args::Global;
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Format, OnStdout as _, write_one};
use crate::progress::Bar;
use crate::store::Store;
use datestone::VerifyDepth;
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(global: &Global, db: &Path, commit: bool) -> Result<()> {
    let store = if commit { Store::existing(db)? } else { Store::reading(db)? };
    if commit {
        // Manifest and log were written anew when it was opened.
        store.db.flush().in_database(store.path())?;
    } else {
        let what = "the plan: manifest and log are written anew, in the format of this build";
        note(global, format_args!("{what}; nothing was changed, --commit does it"));
    }
    // No file is of a newer or unknown version, and each is what its version says.
    let bar = Bar::bytes("verifying", global.progress());
    let mut facts = verify(global, &store, VerifyDepth::Full, &bar)?;
    bar.clear();
    facts.insert(0, ("format_version", Fact::Count(store.db.stats().format_version.into())));
    facts.push(("done", Fact::Text(commit.to_string())));
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}
