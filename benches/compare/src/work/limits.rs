//! What the machine itself can do: figures to hold all others against. No engine has a part in it.

use super::{Race, emit, timed};
use crate::Result;
use crate::data;
use crate::figure::{Better, Figure};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;

/// Bytes that no cache holds.
const LARGE: usize = 256 << 20;
/// Bytes that are compressed and summed.
const PIECE: usize = 64 << 20;
/// How often each is tried; the best counts, as these are limits.
const TRIES: usize = 3;

/// All limits.
pub(super) fn run(race: &Race) -> Result<()> {
    let rate = |name: &str, bytes: usize, job: &mut dyn FnMut() -> Result<()>| -> Result<Figure> {
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            best = best.min(timed(&mut *job)?.0);
        }
        Ok(race.figure(name, bytes as f64 / best, "bytes/s", Better::Higher))
    };
    let from = vec![1_u8; LARGE];
    let mut to = vec![2_u8; LARGE];
    emit(rate("memory copy", LARGE, &mut || {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        Ok(())
    })?)?;
    emit(rate("memory read, 1 thread", LARGE, &mut || {
        black_box(sum(&from));
        Ok(())
    })?)?;
    emit(rate("memory read, 2 threads", LARGE, &mut || {
        let (left, right) = from.split_at(LARGE / 2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| sum(right));
            black_box(sum(left));
            black_box(other.join().map_err(|_| "a reading thread panicked")?);
            Ok(())
        })
    })?)?;
    drop((from, to));

    let rows: Vec<u8> = (0..).flat_map(|index| data::val(index, 0)).take(PIECE).collect();
    emit(rate("CRC-32", PIECE, &mut || {
        black_box(crc32fast::hash(&rows));
        Ok(())
    })?)?;
    let mut packed = Vec::new();
    emit(rate("zstd 1, in", PIECE, &mut || {
        packed = zstd::bulk::compress(&rows, 1)?;
        Ok(())
    })?)?;
    emit(rate("zstd 1, out", PIECE, &mut || {
        black_box(zstd::bulk::decompress(&packed, PIECE)?);
        Ok(())
    })?)?;
    let path = race.dir().join("raw");
    emit(rate("sequential write, synced", LARGE, &mut || {
        let mut file = File::create(&path)?;
        for piece in rows.chunks(1 << 20).cycle().take(LARGE >> 20) {
            file.write_all(piece)?;
        }
        Ok(file.sync_data()?)
    })?)?;
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; PIECE], 0)?;
    file.sync_data()?;
    let count = 10_000;
    let (seconds, ()) = timed(|| {
        for step in 0..count {
            file.write_all_at(&[0xab; 256], step * 256)?;
            file.sync_data()?;
        }
        Ok(())
    })?;
    emit(race.rate("fdatasync of a file of zeros", count, seconds, "syncs/s"))
}

/// A sum of all words, so that all are read.
fn sum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum ^ u64::from_le_bytes(*word))
}
