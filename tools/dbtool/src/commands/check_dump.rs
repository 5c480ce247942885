//! `dbtool check-dump`: whether a dump is what was dumped, without a database.
//!
//! Beside what the reader of dumps checks for everybody (form, counts, checksums, that it is whole),
//! this checks what makes a dump reproducible: collections in order of their names, rows strictly in
//! order of (key, val, ts), none with a diff of zero, none before since.

use super::note;
use crate::args::Global;
use crate::dump::{CollectionHead, DumpReader, Event};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input::Input;
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_one};
use crate::progress::Bar;
use datestone::{Kind, Update};
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(global: &Global, file: &Path) -> Result<()> {
    let bar = Bar::bytes("checking", global.progress());
    let facts = check(&mut DumpReader::new(Input::open(file, &bar)?)?)?;
    bar.clear();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()?;
    note(global, "the dump is whole, unchanged and in order");
    Ok(())
}

/// The row before, of the collection that is being read.
#[derive(Default)]
struct Before {
    key: Vec<u8>,
    val: Vec<u8>,
    /// `None` before the first row.
    ts: Option<u64>,
}

fn check(reader: &mut DumpReader) -> Result<Facts> {
    let name = reader.name().to_owned();
    let mut head: Option<CollectionHead> = None;
    let mut before = Before::default();
    let mut collections = 0;
    loop {
        match reader.next_event()? {
            Event::Begin(next) => {
                if let Some(last) = head.as_ref().filter(|last| last.name >= next.name) {
                    let what = format!(
                        "{name}: collection '{}' after '{}': not in order of names",
                        next.name, last.name
                    );
                    return Err(Failure::new(Exit::Corruption, what));
                }
                head = Some(next);
                before = Before::default();
            }
            Event::Row(update, line) => {
                // A closed since has no time that rows could have been advanced to.
                let since = head.as_ref().and_then(|head| head.since.ts());
                if since.is_some_and(|since| update.ts < since) {
                    return Err(bad(&name, line, "the row lies before the collection's since"));
                }
                let is_log = head.as_ref().is_some_and(|head| head.kind == Kind::Log);
                let checked =
                    if is_log { before.check_event(update) } else { before.check_and_take(update) };
                checked.map_err(|what| bad(&name, line, what))?;
            }
            Event::End => collections += 1,
            Event::Finished => break,
            Event::Cut => {
                return Err(Failure::new(Exit::Corruption, format!("{name} is cut short"))
                    .why("its last line does not say {\"end_dump\": ..}"));
            }
        }
    }
    let head = reader.head();
    Ok(vec![
        ("dump", Fact::Text(name)),
        ("mode", Fact::Text(head.mode.name().into())),
        ("source_format", Fact::Count(head.source_format.into())),
        ("collections", Fact::Count(collections)),
        ("rows", Fact::Count(reader.rows())),
    ])
}

impl Before {
    /// Checks an event of a log: they come in the order of their positions, without a gap.
    fn check_event(&mut self, update: Update<'_>) -> std::result::Result<(), &'static str> {
        let next = self.ts.map_or(Some(0), |before| before.checked_add(1));
        if next != Some(update.ts) || update.diff != 1 {
            return Err("the event is not the next one of its log");
        }
        self.ts = Some(update.ts);
        Ok(())
    }

    fn check_and_take(&mut self, update: Update<'_>) -> std::result::Result<(), &'static str> {
        let Update { key, val, ts, diff } = update;
        if diff == 0 {
            return Err("the row has a diff of zero");
        }
        let in_order = self.ts.is_none_or(|before_ts| {
            (self.key.as_slice(), self.val.as_slice(), before_ts) < (key, val, ts)
        });
        if !in_order {
            return Err("the row is not in order of key, val and ts, or is there twice");
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.val.clear();
        self.val.extend_from_slice(val);
        self.ts = Some(ts);
        Ok(())
    }
}

fn bad(name: &str, line: u64, what: &str) -> Failure {
    Failure::new(Exit::Corruption, format!("{name}:{line}: {what}"))
}
