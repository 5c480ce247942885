//! [`Follower`]: opens a database without its lock, changes nothing in it, and follows the commits of
//! the process that writes it, if there is one.
//!
//! ```text
//! directory -> manifest -> segments -> log replayed -> readers see it
//!     ^------- the manifest or the log has moved on ------'
//! ```
//!
//! What the log has gained is read on from where reading ended; when the manifest has changed, what
//! it names is opened beside what is open already, and the log is replayed anew if anything but the
//! segments is different. Readers go on meanwhile, and see whole commits only.
//!
//! # Invariants
//! 1. What readers see is the state after a prefix of the writer's commits: of those that it has
//!    given to the operating system, whether or not they are durable yet.
//! 2. A refresh sees every commit with durability `Fsync` or `Buffer` that was acknowledged before
//!    it began.
//! 3. Nothing in the directory is created, changed, locked or removed. Files that the writer removes
//!    stay readable where they are open.

use crate::catalog::{Catalog, Frozen, MemSet};
use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::events::DbEvent;
use crate::io::{DirEntry, Env, JoinHandle};
use crate::leader::WriteState;
use crate::manifest::{DirectoryState, ManifestState, ReplaySummary, find, load};
use crate::segment::BlockCache;
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::types::CollectionId;
use crate::view::{OpenSegments, View, collections_of, open_segments, read_sets};
use crate::wal::{Followed, ReplayFrame, Tail};
use crate::watch::Parker;
use std::collections::BTreeSet;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often reading is begun anew when files are replaced while they are read; with the pauses this
/// is about two seconds.
const ATTEMPTS_MAX: u32 = 25;
/// The same for what looks like damage.
const DAMAGED_MAX: u32 = 6;
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Between two looks at the directory there are at least this and at most that, and in between ten
/// times as long as the last look has taken.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(200);

/// What follows a database.
#[derive(Debug)]
pub(crate) struct Follower {
    view: Arc<View>,
    following: Mutex<Following>,
    /// Woken when the thread is to stop.
    parker: Arc<Parker>,
}

/// How far a database was read.
#[derive(Debug)]
struct Following {
    manifest: ManifestState,
    /// Number and length of its file.
    read_from: (u64, u64),
    open: OpenSegments,
    state: WriteState,
    tail: Tail,
    /// Whether the tail can be read on.
    is_sound: bool,
    wal: WalFiles,
}

/// The files of the log.
#[derive(Clone, Copy, Debug, Default)]
struct WalFiles {
    count: u64,
    bytes: u64,
}

/// The collections that changed; `None` when nothing did.
type Moved = Option<BTreeSet<CollectionId>>;

/// A database that was read: how far, and its memtables that are full.
struct Read {
    following: Following,
    frozen: Vec<Arc<Frozen>>,
}

impl Follower {
    /// Opens the database in `dir`.
    pub(crate) fn open(env: Env, dir: &Path, options: Options) -> Result<Self> {
        if !env.fs.exists(dir).map_err(|e| Error::io("looking for", dir, e))? {
            return Err(Error::NotFound { what: format!("database at {}", dir.display()) });
        }
        let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
        let read = || read(&env, dir, &options, &cache, &OpenSegments::default());
        let Read { following, frozen } = persist(&env, dir, read)?;
        let catalog = following.catalog(frozen)?;
        let uuid = following.manifest.uuid();
        let view = Arc::new(View::new(env, dir, uuid, options, cache, catalog));
        let following = Mutex::new(following);
        Ok(Self { view, following, parker: Arc::default() })
    }

    /// What readers share.
    pub(crate) const fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Shows readers what the writer has done since; whether there was anything.
    ///
    /// # Errors
    /// What [`open`](Self::open) meets; readers still have what they had.
    pub(crate) fn refresh(&self) -> Result<bool> {
        self.view.check_open()?;
        let mut following = self.following.lock();
        let changed = persist(&self.view.env, &self.view.dir, || self.try_refresh(&mut following))?;
        drop(following);
        if let Some(changed) = &changed {
            // Whoever is woken may be foreign code: not under the lock.
            self.view.watch.changed(changed);
        }
        Ok(changed.is_some())
    }

    /// What has changed; `None` when the files have moved on meanwhile.
    fn try_refresh(&self, following: &mut Following) -> Result<Option<Moved>> {
        let View { env, dir, .. } = &*self.view;
        let entries = list(env, dir)?;
        let go_on = following.is_sound
            && (following.is_current(dir, &entries)? || self.take_segments(following)?);
        if go_on {
            let moved = self.read_on(following, &entries)?;
            if following.is_sound {
                return Ok(Some(moved));
            }
        }
        self.renew(following)
    }

    /// Shows readers what the log has gained; the collections that changed, `None` when it has gained
    /// nothing.
    fn read_on(&self, following: &mut Following, entries: &[DirEntry]) -> Result<Moved> {
        let View { env, dir, .. } = &*self.view;
        following.is_sound = false;
        let before = following.tail.last_seqno();
        let state = &mut following.state;
        let mut changed = BTreeSet::new();
        let mut visit = |frame: ReplayFrame<'_>| {
            state.replay_frame(&frame)?;
            if state.is_full() {
                // What is handed over stays readable: with the frontiers that it needs.
                changed.extend(self.view.publish(state));
                self.view.hand_over(state);
            }
            Ok(())
        };
        let followed = following.tail.read(&*env.fs, dir, entries, &mut visit)?;
        changed.extend(self.view.publish(&mut following.state));
        following.is_sound = followed == Followed::End;
        following.wal = WalFiles::of(entries);
        Ok((following.tail.last_seqno() != before).then_some(changed))
    }

    /// Takes over the segments that the manifest names now, when nothing else in it has changed:
    /// after a merge. Whether that was all.
    fn take_segments(&self, following: &mut Following) -> Result<bool> {
        let View { env, dir, cache, .. } = &*self.view;
        let (manifest, summary) = load(&*env.fs, dir)?;
        if !is_same_but_for_segments(&manifest, &following.manifest) {
            return Ok(false);
        }
        let open = open_segments(env, dir, &manifest, cache, &following.open)?;
        let reads = read_sets(&manifest, &following.state.collections, &open)?;
        let mut catalog = self.view.catalog.write();
        reads.into_iter().for_each(|(id, reads)| catalog.set_reads(id, reads));
        drop(catalog);
        following.read_from = (summary.number, summary.file_len);
        (following.manifest, following.open) = (manifest, open);
        Ok(true)
    }

    /// Reads what the manifest names now, and the log anew.
    fn renew(&self, following: &mut Following) -> Result<Option<Moved>> {
        let View { env, dir, options, cache, uuid, .. } = &*self.view;
        let Some(Read { following: fresh, frozen }) =
            read(env, dir, options, cache, &following.open)?
        else {
            return Ok(None);
        };
        if fresh.manifest.uuid() != *uuid {
            let what = "another database has taken the place of this one; open it anew";
            return Err(Error::corruption(dir, 0, what));
        }
        let catalog = fresh.catalog(frozen)?;
        let ids = |state: &WriteState| -> BTreeSet<CollectionId> {
            state.collections.iter().map(|collection| collection.description.id).collect()
        };
        let mut changed = ids(&following.state);
        changed.extend(ids(&fresh.state));
        *self.view.catalog.write() = catalog;
        *following = fresh;
        Ok(Some(Some(changed)))
    }

    /// Has the active memtable frozen, so that it holds whole commits only.
    pub(crate) fn freeze(&self) {
        let mut following = self.following.lock();
        if !following.state.is_clean() {
            self.view.hand_over(&mut following.state);
        }
    }

    /// Refreshes again and again in a thread, if the options ask for one.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Vec<Box<dyn JoinHandle>>> {
        if self.view.options.background_threads == 0 {
            return Ok(Vec::new());
        }
        let follower = Arc::clone(self);
        let thread =
            self.view.env.threads.spawn("datestone-follow", Box::new(move || follower.run()));
        let failed = |e| Error::io("starting a thread that follows", &self.view.dir, e);
        Ok(vec![thread.map_err(failed)?])
    }

    fn run(&self) {
        let clock = &self.view.env.clock;
        let mut wait = LOOK_MIN;
        while !self.parker.park(Some(wait)) {
            let start = clock.monotonic();
            let pause = match self.refresh() {
                Ok(true) => LOOK_MIN,
                Ok(false) => wait.saturating_mul(2),
                Err(Error::Closed) => return,
                Err(error) => {
                    self.view.tell(|| DbEvent::BackgroundError { error });
                    LOOK_MAX
                }
            };
            let took = clock.monotonic().saturating_sub(start);
            wait = pause.max(took.saturating_mul(10)).clamp(LOOK_MIN, LOOK_MAX);
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        std::task::Wake::wake(Arc::clone(&self.parker));
    }

    /// What it knows of sizes and positions.
    pub(crate) fn stats(&self, stats: &mut Stats) {
        let following = self.following.lock();
        stats.segments = following.open.len() as u64;
        stats.segment_bytes = following.open.values().map(|s| s.meta().file_len).sum();
        stats.flushed_seqno = following.manifest.flushed_seqno().0;
        stats.last_seqno = following.tail.last_seqno().0;
        (stats.wal_files, stats.wal_bytes) = (following.wal.count, following.wal.bytes);
    }
}

impl Following {
    /// What readers see.
    fn catalog(&self, frozen: Vec<Arc<Frozen>>) -> Result<Catalog> {
        let reads = read_sets(&self.manifest, &self.state.collections, &self.open)?;
        let mem = MemSet { active: Arc::clone(&self.state.active), frozen };
        Ok(Catalog::new(self.state.collections.clone(), reads, Arc::new(mem)))
    }

    /// Whether the manifest is the one that was read.
    fn is_current(&self, dir: &Path, entries: &[DirEntry]) -> Result<bool> {
        let DirectoryState::Database { number, .. } = find(dir, entries)? else { return Ok(false) };
        let name = crate::manifest::manifest_name(number);
        let len = entries.iter().find(|entry| entry.name == *name).map(|entry| entry.len);
        Ok(self.read_from.0 == number && len == Some(self.read_from.1))
    }
}

impl WalFiles {
    fn of(entries: &[DirEntry]) -> Self {
        let files = entries.iter().filter(|entry| {
            entry.is_file && Path::new(&entry.name).extension().is_some_and(|ext| ext == "log")
        });
        files.fold(Self::default(), |sum, file| Self {
            count: sum.count + 1,
            bytes: sum.bytes + file.len,
        })
    }
}

/// Reads the database in `dir`, of which the segments `known` are open; `None` when its files have
/// moved on meanwhile.
fn read(
    env: &Env,
    dir: &Path,
    options: &Options,
    cache: &Arc<BlockCache>,
    known: &OpenSegments,
) -> Result<Option<Read>> {
    let (manifest, summary) = load(&*env.fs, dir)?;
    let ReplaySummary { number, file_len, .. } = summary;
    let open = open_segments(env, dir, &manifest, cache, known)?;
    let flushed = manifest.flushed_seqno();
    let mut state = WriteState::new(collections_of(&manifest), flushed, options.memtable_bytes);
    let mut tail = Tail::new(manifest.uuid(), flushed);
    let mut frozen = Vec::new();
    let entries = list(env, dir)?;
    let followed = tail.read(&*env.fs, dir, &entries, &mut |frame| {
        state.replay_frame(&frame)?;
        if state.is_full() {
            frozen.push(state.freeze());
        }
        Ok(())
    })?;
    if followed == Followed::Lost {
        return Ok(None);
    }
    state.note_changes();
    let (read_from, wal) = ((number, file_len), WalFiles::of(&entries));
    let following = Following { manifest, read_from, open, state, tail, is_sound: true, wal };
    Ok(Some(Read { following, frozen }))
}

/// Whether only segments and counters differ.
fn is_same_but_for_segments(one: &ManifestState, other: &ManifestState) -> bool {
    let heads = |state: &ManifestState| {
        state.collections().values().map(|c| c.head.clone()).collect::<Vec<_>>()
    };
    one.uuid() == other.uuid()
        && one.flushed_seqno() == other.flushed_seqno()
        && one.clock() == other.clock()
        && heads(one) == heads(other)
}

/// Calls `work` until the files stand still while it reads them.
///
/// # Errors
/// The last error, when it is always the same trouble: then it is not the writer's doing.
fn persist<T>(env: &Env, dir: &Path, mut work: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let mut pause = Duration::from_millis(1);
    let mut last = None;
    for attempt in 0..ATTEMPTS_MAX {
        match work() {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(e) if attempt < attempts(&e) => last = Some(e),
            Err(e) => return Err(e),
        }
        env.clock.sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err(last.unwrap_or_else(|| {
        Error::corruption(dir, 0, "the log has not what comes after the flushed commits")
    }))
}

/// How often an error may come of files that are replaced while they are read.
fn attempts(error: &Error) -> u32 {
    match error {
        Error::Io { source, .. } => match source.kind() {
            IoErrorKind::NotFound | IoErrorKind::UnexpectedEof => ATTEMPTS_MAX,
            _ => 0,
        },
        other if other.kind() == ErrorKind::Corruption => DAMAGED_MAX,
        _ => 0,
    }
}

fn list(env: &Env, dir: &Path) -> Result<Vec<DirEntry>> {
    env.fs.list(dir).map_err(|e| Error::io("listing", dir, e))
}
