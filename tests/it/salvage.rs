//! Salvage: what is whole of a damaged database is saved, nothing is made up.
//!
//! Goal: of a database with one damaged byte a salvage loses no more than the block or the commit that
//! was hit, and an undamaged one comes back as it was. Method: a small database of all kinds in which no
//! two updates are equal and every value names its commit; each file is damaged at places drawn from a
//! seed, salvaged, opened, read in full, and compared with what was there.

use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::ErrorKind;
use datestone_engine::io::{Env, Fs, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::salvage::{ManifestFound, SalvageOptions, SalvageReport, salvage};
use datestone_engine::segment::{Remains, parse_segment_file_name};
use datestone_engine::types::{Frontier, Kind, Update};
use datestone_tests::database::{DIR, collect, damage, open, small_options, updates};
use datestone_tests::seed::{Chance, count, seed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NEW: &str = "/new";
const NAMES: [&str; 4] = ["multiset", "table", "log", "clock-table"];
/// Commits that are made after the creations.
const COMMITS: u64 = 40;

/// A row as it is stored: collection, key, value, time and diff.
type Row = (String, Vec<u8>, Vec<u8>, u64, i64);

fn options() -> Options {
    Options { compression: Compression::Cold { level: 3 }, ..small_options() }
}

/// Commit `n`: to every collection some rows with values that name it.
fn commit(db: &Db, n: u64, chance: &mut Chance) {
    let mut commit = Commit::new();
    let val = |chance: &mut Chance, i: u64| {
        let noise: String =
            (0..chance.below(200)).map(|_| (b'a' + chance.below(26) as u8) as char).collect();
        format!("commit {n} row {i} {noise}").into_bytes()
    };
    let [multiset, table, log, clock] = NAMES.map(|name| db.find(name).unwrap());
    let mut batch = commit.append(multiset.id, "multiset");
    for i in 0..30 {
        let (key, val) = (format!("key{:03}", chance.below(300)).into_bytes(), val(chance, i));
        batch.push(Update { key: &key, val: &val, ts: n, diff: 1 + (i % 2) as i64 }).unwrap();
    }
    batch.finish().unwrap();
    commit.advance_upper(multiset.id, Frontier::at(n + 1)).unwrap();
    for (description, given) in [(&table, Some(n)), (&clock, None)] {
        let mut puts = commit.puts(description).unwrap();
        for i in 0..20 {
            let (key, val) = (format!("key{:02}", i * 3 + n % 3).into_bytes(), val(chance, i));
            puts.put(&key, &val, given).unwrap();
        }
        puts.finish();
    }
    commit.advance_upper(table.id, Frontier::at(n + 1)).unwrap();
    let mut events = commit.events(&log, None).unwrap();
    for i in 0..10 {
        let id = format!("id {n} {i}").into_bytes();
        events.push((i % 3 == 0).then_some(id.as_slice()), &val(chance, i)).unwrap();
    }
    events.finish();
    db.commit(commit, Durability::Fsync).unwrap();
}

/// The collections, of all kinds.
fn create(db: &Db) {
    let kinds = [Kind::Multiset, Kind::Table, Kind::Log, Kind::ClockTable];
    for (name, kind) in NAMES.into_iter().zip(kinds) {
        db.create_or_load(kind, name, format!("meta of {name}").as_bytes()).unwrap();
    }
}

/// A closed database: compressed and raw segments, commits that are only in the log.
fn database(seed: u64) -> MemFs {
    let (fs, mut chance) = (MemFs::new(), Chance::new(seed));
    let db = open(&fs, &options()).unwrap();
    create(&db);
    for n in 0..COMMITS {
        commit(&db, n, &mut chance);
        match n {
            8 | 20 | 32 => db.flush().unwrap(),
            14 => db.compact(None).unwrap(),
            _ => {}
        }
    }
    db.close().unwrap();
    fs
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension == ending)
}

/// Every stored row of every collection.
fn rows(db: &Db) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for stats in db.collections() {
        let description = &stats.collection.description;
        let name = description.name.to_string();
        let mut add = |key, val, ts, diff| {
            assert!(rows.insert((name.clone(), key, val, ts, diff)), "a row twice");
        };
        if description.kind == Kind::Multiset {
            for update in updates(db, description.id).unwrap() {
                add(update.key, update.val, update.ts, update.diff);
            }
        } else if stats.collection.upper > Frontier::MIN {
            // The stored values of versions begin with their times; events have theirs as keys.
            let latest = db.latest(description.id).unwrap();
            for (key, val, diff) in collect(latest.rows(RangeSpec::ALL)).unwrap() {
                add(key, val, 0, diff);
            }
        }
    }
    rows
}

/// What the users gave, without names, times and positions, which may change with what is lost.
fn given(rows: &BTreeSet<Row>) -> BTreeSet<Vec<u8>> {
    let text = |val: &[u8]| {
        let at = val.windows(7).position(|window| window == b"commit ");
        at.map(|at| val[at..].to_vec())
    };
    rows.iter().filter_map(|row| text(&row.2)).collect()
}

fn files(fs: &MemFs) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<_> = (fs.list(Path::new(DIR)).unwrap().into_iter())
        .filter(|entry| entry.is_file && entry.name != "LOCK")
        .map(|entry| (Path::new(DIR).join(entry.name), entry.len))
        .collect();
    files.sort();
    files
}

fn run(fs: &MemFs) -> SalvageReport {
    let env = Env::memory(fs.clone());
    salvage(&env, Path::new(DIR), Path::new(NEW), &SalvageOptions::default()).unwrap()
}

/// Opens what was salvaged and finds nothing wrong with it.
fn open_new(fs: &MemFs) -> Db {
    let db = Db::open(Env::memory(fs.clone()), Path::new(NEW), options()).unwrap();
    assert!(damage(&db).unwrap().is_none());
    // What the log had goes to segments without a contradiction.
    db.flush().unwrap();
    assert!(damage(&db).unwrap().is_none());
    db
}

fn facts(db: &Db) -> Vec<(String, Kind, Vec<u8>, Frontier, Frontier)> {
    let facts = db.collections().into_iter().map(|stats| {
        let collection = stats.collection;
        let description = collection.description;
        let (name, meta) = (description.name.to_string(), description.meta.to_vec());
        (name, description.kind, meta, collection.since, collection.upper)
    });
    facts.collect()
}

/// Where a block starts and ends, and its keys and values.
type Block = (u64, u64, BTreeSet<(Vec<u8>, Vec<u8>)>);

/// The rows of each block of a segment, with the block's place.
fn blocks(fs: &MemFs, path: &Path) -> Vec<Block> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let remains =
        Remains::open(&shared, Path::new(DIR), parse_segment_file_name(name).unwrap()).unwrap();
    assert!(remains.has_index() && remains.damages().is_empty());
    let start = |i| match i < remains.blocks() {
        true => remains.lost_block(i, String::new()).offset,
        false => remains.data_end(),
    };
    let rows = |i| {
        let (raw, shape) = remains.block(i, false).unwrap();
        let keys = 0..shape.keys();
        let entries = keys.flat_map(|key| shape.entries_of(&raw, key).map(move |e| (key, e)));
        entries.map(|(key, e)| (shape.key_to_vec(&raw, key), shape.val(&raw, e).to_vec())).collect()
    };
    (0..remains.blocks()).map(|i| (start(i), start(i + 1), rows(i))).collect()
}

#[test]
fn an_undamaged_database_comes_back_as_it_was() {
    let fs = database(seed("salvage_undamaged"));
    let before = fs.clone().kill();
    let report = run(&fs);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.manifest, ManifestFound::Whole);
    assert!(
        report.segments >= 12 && report.blocks > report.segments && report.commits == 7,
        "{report:?}"
    );
    for (path, _) in files(&before) {
        assert_eq!(
            fs.read_file(&path).unwrap(),
            before.read_file(&path).unwrap(),
            "{}",
            path.display()
        );
    }
    let (new, old) = (open_new(&fs), open(&before, &options()).unwrap());
    assert_eq!(facts(&new), facts(&old));
    assert!(rows(&new) == rows(&old), "the rows differ");
    let position = |db: &Db| {
        let mut commit = Commit::new();
        let log = db.find("log").unwrap();
        let mut events = commit.events(&log, None).unwrap();
        events.push(None, b"next").unwrap();
        events.finish();
        db.commit(commit, Durability::Fsync).unwrap().positions.into_values().next()
    };
    assert_eq!(position(&new), position(&old));
    assert_eq!(new.now(), old.now());
}

#[test]
fn a_flipped_byte_of_a_segment_costs_one_block_at_most() {
    let seed = seed("salvage_segment");
    let (fs, mut chance) = (database(seed), Chance::new(seed));
    let before = rows(&open(&fs.kill(), &options()).unwrap());
    let (mut hits, mut spared) = (0, 0);
    for (path, len) in files(&fs).into_iter().filter(|(path, _)| has_ending(path, "seg")) {
        let blocks = blocks(&fs, &path);
        let data_end = blocks.last().unwrap().1;
        for round in 0..count("DATESTONE_SALVAGE_PLACES", 24) {
            // Half of them behind the blocks: the way to them must not matter.
            let offset = if round % 2 == 0 {
                chance.below(data_end)
            } else {
                data_end + chance.below(len - data_end)
            };
            let copy = fs.kill();
            copy.flip_bits(&path, offset, 1 << chance.below(8)).unwrap();
            let what = format!("{} byte {offset} of {len}, seed {seed}", path.display());
            let report = run(&copy);
            let after = rows(&open_new(&copy));
            assert_eq!(after.difference(&before).count(), 0, "{what}: made up");
            let lost: Vec<_> = before.difference(&after).collect();
            spared += u64::from(lost.is_empty());
            assert_eq!(lost.is_empty(), report.blocks_lost == 0, "{what}: {report:?}");
            if lost.is_empty() {
                assert!(report.updates_lost == 0, "{what}: {report:?}");
                continue;
            }
            hits += 1;
            assert_eq!((report.blocks_lost, report.segments_damaged), (1, 1), "{what}: {report:?}");
            let told = report.damages.iter().find(|damage| damage.updates.is_some()).unwrap();
            let hit = blocks.iter().find(|(start, ..)| *start == told.offset).unwrap();
            let is_hit = (hit.0..hit.1).contains(&offset) || offset >= data_end;
            assert!(is_hit, "{what}: {told}");
            assert_eq!(told.file, path);
            for (_, key, val, ..) in &lost {
                assert!(
                    hit.2.contains(&(key.clone(), val.clone())),
                    "{what}: lost beside the block"
                );
            }
        }
    }
    assert!(hits > 50 && spared > 50, "{hits} hits, {spared} spared");
}

#[test]
fn a_flipped_byte_of_the_log_costs_one_commit_at_most() {
    let seed = seed("salvage_log");
    let (fs, mut chance) = (database(seed), Chance::new(seed));
    let before = given(&rows(&open(&fs.kill(), &options()).unwrap()));
    let mut hits = 0;
    for (path, len) in files(&fs).into_iter().filter(|(path, _)| has_ending(path, "log")) {
        for _ in 0..count("DATESTONE_SALVAGE_PLACES", 40) {
            let offset = chance.below(len);
            let copy = fs.kill();
            copy.flip_bits(&path, offset, 1 << chance.below(8)).unwrap();
            let what = format!("{} byte {offset} of {len}, seed {seed}", path.display());
            let report = run(&copy);
            let after = given(&rows(&open_new(&copy)));
            assert_eq!(after.difference(&before).count(), 0, "{what}: made up");
            let lost: BTreeSet<_> = before
                .difference(&after)
                .map(|val| val.split(|&b| b == b' ').nth(1).unwrap())
                .collect();
            assert!(lost.len() <= 1, "{what}: {lost:?}");
            assert_eq!(report.commits_lost, lost.len() as u64, "{what}: {report:?}");
            assert_eq!(report.commits, 7 - report.commits_lost, "{what}: {report:?}");
            hits += lost.len();
        }
    }
    assert!(hits > 5, "{hits} hits");
}

/// Whatever becomes of the manifest, everything is somewhere, and nothing is made up.
#[test]
fn a_damaged_or_missing_manifest_costs_names_and_nothing_else() {
    let seed = seed("salvage_manifest");
    let (fs, mut chance) = (database(seed), Chance::new(seed));
    let before = given(&rows(&open(&fs.kill(), &options()).unwrap()));
    let (path, len) = files(&fs).into_iter().find(|(path, _)| path.extension().is_none()).unwrap();
    let mut found = BTreeMap::new();
    for round in 0..count("DATESTONE_SALVAGE_PLACES", 40) {
        let copy = fs.kill();
        match round {
            0 => copy.remove_file(&path).unwrap(),
            1 => copy.put_file(&path, &[]).unwrap(),
            // The last edit: what it made superfluous is gone.
            10 => copy.flip_bits(&path, len - 20, 1).unwrap(),
            2..10 => copy.flip_bits(&path, chance.below(64), 1 << chance.below(8)).unwrap(),
            _ => copy.flip_bits(&path, chance.below(len), 1 << chance.below(8)).unwrap(),
        }
        let report = run(&copy);
        let new = open_new(&copy);
        let what = format!("round {round}, seed {seed}: {report:?}");
        assert!(given(&rows(&new)) == before, "{what}");
        *found.entry(report.manifest.name()).or_insert(0) += 1;
        if (2..10).contains(&round) {
            // The header: the frames tell what it was.
            let found = (report.manifest, report.damage_count, report.commits);
            assert_eq!(found, (ManifestFound::Whole, 1, 7), "{what}");
        }
        if report.manifest == ManifestFound::Whole {
            assert_eq!(new.collections().len(), 4, "{what}");
        } else {
            assert!(!report.is_clean() && new.collections().len() == 8, "{what}");
        }
        // The log has the creations no longer; the segments have the kinds.
        let name = if report.manifest == ManifestFound::Nothing { "collection-2" } else { "table" };
        assert_eq!(new.find(name).unwrap().kind, Kind::Table, "{what}");
    }
    assert!(found.len() == 3, "{found:?}");
}

#[test]
fn a_segment_that_is_cut_keeps_what_has_a_checksum_or_what_is_asked_for() {
    let seed = seed("salvage_cut");
    let fs = database(seed);
    let before = rows(&open(&fs.kill(), &options()).unwrap());
    let (mut saved, mut asked) = (0, 0);
    for (path, len) in files(&fs).into_iter().filter(|(path, _)| has_ending(path, "seg")) {
        let content = fs.read_file(&path).unwrap();
        let data_end = blocks(&fs, &path).last().unwrap().1;
        for cut in [0, 10, 64, data_end / 2, data_end, len - 64, len - 1] {
            for unchecked in [false, true] {
                let copy = fs.kill();
                copy.put_file(&path, &content[..cut as usize]).unwrap();
                let options =
                    SalvageOptions { unchecked_blocks: unchecked, ..SalvageOptions::default() };
                let env = Env::memory(copy.clone());
                let report = salvage(&env, Path::new(DIR), Path::new(NEW), &options).unwrap();
                let what = format!("{} cut to {cut} of {len}: {report:?}", path.display());
                assert!(!report.is_clean(), "{what}");
                let after = rows(&open_new(&copy));
                assert_eq!(after.difference(&before).count(), 0, "{what}: made up");
                if cut >= len - 64 || (cut == data_end && unchecked) {
                    assert!(after == before, "{what}: lost");
                }
                let is_saved = u64::from(report.segments_lost == 0);
                if unchecked { asked += is_saved } else { saved += is_saved }
            }
        }
    }
    assert!(saved > 0 && asked > saved, "{saved} saved, {asked} when asked for");
}

#[test]
fn a_live_source_a_full_target_and_no_database_are_refused() {
    let fs = database(1);
    let env = Env::memory(fs.clone());
    let options = SalvageOptions::default();
    let try_to = |from: &str, to: &str| {
        salvage(&env, Path::new(from), Path::new(to), &options).unwrap_err().kind()
    };
    assert_eq!(try_to("/nowhere", NEW), ErrorKind::NotFound);
    assert_eq!(try_to(DIR, DIR), ErrorKind::AlreadyExists);
    let db = open(&fs, &self::options()).unwrap();
    assert_eq!(try_to(DIR, NEW), ErrorKind::Locked);
    db.close().unwrap();
    assert!(!fs.exists(Path::new(NEW)).unwrap(), "a refused salvage leaves nothing");
    fs.create_dir(Path::new("/empty")).unwrap();
    assert_eq!(try_to("/empty", NEW), ErrorKind::NotFound);
}

/// What a merge has read and what it has written, side by side and without a manifest.
#[test]
fn what_a_merge_left_behind_is_not_taken_twice() {
    let fs = MemFs::new();
    let (db, mut chance) = (open(&fs, &options()).unwrap(), Chance::new(7));
    create(&db);
    for n in 0..12 {
        commit(&db, n, &mut chance);
        if n % 3 == 2 {
            db.flush().unwrap();
        }
    }
    let before = rows(&db);
    let inputs: Vec<_> = files(&fs)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| has_ending(path, "seg"))
        .collect();
    let inputs: Vec<_> =
        inputs.into_iter().map(|path| (fs.read_file(&path).unwrap(), path)).collect();
    db.compact(None).unwrap();
    db.close().unwrap();
    for (content, path) in inputs {
        assert!(!fs.exists(&path).unwrap(), "merged");
        fs.put_file(&path, &content).unwrap();
    }
    let manifest = files(&fs).into_iter().find(|(path, _)| path.extension().is_none()).unwrap().0;
    fs.remove_file(&manifest).unwrap();
    let report = run(&fs);
    assert_eq!((report.updates, report.updates_lost), (before.len() as u64, 0), "{report:?}");
    assert_eq!(report.updates_left_out, before.len() as u64, "{report:?}");
    let bare = |rows: BTreeSet<Row>| -> BTreeSet<_> {
        let rows = rows.into_iter().filter(|row| !row.0.ends_with(".log"));
        rows.map(|(_, key, val, ts, diff)| (key, val, ts, diff)).collect()
    };
    // What the log has stands beside.
    let (before, after) = (bare(before), bare(rows(&open_new(&fs))));
    assert!(after == before, "{} rows, not {}", after.len(), before.len());
}

/// The rows of a collection are saved although the commit that created it is lost.
#[test]
fn a_lost_creation_costs_the_name() {
    let fs = MemFs::new();
    let (db, mut chance) = (open(&fs, &options()).unwrap(), Chance::new(7));
    create(&db);
    commit(&db, 0, &mut chance);
    let before = given(&rows(&db));
    db.close().unwrap();
    let log = files(&fs).into_iter().find(|(path, _)| has_ending(path, "log")).unwrap().0;
    // The first frame's payload.
    fs.flip_bits(&log, 4096 + 40 + 8, 1).unwrap();
    let report = run(&fs);
    assert_eq!((report.commits_lost, report.damage_count), (1, 1), "{report:?}");
    let new = open_new(&fs);
    assert_eq!(new.find("multiset").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(new.find("collection-1").unwrap().kind, Kind::Multiset);
    assert!(given(&rows(&new)) == before);
}

/// However much is damaged: no panic, nothing made up, and a database that opens.
#[test]
fn any_junk_gives_a_whole_database_and_nothing_made_up() {
    let seed = seed("salvage_junk");
    let (fs, mut chance) = (database(seed), Chance::new(seed));
    let before = given(&rows(&open(&fs.kill(), &options()).unwrap()));
    for round in 0..count("DATESTONE_SALVAGE_PLACES", 60) {
        let copy = fs.kill();
        for (path, len) in files(&fs) {
            let mut content = fs.read_file(&path).unwrap();
            match chance.below(6) {
                0 => copy.remove_file(&path).unwrap(),
                1 => copy.put_file(&path, &content[..chance.below(len) as usize]).unwrap(),
                2 | 3 => {
                    let at = chance.below(len) as usize;
                    let end = content.len().min(at + chance.below(2000) as usize);
                    let zeros = chance.one_in(2);
                    for byte in &mut content[at..end] {
                        *byte = if zeros { 0 } else { chance.next_u64() as u8 };
                    }
                    copy.put_file(&path, &content).unwrap();
                }
                _ => {}
            }
        }
        if files(&copy).is_empty() {
            continue;
        }
        let report = run(&copy);
        let after = given(&rows(&open_new(&copy)));
        let made_up = after.difference(&before).count();
        assert_eq!(made_up, 0, "round {round}, seed {seed}: {report:?}");
    }
}
