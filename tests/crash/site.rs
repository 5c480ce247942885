//! [`Site`]: where a database and its copies lie, and what ends the life of who writes there.

use crate::actor::Outcome;
use crate::image::{FileSystem, Fuse, Image};
use datestone_tests::seed::Chance;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What is done to a child, and where.
#[derive(Clone, Copy)]
pub(crate) enum Ground {
    /// It is killed.
    Directory,
    /// Its file system stops, as by a power cut; then it is killed.
    Device(FileSystem),
}

impl Ground {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Directory => "kills",
            Self::Device(FileSystem::Ext4) => "power cuts on ext4",
            Self::Device(FileSystem::Xfs) => "power cuts on XFS",
            Self::Device(FileSystem::Tmpfs) => "power cuts on tmpfs",
        }
    }
}

pub(crate) enum Site {
    Directory(TempDir),
    Device(Image),
}

/// Length of an image: more than twelve lives write, and what XFS takes at least.
pub(crate) const IMAGE_BYTES: u64 = 512 << 20;

impl Site {
    pub(crate) fn new(ground: Ground, chance: &mut Chance) -> Outcome<Self> {
        match ground {
            // Some of the time on disk, where syncs take their time and kills hit them.
            Ground::Directory if chance.one_in(4) => Ok(Self::Directory(tempfile::tempdir()?)),
            Ground::Directory => Ok(Self::Directory(temporary()?)),
            Ground::Device(kind) => Image::new(kind, IMAGE_BYTES, chance).map(Self::Device),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Directory(dir) => dir.path(),
            Self::Device(image) => image.path(),
        }
    }

    /// What cuts the power, where there is any.
    pub(crate) fn fuse(&self) -> Outcome<Option<Fuse>> {
        match self {
            Self::Directory(_) => Ok(None),
            Self::Device(image) => image.fuse().map(Some),
        }
    }

    /// Makes it accessible again, after the child has died.
    pub(crate) fn recover(&self) -> Outcome<()> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Device(image) => image.mount_again(),
        }
    }

    /// Whether a child may have had to say this, as its file system had stopped.
    pub(crate) fn may_tell(failed: &str) -> bool {
        [" Io: ", " Poisoned: "].iter().any(|kind| failed.contains(kind))
    }

    /// Leaves everything as it is, for somebody to look at.
    pub(crate) fn keep(self) -> PathBuf {
        match self {
            Self::Directory(dir) => dir.keep(),
            Self::Device(image) => image.keep(),
        }
    }
}

/// A directory in memory where the system has such directories: a kill leaves what was written, whether
/// it was synced or not.
pub(crate) fn temporary() -> Outcome<TempDir> {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir()
        && let Ok(dir) = tempfile::tempdir_in(in_memory)
    {
        return Ok(dir);
    }
    Ok(tempfile::tempdir()?)
}
