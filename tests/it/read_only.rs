//! A database that is read while somebody else writes it shows what the writer has done, changes
//! nothing, and keeps what it has shown.

use datestone::{Datestone, ErrorKind, Frontier, Options};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::{Env, FaultOp, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::snapshot::Snapshot;
use datestone_engine::types::{CollectionId, Kind, Update};
use datestone_tests::database::{DIR, Row, collect, open, small_options, whole};
use datestone_tests::seed::{Chance, count, seed};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

fn follow(fs: &MemFs) -> Db {
    Db::open_read_only(Env::memory(fs.clone()), Path::new(DIR), small_options()).unwrap()
}

struct World {
    fs: MemFs,
    db: Option<Db>,
    chance: Chance,
    made: u64,
}

impl World {
    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn pick(&mut self, below: u64) -> u64 {
        self.chance.next_u64() % below
    }

    fn any(&mut self) -> Option<(CollectionId, Kind, Frontier)> {
        let all = self.db().collections();
        let at = self.pick(all.len().max(1) as u64) as usize;
        let collection = &all.get(at)?.collection;
        Some((collection.description.id, collection.description.kind, collection.upper))
    }

    fn commit(&mut self, commit: Commit) {
        self.db().commit(commit, Durability::Fsync).unwrap();
    }

    /// One operation of the writer.
    fn step(&mut self) {
        match self.pick(24) {
            0 => {
                self.made += 1;
                let kinds = [Kind::Multiset, Kind::Table, Kind::Log, Kind::ClockTable];
                let kind = kinds[self.pick(4) as usize];
                let name = format!("c{}", self.made);
                self.db().create_or_load(kind, &name, b"meta").unwrap();
            }
            1 if self.made > 4 => {
                let all = self.db().collections();
                let at = self.pick(all.len().max(1) as u64) as usize;
                if let Some(dropped) = all.get(at) {
                    let name = dropped.collection.description.name.to_string();
                    self.db().drop_collection(&name).unwrap();
                }
            }
            2 => self.db().flush().unwrap(),
            3 => self.db().compact(None).unwrap(),
            4 | 5 => {
                for _ in 0..self.pick(40) {
                    self.db().step().unwrap();
                }
            }
            6 => self.compact_below(),
            7 => self.cut(),
            8 => {
                // Ended well, or not.
                let db = self.db.take().unwrap();
                if self.pick(2) == 0 {
                    db.close().unwrap();
                }
                drop(db);
                self.db = Some(open(&self.fs, &small_options()).unwrap());
            }
            _ => self.write(),
        }
    }

    fn compact_below(&mut self) {
        let Some((id, kind, upper)) = self.any() else { return };
        if kind != Kind::Log {
            let since = upper.ts().unwrap_or(0).saturating_sub(self.pick(9));
            let mut commit = Commit::new();
            commit.compact_below(id, Frontier::at(since)).unwrap();
            self.commit(commit);
        }
    }

    fn cut(&mut self) {
        let Some((id, kind, upper)) = self.any() else { return };
        if kind == Kind::Multiset && self.pick(2) == 0 {
            let at = upper.ts().unwrap_or(0).saturating_sub(self.pick(3));
            // Refused when since is there already.
            let _ = self.db().truncate_at(id, at, false);
        } else if kind != Kind::Log {
            let from = [self.pick(40) as u8];
            let range = RangeSpec {
                start: Bound::Included(from.to_vec()),
                end: Bound::Excluded(vec![from[0] + 2]),
            };
            self.db().erase(id, &range).unwrap();
        }
    }

    fn write(&mut self) {
        let Some((id, kind, upper)) = self.any() else { return };
        let description = self.db().collection(id).unwrap().description;
        let upper = upper.ts().unwrap_or(0);
        let mut commit = Commit::new();
        for _ in 0..self.pick(60) {
            let key = [self.pick(40) as u8];
            let val = vec![7; self.pick(200) as usize];
            let ts = upper + self.pick(4);
            match kind {
                Kind::Multiset => {
                    let mut batch = commit.append(id, &description.name);
                    batch.push(Update { key: &key, val: &val, ts, diff: 1 }).unwrap();
                    batch.finish().unwrap();
                }
                Kind::Log => {
                    let mut events = commit.events(&description, None).unwrap();
                    events.push(None, &val).unwrap();
                    events.finish();
                }
                Kind::Table | Kind::ClockTable => {
                    let mut puts = commit.puts(&description).unwrap();
                    puts.put(&key, &val, (kind == Kind::Table).then_some(ts)).unwrap();
                    puts.finish();
                }
            }
        }
        if matches!(kind, Kind::Multiset | Kind::Table) {
            commit.advance_upper(id, Frontier::at(upper + self.pick(4))).unwrap();
        }
        self.commit(commit);
    }
}

/// Goal: a refresh shows exactly what the writer has. Method: random operations of a writer over all
/// kinds, with followers of different ages that look now and then; each is compared with the writer,
/// a snapshot that it took earlier with what it was, and the changes of the file system are counted
/// while it looks.
#[test]
fn a_follower_agrees_with_its_writer() {
    let seed = seed("a_follower_agrees_with_its_writer");
    for case in 0..count("DATESTONE_FOLLOWER_CASES", 25) {
        let fs = MemFs::new();
        let db = Some(open(&fs, &small_options()).unwrap());
        let chance = Chance::new(seed.wrapping_add(case));
        let mut world = World { fs, db, chance, made: 0 };
        let mut followers = vec![follow(&world.fs)];
        let mut kept: Vec<(Snapshot, Vec<Row>)> = Vec::new();
        for step in 0..120 {
            world.step();
            if world.pick(40) == 0 {
                followers.push(follow(&world.fs));
            }
            if world.pick(3) > 0 {
                continue;
            }
            let at = world.pick(followers.len() as u64) as usize;
            let follower = &followers[at];
            let wanted = whole(world.db()).unwrap();
            world.fs.start_trace();
            follower.refresh().unwrap();
            let found = whole(follower).unwrap();
            let mut changes = world.fs.take_trace();
            let reads = [FaultOp::Open, FaultOp::Read, FaultOp::List, FaultOp::Map];
            changes.retain(|(op, _)| !reads.contains(op));
            assert!(changes.is_empty(), "case {case}, step {step}: {changes:?}; seed {seed}");
            assert_eq!(found, wanted, "case {case}, step {step}, follower {at}; seed {seed}");
            if let Some((id, ..)) = world.any()
                && let Ok(snapshot) = follower.latest(id)
            {
                let rows = collect(snapshot.contents(RangeSpec::ALL)).unwrap();
                kept.push((snapshot, rows));
            }
        }
        for (snapshot, rows) in kept {
            assert_eq!(collect(snapshot.contents(RangeSpec::ALL)).unwrap(), rows, "seed {seed}");
        }
    }
}

/// Goal: a reader beside a busy writer sees whole commits, all that were acknowledged, in order.
/// Method: a writer moves money between accounts in small memtables, so that flushes, merges and the
/// recycling of log files go on; readers refresh and add up.
#[test]
fn a_reader_beside_a_busy_writer_sees_whole_commits() {
    const ACCOUNTS: u64 = 50;
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        memtable_bytes: 64 << 10,
        wal_file_bytes: 64 << 10,
        durability: datestone::Durability::Buffer,
        ..Options::default()
    };
    let writer = Datestone::open_with(dir.path(), options()).unwrap();
    let accounts = writer.typed_table::<u64, u64>("accounts").unwrap();
    let count = writer.typed_table::<str, u64>("count").unwrap();
    let mut commit = writer.commit();
    for account in 0..ACCOUNTS {
        commit = commit.put(&accounts, &account, &100);
    }
    commit.put(&count, "moves", &0).run().unwrap();
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let looked = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        let readers: Vec<_> = [0_usize, 1]
            .map(|background_threads| {
                let options = Options { background_threads, ..options() };
                let looked = &looked[background_threads];
                let (done, acknowledged, dir) = (&done, &acknowledged, dir.path());
                scope.spawn(move || {
                    let reader = Datestone::open_read_only_with(dir, options).unwrap();
                    let accounts = reader.typed_table::<u64, u64>("accounts").unwrap();
                    let count = reader.typed_table::<str, u64>("count").unwrap();
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        let before = acknowledged.load(Ordering::Acquire);
                        reader.refresh().unwrap();
                        let now = reader.now();
                        let snapshot = accounts.snapshot(now).unwrap();
                        let sum: u64 = snapshot.iter().map(|row| row.unwrap().val).sum();
                        assert_eq!(sum, 100 * ACCOUNTS);
                        let moves = count.get_as_of("moves", now).unwrap().unwrap();
                        assert!(moves >= before.max(last), "{moves} moves, {before} told, {last}");
                        last = moves;
                        looked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .into();
        let mut chance = Chance::new(seed("a_reader_beside_a_busy_writer"));
        for moved in 1.. {
            // As many as it takes for both to have looked often.
            let often = looked.iter().all(|looks| looks.load(Ordering::Relaxed) > 20);
            if moved > 6_000 && often || readers.iter().any(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            let mut pick = || chance.next_u64() % ACCOUNTS;
            let (from, to) = (pick(), pick());
            writer
                .transact(|transaction| {
                    let rich = transaction.get(&accounts, &from)?.unwrap();
                    transaction.put(&accounts, &from, &rich.saturating_sub(1))?;
                    let poor = transaction.get(&accounts, &to)?.unwrap();
                    transaction.put(&accounts, &to, &(poor + rich.min(1)))?;
                    transaction.put(&count, "moves", &moved)
                })
                .unwrap();
            acknowledged.store(moved, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(writer.stats().counts.flushes > 1);
}

/// Goal: who listens on a reader is woken by what its writer does, and told when history is gone.
#[test]
fn listeners_on_a_reader_are_woken() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Datestone::open(dir.path()).unwrap();
    let words = writer.typed::<str, ()>("words").unwrap();
    words.append([("one", &(), 1, 1)]).unwrap();
    words.advance_upper(2).unwrap();
    let reader = Datestone::open_read_only(dir.path()).unwrap();
    let seen = reader.typed::<str, ()>("words").unwrap();
    let mut news = seen.subscribe(1).unwrap();
    let mut updates = 0;
    let mut wait_for = |upper: u64, news: &mut datestone::Subscription<str, ()>| {
        while news.frontier() < Frontier::at(upper) {
            let next = news.next(Duration::from_secs(60)).unwrap().expect("an event");
            if let datestone::Event::Updates(batch) = next {
                updates += batch.len();
            }
        }
        updates
    };
    assert_eq!(wait_for(2, &mut news), 1);
    words.append([("two", &(), 2, 1)]).unwrap();
    words.advance_upper(3).unwrap();
    assert_eq!(wait_for(3, &mut news), 2);
    assert_eq!(
        seen.snapshot_wait(3, Duration::from_millis(1)).unwrap_err().kind(),
        ErrorKind::NotYet
    );
    // What the writer forgets is gone for the listener too: it is told, instead of given the times
    // at which compaction has put the updates.
    words.append([("three", &(), 3, 1)]).unwrap();
    words.append([("four", &(), 7, 1)]).unwrap();
    words.advance_upper(9).unwrap();
    words.compact_below(8).unwrap();
    reader.refresh().unwrap();
    assert_eq!(news.try_next().unwrap_err().kind(), ErrorKind::Compacted);
}

/// Goal: everything that writes is refused.
#[test]
fn a_reader_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Datestone::open_read_only(dir.path().join("missing"));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Datestone::open_read_only(dir.path()).unwrap_err().kind(), ErrorKind::NotFound);
    let writer = Datestone::open(dir.path()).unwrap();
    writer.table("t").unwrap().put(b"k", b"v").unwrap();
    let words = writer.collection("words").unwrap();
    writer.durable_hold("report", &words, 0, "somebody").unwrap();
    let reader = Datestone::open_read_only(dir.path()).unwrap();
    let (table, words) = (reader.table("t").unwrap(), reader.collection("words").unwrap());
    let refused = [
        table.put(b"k", b"w").map(drop),
        table.delete(b"k").map(drop),
        words.advance_upper(1).map(drop),
        words.compact_below(1).map(drop),
        words.hold(0, "somebody").map(drop),
        reader.collection("new").map(drop),
        reader.drop_collection("t").map(drop),
        reader.drop_collection("never there").map(drop),
        reader.durable_hold("report", &words, 0, "another").map(drop),
        reader.release_durable_hold("report"),
        reader.checkpoint(dir.path().join("copy")).map(drop),
        reader.flush(),
        reader.compact(),
        reader.sync(),
        reader.transact(|transaction| transaction.put(&table, b"k", b"w")),
    ];
    for (index, refused) in refused.into_iter().enumerate() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnly, "{index}");
    }
    assert_eq!(reader.durable_holds().unwrap().len(), 1);
    assert_eq!(table.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(reader.verify(datestone::VerifyDepth::Full, |_, _| {}).unwrap().is_clean());
    reader.close().unwrap();
    assert_eq!(table.get(b"k").unwrap_err().kind(), ErrorKind::Closed);
    writer.table("t").unwrap().put(b"k", b"w").unwrap();
}
