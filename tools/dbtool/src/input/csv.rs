//! Rows from CSV, whose header names the columns `key`, `val`, `ts` and `diff` in any order.
//!
//! A field is its bytes as they are, or `{"b64": ".."}`.

use super::{Input, bad_row, fault, hint, unreadable};
use crate::batch::Batch;
use crate::datum;
use crate::failure::{Failure, Result};
use crate::row::{self, Field};
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use datestone::{Frontier, Update};
use std::borrow::Cow;
use std::io::BufRead;

/// The columns that the header must name.
const COLUMNS: [&str; 4] = ["key", "val", "ts", "diff"];

/// Rows from CSV.
pub(crate) struct CsvRows {
    name: String,
    reader: csv::Reader<Box<dyn BufRead>>,
    record: ByteRecord,
    /// Where each of [`COLUMNS`] stands, from 0.
    at: [usize; 4],
}

impl CsvRows {
    /// The rows of `input`, whose header is read at once.
    pub(crate) fn new(input: Input) -> Result<Self> {
        let mut reader = ReaderBuilder::new().from_reader(input.reader);
        let header = reader.byte_headers().map_err(|error| bad_csv(&input.name, &error))?;
        let at = columns(header).map_err(|what| {
            bad_row(&input.name, 1, "1", &what).hint("begin the file with: key,val,ts,diff")
        })?;
        Ok(Self { name: input.name, reader, record: ByteRecord::new(), at })
    }

    /// The input's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds the next row to `batch`, unless it lies below `upper`; `false` at the end.
    pub(crate) fn read_into(&mut self, batch: &mut Batch, upper: Frontier) -> Result<bool> {
        let read = self.reader.read_byte_record(&mut self.record);
        if !read.map_err(|error| bad_csv(&self.name, &error))? {
            return Ok(false);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let key = self.bytes(0, line)?;
        let val = self.bytes(1, line)?;
        let ts = self.int(2, line, row::parse_ts)?;
        let diff = self.int(3, line, row::parse_diff)?;
        let update = Update { key: &key, val: &val, ts, diff };
        if let Some((field, what)) = fault(update, upper) {
            let column = match field {
                Field::Key => 0,
                Field::Val => 1,
                Field::Ts => 2,
            };
            let failure = self.bad_field(column, line, &what);
            return Err(match hint(field) {
                Some(hint) => failure.hint(hint),
                None => failure,
            });
        }
        batch.push(update, line);
        Ok(true)
    }

    /// The field of a column of [`COLUMNS`]. Every record has as many fields as the header.
    fn field(&self, column: usize) -> &[u8] {
        self.record.get(self.at[column]).unwrap_or_default()
    }

    fn bytes(&self, column: usize, line: u64) -> Result<Cow<'_, [u8]>> {
        datum::from_cell(self.field(column)).map_err(|what| self.bad_field(column, line, &what))
    }

    fn int<T>(&self, column: usize, line: u64, parse: fn(&str) -> Result2<T>) -> Result<T> {
        let text = String::from_utf8_lossy(self.field(column));
        parse(&text).map_err(|what| self.bad_field(column, line, &what))
    }

    fn bad_field(&self, column: usize, line: u64, what: &str) -> Failure {
        let place = format!("{} ({})", self.at[column] + 1, COLUMNS[column]);
        bad_row(&self.name, line, &place, what)
    }
}

type Result2<T> = std::result::Result<T, String>;

/// Where each of [`COLUMNS`] stands in the header.
fn columns(header: &ByteRecord) -> Result2<[usize; 4]> {
    let mut at = [None; 4];
    for (place, name) in header.iter().enumerate() {
        let known = COLUMNS.iter().position(|column| column.as_bytes() == name);
        let name = String::from_utf8_lossy(name);
        let Some(column) = known else {
            return Err(format!("the header names a column '{name}', which no row has"));
        };
        if at[column].replace(place).is_some() {
            return Err(format!("the header names the column '{name}' twice"));
        }
    }
    let mut found = [0; 4];
    for (column, name) in COLUMNS.iter().enumerate() {
        found[column] = at[column].ok_or_else(|| format!("the header has no column '{name}'"))?;
    }
    Ok(found)
}

fn bad_csv(name: &str, error: &csv::Error) -> Failure {
    match error.kind() {
        ErrorKind::Io(error) => unreadable(name, error),
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            let column = (*len.min(expected_len) + 1).to_string();
            let what = format!("the header has {expected_len} columns, this row {len}");
            bad_row(name, line, &column, &what)
        }
        _ => {
            let line = error.position().map_or(0, csv::Position::line);
            bad_row(name, line, "1", &error.to_string())
        }
    }
}
