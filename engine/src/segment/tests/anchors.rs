//! Goal: a point read of a key with a long history gives what adding it up gives, whatever its values
//! and their number, in raw and compressed blocks, through merges. Method: segments of keys whose few
//! values change with time, read at many times with and without the section; damage of it is noticed.

use super::*;
use crate::format::anchors::Anchors;
use crate::format::segment_footer::SECTION_ANCHORS;

/// A few keys between short ones; `values` are there at any time.
fn deep(values: u64, versions: u64, val_len: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for key in 0..20_u64 {
        let is_deep = key % 5 == 2;
        let count = if is_deep { versions } else { 3 };
        for n in 0..count {
            let mut val = n.to_be_bytes().to_vec();
            val.resize(8 + val_len, 7);
            let updates = vec![(n * 3 + key, 1), ((n + values) * 3 + key, -1)];
            entries.push((key.to_be_bytes().to_vec(), val, updates));
        }
    }
    // One value, over and over again.
    let updates = (0..40_000).map(|ts| (ts, if ts % 2 == 0 { 1 } else { -1 })).collect();
    entries.push((b"\xff".to_vec(), b"v".to_vec(), updates));
    entries
}

fn options(codec: BlockCodec) -> SegmentOptions {
    SegmentOptions { codec, ..small() }
}

fn has_anchors(segment: &Segment) -> bool {
    segment.sections.iter().any(|section| section.kind == SECTION_ANCHORS)
}

#[test]
fn reads_of_long_histories_are_their_sums() {
    for codec in [BlockCodec::Raw, BlockCodec::Zstd { level: 1 }] {
        for (values, val_len) in [(1, 0), (3, 40), (16, 0), (17, 0), (40, 300)] {
            let entries = deep(values, 700, val_len);
            let segment = segment(options(codec), &entries);
            assert!(has_anchors(&segment));
            segment.verify(SegmentDepth::Full, &mut |_| {}).unwrap();
            for as_of in (0..2_200).step_by(37).chain([39_000, 39_001, u64::MAX]) {
                let window = TimeWindow { first: 0, last: as_of };
                for key in
                    (0..20_u64).map(|key| key.to_be_bytes().to_vec()).chain([b"\xff".to_vec()])
                {
                    let wanted = expected(&entries, &key, window);
                    let read = found(&segment, &key, window, true);
                    assert_eq!(read, wanted, "{values} values, key {key:?}, as of {as_of}");
                    // What does not begin at the beginning is added up.
                    let later = TimeWindow { first: as_of / 2, last: as_of };
                    assert_eq!(found(&segment, &key, later, true), expected(&entries, &key, later));
                }
            }
        }
    }
}

#[test]
fn keys_of_many_values_at_a_time_have_none() {
    let entries: Vec<Entry> =
        (0..400_u64).map(|n| (vec![1], n.to_be_bytes().to_vec(), vec![(n, 1)])).collect();
    assert!(!has_anchors(&segment(small(), &entries)));
}

#[test]
fn anchors_that_are_not_those_of_the_blocks_are_found_out() {
    let (mem, fs) = mem_fs();
    let meta = write(&fs, small(), &deep(3, 300, 8));
    let path = Path::new(DIR).join(segment_file_name(meta.id));
    let section = open(&fs, &meta).unwrap();
    let section = section.sections.iter().find(|section| section.kind == SECTION_ANCHORS).unwrap();
    for at in (section.range()).step_by(7) {
        mem.flip_bits(&path, at as u64, 1).unwrap();
        let segment = open(&fs, &meta).unwrap();
        assert!(segment.verify(SegmentDepth::Quick, &mut |_| {}).is_err(), "byte {at}");
        let mut found = Found::new();
        let key = 2_u64.to_be_bytes();
        let read = segment.get(&key, key_hash(&key), TimeWindow::ALL, &mut found, false);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corruption, "byte {at}");
        mem.flip_bits(&path, at as u64, 1).unwrap();
    }
    // A section whose checksum is right and that says something else: what only a full look finds.
    let segment = open(&fs, &meta).unwrap();
    let (bytes, _) = segment.section(SECTION_ANCHORS).unwrap().unwrap();
    let mut other = bytes.to_vec();
    let last = other.len() - 1;
    other[last] = other[last].wrapping_neg();
    let (right, wrong) = (Anchors::decode(bytes).unwrap(), Anchors::decode(other.into()).unwrap());
    let differ = right.keys().zip(wrong.keys()).filter(|(a, b)| !a.1.is_same(&b.1)).count();
    assert_eq!(differ, 1);
}
