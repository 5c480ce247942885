//! What the system tells about this process and the disk.

use crate::Result;
use rustix::fs::{StatFs, statfs};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What file systems in memory say that they are.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Refuses a directory in memory, where a sync costs nothing.
pub(crate) fn require_disk(dir: &Path) -> Result<()> {
    let StatFs { f_type, .. } = statfs(dir)?;
    if IN_MEMORY.contains(&f_type) {
        return Err(format!("{} is in memory: --dir must be on a disk", dir.display()).into());
    }
    Ok(())
}

/// Bytes that the files of a directory take on the disk, those of its directories included.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.blocks() * 512,
            // Removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// A number of `/proc/self/status` in bytes.
fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}

/// Most memory that this process had, mapped files included.
pub(crate) fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Memory that this process has beside mapped files.
pub(crate) fn anonymous() -> u64 {
    status("RssAnon:")
}

/// Bytes that this process has had written to the device, or will have.
pub(crate) fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Ticks of 10 ms that this process has computed, all threads together.
fn ticks() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum()
}

/// Waits until little goes on in the background: less than 20 ms of computing and 1 MiB of writes in
/// half a second, twice. The same for every engine, as not all of them can tell. Some have threads
/// that never rest, so patience ends.
pub(crate) fn wait_until_idle() {
    const WINDOW: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(30);
    let start = Instant::now();
    let mut quiet = 0;
    let mut before = (ticks(), written());
    while quiet < 2 && start.elapsed() < PATIENCE {
        std::thread::sleep(WINDOW);
        let now = (ticks(), written());
        quiet = if now.0 <= before.0 + 1 && now.1 <= before.1 + (1 << 20) { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Runs `job` and tells the most memory beside mapped files that the process had meanwhile, less
/// what it had before.
pub(crate) fn with_peak<T>(job: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let before = anonymous();
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(before));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let result = job();
        peak.fetch_max(anonymous(), Ordering::Relaxed);
        done.store(true, Ordering::Relaxed);
        result
    });
    Ok((result?, peak.into_inner().saturating_sub(before)))
}
