//! The chart: a bar for each figure that has a floor, as long as the ratio to the best peer.

use crate::Result;
use crate::summary::{self, Line};
use std::fmt::Write;
use std::path::Path;

/// Left edge of the bars.
const LEFT: f64 = 300.0;
/// Width of one doubling.
const OCTAVE: f64 = 70.0;
/// Doublings below and above 1 that fit.
const OCTAVES: (f64, f64) = (2.0, 5.0);
/// Height of a row.
const ROW: f64 = 22.0;

/// Where a ratio is: the scale is logarithmic, so that half and double are as far from 1.
fn x(ratio: f64) -> f64 {
    LEFT + (ratio.log2().clamp(-OCTAVES.0, OCTAVES.1) + OCTAVES.0) * OCTAVE
}

/// Writes it.
pub(crate) fn write(path: &Path, out: &Path) -> Result<()> {
    let lines = summary::lines(&summary::read(path)?);
    let bars: Vec<_> =
        lines.iter().filter(|line| line.floor.is_some() && line.ratio().is_some()).collect();
    std::fs::write(out, draw(&bars)?)?;
    Ok(())
}

/// The picture.
fn draw(bars: &[&Line]) -> Result<String> {
    let height = (bars.len() as f64 + 3.0) * ROW;
    let width = x(f64::INFINITY) + 190.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"16\" font-weight=\"bold\">datestone / best peer (black: floor)</text>\n"
    );
    for octave in -2..=5_i32 {
        let ratio = 2_f64.powi(octave);
        let at = x(ratio);
        let colour = if octave == 0 { "#555" } else { "#ddd" };
        writeln!(
            svg,
            "<line x1=\"{at}\" y1=\"{ROW}\" x2=\"{at}\" y2=\"{}\" stroke=\"{colour}\"/>\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{ratio}</text>",
            height - ROW,
            height - 6.0,
        )?;
    }
    for (index, line) in bars.iter().enumerate() {
        bar(&mut svg, line, (index as f64 + 1.5) * ROW)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// One bar, from 1 to its ratio.
fn bar(svg: &mut String, line: &Line, top: f64) -> Result<()> {
    let (Some(ratio), Some(floor), Some((peer, _))) = (line.ratio(), line.floor, line.best_peer())
    else {
        return Ok(());
    };
    let colour = if ratio >= floor.ratio { "#3a7" } else { "#c43" };
    let (from, to) = (x(1.0).min(x(ratio)), x(1.0).max(x(ratio)));
    let (text, goal) = (top + 13.0, x(floor.ratio));
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{} {}</text>\
         <rect x=\"{from}\" y=\"{}\" width=\"{}\" height=\"12\" fill=\"{colour}\"/>\
         <line x1=\"{goal}\" y1=\"{top}\" x2=\"{goal}\" y2=\"{}\" stroke=\"black\"/>\
         <text x=\"{}\" y=\"{text}\">{ratio:.2} ({peer})</text>",
        LEFT - 8.0,
        line.work,
        line.figure,
        top + 3.0,
        to - from,
        top + 18.0,
        to.max(goal) + 6.0,
    )?;
    Ok(())
}
