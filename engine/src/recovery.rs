//! Recovery: from a directory to an open database.
//!
//! ```text
//! directory -> lock -> manifest -> segments -> log replayed -> orphans removed -> ready
//! ```
//!
//! Idempotent: a crash at any point of it leaves what the next attempt needs. ARCHITECTURE.md has
//! the tables of what is found and what is done. Time and memory are bounded by the log that was
//! not flushed, not by the data: segments are mapped, not read.

use crate::catalog::{Catalog, Frozen, MemSet, ReadSet};
use crate::collection::{Collection, Collections, Description};
use crate::config::Options;
use crate::error::{Error, Result};
use crate::install::{Installer, Shared};
use crate::io::{Env, LockOwner};
use crate::leader::{ApplyError, WriteState};
use crate::manifest::{DirectoryState, ManifestLog, ManifestState, find};
use crate::segment::{BlockCache, Segment, SegmentIdentity, parse_segment_file_name};
use crate::stats::Counters;
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, RwLock};
use crate::types::{CollectionId, Kind, SegmentId};
use crate::wal::{self, WalOptions, WalShared, WalWriter};
use std::collections::HashMap;
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
    let lock = take_lock(&env, dir)?;
    let log = open_manifest(&env, dir, &options)?;
    let uuid = log.state().uuid();
    let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
    let open = open_segments(&env, dir, log.state(), &cache)?;

    let collections = Collections::restore(log.state().collections().values().map(|known| {
        let head = &known.head;
        Collection {
            description: Description {
                id: head.id,
                name: head.name.as_str().into(),
                meta: head.meta.as_slice().into(),
                kind: head.kind,
            },
            since: head.since,
            upper: head.upper,
        }
    }));
    let flushed = log.state().flushed_seqno();
    let collections = collections.at_clock(log.state().clock());
    let mut state = WriteState::new(collections, flushed, options.memtable_bytes);
    let mut frozen: Vec<Arc<Frozen>> = Vec::new();
    let wal_options = WalOptions { file_len: options.wal_file_bytes, ..WalOptions::default() };
    let fs = Arc::clone(&env.fs);
    let (wal, _summary) = wal::open(fs, dir, uuid, wal_options, flushed, &mut |frame| {
        state.replay(frame.seqno, frame.payload).map_err(|e| match e {
            ApplyError::Format(e) => e.in_file(frame.file, frame.payload_offset),
            ApplyError::State(e) => {
                Error::corruption(frame.file, frame.payload_offset, e.to_string())
            }
        })?;
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
    let installer = Installer { log, open };
    let mut reads: HashMap<CollectionId, Arc<ReadSet>> = HashMap::new();
    for (id, known) in installer.log.state().collections() {
        if state.collections.get(*id).is_some() {
            reads.insert(*id, Arc::new(installer.read_set(&known.runs)?));
        }
    }
    let mem = MemSet { active: Arc::clone(&state.active), frozen };
    let catalog = Catalog::new(state.collections.clone(), reads, Arc::new(mem));
    let shared = Shared {
        env,
        dir: dir.into(),
        uuid,
        options,
        cache,
        counters: Counters::default(),
        next_segment: AtomicU64::new(next_segment),
        next_collection: AtomicU64::new(next_collection),
        installer: Mutex::new(installer),
        catalog: RwLock::new(catalog),
        holds: Arc::default(),
        watch: Arc::default(),
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

/// Takes the lock of the database in `dir`.
pub(crate) fn take_lock(env: &Env, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = dir.join(LOCK);
    let owner = LockOwner::this_process(env.clock.unix_seconds());
    match env.fs.lock(&path, &owner.to_string()) {
        Ok(lock) => Ok(lock),
        Err(e) if e.kind() == IoErrorKind::WouldBlock => {
            let text = env.fs.read_lock(&path).unwrap_or_default();
            let owner = LockOwner::parse(&text);
            Err(Error::Locked { path, pid: owner.pid, host: owner.host, since: owner.since })
        }
        Err(e) => Err(Error::io("locking", &path, e)),
    }
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

fn open_segments(
    env: &Env,
    dir: &Path,
    state: &ManifestState,
    cache: &Arc<BlockCache>,
) -> Result<HashMap<SegmentId, Arc<Segment>>> {
    state
        .live_segments()
        .map(|(collection, meta)| {
            let kind = state.collections().get(&collection).map_or(Kind::Multiset, |c| c.head.kind);
            let identity = SegmentIdentity { db_uuid: state.uuid(), collection, kind };
            let segment = Segment::open(&env.fs, dir, meta, identity, cache)?;
            Ok((meta.id, segment))
        })
        .collect()
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
