//! Where rows come from: a file or stdin, plain or zstd, lines of JSON or CSV.
//!
//! # Invariants
//! 1. A row is handed on whole and checked, or the failure names its file, line and column.
//! 2. Memory is bounded by the longest line, and that by [`LINE_LEN_MAX`].

mod csv;
mod jsonl;

pub(crate) use self::csv::CsvRows;
pub(crate) use self::jsonl::{JsonlRows, Lines};

use crate::batch::Batch;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::Bar;
use crate::row::Field;
use datestone::{Frontier, Update};
use datestone_engine::limits::{KEY_LEN_MAX, VAL_LEN_MAX};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// Longest line of input, in bytes: the longest value at six bytes for each of its own (an escape
/// such as `\u0000`), and room for the rest.
pub(crate) const LINE_LEN_MAX: u64 = 6 * (VAL_LEN_MAX + KEY_LEN_MAX) as u64 + 4096;
/// How a frame of zstd begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_LEN: usize = 256 << 10;

/// An open input with its name for messages.
pub(crate) struct Input {
    /// The file as given, or `stdin`.
    pub(crate) name: String,
    /// Its content, decompressed.
    pub(crate) reader: Box<dyn BufRead>,
}

impl Input {
    /// Opens `path`, where `-` is stdin; zstd is told by its first bytes. `bar` follows the bytes
    /// that are read of a file.
    pub(crate) fn open(path: &Path, bar: &Bar) -> Result<Self> {
        if path == Path::new("-") {
            return Self::new("stdin".into(), Box::new(std::io::stdin().lock()));
        }
        let failed = |error| Failure::io("open", path, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{} is a directory", path.display())));
        }
        bar.set_length(metadata.len());
        Self::new(path.display().to_string(), bar.wrap_read(Box::new(file)))
    }

    /// An input from what `reader` yields.
    pub(crate) fn new(name: String, mut reader: Box<dyn Read>) -> Result<Self> {
        let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
        let read = reader.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head);
        read.map_err(|error| unreadable(&name, &error))?;
        let is_zstd = head == ZSTD_MAGIC;
        let whole = BufReader::with_capacity(BUFFER_LEN, Cursor::new(head).chain(reader));
        if !is_zstd {
            return Ok(Self { name, reader: Box::new(whole) });
        }
        let decoder = zstd::stream::read::Decoder::with_buffer(whole);
        let decoder = decoder.map_err(|error| unreadable(&name, &error))?;
        Ok(Self { name, reader: Box::new(BufReader::with_capacity(BUFFER_LEN, decoder)) })
    }
}

/// A failure to read the input called `name`.
pub(crate) fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Exit::Error, format!("cannot read {name}")).why(error);
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => failure.hint("the file is cut short: get it again"),
        _ => failure,
    }
}

/// How rows are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowFormat {
    /// Lines of JSON
    Jsonl,
    /// CSV with a header
    Csv,
}

impl RowFormat {
    /// What the name of a file says: CSV for `.csv` and `.csv.zst`, lines of JSON for all others.
    pub(crate) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let stem = name.strip_suffix(".zst").unwrap_or(&name);
        if stem.ends_with(".csv") { Self::Csv } else { Self::Jsonl }
    }
}

/// The rows of an input.
pub(crate) enum RowSource {
    /// From lines of JSON.
    Jsonl(JsonlRows),
    /// From CSV.
    Csv(CsvRows),
}

impl RowSource {
    /// The rows of `input`, written down as `format` says.
    pub(crate) fn new(input: Input, format: RowFormat) -> Result<Self> {
        match format {
            RowFormat::Jsonl => Ok(Self::Jsonl(JsonlRows::new(input))),
            RowFormat::Csv => CsvRows::new(input).map(Self::Csv),
        }
    }

    /// Adds the next row to `batch`, unless it lies below `upper`; `false` at the end.
    pub(crate) fn read_into(&mut self, batch: &mut Batch, upper: Frontier) -> Result<bool> {
        match self {
            Self::Jsonl(rows) => rows.read_into(batch, upper),
            Self::Csv(rows) => rows.read_into(batch, upper),
        }
    }

    /// The input's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Jsonl(rows) => rows.name(),
            Self::Csv(rows) => rows.name(),
        }
    }
}

/// What is wrong with an update that may not be appended at `upper`, and in which field.
pub(crate) fn fault(update: Update<'_>, upper: Frontier) -> Option<(Field, String)> {
    if update.key.len() > KEY_LEN_MAX {
        let len = update.key.len();
        return Some((
            Field::Key,
            format!("a key has at most {KEY_LEN_MAX} bytes, this has {len}"),
        ));
    }
    if update.val.len() > VAL_LEN_MAX {
        let len = update.val.len();
        return Some((
            Field::Val,
            format!("a val has at most {VAL_LEN_MAX} bytes, this has {len}"),
        ));
    }
    if upper.is_beyond(update.ts) {
        let ts = update.ts;
        return Some((Field::Ts, format!("ts {ts} is below upper {upper}: that time is closed")));
    }
    None
}

/// What to do about a fault in `field`.
pub(crate) fn hint(field: Field) -> Option<&'static str> {
    match field {
        Field::Ts => Some(
            "rows come in order of ts, or load with --unordered; a load that was stopped goes on with --resume",
        ),
        Field::Key | Field::Val => None,
    }
}

/// A failure at a place of the input.
pub(crate) fn bad_row(name: &str, line: u64, column: &str, what: &str) -> Failure {
    Failure::new(Exit::Error, format!("{name}:{line}: column {column}: {what}"))
}

#[cfg(test)]
mod tests;
