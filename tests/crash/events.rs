//! What is tried again after each restart and must be done once: events with ids, commits with tokens.

use crate::actor::{Actor, Known, Outcome, Stage, Step, key_of, there, updates, val, wrong};
use datestone::Log;
use std::collections::BTreeMap;

fn id(n: u64) -> Vec<u8> {
    format!("event-{n}").into_bytes()
}

/// Whether a log has exactly the events `val(0)`, `val(1)` and so on; with their ids when `ids`.
fn dense(log: &Log, ids: bool) -> Outcome<u64> {
    let count = log.len()?;
    let mut events = log.read(0)?;
    let mut next = 0;
    while let Some(event) = events.next_event()? {
        let wanted = ids.then(|| id(next));
        if (event.position, event.id, event.event) != (next, wanted.as_deref(), &val(next)[..]) {
            wrong!("event {next} of {count}: {event:?}");
        }
        next += 1;
    }
    if next != count {
        wrong!("{next} events, {count} should be there");
    }
    Ok(count)
}

/// Appends events under ids, and the last one again after each restart.
pub(crate) struct Producer;

impl Actor for Producer {
    fn name(&self) -> String {
        "events".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let log = stage.db.log("events")?;
        Ok(Box::new(move |n| {
            for _ in 0..=u64::from(n % 8 == 3) {
                let position = log.append_once(&id(n), &val(n))?;
                if position != n {
                    wrong!("event {n} is at {position}");
                }
            }
            Ok(0)
        }))
    }

    fn first(&self, count: u64) -> u64 {
        count.saturating_sub(1)
    }

    fn check(&self, stage: &Stage, _: &Known) -> Outcome<u64> {
        let Some(log) = there(stage.db.find_log("events"))? else { return Ok(0) };
        let count = dense(&log, true)?;
        let last = count.checked_sub(1);
        let known = last.map_or(Ok(None), |last| log.position_of(&id(last)))?;
        if known != last || log.position_of(&id(count))?.is_some() {
            wrong!("ids and events differ: the last of {count} is at {known:?}");
        }
        Ok(count)
    }
}

/// Makes commits under tokens, and the last one again after each restart.
pub(crate) struct Loader;

impl Actor for Loader {
    fn name(&self) -> String {
        "loader".into()
    }

    fn begin(&self, stage: &Stage, count: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let (log, set) = (db.log("loaded")?, db.collection("loaded-set")?);
        Ok(Box::new(move |n| {
            let load = || {
                let row = [(&key_of(n)[..], &b""[..], n, 1)];
                let commit = db.commit().append_events(&log, [&val(n)[..]]).append(&set, row);
                commit.once("loader", format!("batch {n}").as_bytes()).run()
            };
            let done = load()?;
            if done.repeated != (n < count) {
                wrong!("commit {n} of {count} says {done:?}");
            }
            if n % 8 == 3 {
                let again = load()?;
                if !again.repeated || again.ts != done.ts {
                    wrong!("commit {n} says {done:?}, and then {again:?}");
                }
            }
            Ok(0)
        }))
    }

    fn first(&self, count: u64) -> u64 {
        count.saturating_sub(1)
    }

    fn check(&self, stage: &Stage, _: &Known) -> Outcome<u64> {
        let Some(log) = there(stage.db.find_log("loaded"))? else { return Ok(0) };
        let count = dense(&log, false)?;
        let rows = there(stage.db.find("loaded-set"))?;
        let found = rows.map_or(Ok(BTreeMap::new()), |rows| updates(&rows))?;
        let wanted = (0..count).map(|n| (((key_of(n), Vec::new()), n), 1)).collect();
        crate::actor::require_same(format!("rows of {count} commits"), &found, &wanted)?;
        Ok(count)
    }
}
