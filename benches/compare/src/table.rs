//! The table: medians over rounds as Markdown, what is lost first.

use crate::summary::{self, Line};
use crate::{Result, engines};
use std::collections::BTreeSet;
use std::path::Path;

/// Prints it.
pub(crate) fn print(path: &Path) -> Result<()> {
    let figures = summary::read(path)?;
    let lines = summary::lines(&figures);
    let present: BTreeSet<&str> =
        lines.iter().flat_map(|line| line.medians.keys()).map(String::as_str).collect();
    // In the order in which they are listed, so that tables of different runs look alike.
    let engines: Vec<&str> =
        engines::names().into_iter().filter(|name| present.contains(name)).collect();
    let rounds: BTreeSet<u32> = figures.iter().map(|figure| figure.round).collect();
    println!("Medians of {} rounds.\n", rounds.len());
    println!("| work | {} | ratio | floor | met |", engines.join(" | "));
    println!("| --- |{} --- | --- | --- |", " --- |".repeat(engines.len()));
    for line in &lines {
        println!("{}", row(line, &engines));
    }
    for told in summary::disagreements(&figures) {
        println!("\nDISAGREEMENT: {told}");
    }
    Ok(())
}

/// One row.
fn row(line: &Line, engines: &[&str]) -> String {
    let best = line.best_peer().map(|(engine, _)| engine);
    let cells: Vec<String> = engines
        .iter()
        .map(|engine| match line.medians.get(*engine) {
            None => String::new(),
            Some(value) => {
                let shown = summary::readable(*value, &line.unit);
                if best == Some(*engine) { format!("**{shown}**") } else { shown }
            }
        })
        .collect();
    let ratio = line.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let floor = line.floor.map_or(String::new(), |floor| floor.ratio.to_string());
    let met = match (line.floor, line.reached()) {
        (Some(_), Some(reached)) if reached >= 1.0 => "yes",
        (Some(_), Some(_)) => "NO",
        _ => "",
    };
    let name = format!("{} {} ({} rows)", line.work, line.figure, line.rows);
    format!("| {name} | {} | {ratio} | {floor} | {met} |", cells.join(" | "))
}
