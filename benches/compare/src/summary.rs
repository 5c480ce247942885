//! What a file of figures says: medians over rounds, the best peer, the ratio to it, and whether all
//! engines have read the same.

use crate::Result;
use crate::engines::{self, OWN};
use crate::figure::{Better, Figure};
use crate::floors::{self, Floor};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One figure of all engines.
#[derive(Debug)]
pub(crate) struct Line {
    /// The work.
    pub(crate) work: String,
    /// What of it.
    pub(crate) figure: String,
    /// Rows of the data.
    pub(crate) rows: u64,
    /// Of what.
    pub(crate) unit: String,
    /// Which of two wins.
    better: Better,
    /// The medians by engine.
    pub(crate) medians: BTreeMap<String, f64>,
    /// What has to be reached, when something has.
    pub(crate) floor: Option<Floor>,
}

impl Line {
    /// Whether it is no engine's doing: what the bare device did beside each of them.
    fn is_of_machine(&self) -> bool {
        self.figure.starts_with("raw ")
    }

    /// The best of the peers that count, and its median.
    pub(crate) fn best_peer(&self) -> Option<(&str, f64)> {
        if self.is_of_machine() {
            return None;
        }
        let counts = |engine: &str| {
            let lsm_only = self.floor.is_some_and(|floor| floor.lsm_only);
            engine != OWN && (!lsm_only || engines::LSM.contains(&engine))
        };
        let peers = self.medians.iter().filter(|(engine, _)| counts(engine));
        let best = match self.better {
            Better::Higher => peers.max_by(|a, b| a.1.total_cmp(b.1)),
            Better::Lower => peers.min_by(|a, b| a.1.total_cmp(b.1)),
        };
        best.map(|(engine, median)| (engine.as_str(), *median))
    }

    /// How many times better datestone is than the best peer; below 1 it loses.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let own = *self.medians.get(OWN)?;
        let (_, peer) = self.best_peer()?;
        Some(match self.better {
            Better::Higher => own / peer,
            Better::Lower => peer / own,
        })
    }

    /// The ratio over what it has to be, or over 1.
    pub(crate) fn reached(&self) -> Option<f64> {
        Some(self.ratio()? / self.floor.map_or(1.0, |floor| floor.ratio))
    }
}

/// All figures of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Figure>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// The figures by what they are of, what is lost first: what is furthest below its floor, then what
/// has none, in the same order.
pub(crate) fn lines(figures: &[Figure]) -> Vec<Line> {
    let mut found: BTreeMap<(String, String, u64), Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        let of = (figure.work.clone(), figure.figure.clone(), figure.rows);
        found.entry(of).or_default().push(figure);
    }
    let mut lines: Vec<Line> = found.into_iter().filter_map(line).collect();
    lines.sort_by(|a, b| {
        let order = |line: &Line| (line.floor.is_none(), line.reached().unwrap_or(f64::INFINITY));
        let ((a_bare, a_reached), (b_bare, b_reached)) = (order(a), order(b));
        a_bare.cmp(&b_bare).then(a_reached.total_cmp(&b_reached))
    });
    lines
}

/// One line of the figures of all engines and rounds.
fn line(((work, figure, rows), all): ((String, String, u64), Vec<&Figure>)) -> Option<Line> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for one in &all {
        values.entry(one.engine.clone()).or_default().push(one.value);
    }
    let medians = values.into_iter().map(|(engine, values)| (engine, median(values))).collect();
    let first = all.first()?;
    let (unit, better) = (first.unit.clone(), first.better);
    let floor = floors::of(&work, &figure);
    Some(Line { work, figure, rows, unit, better, medians, floor })
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return values[middle];
    }
    (values[middle - 1] + values[middle]) / 2.0
}

/// Where engines have read different things: whoever is in the minority is wrong, or all are.
pub(crate) fn disagreements(figures: &[Figure]) -> Vec<String> {
    /// What is compared.
    type Of = (String, String, u64);
    /// What was read, and by whom.
    type Read = BTreeMap<(u64, String), BTreeSet<String>>;
    let mut found: BTreeMap<Of, Read> = BTreeMap::new();
    for figure in figures {
        if let (Some(count), Some(sum)) = (figure.count, &figure.sum) {
            let of = (figure.work.clone(), figure.figure.clone(), figure.rows);
            let read = found.entry(of).or_default();
            read.entry((count, sum.clone())).or_default().insert(figure.engine.clone());
        }
    }
    let differ = found.into_iter().filter(|(_, read)| read.len() > 1);
    differ
        .map(|((work, figure, rows), read)| {
            let who: Vec<_> = read
                .into_iter()
                .map(|((count, sum), engines)| format!("{count} rows, {sum}: {engines:?}"))
                .collect();
            format!("{work} {figure} ({rows} rows): read {}", who.join("; "))
        })
        .collect()
}

/// A value for people.
pub(crate) fn readable(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => format!("{:.1} MB", value / 1e6),
        "us" if value >= 1e4 => format!("{:.1} ms", value / 1e3),
        "us" => format!("{value:.1} us"),
        "ns" | "ms" | "s" => format!("{value:.3} {unit}"),
        "bytes/s" => format!("{:.2} GB/s", value / 1e9),
        _ if value >= 1e6 => format!("{:.2}M", value / 1e6),
        _ if value >= 1e3 => format!("{:.1}k", value / 1e3),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(engine: &str, value: f64, round: u32, sum: &str) -> Figure {
        Figure {
            engine: engine.to_string(),
            work: "read".to_string(),
            figure: "get".to_string(),
            value,
            unit: "gets/s".to_string(),
            better: Better::Higher,
            round,
            rows: 10,
            peak_rss: 0,
            disk_bytes: 0,
            count: Some(1),
            sum: Some(sum.to_string()),
            note: None,
        }
    }

    /// Medians over rounds, the best peer, the ratio to it and to its floor of 1.5.
    #[test]
    fn a_line_holds_medians_and_their_ratio() {
        let values = [(OWN, 30.0), ("a", 10.0), ("a", 11.0), ("a", 90.0), ("b", 10.5)];
        let figures: Vec<_> =
            (0..).zip(values).map(|(round, (who, value))| figure(who, value, round, "x")).collect();
        let lines = lines(&figures);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].best_peer(), Some(("a", 11.0)));
        assert_eq!(lines[0].ratio(), Some(30.0 / 11.0));
        assert_eq!(lines[0].reached(), Some(30.0 / 11.0 / 1.5));
        assert!(disagreements(&figures).is_empty());
    }

    /// Who reads something else is told.
    #[test]
    fn different_sums_are_told() {
        let told = disagreements(&[figure("a", 1.0, 0, "x"), figure("b", 1.0, 0, "y")]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("\"a\"") && told[0].contains("\"b\""));
    }
}
