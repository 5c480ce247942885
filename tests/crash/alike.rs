//! Commits over collections of every kind, which are to have equal contents.

use crate::actor::{
    Actor, Known, Outcome, Row, Stage, Step, contents, mixed, there, ts, val, wrong,
};
use datestone::{Datestone, Expected, TableSnapshot};

pub(crate) struct Alike;

fn key(n: u64) -> Vec<u8> {
    format!("key-{:02}", mixed(n) % 30).into_bytes()
}

/// The step before `n` that has put the same key.
fn before(n: u64) -> Option<u64> {
    (0..n).rev().find(|earlier| key(*earlier) == key(n))
}

fn event(n: u64) -> Vec<u8> {
    [key(n), b" is ".to_vec(), val(n)].concat()
}

impl Actor for Alike {
    fn name(&self) -> String {
        "alike".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let (clock, timed) = (db.table("alike-clock")?, db.timed_table("alike-timed")?);
        let (set, log) = (db.collection("alike-set")?, db.log("alike-log")?);
        Ok(Box::new(move |n| {
            let (key, new, old) = (key(n), val(n), before(n).map(val));
            let old = old.as_ref().map(|old| (&key[..], &old[..], n, -1));
            let updates = old.into_iter().chain([(&key[..], &new[..], n, 1)]);
            db.commit()
                .put(&clock, &key, &new)
                .put_at(&timed, &key, &new, n)
                .advance_table(&timed, n + 1)
                .compare_and_append(&set, updates, n, n + 1)
                .append_events_at(&log, Expected::Exact(n), [&event(n)[..]])
                .run()?;
            if n % 40 == 20 {
                clock.compact()?;
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, _: &Known) -> Outcome<u64> {
        count(&stage.db)
    }
}

/// How many such commits a database has, when all of them are whole.
pub(crate) fn count(db: &Datestone) -> Outcome<u64> {
    let found = (
        there(db.find_table("alike-clock"))?,
        there(db.find_timed_table("alike-timed"))?,
        there(db.find("alike-set"))?,
        there(db.find_log("alike-log"))?,
    );
    let (Some(clock), Some(timed), Some(set), Some(log)) = found else {
        let logged = found.3.map_or(Ok(0), |log| log.len())?;
        if logged > 0 {
            wrong!("{logged} events, and another collection is missing");
        }
        return Ok(0);
    };
    let count = log.len()?;
    if (ts(timed.upper()?), ts(set.upper()?)) != (count, count) {
        wrong!("uppers {} and {} with {count} events", timed.upper()?, set.upper()?);
    }
    let Some(last) = count.checked_sub(1) else { return Ok(0) };
    let all = |snapshot: TableSnapshot| -> Outcome<Vec<Row>> {
        snapshot.iter().map(|row| Ok(row.map(|row| (row.key, row.val))?)).collect()
    };
    let (on_clock, timed) = (all(clock.latest()?)?, all(timed.latest()?)?);
    let set: Vec<_> = contents(&set, last)?.into_iter().collect();
    if on_clock != timed || !set.iter().cloned().eq(timed.into_iter().map(|row| (row, 1))) {
        wrong!("the collections differ after {count} commits");
    }
    let mut wanted: Vec<_> = (0..count).map(|n| (key(n), n)).collect();
    wanted.sort_by_key(|(key, n)| (key.clone(), std::cmp::Reverse(*n)));
    wanted.dedup_by(|b, a| a.0 == b.0);
    if !on_clock.into_iter().eq(wanted.into_iter().map(|(key, n)| (key, val(n)))) {
        wrong!("not the contents after {count} commits");
    }
    for (n, event_at) in (0..).zip(log.read(0)?) {
        if event_at? != (n, event(n)) {
            wrong!("event {n} is another one");
        }
    }
    Ok(count)
}
