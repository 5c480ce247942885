//! A file system in memory for tests: it keeps what was written apart from what would survive a power
//! cut, and fails on demand.
//!
//! # Invariants
//! 1. A file's content and length are durable as of its last successful [`File::sync`], a directory's
//!    names as of its last successful [`Fs::sync_dir`], nothing else; a file whose name is not durable
//!    is gone after a power cut however often it was synced.
//! 2. Within a directory a rename is atomic: after a power cut it has happened or it has not. Between
//!    directories it is two changes, each durable with its own directory.
//! 3. [`MemFs::crash`] and [`MemFs::kill`] leave the old instance as it is; its handles and locks act
//!    on it alone and never on the new one.
//!
//! # Crash behaviour
//! See [`CrashPlan`]. For a power cut between any two operations, let every change from the n-th on
//! fail (`fail_from(FaultOp::Change, n, ..)`), run until the code under test gives up, and crash.

mod directory;
mod fault;
mod file;
mod image;

#[cfg(test)]
mod tests;

pub use fault::{Fault, FaultOp, OpCounts};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use self::directory::{Directory, Entry, Node, map_names};
use self::fault::Watch;
use self::file::{MemFile, MemLock};
use self::image::Image;
use super::clock::{Chance, ManualClock};
use super::os::not_a_regular_file;
use super::{DirEntry, File, Fs, OpenMode};
use crate::sync::Mutex;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPlan {
    /// Nothing.
    LoseUnsynced,
    /// Everything.
    KeepAll,
    /// Whatever the seed says: any subset of the changes of names; of each file any subset of its
    /// unsynced 512-byte sectors, each as of a moment of its own, and a length of a third moment.
    Random(u64),
}

/// A file system in memory. Clones are handles of the same one.
///
/// The directories `/` and `.` exist; other relative and absolute paths are kept apart.
#[derive(Clone)]
pub struct MemFs {
    state: Arc<Mutex<State>>,
    clock: ManualClock,
}

#[derive(Default)]
struct State {
    /// By normalised path. Directories are never removed nor renamed.
    dirs: BTreeMap<PathBuf, Directory>,
    locked: BTreeSet<PathBuf>,
    watch: Watch,
    /// How many bytes all files together may have.
    capacity: Option<u64>,
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemFs")
    }
}

impl MemFs {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(0)
    }

    /// An empty file system whose clock's chance ([`super::Clock::random_u64`]) follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let roots = ["", "/"].map(|root| (root.into(), Directory::default()));
        Self::from_dirs(roots.into(), ManualClock::new(seed))
    }

    fn from_dirs(dirs: BTreeMap<PathBuf, Directory>, clock: ManualClock) -> Self {
        let state = State { dirs, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), clock }
    }

    /// The clock of this file system and of all that come out of it by a crash or a kill.
    #[must_use]
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The file system after a power cut now. No locks, counters or faults are carried over.
    #[must_use]
    pub fn crash(&self, plan: CrashPlan) -> Self {
        let mut chance = Chance::new(if let CrashPlan::Random(seed) = plan { seed } else { 0 });
        let state = self.state.lock();
        let mut dirs = BTreeMap::new();
        let mut copies = HashMap::new();
        // A directory sorts behind its parent, so that the parent's fate is known.
        for (path, dir) in &state.dirs {
            if !survived(path, &dirs) {
                continue;
            }
            let names = dir.crash(plan, &mut chance);
            let names = map_names(
                &names,
                &mut copy_node(&mut copies, |image| Image::synced(image.crash(plan, &mut chance))),
            );
            dirs.insert(path.clone(), Directory::synced(names));
        }
        Self::from_dirs(dirs, self.clock.clone())
    }

    /// The file system after the process was killed now: everything written is visible, what was not
    /// synced may still fall to a later [`MemFs::crash`]. No locks, counters or faults are carried
    /// over.
    #[must_use]
    pub fn kill(&self) -> Self {
        let state = self.state.lock();
        let mut copies = HashMap::new();
        let mut copy = copy_node(&mut copies, Image::clone);
        let dirs = state.dirs.iter();
        let dirs = dirs.map(|(path, dir)| (path.clone(), dir.map_nodes(&mut copy))).collect();
        Self::from_dirs(dirs, self.clock.clone())
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> OpCounts {
        self.state.lock().watch.counts
    }

    /// Lets an operation fail.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().watch.faults.push(fault);
    }

    /// Fails the `n`-th operation `op` from now on, once; 1 is the next one.
    pub fn fail_nth(&self, op: FaultOp, n: u64, kind: io::ErrorKind) {
        self.inject(Fault::nth(op, n, kind));
    }

    /// Fails the `n`-th operation `op` from now on and every one after it; 1 is the next one.
    pub fn fail_from(&self, op: FaultOp, n: u64, kind: io::ErrorKind) {
        self.inject(Fault::nth(op, n, kind).forever());
    }

    /// Lets everything succeed again.
    pub fn clear_faults(&self) {
        self.state.lock().watch.faults.clear();
    }

    /// Limits the length of all files together, as a device does; [`Fs::free_bytes`] tells the rest.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.state.lock().capacity = capacity;
    }

    /// Starts recording operations anew.
    pub fn start_trace(&self) {
        self.state.lock().watch.trace = Some(Vec::new());
    }

    /// Ends recording, and returns the operations since [`MemFs::start_trace`] in order with the path
    /// that each acted on (of a rename: the new name). Failed ones are included.
    #[must_use]
    pub fn take_trace(&self) -> Vec<(FaultOp, PathBuf)> {
        self.state.lock().watch.trace.take().unwrap_or_default()
    }

    /// The whole content of a file, neither counted nor failed.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let node = self.state.lock().file(&normalised(path.as_ref())?)?;
        let image = node.lock();
        Ok(image.live().to_vec())
    }

    /// Makes `content` the content of a file, which is created if need be; content and name are
    /// durable at once, and open handles see it. For damage that a test does; neither counted nor failed.
    ///
    /// # Errors
    /// When the directory does not exist, or the name is one of a directory.
    pub fn put_file(&self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        let path = normalised(path.as_ref())?;
        let mut state = self.state.lock();
        let node = match state.file(&path) {
            Ok(node) => node,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let node = Node::default();
                let (dir, name) = state.place(&path)?;
                dir.put_durable(name, Entry::File(node.clone()));
                node
            }
            Err(e) => return Err(e),
        };
        *node.lock() = Image::synced(content.to_vec());
        Ok(())
    }

    /// Flips the bits of `mask` in the byte at `offset` of a file, durably, as a failing disk does.
    ///
    /// # Errors
    /// When there is no such file or byte.
    pub fn flip_bits(&self, path: impl AsRef<Path>, offset: u64, mask: u8) -> io::Result<()> {
        let node = self.state.lock().file(&normalised(path.as_ref())?)?;
        let flipped = node.lock().flip_bits(offset, mask);
        if flipped { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Whether a directory is there after a crash: a root, or named by a parent that is there.
fn survived(path: &Path, dirs: &BTreeMap<PathBuf, Directory>) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
    dirs.get(parent).is_some_and(|dir| dir.get(name).is_some())
}

/// Copies nodes, each once: names of the same file go on naming the same file.
fn copy_node<'a>(
    copies: &'a mut HashMap<*const Mutex<Image>, Node>,
    mut copy: impl FnMut(&Image) -> Image + 'a,
) -> impl FnMut(&Node) -> Node + 'a {
    move |node| {
        let copied = copies.entry(Arc::as_ptr(node));
        copied.or_insert_with(|| Arc::new(Mutex::new(copy(&node.lock())))).clone()
    }
}

/// The path as the state's maps have it.
fn normalised(path: &Path) -> io::Result<PathBuf> {
    let mut normalised = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "'..' is not supported"));
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                normalised.push(component);
            }
        }
    }
    Ok(normalised)
}

impl State {
    fn dir(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The directory of `path`, and its name there.
    fn place(&mut self, path: &Path) -> io::Result<(&mut Directory, OsString)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((self.dir(parent)?, name.to_owned()))
    }

    fn entry(&mut self, path: &Path) -> io::Result<Option<Entry>> {
        let (dir, name) = self.place(path)?;
        Ok(dir.get(&name).cloned())
    }

    fn file(&mut self, path: &Path) -> io::Result<Node> {
        match self.entry(path)? {
            Some(Entry::File(node)) => Ok(node),
            Some(Entry::Dir) => Err(not_a_regular_file()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<Node> {
        let (dir, name) = self.place(path)?;
        if dir.get(&name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = Node::default();
        dir.link(name, Entry::File(node.clone()));
        Ok(node)
    }

    /// How many bytes may still be added; `None` without a limit.
    fn free_bytes(&self) -> Option<u64> {
        let capacity = self.capacity?;
        let entries = self.dirs.values().flat_map(|dir| dir.names().values());
        let used: u64 = entries.map(Entry::len).sum();
        Some(capacity.saturating_sub(used))
    }
}

impl Fs for MemFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::CreateDir, &path)?;
        if state.dirs.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (parent, name) = state.place(&path)?;
        if parent.get(&name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        parent.link(name, Entry::Dir);
        state.dirs.insert(path, Directory::default());
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        let node = if mode == OpenMode::CreateNew {
            state.watch.before(FaultOp::Create, &path)?;
            state.create(&path)?
        } else {
            state.watch.before(FaultOp::Open, &path)?;
            state.file(&path)?
        };
        drop(state);
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(MemFile { state: self.state.clone(), node, path, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normalised(from)?, normalised(to)?);
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Rename, &to)?;
        let node = state.file(&from)?;
        if matches!(state.entry(&to)?, Some(Entry::Dir)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from == to {
            return Ok(());
        }
        let (_, to_name) = state.place(&to)?;
        let same_dir = from.parent() == to.parent();
        let (from_dir, from_name) = state.place(&from)?;
        if same_dir {
            from_dir.rename(from_name, to_name, node);
        } else {
            from_dir.unlink(from_name);
            state.place(&to)?.0.link(to_name, Entry::File(node));
        }
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normalised(from)?, normalised(to)?);
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Link, &to)?;
        let node = state.file(&from)?;
        if state.entry(&to)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = state.place(&to)?;
        dir.link(name, Entry::File(node));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Remove, &path)?;
        state.file(&path)?;
        let (dir, name) = state.place(&path)?;
        dir.unlink(name);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let path = normalised(dir)?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::List, &path)?;
        let names = state.dir(&path)?.names().iter();
        let entries = names.map(|(name, entry)| DirEntry {
            name: name.clone(),
            len: entry.len(),
            is_file: matches!(entry, Entry::File(_)),
        });
        Ok(entries.collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let path = normalised(dir)?;
        let mut state = self.state.lock();
        let outcome = state.watch.before(FaultOp::SyncDir, &path);
        let dir = state.dir(&path)?;
        match outcome {
            Ok(()) => dir.sync(),
            Err(_) => dir.fail_sync(),
        }
        outcome
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        if state.dirs.contains_key(&path) {
            return Ok(true);
        }
        match state.entry(&path) {
            Ok(entry) => Ok(entry.is_some()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn map(&self, path: &Path) -> io::Result<bytes::Bytes> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Map, &path)?;
        let node = state.file(&path)?;
        let image = node.lock();
        Ok(bytes::Bytes::copy_from_slice(image.live()))
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Send + Sync>> {
        let path = normalised(path)?;
        let mut state = self.state.lock();
        state.watch.before(FaultOp::Lock, &path)?;
        if state.locked.contains(&path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let node = match state.file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => state.create(&path)?,
            found => found?,
        };
        let mut image = node.lock();
        image.set_len(0)?;
        image.write_at(owner.as_bytes(), 0)?;
        state.locked.insert(path.clone());
        Ok(Box::new(MemLock { state: self.state.clone(), path }))
    }

    fn read_lock(&self, path: &Path) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read_file(path)?).into_owned())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(self.state.lock().free_bytes())
    }
}
