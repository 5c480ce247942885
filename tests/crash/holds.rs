//! What is kept of the past: a durable hold that is let go of step by step while another thread asks
//! for everything to be forgotten, and a retention policy.

use crate::actor::{
    Actor, Contents, Known, Outcome, Stage, Step, contents, key_of, require_same, there, ts, val,
    wrong,
};
use datestone::{Collection, Datestone, DurableHoldInfo, ErrorKind, Frontier, Retention};

const HELD: &str = "held";
const HOLD: &str = "keeper";

/// What a collection holds whose step `n` brings a row at time `n`.
fn growing(as_of: u64) -> Contents {
    (0..=as_of).map(|n| ((key_of(n), val(n)), 1)).collect()
}

/// Whether each readable time, of a sample, has what it should.
fn check_growing(collection: &Collection, chance: u64) -> Outcome<()> {
    // A policy may have it forget more in the background, until it is held.
    let hold = loop {
        match collection.hold(ts(collection.since()?), "a check") {
            Err(e) if e.kind() == ErrorKind::Compacted => {}
            hold => break hold?,
        }
    };
    let (since, upper) = (ts(collection.since()?), ts(collection.upper()?));
    let Some(last) = upper.checked_sub(1).filter(|last| since <= *last) else { return Ok(()) };
    for as_of in [since, last, since + chance % (last - since + 1)] {
        let what = format!("{} as of {as_of}, since {since}", collection.name());
        require_same(what, &contents(collection, as_of)?, &growing(as_of))?;
    }
    drop(hold);
    Ok(())
}

fn hold_of(db: &Datestone) -> Outcome<Option<DurableHoldInfo>> {
    Ok(db.durable_holds()?.into_iter().find(|hold| hold.name == HOLD))
}

/// Holds what it has written lately, and less with each step.
pub(crate) struct Keeper;

/// Where the hold is after step `n`.
const fn held_at(n: u64) -> u64 {
    (n / 3 * 3).saturating_sub(5)
}

impl Actor for Keeper {
    fn name(&self) -> String {
        "keeper".into()
    }

    fn begin(&self, stage: &Stage, count: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let collection = db.collection(HELD)?;
        let mut hold = db.durable_hold(HOLD, &collection, 0, "the kill test")?;
        if ts(hold.at()) > held_at(count) {
            wrong!("the hold has gone to {} by itself, after {count} steps", hold.at());
        }
        Ok(Box::new(move |n| {
            let (key, val) = (key_of(n), val(n));
            let row = [(&key[..], &val[..], n, 1)];
            // By itself and as a part of the commit.
            if n % 2 == 0 {
                let commit = db.commit().compare_and_append(&collection, row, n, n + 1);
                commit.downgrade(&hold, held_at(n)).run()?;
            } else {
                collection.compare_and_append(row, n, n + 1)?;
                hold.downgrade(held_at(n))?;
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let Some(collection) = there(stage.db.find(HELD))? else { return Ok(0) };
        let (since, count) = (ts(collection.since()?), ts(collection.upper()?));
        let Some(hold) = hold_of(&stage.db)? else {
            if count + since > 0 {
                wrong!("no hold, {count} steps, since {since}");
            }
            return Ok(0);
        };
        let at = ts(hold.at);
        // A step that nobody has heard of may have left the hold where it was.
        let least = known.acknowledged.checked_sub(1).map_or(0, held_at);
        let most = count.checked_sub(1).map_or(0, held_at);
        let loose = !(least..=most).contains(&at) || (count % 2 == 1 && at != most);
        if loose || since > at {
            wrong!("hold at {at} of {least} to {most}, since {since}, {count} steps");
        }
        check_growing(&collection, known.chance)?;
        Ok(count)
    }
}

/// Asks for all of the past of the same collection to be forgotten; its marks are what it was told.
pub(crate) struct Presser;

impl Actor for Presser {
    fn name(&self) -> String {
        "presser".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let collection = db.collection(HELD)?;
        Ok(Box::new(move |n| {
            if n % 32 == 5 {
                collection.compact()?;
            }
            // Without a hold there would be nothing left to hold.
            let held = hold_of(&db)?.is_some();
            let asked = if held { collection.upper()? } else { Frontier::at(0) };
            Ok(ts(collection.compact_below(asked)?))
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let since = match there(stage.db.find(HELD))? {
            Some(collection) => ts(collection.since()?),
            None => 0,
        };
        if Some(since) < known.furthest() {
            wrong!("since {since} was {:?} before", known.furthest());
        }
        Ok(known.count)
    }
}

/// Writes to a collection that forgets by itself; its marks are the sinces that it has seen.
pub(crate) struct Retained;

const KEPT: u64 = 10;

impl Actor for Retained {
    fn name(&self) -> String {
        "retained".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let collection = db.collection("retained")?;
        Ok(Box::new(move |n| {
            if n == 0 {
                collection.set_retention(Retention::Behind(KEPT))?;
            }
            let (key, val) = (key_of(n), val(n));
            collection.compare_and_append([(&key[..], &val[..], n, 1)], n, n + 1)?;
            if n % 10 == 9 {
                db.flush()?;
            }
            Ok(ts(collection.since()?))
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let Some(collection) = there(stage.db.find("retained"))? else { return Ok(0) };
        let (since, count) = (ts(collection.since()?), ts(collection.upper()?));
        let retention = collection.retention()?;
        if count > 0 && retention != Retention::Behind(KEPT) {
            wrong!("retention is {retention} after {count} steps");
        }
        if since > count.saturating_sub(1 + KEPT) || Some(since) < known.furthest() {
            wrong!("since {since}, {count} steps, {:?} was seen before", known.furthest());
        }
        check_growing(&collection, known.chance)?;
        Ok(count)
    }
}
