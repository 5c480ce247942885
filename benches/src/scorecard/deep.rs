//! Point reads of one key with 100,000 versions, beside a key with one: as a table, and as a
//! multiset whose value is replaced by a retraction and an addition at each time.

use super::Context;
use super::table::{Line, nanos};
use crate::Result;
use crate::stopwatch::{median, timed};
use crate::store::{scratch_dir, still};
use datestone::{Datestone, Durability};

const HOT: &[u8] = b"hot";
/// Keys with one version, around the hot one.
const OTHERS: u64 = 10_000;
/// Reads of a round.
const READS: usize = 5_000;

/// Reads in memory and in one run.
pub(super) fn deep(context: &Context) -> Result<Vec<Line>> {
    let versions = context.pick(100_000_u64, 5_000);
    let dir = scratch_dir()?;
    let db = Datestone::open_with(dir.path().join("db"), still())?;
    let table = db.timed_table("table")?;
    for first in (0..versions).step_by(1_000) {
        let mut commit = db.commit().durability(Durability::None);
        for ts in first..versions.min(first + 1_000) {
            commit = commit.put_at(&table, HOT, &ts.to_be_bytes(), ts);
            if ts < OTHERS {
                commit = commit.put_at(&table, &ts.to_be_bytes(), b"other", ts);
            }
        }
        commit.run()?;
    }
    table.advance_upper(versions)?;
    let bag = db.collection("bag")?;
    for first in (0..versions).step_by(1_000) {
        let vals: Vec<[u8; 8]> = (first..first + 1_001).map(u64::to_be_bytes).collect();
        let updates = (first..versions.min(first + 1_000)).flat_map(|ts| {
            let at = (ts - first) as usize;
            let gone = (ts > 0).then(|| (ts - 1).to_be_bytes());
            let other = (ts < OTHERS).then(|| ts.to_be_bytes());
            [
                Some((HOT.to_vec(), vals[at].to_vec(), ts, 1)),
                gone.map(|gone| (HOT.to_vec(), gone.to_vec(), ts, -1)),
                other.map(|other| (other.to_vec(), b"other".to_vec(), ts, 1)),
            ]
            .into_iter()
            .flatten()
        });
        let updates: Vec<_> = updates.collect();
        let updates = updates.iter().map(|(k, v, ts, diff)| (&**k, &**v, *ts, *diff));
        db.commit().append(&bag, updates).durability(Durability::None).run()?;
    }
    bag.advance_upper(versions)?;

    let mut lines = Vec::new();
    for place in ["in memory", "one run"] {
        if place == "one run" {
            db.flush()?;
            db.compact()?;
        }
        let times: Vec<u64> = (0..100).map(|n| n * 7_919 % versions).collect();
        let tables =
            times.iter().map(|ts| table.snapshot(*ts)).collect::<datestone::Result<Vec<_>>>()?;
        let bags =
            times.iter().map(|ts| bag.snapshot(*ts)).collect::<datestone::Result<Vec<_>>>()?;
        let (latest, latest_bag) = (table.latest()?, bag.latest()?);
        let read = |f: &dyn Fn(usize) -> Result<()>, reads: usize| -> Result<f64> {
            let (seconds, done) = timed(|| (0..reads).try_for_each(f));
            done?;
            Ok(seconds / reads as f64)
        };
        let (mut past, mut now, mut single, mut multi) = (vec![], vec![], vec![], vec![]);
        for _ in 0..=context.rounds() {
            past.push(read(&|i| found(tables[i % tables.len()].get(HOT)?.is_some()), READS)?);
            now.push(read(&|_| found(latest.get(HOT)?.is_some()), READS)?);
            single.push(read(
                &|i| found(latest.get(&(i as u64).to_be_bytes())?.is_some()),
                times.len(),
            )?);
            multi.push(read(&|i| found(bags[i % bags.len()].get(HOT)?.len() == 1), READS)?);
        }
        drop(latest_bag);
        let (past, now, single, multi) = (median(past), median(now), median(single), median(multi));
        lines.push(
            Line::figure(
                format!("table, {versions} versions, as of a random time, {place}"),
                nanos(past, 1),
            )
            .beside(format!("latest {}, other keys {}", nanos(now, 1), nanos(single, 1)))
            .ratio(past / now)
            .at_most(past / now, 2.0, "x"),
        );
        lines.push(
            Line::figure(
                format!("multiset, {versions} versions, as of a random time, {place}"),
                nanos(multi, 1),
            )
            .at_most(multi * 1e6, 2.0, " us"),
        );
    }
    Ok(lines)
}

fn found(found: bool) -> Result<()> {
    if found { Ok(()) } else { Err("not the one value that there is".into()) }
}
