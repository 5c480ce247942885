//! Appending, rotation, recycling, failures while writing.

use super::*;
use crate::error::ErrorKind;
use crate::io::{CrashPlan, Fault, FaultOp, OpenMode};
use std::io;

#[test]
fn what_was_appended_comes_back_over_many_files_and_sessions() {
    let fs = new_fs();
    for session in 0..4 {
        let (mut writer, replayed, summary) = open_all(&fs);
        assert_eq!(
            replayed,
            expected(1..=session * 101, 1_001).into_iter().filter(no_close).collect::<Replayed>()
        );
        assert_eq!(summary.is_clean, session > 0);
        commit(&mut writer, 100, 1_001);
        writer.close().unwrap();
        assert_eq!(writer.append(&[]).unwrap_err().kind(), ErrorKind::Closed);
    }
    assert!(names(&fs).len() > 4, "{:?}", names(&fs));
}

/// Every session of a hundred commits ends with a close, which has a seqno too.
fn no_close((seqno, _): &(u64, Vec<u8>)) -> bool {
    seqno % 101 != 0
}

#[test]
fn an_empty_session_writes_nothing() {
    let fs = new_fs();
    let (mut writer, replayed, _) = open_all(&fs);
    assert!(replayed.is_empty());
    writer.write().unwrap();
    assert_eq!(writer.sync().unwrap(), SeqNo(0));
    writer.close().unwrap();
    assert!(names(&fs).is_empty());
}

#[test]
fn unsynced_frames_stay_in_the_buffer_until_it_is_full() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let bytes = payload(1, 500);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    let before = fs.counts().writes;
    for _ in 0..60 {
        writer.append(&[FrameIn::new(&bytes)]).unwrap();
    }
    assert_eq!(fs.counts().writes, before, "buffered");
    assert_eq!((writer.last_seqno(), writer.durable_seqno()), (SeqNo(61), SeqNo(0)));
    writer.write().unwrap();
    assert_eq!(fs.counts().writes, before + 1, "one write");
    assert_eq!(writer.durable_seqno(), SeqNo(0));
    writer.sync().unwrap();
    assert_eq!(writer.durable_seqno(), SeqNo(61));
    let syncs = fs.counts().syncs;
    writer.sync().unwrap();
    assert_eq!(fs.counts().syncs, syncs, "nothing to sync");
    assert_eq!(open_all(&fs.kill()).1.len(), 61);
}

#[test]
fn commits_longer_than_a_file_get_one_of_their_own_which_is_removed_later() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 1, 100);
    let long = payload(2, 700_001);
    writer.append(&[FrameIn::new(&long)]).unwrap();
    writer.sync().unwrap();
    commit(&mut writer, 1, 100);
    let (_, replayed, summary) = open_all(&fs.kill());
    assert_eq!(summary.files, 3);
    assert_eq!(replayed, [(1, payload(1, 100)), (2, long), (3, payload(3, 100))]);
    assert_eq!(names(&fs), ["wal-0001.log", "wal-0002.log", "wal-0003.log"]);
    writer.shared().release(SeqNo(2)).unwrap();
    assert_eq!(names(&fs), ["wal-0001.log", "wal-0003.log"]);
}

#[test]
fn released_files_are_used_again_and_their_old_frames_are_not_seen() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    for round in 1..=20 {
        commit(&mut writer, 60, 1_001);
        let flushed = writer.last_seqno().0 - 7;
        writer.shared().release(SeqNo(flushed)).unwrap();
        let (_, replayed, _) = open_at(&fs.kill(), flushed).unwrap();
        assert_eq!(replayed, expected(flushed + 1..=round * 60, 1_001));
    }
    assert!(names(&fs).len() <= 4, "{:?}", names(&fs));
    let stats = writer.shared().stats();
    assert!(stats.files <= 4 && stats.retained_bytes <= 3 * SMALL.file_len, "{stats:?}");
    assert_eq!((stats.last_seqno, stats.durable_seqno), (SeqNo(1200), SeqNo(1200)));
    assert!(stats.first_seqno > SeqNo(1000) && stats.syncs == 1200, "{stats:?}");
}

/// I3: a torn header of the only file must not look like a WAL that was lost.
#[test]
fn the_newest_file_is_not_recycled_before_there_is_a_newer_one() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 3, 100);
    let fs = fs.kill();
    let (mut writer, ..) = open_at(&fs, 3).unwrap();
    writer.shared().release(SeqNo(3)).unwrap();
    commit(&mut writer, 1, 100);
    assert_eq!(names(&fs), ["wal-0001.log", "wal-0002.log"]);
    writer.shared().release(SeqNo(3)).unwrap();
    assert_eq!(writer.shared().stats().spares, 1);
}

#[test]
fn a_spare_is_prepared_once_there_is_need_and_then_used() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    assert!(!writer.shared().prepare_spare().unwrap(), "nothing was written yet");
    commit(&mut writer, 1, 100);
    assert!(writer.shared().prepare_spare().unwrap());
    assert!(!writer.shared().prepare_spare().unwrap(), "one is enough");
    assert_eq!(fs.read_file(dir().join("wal-0002.log")).unwrap(), vec![0; SMALL.file_len as usize]);
    let creates = fs.counts().creates;
    commit(&mut writer, 100, 1_001);
    assert_eq!(fs.counts().creates, creates, "the spare is used");
    assert_eq!(frames(&fs, "wal-0002.log").0.file_len, SMALL.file_len);
    // A restart finds a prepared spare again.
    assert!(writer.shared().prepare_spare().unwrap());
    assert_eq!(open_all(&fs.kill()).0.shared().stats().spares, 1);
}

#[test]
fn frames_say_what_was_durable_and_padding_is_zero() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let (a, b) = (payload(1, 13), payload(2, 300_003));
    writer.append(&[FrameIn::new(&a), FrameIn::new(&b)]).unwrap();
    writer.sync().unwrap();
    writer.append(&[FrameIn::new(&a)]).unwrap();
    writer.close().unwrap();
    let (header, found) = frames(&fs, "wal-0001.log");
    assert_eq!((header.file_number, header.first_seqno), (1, SeqNo(1)));
    let durable: Vec<_> = found.iter().map(|f| (f.seqno.0, f.durable_seqno.0, f.kind)).collect();
    assert_eq!(durable, [(1, 0, 1), (2, 0, 1)]);
    let (header, found) = frames(&fs, "wal-0002.log");
    assert_eq!((header.file_number, header.first_seqno), (2, SeqNo(3)));
    let durable: Vec<_> = found.iter().map(|f| (f.seqno.0, f.durable_seqno.0, f.kind)).collect();
    assert_eq!(durable, [(3, 2, 1), (4, 2, 2)]);
}

/// The file's header is durable, and so is everything in earlier files, before its first frame.
#[test]
fn rotation_syncs_in_order() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    fs.start_trace();
    let bytes = payload(1, 40_000);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    writer.sync().unwrap();
    let trace: Vec<String> = fs
        .take_trace()
        .into_iter()
        .map(|(op, path)| format!("{op:?} {}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    let new_file = |slot: u32| {
        let name = format!("wal-{slot:04}.tmp");
        [
            format!("Create {name}"),
            format!("Write {name}"),
            format!("Sync {name}"),
            format!("Rename wal-{slot:04}.log"),
            "SyncDir db".to_owned(),
            format!("Write {name}"), // zeros ahead
        ]
    };
    let mut want = new_file(1).to_vec();
    want.extend(["Write wal-0001.tmp".to_owned(), "Sync wal-0001.tmp".to_owned()]);
    want.extend(new_file(2));
    want.extend(["Write wal-0002.tmp".to_owned(), "Sync wal-0002.tmp".to_owned()]);
    assert_eq!(trace, want);
}

#[test]
fn a_failed_sync_poisons_and_is_never_repeated() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 3, 100);
    fs.fail_nth(FaultOp::Sync, 1, io::ErrorKind::Other);
    let bytes = payload(4, 100);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    let first = writer.sync().unwrap_err();
    assert!(first.kind() == ErrorKind::Io && first.may_have_happened(), "{first}");
    let changes = (fs.counts().writes, fs.counts().syncs);
    for _ in 0..2 {
        assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(writer.append(&[FrameIn::new(&bytes)]).unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(writer.write().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(writer.close().unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!((fs.counts().writes, fs.counts().syncs), changes);
    assert_eq!(writer.durable_seqno(), SeqNo(3));
    assert!(writer.check().unwrap_err().to_string().contains("syncing"));
}

/// t10, the reason for it: after a failed sync the frames are visible but not durable, and a sync
/// of the file would not make them so.
#[test]
fn what_a_recovery_shows_after_a_failed_sync_survives_a_power_cut() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 3, 100);
    fs.fail_nth(FaultOp::Sync, 1, io::ErrorKind::Other);
    let bytes = payload(4, 100);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    writer.sync().unwrap_err();
    drop(writer);
    let (mut writer, replayed, _) = open_all(&fs);
    assert_eq!(replayed, expected(1..=4, 100));
    commit(&mut writer, 1, 100);
    let (_, replayed, _) = open_all(&fs.crash(CrashPlan::LoseUnsynced));
    assert_eq!(replayed, expected(1..=5, 100));
}

#[test]
fn a_failed_write_poisons() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 3, 100);
    let bytes = payload(4, 100);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    fs.fail_nth(FaultOp::Write, 1, io::ErrorKind::Other);
    let error = writer.sync().unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.may_have_happened(), "{error}");
    assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    let (_, replayed, _) = open_all(&fs.kill());
    assert_eq!(replayed, expected(1..=3, 100));
}

/// Goal: frames that did not fit the device have not happened, whatever of them is in the file, and
/// none of them comes back behind the frames that take their place. Method: each write of an append
/// fails in turn, while the buffer holds a frame from before; then, with space again, a frame of
/// exactly the length of the first lost one is written, and the power is cut.
#[test]
fn a_full_device_takes_an_append_back() {
    for (taken_back, n) in (1..).enumerate() {
        let fs = new_fs();
        let (mut writer, ..) = open_all(&fs);
        commit(&mut writer, 3, 100);
        let kept = payload(4, 100);
        writer.append(&[FrameIn::new(&kept)]).unwrap();
        let (long, short) = (vec![0xaa; 300_000], vec![0xbb; 5_000]);
        let lost = [&long, &short, &long].map(|bytes| FrameIn::new(bytes));
        fs.fail_nth(FaultOp::Write, n, io::ErrorKind::StorageFull);
        let logged = writer.append(&lost).and_then(|_| {
            let synced = writer.sync();
            writer.or_take_back(synced)
        });
        let Err(error) = logged else {
            assert!(taken_back >= 4, "{taken_back} of the first {n} writes were taken back");
            return;
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "write {n}");
        assert_eq!(writer.last_seqno(), SeqNo(4), "write {n}");
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll, CrashPlan::Random(n)] {
            let replayed = open_all(&fs.crash(plan)).1;
            let without_kept = expected(1..=3, 100);
            assert!(
                replayed == without_kept || replayed == expected(1..=4, 100),
                "write {n}, {plan:?}"
            );
        }
        let after = vec![0xcc; 300_000];
        writer.append(&[FrameIn::new(&after)]).unwrap();
        writer.sync().unwrap();
        let mut whole = expected(1..=4, 100);
        whole.push((5, after));
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll] {
            assert_eq!(open_all(&fs.crash(plan)).1, whole, "write {n}, {plan:?}");
        }
    }
}

#[test]
fn what_cannot_be_taken_back_poisons() {
    for op in [FaultOp::Write, FaultOp::Sync] {
        let fs = new_fs();
        let (mut writer, ..) = open_all(&fs);
        commit(&mut writer, 3, 100);
        let bytes = payload(4, 100);
        writer.append(&[FrameIn::new(&bytes)]).unwrap();
        fs.fail_nth(FaultOp::Write, 1, io::ErrorKind::StorageFull);
        let synced = writer.sync();
        fs.fail_nth(op, 1, io::ErrorKind::StorageFull);
        let error = writer.or_take_back(synced).unwrap_err();
        assert!(error.kind() == ErrorKind::Io && error.may_have_happened(), "{error}");
        assert_eq!(writer.sync().unwrap_err().kind(), ErrorKind::Poisoned);
        let replayed = open_all(&fs.kill()).1;
        assert!(replayed == expected(1..=3, 100) || replayed == expected(1..=4, 100));
    }
}

#[test]
fn a_close_on_a_full_device_makes_everything_durable_without_its_mark() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let bytes = payload(1, 60_000);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    writer.write().unwrap();
    // The mark needs another file.
    let bytes = payload(2, FILE_LEN_MIN as usize - 4096 - 60_000 - 2 * 48);
    writer.append(&[FrameIn::new(&bytes)]).unwrap();
    fs.inject(Fault::nth(FaultOp::Create, 1, io::ErrorKind::StorageFull).forever());
    writer.close().unwrap();
    assert_eq!(open_all(&fs.crash(CrashPlan::LoseUnsynced)).1.len(), 2);
}

/// Goal: a full device refuses commits and loses nothing, and they go on when there is space again.
/// Method: every operation of a rotation fails once and for good, then the device has space.
#[test]
fn a_full_device_is_no_poison() {
    for n in 1.. {
        let fs = new_fs();
        let (mut writer, ..) = open_all(&fs);
        commit(&mut writer, 1, 40_000);
        fs.inject(Fault::nth(FaultOp::Change, n, io::ErrorKind::StorageFull).on("wal-0002"));
        let bytes = payload(2, 40_000);
        let mut failed = 0;
        while let Err(e) = writer.append(&[FrameIn::new(&bytes)]) {
            assert_eq!(e.kind(), ErrorKind::NoSpace, "{n}");
            failed += 1;
            assert!(failed < 3);
        }
        if writer.sync().is_err() {
            // The frames themselves failed: that is poison.
            break;
        }
        assert_eq!(failed, 1, "{n}");
        commit(&mut writer, 3, 40_000);
        for plan in [CrashPlan::LoseUnsynced, CrashPlan::KeepAll] {
            let (_, replayed, _) = open_all(&fs.crash(plan));
            assert_eq!(replayed, expected(1..=5, 40_000), "{n}");
        }
        assert!(n < 9);
    }
}

#[test]
fn running_out_of_space_leaves_the_frames_whole() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    fs.set_capacity(Some(150_000));
    let mut count = 0;
    let error = loop {
        let bytes = payload(count + 1, 1_001);
        match writer.append(&[FrameIn::new(&bytes)]).and_then(|_| writer.sync()) {
            Ok(_) => count += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(count > 60);
    assert_eq!(open_all(&fs.kill()).1, expected(1..=count, 1_001));
    fs.set_capacity(None);
    commit(&mut writer, 100, 1_001);
    assert_eq!(open_all(&fs.kill()).1, expected(1..=count + 100, 1_001));
}

#[test]
fn a_commit_beyond_the_limit_is_refused() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let bytes = vec![0; crate::limits::COMMIT_LEN_MAX + 1];
    let frame = FrameIn { payload: &bytes, payload_crc: 0 };
    assert_eq!(writer.append(&[frame]).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(names(&fs).is_empty());
}

#[test]
fn odd_options_are_refused() {
    for file_len in [0, 4096, FILE_LEN_MIN + 1] {
        let options = WalOptions { file_len, ..SMALL };
        let fs = Arc::new(new_fs());
        let opened = open(fs, dir(), DATABASE, options, SeqNo(0), &mut |_| Ok(()));
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Invalid, "{file_len}");
    }
}

#[test]
fn an_error_of_the_visitor_ends_the_recovery_and_changes_nothing() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 3, 100);
    let fs = fs.kill();
    let before = fs.read_file(dir().join("wal-0001.log")).unwrap();
    let opened = open(Arc::new(fs.clone()), dir(), DATABASE, SMALL, SeqNo(0), &mut |frame| {
        assert_eq!(frame.payload_offset, 4096 + 40);
        Err(Error::corruption(frame.file, frame.payload_offset, "odd"))
    });
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(fs.read_file(dir().join("wal-0001.log")).unwrap(), before);
    assert_eq!(fs.counts().writes, 0);
    assert!(fs.open(&dir().join("wal-0001.log"), OpenMode::Read).is_ok());
}
