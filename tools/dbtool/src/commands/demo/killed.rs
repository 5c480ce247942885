//! The load that is killed: a process of its own, fed through a pipe, acknowledging over another.
//!
//! Feeding it batch by batch decides where it dies: never before the kill that the demo is about,
//! and never so late that everything was loaded before it.

use super::Demo;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::Bar;
use serde::Deserialize;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Updates in a commit.
pub(super) const BATCH: usize = 100;

/// Where the load was killed.
pub(super) struct Killed {
    /// Rows that the process had acknowledged.
    pub(super) acked: u64,
    /// Rows that it had been given beyond them.
    pub(super) in_flight: usize,
}

#[derive(Deserialize)]
struct Ack {
    rows: u64,
}

/// Loads half of `lines` in a child process, and kills it with SIGKILL in the middle of a batch.
pub(super) fn load(demo: &Demo, lines: &[Vec<u8>], bar: &Bar) -> Result<Killed> {
    let mut child = spawn(demo)?;
    let fed = feed(&mut child, lines, bar);
    // SIGKILL: the process gets no chance to tidy up.
    let killed = child.kill();
    let status = child.wait();
    let (killed_at, _stdin) = fed.map_err(|error| {
        let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
        let what = format!("the loading process ended early ({status})");
        Failure::new(Exit::Error, what).why(error)
    })?;
    killed.map_err(|e| Failure::new(Exit::Error, "cannot kill the loading process").why(e))?;
    Ok(killed_at)
}

fn spawn(demo: &Demo) -> Result<Child> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::Error, "cannot find this program").why(error))?;
    let mut command = Command::new(program);
    command.arg("load").arg(&demo.db).arg(super::COLLECTION).arg("-");
    command.args(["--ack", "--quiet", "--batch", &BATCH.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|error| Failure::new(Exit::Error, "cannot run this program").why(error))
}

/// Gives the child a batch at a time and awaits each acknowledgement; in the end half a batch more.
///
/// The pipe is given back open: at its end the child would commit what it has, if it got to that before
/// it is killed.
fn feed(child: &mut Child, lines: &[Vec<u8>], bar: &Bar) -> std::io::Result<(Killed, ChildStdin)> {
    let no_pipe = || std::io::Error::other("the process has no pipe");
    let mut stdin = child.stdin.take().ok_or_else(no_pipe)?;
    let mut acks = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
    let mut acked = 0;
    let mut ack = String::new();
    let (first_half, _) = lines.split_at(lines.len() / 2);
    let mut batches = first_half.chunks_exact(BATCH);
    for batch in batches.by_ref() {
        stdin.write_all(&batch.concat())?;
        stdin.flush()?;
        ack.clear();
        if acks.read_line(&mut ack)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        acked = serde_json::from_str::<Ack>(&ack)?.rows;
        bar.set_position(acked);
    }
    let in_flight = batches.remainder();
    stdin.write_all(&in_flight.concat())?;
    stdin.flush()?;
    Ok((Killed { acked, in_flight: in_flight.len() }, stdin))
}
