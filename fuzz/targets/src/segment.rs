//! A segment file: opening, verifying and reading are total, and what passes a full verification
//! reads in order and finds every key.

use datestone_engine::cursor::Cursor;
use datestone_engine::format::key_hash;
use datestone_engine::format::segment_footer::{
    SECTION_STATS, SEGMENT_HEADER_LEN, SEGMENT_TRAILER_LEN, SectionEntry, SegmentHeader,
    SegmentTrailer,
};
use datestone_engine::format::segment_stats::SegmentStats;
use datestone_engine::found::Found;
use datestone_engine::io::{Fs, MemFs};
use datestone_engine::segment::{
    BlockCache, Segment, SegmentDepth, SegmentIdentity, segment_file_name,
};
use datestone_engine::types::{SegmentMeta, TimeWindow};
use std::path::Path;
use std::sync::Arc;

/// Entries that are looked at.
const ENTRIES_MAX: usize = 1 << 16;

/// See the module.
pub fn segment(data: &[u8]) {
    let Some((meta, identity)) = describe(data) else { return };
    let fs = MemFs::new();
    fs.put_file(segment_file_name(meta.id), data).expect("a new file");
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let cache = Arc::new(BlockCache::new(1 << 20));
    let Ok(segment) = Segment::open(&fs, Path::new(""), &meta, identity, &cache) else { return };
    let verified = segment.verify(SegmentDepth::Full, &mut |_| {}).is_ok();
    for window in [TimeWindow::ALL, TimeWindow { first: 1, last: 3 }] {
        let read = scan(&segment, window);
        assert!(read.is_some() || !verified, "what was verified can be read");
        let back = scan_back(&segment, window);
        if let (true, Some(read), Some(mut back)) = (verified, read, back) {
            back.reverse();
            assert_eq!(read, back, "both ways meet the same entries");
            find_each(&segment, window, &read);
        }
    }
    for key in [&b""[..], b"a", &[0xff; 20]] {
        let _ = get(&segment, TimeWindow::ALL, key, true);
    }
}

/// What a manifest would know of the file, as far as its own words tell.
fn describe(data: &[u8]) -> Option<(SegmentMeta, SegmentIdentity)> {
    let header = SegmentHeader::decode(data.get(..SEGMENT_HEADER_LEN)?).ok()?;
    let trailer_at = data.len().checked_sub(SEGMENT_TRAILER_LEN)?;
    let trailer = SegmentTrailer::decode(data.get(trailer_at..)?).ok()?;
    let table = data.get(trailer.table_range())?;
    let sections = SectionEntry::decode_table(table, trailer.table_offset).ok()?;
    let stats = sections.iter().find(|section| section.kind == SECTION_STATS)?;
    let stats = SegmentStats::decode(data.get(stats.range())?).ok()?;
    let meta = SegmentMeta {
        id: header.segment,
        file_len: data.len() as u64,
        trailer_crc: trailer.crc,
        keys: stats.keys,
        entries: stats.entries,
        updates: stats.updates,
        min_ts: stats.min_ts,
        max_ts: stats.max_ts,
        data_len: data.len() as u64,
        garbage_first_ts: stats.garbage.first().map(|bucket| bucket.since),
    };
    let SegmentHeader { db_uuid, collection, kind, .. } = header;
    Some((meta, SegmentIdentity { db_uuid, collection, kind }))
}

type Entry = (Vec<u8>, Vec<u8>, i128);

fn entry(cursor: &impl Cursor) -> Entry {
    let mut updates = Vec::new();
    cursor.updates(&mut updates);
    let sum = updates.iter().map(|(_, diff)| i128::from(*diff)).sum();
    assert_eq!(cursor.sum(), sum, "the sum is that of the updates");
    (cursor.key().to_vec(), cursor.val().to_vec(), sum)
}

/// All entries, `None` after an error.
fn scan(segment: &Arc<Segment>, window: TimeWindow) -> Option<Vec<Entry>> {
    let mut cursor = segment.cursor(window);
    cursor.seek_first().ok()?;
    let mut read = Vec::new();
    while cursor.valid() && read.len() < ENTRIES_MAX {
        read.push(entry(&cursor));
        cursor.next().ok()?;
    }
    Some(read)
}

fn scan_back(segment: &Arc<Segment>, window: TimeWindow) -> Option<Vec<Entry>> {
    let mut cursor = segment.cursor(window);
    cursor.seek_last().ok()?;
    let mut read = Vec::new();
    while cursor.valid() && read.len() < ENTRIES_MAX {
        read.push(entry(&cursor));
        cursor.prev().ok()?;
    }
    Some(read)
}

/// Every entry is found by its key, by a point read and by a seek.
fn find_each(segment: &Arc<Segment>, window: TimeWindow, read: &[Entry]) {
    assert!(read.is_sorted_by(|a, b| (&a.0, &a.1) <= (&b.0, &b.1)), "entries ascend");
    let mut cursor = segment.cursor(window);
    for entries in read.chunk_by(|a, b| a.0 == b.0).take(200) {
        let Some((key, first_val, _)) = entries.first() else { continue };
        let wanted: i128 = entries.iter().map(|(_, _, sum)| sum).sum();
        for use_filter in [false, true] {
            let found = get(segment, window, key, use_filter).expect("what was verified is found");
            assert_eq!(found, wanted, "a point read finds what a scan meets");
        }
        cursor.seek(key).expect("what was verified is found");
        assert!(cursor.valid() && cursor.key() == key && cursor.val() == first_val);
    }
}

/// The sum over all values of a key.
fn get(segment: &Segment, window: TimeWindow, key: &[u8], use_filter: bool) -> Option<i128> {
    let mut found = Found::new();
    segment.get(key, key_hash(key), window, &mut found, use_filter).ok()?;
    let mut total = 0;
    let visited: Result<(), ()> = found.visit(|_, sum| {
        total += sum;
        Ok(())
    });
    visited.ok().map(|()| total)
}
