//! Runs the threads and has them write down what they do and see.

use super::{Commit, History, KEYS, Seen, TABLES};
use datestone::{Collection, Datestone, Durability, ErrorKind, Event, Options, Table};
use datestone_engine::io::{Clock as _, OsClock};
use datestone_engine::limits;
use datestone_engine::sync::Mutex;
use datestone_tests::seed::Chance;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What one thread writes down at most: the checker needs memory too.
const RECORDS_MAX: usize = 20_000;
const SEEN_MAX: usize = 2_500;
/// Times of the tables that stay readable.
const KEPT: u64 = 2_000;

type Numbers = Collection<u64, u64>;

struct World {
    db: Datestone,
    tables: [Table<u64, u64>; TABLES],
    set: Numbers,
    /// The clock of the record.
    ticks: AtomicU64,
    stop: AtomicBool,
    history: Mutex<History>,
}

fn open(dir: &std::path::Path) -> Datestone {
    let options = Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        durability: Durability::Buffer,
        ..Options::default()
    };
    Datestone::open_with(dir, options).unwrap()
}

/// Runs for some seconds: what was written down, and what was there in the end.
pub(super) fn run(seed: u64, seconds: u64) -> (History, Vec<Seen>) {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tables = ["left", "right"].map(|name| db.typed_table(name).unwrap());
    let set = db.typed("set").unwrap();
    let world = World {
        db,
        tables,
        set,
        ticks: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        history: Mutex::new(History::default()),
    };
    world.set.advance_upper(1).unwrap();
    let end = OsClock.monotonic() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        let world = &world;
        for n in 0..4 {
            let chance = |n| Chance::new(seed.wrapping_add(n));
            scope.spawn(move || write(world, n, chance(n), seconds));
            scope.spawn(move || read(world, chance(10 + n)));
        }
        scope.spawn(|| listen(world, world.tables[0].as_collection(), 0));
        scope.spawn(|| listen(world, &world.set, TABLES));
        let mut chance = Chance::new(seed.wrapping_add(20));
        while OsClock.monotonic() < end {
            OsClock.sleep(Duration::from_millis(40));
            let now = world.db.now();
            // Now and then nothing is left but the latest, and what is deleted leaves the files.
            let close = chance.one_in(4);
            for table in &world.tables {
                let kept = if close { chance.below(3) } else { KEPT };
                table.compact_below(now.saturating_sub(kept)).unwrap();
            }
            world.db.flush().unwrap();
            if close {
                world.db.compact().unwrap();
            }
        }
        world.stop.store(true, Ordering::Release);
    });
    let World { db, tables, set, history, .. } = world;
    let last = contents(&db, &tables, &set);
    drop((tables, set));
    db.close().unwrap();
    let db = open(dir.path());
    let tables = ["left", "right"].map(|name| db.typed_table(name).unwrap());
    let again = contents(&db, &tables, &db.typed("set").unwrap());
    (history.into_inner(), last.into_iter().chain(again).collect())
}

fn contents(db: &Datestone, tables: &[Table<u64, u64>; TABLES], set: &Numbers) -> Vec<Seen> {
    let now = db.now();
    let tables = tables.iter().enumerate().map(|(n, table)| rows(table.as_collection(), n, now));
    let latest = set.latest().unwrap().as_of();
    tables.chain([rows(set, TABLES, latest)]).map(|seen| seen.unwrap()).collect()
}

/// What a collection has at a time.
fn rows(of: &Numbers, collection: usize, as_of: u64) -> datestone::Result<Seen> {
    let rows = of.snapshot(as_of)?.iter().map(|row| row.map(|row| (row.key, row.val, row.diff)));
    Ok(Seen { collection, as_of, rows: rows.collect::<datestone::Result<_>>()? })
}

fn write(world: &World, writer: u64, mut chance: Chance, seconds: u64) {
    let tick = || world.ticks.fetch_add(1, Ordering::SeqCst);
    let (mut commits, mut conflicts, mut count) = (Vec::new(), 0, 0);
    while !world.stop.load(Ordering::Acquire) && commits.len() < RECORDS_MAX {
        count += 1;
        if chance.one_in(20) {
            // Bursts, that the records last as long as the run.
            OsClock.sleep(Duration::from_micros(seconds * 20_000_000 / RECORDS_MAX as u64));
        }
        // A value that nobody else puts.
        let mut fresh = (writer << 48) + (count << 8);
        let mut val = || {
            fresh += 1;
            fresh
        };
        let mut commit = Commit { begun: tick(), ..Commit::default() };
        let made = match chance.below(4) {
            0 => plain(world, &mut commit, &mut chance, &mut val),
            _ => transact(world, &mut commit, &mut chance, &mut val),
        };
        match made {
            Ok(ts) => {
                (commit.ts, commit.ended) = (ts, tick());
                commits.push(commit);
            }
            Err(ErrorKind::Conflict | ErrorKind::UpperMismatch) => conflicts += 1,
            Err(kind) => panic!("{kind}"),
        }
    }
    let mut history = world.history.lock();
    history.commits.append(&mut commits);
    history.conflicts += conflicts;
}

/// Puts to both tables, and updates of the multiset if nobody else is faster, as one commit.
fn plain(
    world: &World,
    commit: &mut Commit,
    chance: &mut Chance,
    val: &mut impl FnMut() -> u64,
) -> Result<u64, ErrorKind> {
    let mut building = world.db.commit();
    for (n, table) in world.tables.iter().enumerate() {
        let (key, val) = (chance.below(KEYS), val());
        building = building.put(table, &key, &val);
        commit.writes.push((n, key, Some(val)));
    }
    if chance.one_in(2) {
        let upper = world.set.upper().unwrap().ts().unwrap();
        commit.updates_ts = upper;
        for _ in 0..=chance.below(3) {
            let diff = if chance.one_in(3) { -1 } else { 1 };
            commit.updates.push((chance.below(10), chance.below(3), diff));
        }
        let updates = commit.updates.iter().map(|(key, val, diff)| (key, val, upper, *diff));
        building = building.compare_and_append(&world.set, updates, upper, upper + 1);
    }
    building.run().map(|done| done.ts).map_err(|e| e.kind())
}

/// Reads keys and ranges of both tables, and writes to them.
fn transact(
    world: &World,
    commit: &mut Commit,
    chance: &mut Chance,
    val: &mut impl FnMut() -> u64,
) -> Result<u64, ErrorKind> {
    let mut transaction = world.db.transaction();
    commit.as_of = transaction.as_of();
    let done = (|| {
        for _ in 0..=chance.below(3) {
            let (n, key) = (chance.below(TABLES as u64) as usize, chance.below(KEYS));
            commit.reads.push((n, key, transaction.get(&world.tables[n], &key)?));
        }
        if chance.one_in(3) {
            let (n, from) = (chance.below(TABLES as u64) as usize, chance.below(KEYS));
            let to = from + chance.below(5);
            let rows = transaction.range(&world.tables[n], from..to)?;
            let rows = rows.into_iter().map(|row| (row.key, row.val)).collect();
            commit.ranges.push((n, from, to, rows));
        }
        if chance.one_in(100) {
            // Long enough for what it has read to be written, forgotten and merged away.
            OsClock.sleep(Duration::from_millis(chance.below(200)));
        }
        for _ in 0..=chance.below(2) {
            let (n, key) = (chance.below(TABLES as u64) as usize, chance.below(KEYS));
            let val = (!chance.one_in(5)).then(&mut *val);
            match &val {
                Some(val) => transaction.put(&world.tables[n], &key, val)?,
                None => transaction.delete(&world.tables[n], &key)?,
            }
            commit.writes.retain(|(table, of, _)| (*table, *of) != (n, key));
            commit.writes.push((n, key, val));
        }
        transaction.commit()
    })();
    match done {
        Ok(committed) => Ok(committed.unwrap().ts),
        // Its time was forgotten meanwhile: as good as a conflict.
        Err(e) if e.kind() == ErrorKind::Compacted => Err(ErrorKind::Conflict),
        Err(e) => Err(e.kind()),
    }
}

fn read(world: &World, mut chance: Chance) {
    let mut seen = Vec::new();
    while !world.stop.load(Ordering::Acquire) && seen.len() < SEEN_MAX {
        let now = world.db.now();
        let as_of = if chance.one_in(2) { now } else { now.saturating_sub(chance.below(KEPT)) };
        // Both tables at one time.
        let tables = world.tables.each_ref().map(Table::as_collection);
        match world.db.snapshots(&tables, as_of) {
            Ok(snapshots) => {
                for (collection, snapshot) in snapshots.into_iter().enumerate() {
                    let rows = snapshot.iter().map(|row| row.unwrap());
                    let rows = rows.map(|row| (row.key, row.val, row.diff)).collect();
                    seen.push(Seen { collection, as_of, rows });
                }
            }
            Err(e) => assert!(matches!(e.kind(), ErrorKind::Compacted | ErrorKind::NotYet), "{e}"),
        }
        let upper = world.set.upper().unwrap().ts().unwrap();
        seen.push(rows(&world.set, TABLES, chance.below(upper)).unwrap());
        OsClock.sleep(Duration::from_micros(chance.below(3_000)));
    }
    world.history.lock().seen.append(&mut seen);
}

/// Adds up what is delivered, and writes down what that makes at each progress.
fn listen(world: &World, of: &Numbers, collection: usize) {
    let start = of.latest().map_or(0, |snapshot| snapshot.as_of());
    let mut news = of.subscribe(start).unwrap();
    let mut state: BTreeMap<(u64, u64), i64> = BTreeMap::new();
    let mut seen = Vec::new();
    while !world.stop.load(Ordering::Acquire) {
        match news.next(Duration::from_millis(20)).unwrap() {
            None => {}
            Some(Event::Updates(updates)) => {
                for update in updates.decode().unwrap() {
                    *state.entry((update.key, update.val)).or_default() += update.diff;
                }
                state.retain(|_, diff| *diff != 0);
            }
            Some(Event::Progress(frontier)) if seen.len() < SEEN_MAX => {
                let rows = state.iter().map(|((key, val), diff)| (*key, *val, *diff)).collect();
                let as_of = frontier.last_below().unwrap();
                seen.push(Seen { collection, as_of, rows });
            }
            Some(Event::Progress(_)) => {}
        }
    }
    world.history.lock().delivered.append(&mut seen);
}
