//! Reads a dump, and trusts none of it.

use super::{CollectionHead, DUMP_VERSION, DumpHead, FrontierIn as At, Mode, TS_WIDTH, Tally};
use crate::datum::Datum;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input::{Input, Lines};
use crate::row::{Row, Ts};
use datestone::{Kind, Update};
use serde::Deserialize;

/// One step of reading a dump.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A collection begins.
    Begin(CollectionHead),
    /// A row of the collection, and its line.
    Row(Update<'a>, u64),
    /// The collection ends, and is what was dumped.
    End,
    /// The dump ends, and is whole.
    Finished,
    /// The dump is cut short here.
    Cut,
}

/// Reads a dump event by event.
pub(crate) struct DumpReader {
    lines: Lines,
    head: DumpHead,
    /// The row that was read last, which [`Event::Row`] borrows.
    key: Vec<u8>,
    val: Vec<u8>,
    /// The open collection, and what was read of it.
    open: Option<(String, Tally)>,
    collections: u64,
    rows: u64,
    finished: bool,
}

#[derive(Deserialize)]
struct VersionLine {
    datestone_dump: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    #[serde(rename = "datestone_dump")]
    _version: u64,
    #[serde(rename = "created_by")]
    _created_by: String,
    source_format: u32,
    mode: Mode,
    as_of: Option<Ts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectionLine<'a> {
    collection: String,
    ts_width: u8,
    since: At,
    upper: At,
    #[serde(borrow)]
    config: Config<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config<'a> {
    kind: String,
    #[serde(borrow)]
    meta: Datum<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: String,
    rows: Ts,
    diff_sum: serde_json::Value,
    crc32: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndDumpLine {
    end_dump: bool,
    collections: Ts,
    rows: Ts,
}

impl DumpReader {
    /// Reads the head of the dump in `input`.
    pub(crate) fn new(input: Input) -> Result<Self> {
        let mut lines = Lines::new(input);
        let line = lines.next_line()?.unwrap_or_default();
        let version: VersionLine = serde_json::from_slice(line).map_err(|_| {
            Failure::new(Exit::Error, format!("{} is not a dump", lines.name()))
                .why("its first line does not say {\"datestone_dump\": ..}")
                .hint("dbtool load DB COLLECTION FILE loads plain rows")
        })?;
        if version.datestone_dump != DUMP_VERSION {
            let found = version.datestone_dump;
            let what = format!("{} is a dump of version {found}", lines.name());
            return Err(Failure::new(Exit::Format, what)
                .why(format!("this build reads version {DUMP_VERSION}"))
                .hint("use the dbtool of the version that wrote it"));
        }
        let head: HeadLine =
            serde_json::from_slice(lines.last()).map_err(|error| lines.bad_json(&error))?;
        let as_of = head.as_of.map(|ts| ts.0);
        let head = DumpHead { source_format: head.source_format, mode: head.mode, as_of };
        let (key, val) = (vec![], vec![]);
        Ok(Self { lines, head, key, val, open: None, collections: 0, rows: 0, finished: false })
    }

    /// The head of the dump.
    pub(crate) fn head(&self) -> &DumpHead {
        &self.head
    }

    /// The dump's name.
    pub(crate) fn name(&self) -> &str {
        self.lines.name()
    }

    /// Rows read so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The next event. [`Event::Finished`] and [`Event::Cut`] are the last.
    pub(crate) fn next_event(&mut self) -> Result<Event<'_>> {
        if self.lines.next_line()?.is_none() {
            return Ok(if self.finished { Event::Finished } else { Event::Cut });
        }
        if self.finished {
            return Err(self.lines.bad_line("the dump has ended before this line"));
        }
        match &self.open {
            None if self.lines.last().starts_with(b"{\"end_dump\"") => self.end_dump(),
            None => self.begin(),
            Some(_) if self.lines.last().starts_with(b"{\"end\"") => self.end(),
            Some(_) => self.row(),
        }
    }

    /// Parses the last line. A last line that was cut is no JSON: that is told as what it is by
    /// the caller, who sees no [`Event::Finished`] either way.
    fn parse<'a, T: Deserialize<'a>>(lines: &'a Lines) -> Result<T> {
        serde_json::from_slice(lines.last()).map_err(|error| lines.bad_json(&error))
    }

    fn begin(&mut self) -> Result<Event<'_>> {
        let line: CollectionLine<'_> = Self::parse(&self.lines)?;
        let kind = Kind::from_name(&line.config.kind).filter(|_| line.ts_width == TS_WIDTH);
        let Some(kind) = kind else {
            let what = format!(
                "a collection of kind '{}' with times of {} bytes",
                line.config.kind, line.ts_width
            );
            return Err(Failure::new(Exit::Format, what)
                .why("this build knows multiset, table, log and clock-table, with times of 8 bytes")
                .hint("use the dbtool of the version that wrote it"));
        };
        let head = CollectionHead {
            since: line.since.0,
            upper: line.upper.0,
            meta: line.config.meta.0.into_owned(),
            name: line.collection,
            kind,
        };
        self.open = Some((head.name.clone(), Tally::default()));
        Ok(Event::Begin(head))
    }

    fn row(&mut self) -> Result<Event<'_>> {
        let row: Row<'_> = Self::parse(&self.lines)?;
        let Update { key, val, ts, diff } = row.update();
        self.key.clear();
        self.key.extend_from_slice(key);
        self.val.clear();
        self.val.extend_from_slice(val);
        if let Some((_, tally)) = &mut self.open {
            tally.add(self.lines.last(), diff);
        }
        self.rows += 1;
        Ok(Event::Row(Update { key: &self.key, val: &self.val, ts, diff }, self.lines.number()))
    }

    fn end(&mut self) -> Result<Event<'_>> {
        let line: EndLine = Self::parse(&self.lines)?;
        let Some((name, tally)) = self.open.take() else {
            return Err(self.lines.bad_line("no collection is open here"));
        };
        let diff_sum = match &line.diff_sum {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let said = (line.end, line.rows.0, diff_sum, line.crc32);
        let found = (name, tally.rows, tally.diff_sum.to_string(), tally.crc());
        if said != found {
            let what = format!(
                "the dump was changed: collection '{}' has rows {}, diff_sum {}, crc32 {}, where \
                 this line says '{}', {}, {}, {}",
                found.0, found.1, found.2, found.3, said.0, said.1, said.2, said.3
            );
            return Err(self.lines.bad_line(&what));
        }
        self.collections += 1;
        Ok(Event::End)
    }

    fn end_dump(&mut self) -> Result<Event<'_>> {
        let line: EndDumpLine = Self::parse(&self.lines)?;
        let said = (line.end_dump, line.collections.0, line.rows.0);
        if said != (true, self.collections, self.rows) {
            let what = format!(
                "the dump was changed: it has {} collections with {} rows, where this line says \
                 {} and {}",
                self.collections, self.rows, said.1, said.2
            );
            return Err(self.lines.bad_line(&what));
        }
        self.finished = true;
        self.next_event()
    }
}
