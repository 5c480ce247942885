//! From a commit to its delivery: how long after a durable commit began its updates have reached all
//! listeners. Only datestone has listeners; a peer would have to be polled.

use super::{Race, emit};
use crate::Result;
use crate::data::{self, Seen};
use crate::figure::Better;
use datestone::{Datestone, Event};
use hdrhistogram::Histogram;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many listen.
const LISTENERS: [usize; 3] = [1, 10, 100];
/// Commits, one after the other.
const COMMITS: u64 = 1_000;
/// How long a listener sleeps at most: long, as it is woken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every count of listeners.
pub(super) fn run(race: &Race) -> Result<()> {
    let db = Datestone::open(race.db_dir())?;
    LISTENERS.iter().try_for_each(|count| measure(race, &db, *count))
}

/// Commits one update at a time, and waits until `listeners` threads have it.
fn measure(race: &Race, db: &Datestone, listeners: usize) -> Result<()> {
    let rows = db.timed_table(&format!("heard by {listeners}"))?;
    rows.advance_upper(1)?;
    let (heard, hears) = mpsc::channel();
    let mut times = Histogram::<u64>::new(3)?;
    std::thread::scope(|scope| {
        for _ in 0..listeners {
            let mut news = rows.as_collection().listen(0)?;
            let heard = heard.clone();
            scope.spawn(move || -> Result<()> {
                let mut seen = Seen::default();
                while seen.count < COMMITS {
                    if let Some(Event::Updates(updates)) = news.next(PATIENCE)? {
                        for update in updates.iter() {
                            seen.row(update.key, update.val);
                            heard.send((Instant::now(), seen))?;
                        }
                    }
                }
                Ok(())
            });
        }
        for ts in 1..=COMMITS {
            let (key, val) = (data::key(ts), data::val(ts, 0));
            let start = Instant::now();
            db.commit().put_at(&rows, &key, &val, ts).advance_table(&rows, ts + 1).run()?;
            let mut last = start;
            for _ in 0..listeners {
                let (at, seen) = hears.recv_timeout(PATIENCE)?;
                if seen.count != ts {
                    return Err("a listener has heard something else".into());
                }
                last = last.max(at);
            }
            times.record(last.duration_since(start).as_nanos() as u64)?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let micros = times.value_at_quantile(quantile) as f64 / 1000.0;
        let name = format!("commit to the last of {listeners} listeners, {what}");
        emit(race.figure(&name, micros, "us", Better::Lower))?;
    }
    Ok(())
}
