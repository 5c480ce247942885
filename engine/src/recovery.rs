//! Recovery: from a directory to an open database.
//!
//! ```text
//! directory -> lock -> manifest -> segments -> log replayed -> orphans removed -> ready
//! ```
//!
//! Idempotent: a crash at any point of it leaves what the next attempt needs. ARCHITECTURE.md has
//! the tables of what is found and what is done. Time and memory are bounded by the log that was
//! not flushed, not by the data: segments are mapped, not read.

use crate::catalog::{Catalog, Frozen, MemSet};
use crate::config::Options;
use crate::error::{Error, Result};
use crate::install::{Installer, Shared};
use crate::io::{Env, LockOwner};
use crate::leader::WriteState;
use crate::manifest::{DirectoryState, ManifestLog, ManifestState, find};
use crate::segment::{BlockCache, parse_segment_file_name};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::view::{OpenSegments, View, collections_of, open_segments, read_sets};
use crate::wal::{self, WalOptions, WalShared, WalWriter};
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Name of the lock file.
pub(crate) const LOCK: &str = "LOCK";

/// The parts of a database that is ready.
pub(crate) struct Recovered {
    pub(crate) shared: Shared,
    pub(crate) state: WriteState,
    pub(crate) wal: WalWriter,
    pub(crate) wal_shared: Arc<WalShared>,
    pub(crate) lock: Box<dyn Send + Sync>,
}

/// Opens or creates the database in `dir`.
pub(crate) fn recover(env: Env, dir: &Path, options: Options) -> Result<Recovered> {
    require_dir(&env, dir, &options)?;
    let lock = LockOwner::take(&env, &dir.join(LOCK))?;
    let log = open_manifest(&env, dir, &options)?;
    let uuid = log.state().uuid();
    let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
    let open = open_segments(&env, dir, log.state(), &cache, &OpenSegments::default())?;
    let collections = collections_of(log.state());
    let flushed = log.state().flushed_seqno();
    let mut state = WriteState::new(collections, flushed, options.memtable_bytes);
    let mut frozen: Vec<Arc<Frozen>> = Vec::new();
    let wal_options = WalOptions { file_len: options.wal_file_bytes, ..WalOptions::default() };
    let fs = Arc::clone(&env.fs);
    let (wal, _summary) = wal::open(fs, dir, uuid, wal_options, flushed, &mut |frame| {
        state.replay_frame(&frame)?;
        if state.is_full() {
            frozen.push(state.freeze());
        }
        Ok(())
    })?;

    let wal_shared = Arc::clone(wal.shared());
    // Last, when log and manifest were seen to fit together: nothing is removed on the word of a
    // damaged one.
    remove_orphans(&env, dir, log.state())?;
    let next_collection =
        log.state().next_collection().0.max(state.collections.last_id().map_or(1, |id| id.0 + 1));
    let next_segment = log.state().next_segment().0;
    let reads = read_sets(log.state(), &state.collections, &open)?;
    let mem = MemSet { active: Arc::clone(&state.active), frozen };
    let catalog = Catalog::new(state.collections.clone(), reads, Arc::new(mem));
    let view = Arc::new(View::new(env, dir, uuid, options, cache, catalog));
    let shared = Shared {
        view,
        next_segment: AtomicU64::new(next_segment),
        next_collection: AtomicU64::new(next_collection),
        installer: Mutex::new(Installer { log, open, retired: Vec::new() }),
    };
    Ok(Recovered { shared, state, wal, wal_shared, lock })
}

/// Makes sure that the directory is there, and durably so.
fn require_dir(env: &Env, dir: &Path, options: &Options) -> Result<()> {
    let exists = |path: &Path| env.fs.exists(path).map_err(|e| Error::io("looking for", path, e));
    if exists(dir)? {
        return Ok(());
    }
    if !options.create_if_missing {
        return Err(Error::NotFound { what: format!("database at {}", dir.display()) });
    }
    // The missing ancestors, outermost first; each is durable in its parent before the next.
    let mut missing = vec![dir];
    while let Some(parent) = missing.last().and_then(|path| path.parent())
        && !parent.as_os_str().is_empty()
        && !exists(parent)?
    {
        missing.push(parent);
    }
    for path in missing.into_iter().rev() {
        match env.fs.create_dir(path) {
            Err(e) if e.kind() != IoErrorKind::AlreadyExists => {
                return Err(Error::io("creating directory", path, e));
            }
            _ => {}
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        env.fs.sync_dir(parent).map_err(|e| Error::io("syncing directory", parent, e))?;
    }
    Ok(())
}

fn open_manifest(env: &Env, dir: &Path, options: &Options) -> Result<ManifestLog> {
    let entries = list(env, dir)?;
    let fs = Arc::clone(&env.fs);
    match find(dir, &entries)? {
        DirectoryState::Database { .. } => Ok(ManifestLog::open(fs, dir)?.0),
        DirectoryState::New if !options.create_if_missing => {
            Err(Error::NotFound { what: format!("database at {}", dir.display()) })
        }
        DirectoryState::New => {
            let uuid =
                u128::from(env.clock.random_u64()) << 64 | u128::from(env.clock.random_u64());
            ManifestLog::create(fs, dir, uuid)
        }
    }
}

fn list(env: &Env, dir: &Path) -> Result<Vec<crate::io::DirEntry>> {
    env.fs.list(dir).map_err(|e| Error::io("listing directory", dir, e))
}

/// Removes segments that no manifest names: a flush or merge was cut off, or replaced them.
fn remove_orphans(env: &Env, dir: &Path, state: &ManifestState) -> Result<()> {
    for entry in list(env, dir)? {
        let name = entry.name.to_string_lossy();
        let orphan = parse_segment_file_name(&name).is_some_and(|id| !state.has_segment(id));
        if orphan && entry.is_file {
            let path = dir.join(&entry.name);
            env.fs.remove_file(&path).map_err(|e| Error::io("removing orphan", &path, e))?;
        }
    }
    Ok(())
}
