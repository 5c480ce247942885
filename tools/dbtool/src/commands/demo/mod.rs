//! `dbtool demo`: what datestone is for, shown on real data in a few seconds.
//!
//! Loads the history of a `Cargo.lock`, kills the load in the middle, recovers and goes on, compares
//! the past with what git says of it, asks two questions of it, forgets a part, verifies.

mod changes;
mod data;
mod killed;

use super::compact::compact;
use super::load::{self, Plan, Start, UpperPlan};
use super::verify::verify;
use crate::args::Global;
use crate::batch::Batch;
use crate::dates::{day_of, day_start};
use crate::datum;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::input::{Input, RowFormat, RowSource};
use crate::output::{self, Fact, OnStdout as _};
use crate::progress::{Bar, Stopwatch};
use crate::store::Store;
use data::Expected;
use datestone::{Collection, Frontier, Snapshot, VerifyDepth};
use indicatif::HumanBytes;
use jiff::civil::{Date, date};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, StdoutLock, Write as _};
use std::path::{Path, PathBuf};

/// The demo's collection.
const COLLECTION: &str = "cargo-lock";
/// The day that is asked about.
const DAY: Date = date(2019, 3, 1);
/// The year that is asked about.
const YEAR: i16 = 2024;
/// Packages that an answer shows.
const SHOWN: [&str; 8] = ["cargo", "clap", "curl", "git2", "libc", "semver", "serde", "url"];

/// Runs the command.
pub(crate) fn run(global: &Global, dir: Option<PathBuf>) -> Result<()> {
    let watch = Stopwatch::start();
    let mut demo = Demo::new(dir)?;
    demo.load_and_kill(global)?;
    let store = Store::existing(&demo.db)?;
    demo.resume(global, &store)?;
    let collection = store.find(COLLECTION)?;
    demo.compare(&store, &collection)?;
    demo.ask_about_a_day(&store, &collection)?;
    demo.ask_about_a_year(&store, &collection)?;
    demo.forget(&store, &collection)?;
    demo.verify(global, &store)?;
    store.close()?;
    demo.go_on(&watch)
}

/// Where the demo works and tells.
struct Demo {
    out: BufWriter<StdoutLock<'static>>,
    /// The database.
    db: PathBuf,
    /// The input.
    file: PathBuf,
    /// Count of updates in the input.
    updates: u64,
}

impl Demo {
    /// A demo in `dir`, which must be new or empty.
    fn new(dir: Option<PathBuf>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir,
            None => std::env::temp_dir().join(format!("datestone-demo-{}", std::process::id())),
        };
        fs::create_dir_all(&dir).map_err(|error| Failure::io("make", &dir, &error))?;
        let mut entries = fs::read_dir(&dir).map_err(|error| Failure::io("read", &dir, &error))?;
        if entries.next().is_some() {
            return Err(Failure::usage(format!("{} is not empty", dir.display()))
                .why("the demo works in a directory of its own")
                .hint("dbtool demo NEW-DIRECTORY, or leave it out"));
        }
        let file = dir.join("cargo-lock.jsonl.zst");
        let written = File::create_new(&file).and_then(|mut f| f.write_all(data::UPDATES));
        written.map_err(|error| Failure::io("write", &file, &error))?;
        Ok(Self { out: output::stdout(), db: dir.join("db"), file, updates: 0 })
    }

    /// Tells a line, at once.
    fn say(&mut self, text: impl fmt::Display) -> Result<()> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).on_stdout()
    }

    /// Tells the command that does the same.
    fn say_command(&mut self, words: impl fmt::Display) -> Result<()> {
        self.say(format_args!("  $ dbtool {words}"))
    }

    fn load_and_kill(&mut self, global: &Global) -> Result<()> {
        let lines = data::lines()?;
        self.updates = lines.len() as u64;
        let updates = self.updates;
        self.say(format_args!(
            "The Cargo.lock of rust-lang/cargo, 2014 to 2026: {updates} updates (package, version, time, +1 or -1).\n"
        ))?;
        self.say("1. Load it, every commit durable, and kill the process in the middle.")?;
        let db = self.db.display().to_string();
        self.say_command(format_args!("load {db} {COLLECTION} - --ack --batch {}", killed::BATCH))?;
        let bar = Bar::rows("  loading", updates, global.progress());
        let killed = killed::load(self, &lines, &bar);
        bar.clear();
        let killed::Killed { acked, in_flight } = killed?;
        self.say(format_args!(
            "  SIGKILL after {acked} acknowledged rows, with {in_flight} more under way.\n"
        ))?;
        let store = Store::existing(&self.db)?;
        let found = load::position(&store, COLLECTION)?;
        store.close()?;
        if found != acked {
            let what = format!("{acked} rows were acknowledged, {found} are there after the kill");
            return Err(Failure::new(Exit::Error, what).hint("please report this"));
        }
        self.say("2. Open it again, and go on where the last durable commit ended.")?;
        self.say(format_args!("  {found} rows are there: all that was acknowledged, none by half."))
    }

    fn resume(&mut self, global: &Global, store: &Store) -> Result<()> {
        let (db, file) = (self.db.display().to_string(), self.file.display().to_string());
        self.say_command(format_args!("load {db} {COLLECTION} {file} --resume"))?;
        let source = RowSource::new(Input::open(&self.file, &Bar::hidden())?, RowFormat::Jsonl)?;
        let upper = UpperPlan { open_ended: false, unordered: false };
        let plan = Plan { batch: 1000, upper, start: Start::Resume };
        let bar = Bar::rows("  loading", self.updates, global.progress());
        let mut follow = |loaded: load::Loaded| {
            bar.set_position(loaded.rows);
            Ok(())
        };
        let loaded = load::load(store, COLLECTION, source, &plan, &mut follow)?;
        bar.clear();
        self.say(format_args!("  {} rows are durable, upper {}.\n", loaded.rows, loaded.upper))
    }

    fn compare(&mut self, store: &Store, collection: &Collection) -> Result<()> {
        let oracle = data::oracle()?;
        self.say("3. Compare its past with what git says, by count and SHA-256.")?;
        for expected in &oracle {
            check(store, collection, expected)?;
        }
        let count = oracle.len();
        self.say(format_args!(
            "  {count} of {count} times agree with the git objects of their commits.\n"
        ))
    }

    fn ask_about_a_day(&mut self, store: &Store, collection: &Collection) -> Result<()> {
        self.say(format_args!("4. Which versions were locked on {DAY}?"))?;
        let as_of = start_of(DAY)?;
        let db = self.db.display().to_string();
        self.say_command(format_args!("scan {db} {COLLECTION} --as-of {as_of}"))?;
        let count = store.snapshot(collection, Some(as_of))?.count().in_database(&self.db)?;
        let Around { last, next } = Around::find(as_of)?;
        self.say(match count {
            0 => format!(
                "  None: the change of {last} took the file out of the repository, that of {next} \
                 brought it back."
            ),
            _ => format!("  {count}; the last change before was on {last}, the next on {next}."),
        })?;
        // The last time before that day of which git has told what there was.
        let oracle = data::oracle()?;
        let Some(known) = oracle.iter().rev().find(|known| known.as_of <= as_of) else {
            return Ok(());
        };
        check(store, collection, known)?;
        let Expected { as_of, rows, .. } = known;
        let day = day_text(Some(*as_of));
        self.say_command(format_args!("scan {db} {COLLECTION} --as-of {as_of}"))?;
        self.say(format_args!("  On {day} there were {rows}, as git says too, among them:"))?;
        let snapshot = store.snapshot(collection, Some(*as_of))?;
        for package in SHOWN {
            let mut versions = vec![];
            let each = |val: &[u8], _| versions.push(version(val));
            snapshot.get_with(package.as_bytes(), each).in_database(&self.db)?;
            if !versions.is_empty() {
                self.say(format_args!("    {package:8} {}", versions.join(", ")))?;
            }
        }
        self.say("")
    }

    fn ask_about_a_year(&mut self, store: &Store, collection: &Collection) -> Result<()> {
        self.say(format_args!("5. What changed in {YEAR}?"))?;
        let last_before = |year| Ok(start_of(date(year, 1, 1))?.saturating_sub(1));
        let before = store.snapshot(collection, Some(last_before(YEAR)?))?;
        let after = store.snapshot(collection, Some(last_before(YEAR + 1)?))?;
        let changes = changes::between(&self.db, &before, &after)?;
        let tally = changes::Tally::of(&self.db, &changes, &before, &after)?;
        self.say(format_args!(
            "  {} versions went and {} came: {} packages moved, {} are new, {} are gone. Among them:",
            tally.vals_gone, tally.vals_come, tally.moved, tally.new, tally.gone
        ))?;
        for package in SHOWN {
            if let Some(change) = changes.get(package.as_bytes()) {
                let text = |vals: &[Vec<u8>]| {
                    let texts: Vec<_> = vals.iter().map(|val| version(val)).collect();
                    if texts.is_empty() { "-".into() } else { texts.join(", ") }
                };
                let (gone, come) = (text(&change.gone), text(&change.come));
                self.say(format_args!("    {package:8} {gone} -> {come}"))?;
            }
        }
        self.say("")
    }

    fn forget(&mut self, store: &Store, collection: &Collection) -> Result<()> {
        let day = date(YEAR, 1, 1);
        let since = start_of(day)?;
        self.say(format_args!("6. Forget what was before {day}."))?;
        let db = self.db.display().to_string();
        self.say_command(format_args!("compact {db} {COLLECTION} --below {since}"))?;
        // Everything into segments first, so that like is compared with like.
        store.db.flush().and_then(|()| collection.compact()).in_database(&self.db)?;
        let before = store.info(collection)?;
        compact(store, collection, Some(since))?;
        let after = store.info(collection)?;
        let won = before.bytes.saturating_sub(after.bytes);
        self.say(format_args!(
            "  {} -> {} updates, {} -> {}: {} won.",
            before.updates,
            after.updates,
            HumanBytes(before.bytes),
            HumanBytes(after.bytes),
            HumanBytes(won)
        ))?;
        let oracle = data::oracle()?;
        let left: Vec<_> = oracle.iter().filter(|expected| expected.as_of >= since).collect();
        for expected in &left {
            check(store, collection, expected)?;
        }
        self.say(format_args!("  The {} times since then still agree with git.", left.len()))?;
        match collection.snapshot(start_of(DAY)?) {
            Err(refused) => self.say(format_args!("  {DAY} now answers: {refused}\n")),
            Ok(_) => Err(Failure::new(Exit::Error, format!("{DAY} reads after it was forgotten"))
                .hint("please report this")),
        }
    }

    fn verify(&mut self, global: &Global, store: &Store) -> Result<()> {
        self.say("7. Verify every byte.")?;
        let db = self.db.display().to_string();
        self.say_command(format_args!("verify {db} --full"))?;
        let facts = verify(global, store, VerifyDepth::Full, &Bar::hidden())?;
        let checked: Vec<_> = facts
            .iter()
            .filter_map(|(name, fact)| match fact {
                Fact::Count(count) => Some(format!("{count} {name}")),
                _ => None,
            })
            .collect();
        self.say(format_args!("  Clean: {}.\n", checked.join(", ")))
    }

    fn go_on(&mut self, watch: &Stopwatch) -> Result<()> {
        let db = self.db.display().to_string();
        self.say(format_args!("Done in {:.1} s. Go on with:", watch.elapsed().as_secs_f64()))?;
        self.say_command(format_args!("info {db}"))?;
        self.say_command(format_args!("get {db} {COLLECTION} serde"))?;
        self.say_command(format_args!("scan {db} {COLLECTION} --prefix gix- --format table"))?;
        self.say_command(format_args!("dump {db} > dump.jsonl"))
    }
}

/// The days of the changes around a time.
struct Around {
    /// Of the last change at or before it.
    last: String,
    /// Of the first change after it.
    next: String,
}

impl Around {
    fn find(as_of: u64) -> Result<Self> {
        let mut batch = Batch::default();
        let mut source = data::rows()?;
        while source.read_into(&mut batch, Frontier::MIN)? {}
        let times = || batch.updates().into_iter().map(|update| update.ts);
        Ok(Self {
            last: day_text(times().filter(|ts| *ts <= as_of).max()),
            next: day_text(times().filter(|ts| *ts > as_of).min()),
        })
    }
}

fn day_text(ts: Option<u64>) -> String {
    ts.and_then(day_of).map_or_else(|| "no day".into(), |day| day.to_string())
}

/// The first moment of a day.
fn start_of(day: Date) -> Result<u64> {
    day_start(day).ok_or_else(|| Failure::usage(format!("{day} is before 1970")))
}

/// The version in a value, which goes on with the source.
fn version(val: &[u8]) -> String {
    let text = datum::to_cell(val);
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Compares the contents at one time with what git says of it.
fn check(store: &Store, collection: &Collection, expected: &Expected) -> Result<()> {
    let found = contents(store.path(), &store.snapshot(collection, Some(expected.as_of))?)?;
    if found != *expected {
        let Expected { as_of, rows, sha256 } = expected;
        let what = format!("the contents of '{COLLECTION}' as of {as_of} are not what git says");
        return Err(Failure::new(Exit::Error, what)
            .why(format!("{} rows, {} instead of {rows}, {sha256}", found.rows, found.sha256))
            .hint("please report this"));
    }
    Ok(())
}

/// Count and SHA-256 of the lines `key TAB val LF` of a snapshot.
fn contents(db: &Path, snapshot: &Snapshot) -> Result<Expected> {
    let mut hash = Sha256::new();
    let mut count = 0;
    let mut rows = snapshot.iter();
    while let Some(row) = rows.next_row().in_database(db)? {
        // A row that is there more than once would be one line for each.
        for _ in 0..row.diff.max(0) {
            for part in [row.key, b"\t", row.val, b"\n"] {
                hash.update(part);
            }
            count += 1;
        }
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Expected { as_of: snapshot.as_of(), rows: count, sha256 })
}
