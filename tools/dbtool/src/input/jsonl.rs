//! Rows from lines of JSON. Empty lines are passed over.

use super::{Input, LINE_LEN_MAX, bad_row, fault, hint, unreadable};
use crate::batch::Batch;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::row::{self, Row};
use datestone::Frontier;
use std::io::{BufRead, Read};

/// The lines of an input, numbered from 1.
pub(crate) struct Lines {
    input: Input,
    line: Vec<u8>,
    number: u64,
    len_max: u64,
}

impl Lines {
    /// The lines of `input`.
    pub(crate) fn new(input: Input) -> Self {
        Self::with_len_max(input, LINE_LEN_MAX)
    }

    /// The lines of `input`, none longer than `len_max` bytes.
    pub(super) fn with_len_max(input: Input, len_max: u64) -> Self {
        Self { input, line: vec![], number: 0, len_max }
    }

    /// The next line that is not blank, with its line end if it has one; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>> {
        loop {
            self.line.clear();
            let mut bounded = (&mut self.input.reader).take(self.len_max + 1);
            let read = bounded.read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| unreadable(&self.input.name, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > self.len_max {
                let what = format!("the line is longer than {} bytes", self.len_max);
                return Err(bad_row(&self.input.name, self.number, "1", &what));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// The line that [`Lines::next_line`] gave last.
    pub(crate) fn last(&self) -> &[u8] {
        &self.line
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The input's name.
    pub(crate) fn name(&self) -> &str {
        &self.input.name
    }

    /// A failure that the last line is not the JSON that was expected.
    pub(crate) fn bad_json(&self, error: &serde_json::Error) -> Failure {
        // The place within the line is told by our own numbers.
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let column = error.column().max(1).to_string();
        bad_row(self.name(), self.number, &column, what)
    }

    /// A failure of the last line that no column tells more about.
    pub(crate) fn bad_line(&self, what: &str) -> Failure {
        Failure::new(Exit::Error, format!("{}:{}: {what}", self.name(), self.number))
    }
}

/// Rows from lines of JSON.
pub(crate) struct JsonlRows {
    lines: Lines,
}

impl JsonlRows {
    /// The rows of `input`.
    pub(crate) fn new(input: Input) -> Self {
        Self { lines: Lines::new(input) }
    }

    /// The input's name.
    pub(crate) fn name(&self) -> &str {
        self.lines.name()
    }

    /// Adds the next row to `batch`, unless it lies below `upper`; `false` at the end.
    pub(crate) fn read_into(&mut self, batch: &mut Batch, upper: Frontier) -> Result<bool> {
        if self.lines.next_line()?.is_none() {
            return Ok(false);
        }
        let line = self.lines.last();
        let row: Row<'_> = match serde_json::from_slice(line) {
            Ok(row) => row,
            Err(error) => return Err(self.lines.bad_json(&error)),
        };
        let update = row.update();
        if let Some((field, what)) = fault(update, upper) {
            let column = row::offset_of(line, field).map_or(1, |offset| offset + 1);
            let failure =
                bad_row(self.lines.name(), self.lines.number(), &column.to_string(), &what);
            return Err(match hint(field) {
                Some(hint) => failure.hint(hint),
                None => failure,
            });
        }
        batch.push(update, self.lines.number());
        Ok(true)
    }
}
