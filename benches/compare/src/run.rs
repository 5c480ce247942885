//! The run: a fresh process in a fresh directory for each engine at each work, in turns, so that what
//! the machine does to one it does to all.

use crate::figure::Figure;
use crate::{Result, RunArgs, engines, machine, summary, work};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Runs everything that `args` ask for.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let engines = chosen(&args.engines, &engines::names(), "engine")?;
    let works = chosen(&args.work, &work::names(), "work")?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => beside_program()?,
    };
    std::fs::create_dir_all(&dir)?;
    machine::require_disk(&dir)?;
    let mut out = OpenOptions::new().create(true).append(true).open(&args.out)?;
    let mut failures = Vec::new();
    for round in 0..args.rounds {
        for work in &works {
            for engine in rotated(&engines, round as usize) {
                if !work::applies(work, engine) {
                    continue;
                }
                let scratch = tempfile::Builder::new().prefix("compare-").tempdir_in(&dir)?;
                if let Err(e) = one(args, scratch.path(), engine, work, round, &mut out) {
                    eprintln!("{work} {engine} round {round}: {e}");
                    failures.push(format!("{work} {engine} round {round}: {e}"));
                }
            }
        }
    }
    failures.extend(summary::disagreements(&summary::read(&args.out)?));
    match failures.as_slice() {
        [] => Ok(()),
        failures => Err(format!("not everything went well:\n{}", failures.join("\n")).into()),
    }
}

/// Those of `known` that are `wanted`, in the order known; all when none is named.
fn chosen(wanted: &[String], known: &[&'static str], what: &str) -> Result<Vec<&'static str>> {
    if let Some(name) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no {what} is called {name}; there are {}", known.join(", ")).into());
    }
    let is_wanted = |name: &&&str| wanted.is_empty() || wanted.iter().any(|other| other == **name);
    Ok(known.iter().filter(is_wanted).copied().collect())
}

/// A directory beside this program, which is on the disk of the build.
fn beside_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().ok_or("the program has no directory")?.join("compare-data"))
}

/// `engines`, beginning with another one each round.
fn rotated<'a>(engines: &[&'a str], round: usize) -> Vec<&'a str> {
    let mut engines = engines.to_vec();
    let by = round % engines.len().max(1);
    engines.rotate_left(by);
    engines
}

/// Runs one process and writes the lines that it prints.
fn one(
    args: &RunArgs,
    dir: &Path,
    engine: &str,
    work: &str,
    round: u32,
    out: &mut File,
) -> Result<()> {
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["one", engine, work, "--rows", &args.rows.to_string()])
        .args(["--round", &round.to_string()])
        .arg("--dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the child has no output")?;
    // Ends when the child does, which closes its output.
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(std::io::Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let limit = Duration::from_secs(args.limit_seconds);
    let mut is_late = false;
    loop {
        let line = match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if start.elapsed() > limit && !is_late {
                    is_late = true;
                    child.kill()?;
                }
                continue;
            }
        };
        let figure: Figure = serde_json::from_str(&line)?;
        eprintln!(
            "{:6.1} s  {round} {work:12} {engine:10} {:28} {}",
            start.elapsed().as_secs_f64(),
            figure.figure,
            summary::readable(figure.value, &figure.unit),
        );
        writeln!(out, "{line}")?;
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        _ if is_late => Err(format!("stopped after {} s", limit.as_secs()).into()),
        status => Err(status.to_string().into()),
    }
}
