//! Opening after a kill, with a log of 64 MiB that was not flushed.

use super::Context;
use super::table::{Line, rate};
use crate::data::Rows;
use crate::machine::copy_dir;
use crate::stopwatch::{median, timed};
use crate::store::{Store, scratch_dir, still};
use crate::{Result, work};
use datestone::{Datestone, Durability, Options, Update};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that one row of a large commit takes in the log.
const LOGGED_ROW_LEN: u64 = 140;
/// Bytes of the log when the process is killed.
const LOG_LEN: u64 = 64 << 20;

/// Seconds to open, and updates replayed a second.
pub(super) fn open(context: &Context) -> Result<Vec<Line>> {
    let count = LOG_LEN / LOGGED_ROW_LEN / context.pick(1, 10);
    let mut lines = Vec::new();
    for (how, judged) in [("fsync", true), ("buffer", false)] {
        let dir = scratch_dir()?;
        let killed = dir.path().join("killed");
        fill_and_kill(context, &killed, count, how)?;
        let mut samples = Vec::new();
        for round in 0..context.rounds() {
            let copy = dir.path().join(format!("copy-{round}"));
            copy_dir(&killed, &copy)?;
            let (seconds, db) = timed(|| Datestone::open_with(&copy, Options::default()));
            let db = db?;
            samples.push(seconds);
            let found = db.find(crate::store::NAME)?.latest()?.count()?;
            if found != count {
                return Err(format!("{found} of {count} rows after the kill").into());
            }
            db.close()?;
            std::fs::remove_dir_all(&copy)?;
        }
        let seconds = median(samples);
        let replayed = count as f64 / seconds;
        let took = format!("{:.3} s", seconds);
        let open = Line::figure(format!("open after a kill, 64 MiB of log ({how})"), took);
        let replay = Line::figure(format!("replay ({how})"), rate(replayed, "updates"));
        if judged {
            lines.push(open.at_most(seconds, 0.3, " s"));
            lines.push(replay.at_least(replayed / 1e6, 4.0, "M/s"));
        } else {
            lines.push(open);
        }
    }
    Ok(lines)
}

/// Lets a child fill a database in `dir`, and kills it.
fn fill_and_kill(context: &Context, dir: &Path, count: u64, how: &str) -> Result<()> {
    let mut child = Command::new(&context.program)
        .args(["--child", "open"])
        .arg(dir)
        .args([&count.to_string(), how])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("the child has no stdout")?;
    BufReader::new(stdout).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    if line.trim() != "ready" {
        return Err(format!("the child said '{}'", line.trim()).into());
    }
    Ok(())
}

/// Fills a database without flushing, says so, and waits to be killed.
pub(super) fn child(dir: &Path, args: &[String]) -> Result<()> {
    let (count, how) = match args {
        [count, how] => (count.parse()?, how.as_str()),
        _ => return Err("a count and a durability are missing".into()),
    };
    let durability = if how == "fsync" { Durability::Fsync } else { Durability::Buffer };
    let store = Store::open(dir, Options { memtable_bytes: 1 << 30, ..still() })?;
    let rows = Rows::new(10, count);
    let updates: Vec<Update<'_>> = rows.updates(0).collect();
    work::append_batches(&store, &updates, 0, durability)?;
    writeln!(std::io::stdout(), "ready")?;
    // Ends with the parent at the latest.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
