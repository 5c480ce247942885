//! Starts the child, kills it, and judges what it leaves.

use crate::child::{DIR_VARIABLE, options};
use crate::ledger::{WRITERS, check};
use crate::surface::{Counts, check as check_surface};
use datestone::{CollectionInfo, Datestone, ErrorKind, Options, Result, VerifyDepth};
use datestone_tests::seed::{Chance, count, seed};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

/// Kills after which a new database is begun, so that creation is killed too.
const KILLS_PER_DATABASE: u64 = 12;

/// What a child said before it was killed.
#[derive(Debug, Default)]
struct Said {
    opened: bool,
    /// By writer, the last commit acknowledged.
    acknowledged: [Option<u64>; WRITERS as usize],
    surface: Counts,
    failed: Option<String>,
}

/// What all kills together did, for the summary.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    before_opened: u64,
    commits: u64,
    /// Steps over the other kinds, and over whole collections.
    surface: u64,
    in_flight: u64,
}

pub(crate) fn run() -> ExitCode {
    let seed = seed("crash");
    let kills = count("DATESTONE_CRASH_KILLS", 200);
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut failed = 0;
    while tally.kills < kills && failed == 0 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("db");
        let mut counts = [0; WRITERS as usize];
        let mut surface = Counts::default();
        for _ in 0..KILLS_PER_DATABASE.min(kills - tally.kills) {
            let said = one_life(&path, &mut chance);
            tally.kills += 1;
            if let Err(what) =
                judge(&path, &said, (&mut counts, &mut surface), &mut chance, &mut tally)
            {
                failed += 1;
                tell(&format!("kill {}: {what}\n  the child had said {said:?}", tally.kills));
                tell(&format!("  the database is kept in {}", dir.keep().display()));
                break;
            }
        }
        // Later databases are judged anew.
        tally.commits += counts.iter().sum::<u64>();
        tally.surface += surface.kinds + surface.whole;
    }
    tell(&format!("{tally:?}"));
    tell(&format!("{} kills passed, {failed} failed; DATESTONE_SEED={seed}", tally.kills - failed));
    let enough = kills < 50 || (tally.before_opened > 0 && tally.commits > kills);
    if failed == 0 && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(line: &str) {
    // A closed pipe is nobody's failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Starts a child and kills it after a random number of lines and a random delay.
fn one_life(path: &Path, chance: &mut Chance) -> Said {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child: Child = Command::new(program)
        .env(DIR_VARIABLE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(output).lines();
    let patience = match chance.below(8) {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 2 + chance.below(200),
        _ => 2 + chance.below(80),
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

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["opened"] => self.opened = true,
            ["ack", writer, n] => {
                if let (Ok(writer), Ok(n)) = (writer.parse::<usize>(), n.parse()) {
                    self.acknowledged[writer] = Some(n);
                }
            }
            ["failed", ..] => self.failed = Some(line.into()),
            words => drop(self.surface.hear(words)),
        }
    }
}

/// Opens what is left and compares it; `counts` are the commits known so far.
fn judge(
    path: &Path,
    said: &Said,
    (counts, surface): (&mut [u64; WRITERS as usize], &mut Counts),
    chance: &mut Chance,
    tally: &mut Tally,
) -> std::result::Result<(), String> {
    if let Some(failed) = &said.failed {
        return Err(format!("the child failed by itself: {failed}"));
    }
    tally.before_opened += u64::from(!said.opened);
    let text = |e: datestone::Error| e.to_string();
    // What a reader sees of it, without a lock and before anything is mended, is what is there.
    let seen = Datestone::open_read_only_with(path, Options { background_threads: 0, ..options() });
    let seen = match seen {
        Ok(reader) => Some(reader.collections()),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(format!("open to read: {e}")),
    };
    let db = Datestone::open_with(path, options()).map_err(|e| format!("open: {e}"))?;
    let frontiers = |all: Vec<CollectionInfo>| -> Vec<_> {
        all.into_iter().map(|info| (info.name, info.since, info.upper)).collect()
    };
    if seen.is_some_and(|seen| frontiers(seen) != frontiers(db.collections())) {
        return Err("a reader sees something else".into());
    }
    *surface = check_surface(&db, path, &said.surface, surface).map_err(text)??;
    for (writer, before) in (0..).zip(counts.iter_mut()) {
        let (a, b) = (chance.next_u64(), chance.next_u64());
        let times = move |first: u64, last: u64| {
            let span = last.saturating_sub(first) + 1;
            vec![first, last, first + a % span, first + b % span]
        };
        let found = check(&db, writer, times).map_err(text)??;
        let acknowledged = said.acknowledged[writer as usize].map_or(*before, |n| n + 1);
        if found < acknowledged || found > acknowledged + 1 {
            return Err(format!(
                "writer {writer}: {found} commits, {acknowledged} were acknowledged"
            ));
        }
        tally.in_flight += found - acknowledged;
        *before = found;
    }
    verify(&db).map_err(text)?.map_or(Ok(()), Err)?;
    // Half of the time the database is closed, half of the time merely left.
    if chance.one_in(2) {
        db.close().map_err(text)?;
    }
    Ok(())
}

fn verify(db: &Datestone) -> Result<Option<String>> {
    let report = db.verify(VerifyDepth::Full, |_, _| {})?;
    Ok(report.damage.first().map(|damage| format!("verify: {damage}")))
}
