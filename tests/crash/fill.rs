//! A full device: a database is written to until there is no space, space is made, and it goes on without
//! being opened again.
//!
//! Goal: what finds no space is told so and has not happened, everything acknowledged can be read while the
//! device is full and later, and writing goes on when there is space. Method: on a small file system of its
//! own, filled with ballast but for a few MiB, a writer fills the rest, several times; each time either some
//! ballast is removed or the database is told to forget its past, which is most of it. In the end it is closed
//! and opened again, some of the time while the device is full.

use crate::actor::{
    Contents, Outcome, Row, Wrong, contents, key_of, mixed, require_same, ts, wrong,
};
use crate::child::options;
use crate::image::{FileSystem, Image};
use crate::supervisor::{tell, verify};
use datestone::{Collection, Datestone, ErrorKind, TimedTable};
use datestone_engine::io::{Clock as _, OsClock};
use datestone_tests::seed::{Chance, seed};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PIECE_BYTES: usize = 2 << 20;
/// Pieces that are taken away at first: the database's creation needs some.
const ROOM: u64 = 3;
/// Commits after which a row of the multiset is taken away, and the table's keys come again.
const WINDOW: u64 = 40;
/// Commits that fill any device of this size many times.
const COMMITS_MAX: u64 = 200_000;
/// How long a file system may need to give space back.
const PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// What XFS takes at least; the others are quicker when they are small.
pub(crate) const fn image_bytes(kind: FileSystem) -> u64 {
    match kind {
        FileSystem::Xfs => 304 << 20,
        FileSystem::Ext4 | FileSystem::Tmpfs => 64 << 20,
    }
}

/// What all rounds did, for the summary.
#[derive(Default)]
struct Tally {
    commits: u64,
    full: u64,
    refused: u64,
    forgot: u64,
    forgot_unaided: u64,
    opened_full: u64,
    open_refused: u64,
}

pub(crate) fn run(kinds: &[FileSystem], rounds: u64) -> bool {
    let seed = seed("fill");
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut passed = 0;
    for (round, kind) in (0..rounds).zip(kinds.iter().cycle()) {
        if let Err(Wrong(what)) = one_round(*kind, &mut chance, &mut tally) {
            tell(&format!("fill: round {round} on {}: {what}", kind.name()));
            break;
        }
        passed += 1;
        if passed % 10 == 0 {
            tell(&format!("fill: {passed} rounds"));
        }
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    tell(&format!(
        "fill: {passed} of {rounds} rounds passed on {}; {} commits, {} times full, {} more calls refused, space \
         made {} times by forgetting, {} of them with no help; opened when full {} times, refused {} times; \
         DATESTONE_SEED={seed}",
        names.join(", "),
        tally.commits,
        tally.full,
        tally.refused,
        tally.forgot,
        tally.forgot_unaided,
        tally.opened_full,
        tally.open_refused,
    ));
    passed == rounds
}

/// Files that take space until they are removed.
struct Ballast(Vec<PathBuf>);

impl Ballast {
    /// Takes all there is.
    fn new(place: &Path) -> Outcome<Self> {
        let piece = vec![0x5a; PIECE_BYTES];
        let mut pieces = Vec::new();
        loop {
            let path = place.join(format!("ballast-{}", pieces.len()));
            let mut file = std::fs::File::create_new(&path)?;
            pieces.push(path);
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull => return Ok(Self(pieces)),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn remove(&mut self, pieces: u64) -> Outcome<()> {
        for _ in 0..pieces {
            let Some(path) = self.0.pop() else { wrong!("there is no ballast left") };
            #[expect(
                clippy::disallowed_methods,
                reason = "the ballast is no file of the database"
            )]
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// A database that is written to, and what it must hold.
struct Writer {
    db: Datestone,
    set: Collection,
    table: TimedTable,
    count: u64,
    since: u64,
    /// Greatest length of a value.
    len_max: u64,
}

fn row(n: u64, len_max: u64) -> Row {
    let fill = b'a' + (n % 26) as u8;
    (key_of(n % WINDOW), [key_of(n), vec![fill; (mixed(n) % len_max) as usize]].concat())
}

impl Writer {
    fn open(path: &Path, count: u64, since: u64, len_max: u64) -> datestone::Result<Self> {
        let db = Datestone::open_with(path, options())?;
        let (set, table) = (db.collection("set")?, db.timed_table("table")?);
        Ok(Self { db, set, table, count, since, len_max })
    }

    fn commit(&mut self) -> datestone::Result<()> {
        let n = self.count;
        let (new, old) = (row(n, self.len_max), n.checked_sub(WINDOW));
        let old = old.map(|old| row(old, self.len_max));
        let old = old.as_ref().map(|(key, val)| (&key[..], &val[..], n, -1));
        let updates = old.into_iter().chain([(&new.0[..], &new.1[..], n, 1)]);
        (self.db.commit())
            .compare_and_append(&self.set, updates, n, n + 1)
            .put_at(&self.table, &new.0, &new.1, n)
            .advance_table(&self.table, n + 1)
            .run()?;
        self.count += 1;
        Ok(())
    }

    /// Commits until there is no space.
    fn fill(&mut self, tally: &mut Tally) -> Outcome<()> {
        for _ in 0..COMMITS_MAX {
            match self.commit() {
                Ok(()) => tally.commits += 1,
                Err(e) if e.kind() == ErrorKind::NoSpace => {
                    tally.full += 1;
                    return Ok(());
                }
                Err(e) => wrong!("commit {}: {}: {e}", self.count, e.kind()),
            }
        }
        wrong!("{COMMITS_MAX} commits have not filled the device")
    }

    /// Makes calls on a full device: each does it, or says why not.
    fn try_more(&mut self, chance: &mut Chance, tally: &mut Tally) -> Outcome<()> {
        for _ in 0..chance.below(12) {
            let tried = match chance.below(6) {
                0 => self.db.flush(),
                1 => self.db.compact(),
                2 => self.db.sync(),
                _ => self.commit(),
            };
            match tried {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NoSpace => tally.refused += 1,
                Err(e) => wrong!("on a full device: {}: {e}", e.kind()),
            }
        }
        Ok(())
    }

    /// Raises since as far as it goes, and merges what that leaves.
    fn forget(&mut self) -> datestone::Result<()> {
        let since = self.count - 1;
        (self.db.commit())
            .compact_below(&self.set, since)
            .compact_below(self.table.as_collection(), since)
            .run()?;
        self.since = since;
        self.db.compact()
    }

    /// Compares the frontiers, and the contents at some times.
    fn check(&self, chance: &mut Chance) -> Outcome<()> {
        let frontiers =
            [self.set.since()?, self.set.upper()?, self.table.since()?, self.table.upper()?];
        let frontiers = frontiers.map(ts);
        if frontiers != [self.since, self.count, self.since, self.count] {
            wrong!("frontiers {frontiers:?}, not {} and {}", self.since, self.count);
        }
        let Some(last) = self.count.checked_sub(1) else { return Ok(()) };
        for as_of in [self.since, last, self.since + chance.below(last - self.since + 1)] {
            let first = (as_of + 1).saturating_sub(WINDOW);
            let wanted: Contents = (first..=as_of).map(|n| (row(n, self.len_max), 1)).collect();
            for collection in [&self.set, self.table.as_collection()] {
                let what = format!("{} as of {as_of} of {}", collection.name(), self.count);
                require_same(what, &contents(collection, as_of)?, &wanted)?;
            }
        }
        Ok(())
    }
}

/// Calls until there is space, which may take the file system a while.
fn until_space<T>(what: &str, mut call: impl FnMut() -> datestone::Result<T>) -> Outcome<T> {
    let end = OsClock.monotonic() + PATIENCE;
    loop {
        match call() {
            Ok(done) => return Ok(done),
            Err(e) if e.kind() == ErrorKind::NoSpace && OsClock.monotonic() < end => {
                OsClock.sleep(BETWEEN_ATTEMPTS);
            }
            Err(e) => wrong!("{what}: {}: {e}", e.kind()),
        }
    }
}

fn one_round(kind: FileSystem, chance: &mut Chance, tally: &mut Tally) -> Outcome<()> {
    let image = Image::new(kind, image_bytes(kind), chance)?;
    let mut ballast = Ballast::new(image.path())?;
    ballast.remove(ROOM + chance.below(3))?;
    let path = image.path().join("db");
    let len_max = 3_200 << chance.below(3);
    let mut writer = Writer::open(&path, 0, 0, len_max)?;
    for _ in 0..2 + chance.below(3) {
        writer.fill(tally)?;
        writer.check(chance)?;
        writer.try_more(chance, tally)?;
        writer.check(chance)?;
        make_space(&mut writer, &mut ballast, chance, tally)?;
        until_space("with space again", || writer.commit())?;
        writer.check(chance)?;
    }
    verify(&writer.db)?;
    reopen(writer, &path, &mut ballast, chance, tally)
}

fn make_space(
    writer: &mut Writer,
    ballast: &mut Ballast,
    chance: &mut Chance,
    tally: &mut Tally,
) -> Outcome<()> {
    if chance.one_in(2) {
        return ballast.remove(1 + chance.below(2));
    }
    tally.forgot += 1;
    match writer.forget() {
        Ok(()) => tally.forgot_unaided += 1,
        // What asks for it needs space in the log, and what is merged until what it replaces is gone.
        Err(e) if e.kind() == ErrorKind::NoSpace => {
            ballast.remove(1)?;
            until_space("forgetting, with space again", || writer.forget())?;
        }
        Err(e) => wrong!("forgetting: {}: {e}", e.kind()),
    }
    Ok(())
}

/// Closes the database and opens it again, and goes on.
fn reopen(
    mut writer: Writer,
    path: &Path,
    ballast: &mut Ballast,
    chance: &mut Chance,
    tally: &mut Tally,
) -> Outcome<()> {
    let full = chance.one_in(2);
    if full {
        writer.fill(tally)?;
    }
    let Writer { db, set, table, count, since, len_max } = writer;
    drop((set, table));
    if chance.one_in(2) {
        db.close()?;
    } else {
        drop(db);
    }
    let mut opened = Writer::open(path, count, since, len_max);
    tally.opened_full += u64::from(full && opened.is_ok());
    if let Err(e) = &opened
        && e.kind() == ErrorKind::NoSpace
    {
        tally.open_refused += 1;
        ballast.remove(2)?;
        opened = Ok(until_space("opening, with space again", || {
            Writer::open(path, count, since, len_max)
        })?);
    } else if full {
        ballast.remove(2)?;
    }
    let mut writer = opened?;
    writer.check(chance)?;
    verify(&writer.db)?;
    until_space("opened again", || writer.commit())?;
    writer.check(chance)?;
    Ok(writer.db.close()?)
}
