//! Files that an earlier build wrote: every structure on disk, in one small database.
//!
//! Goal: what was written once is read for ever, and the encoders still write it so. Method: the
//! directory `tests/golden/v1/db` holds a manifest, a raw and a compressed segment and a log with
//! every operation, `tests/golden/v1/kinds` tables and logs, holds and tokens; a text beside each says
//! what is in it. Each is decoded, compared with the text, and encoded again byte for byte (but for
//! zstd, whose bytes belong to its version). `tests/golden/v1/backups` has the backup of `kinds`.
//!
//! A new format version gets a directory of its own, made by
//! `DATESTONE_WRITE_GOLDEN=v2 cargo test -p datestone-tests --test it golden`; the old ones stay.
//! The same command with `v1` writes the first ones again, which is right only as long as no
//! release has written them.

use datestone_engine::backup::Backups;
use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::cursor::{Cursor, EntrySink};
use datestone_engine::db::Db;
use datestone_engine::format::backup_file::BackupFile;
use datestone_engine::format::crc32;
use datestone_engine::format::manifest_edit::Edit;
use datestone_engine::format::manifest_frame::{FrameBuilder, ManifestFrame, ManifestHeader};
use datestone_engine::format::wal_frame::{
    FileHeader, FileState, FrameHeader, WAL_FILE_HEADER_LEN, WAL_FRAME_CLOSE, WAL_FRAME_HEADER_LEN,
};
use datestone_engine::format::wal_record::{Op, RecordBuilder, decode};
use datestone_engine::io::{Env, Fs, MemFs};
use datestone_engine::manifest::{ManifestState, parse_manifest_name, replay};
use datestone_engine::segment::{
    BlockCache, BlockCodec, Segment, SegmentIdentity, SegmentOptions, SegmentWriter,
    segment_file_name,
};
use datestone_engine::types::{CollectionId, Frontier, Kind, SegmentMeta, TimeWindow, Update};
use datestone_tests::database::{DIR, damage, open, small_options, updates};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A golden database: its version and its name.
type Golden = (&'static str, &'static str);
/// Those that there are.
const GOLDEN: &[Golden] = &[PLAIN, KINDS];
const PLAIN: Golden = ("v1", "db");
const KINDS: Golden = ("v1", "kinds");
/// The backup of a database.
const BACKUPS: Golden = ("v1", "backups");
const REPO: &str = "/backups";
/// Makes this version's files anew.
const WRITE: &str = "DATESTONE_WRITE_GOLDEN";

fn golden_dir((version, name): Golden) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(version).join(name)
}

/// What a golden database holds, as text.
fn text_of(golden: Golden) -> PathBuf {
    golden_dir(golden).with_extension("txt")
}

fn options() -> Options {
    let compression = Compression::Cold { level: 3 };
    Options { compression, auto_compaction: false, ..small_options() }
}

/// The files of a golden directory by name.
fn files(golden: Golden) -> BTreeMap<String, Vec<u8>> {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        if let Ok(version) = std::env::var(WRITE) {
            GOLDEN.iter().filter(|golden| golden.0 == version).for_each(|golden| write(*golden));
        }
    });
    (std::fs::read_dir(golden_dir(golden)).unwrap())
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

fn in_memory(files: &BTreeMap<String, Vec<u8>>) -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for (name, content) in files {
        fs.put_file(Path::new(DIR).join(name), content).unwrap();
    }
    fs
}

#[expect(clippy::disallowed_methods, reason = "the golden files are written outside any database")]
fn write(golden: Golden) {
    let fs = MemFs::seeded(1);
    // A segment of few rows that is compressed cannot be told from a raw one by its length.
    let compression = if golden == KINDS { Compression::None } else { options().compression };
    let db = open(&fs, &Options { compression, ..options() }).unwrap();
    if golden == KINDS {
        make_kinds(&db)
    } else {
        make(&db)
    }
    copy_out(&fs, DIR, &golden_dir(golden));
    let text = describe(&open(&fs.kill(), &options()).unwrap());
    std::fs::write(text_of(golden), text).unwrap();
    if golden == KINDS {
        let db = open(&fs, &Options { compression, ..options() }).unwrap();
        db.backup(Path::new(REPO)).unwrap();
        copy_out(&fs, REPO, &golden_dir(BACKUPS));
    }
}

#[expect(clippy::disallowed_methods, reason = "the golden files are written outside any database")]
fn copy_out(fs: &MemFs, from: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in fs.list(Path::new(from)).unwrap() {
        if entry.name != "LOCK" {
            let content = fs.read_file(Path::new(from).join(&entry.name)).unwrap();
            std::fs::write(to.join(&entry.name), content).unwrap();
        }
    }
}

/// Writes tables on both clocks, a log with ids and without, a durable hold and a token.
fn make_kinds(db: &Db) {
    let make = |kind, name: &str| db.create_or_load(kind, name, b"meta").unwrap();
    let (set, log) = (make(Kind::Multiset, "set"), make(Kind::Log, "log"));
    let (clock, timed) = (make(Kind::ClockTable, "clock"), make(Kind::Table, "timed"));
    for round in 0..12_u64 {
        let mut commit = Commit::new();
        for (table, ts) in [(&clock, None), (&timed, Some(round))] {
            let mut puts = commit.puts(table).unwrap();
            for n in 0..8_u64 {
                let key = format!("key-{}", (round * 5 + n) % 13);
                match (round + n) % 6 {
                    5 => puts.delete(key.as_bytes(), ts).unwrap(),
                    len => puts.put(key.as_bytes(), &b"value"[..len as usize], ts).unwrap(),
                }
            }
            puts.finish();
        }
        commit.advance_upper(timed.id, Frontier::at(round + 1)).unwrap();
        let mut events = commit.events(&log, None).unwrap();
        events.push(None, b"without an id").unwrap();
        events.push(Some(format!("event-{round}").as_bytes()), b"with an id").unwrap();
        events.finish();
        db.commit_once(commit, "writer", &round.to_le_bytes(), Durability::Fsync).unwrap();
        append(
            db,
            set.id,
            "set",
            [("k".into(), "v".into(), round, 1)].into_iter(),
            Some(round + 1),
        );
        match round {
            3 | 6 => db.flush().unwrap(),
            4 => drop(db.take_hold("report", timed.id, 2, "nightly report").unwrap()),
            7 => db.compact(None).unwrap(),
            8 => drop(db.truncate_at(set.id, 8, false).unwrap()),
            9 => {
                let mut commit = Commit::new();
                commit.compact_below(clock.id, Frontier::at(3)).unwrap();
                commit.compact_below(timed.id, Frontier::at(9)).unwrap();
                db.commit(commit, Durability::Fsync).unwrap();
            }
            _ => {}
        }
    }
    db.close().unwrap();
}

/// Writes everything that a database can hold.
fn make(db: &Db) {
    let plain = db.create_or_load(Kind::Multiset, "plain", b"").unwrap().id;
    let packed = db.create_or_load(Kind::Multiset, "packed", b"codec:utf8/utf8").unwrap().id;
    // Many rows of one shape for the compressed segment, odd ones for the raw one.
    for half in 0..2 {
        let rows = (0..400u64).map(|n| {
            (format!("key-{:06}", n * 14 + half), format!("value {}", n % 13), n % 3 + 3 * half, 1)
        });
        append(db, packed, "packed", rows, Some(3 + 3 * half));
        db.flush().unwrap();
    }
    db.compact(Some(packed)).unwrap();
    append(db, plain, "plain", odd_rows(), Some(5));
    db.flush().unwrap();
    // From here on everything is in the log only.
    let gone = db.create_or_load(Kind::Multiset, "gone", b"").unwrap().id;
    let mut commit = Commit::new();
    commit.create(CollectionId(100), Kind::Multiset, "made with others", b"\0meta").unwrap();
    commit.set_meta(plain, b"new meta").unwrap();
    commit.advance_upper(plain, Frontier::at(9)).unwrap();
    commit.compact_below(packed, Frontier::at(1)).unwrap();
    commit.drop_collection(gone).unwrap();
    let (expected, new) = (Frontier::at(6), Frontier::CLOSED);
    let mut batch = commit.compare_and_append(packed, "packed", expected, new).unwrap();
    batch.push(Update { key: b"", val: b"", ts: u64::MAX, diff: i64::MAX }).unwrap();
    batch.push(Update { key: b"key-000014", val: b"value 1", ts: 6, diff: -1 }).unwrap();
    batch.finish().unwrap();
    db.commit(commit, Durability::Fsync).unwrap();
    db.close().unwrap();
}

fn odd_rows() -> impl Iterator<Item = (String, String, u64, i64)> {
    let keys = ["", "a", "a", "ab", "\u{7f}", "z"];
    (0..60u64).map(move |n| {
        let key = keys[n as usize % keys.len()].repeat(1 + n as usize % 4);
        let ts = if n % 10 == 9 { u64::MAX - n } else { n % 8 };
        (key, "v".repeat(n as usize % 5), ts, (n as i64 % 7) - 3)
    })
}

fn append(
    db: &Db,
    id: CollectionId,
    name: &str,
    rows: impl Iterator<Item = (String, String, u64, i64)>,
    upper: Option<u64>,
) {
    let mut commit = Commit::new();
    let mut batch = commit.append(id, name);
    for (key, val, ts, diff) in rows {
        batch.push(Update { key: key.as_bytes(), val: val.as_bytes(), ts, diff }).unwrap();
    }
    batch.finish().unwrap();
    if let Some(upper) = upper {
        commit.advance_upper(id, Frontier::at(upper)).unwrap();
    }
    db.commit(commit, Durability::Fsync).unwrap();
}

/// Everything in a database as text.
fn describe(db: &Db) -> String {
    let mut text = String::new();
    for stats in db.collections() {
        let collection = stats.collection;
        let description = &collection.description;
        let meta = description.meta.escape_ascii();
        let (since, upper) = (collection.since, collection.upper);
        writeln!(
            text,
            "{} {} '{}' meta '{meta}' since {since} upper {upper}",
            description.id, description.kind, description.name
        )
        .unwrap();
        for update in updates(db, description.id).unwrap() {
            let (key, val) = (update.key.escape_ascii(), update.val.escape_ascii());
            writeln!(text, "  '{key}' '{val}' {} {:+}", update.ts, update.diff).unwrap();
        }
    }
    text
}

#[test]
fn the_golden_database_holds_what_it_held() {
    for &golden in GOLDEN {
        let fs = in_memory(&files(golden));
        let wanted = std::fs::read_to_string(text_of(golden)).unwrap();
        let db = open(&fs, &options()).unwrap();
        assert_eq!(damage(&db).unwrap().map(|e| e.to_string()), None);
        assert_eq!(describe(&db), wanted, "{golden:?}");
        // This build writes on, and reads all of it again.
        db.compact(None).unwrap();
        assert_eq!(describe(&db), wanted, "{golden:?} compacted");
        db.close().unwrap();
        assert_eq!(describe(&open(&fs, &options()).unwrap()), wanted, "{golden:?} reopened");
    }
}

/// The backup restores what it was taken of, and its file is encoded byte for byte.
#[test]
fn the_golden_backup_is_restored() {
    let (fs, kept) = (MemFs::new(), files(BACKUPS));
    fs.create_dir(Path::new(REPO)).unwrap();
    for (name, content) in &kept {
        fs.put_file(Path::new(REPO).join(name), content).unwrap();
    }
    let backups = Backups::open(Env::memory(fs.clone()), Path::new(REPO)).unwrap();
    backups.restore(None, Path::new(DIR)).unwrap();
    let wanted = std::fs::read_to_string(text_of(KINDS)).unwrap();
    assert_eq!(describe(&open(&fs, &options()).unwrap()), wanted);
    let (_, bytes) = kept.iter().find(|(name, _)| name.starts_with("BACKUP-")).unwrap();
    let file = BackupFile::decode(bytes).unwrap().unwrap();
    assert!(file.encode().unwrap() == *bytes, "a backup is encoded differently now");
}

#[test]
fn the_golden_database_has_every_structure() {
    let mut ops = [false; 6];
    let mut codecs = 0;
    let files = files(PLAIN);
    for (name, content) in files.iter().filter(|(name, _)| name.ends_with(".log")) {
        for_each_record(name, content, &mut |payload| {
            for op in decode(payload).unwrap() {
                ops[kind(&op.unwrap())] = true;
            }
        });
    }
    let state = manifest(&files).1;
    for (_, meta) in state.live_segments() {
        codecs |= if meta.file_len < meta.data_len { 2 } else { 1 };
    }
    assert_eq!(ops, [true; 6], "the log has every operation");
    assert_eq!(codecs, 3, "there is a raw and a compressed segment");
}

const fn kind(op: &Op<'_>) -> usize {
    match op {
        Op::Append { .. } => 0,
        Op::AdvanceUpper { .. } => 1,
        Op::CompactBelow { .. } => 2,
        Op::Create { .. } => 3,
        Op::Drop { .. } => 4,
        Op::SetMeta { .. } => 5,
    }
}

/// The manifest: its bytes and what they say.
fn manifest(files: &BTreeMap<String, Vec<u8>>) -> (Vec<u8>, ManifestState) {
    let (name, content) =
        files.iter().find(|(name, _)| parse_manifest_name(name).is_some()).unwrap();
    let number = parse_manifest_name(name).unwrap();
    let (state, summary) = replay(content, Path::new(name), number).unwrap();
    assert!(!summary.is_torn());
    (content.clone(), state)
}

#[test]
fn the_golden_manifest_is_encoded_byte_for_byte() {
    for &golden in GOLDEN {
        let (bytes, _) = manifest(&files(golden));
        let (header, seed) = ManifestHeader::decode(&bytes).unwrap();
        let mut again = header.encode();
        let (mut at, mut previous, mut edits) = (again.len(), 0, 0);
        while at < bytes.len() {
            let frame = ManifestFrame::decode(&bytes, at, seed).unwrap();
            let edit = Edit::decode(frame.payload).unwrap();
            assert_eq!(frame.previous_crc, previous, "the chain of frames");
            let builder = FrameBuilder::begin(&mut again);
            edit.encode(&mut again).unwrap();
            previous = builder.finish(&mut again, seed, previous, frame.edit_no).unwrap();
            (at, edits) = (frame.end, edits + 1);
        }
        assert!(edits > 2, "{edits} edits");
        assert!(again == bytes, "{golden:?}: the manifest is encoded differently now");
    }
}

/// Calls `visit` with the payload of every commit of a log file, and encodes file and frame headers
/// again on the way.
fn for_each_record(name: &str, bytes: &[u8], visit: &mut dyn FnMut(&[u8])) {
    let FileState::InUse(header) = FileHeader::decode(&bytes[..WAL_FILE_HEADER_LEN]) else {
        panic!("{name} has no header")
    };
    let mut again = header.encode();
    let salt = header.salt();
    while let Some(frame) = FrameHeader::decode(&bytes[again.len()..], salt, again.len() as u64) {
        let start = again.len() + WAL_FRAME_HEADER_LEN;
        let payload = &bytes[start..start + frame.payload_len as usize];
        assert_eq!(crc32(payload), frame.payload_crc);
        if frame.kind == WAL_FRAME_CLOSE {
            assert!(payload.is_empty());
        } else {
            visit(payload);
        }
        let end = again.len() + frame.frame_len() as usize;
        again.extend(frame.encode(salt));
        again.extend(payload);
        again.resize(end, 0);
    }
    assert!(bytes.starts_with(&again), "{name} is encoded differently now");
    assert!(bytes[again.len()..].iter().all(|byte| *byte == 0), "{name} ends after its frames");
}

#[test]
fn the_golden_log_is_encoded_byte_for_byte() {
    for &golden in GOLDEN {
        let mut records = 0;
        for (name, content) in files(golden).iter().filter(|(name, _)| name.ends_with(".log")) {
            for_each_record(name, content, &mut |payload| {
                records += 1;
                let mut builder = RecordBuilder::default();
                for op in decode(payload).unwrap() {
                    match op.unwrap() {
                        Op::Append { collection, rows } => {
                            builder.begin_append(collection);
                            rows.for_each(|update| builder.row(&update).unwrap());
                        }
                        Op::AdvanceUpper { collection, upper } => {
                            builder.advance_upper(collection, upper);
                        }
                        Op::CompactBelow { collection, since } => {
                            builder.compact_below(collection, since);
                        }
                        Op::Create { collection, create } => {
                            builder.create(collection, &create).unwrap();
                        }
                        Op::Drop { collection } => builder.drop_collection(collection),
                        Op::SetMeta { collection, meta } => {
                            builder.set_meta(collection, meta).unwrap();
                        }
                    }
                }
                assert!(builder.finish().unwrap() == payload, "record {records} differs");
            });
        }
        assert!(records >= 2, "{records} records");
    }
}

#[test]
fn the_golden_segments_are_encoded_byte_for_byte() {
    for &golden in GOLDEN {
        let files = files(golden);
        let state = manifest(&files).1;
        let from: Arc<dyn Fs> = Arc::new(in_memory(&files));
        let mut raw = 0;
        for (collection, meta) in state.live_segments() {
            let kind = state.collections()[&collection].head.kind;
            let identity = SegmentIdentity { db_uuid: state.uuid(), collection, kind };
            let packed = meta.file_len < meta.data_len;
            let codec = if packed { BlockCodec::Zstd { level: 3 } } else { BlockCodec::Raw };
            let options = SegmentOptions { codec, ..SegmentOptions::default() };
            let fs = MemFs::new();
            fs.create_dir(Path::new(DIR)).unwrap();
            let to: Arc<dyn Fs> = Arc::new(fs.clone());
            let entries = entries(&from, meta, identity);
            let mut writer =
                SegmentWriter::create(&to, Path::new(DIR), meta.id, identity, options).unwrap();
            for (key, val, updates) in &entries {
                writer.push(key, val, updates).unwrap();
            }
            let again = writer.finish().unwrap().unwrap();
            assert_eq!((again.keys, again.updates), (meta.keys, meta.updates));
            assert_eq!(self::entries(&to, &again, identity), entries, "{}", meta.id);
            if !packed {
                raw += 1;
                assert_eq!(again, *meta);
                let name = segment_file_name(meta.id);
                let bytes = fs.read_file(Path::new(DIR).join(&name)).unwrap();
                assert!(bytes == files[&name], "{name} is encoded differently now");
            }
        }
        assert!(raw > 0, "a raw segment was compared");
    }
}

type Entry = (Vec<u8>, Vec<u8>, Vec<(u64, i64)>);

fn entries(fs: &Arc<dyn Fs>, meta: &SegmentMeta, identity: SegmentIdentity) -> Vec<Entry> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let segment = Segment::open(fs, Path::new(DIR), meta, identity, &cache).unwrap();
    let mut cursor = segment.cursor(TimeWindow::ALL);
    let mut entries = Vec::new();
    cursor.seek_first().unwrap();
    while cursor.valid() {
        let mut updates = Vec::new();
        cursor.updates(&mut updates);
        entries.push((cursor.key().to_vec(), cursor.val().to_vec(), updates));
        cursor.next().unwrap();
    }
    entries
}
