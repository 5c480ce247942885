//! `dbtool salvage`: what is whole of a damaged database, in a new one.

use super::note;
use crate::args::{Global, Salvage};
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_object, write_one};
use datestone::{SalvageDamage, SalvageOptions, SalvageReport, salvage_with};
use std::io::Write as _;

/// Runs the command. It changes nothing that is there, so it needs no `--commit`.
pub(crate) fn run(global: &Global, args: &Salvage) -> Result<()> {
    let options = SalvageOptions { unchecked_blocks: args.unchecked, ..SalvageOptions::default() };
    let report = salvage_with(&args.db, &args.new, &options).in_database(&args.db)?;
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &facts(&report)).on_stdout()?;
    for damage in &report.damages {
        if format == Format::Jsonl {
            write_object(&mut out, &damage_facts(damage)).on_stdout()?;
        } else {
            note(global, damage);
        }
    }
    out.flush().on_stdout()?;
    if report.is_clean() {
        return Ok(());
    }
    let (count, new) = (report.damage_count, args.new.display());
    let what = format!("{count} damages in {}; {new} has what is whole", args.db.display());
    Err(Failure::new(Exit::Corruption, what).hint(format!("dbtool info {new}")))
}

fn facts(report: &SalvageReport) -> Facts {
    vec![
        ("manifest", Fact::Text(report.manifest.name().into())),
        ("collections", Fact::Count(report.collections)),
        ("segments", Fact::Count(report.segments)),
        ("segments_damaged", Fact::Count(report.segments_damaged)),
        ("segments_lost", Fact::Count(report.segments_lost)),
        ("blocks", Fact::Count(report.blocks)),
        ("blocks_lost", Fact::Count(report.blocks_lost)),
        ("updates", Fact::Count(report.updates)),
        ("updates_lost", Fact::Count(report.updates_lost)),
        ("updates_left_out", Fact::Count(report.updates_left_out)),
        ("commits", Fact::Count(report.commits)),
        ("commits_lost", Fact::Count(report.commits_lost)),
        ("damages", Fact::Count(report.damage_count)),
    ]
}

/// What is known of a damage.
fn damage_facts(damage: &SalvageDamage) -> Facts {
    let mut facts = vec![
        ("file", Fact::Text(damage.file.display().to_string())),
        ("offset", Fact::Count(damage.offset)),
        ("what", Fact::Text(damage.what.clone())),
    ];
    let known = [
        damage.collection.clone().map(|name| ("collection", Fact::Text(name))),
        damage.first_key.clone().map(|key| ("first_key", Fact::Datum(key))),
        damage.end_key.clone().map(|key| ("end_key", Fact::Datum(key))),
        damage.times.map(|(first, _)| ("first_ts", Fact::Count(first))),
        damage.times.map(|(_, last)| ("last_ts", Fact::Count(last))),
        damage.updates.map(|updates| ("updates_lost", Fact::Count(updates))),
    ];
    facts.extend(known.into_iter().flatten());
    if !damage.commits.is_empty() {
        facts.push(("first_commit", Fact::Count(damage.commits.start)));
        facts.push(("end_commit", Fact::Count(damage.commits.end)));
    }
    facts
}
