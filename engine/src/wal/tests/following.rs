//! What a [`Tail`] reads beside the writer: a prefix, each commit once, and that the files have moved
//! on when they have.

use super::*;
use crate::error::ErrorKind;
use crate::format::wal_frame::frame_len;

const LEN: usize = 100;

fn look(fs: &MemFs, tail: &mut Tail) -> Result<(Followed, Replayed)> {
    let entries = fs.list(dir()).unwrap();
    let mut replayed = Vec::new();
    let followed = tail.read(fs, dir(), &entries, &mut |frame| {
        replayed.push((frame.seqno.0, frame.payload.to_vec()));
        Ok(())
    })?;
    Ok((followed, replayed))
}

/// Looks, and must find exactly these commits.
fn finds(fs: &MemFs, tail: &mut Tail, seqnos: std::ops::RangeInclusive<u64>) {
    let (followed, replayed) = look(fs, tail).unwrap();
    assert_eq!(followed, Followed::End);
    assert_eq!(replayed, expected(seqnos, LEN));
}

fn is_lost(fs: &MemFs, tail: &mut Tail) {
    assert_eq!(look(fs, tail).unwrap().0, Followed::Lost);
}

fn tail(flushed: u64) -> Tail {
    Tail::new(DATABASE, SeqNo(flushed))
}

#[expect(clippy::reversed_empty_ranges, reason = "nothing is expected")]
const NOTHING: std::ops::RangeInclusive<u64> = 1..=0;

#[test]
fn each_commit_is_read_once_over_many_files() {
    let fs = new_fs();
    let mut early = tail(0);
    finds(&fs, &mut early, NOTHING);
    let (mut writer, ..) = open_all(&fs);
    finds(&fs, &mut early, NOTHING);
    let (mut seen, files) = (0, 5);
    while names(&fs).len() < files {
        commit(&mut writer, 37, LEN);
        let last = writer.last_seqno().0;
        finds(&fs, &mut early, seen + 1..=last);
        finds(&fs, &mut early, NOTHING);
        seen = last;
    }
    finds(&fs, &mut tail(0), 1..=seen);
    finds(&fs, &mut tail(seen - 3), seen - 2..=seen);
    finds(&fs, &mut tail(seen), NOTHING);
    // The mark of a clean shutdown is no commit, and what comes behind it is read on.
    writer.close().unwrap();
    finds(&fs, &mut early, NOTHING);
    let (mut writer, _, summary) = open_all(&fs);
    commit(&mut writer, 2, LEN);
    let first = summary.last_seqno.0 + 1;
    finds(&fs, &mut early, first..=first + 1);
}

#[test]
fn what_is_written_is_read_before_it_is_durable() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let mut reader = tail(0);
    writer.append(&[FrameIn::new(&payload(1, LEN))]).unwrap();
    finds(&fs, &mut reader, NOTHING);
    writer.write().unwrap();
    finds(&fs, &mut reader, 1..=1);
}

#[test]
fn recycled_files_are_lost() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    let mut slow = tail(0);
    commit(&mut writer, 1, LEN);
    finds(&fs, &mut slow, 1..=1);
    while names(&fs).len() < 3 {
        commit(&mut writer, 1, LEN);
    }
    let flushed = writer.last_seqno();
    writer.shared().release(flushed).unwrap();
    commit(&mut writer, 2_000, LEN);
    is_lost(&fs, &mut slow);
    is_lost(&fs, &mut tail(0));
    finds(&fs, &mut tail(flushed.0), flushed.0 + 1..=flushed.0 + 2_000);
}

#[test]
fn a_commit_that_was_taken_back_is_lost() {
    for other_len in [LEN, 2 * LEN] {
        let fs = new_fs();
        let (mut writer, ..) = open_all(&fs);
        commit(&mut writer, 1, LEN);
        let mut reader = tail(0);
        writer.append(&[FrameIn::new(&payload(2, LEN))]).unwrap();
        writer.write().unwrap();
        finds(&fs, &mut reader, 1..=2);
        let full = Error::NoSpace { what: "syncing", path: dir().into() };
        writer.or_take_back::<()>(Err(full)).unwrap_err();
        let mut idle = tail(0);
        finds(&fs, &mut idle, 1..=1);
        is_lost(&fs, &mut reader);
        // Written again, and something else.
        let mut again = tail(0);
        finds(&fs, &mut again, 1..=1);
        let other = payload(7, other_len);
        writer.append(&[FrameIn::new(&other)]).unwrap();
        writer.write().unwrap();
        assert_eq!(look(&fs, &mut again).unwrap().1, [(2, other)]);
    }
}

#[test]
fn damage_is_told_from_the_end() {
    let fs = new_fs();
    let (mut writer, ..) = open_all(&fs);
    commit(&mut writer, 5, LEN);
    writer.append(&[FrameIn::new(&payload(6, LEN))]).unwrap();
    writer.write().unwrap();
    let frame = frame_len(LEN);
    // The last frame, of which nobody says that it was durable, is the end for now.
    let torn = fs.kill();
    torn.flip_bits(dir().join("wal-0001.log"), FRAMES_START + 5 * frame + 50, 1).unwrap();
    finds(&torn, &mut tail(0), 1..=5);
    // One that a later frame calls durable is damage, wherever reading begins.
    let damaged = fs.kill();
    damaged.flip_bits(dir().join("wal-0001.log"), FRAMES_START + 3 * frame + 50, 1).unwrap();
    for flushed in 0..4 {
        let error = look(&damaged, &mut tail(flushed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let at = format!("offset {}", FRAMES_START + 3 * frame);
        assert!(error.to_string().contains(&at), "{error}");
    }
    // The log of another database is no log of this one.
    let error = look(&fs, &mut Tail::new(1, SeqNo(0))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
}
