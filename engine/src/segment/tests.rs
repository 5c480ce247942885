//! Tests of segments: what was pushed is what cursors and point reads give back, through every
//! option, window and move; and no damage goes unseen or makes anything panic.

mod anchors;
mod copying;
mod damage;

use super::*;
use crate::cursor::{Cursor, EntrySink};
use crate::error::{Error, ErrorKind};
use crate::format::key_hash;
use crate::found::Found;
use crate::io::{Fs, MemFs};
use crate::types::{Frontier, Kind, SegmentMeta, TimeWindow};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

pub(super) type Entry = (Vec<u8>, Vec<u8>, Vec<(u64, i64)>);

pub(super) const IDENTITY: SegmentIdentity =
    SegmentIdentity { db_uuid: 0xD5, collection: CollectionId(3), kind: Kind::Multiset };
const DIR: &str = "/db";

pub(super) fn mem_fs() -> (MemFs, Arc<dyn Fs>) {
    let mem = MemFs::new();
    mem.create_dir(Path::new(DIR)).unwrap();
    (mem.clone(), Arc::new(mem))
}

pub(super) fn small() -> SegmentOptions {
    SegmentOptions { block_len: 200, ..SegmentOptions::default() }
}

pub(super) fn write(fs: &Arc<dyn Fs>, options: SegmentOptions, entries: &[Entry]) -> SegmentMeta {
    let id = SegmentId(7);
    let mut writer = SegmentWriter::create(fs, Path::new(DIR), id, IDENTITY, options).unwrap();
    for (key, val, updates) in entries {
        writer.push(key, val, updates).unwrap();
    }
    writer.finish().unwrap().unwrap()
}

pub(super) fn open(fs: &Arc<dyn Fs>, meta: &SegmentMeta) -> crate::error::Result<Arc<Segment>> {
    Segment::open(fs, Path::new(DIR), meta, IDENTITY, &Arc::new(BlockCache::new(1 << 20)))
}

fn segment(options: SegmentOptions, entries: &[Entry]) -> Arc<Segment> {
    let (_, fs) = mem_fs();
    let meta = write(&fs, options, entries);
    open(&fs, &meta).unwrap()
}

fn at(cursor: &SegmentCursor) -> Option<Entry> {
    let mut updates = Vec::new();
    cursor.valid().then(|| {
        cursor.updates(&mut updates);
        assert_eq!(cursor.sum(), updates.iter().map(|u| i128::from(u.1)).sum::<i128>());
        (cursor.key().to_vec(), cursor.val().to_vec(), updates)
    })
}

fn forward(cursor: &mut SegmentCursor) -> Vec<Entry> {
    cursor.seek_first().unwrap();
    let mut all = Vec::new();
    while let Some(entry) = at(cursor) {
        all.push(entry);
        cursor.next().unwrap();
    }
    all
}

fn backward(cursor: &mut SegmentCursor) -> Vec<Entry> {
    cursor.seek_last().unwrap();
    let mut all = Vec::new();
    while let Some(entry) = at(cursor) {
        all.push(entry);
        cursor.prev().unwrap();
    }
    all.reverse();
    all
}

/// The entries with a time in the window, and only those times.
fn in_window(entries: &[Entry], window: TimeWindow) -> Vec<Entry> {
    let cut = |e: &Entry| {
        let updates: Vec<_> = e.2.iter().copied().filter(|u| window.contains(u.0)).collect();
        (!updates.is_empty()).then(|| (e.0.clone(), e.1.clone(), updates))
    };
    entries.iter().filter_map(cut).collect()
}

fn non_empty(entries: Vec<Entry>) -> Vec<Entry> {
    entries.into_iter().filter(|e| !e.2.is_empty()).collect()
}

fn found(segment: &Segment, key: &[u8], window: TimeWindow, filter: bool) -> Vec<(Vec<u8>, i128)> {
    let mut found = Found::new();
    segment.get(key, key_hash(key), window, &mut found, filter).unwrap();
    let mut rows = Vec::new();
    let visited = found.visit(|val, sum| {
        rows.push((val.to_vec(), sum));
        Ok::<_, ()>(())
    });
    visited.unwrap();
    rows
}

/// What a point read of `key` must find.
fn expected(entries: &[Entry], key: &[u8], window: TimeWindow) -> Vec<(Vec<u8>, i128)> {
    let mut sums = std::collections::BTreeMap::new();
    for (_, val, updates) in entries.iter().filter(|e| e.0 == key) {
        let inside = updates.iter().filter(|u| window.contains(u.0));
        *sums.entry(val.clone()).or_insert(0) += inside.map(|u| i128::from(u.1)).sum::<i128>();
    }
    sums.into_iter().filter(|(_, sum)| *sum != 0).collect()
}

fn key_strategy() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..4, 0..5),
        (0_u32..400).prop_map(|i| format!("user:{i:08}").into_bytes()),
        (0_u64..300).prop_map(|i| i.to_be_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn update_strategy() -> impl Strategy<Value = (u64, i64)> {
    let ts = prop_oneof![0_u64..8, 0_u64..3000, any::<u64>()];
    let diff = prop_oneof![Just(1_i64), -2_i64..3, any::<i64>()];
    (ts, diff)
}

/// Entries in order: several values for some keys, several updates for some entries, repeats.
fn entries_strategy(count_max: usize) -> impl Strategy<Value = Vec<Entry>> {
    let val = prop_oneof![
        Just(vec![b'v'; 20]),
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(Just(b'x'), 300..400),
    ];
    let updates = prop_oneof![
        3 => prop::collection::vec(update_strategy(), 1..2),
        1 => prop::collection::vec(update_strategy(), 1..12),
    ];
    let plain = prop::collection::vec((key_strategy(), val, updates), 1..count_max);
    // Some cases at one time with diff one, so that columns are left out; some with few keys that
    // have a deep history.
    (plain, 0_u64..6).prop_map(|(mut entries, shape): (Vec<Entry>, u64)| {
        for entry in &mut entries {
            match shape {
                0 | 1 => entry.2 = vec![(5, 1)],
                2..=4 => {
                    entry.0.truncate(1);
                    entry.0.iter_mut().for_each(|byte| *byte %= 2);
                    for (ts, diff) in &mut entry.2 {
                        (*ts, *diff) = (*ts % [9, 5000, 1 << 20][shape as usize - 2], *diff % 3);
                    }
                }
                _ => {}
            }
            entry.2.sort_unstable();
        }
        entries.sort();
        entries
    })
}

fn options_strategy() -> impl Strategy<Value = SegmentOptions> {
    let codec = prop_oneof![Just(BlockCodec::Raw), Just(BlockCodec::Zstd { level: 1 })];
    (codec, prop_oneof![Just(64_usize), Just(700), Just(32 << 10)], any::<bool>(), any::<bool>())
        .prop_map(|(codec, block_len, filter, hash_index)| SegmentOptions {
            codec: if cfg!(feature = "zstd") { codec } else { BlockCodec::Raw },
            block_len,
            bits_per_key: if filter { 12 } else { 0 },
            hash_index,
            ..SegmentOptions::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Goal: a segment gives back what was pushed. Method: random entries and options; walk both
    /// ways, seek to every key and between, read every key and strangers, in a random window.
    #[test]
    fn gives_back_what_was_pushed(
        entries in entries_strategy(120),
        options in options_strategy(),
        times in (any::<u64>(), any::<u64>(), 0_usize..4),
        strangers in prop::collection::vec(key_strategy(), 0..20),
    ) {
        let segment = segment(options, &entries);
        let meta = segment.meta();
        prop_assert_eq!(meta.entries as usize, entries.len());
        prop_assert_eq!(meta.updates as usize, entries.iter().map(|e| e.2.len()).sum::<usize>());
        segment.verify(SegmentDepth::Quick, &mut |_| {}).unwrap();
        let report = segment.verify(SegmentDepth::Full, &mut |_| {}).unwrap();
        prop_assert_eq!((report.keys, report.entries), (meta.keys, meta.entries));
        prop_assert_eq!(&segment.stats().unwrap().min_key, &entries[0].0);
        prop_assert_eq!(&segment.stats().unwrap().max_key, &entries[entries.len() - 1].0);
        let mut cursor = segment.cursor(TimeWindow::ALL);
        prop_assert_eq!(&forward(&mut cursor), &entries);
        prop_assert_eq!(&backward(&mut cursor), &entries);

        let window = match times.2 {
            0 => TimeWindow::ALL,
            1 => TimeWindow { first: times.0 % 8, last: times.1 % 9 },
            2 => TimeWindow { first: 0, last: times.1 % 5000 },
            _ => TimeWindow { first: times.0.min(times.1), last: times.0.max(times.1) },
        };
        let seen = in_window(&entries, window);
        let mut windowed = segment.cursor(window);
        prop_assert_eq!(&non_empty(forward(&mut windowed)), &seen);
        prop_assert_eq!(&non_empty(backward(&mut windowed)), &seen);

        let keys = entries.iter().map(|e| &e.0).chain(&strangers);
        for key in keys {
            cursor.seek(key).unwrap();
            prop_assert_eq!(at(&cursor), entries.iter().find(|e| e.0 >= *key).cloned());
            cursor.seek_before(key).unwrap();
            prop_assert_eq!(at(&cursor), entries.iter().rev().find(|e| e.0 < *key).cloned());
            for filter in [false, true] {
                let rows = found(&segment, key, window, filter);
                prop_assert_eq!(rows, expected(&entries, key, window));
            }
        }
    }

    /// Goal: seeks from any place, near and far, meet the contract. Method: random moves against
    /// an index into the entries.
    #[test]
    fn moves_like_an_index_into_the_entries(
        entries in entries_strategy(80),
        moves in prop::collection::vec((0_u8..6, key_strategy(), 0_usize..80), 1..60),
        block_len in prop_oneof![Just(64_usize), Just(400), Just(32 << 10)],
    ) {
        let segment = segment(SegmentOptions { block_len, ..SegmentOptions::default() }, &entries);
        let mut cursor = segment.cursor(TimeWindow::ALL);
        let mut place: Option<usize> = None;
        for (kind, key, pick) in moves {
            let key = if pick % 2 == 0 { &entries[pick % entries.len()].0 } else { &key };
            match kind {
                0 => { cursor.next().unwrap(); place = place.map(|p| p + 1); }
                1 => { cursor.prev().unwrap(); place = place.and_then(|p| p.checked_sub(1)); }
                2 => { cursor.seek_first().unwrap(); place = Some(0); }
                3 => { cursor.seek_last().unwrap(); place = entries.len().checked_sub(1); }
                4 => {
                    cursor.seek(key).unwrap();
                    place = entries.iter().position(|e| e.0 >= *key);
                }
                _ => {
                    cursor.seek_before(key).unwrap();
                    place = entries.iter().rposition(|e| e.0 < *key);
                }
            }
            place = place.filter(|&p| p < entries.len());
            prop_assert_eq!(at(&cursor), place.map(|p| entries[p].clone()));
        }
    }
}

fn simple(count: u64) -> Vec<Entry> {
    (0..count).map(|i| (format!("key{i:06}").into(), vec![b'v'; 10], vec![(i % 50, 1)])).collect()
}

#[test]
fn nothing_pushed_leaves_no_file() {
    let (mem, fs) = mem_fs();
    let create =
        || SegmentWriter::create(&fs, Path::new(DIR), SegmentId(1), IDENTITY, small()).unwrap();
    assert_eq!(create().finish().unwrap(), None);
    assert!(mem.list(Path::new(DIR)).unwrap().is_empty());
    // Nor does a writer that is dropped in the middle.
    let mut writer = create();
    writer.push(b"k", b"v", &[(1, 1)]).unwrap();
    drop(writer);
    assert!(mem.list(Path::new(DIR)).unwrap().is_empty());
}

#[test]
fn disorder_is_refused() {
    let (_, fs) = mem_fs();
    let mut writer =
        SegmentWriter::create(&fs, Path::new(DIR), SegmentId(1), IDENTITY, small()).unwrap();
    writer.push(b"k", b"v", &[(1, 1)]).unwrap();
    let internal = |result: crate::error::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Internal);
    };
    internal(writer.push(b"j", b"v", &[(1, 1)]));
    internal(writer.push(b"k", b"u", &[(1, 1)]));
    internal(writer.push(b"l", b"v", &[(2, 1), (1, 1)]));
    internal(writer.push(b"l", b"v", &[]));
    assert_eq!(writer.finish().unwrap().unwrap().updates, 1);
}

#[test]
fn the_file_survives_a_power_cut_once_finished_and_the_directory_synced() {
    let (mem, fs) = mem_fs();
    mem.sync_dir(Path::new("/")).unwrap();
    let entries = simple(100);
    let meta = write(&fs, small(), &entries);
    fs.sync_dir(Path::new(DIR)).unwrap();
    let after: Arc<dyn Fs> = Arc::new(mem.crash(crate::io::CrashPlan::LoseUnsynced));
    let segment = open(&after, &meta).unwrap();
    assert_eq!(forward(&mut segment.cursor(TimeWindow::ALL)), entries);
}

#[test]
fn long_lists_of_updates_are_split_and_come_back() {
    let updates: Vec<_> = (0..40_000).map(|ts| (ts, if ts % 3 == 0 { -1 } else { 1 })).collect();
    let entries: Vec<Entry> = vec![
        (b"a".into(), b"x".into(), vec![(1, 1)]),
        (b"b".into(), b"y".into(), updates.clone()),
        (b"c".into(), b"z".into(), vec![(1, 1)]),
    ];
    let segment = segment(small(), &entries);
    let mut cursor = segment.cursor(TimeWindow::ALL);
    cursor.seek(b"b").unwrap();
    let mut pieces = Vec::new();
    while cursor.valid() && cursor.key() == b"b" {
        assert!(cursor.may_repeat());
        cursor.updates(&mut pieces);
        cursor.next().unwrap();
    }
    assert_eq!(pieces, updates);
    let window = TimeWindow { first: 100, last: 30_000 };
    assert_eq!(found(&segment, b"b", window, true), expected(&entries, b"b", window));
    assert_eq!(segment.stats().unwrap().repeats, 2);
}

#[test]
fn large_values_get_blocks_of_their_own() {
    let mut entries = simple(10);
    entries[4].1 = vec![7; 3 << 20];
    let segment = segment(small(), &entries);
    assert_eq!(forward(&mut segment.cursor(TimeWindow::ALL)), entries);
    let row = found(&segment, &entries[4].0, TimeWindow::ALL, true);
    assert_eq!(row, [(entries[4].1.clone(), 1)]);
}

#[test]
fn an_obsolete_segment_is_removed_by_its_last_user() {
    let (mem, fs) = mem_fs();
    let meta = write(&fs, small(), &simple(100));
    let segment = open(&fs, &meta).unwrap();
    let mut cursor = segment.cursor(TimeWindow::ALL);
    cursor.seek_first().unwrap();
    segment.mark_obsolete();
    drop(segment);
    assert_eq!(mem.list(Path::new(DIR)).unwrap().len(), 1);
    cursor.next().unwrap();
    assert!(cursor.valid());
    drop(cursor);
    assert!(mem.list(Path::new(DIR)).unwrap().is_empty());
}

#[test]
fn garbage_is_told_from_the_first_since_on() {
    let mut entries = simple(100);
    entries[3].2 = vec![(10, 1), (40, -1)];
    let segment = segment(small(), &entries);
    assert_eq!(segment.meta().garbage_first_ts, Some(40));
    assert_eq!(segment.garbage(Frontier::at(39)).unwrap().updates, 0);
    assert_eq!(segment.garbage(Frontier::at(40)).unwrap().updates, 2);
    assert_eq!(segment.garbage(Frontier::CLOSED).unwrap().updates, 2);
}

#[test]
fn another_segment_or_collection_is_refused() {
    let (_, fs) = mem_fs();
    let meta = write(&fs, small(), &simple(10));
    let cache = Arc::new(BlockCache::new(0));
    let other = SegmentIdentity { collection: CollectionId(4), ..IDENTITY };
    let error = Segment::open(&fs, Path::new(DIR), &meta, other, &cache).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    let wrong = SegmentMeta { trailer_crc: meta.trailer_crc ^ 1, ..meta.clone() };
    assert!(matches!(open(&fs, &wrong), Err(Error::Corruption { .. })));
    let missing = SegmentMeta { id: SegmentId(99), ..meta };
    assert!(matches!(open(&fs, &missing), Err(Error::Corruption { .. })));
}

#[test]
fn file_names_are_parsed_strictly() {
    assert_eq!(segment_file_name(SegmentId(0xab)), "00000000000000ab.seg");
    assert_eq!(parse_segment_file_name("00000000000000ab.seg"), Some(SegmentId(0xab)));
    for odd in ["00000000000000AB.seg", "ab.seg", "00000000000000ab.tmp", "+0000000000000ab.seg"] {
        assert_eq!(parse_segment_file_name(odd), None, "{odd}");
    }
}
