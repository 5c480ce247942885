//! Blocks that are copied as they are.

use super::*;

/// Copies every block that may be copied and pushes the rest, as a merge does.
fn rewrite(
    source: &Arc<Segment>,
    next_other_key: Option<&[u8]>,
    options: SegmentOptions,
) -> (Arc<Segment>, usize) {
    let (_, fs) = mem_fs();
    let mut writer =
        SegmentWriter::create(&fs, Path::new(DIR), SegmentId(8), IDENTITY, options).unwrap();
    let mut cursor = source.cursor(TimeWindow::ALL);
    cursor.seek_first().unwrap();
    let (mut copies, mut updates) = (0, Vec::new());
    while cursor.valid() {
        if let Some(copy) = cursor.block_copy(next_other_key, Frontier::MIN) {
            assert_eq!(copy.first_key(), cursor.key());
            writer.copy_block(&copy).unwrap();
            cursor.skip_block().unwrap();
            copies += 1;
        } else {
            updates.clear();
            cursor.updates(&mut updates);
            writer.push(cursor.key(), cursor.val(), &updates).unwrap();
            cursor.next().unwrap();
        }
    }
    let meta = writer.finish().unwrap().unwrap();
    (open(&fs, &meta).unwrap(), copies)
}

fn rows(count: u64) -> Vec<Entry> {
    (0..count).map(|i| (i.to_be_bytes().to_vec(), vec![b'v'; 92], vec![(i % 50, 1)])).collect()
}

fn large() -> SegmentOptions {
    SegmentOptions { block_len: 16 << 10, ..SegmentOptions::default() }
}

#[cfg(feature = "zstd")]
fn zstd() -> SegmentOptions {
    SegmentOptions { codec: BlockCodec::Zstd { level: 1 }, ..large() }
}

fn assert_same(copy: &Arc<Segment>, source: &Arc<Segment>, entries: &[Entry]) {
    assert_eq!(forward(&mut copy.cursor(TimeWindow::ALL)), entries);
    copy.verify(SegmentDepth::Full, &mut |_| {}).unwrap();
    let (stats, wanted) = (copy.stats().unwrap(), source.stats().unwrap());
    assert_eq!(stats, wanted);
    for (key, _, _) in entries.iter().step_by(7) {
        assert_eq!(
            found(copy, key, TimeWindow::ALL, true),
            expected(entries, key, TimeWindow::ALL)
        );
    }
}

#[test]
fn copied_blocks_are_the_same_blocks() {
    let entries = rows(2_000);
    let source = segment(large(), &entries);
    let (copy, copies) = rewrite(&source, None, large());
    assert_eq!(copies, source.blocks().unwrap().index.blocks() - 1, "all but the short last one");
    assert_same(&copy, &source, &entries);
    let (from, to) = (source.blocks().unwrap(), copy.blocks().unwrap());
    for i in 0..copies {
        assert_eq!(from.index.block(i).crc, to.index.block(i).crc);
    }
}

#[cfg(feature = "zstd")]
#[test]
fn a_copy_is_compressed_when_the_writer_compresses_and_stays_compressed_otherwise() {
    let entries = rows(1_000);
    let raw = segment(large(), &entries);
    let (compressed, copies) = rewrite(&raw, None, zstd());
    assert!(copies > 3 && compressed.meta().file_len < raw.meta().file_len / 3);
    assert_same(&compressed, &raw, &entries);
    let (again, copies) = rewrite(&compressed, None, large());
    assert!(copies > 3 && !again.blocks().unwrap().index.is_raw(0));
    assert_same(&again, &raw, &entries);
}

#[test]
fn blocks_that_reach_the_other_key_are_not_copied() {
    let entries = rows(1_000);
    let source = segment(large(), &entries);
    let blocks = source.blocks().unwrap();
    let third = blocks.index.first_key(2);
    let (copy, copies) = rewrite(&source, Some(&third), large());
    assert_eq!(copies, 2, "the last key of the second block is below the first of the third");
    assert_same(&copy, &source, &entries);
    let mut cursor = source.cursor(TimeWindow::ALL);
    cursor.seek_first().unwrap();
    let last = cursor.block_copy(None, Frontier::MIN).unwrap().last_key().to_vec();
    assert!(cursor.block_copy(Some(&last), Frontier::MIN).is_none());
    cursor.next().unwrap();
    assert!(cursor.block_copy(None, Frontier::MIN).is_none(), "not at the first entry any more");
}

#[test]
fn blocks_in_which_something_can_consolidate_are_not_copied() {
    // Several updates in one entry; a window that cuts; a key in two blocks; equal entries.
    let copyable = |entries: &[Entry], window| {
        let source = segment(large(), entries);
        let mut cursor = source.cursor(window);
        cursor.seek_first().unwrap();
        cursor.block_copy(None, Frontier::MIN).is_some()
    };
    let entries = rows(300);
    assert!(copyable(&entries, TimeWindow::ALL));
    assert!(!copyable(&entries, TimeWindow { first: 0, last: 48 }));
    let mut several = entries.clone();
    several[60].2.push((60, -1));
    assert!(!copyable(&several, TimeWindow::ALL));
    let mut equal = entries.clone();
    equal.insert(60, entries[60].clone());
    assert!(!copyable(&equal, TimeWindow::ALL));
    let one_key: Vec<Entry> = (0..400_u64)
        .map(|i| (b"k".into(), [&i.to_be_bytes()[..], &[7; 92]].concat(), vec![(1, 1)]))
        .collect();
    assert!(!copyable(&one_key, TimeWindow::ALL));
}

#[test]
fn a_copy_that_comes_too_late_is_refused() {
    let source = segment(large(), &rows(300));
    let mut cursor = source.cursor(TimeWindow::ALL);
    cursor.seek_first().unwrap();
    let copy = cursor.block_copy(None, Frontier::MIN).unwrap();
    let (_, fs) = mem_fs();
    let mut writer =
        SegmentWriter::create(&fs, Path::new(DIR), SegmentId(8), IDENTITY, large()).unwrap();
    writer.copy_block(&copy).unwrap();
    assert_eq!(writer.copy_block(&copy).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(
        writer.push(copy.last_key(), b"", &[(1, 1)]).unwrap_err().kind(),
        ErrorKind::Internal
    );
    writer.push(b"\xff", b"", &[(1, 1)]).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    assert_eq!(meta.updates, copy.updates() + 1);
}
