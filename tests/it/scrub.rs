//! The scrub: what it reads, when, and what it tells.
//!
//! Method: files in memory, a clock that the test moves, and steps that it drives.

use datestone::{DbEvent, EventListener, Options};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::io::{Env, Fault, FaultOp, Fs, MemFs, OsThreads};
use datestone_engine::read::RangeSpec;
use datestone_engine::types::{Frontier, Kind};
use datestone_tests::database::{DIR, append, open, small_options};
use datestone_tests::model::OwnedUpdate;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PERIOD: u64 = 1000;

/// Options with a scrub, and the damage that it tells of.
fn scrubbing() -> (Options, Receiver<Error>) {
    let (sender, damage) = channel();
    let on_event = EventListener::new(move |event| {
        if let DbEvent::Damage { error } = event {
            drop(sender.send(error.clone()));
        }
    });
    let on_event = Some(on_event);
    (Options { scrub_period_seconds: PERIOD, on_event, ..small_options() }, damage)
}

/// Adds `count` rows of 1000 bytes at `ts` and flushes them.
fn add(db: &Db, name: &str, ts: u64, count: u32) {
    let id = db.create_or_load(Kind::Multiset, name, b"").unwrap().id;
    let noise = |n: u32| (0..1000).map(move |i| (n.wrapping_mul(2_654_435_761) >> (i % 24)) as u8);
    let row =
        |n: u32| OwnedUpdate { key: n.to_be_bytes().into(), val: noise(n).collect(), ts, diff: 1 };
    for rows in (0..count).collect::<Vec<_>>().chunks(32) {
        append(db, id, name, &rows.iter().map(|n| row(*n)).collect::<Vec<_>>()).unwrap();
    }
    let mut commit = Commit::new();
    commit.advance_upper(id, Frontier::just_beyond(ts)).unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.flush().unwrap();
}

fn segment_files(fs: &MemFs) -> Vec<(PathBuf, u64)> {
    let listed = fs.list(Path::new(DIR)).unwrap().into_iter();
    let mut files: Vec<_> = listed
        .filter(|entry| entry.name.to_string_lossy().ends_with(".seg"))
        .map(|entry| (Path::new(DIR).join(entry.name), entry.len))
        .collect();
    files.sort();
    files
}

/// Runs what is due now and each time that the clock has gone on by a second, `seconds` times.
fn drive(fs: &MemFs, db: &Db, seconds: u64) {
    for _ in 0..seconds {
        while db.step().unwrap() {}
        fs.clock().advance(Duration::from_secs(1));
    }
}

/// Steps until the pass under way has ended, without beginning the next one.
fn drive_pass(fs: &MemFs, db: &Db) {
    let passes = db.stats().counts.scrub_passes;
    let mut seconds = 0;
    while db.stats().counts.scrub_passes == passes {
        if !db.step().unwrap() {
            fs.clock().advance(Duration::from_secs(1));
            seconds += 1;
        }
        assert!(seconds <= 2 * PERIOD, "the pass does not end");
    }
}

#[test]
fn a_pass_reads_every_byte_once_evenly_within_the_period() {
    let (options, damage) = scrubbing();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    for name in ["a", "b", "c"] {
        add(&db, name, 0, 1500);
    }
    while db.step().unwrap() {} // Merges, and a first piece.
    db.close().unwrap();
    let db = open(&fs, &options).unwrap();
    let total = db.stats().segment_bytes;
    assert!(total > 4 << 20, "{total}");
    fs.start_trace();
    for second in 1..=PERIOD {
        drive(&fs, &db, 1);
        let read = db.stats().counts.scrubbed_bytes;
        let (even, piece) = (total as f64 * second as f64 / PERIOD as f64, f64::from(1 << 20));
        assert!((read as f64) <= even + piece + 1.0, "{read} of {total} after {second}");
        assert!((read as f64) >= even - piece - 1.0, "{read} of {total} after {second}");
    }
    let counts = db.stats().counts;
    assert_eq!(counts.scrubbed_bytes, total);
    let read: BTreeSet<PathBuf> = (fs.take_trace().into_iter())
        .filter(|(op, _)| *op == FaultOp::Read)
        .map(|(_, path)| path)
        .collect();
    assert_eq!(read, segment_files(&fs).into_iter().map(|(path, _)| path).collect());
    drive(&fs, &db, PERIOD);
    drive(&fs, &db, 2);
    let counts = db.stats().counts;
    assert_eq!((counts.scrub_passes, counts.scrub_damaged), (2, 0));
    assert!(damage.try_recv().is_err());
}

#[test]
fn nothing_is_read_when_it_is_off() {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    add(&db, "a", 0, 100);
    while db.step().unwrap() {}
    let reads = fs.counts().reads;
    drive(&fs, &db, PERIOD);
    assert_eq!(fs.counts().reads, reads);
    assert_eq!(db.stats().counts.scrubbed_bytes, 0);
}

/// Goal: a bit that flips anywhere in a segment while the database is open is told once a pass.
#[test]
fn damage_anywhere_is_told_once_a_pass_with_file_and_offset() {
    let (options, damage) = scrubbing();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    add(&db, "a", 0, 40);
    add(&db, "b", 0, 40);
    while db.step().unwrap() {}
    drive_pass(&fs, &db);
    let (file, len) = segment_files(&fs).remove(0);
    let places = (0..len).step_by(997).chain((len.saturating_sub(300)..len).step_by(7));
    for place in places {
        fs.flip_bits(&file, place, 1).unwrap();
        // The damage is in the first segment, and the clock is where a pass begins.
        let passes = db.stats().counts.scrub_passes;
        drive_pass(&fs, &db);
        assert_eq!(db.stats().counts.scrub_passes, passes + 1);
        let told: Vec<Error> = damage.try_iter().collect();
        let [Error::Corruption { file: named, offset, .. }] = &told[..] else {
            panic!("{told:?} at {place}")
        };
        assert_eq!(**named, *file);
        // Of the trailer the place of its checksum is named.
        assert!(*offset <= place || place >= len - 64, "{offset}, not {place}");
        assert!(*offset < len);
        fs.flip_bits(&file, place, 1).unwrap();
    }
    fs.flip_bits(&file, len / 2, 1).unwrap();
    db.close().unwrap();
    let db = open(&fs, &options).unwrap();
    drive(&fs, &db, 5 * PERIOD);
    drive(&fs, &db, 1);
    let counts = db.stats().counts;
    assert_eq!(counts.scrub_damaged, damage.try_iter().count() as u64);
    let passes = counts.scrub_passes;
    assert!((4..=5).contains(&passes), "{passes}");
    assert!((passes..=passes + 1).contains(&counts.scrub_damaged), "{counts:?}");
}

#[test]
fn what_cannot_be_read_is_damage_and_the_rest_is_read() {
    let (options, damage) = scrubbing();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    add(&db, "a", 0, 40);
    add(&db, "b", 0, 40);
    let (file, len) = segment_files(&fs).remove(0);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    fs.inject(Fault::nth(FaultOp::Read, 1, std::io::ErrorKind::Other).forever().on(&name));
    drive(&fs, &db, PERIOD);
    let error = damage.try_recv().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains(&name), "{error}");
    assert!(damage.try_recv().is_err());
    assert!(db.stats().counts.scrubbed_bytes >= db.stats().segment_bytes - len);
}

#[test]
fn it_goes_on_beside_flush_merge_erasure_and_drop() {
    let (options, damage) = scrubbing();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    for ts in 0..60 {
        add(&db, "a", ts, 60);
        add(&db, "b", ts, 20);
        drive(&fs, &db, 50);
        let id = db.find("a").unwrap().id;
        match ts % 4 {
            0 => db.compact(None).unwrap(),
            1 => drop(db.erase(id, &RangeSpec::ALL).unwrap()),
            2 => drop(db.drop_collection("b").unwrap()),
            _ => {}
        }
        db.flush().unwrap();
        // Nothing that the scrub looked at stays: only live segments have files.
        let files = segment_files(&fs).len() as u64;
        assert_eq!(files, db.stats().segments, "{ts}");
    }
    assert!(db.stats().counts.scrub_passes >= 2);
    assert!(damage.try_recv().is_err());
    db.verify(datestone_engine::verify::VerifyDepth::Full, |_, _| {}).unwrap();
}

/// Goal: a thread does it without being called, and a close in the midst of a pass ends. Method: real
/// threads over files in memory and a clock that the test moves.
#[test]
fn a_thread_scrubs_by_the_clock_and_ends_with_the_database() {
    let (mut options, damage) = scrubbing();
    let fs = MemFs::new();
    let db = open(&fs, &options).unwrap();
    add(&db, "a", 0, 40);
    db.close().unwrap();
    let (file, len) = segment_files(&fs).remove(0);
    fs.flip_bits(&file, len / 2, 1).unwrap();
    options.background_threads = 2;
    let env = Env { threads: Arc::new(OsThreads), ..Env::memory(fs.clone()) };
    let db = Db::open(env, Path::new(DIR), options).unwrap();
    let error = loop {
        if let Ok(error) = damage.recv_timeout(Duration::from_millis(5)) {
            break error;
        }
        fs.clock().advance(Duration::from_secs(10));
    };
    assert_eq!(error.kind(), ErrorKind::Corruption);
    db.close().unwrap();
    let read = db.stats().counts.scrubbed_bytes;
    fs.clock().advance(Duration::from_secs(2 * PERIOD));
    assert_eq!(db.stats().counts.scrubbed_bytes, read);
}
