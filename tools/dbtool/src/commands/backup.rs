//! `dbtool backup`, `backups` and `restore`: states of a database in a directory of their own.

use super::note;
use crate::args::Global;
use crate::args::change::{Backup, Backups, Restore};
use crate::dates::moment;
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list, write_one};
use crate::progress::Bar;
use crate::store::Store;
use datestone::{BackupInfo, VerifyDepth};
use std::io::Write as _;

const NAMES: [&str; 6] = ["backup", "taken", "seqno", "collections", "segments", "bytes"];

fn facts(info: &BackupInfo) -> Facts {
    let values = [
        Fact::Count(info.number),
        Fact::Text(moment(info.taken)),
        Fact::Count(info.seqno),
        Fact::Count(info.uppers.len() as u64),
        Fact::Count(info.segments),
        Fact::Bytes(info.bytes),
    ];
    NAMES.into_iter().zip(values).collect()
}

/// Runs `dbtool backup`.
pub(crate) fn take(global: &Global, args: &Backup) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let taken = store.db.backup(&args.dir).in_database(&args.dir)?;
    let mut shown = facts(&taken.info);
    shown.push(("copied", Fact::Count(taken.copied)));
    shown.push(("copied_bytes", Fact::Bytes(taken.copied_bytes)));
    if let Some(keep) = args.keep {
        let backups = datestone::Backups::open(&args.dir).in_database(&args.dir)?;
        let removed = backups.keep_latest(keep.get()).in_database(&args.dir)?;
        shown.push(("removed", Fact::Count(removed.backups)));
        shown.push(("removed_bytes", Fact::Bytes(removed.bytes)));
    }
    print(global, &shown)?;
    store.close()
}

/// Runs `dbtool backups`.
pub(crate) fn list(global: &Global, args: &Backups) -> Result<()> {
    let backups = datestone::Backups::open(&args.dir).in_database(&args.dir)?;
    if args.verify {
        let report = backups.verify().in_database(&args.dir)?;
        // The first damage ends the command with its exit code; the others are told before.
        for damage in report.damage.iter().skip(1) {
            note(global, damage);
        }
        if let Some(first) = report.damage.into_iter().next() {
            return Err(first).in_database(&args.dir);
        }
        note(global, format_args!("{} bytes are what was backed up", report.bytes));
    }
    let list: Vec<Facts> = backups.list().in_database(&args.dir)?.iter().map(facts).collect();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_list(&mut out, format, &NAMES, &list).and_then(|()| out.flush()).on_stdout()
}

/// Runs `dbtool restore`.
pub(crate) fn restore(global: &Global, args: &Restore) -> Result<()> {
    let backups = datestone::Backups::open(&args.dir).in_database(&args.dir)?;
    let restored = backups.restore(args.backup, &args.db).in_database(&args.dir)?;
    if args.verify {
        let store = Store::reading(&args.db)?;
        let bar = Bar::bytes("verifying", global.progress());
        super::verify::verify(global, &store, VerifyDepth::Full, &bar)?;
        bar.clear();
        store.close()?;
    }
    print(global, &facts(&restored))
}

fn print(global: &Global, shown: &Facts) -> Result<()> {
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, shown).and_then(|()| out.flush()).on_stdout()
}
