//! One test for each row of the table of decisions in [`super::recovery`].

use super::*;
use crate::error::ErrorKind;
use crate::format::wal_frame::frame_len;
use crate::io::CrashPlan;

const FIRST: &str = "wal-0001.log";
const SECOND: &str = "wal-0002.log";
const LEN: usize = 100;
/// Bytes of a frame in these tests.
const FRAME: u64 = frame_len(LEN);

/// A WAL with `count` synced commits in one file.
fn one_file(count: u64) -> MemFs {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, count, LEN);
    fs.kill()
}

/// Commits 1 and 2 in the first file, 3 and 4 in the second.
fn two_files() -> MemFs {
    let fs = one_file(2);
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 2, LEN);
    assert_eq!(frames(&fs, SECOND).0.first_seqno, SeqNo(3));
    fs.kill()
}

/// Commits 1 and 2 synced, 3 to 5 only written.
fn unsynced_tail() -> MemFs {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 2, LEN);
    for seqno in 3..=5 {
        writer.append(&[FrameIn::new(&payload(seqno, LEN))]).unwrap();
    }
    writer.write().unwrap();
    fs.kill()
}

/// Where the `index`th frame of a file starts.
fn place(index: u64) -> u64 {
    FRAMES_START + index * FRAME
}

fn edit(fs: &MemFs, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir().join(name);
    let mut bytes = fs.read_file(&path).unwrap();
    change(&mut bytes);
    fs.put_file(&path, &bytes).unwrap();
}

/// Overwrites a file's header, with a good checksum.
fn edit_header(fs: &MemFs, name: &str, change: impl FnOnce(&mut FileHeader)) {
    let (mut header, _) = frames(fs, name);
    change(&mut header);
    edit(fs, name, |bytes| bytes[..4096].copy_from_slice(&header.encode()));
}

/// Overwrites the `index`th frame's header, with a good checksum.
fn edit_frame(fs: &MemFs, name: &str, index: usize, change: impl FnOnce(&mut FrameHeader)) {
    let (header, mut frames) = frames(fs, name);
    change(&mut frames[index]);
    let at = place(index as u64) as usize;
    let encoded = frames[index].encode(header.salt());
    edit(fs, name, |bytes| bytes[at..at + 40].copy_from_slice(&encoded));
}

fn zero(fs: &MemFs, name: &str, range: std::ops::Range<u64>) {
    edit(fs, name, |bytes| bytes[range.start as usize..range.end as usize].fill(0));
}

/// The recovery must fail as corruption of `name` at `offset`, with `what` in its message, twice.
fn assert_corrupt(fs: &MemFs, flushed: u64, name: &str, offset: u64, what: &str) {
    for _ in 0..2 {
        let error = open_at(fs, flushed).map(|opened| opened.1).unwrap_err();
        let text = error.to_string();
        let Error::Corruption { file, offset: at, .. } = error else {
            panic!("not corruption: {text}");
        };
        assert_eq!((file.as_ref(), at), (dir().join(name).as_path(), offset), "{text}");
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn h1_a_temporary_file_is_removed() {
    let fs = two_files();
    fs.put_file(dir().join("wal-0007.tmp"), b"whatever").unwrap();
    assert_eq!(open_all(&fs).1, expected(1..=4, LEN));
    assert_eq!(names(&fs), [FIRST, SECOND]);
}

#[test]
fn h2_a_file_of_zeros_is_a_spare() {
    let fs = two_files();
    fs.put_file(dir().join("wal-0003.log"), &vec![0; SMALL.file_len as usize]).unwrap();
    let (writer, replayed, _) = open_all(&fs);
    assert_eq!(replayed, expected(1..=4, LEN));
    assert_eq!(writer.shared().stats().spares, 1);
}

#[test]
fn h3_a_torn_header_is_a_spare() {
    // The header of a fresh use, torn, over frames of an earlier use.
    let fs = two_files();
    let (old, _) = frames(&fs, FIRST);
    assert_eq!(old.file_number, 1);
    let fresh = FileHeader { file_number: 3, first_seqno: SeqNo(5), ..old };
    edit(&fs, FIRST, |bytes| bytes[..50].copy_from_slice(&fresh.encode()[..50]));
    let (mut writer, replayed, _) = open_at(&fs, 2).unwrap();
    assert_eq!(replayed, expected(3..=4, LEN));
    assert_eq!(writer.shared().stats().spares, 1);
    commit(&mut writer, 1, LEN);
    assert_eq!(frames(&fs, FIRST).0.file_number, 3);
    assert_eq!(open_at(&fs.kill(), 2).unwrap().1, expected(3..=5, LEN));
}

#[test]
fn h4_a_lost_header_before_needed_frames_is_corruption() {
    for lost in [SECOND, FIRST] {
        let fs = two_files();
        fs.flip_bits(dir().join(lost), 20, 1).unwrap();
        let holds = if lost == SECOND { "holds commit #3" } else { "holds commit #1" };
        // With the last header gone, a number beyond those seen is tried; with the first one gone,
        // nothing says that numbers begin before the second one's, but its first seqno does.
        if lost == SECOND {
            assert_corrupt(&fs, 0, lost, 0, holds);
            zero(&fs, lost, 0..4096);
            assert_corrupt(&fs, 0, lost, 0, holds);
            assert_eq!(open_at(&fs, 4).unwrap().1, []);
        } else {
            assert_corrupt(&fs, 0, SECOND, 40, "commit #1 is missing");
            assert_eq!(open_at(&fs, 2).unwrap().1, expected(3..=4, LEN));
        }
    }
    // The only header there is.
    let fs = one_file(3);
    zero(&fs, FIRST, 0..64);
    assert_corrupt(&fs, 0, FIRST, 0, "holds commit #1");
}

#[test]
fn h5_a_newer_format_version_is_refused() {
    let fs = one_file(1);
    edit(&fs, FIRST, |bytes| {
        bytes[8] = 9;
        let crc = crate::format::crc32(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    let error = open_at(&fs, 0).map(|opened| opened.1).unwrap_err();
    assert!(matches!(error, Error::FormatTooNew { found: 9, max: 1, .. }), "{error}");
}

#[test]
fn h6_a_file_of_another_database_is_refused() {
    let fs = one_file(1);
    edit_header(&fs, FIRST, |header| header.database += 1);
    assert_corrupt(&fs, 0, FIRST, 16, "another database");
}

#[test]
fn h7_a_number_seen_twice_is_corruption() {
    let fs = two_files();
    let copy = fs.read_file(dir().join(SECOND)).unwrap();
    fs.put_file(dir().join("wal-0003.log"), &copy).unwrap();
    assert_corrupt(&fs, 0, "wal-0003.log", 32, "file number 2");
}

#[test]
fn h8_a_first_seqno_that_goes_back_is_corruption() {
    let fs = two_files();
    edit_header(&fs, FIRST, |header| header.first_seqno = SeqNo(9));
    assert_corrupt(&fs, 0, SECOND, 40, "first seqno #3 after an earlier file's #9");
}

#[test]
fn h9_a_needed_file_that_was_cut_short_is_corruption() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 1, 2_000);
    writer.shared().prepare_spare().unwrap();
    commit(&mut writer, 1, 61_000);
    let fs = fs.kill();
    assert_eq!(frames(&fs, SECOND).0.first_seqno, SeqNo(2));
    let (header, _) = frames(&fs, SECOND);
    assert_eq!(header.file_len, SMALL.file_len);
    // Behind the last frame, so that nothing else notices.
    edit(&fs, SECOND, |bytes| bytes.truncate(FRAMES_START as usize + 61_040));
    let len = FRAMES_START + 61_040;
    assert_corrupt(&fs, 0, SECOND, len, "bytes left of a file of 65536");
}

#[test]
fn h10_flushed_commits_without_any_header_are_corruption() {
    let fs = new_fs();
    let error = open_at(&fs, 1).map(|opened| opened.1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("no WAL file with a header"), "{error}");
    let (_, replayed, summary) = open_all(&fs);
    assert_eq!((replayed.len(), summary.files), (0, 0));
}

#[test]
fn h11_commits_missing_before_the_first_file_are_corruption() {
    let fs = two_files();
    fs.remove_file(&dir().join(FIRST)).unwrap();
    assert_corrupt(&fs, 1, SECOND, 40, "commit #2 is missing");
    assert_eq!(open_at(&fs, 2).unwrap().1, expected(3..=4, LEN));
    assert_eq!(open_at(&fs, 3).unwrap().1, expected(4..=4, LEN));
}

#[test]
fn h12_a_flushed_file_is_not_read() {
    let fs = two_files();
    edit(&fs, FIRST, |bytes| bytes[4096..].fill(0xff));
    let (writer, replayed, summary) = open_at(&fs, 2).unwrap();
    assert_eq!((replayed, summary.files), (expected(3..=4, LEN), 1));
    assert_eq!(writer.shared().stats().spares, 1);
}

#[test]
fn t1_what_is_left_behind_a_cut_is_ignored_when_the_next_file_goes_on_there() {
    let fs = unsynced_tail();
    // 3 is lost, 4 and 5 are there but were never synced; the recovery cuts at 3.
    zero(&fs, FIRST, place(2)..place(3));
    let (mut writer, replayed, summary) = open_all(&fs);
    assert_eq!(replayed, expected(1..=2, LEN));
    assert!(summary.torn.is_some());
    commit(&mut writer, 2, LEN);
    let (_, replayed, summary) = open_all(&fs.crash(CrashPlan::LoseUnsynced));
    assert_eq!(replayed, expected(1..=4, LEN));
    assert_eq!((summary.torn, summary.files), (None, 2));
}

#[test]
fn t2_frames_missing_before_the_next_file_are_corruption() {
    let fs = two_files();
    zero(&fs, FIRST, place(1)..place(2));
    assert_corrupt(
        &fs,
        0,
        FIRST,
        place(1),
        "no frame after #1, but /db/wal-0002.log goes on with #3",
    );
    // A whole file missing in the middle.
    let fs = two_files();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 1, LEN);
    let fs = fs.kill();
    fs.remove_file(&dir().join(SECOND)).unwrap();
    assert_corrupt(&fs, 0, FIRST, place(2), "goes on with #5");
}

#[test]
fn t3_a_hole_in_what_was_synced_is_corruption() {
    for damage in 0..3 {
        let fs = one_file(5);
        match damage {
            0 => zero(&fs, FIRST, place(2)..place(3)),
            1 => fs.flip_bits(dir().join(FIRST), place(2) + 50, 4).unwrap(),
            // The later frames' payloads need not be good to be evidence.
            _ => edit(&fs, FIRST, |bytes| {
                bytes[place(2) as usize] ^= 1;
                bytes[place(3) as usize + 45] ^= 1;
                bytes[place(4) as usize + 45] ^= 1;
            }),
        }
        assert_corrupt(&fs, 0, FIRST, place(2), "no frame after #2, but the one at 4528 knew #3");
    }
}

#[test]
fn t4_a_torn_payload_at_the_tail_is_cut() {
    let fs = one_file(5);
    fs.flip_bits(dir().join(FIRST), place(4) + 139, 4).unwrap();
    let (mut writer, replayed, summary) = open_all(&fs);
    assert_eq!(replayed, expected(1..=4, LEN));
    let torn = TornTail { file: dir().join(FIRST), offset: place(4) };
    assert_eq!(summary.torn, Some(torn));
    assert_eq!(summary.last_seqno, SeqNo(4));
    commit(&mut writer, 1, LEN);
    assert_eq!(open_all(&fs.kill()).1, expected(1..=5, LEN));
    // Bytes behind the payload count as well.
    let fs = one_file(5);
    fs.flip_bits(dir().join(FIRST), place(4) + 141, 4).unwrap();
    assert_eq!(open_all(&fs).1, expected(1..=4, LEN));
    // A frame that reaches beyond the file.
    let fs = one_file(5);
    edit(&fs, FIRST, |bytes| bytes.truncate(place(5) as usize - 5));
    assert_eq!(open_all(&fs).1, expected(1..=4, LEN));
}

#[test]
fn t5_unsynced_frames_behind_a_lost_one_are_cut() {
    let fs = unsynced_tail();
    zero(&fs, FIRST, place(2)..place(3));
    let (_, replayed, summary) = open_all(&fs);
    assert_eq!(replayed, expected(1..=2, LEN));
    assert_eq!(summary.torn, Some(TornTail { file: dir().join(FIRST), offset: place(2) }));
}

#[test]
fn t6_nothing_behind_the_last_frame_is_the_end() {
    let fs = one_file(3);
    let (_, replayed, summary) = open_all(&fs);
    assert_eq!((replayed, summary.torn), (expected(1..=3, LEN), None));
    assert!(!summary.is_clean);
    // Junk that is no frame of this use, such as those of an earlier use.
    edit(&fs, FIRST, |bytes| bytes[place(3) as usize..].fill(0x55));
    assert_eq!(open_all(&fs).2.torn, None);
}

#[test]
fn t7_a_good_frame_out_of_order_is_corruption() {
    let fs = one_file(3);
    edit_frame(&fs, FIRST, 2, |frame| frame.seqno = SeqNo(4));
    assert_corrupt(&fs, 0, FIRST, place(2), "seqno #4 where #3 belongs");
}

#[test]
fn t8_a_good_frame_of_an_unknown_kind_is_corruption() {
    for kind in [3, 255, crate::format::wal_frame::WAL_FRAME_CLOSE] {
        let fs = one_file(3);
        edit_frame(&fs, FIRST, 2, |frame| frame.kind = kind);
        assert_corrupt(&fs, 0, FIRST, place(2), &format!("kind {kind} with 100 bytes"));
    }
}

#[test]
fn t9_a_frame_that_claims_to_be_durable_itself_is_corruption() {
    let fs = one_file(3);
    edit_frame(&fs, FIRST, 2, |frame| frame.durable_seqno = SeqNo(3));
    assert_corrupt(&fs, 0, FIRST, place(2), "claims that #3 was durable");
}

#[test]
fn t10_frames_that_nobody_calls_durable_are_made_so_before_they_are_shown() {
    let fs = unsynced_tail();
    let (_, replayed, _) = open_all(&fs);
    assert_eq!(replayed, expected(1..=5, LEN));
    assert_eq!(fs.counts().writes, 1, "the frames 3 to 5 at once");
    let fs = fs.crash(CrashPlan::LoseUnsynced);
    assert_eq!(open_all(&fs).1, expected(1..=5, LEN));
    // What is flushed need not be durable here.
    let fs = unsynced_tail();
    assert_eq!(open_at(&fs, 5).unwrap().1, []);
    assert_eq!(fs.counts().writes, 0);
}

/// Goal: damage of any one byte gives all commits, all but the very last, or an error that names the
/// file; never a wrong commit. Method: every byte in use of two files is changed, one at a time.
#[test]
fn any_damaged_byte_is_noticed_or_does_not_matter() {
    let fs = two_files();
    for name in [FIRST, SECOND] {
        let path = dir().join(name);
        for offset in (0..80).chain(FRAMES_START - 8..place(2) + 48) {
            fs.flip_bits(&path, offset, 1 << (offset % 8)).unwrap();
            match open_at(&fs, 0) {
                Ok((_, replayed, _)) => {
                    assert!(expected(1..=4, LEN).starts_with(&replayed), "{name} {offset}");
                    assert!(replayed.len() >= 3, "{name} {offset}");
                    let is_last_frame = name == SECOND && offset >= place(1);
                    assert!(replayed.len() == 4 || is_last_frame, "{name} {offset}");
                }
                Err(Error::Corruption { file, .. }) => {
                    assert!(file.starts_with(dir()), "{name} {offset}");
                }
                Err(e) => panic!("{name} {offset}: {e}"),
            }
            fs.flip_bits(&path, offset, 1 << (offset % 8)).unwrap();
        }
    }
    assert_eq!(open_all(&fs).1, expected(1..=4, LEN));
}

/// Goal: hostile files give an error or commits, without panic. Method: headers and frame headers
/// with good checksums and arbitrary fields.
#[test]
fn well_formed_nonsense_never_panics() {
    let words = [0, 1, 2, 3, 39, 4096, 1 << 16, 1 << 31, (1 << 32) - 1, (1 << 62) - 1, u64::MAX];
    for first in words {
        for word in words {
            let fs = two_files();
            edit_header(&fs, SECOND, |header| {
                header.first_seqno = SeqNo(first);
                header.file_number = word;
            });
            let _ = open_at(&fs, 0);
            let _ = open_at(&fs, word);
            let fs = two_files();
            edit_frame(&fs, SECOND, 1, |frame| {
                frame.seqno = SeqNo(first);
                frame.durable_seqno = SeqNo(word);
                frame.payload_len = (first ^ word) as u32;
            });
            let _ = open_at(&fs, 0);
            let fs = two_files();
            edit_frame(&fs, FIRST, 1, |frame| frame.durable_seqno = SeqNo(word));
            edit_header(&fs, FIRST, |header| header.file_len = first);
            let _ = open_at(&fs, 1);
        }
    }
}
