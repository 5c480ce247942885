//! What goes to stdout: rows of a collection, and facts about it, as a table, JSON lines or TSV.
//!
//! # Invariants
//! 1. Nothing but data is written here; what is for a person alone goes to stderr.
//! 2. In TSV a line is a row: tabs, line ends and backslashes of a cell are escaped.

use crate::datum;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::row;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use datestone::{Frontier, Update};
use indicatif::HumanBytes;
use std::borrow::Cow;
use std::io::{self, BufWriter, StdoutLock, Write};

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people; holds all of it in memory
    Table,
    /// One JSON object a line
    Jsonl,
    /// Tab-separated cells with a header
    Tsv,
}

/// The locked stdout, buffered. Flush it before the end.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Gives a failure of stdout its meaning.
pub(crate) trait OnStdout<T> {
    /// A reader that has gone is [`Failure::BrokenPipe`]; all else is told.
    fn on_stdout(self) -> Result<T>;
}

impl<T> OnStdout<T> for io::Result<T> {
    fn on_stdout(self) -> Result<T> {
        self.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            io::ErrorKind::StorageFull => {
                Failure::new(Exit::NoSpace, "cannot write to stdout").why(error)
            }
            _ => Failure::new(Exit::Error, "cannot write to stdout").why(error),
        })
    }
}

/// Writes rows one after the other.
pub(crate) struct RowsOut<W> {
    out: W,
    format: Format,
    table: Table,
}

const ROW_COLUMNS: [&str; 4] = ["key", "val", "ts", "diff"];

impl<W: Write> RowsOut<W> {
    /// Rows to `out`, of which TSV gets its header at once.
    pub(crate) fn new(mut out: W, format: Format) -> io::Result<Self> {
        if format == Format::Tsv {
            write_tsv(&mut out, ROW_COLUMNS.map(Cow::Borrowed))?;
        }
        Ok(Self { out, format, table: plain_table(&ROW_COLUMNS, &[2, 3]) })
    }

    /// Writes one row.
    pub(crate) fn row(&mut self, update: Update<'_>) -> io::Result<()> {
        let Update { key, val, ts, diff } = update;
        match self.format {
            Format::Jsonl => row::write(&mut self.out, update),
            Format::Tsv => {
                let cells = [datum::to_cell(key), datum::to_cell(val)];
                let numbers = [ts.to_string().into(), diff.to_string().into()];
                write_tsv(&mut self.out, cells.into_iter().chain(numbers))
            }
            Format::Table => {
                let [key, val] =
                    [key, val].map(|bytes| escape(&datum::to_cell(bytes)).into_owned());
                self.table.add_row([key, val, ts.to_string(), diff.to_string()]);
                Ok(())
            }
        }
    }

    /// Hands out what was written so far; a table is written at its end only.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes what was held back, and flushes.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Table {
            writeln!(self.out, "{}", self.table.trim_fmt())?;
        }
        self.out.flush()
    }
}

/// A fact, which people and programs want to see differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Text.
    Text(String),
    /// A key or value.
    Datum(Vec<u8>),
    /// A number.
    Count(u64),
    /// A number of bytes, for people in KiB, MiB and so on.
    Bytes(u64),
    /// A share, in hundredths of a percent.
    Share(u64),
    /// A frontier.
    Frontier(Frontier),
}

impl Fact {
    /// `part` of `whole`, nothing when there is nothing.
    pub(crate) fn share(part: u64, whole: u64) -> Self {
        let whole = u128::from(whole.max(1));
        let share = (u128::from(part) * 10_000 + whole / 2) / whole;
        Self::Share(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// As people read it.
    pub(crate) fn for_people(&self) -> String {
        match self {
            Self::Text(text) => escape(text).into_owned(),
            Self::Datum(bytes) => escape(&datum::to_cell(bytes)).into_owned(),
            Self::Count(count) => count.to_string(),
            Self::Bytes(bytes) => HumanBytes(*bytes).to_string(),
            Self::Share(share) => format!("{}.{:02} %", share / 100, share % 100),
            Self::Frontier(frontier) => frontier.to_string(),
        }
    }

    fn for_tsv(&self) -> String {
        match self {
            // Written as a cell, which escapes it.
            Self::Text(text) => text.clone(),
            Self::Datum(bytes) => datum::to_cell(bytes).into_owned(),
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Share(share) => decimal_share(*share),
            _ => self.for_people(),
        }
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text(text) => serde_json::to_writer(out, text).map_err(io::Error::from),
            Self::Datum(bytes) => datum::write_json(out, bytes),
            Self::Count(int) | Self::Bytes(int) => row::write_int(out, i128::from(*int)),
            Self::Share(share) => out.write_all(decimal_share(*share).as_bytes()),
            Self::Frontier(frontier) => out.write_all(row::frontier_json(*frontier).as_bytes()),
        }
    }

    fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Datum(_))
    }
}

/// A share as the fraction that it is.
fn decimal_share(share: u64) -> String {
    format!("{}.{:04}", share / 10_000, share % 10_000)
}

/// Facts with their names.
pub(crate) type Facts = Vec<(&'static str, Fact)>;

/// Writes a list of things, each with the same facts; `names` are their names when the list is
/// empty.
pub(crate) fn write_list(
    out: &mut impl Write,
    format: Format,
    names: &[&'static str],
    list: &[Facts],
) -> io::Result<()> {
    match format {
        Format::Jsonl => list.iter().try_for_each(|facts| write_object(out, facts)),
        Format::Tsv => {
            write_tsv(&mut *out, names.iter().map(|name| Cow::Borrowed(*name)))?;
            for facts in list {
                write_tsv(&mut *out, facts.iter().map(|(_, fact)| Cow::Owned(fact.for_tsv())))?;
            }
            Ok(())
        }
        Format::Table => {
            let facts = list.first().into_iter().flatten().enumerate();
            let numbers = facts.filter(|(_, (_, fact))| fact.is_number()).map(|(at, _)| at);
            let mut table = plain_table(names, &numbers.collect::<Vec<_>>());
            for facts in list {
                table.add_row(facts.iter().map(|(_, fact)| fact.for_people()));
            }
            writeln!(out, "{}", table.trim_fmt())
        }
    }
}

/// Writes the facts about one thing: for people, a line for each.
pub(crate) fn write_one(out: &mut impl Write, format: Format, facts: &Facts) -> io::Result<()> {
    if format != Format::Table {
        let names: Vec<_> = facts.iter().map(|(name, _)| *name).collect();
        return write_list(out, format, &names, std::slice::from_ref(facts));
    }
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, fact) in facts {
        writeln!(out, "{name:width$}  {}", fact.for_people())?;
    }
    Ok(())
}

/// Writes facts as one line of JSON.
pub(crate) fn write_object(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    for (at, (name, fact)) in facts.iter().enumerate() {
        write!(out, "{}\"{name}\":", if at == 0 { "{" } else { "," })?;
        fact.write_json(out)?;
    }
    out.write_all(b"}\n")
}

/// A table of aligned columns and nothing else.
fn plain_table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn write_tsv<'a>(
    out: &mut impl Write,
    cells: impl IntoIterator<Item = Cow<'a, str>>,
) -> io::Result<()> {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b"\t")?;
        }
        out.write_all(escape(&cell).as_bytes())?;
    }
    out.write_all(b"\n")
}

/// `text` on one line and in one cell.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\\' => escaped.push_str("\\\\"),
            _ => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: Format) -> String {
        let mut out = vec![];
        let mut rows = RowsOut::new(&mut out, format).unwrap();
        rows.row(Update { key: b"serde", val: b"1.0\t\\", ts: 7, diff: 1 }).unwrap();
        rows.row(Update { key: b"\xff", val: b"", ts: u64::MAX, diff: -12 }).unwrap();
        rows.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_in_every_format() {
        assert_eq!(
            rows(Format::Jsonl),
            "{\"key\":\"serde\",\"val\":\"1.0\\t\\\\\",\"ts\":7,\"diff\":1}\n\
             {\"key\":{\"b64\":\"/w==\"},\"val\":\"\",\"ts\":\"18446744073709551615\",\"diff\":-12}\n"
        );
        assert_eq!(
            rows(Format::Tsv),
            "key\tval\tts\tdiff\n\
             serde\t1.0\\t\\\\\t7\t1\n\
             {\"b64\":\"/w==\"}\t\t18446744073709551615\t-12\n"
        );
        let table = rows(Format::Table);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[1].starts_with("serde  ") && lines[1].contains(r"1.0\t\\"), "{table}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{table}");
    }

    fn facts() -> Facts {
        vec![
            ("name", Fact::Text("a\tb".into())),
            ("upper", Fact::Frontier(Frontier::CLOSED)),
            ("bytes", Fact::Bytes(3 << 20)),
            ("garbage", Fact::share(1, 3)),
            ("updates", Fact::Count(1 << 53)),
        ]
    }

    #[test]
    fn facts_are_exact_for_programs_and_readable_for_people() {
        let names = ["name", "upper", "bytes", "garbage", "updates"];
        let write = |format| {
            let mut out = vec![];
            write_list(&mut out, format, &names, &[facts()]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write(Format::Jsonl),
            "{\"name\":\"a\\tb\",\"upper\":\"closed\",\"bytes\":3145728,\"garbage\":0.3333,\
             \"updates\":\"9007199254740992\"}\n"
        );
        assert_eq!(
            write(Format::Tsv),
            "name\tupper\tbytes\tgarbage\tupdates\na\\tb\tclosed\t3145728\t0.3333\t9007199254740992\n"
        );
        let table = write(Format::Table);
        assert!(table.contains("3.00 MiB") && table.contains("33.33 %"), "{table}");
        let mut out = vec![];
        write_one(&mut out, Format::Table, &facts()).unwrap();
        let one = String::from_utf8(out).unwrap();
        assert!(one.starts_with("name     a\\tb\nupper    closed\n"), "{one}");
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!(Fact::share(0, 0), Fact::Share(0));
        assert_eq!(Fact::share(u64::MAX, u64::MAX), Fact::Share(10_000));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_to_tell() {
        let gone: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        assert!(matches!(gone.on_stdout(), Err(Failure::BrokenPipe)));
        let full: io::Result<()> = Err(io::ErrorKind::StorageFull.into());
        assert_eq!(full.on_stdout().unwrap_err().exit(), Exit::NoSpace);
    }
}
