//! Writers and listeners at once.

use super::{Consumer, owned};
use datestone::{Collection, Datestone, Durability, Frontier, KeyRange, Options};
use datestone_engine::subscription::Event as EngineEvent;
use datestone_tests::model::OwnedUpdate;
use datestone_tests::seed::{Chance, seed};
use std::sync::Barrier;
use std::time::Duration;

const COMMITS: u64 = 150;

fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        background_threads: 1,
        durability: Durability::Buffer,
        ..Options::default()
    }
}

/// Two writers take turns at the next time by compare-and-append, so that each time is written by
/// one of them.
fn write(c: &Collection, writer: u64, seed: u64) {
    let mut chance = Chance::new(seed ^ writer);
    for n in 0..COMMITS {
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = (0..chance.below(40))
            .map(|_| {
                let key = format!("{:03}", chance.below(100)).into_bytes();
                let val = vec![b'v'; 60 + chance.below(3) as usize];
                (key, val, if chance.one_in(3) { -1 } else { 1 })
            })
            .collect();
        loop {
            let upper = c.upper().unwrap().ts().unwrap();
            let span = 1 + chance.below(3);
            let rows = rows.iter().enumerate().map(|(at, (key, val, diff))| {
                (&key[..], &val[..], upper + at as u64 % span, *diff)
            });
            match c.compare_and_append(rows, upper, upper + span) {
                Ok(()) => break,
                Err(e) => assert_eq!(e.kind(), datestone::ErrorKind::UpperMismatch, "{e}"),
            }
        }
        if n % 40 == 7 {
            c.compact_below(c.upper().unwrap()).unwrap(); // The holds decide.
        }
    }
}

/// Goal: all listeners see exactly the same sequence, which is that of the history, while two
/// writers commit and everything that may be forgotten is; a subscription that is started at any
/// moment has, at each of its progresses, the contents of that time.
#[test]
fn listeners_see_one_sequence_and_subscriptions_the_contents() {
    let seed = seed("listeners_see_one_sequence_and_subscriptions_the_contents");
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open_with(dir.path().join("db"), options()).unwrap();
    let c = db.collection("c").unwrap();
    // Keeps all of history for the comparison at the end.
    let whole = c.hold(0, "the test").unwrap();
    let start = Barrier::new(5);
    let sequences: Vec<Vec<OwnedUpdate>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (c, start) = (&c, &start);
                scope.spawn(move || {
                    start.wait();
                    write(c, writer, seed);
                })
            })
            .collect();
        let listeners: Vec<_> = [200, 5000, 1 << 20]
            .into_iter()
            .map(|piece| {
                let (c, start) = (&c, &start);
                scope.spawn(move || {
                    let listener = c.listen(0).unwrap().with_piece_bytes(piece);
                    start.wait();
                    listen(listener)
                })
            })
            .collect();
        let subscriber = scope.spawn(|| subscribe_again_and_again(&c, seed));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        c.advance_upper(Frontier::CLOSED).unwrap();
        assert!(subscriber.join().unwrap() > 0);
        listeners.into_iter().map(|listener| listener.join().unwrap()).collect()
    });
    let mut history = c.history(&KeyRange::all(), 1..).unwrap();
    let mut expected = Vec::new();
    while let Some(update) = history.next_update().unwrap() {
        expected.push(owned(update));
    }
    expected.sort_by(|a, b| (a.ts, &a.key, &a.val).cmp(&(b.ts, &b.key, &b.val)));
    assert!(expected.len() > 1000);
    for sequence in sequences {
        assert!(sequence == expected, "{} updates, not {}", sequence.len(), expected.len());
    }
    assert!(db.stats().counts.flushes > 1);
    drop(whole);
}

fn listen(mut listener: datestone::Subscription) -> Vec<OwnedUpdate> {
    let mut consumer = Consumer::default();
    while let Some(event) = listener.next(Duration::from_secs(600)).unwrap() {
        match event {
            datestone::Event::Progress(frontier) => {
                consumer.take(EngineEvent::Progress(frontier));
            }
            datestone::Event::Updates(batch) => {
                let mut same = datestone_engine::subscription::UpdateBatch::default();
                batch.iter().for_each(|update| same.push(update));
                consumer.take(EngineEvent::Updates(same));
            }
        }
    }
    assert!(listener.frontier().is_closed());
    consumer.updates
}

/// Subscribes at a time of its choice while history goes on, and compares the contents at each
/// progress; how often it did.
fn subscribe_again_and_again(c: &Collection, seed: u64) -> u32 {
    let mut chance = Chance::new(seed ^ 99);
    let mut compared = 0;
    loop {
        let (since, upper) = (c.since().unwrap(), c.upper().unwrap());
        let (Some(first), Some(last)) = (since.ts(), upper.last_below()) else { continue };
        if upper.is_closed() {
            return compared;
        }
        let as_of = first.max(last.saturating_sub(chance.below(20)));
        let mut subscription = match c.subscribe(as_of) {
            Ok(subscription) => subscription.with_piece_bytes(2000),
            Err(e) => {
                assert_eq!(e.kind(), datestone::ErrorKind::Compacted, "{e}");
                continue;
            }
        };
        let mut consumer = Consumer::default();
        for _ in 0..20 {
            match subscription.try_next().unwrap() {
                None => break,
                Some(datestone::Event::Updates(batch)) => {
                    consumer.updates.extend(batch.iter().map(owned));
                }
                Some(datestone::Event::Progress(frontier)) => {
                    let at = frontier.last_below().unwrap();
                    // The subscription's hold keeps this time readable.
                    let rows = c.snapshot(at).unwrap().iter();
                    let contents: Vec<_> = rows.map(|row| row.unwrap()).collect();
                    let rows = contents.iter().map(|r| (r.key.clone(), r.val.clone(), r.diff));
                    assert!(rows.eq(consumer.contents()), "subscribed at {as_of}, at {at}");
                    compared += 1;
                }
            }
        }
    }
}
