//! Starts children, ends their lives, and judges what they leave: in lanes beside each other, each with
//! databases of its own.

use crate::actor::{Outcome, Stage, Wrong, there, ts, wrong};
use crate::child::{ACTORS_VARIABLE, PLACE_VARIABLE, options};
use crate::ledger::{Count, Ledger, Said};
use crate::site::{Ground, Site};
use crate::twin;
use datestone::{Datestone, VerifyDepth};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// Ends after which a new database is begun, so that creation is hit too.
const ENDS_PER_DATABASE: u64 = 12;
/// Ends after which a lane says how far it is.
const PROGRESS: u64 = 1000;
/// So many of them hit everything.
const ENOUGH: u64 = 200;

/// What all ends of lives together did, for the summary.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ends: u64,
    failed: u64,
    before_opened: u64,
    read_first: u64,
    told: u64,
    actors: BTreeMap<String, Count>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.ends += other.ends;
        self.failed += other.failed;
        self.before_opened += other.before_opened;
        self.read_first += other.read_first;
        self.told += other.told;
        for (actor, count) in other.actors {
            let sum = self.actors.entry(actor).or_default();
            sum.steps += count.steps;
            sum.in_flight += count.in_flight;
        }
    }
}

/// Ends `ends` lives on such ground; whether all of them left what they must.
pub(crate) fn run(ground: Ground, ends: u64) -> bool {
    let name = ground.name();
    let seed = seed(name);
    let lanes = count("DATESTONE_CRASH_LANES", 2).max(1);
    let stop = AtomicBool::new(false);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let share = |lane| ends / lanes + u64::from(lane < ends % lanes);
        let begin = |lane| {
            let (stop, mut chance) = (&stop, Chance::new(seed.wrapping_add(lane)));
            scope.spawn(move || run_lane(ground, share(lane), &mut chance, stop))
        };
        let running: Vec<_> = (0..lanes).map(begin).collect();
        for lane in running {
            tally.add(lane.join().expect("a lane ends without a panic"));
        }
    });
    let sum = |part: fn(&Count) -> u64| tally.actors.values().map(part).sum::<u64>();
    let (steps, in_flight) = (sum(|count| count.steps), sum(|count| count.in_flight));
    let each = |(name, count): (&String, &Count)| {
        format!("{name} {}+{}", count.steps - count.in_flight, count.in_flight)
    };
    let each: Vec<String> = tally.actors.iter().map(each).collect();
    tell(&format!("steps acknowledged + in flight: {}", each.join(", ")));
    tell(&format!(
        "{name}: {} passed, {} failed; {} before the database was open, {} read before it was opened, \
         {} told of by the child; {steps} steps, {in_flight} of them in flight; DATESTONE_SEED={seed}",
        tally.ends - tally.failed,
        tally.failed,
        tally.before_opened,
        tally.read_first,
        tally.told,
    ));
    let everybody = tally.actors.values().all(|count| count.steps > 0);
    let enough = ends < ENOUGH || (tally.before_opened > 0 && tally.read_first > 0 && everybody);
    tally.failed == 0 && tally.ends == ends && enough
}

/// One database after the other, until so many lives have ended or something is wrong anywhere.
fn run_lane(ground: Ground, ends: u64, chance: &mut Chance, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while tally.ends < ends {
        let mut site = match Site::new(ground, chance) {
            Ok(site) => site,
            Err(Wrong(what)) => {
                tell(&format!("no place for a database: {what}"));
                stop.store(true, Ordering::SeqCst);
                return tally;
            }
        };
        let mut ledger = Ledger::new();
        for life in 0..ENDS_PER_DATABASE.min(ends - tally.ends) {
            if stop.load(Ordering::SeqCst) {
                return tally;
            }
            let cast = ledger.cast(chance);
            tally.ends += 1;
            if tally.ends % PROGRESS == 0 {
                tell(&format!("{}: {} in this lane", ground.name(), tally.ends));
            }
            let mut said = Said::default();
            let judged = one_life(&mut site, &cast, chance, &mut said)
                .and_then(|()| judge(site.path(), life, &said, &mut ledger, chance, &mut tally));
            if let Err(Wrong(what)) = judged {
                tally.failed += 1;
                stop.store(true, Ordering::SeqCst);
                tell(&format!("end {} of a lane: {what}\n  cast: {cast}", tally.ends));
                tell(&format!("  the child had said {}", said.last()));
                tell(&format!("  the database is kept in {}", site.keep().display()));
                return tally;
            }
        }
    }
    tally
}

pub(crate) fn tell(line: &str) {
    // A closed pipe is nobody's failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Starts a child and ends its life after a random number of lines and a random delay.
fn one_life(site: &mut Site, cast: &str, chance: &mut Chance, said: &mut Said) -> Outcome<()> {
    let fuse = site.fuse()?;
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .env(PLACE_VARIABLE, site.path())
        .env(ACTORS_VARIABLE, cast)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("its output is a pipe");
    let patience = match chance.below(8) {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 2 + chance.below(400),
        _ => 2 + chance.below(100),
    };
    let (tell, told) = mpsc::channel();
    // What it says from then on it may have done while its file system stopped.
    let is_late = AtomicBool::new(false);
    let struck = std::thread::scope(|scope| {
        let is_late = &is_late;
        scope.spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens when this function has failed.
                let _ = tell.send((line, is_late.load(Ordering::SeqCst)));
            }
        });
        for (line, _) in told.iter().take(usize::try_from(patience).unwrap_or(0)) {
            said.hear(&line);
        }
        spin(chance.below(400_000));
        let struck = fuse.map_or(Ok(()), |fuse| {
            is_late.store(true, Ordering::SeqCst);
            let struck = fuse.blow();
            if chance.one_in(2) {
                spin(chance.below(2_000_000));
            }
            struck
        });
        child.kill().expect("the child is killed");
        child.wait().expect("the child has ended");
        struck
    });
    // What it said before it died it said after the commit.
    let mut failed_by_itself = said.failed.is_some();
    for (line, is_late) in told {
        if is_late {
            said.hear_late(&line);
        } else {
            said.hear(&line);
            failed_by_itself = said.failed.is_some();
        }
    }
    struck?;
    site.recover()?;
    match &said.failed {
        Some(failed) if failed_by_itself || !Site::may_tell(failed) => {
            wrong!("the child failed by itself: {failed}")
        }
        _ => Ok(()),
    }
}

fn spin(times: u64) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

/// Opens what is left, compares it, and writes to it.
pub(crate) fn judge(
    place: &Path,
    life: u64,
    said: &Said,
    ledger: &mut Ledger,
    chance: &mut Chance,
    tally: &mut Tally,
) -> Outcome<()> {
    tally.before_opened += u64::from(!said.opened);
    tally.told += u64::from(said.failed.is_some());
    let path = place.join("db");
    let seen = if chance.one_in(3) { twin::read_only(&path)? } else { None };
    let db = Datestone::open_with(&path, options()).map_err(|e| Wrong(format!("open: {e}")))?;
    if let Some(seen) = seen {
        tally.read_first += 1;
        seen.compare(&db)?;
    }
    let stage = Stage { db, place: place.into() };
    ledger.judge(&stage, said, chance, &mut tally.actors)?;
    verify(&stage.db)?;
    write_on(&stage.db, life)?;
    // Half of the time the database is closed, half of the time merely left.
    if chance.one_in(2) {
        stage.db.close()?;
    }
    Ok(())
}

pub(crate) fn verify(db: &Datestone) -> Outcome<()> {
    let report = db.verify(VerifyDepth::Full, |_, _| {})?;
    match report.damage.first() {
        Some(damage) => wrong!("verify: {damage}"),
        None => Ok(()),
    }
}

/// The database can be used: whoever judged it earlier has written a row, and all of these are there.
pub(crate) fn write_on(db: &Datestone, earlier: u64) -> Outcome<()> {
    let judged = db.collection("judged")?;
    if ts(judged.upper()?) != earlier {
        wrong!("{} rows of those who judged, {earlier} were written", judged.upper()?);
    }
    let row = [(&earlier.to_be_bytes()[..], &b""[..], earlier, 1)];
    judged.compare_and_append(row, earlier, earlier + 1)?;
    let Some(snapshot) = there(judged.latest())? else { wrong!("what was written is not there") };
    let mut found = Vec::new();
    for row in snapshot.iter() {
        found.push(row?.key);
    }
    if !found.into_iter().eq((0..=earlier).map(|n| n.to_be_bytes().to_vec())) {
        wrong!("not the rows of the {} who judged", earlier + 1);
    }
    Ok(())
}
