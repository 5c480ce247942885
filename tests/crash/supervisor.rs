//! Starts the child, kills it, and judges what it leaves.

use crate::actor::{Outcome, Stage, Wrong};
use crate::child::{ACTORS_VARIABLE, PLACE_VARIABLE, options};
use crate::ledger::{Count, Ledger, Said};
use crate::twin;
use datestone::{Datestone, VerifyDepth};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

/// Kills after which a new database is begun, so that creation is killed too.
const KILLS_PER_DATABASE: u64 = 12;

/// What all kills together did, for the summary.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    before_opened: u64,
    read_first: u64,
    actors: BTreeMap<String, Count>,
}

pub(crate) fn run() -> ExitCode {
    let seed = seed("crash");
    let kills = count("DATESTONE_CRASH_KILLS", 200);
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut failed = 0;
    while tally.kills < kills && failed == 0 {
        let dir = new_place(&mut chance);
        let mut ledger = Ledger::new();
        for _ in 0..KILLS_PER_DATABASE.min(kills - tally.kills) {
            let cast = ledger.cast(&mut chance);
            let said = one_life(dir.path(), &cast, &mut chance);
            tally.kills += 1;
            let judged = judge(dir.path(), &said, &mut ledger, &mut chance, &mut tally);
            if let Err(Wrong(what)) = judged {
                failed += 1;
                tell(&format!("kill {}: {what}\n  cast: {cast}", tally.kills));
                tell(&format!("  the child had said {}", said.last()));
                tell(&format!("  the database is kept in {}", dir.keep().display()));
                break;
            }
        }
    }
    let sum = |part: fn(&Count) -> u64| tally.actors.values().map(part).sum::<u64>();
    let (steps, in_flight) = (sum(|count| count.steps), sum(|count| count.in_flight));
    let each = |(name, count): (&String, &Count)| {
        format!("{name} {}+{}", count.steps - count.in_flight, count.in_flight)
    };
    let each: Vec<String> = tally.actors.iter().map(each).collect();
    tell(&format!("steps acknowledged + in flight: {}", each.join(", ")));
    tell(&format!(
        "{} kills passed, {failed} failed; {} before the database was open, {} read before it was \
         opened; {steps} steps, {in_flight} of them in flight; DATESTONE_SEED={seed}",
        tally.kills - failed,
        tally.before_opened,
        tally.read_first,
    ));
    let everybody = tally.actors.values().all(|count| count.steps > 0);
    let enough = kills < 200 || (tally.before_opened > 0 && tally.read_first > 0 && everybody);
    if failed == 0 && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A directory for a database and its copies: in memory where the system has such directories, as a
/// kill leaves what was written whether it was synced or not; some of the time on disk, where syncs
/// take their time and kills hit them.
fn new_place(chance: &mut Chance) -> tempfile::TempDir {
    let in_memory = Path::new("/dev/shm");
    if !chance.one_in(4)
        && in_memory.is_dir()
        && let Ok(dir) = tempfile::tempdir_in(in_memory)
    {
        return dir;
    }
    tempfile::tempdir().expect("a temporary directory")
}

fn tell(line: &str) {
    // A closed pipe is nobody's failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Starts a child and kills it after a random number of lines and a random delay.
fn one_life(place: &Path, cast: &str, chance: &mut Chance) -> Said {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child: Child = Command::new(program)
        .env(PLACE_VARIABLE, place)
        .env(ACTORS_VARIABLE, cast)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(output).lines();
    let patience = match chance.below(8) {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 2 + chance.below(400),
        _ => 2 + chance.below(100),
    };
    let mut said = Said::default();
    for _ in 0..patience {
        match lines.next() {
            Some(Ok(line)) => said.hear(&line),
            _ => break,
        }
    }
    for _ in 0..chance.below(400_000) {
        std::hint::spin_loop();
    }
    child.kill().expect("the child is killed");
    child.wait().expect("the child has ended");
    // What it said before it died it said after the commit.
    for line in lines.map_while(std::result::Result::ok) {
        said.hear(&line);
    }
    said
}

/// Opens what is left and compares it.
fn judge(
    place: &Path,
    said: &Said,
    ledger: &mut Ledger,
    chance: &mut Chance,
    tally: &mut Tally,
) -> Outcome<()> {
    if let Some(failed) = &said.failed {
        return Err(Wrong(format!("the child failed by itself: {failed}")));
    }
    tally.before_opened += u64::from(!said.opened);
    let path = place.join("db");
    let seen = if chance.one_in(3) { twin::read_only(&path)? } else { None };
    let db = Datestone::open_with(&path, options()).map_err(|e| Wrong(format!("open: {e}")))?;
    if let Some(seen) = seen {
        tally.read_first += 1;
        seen.compare(&db)?;
    }
    let stage = Stage { db, place: place.into() };
    ledger.judge(&stage, said, chance, &mut tally.actors)?;
    let report = stage.db.verify(VerifyDepth::Full, |_, _| {})?;
    if let Some(damage) = report.damage.first() {
        return Err(Wrong(format!("verify: {damage}")));
    }
    // Half of the time the database is closed, half of the time merely left.
    if chance.one_in(2) {
        stage.db.close()?;
    }
    Ok(())
}
