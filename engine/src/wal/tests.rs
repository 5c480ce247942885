//! The WAL on a file system in memory: what is written comes back, whatever happens in between.

// loom's locks work in its models only.
#![cfg(not(datestone_loom))]

mod crash;
mod decisions;
mod following;
mod writing;

use super::*;
use crate::format::wal_frame::{FileHeader, FrameHeader, WAL_FRAME_HEADER_LEN};
use crate::io::{Fs, MemFs};
use crate::types::SeqNo;
use std::path::Path;
use std::sync::Arc;

const DATABASE: u128 = 0xda7e_570e;
const SMALL: WalOptions = WalOptions { file_len: 64 << 10, spares_max: 2, spare_after_bytes: 0 };

/// What a recovery handed over.
type Replayed = Vec<(u64, Vec<u8>)>;

fn dir() -> &'static Path {
    Path::new("/db")
}

/// A file system with the database's directory, durable.
fn new_fs() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(dir()).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn open_at(fs: &MemFs, flushed: u64) -> Result<(WalWriter, Replayed, ReplaySummary)> {
    let mut replayed = Vec::new();
    let (writer, summary) =
        open(Arc::new(fs.clone()), dir(), DATABASE, SMALL, SeqNo(flushed), &mut |frame| {
            replayed.push((frame.seqno.0, frame.payload.to_vec()));
            Ok(())
        })?;
    assert_eq!(summary.frames as usize, replayed.len());
    Ok((writer, replayed, summary))
}

/// Opens with nothing flushed, which must succeed.
fn open_all(fs: &MemFs) -> (WalWriter, Replayed, ReplaySummary) {
    open_at(fs, 0).unwrap()
}

/// A payload that names its seqno, of a length that is no multiple of the alignment.
fn payload(seqno: u64, len: usize) -> Vec<u8> {
    let mut out = format!("commit {seqno} ").into_bytes();
    out.resize(len.max(out.len()), seqno as u8);
    out
}

/// Appends `count` commits of `len` bytes and syncs after each.
fn commit(writer: &mut WalWriter, count: u64, len: usize) {
    for _ in 0..count {
        let bytes = payload(writer.last_seqno().0 + 1, len);
        writer.append(&[FrameIn::new(&bytes)]).unwrap();
        writer.sync().unwrap();
    }
}

fn expected(seqnos: std::ops::RangeInclusive<u64>, len: usize) -> Replayed {
    seqnos.map(|seqno| (seqno, payload(seqno, len))).collect()
}

/// The headers of the frames of a file, read without the code under test's reader.
fn frames(fs: &MemFs, name: &str) -> (FileHeader, Vec<FrameHeader>) {
    let bytes = fs.read_file(dir().join(name)).unwrap();
    let crate::format::wal_frame::FileState::InUse(header) = FileHeader::decode(&bytes[..4096])
    else {
        panic!("{name} has no header");
    };
    let (mut found, mut at) = (Vec::new(), 4096);
    while let Some(frame) = bytes
        .get(at..at + WAL_FRAME_HEADER_LEN)
        .and_then(|bytes| FrameHeader::decode(bytes, header.salt(), at as u64))
    {
        at += frame.frame_len() as usize;
        found.push(frame);
    }
    (header, found)
}

fn names(fs: &MemFs) -> Vec<String> {
    let mut names: Vec<String> = fs
        .list(dir())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect();
    names.sort();
    names
}
