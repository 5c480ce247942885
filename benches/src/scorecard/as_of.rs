//! Point reads in deep history: as of a random time, beside the latest.

use super::Context;
use super::table::{Line, nanos};
use crate::Result;
use crate::history::{History, VERSIONS};
use crate::stopwatch::{median, timed};
use crate::store::{Store, scratch_dir};
use datestone::Options;

/// Random keys, each as of a random time, or at the latest: as background compaction leaves them,
/// and merged to one run.
pub(super) fn as_of(context: &Context) -> Result<Vec<Line>> {
    let history = History { keys: context.pick(100_000, 5_000) };
    let dir = scratch_dir()?;
    let path = dir.path().join("db");
    let store = Store::open(&path, Options::default())?;
    history.load(&store)?;
    store.db.flush()?;
    store.db.close()?;
    // Nothing in the background: what is left of its work is done here.
    let store = Store::open(&path, Options { background_threads: 0, ..Options::default() })?;
    while store.db.maintain()? {}
    let settled = race(context, &store, history)?;
    store.rows.compact()?;
    Ok(vec![settled, race(context, &store, history)?])
}

fn race(context: &Context, store: &Store, history: History) -> Result<Line> {
    let snapshots = history.snapshots(store)?;
    let reads = history.reads(context.pick(200_000, 10_000));
    let latest_reads = || reads.iter().map(|(key, _)| (*key, snapshots.len() - 1));
    let (mut past, mut latest) = (Vec::new(), Vec::new());
    for round in 0..=context.rounds() {
        let (past_seconds, done) = timed(|| History::read(&snapshots, reads.iter().copied()));
        done?;
        let (latest_seconds, done) = timed(|| History::read(&snapshots, latest_reads()));
        done?;
        // The first round warms up.
        if round > 0 {
            past.push(past_seconds);
            latest.push(latest_seconds);
        }
    }
    let (past, latest) = (median(past), median(latest));
    let info = store.rows.info()?;
    let (keys, runs, segments) = (history.keys, info.runs, info.segments);
    let what = format!(
        "get as of a random time, {keys} keys x {VERSIONS}, runs: {runs}, segments: {segments}"
    );
    Ok(Line::figure(what, nanos(past, reads.len()))
        .beside(format!("latest {}", nanos(latest, reads.len())))
        .ratio(past / latest)
        .at_most(past / latest, 2.0, "x"))
}
