//! Damaged and hostile files: an error or the right data, never a panic.

use super::*;
use crate::format::block::BlockShape;
use crate::format::block_builder::BlockBuilder;
use crate::format::block_index::BlockIndex;
use crate::format::crc32;
use crate::format::segment_footer::{
    SECTION_BLOCK_INDEX, SECTION_ENTRY_LEN, SEGMENT_TRAILER_LEN, SectionEntry, SegmentTrailer,
};

fn path() -> std::path::PathBuf {
    Path::new(DIR).join(segment_file_name(SegmentId(7)))
}

/// Entries that give every column and every section something to hold.
fn varied() -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..60_u64)
        .map(|i| {
            (
                format!("key/{:03}", i / 2).into(),
                vec![b'a' + (i % 20) as u8; i as usize % 9],
                vec![(i * 300, 1)],
            )
        })
        .collect();
    entries[10].2 = vec![(5, 1), (70_000, -1), (1 << 40, 7)];
    entries.sort();
    entries.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
    entries
}

/// Opens the bytes as the segment and reads them in every way; the first error, or all entries.
fn read_all(bytes: &[u8], meta: &SegmentMeta) -> crate::error::Result<Vec<Entry>> {
    let (mem, fs) = mem_fs();
    mem.put_file(path(), bytes).unwrap();
    let segment = open(&fs, meta)?;
    segment.stats()?;
    let mut cursor = segment.cursor(TimeWindow::ALL);
    let mut entries = Vec::new();
    cursor.seek_first()?;
    while cursor.valid() {
        let mut updates = Vec::new();
        cursor.updates(&mut updates);
        let _ = cursor.sum();
        entries.push((cursor.key().to_vec(), cursor.val().to_vec(), updates));
        assert!(entries.len() < 1_000, "a walk without end");
        cursor.next()?;
    }
    cursor.seek_last()?;
    while cursor.valid() {
        cursor.prev()?;
    }
    for (key, _, _) in &entries {
        cursor.seek(key)?;
        cursor.seek_before(key)?;
        let mut found = Found::new();
        segment.get(key, key_hash(key), TimeWindow::ALL, &mut found, true)?;
    }
    segment.get(
        b"a stranger",
        key_hash(b"a stranger"),
        TimeWindow::ALL,
        &mut Found::new(),
        false,
    )?;
    Ok(entries)
}

fn verify(bytes: &[u8], meta: &SegmentMeta) -> crate::error::Result<()> {
    let (mem, fs) = mem_fs();
    mem.put_file(path(), bytes).unwrap();
    open(&fs, meta)?.verify(SegmentDepth::Full, &mut |_| {}).map(|_| ())
}

fn written(options: SegmentOptions) -> (Vec<u8>, SegmentMeta, Vec<Entry>) {
    let (mem, fs) = mem_fs();
    let entries = varied();
    let meta = write(&fs, options, &entries);
    (mem.read_file(path()).unwrap(), meta, entries)
}

fn codecs() -> Vec<SegmentOptions> {
    let zstd = SegmentOptions { codec: BlockCodec::Zstd { level: 1 }, block_len: 600, ..small() };
    if cfg!(feature = "zstd") { vec![small(), zstd] } else { vec![small()] }
}

#[test]
fn every_flipped_byte_is_seen_or_harmless_and_verify_sees_all() {
    for options in codecs() {
        let (bytes, meta, entries) = written(options);
        verify(&bytes, &meta).unwrap();
        let mut harmless = 0;
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1 << (i % 8);
            match read_all(&damaged, &meta) {
                Ok(read) => {
                    assert_eq!(read, entries, "byte {i}");
                    harmless += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "byte {i}: {error}");
                    assert!(error.to_string().contains(".seg at offset"), "{error}");
                }
            }
            assert!(verify(&damaged, &meta).is_err(), "verify misses byte {i}");
        }
        assert!(harmless < bytes.len() / 4, "{harmless} of {} are harmless", bytes.len());
    }
}

#[test]
fn every_truncation_and_appended_junk_is_seen() {
    let (bytes, meta, _) = written(small());
    for len in 0..bytes.len() {
        let error = read_all(&bytes[..len], &meta).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        // Also when the manifest agrees with the length.
        let shorter = SegmentMeta { file_len: len as u64, ..meta.clone() };
        assert_eq!(read_all(&bytes[..len], &shorter).unwrap_err().kind(), ErrorKind::Corruption);
    }
    assert!(read_all(&[&bytes[..], b"x"].concat(), &meta).is_err());
}

#[test]
fn errors_of_a_cursor_stick() {
    let (bytes, meta, _) = written(small());
    let mut damaged = bytes;
    damaged[700] ^= 1;
    let (mem, fs) = mem_fs();
    mem.put_file(path(), &damaged).unwrap();
    let segment = open(&fs, &meta).unwrap();
    let mut cursor = segment.cursor(TimeWindow::ALL);
    cursor.seek_first().unwrap();
    let error = loop {
        if let Err(error) = cursor.next() {
            break error.to_string();
        }
        assert!(cursor.valid(), "the damage was passed by");
    };
    assert!(!cursor.valid());
    assert_eq!(cursor.next().unwrap_err().to_string(), error);
    assert_eq!(cursor.seek_first().unwrap_err().to_string(), error);
    assert_eq!(cursor.seek(b"").unwrap_err().to_string(), error);
    assert_eq!(cursor.prev().unwrap_err().to_string(), error);
}

#[test]
fn a_block_out_of_shape_is_refused() {
    let block = |entries: &[Entry]| {
        let mut builder = BlockBuilder::default();
        for (key, val, updates) in entries {
            if !builder.is_empty() && builder.last_key() == key {
                builder.push_entry(val, updates);
            } else {
                builder.push_key(key, val, updates);
            }
        }
        let mut bytes = Vec::new();
        builder.encode(&mut bytes);
        BlockShape::check(&bytes).map(|_| bytes).map_err(|e| e.what)
    };
    let entry = |key: &[u8], val: &[u8], ts: &[u64]| -> Entry {
        (key.to_vec(), val.to_vec(), ts.iter().map(|&ts| (ts, 1)).collect())
    };
    let good = [entry(b"a", b"x", &[1]), entry(b"a", b"y", &[1, 2]), entry(b"b", b"x", &[3])];
    let mut bytes = block(&good).unwrap();
    // Header, two keys, their padding; then the ends of entries (2, 3) and of updates (1, 3, 4).
    assert_eq!(bytes[50..60], [2, 0, 3, 0, 1, 0, 3, 0, 4, 0]);
    for (at, end) in [(50, 0), (50, 3), (52, 4), (54, 0), (54, 3), (56, 1), (58, 5), (58, 3)] {
        let kept = std::mem::replace(&mut bytes[at], end);
        assert!(BlockShape::check(&bytes).is_err(), "end {end} at {at}");
        bytes[at] = kept;
    }
    BlockShape::check(&bytes).unwrap();
    let refused = |entries: &[Entry], what: &str| {
        let error = block(entries).unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    refused(&[entry(b"b", b"x", &[1]), entry(b"a", b"x", &[1])], "not above");
    refused(&[entry(b"a", b"y", &[1]), entry(b"a", b"x", &[1])], "is below value");
    refused(&[entry(b"a", b"x", &[2, 1])], "out of order");
    let long = vec![7; crate::limits::KEY_LEN_MAX + 1];
    refused(&[entry(b"a", b"x", &[1]), entry(&long, b"x", &[1])], "too long");
}

/// Makes every checksum of the file right again, as somebody with bad intent would; the trailer's.
fn reseal(bytes: &mut [u8]) -> Option<u32> {
    let trailer_at = bytes.len().checked_sub(SEGMENT_TRAILER_LEN)?;
    let header_crc = crc32(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&header_crc);
    let seal_trailer = |bytes: &mut [u8]| {
        let crc = crc32(&bytes[trailer_at..trailer_at + 60]);
        bytes[trailer_at + 60..].copy_from_slice(&crc.to_le_bytes());
        crc
    };
    seal_trailer(bytes);
    let trailer = SegmentTrailer::decode(&bytes[trailer_at..]).ok()?;
    let table = trailer.table_range();
    for entry in SectionEntry::decode_table(&bytes[table.clone()], trailer.table_offset).ok()? {
        if entry.kind == SECTION_BLOCK_INDEX {
            seal_blocks(bytes, entry.range());
        }
        let crc = crc32(&bytes[entry.range()]).to_le_bytes();
        let row =
            table.clone().step_by(SECTION_ENTRY_LEN).find(|&at| bytes[at] == entry.kind as u8)?;
        bytes[row + 24..row + 28].copy_from_slice(&crc);
    }
    let table_crc = crc32(&bytes[table]).to_le_bytes();
    bytes[trailer_at + 28..trailer_at + 32].copy_from_slice(&table_crc);
    Some(seal_trailer(bytes))
}

fn seal_blocks(bytes: &mut [u8], section: std::ops::Range<usize>) {
    let Ok(index) = BlockIndex::decode(bytes[section.clone()].to_vec().into()) else { return };
    let blocks = index.blocks();
    for i in 0..blocks {
        let crc = bytes.get(index.stored_range(i)).map(crc32).unwrap_or_default();
        // Behind the header come five columns of 8 bytes, then five of 4.
        let at = section.start + 32 + blocks * (5 * 8 + 5 * 4) + i * 4;
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Goal: a block whose keys reach into the next one is refused although every checksum is right.
#[test]
fn a_block_that_reaches_into_the_next_one_is_refused() {
    let entries: Vec<Entry> =
        (0..40_u8).map(|i| (vec![i * 2 + 1, 200, i], vec![b'v'; 60], vec![(1, 1)])).collect();
    let (mem, fs) = mem_fs();
    let mut meta = write(&fs, small(), &entries);
    let bytes = mem.read_file(path()).unwrap();
    let segment = open(&fs, &meta).unwrap();
    let second = segment.blocks().unwrap().index.first_key(1);
    let last = entries.iter().rev().find(|e| e.0 < second).unwrap().0.clone();
    let place = bytes.windows(3).position(|w| w == last).unwrap();
    let mut with = |first_byte: u8| {
        let mut changed = bytes.clone();
        changed[place] = first_byte;
        meta.trailer_crc = reseal(&mut changed).unwrap();
        read_all(&changed, &meta)
    };
    assert_eq!(with(last[0] + 1).unwrap().len(), 40, "still below the next block");
    assert_eq!(with(last[0] + 3).map(|_| ()).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(with(255).map(|_| ()).unwrap_err().kind(), ErrorKind::Corruption);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Goal: a file made with bad intent, every checksum right, gives errors or entries and never
    /// panics or loops. Method: damage anywhere, then seal it again.
    #[test]
    fn hostile_files_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        codec in any::<prop::sample::Index>(),
    ) {
        let codecs = codecs();
        let (mut bytes, mut meta, _) = written(codecs[codec.index(codecs.len())]);
        for (place, byte) in damage {
            let i = place.index(bytes.len());
            bytes[i] = byte;
        }
        if let Some(crc) = reseal(&mut bytes) {
            meta.trailer_crc = crc;
        }
        let _ = read_all(&bytes, &meta);
        let _ = verify(&bytes, &meta);
    }

    /// Goal: a block that passes its check can be read all over. Method: damage an encoded block,
    /// read everything that a good one has.
    #[test]
    fn a_checked_block_can_be_read(
        entries in entries_strategy(40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut builder = BlockBuilder::default();
        for (key, val, updates) in &entries {
            if !builder.is_empty() && builder.last_key() == key {
                builder.push_entry(val, updates);
            } else {
                builder.push_key(key, val, updates);
            }
        }
        let mut bytes = Vec::new();
        builder.encode(&mut bytes);
        let sound = damage.is_empty() && whole;
        for (place, byte) in damage {
            // Mostly where the header and the columns of ends are.
            let i = place.index(if byte % 2 == 0 { bytes.len().min(64) } else { bytes.len() });
            bytes[i] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let checked = BlockShape::check(&bytes);
        prop_assert!(!sound || checked.is_ok(), "{checked:?}");
        let Ok((shape, _)) = checked else { return Ok(()) };
        let (mut entry_end, mut update_end) = (0, 0);
        for i in 0..shape.keys() {
            let entries = shape.entries_of(&bytes, i);
            prop_assert!(entries.start == entry_end && entries.end > entry_end);
            entry_end = entries.end;
            let key = shape.key_to_vec(&bytes, i);
            prop_assert_eq!(shape.lower_bound(&bytes, &key, 0), i);
            prop_assert_eq!(shape.lower_bound_near(&bytes, &key, 0), i);
            prop_assert!(shape.key_is(&bytes, i, &key));
            for entry in shape.entries_of(&bytes, i) {
                let _ = shape.val(&bytes, entry);
                let updates = shape.updates_of(&bytes, entry);
                prop_assert!(updates.start == update_end && updates.end > update_end);
                update_end = updates.end;
                let sum: i128 = updates.map(|u| i128::from(shape.diff(&bytes, u))).sum();
                prop_assert_eq!(shape.sum(&bytes, entry, TimeWindow::ALL, false), sum);
            }
        }
        prop_assert_eq!((entry_end, update_end), (shape.entries(), shape.updates()));
    }
}
