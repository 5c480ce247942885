//! What the machine itself can do, measured in the same run: figures to hold others against.

use crate::Result;
use crate::stopwatch::{Stopwatch, timed};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// About what one small commit writes, in bytes.
pub const SMALL_WRITE_LEN: usize = 256;
/// About what a commit of 1,000 rows writes, in bytes.
pub const BATCH_WRITE_LEN: usize = 140_000;
/// Length of the file that [`Syncs`] writes, the same as a WAL file.
const SYNC_FILE_LEN: u64 = 64 << 20;

/// The raw loop: a write that follows the one before, then `fdatasync`, on a file that is filled
/// with zeros and synced before.
#[derive(Debug)]
pub struct Syncs {
    file: File,
    offset: u64,
    piece: Vec<u8>,
}

impl Syncs {
    /// Makes the file, for writes of `write_len` bytes.
    pub fn new(dir: &Path, write_len: usize) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(dir.join("raw-fdatasync"))?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..SYNC_FILE_LEN).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        sync(&file)?;
        Ok(Self { file, offset: 0, piece: vec![0xab; write_len] })
    }

    /// One write and one sync.
    pub fn step(&mut self) -> Result<()> {
        let len = self.piece.len() as u64;
        if self.offset + len > SYNC_FILE_LEN {
            self.offset = 0;
        }
        self.file.write_all_at(&self.piece, self.offset)?;
        self.offset += len;
        sync(&self.file)
    }

    /// Syncs a second, over `count` of them.
    pub fn rate(&mut self, count: u64) -> Result<f64> {
        let watch = Stopwatch::start();
        for _ in 0..count {
            self.step()?;
        }
        Ok(count as f64 / watch.seconds())
    }
}

/// `fdatasync`.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the device itself")]
pub fn sync(file: &File) -> Result<()> {
    Ok(file.sync_data()?)
}

/// Bytes a second of copying memory that no cache holds, read and write counted once.
#[must_use]
pub fn copy_rate() -> f64 {
    const LEN: usize = 256 << 20;
    let from = vec![1_u8; LEN];
    let mut to = vec![2_u8; LEN];
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let (seconds, ()) = timed(|| to.copy_from_slice(std::hint::black_box(&from)));
        std::hint::black_box(&to);
        best = best.min(seconds);
    }
    LEN as f64 / best
}

/// Bytes a second of writing a new file of `len` bytes in pieces of 1 MiB, and syncing it.
pub fn file_write_rate(dir: &Path, len: u64) -> Result<f64> {
    let path = dir.join("raw-write");
    let piece: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    let watch = Stopwatch::start();
    let mut file = File::create(&path)?;
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        file.write_all(&piece[..now])?;
        left -= now as u64;
    }
    sync(&file)?;
    let seconds = watch.seconds();
    drop(file);
    remove(&path)?;
    Ok(len as f64 / seconds)
}

/// Removes a file.
#[expect(clippy::disallowed_methods, reason = "a file of the benchmark's own")]
pub fn remove(path: &Path) -> Result<()> {
    Ok(std::fs::remove_file(path)?)
}

/// Copies the files of `from` into the new directory `to`, and syncs them so that what is measured
/// next does not wait for them.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        std::fs::copy(entry.path(), &target)?;
        sync(&File::open(&target)?)?;
    }
    Ok(())
}

/// Seconds of processor time that this process has used so far, all threads together. What a busy
/// machine does to wall-clock times it does not do to these.
pub fn cpu_seconds() -> Result<f64> {
    /// Of the clock that the file counts in; the same on every Linux machine.
    const TICKS_PER_SECOND: f64 = 100.0;
    let mut stat = String::new();
    File::open("/proc/self/stat")?.read_to_string(&mut stat)?;
    // The name of the program, in parentheses, may have spaces; time in user and kernel mode are
    // the 12th and 13th field behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Bytes that this process has in memory beyond mapped files.
pub fn anonymous_bytes() -> Result<u64> {
    let mut status = String::new();
    File::open("/proc/self/status")?.read_to_string(&mut status)?;
    let kilobytes = |field: &str| -> u64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0)
    };
    Ok((kilobytes("RssAnon:") + kilobytes("RssShmem:")) << 10)
}
