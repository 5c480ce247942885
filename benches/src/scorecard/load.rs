//! A load of 20 million updates: memory, and the longest that one commit takes.

use super::Context;
use super::table::{Line, rate};
use crate::Result;
use crate::data::{KEY_LEN, VAL_LEN, fill_row};
use crate::machine::anonymous_bytes;
use crate::stopwatch::{Stopwatch, timed};
use crate::store::{BATCH_LEN, Store, scratch_dir};
use datestone::{Durability, Options, Update};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Commits between two looks at the memory.
const LOOK_EVERY: u64 = 4;

/// What a load took.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    seconds: f64,
    peak_bytes: u64,
    stall_seconds: f64,
    commits_over_50_ms: u64,
    own_stall_seconds: f64,
    own_stalls: u64,
    written_bytes: u64,
    segment_bytes: u64,
}

/// Loads with default options, in a process of its own.
pub(super) fn load(context: &Context) -> Result<Vec<Line>> {
    let count: u64 = context.pick(20_000_000, 1_000_000);
    let mut lines = Vec::new();
    for how in ["fsync", "buffer"] {
        let dir = scratch_dir()?;
        let output = Command::new(&context.program)
            .args(["--child", "load"])
            .arg(dir.path().join("db"))
            .args([&count.to_string(), how])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("the child ended with {}", output.status).into());
        }
        let report: Report = serde_json::from_slice(&output.stdout)?;
        lines.extend(
            report.lines(&format!("load of {}M updates ({how})", count / 1_000_000), count),
        );
    }
    Ok(lines)
}

impl Report {
    fn lines(&self, what: &str, count: u64) -> [Line; 3] {
        let peak = self.peak_bytes as f64 / 1e6;
        let stall = self.stall_seconds * 1e3;
        let updates = rate(count as f64 / self.seconds, "updates");
        let amplification = self.written_bytes as f64 / (count * 116) as f64;
        [
            Line::figure(what, updates).beside(format!("writes {amplification:.1}x its data")),
            Line::figure(format!("{what}: memory"), format!("{peak:.0} MB"))
                .beside(format!("{:.0} MB of segments", self.segment_bytes as f64 / 1e6))
                .at_most(peak, 400.0, " MB"),
            Line::figure(format!("{what}: longest commit"), format!("{stall:.0} ms"))
                .beside(format!(
                    "{} over 50 ms; {} paused, {:.2} s",
                    self.commits_over_50_ms, self.own_stalls, self.own_stall_seconds
                ))
                .at_most(stall, 200.0, " ms"),
        ]
    }
}

/// Loads and prints a report.
pub(super) fn child(dir: &Path, args: &[String]) -> Result<()> {
    let (count, how) = match args {
        [count, how] => (count.parse::<u64>()?, how.as_str()),
        _ => return Err("a count and a durability are missing".into()),
    };
    let durability = if how == "fsync" { Durability::Fsync } else { Durability::Buffer };
    let store = Store::open(dir, Options::default())?;
    let mut batch = vec![([0; KEY_LEN], [0; VAL_LEN]); BATCH_LEN];
    let (mut peak_bytes, mut stall_seconds, mut slow) = (0, 0.0_f64, 0);
    let watch = Stopwatch::start();
    for ts in 0..count / BATCH_LEN as u64 {
        for (index, (key, val)) in (ts * BATCH_LEN as u64..).zip(&mut batch) {
            fill_row(11, index, key, val);
        }
        let updates = batch.iter().map(|(key, val)| Update { key, val, ts, diff: 1 });
        let (seconds, done) = timed(|| {
            store
                .db
                .commit()
                .append(&store.rows, updates)
                .advance_upper(&store.rows, ts + 1)
                .durability(durability)
                .run()
        });
        done?;
        stall_seconds = stall_seconds.max(seconds);
        slow += u64::from(seconds > 0.05);
        if ts % LOOK_EVERY == 0 {
            peak_bytes = peak_bytes.max(anonymous_bytes()?);
        }
    }
    store.db.flush()?;
    let seconds = watch.seconds();
    let stats = store.db.stats();
    let report = Report {
        seconds,
        peak_bytes: peak_bytes.max(anonymous_bytes()?),
        stall_seconds,
        commits_over_50_ms: slow,
        own_stall_seconds: stats.counts.stall_micros as f64 / 1e6,
        own_stalls: stats.counts.stalls,
        written_bytes: stats.counts.flush_bytes + stats.counts.compaction_write_bytes,
        segment_bytes: stats.segment_bytes,
    };
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?)
}
