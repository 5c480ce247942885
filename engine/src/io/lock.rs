//! The lock file of a database: held by the system's file lock, with the holder's name as its content.
//!
//! # Crash behaviour
//! The system releases the lock of a process that ends in any way. The text stays behind and then
//! means nothing: whether the lock is held is only ever decided by trying to take it.

use super::Env;
use crate::error::{Error, Result};
use std::fmt;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;

/// More of a lock file is not read.
pub(super) const LOCK_TEXT_LEN_MAX: u64 = 4096;

/// Who holds a database: the content of its lock file, `pid=.. host=.. since=..`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockOwner {
    /// The process; 0 when unknown.
    pub pid: u32,
    /// The host that it runs on; empty when unknown.
    pub host: String,
    /// When it opened the database, in Unix seconds; 0 when unknown.
    pub since: u64,
}

impl LockOwner {
    /// This process, as of `since` (Unix seconds).
    #[must_use]
    pub fn this_process(since: u64) -> Self {
        let host = (super::os::BEST_CALLS.host)();
        let host = host.split_ascii_whitespace().next().unwrap_or_default().to_owned();
        Self { pid: std::process::id(), host, since }
    }

    /// Takes the lock file at `path` for this process; released by dropping.
    ///
    /// # Errors
    /// `Locked`, with who has it, when somebody has.
    pub fn take(env: &Env, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let owner = Self::this_process(env.clock.unix_seconds());
        match env.fs.lock(path, &owner.to_string()) {
            Ok(lock) => Ok(lock),
            Err(e) if e.kind() == IoErrorKind::WouldBlock => {
                let text = env.fs.read_lock(path).unwrap_or_default();
                let Self { pid, host, since } = Self::parse(&text);
                Err(Error::Locked { path: path.into(), pid, host, since })
            }
            Err(e) => Err(Error::io("locking", path, e)),
        }
    }

    /// Reads the content of a lock file. Never fails: what cannot be read stays unknown, because the
    /// text only serves an error message.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut owner = Self::default();
        for (name, value) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "pid" => owner.pid = value.parse().unwrap_or(0),
                "host" => owner.host = value.to_owned(),
                "since" => owner.since = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        owner
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pid={} host={} since={}", self.pid, self.host, self.since)
    }
}

/// A held lock file.
#[derive(Debug)]
pub(super) struct OsLock {
    file: std::fs::File,
}

impl OsLock {
    /// From a file whose lock was taken.
    pub(super) const fn new(file: std::fs::File) -> Self {
        Self { file }
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing releases it too, but not while a child that was forked meanwhile has a copy of
        // the descriptor. A failure leaves that case alone.
        let _ = self.file.unlock();
    }
}
