//! A disk as it may look after a power cut: what is durable, what is not yet, and what becomes of the
//! latter. It shares no code with the crash model of [`MemFs`].
//!
//! # Invariants
//! 1. `pending` has, in order, every change that no sync has made durable under the [`Model`].
//! 2. [`Disk::image`] changes nothing: any number of images are made of one disk.

use super::record::{FileNo, Op};
use datestone_engine::io::{Fs, MemFs};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// What a file system promises of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A change of a directory is durable after a sync of that directory, not before; until then any
    /// subset of the changes may have happened. What POSIX promises.
    Strict,
    /// Changes of directories happen in order, as through a journal, and the sync of a file takes along
    /// everything up to the last name that it was given.
    Relaxed,
}

/// A change that is not durable.
#[derive(Clone, Debug)]
pub enum Change {
    /// Bytes.
    Write(FileNo, usize, Arc<[u8]>),
    /// A length.
    SetLen(FileNo, usize),
    /// A name, of a file or (without a number) of a directory.
    Link(Arc<Path>, Option<FileNo>),
    /// A name less.
    Unlink(Arc<Path>),
    /// Another name within a directory.
    Rename(Arc<Path>, Arc<Path>, FileNo),
}

/// What becomes of a change. Of other changes than writes, anything but `Drop` keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never happened.
    Drop,
    /// It happened.
    Keep,
    /// The first bytes of a write, and no more length than they need.
    Head(usize),
    /// The first bytes of a write; the rest is there as zeros.
    LongHead(usize),
    /// What comes behind so many bytes of a write.
    Tail(usize),
    /// Some of the 512-byte sectors of a write, as chance has it.
    Sectors(u64),
    /// The length without the data.
    Zeros,
    /// The length, and behind the old end whatever was on the disk.
    Junk(u64),
    /// The length, and behind the old end what another file has at the same place.
    Stale(FileNo),
}

/// What has a name in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file's content. Two names of one file have equal contents and go their own ways later; only
    /// files that are never written again get second names.
    File(Arc<Vec<u8>>),
}

/// A whole file system at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Everything below the root.
    pub nodes: BTreeMap<Arc<Path>, Node>,
}

impl Image {
    /// A hash over all names and contents.
    #[must_use]
    pub fn hash(&self) -> u128 {
        let mut hash = Xxh3::new();
        for (path, node) in &self.nodes {
            let name = path.as_os_str().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name);
            match node {
                Node::Dir => hash.update(&u64::MAX.to_le_bytes()),
                Node::File(content) => {
                    hash.update(&(content.len() as u64).to_le_bytes());
                    hash.update(content);
                }
            }
        }
        hash.digest128()
    }

    /// The same as a file system in memory.
    ///
    /// # Errors
    /// None, if parents sort before what they hold.
    pub fn materialise(&self, seed: u64) -> io::Result<MemFs> {
        let fs = MemFs::seeded(seed);
        for (path, node) in &self.nodes {
            match node {
                Node::Dir => fs.create_dir(path)?,
                Node::File(content) => fs.put_file(path, content)?,
            }
        }
        Ok(fs)
    }
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    model: Model,
    /// Durable contents.
    files: Vec<Arc<Vec<u8>>>,
    /// Durable names.
    names: BTreeMap<Arc<Path>, Option<FileNo>>,
    /// What is not durable (I1).
    pub pending: Vec<Change>,
}

impl Disk {
    /// A disk that holds `image`, durably.
    #[must_use]
    pub fn new(model: Model, image: &Image) -> Self {
        let (mut files, mut names) = (Vec::new(), BTreeMap::new());
        for (path, node) in &image.nodes {
            let number = match node {
                Node::Dir => None,
                Node::File(content) => {
                    files.push(Arc::clone(content));
                    Some(files.len() - 1)
                }
            };
            names.insert(Arc::clone(path), number);
        }
        Self { model, files, names, pending: Vec::new() }
    }

    /// Takes an operation. Marks are nothing to a disk.
    pub fn take(&mut self, op: &Op) {
        match op {
            Op::CreateDir(path) => self.pending.push(Change::Link(path.as_path().into(), None)),
            Op::Create(path, file) => {
                self.files.resize_with(self.files.len().max(file + 1), Arc::default);
                self.pending.push(Change::Link(path.as_path().into(), Some(*file)));
            }
            Op::Link(path, file) => {
                self.pending.push(Change::Link(path.as_path().into(), Some(*file)));
            }
            Op::Write(file, offset, data) => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                self.pending.push(Change::Write(*file, offset, Arc::clone(data)));
            }
            Op::SetLen(file, len) => {
                let len = usize::try_from(*len).unwrap_or(usize::MAX);
                self.pending.push(Change::SetLen(*file, len));
            }
            Op::Rename(from, to, file) => {
                let (from, to) = (Arc::from(from.as_path()), Arc::from(to.as_path()));
                if Path::parent(&from) == Path::parent(&to) {
                    self.pending.push(Change::Rename(from, to, *file));
                } else {
                    self.pending.extend([Change::Link(to, Some(*file)), Change::Unlink(from)]);
                }
            }
            Op::Remove(path) => self.pending.push(Change::Unlink(path.as_path().into())),
            Op::SyncFile(file) => self.sync_file(*file),
            Op::SyncDir(dir) => self.sync_dir(dir),
            Op::Begun(_)
            | Op::Acknowledged(_)
            | Op::Opened(_)
            | Op::ProbeBegun(_)
            | Op::Probed(_) => {}
        }
    }

    fn sync_file(&mut self, file: FileNo) {
        if self.model == Model::Relaxed {
            let named = self.pending.iter().rposition(|change| change.names(file));
            self.sync_where(|index, change| named.is_some_and(|n| index <= n) && change.is_name());
        }
        self.sync_where(|_, change| change.content_of() == Some(file));
    }

    fn sync_dir(&mut self, dir: &Path) {
        let last = self.pending.iter().rposition(|change| change.dir() == Some(dir));
        let strict = self.model == Model::Strict;
        self.sync_where(|index, change| {
            let is_reached = last.is_some_and(|last| index <= last);
            if strict { change.dir() == Some(dir) } else { is_reached && change.is_name() }
        });
    }

    fn sync_where(&mut self, durable: impl Fn(usize, &Change) -> bool) {
        let mut kept = Vec::new();
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if durable(index, &change) {
                change.apply(Fate::Keep, &mut self.files, &mut self.names);
            } else {
                kept.push(change);
            }
        }
        self.pending = kept;
    }

    /// The fates as the model allows them: under [`Model::Relaxed`] no change of a directory outlives
    /// an earlier one.
    pub fn legalise(&self, fates: &mut [Fate]) {
        if self.model == Model::Relaxed {
            let mut lost = false;
            for (fate, _) in fates.iter_mut().zip(&self.pending).filter(|(_, c)| c.is_name()) {
                lost |= *fate == Fate::Drop;
                if lost {
                    *fate = Fate::Drop;
                }
            }
        }
    }

    /// The disk after a power cut, with a fate for each pending change.
    #[must_use]
    pub fn image(&self, fates: &[Fate]) -> Image {
        let (mut files, mut names) = (self.files.clone(), self.names.clone());
        for (change, fate) in self.pending.iter().zip(fates) {
            change.apply(*fate, &mut files, &mut names);
        }
        let mut nodes = BTreeMap::new();
        // A directory sorts before what it holds; what is in a lost one is lost.
        for (path, number) in names {
            let parent = path.parent().filter(|parent| *parent != Path::new("/"));
            if parent.is_none_or(|parent| nodes.contains_key(parent)) {
                let content = number.map(|file| files.get(file).cloned().unwrap_or_default());
                nodes.insert(path, content.map_or(Node::Dir, Node::File));
            }
        }
        Image { nodes }
    }

    /// How many files there have been.
    #[must_use]
    pub const fn file_count(&self) -> usize {
        self.files.len()
    }
}

impl Change {
    /// Whether it is one of a directory.
    #[must_use]
    pub const fn is_name(&self) -> bool {
        matches!(self, Self::Link(..) | Self::Unlink(_) | Self::Rename(..))
    }

    fn names(&self, number: FileNo) -> bool {
        match self {
            Self::Link(_, file) => *file == Some(number),
            Self::Rename(_, _, file) => *file == number,
            _ => false,
        }
    }

    const fn content_of(&self) -> Option<FileNo> {
        match self {
            Self::Write(file, ..) | Self::SetLen(file, _) => Some(*file),
            _ => None,
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, ..) => path.parent(),
            _ => None,
        }
    }

    fn apply(
        &self,
        fate: Fate,
        files: &mut [Arc<Vec<u8>>],
        names: &mut BTreeMap<Arc<Path>, Option<FileNo>>,
    ) {
        if fate == Fate::Drop {
            return;
        }
        match self {
            Self::Write(file, offset, data) => write(files, *file, *offset, data, fate),
            Self::SetLen(file, len) => {
                if let Some(content) = files.get_mut(*file) {
                    Arc::make_mut(content).resize(*len, 0);
                }
            }
            Self::Link(path, file) => {
                names.insert(Arc::clone(path), *file);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, file) => {
                // When an earlier change was lost, the old name may be another file's.
                if names.get(from) == Some(&Some(*file)) {
                    names.remove(from);
                }
                names.insert(Arc::clone(to), Some(*file));
            }
        }
    }
}

/// Puts into a file what is left of a write.
fn write(files: &mut [Arc<Vec<u8>>], file: FileNo, offset: usize, data: &[u8], fate: Fate) {
    let stale = match fate {
        Fate::Stale(other) => files.get(other).cloned().unwrap_or_default(),
        _ => Arc::default(),
    };
    let Some(content) = files.get_mut(file) else { return };
    let content = Arc::make_mut(content);
    let (old_len, end) = (content.len(), offset + data.len());
    let kept = match fate {
        Fate::Head(len) => offset + len.min(data.len()),
        _ => end,
    };
    content.resize(old_len.max(kept), 0);
    for (index, byte) in data.iter().enumerate() {
        let at = offset + index;
        let new = match fate {
            Fate::Head(len) | Fate::LongHead(len) => (index < len).then_some(*byte),
            Fate::Tail(len) => (index >= len).then_some(*byte),
            Fate::Sectors(seed) => {
                (mix(seed ^ (at / 512) as u64).is_multiple_of(2)).then_some(*byte)
            }
            Fate::Zeros | Fate::Drop => None,
            Fate::Junk(seed) => (at >= old_len).then(|| mix(seed ^ at as u64) as u8),
            Fate::Stale(_) => stale.get(at).copied().filter(|_| at >= old_len),
            Fate::Keep => Some(*byte),
        };
        if let (Some(new), Some(place)) = (new, content.get_mut(at)) {
            *place = new;
        }
    }
}

/// A number that looks like chance.
const fn mix(seed: u64) -> u64 {
    crate::seed::Chance::new(seed).next_u64()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(file, offset, data) => {
                write!(f, "write {} bytes at {offset} of file {file}", data.len())
            }
            Self::SetLen(file, len) => write!(f, "set length of file {file} to {len}"),
            Self::Link(path, Some(file)) => write!(f, "name file {file} {}", path.display()),
            Self::Link(path, None) => write!(f, "make directory {}", path.display()),
            Self::Unlink(path) => write!(f, "remove {}", path.display()),
            Self::Rename(from, to, file) => {
                write!(f, "rename file {file} from {} to {}", from.display(), to.display())
            }
        }
    }
}
