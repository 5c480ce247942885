//! A durable subscription whose consumer writes what it sees into another collection, in the commits
//! that acknowledge it: everything is there once.

use crate::actor::{
    Actor, Known, Outcome, Row, Stage, Step, contents, key_of, require_same, there, ts, updates,
    val, wrong,
};
use datestone::{Collection, ErrorKind, Event};
use std::collections::BTreeMap;
use std::time::Duration;

const ORIGIN: &str = "origin";
const COPY: &str = "copy";
const NEWS: &str = "copier";
/// Times that a row of the origin lives.
const LIFE: u64 = 5;

/// The updates at time `n`.
fn changes(n: u64) -> Vec<(Row, i64)> {
    let row = |n: u64| (key_of(n), val(n));
    let gone = n.checked_sub(LIFE).map(|old| (row(old), -1));
    gone.into_iter().chain([(row(n), 1)]).collect()
}

/// Whoever comes first makes the first step, as a subscription needs a time that is complete.
fn append(origin: &Collection, n: u64) -> Outcome<()> {
    let changes = changes(n);
    let rows = changes.iter().map(|((key, val), diff)| (&key[..], &val[..], n, *diff));
    match origin.compare_and_append(rows, n, n + 1) {
        Err(e) if n == 0 && e.kind() == ErrorKind::UpperMismatch => Ok(()),
        done => Ok(done?),
    }
}

/// Writes what is copied, and asks for its past to be forgotten.
pub(crate) struct Origin;

impl Actor for Origin {
    fn name(&self) -> String {
        "origin".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let origin = db.collection(ORIGIN)?;
        Ok(Box::new(move |n| {
            append(&origin, n)?;
            if n % 8 == 7 && !db.durable_subscriptions()?.is_empty() {
                origin.compact_below(n)?;
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, _: &Known) -> Outcome<u64> {
        let Some(origin) = there(stage.db.find(ORIGIN))? else { return Ok(0) };
        let (since, count) = (ts(origin.since()?), ts(origin.upper()?));
        let news = stage.db.durable_subscriptions()?;
        let seen = news.first().map_or(0, |news| ts(news.frontier));
        if since > seen.saturating_sub(1) {
            wrong!("since {since}, and nothing at {seen} was acknowledged");
        }
        if let Some(last) = count.checked_sub(1) {
            let wanted = (count.saturating_sub(LIFE)..=last).map(|n| ((key_of(n), val(n)), 1));
            require_same("the origin", &contents(&origin, last)?, &wanted.collect())?;
        }
        Ok(count)
    }
}

/// Copies; its marks are how far it has got.
pub(crate) struct Copier;

impl Actor for Copier {
    fn name(&self) -> String {
        "copier".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let (origin, copy) = (db.collection(ORIGIN)?, db.collection(COPY)?);
        append(&origin, 0)?;
        let mut news = db.durable_subscription(NEWS, &origin, 0, "the kill test")?;
        Ok(Box::new(move |_| {
            let mut seen = Vec::new();
            let frontier = loop {
                match news.next(Duration::from_secs(1))? {
                    Some(Event::Updates(updates)) => seen.extend(updates.decode()?),
                    Some(Event::Progress(frontier)) => break frontier,
                    None => {}
                }
            };
            let rows = seen.iter().map(|u| (&u.key[..], &u.val[..], u.ts, u.diff));
            db.commit().append(&copy, rows).acknowledge(&news).run()?;
            Ok(ts(frontier))
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let news = stage.db.durable_subscriptions()?;
        let frontier = news.first().map_or(0, |news| ts(news.frontier));
        if Some(frontier) < known.furthest() {
            wrong!("acknowledged up to {frontier}, {:?} was known", known.furthest());
        }
        let copy = there(stage.db.find(COPY))?;
        let found = copy.map_or(Ok(BTreeMap::new()), |copy| updates(&copy))?;
        let wanted = (0..frontier)
            .flat_map(|n| changes(n).into_iter().map(move |(row, diff)| ((row, n), diff)));
        require_same(format!("the copy up to {frontier}"), &found, &wanted.collect())?;
        Ok(known.count)
    }
}
