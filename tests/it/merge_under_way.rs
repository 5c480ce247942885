//! A merge takes several steps; what happens between two of them?
//!
//! Goal: whatever is committed, flushed, forgotten, merged, dropped or cut off while a merge is under
//! way, contents stay what they are. Method: runs so large that their merge takes several steps, a
//! first step, one of these events, then the rest.

use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::io::{CrashPlan, MemFs};
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_tests::database::{collection_difference, damage, open, small_options};
use datestone_tests::model::{Model, OwnedUpdate};

const RUNS: u64 = 4;
const RUN_UPDATES: u64 = 110_000;
const NAME: &str = "c";

fn options() -> Options {
    Options { memtable_bytes: 64 << 20, wal_file_bytes: 8 << 20, ..small_options() }
}

struct Setting {
    fs: MemFs,
    db: Db,
    id: CollectionId,
    model: Model,
}

impl Setting {
    /// A collection of several runs whose merge was begun.
    fn new() -> Self {
        let fs = MemFs::new();
        let db = open(&fs, &options()).unwrap();
        let id = db.create_or_load(Kind::Multiset, NAME, b"").unwrap().id;
        let mut setting = Self { fs, db, id, model: Model::default() };
        for run in 0..RUNS {
            setting.add(run, RUN_UPDATES);
            setting.db.flush().unwrap();
        }
        // Steps of other sorts come first.
        for _ in 0..20 {
            let before = setting.runs();
            assert!(setting.db.step().unwrap(), "there is something to merge");
            assert_eq!(setting.runs(), before, "the merge takes more than a step");
            if setting.merging() {
                return setting;
            }
        }
        panic!("no merge was begun");
    }

    /// Whether a merge is under way: its output is a file that the manifest does not name.
    fn merging(&self) -> bool {
        let listed = datestone_engine::io::Fs::list(&self.fs, "/db".as_ref()).unwrap();
        let files = listed.iter().filter(|e| e.name.to_string_lossy().ends_with(".seg")).count();
        files as u64 > self.db.stats().segments
    }

    fn runs(&self) -> u64 {
        self.db.collection_stats(self.id).unwrap().runs
    }

    /// Updates of time `run`, each twice the same key over all runs, and upper behind it.
    fn add(&mut self, run: u64, count: u64) {
        let mut updates = Vec::new();
        for n in 0..count {
            let key = (n * 7 % 50_000 * RUNS + run % 2).to_be_bytes().to_vec();
            let diff = if n % 5 == 0 && run > 0 { -1 } else { 1 };
            updates.push(OwnedUpdate { key, val: vec![], ts: run, diff });
        }
        let mut commit = Commit::new();
        let mut batch = commit.append(self.id, NAME);
        for OwnedUpdate { key, val, ts, diff } in &updates {
            batch.push(Update { key, val, ts: *ts, diff: *diff }).unwrap();
        }
        batch.finish().unwrap();
        commit.advance_upper(self.id, Frontier::at(run + 1)).unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
        self.model.append(updates);
        self.model.advance_upper(Frontier::at(run + 1));
    }

    fn compact_below(&mut self, since: u64) {
        let mut commit = Commit::new();
        commit.compact_below(self.id, Frontier::at(since)).unwrap();
        self.db.commit(commit, Durability::Fsync).unwrap();
        self.model.compact_below(Frontier::at(since));
    }

    #[track_caller]
    fn check(&self) {
        let found = collection_difference(&self.db, self.id, &self.model).unwrap();
        assert_eq!(found, None);
        assert_eq!(damage(&self.db).unwrap().map(|e| e.to_string()), None);
    }

    /// The rest of the work, and that it was done.
    #[track_caller]
    fn finish(mut self) {
        let mut steps = 0;
        while self.db.step().unwrap() {
            steps += 1;
            assert!(steps < 200, "the work ends");
        }
        assert!(self.runs() < RUNS, "{} runs", self.runs());
        assert!(!self.merging(), "nothing is left over");
        self.check();
        self.reopen(self.fs.crash(CrashPlan::LoseUnsynced));
        self.check();
    }

    fn reopen(&mut self, fs: MemFs) {
        self.db = open(&fs, &options()).unwrap();
        self.fs = fs;
    }
}

#[test]
fn commits_and_flushes_go_on_while_a_merge_is_under_way() {
    let mut setting = Setting::new();
    setting.add(RUNS, 1000);
    setting.db.flush().unwrap();
    setting.check();
    setting.add(RUNS + 1, 10);
    setting.finish();
}

#[test]
fn since_is_raised_while_a_merge_is_under_way() {
    let mut setting = Setting::new();
    let held = setting.db.snapshot(setting.id, 1).unwrap();
    let before = setting.model.clone();
    setting.compact_below(2);
    setting.check();
    let id = setting.id;
    // The merge keeps to the since that it began with, and what became garbage is seen later.
    while setting.db.step().unwrap() {}
    let found = datestone_tests::database::snapshot_difference(&held, &before).unwrap();
    assert_eq!(found, None, "a snapshot from before");
    drop(held);
    setting.db.compact(Some(id)).unwrap();
    assert_eq!(setting.db.collection_stats(id).unwrap().garbage_updates, 0);
    setting.finish();
}

#[test]
fn a_full_compaction_replaces_the_merge_under_way() {
    let setting = Setting::new();
    setting.db.compact(Some(setting.id)).unwrap();
    assert_eq!(setting.runs(), 1);
    setting.finish();
}

#[test]
fn the_collection_is_dropped_while_a_merge_is_under_way() {
    let setting = Setting::new();
    let held = setting.db.snapshot(setting.id, 2).unwrap();
    assert!(setting.db.drop_collection(NAME).unwrap());
    let again = setting.db.create_or_load(Kind::Multiset, NAME, b"").unwrap().id;
    let mut steps = 0;
    while setting.db.step().unwrap() {
        steps += 1;
        assert!(steps < 200, "the work ends");
    }
    let found = datestone_tests::database::snapshot_difference(&held, &setting.model).unwrap();
    assert_eq!(found, None, "a snapshot of the dropped collection");
    drop(held);
    assert!(!setting.merging(), "nothing is left over");
    assert_eq!(setting.db.stats().segments, 0);
    assert_eq!(setting.db.collection(again).unwrap().upper, Frontier::MIN);
}

#[test]
fn the_process_ends_while_a_merge_is_under_way() {
    for end in 0..3 {
        let mut setting = Setting::new();
        let fs = match end {
            0 => {
                setting.db.close().unwrap();
                setting.fs.clone()
            }
            1 => setting.fs.kill(),
            _ => setting.fs.crash(CrashPlan::Random(end)),
        };
        setting.reopen(fs);
        assert!(!setting.merging(), "what the merge had written is gone");
        setting.check();
        setting.finish();
    }
}
