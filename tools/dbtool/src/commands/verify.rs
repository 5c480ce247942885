//! `dbtool verify`: checks that the files are what was written.

use super::note;
use crate::args::{Global, Verify};
use crate::datum::ArgBytes;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list, write_one};
use crate::progress::Bar;
use crate::store::Store;
use datestone::VerifyDepth;
use std::io::Write as _;

/// What is told of a place.
const PLACE: [&str; 3] = ["file", "offset", "as"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Verify) -> Result<()> {
    let store = Store::reading(&args.db)?;
    if let Some(ArgBytes(needle)) = &args.absent {
        return absent(global, store, needle);
    }
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

/// Tells where the bytes are, or that they are nowhere.
fn absent(global: &Global, store: Store, needle: &[u8]) -> Result<()> {
    let found = store.db.find_bytes(needle).in_database(store.path())?;
    let format = global.format.unwrap_or(Format::Table);
    let mut out = output::stdout();
    if found.is_absent() {
        let facts = vec![("files", Fact::Count(found.files)), ("bytes", Fact::Bytes(found.bytes))];
        write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()?;
        note(global, "the bytes are in none of the files");
        return store.close();
    }
    let place = |place: &datestone::FoundAt| -> Facts {
        let values = [
            Fact::Text(place.file.display().to_string()),
            Fact::Count(place.offset),
            Fact::Text(if place.decoded { "decoded" } else { "stored" }.into()),
        ];
        PLACE.into_iter().zip(values).collect()
    };
    let places: Vec<Facts> = found.places.iter().map(place).collect();
    write_list(&mut out, format, &PLACE, &places).and_then(|()| out.flush()).on_stdout()?;
    store.close()?;
    let what = format!("the bytes are in {} places", found.count);
    let hint = "erase the keys that have them, and let go of snapshots and checkpoints";
    Err(Failure::new(Exit::Error, what).hint(hint))
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
