//! [`Line`]: one line of the table, and the table.

use crate::Result;
use std::io::Write;

/// Whether a promise is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nothing was promised.
    NotAsked,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    what: String,
    must: String,
    measured: String,
    peer: String,
    ratio: String,
    met: Met,
}

impl Line {
    /// A figure without a promise.
    #[must_use]
    pub fn figure(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            must: String::new(),
            measured: measured.into(),
            peer: String::new(),
            ratio: String::new(),
            met: Met::NotAsked,
        }
    }

    /// A row that could not be measured.
    #[must_use]
    pub fn failed(name: &str, why: &str) -> Self {
        let met = Met::No;
        Self { met, ..Self::figure(name, format!("failed: {why}")) }
    }

    /// With the peer's figure.
    #[must_use]
    pub fn beside(mut self, peer: impl Into<String>) -> Self {
        self.peer = peer.into();
        self
    }

    /// With a ratio to the peer that nothing is promised about.
    #[must_use]
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = format!("{ratio:.2}");
        self
    }

    /// Promises that `value` is at most `bound`.
    #[must_use]
    pub fn at_most(self, value: f64, bound: f64, unit: &str) -> Self {
        self.judged(format!("<= {bound}{unit}"), value <= bound)
    }

    /// Promises that `value` is at least `bound`.
    #[must_use]
    pub fn at_least(self, value: f64, bound: f64, unit: &str) -> Self {
        self.judged(format!(">= {bound}{unit}"), value >= bound)
    }

    fn judged(mut self, must: String, met: bool) -> Self {
        self.must = must;
        self.met = if met { Met::Yes } else { Met::No };
        self
    }

    fn cells(&self) -> [&str; 6] {
        let met = match self.met {
            Met::Yes => "yes",
            Met::No => "NO",
            Met::NotAsked => "",
        };
        [&self.what, &self.must, &self.measured, &self.peer, &self.ratio, met]
    }
}

/// Prints the table, in Markdown that reads well as it is.
pub(super) fn print(lines: &[Line], out: &mut dyn Write) -> Result<()> {
    let head = ["what", "must", "measured", "peer", "ratio", "met"];
    let mut widths = head.map(str::len);
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut row = |cells: [&str; 6]| -> Result<()> {
        for (width, cell) in widths.into_iter().zip(cells) {
            write!(out, "| {cell:width$} ")?;
        }
        Ok(writeln!(out, "|")?)
    };
    row(head)?;
    row(["---"; 6])?;
    lines.iter().try_for_each(|line| row(line.cells()))
}

/// A rate for people.
pub(super) fn rate(per_second: f64, unit: &str) -> String {
    if per_second >= 1e6 {
        format!("{:.2}M {unit}/s", per_second / 1e6)
    } else {
        format!("{:.1}k {unit}/s", per_second / 1e3)
    }
}

/// Nanoseconds of one of `count` for people.
pub(super) fn nanos(seconds: f64, count: usize) -> String {
    format!("{:.1} ns", seconds * 1e9 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_is_kept() {
        let lines = [
            Line::figure("a", "1").beside("2").ratio(0.5).at_most(0.5, 0.6, "x"),
            Line::figure("b", "1").at_least(1.0, 2.0, "M"),
            Line::figure("c", "1"),
        ];
        let mut out = Vec::new();
        print(&lines, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(words[2], ["a", "<= 0.6x", "1", "2", "0.50", "yes"]);
        assert_eq!(words[3], ["b", ">= 2M", "1", "NO"]);
        assert_eq!(words[4], ["c", "1"]);
    }
}
