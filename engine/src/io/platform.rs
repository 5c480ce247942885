//! Calls that std does not offer, through rustix: the only file that knows the platform. Every
//! function here has a twin in [`super::portable`] on std alone.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawMode};

use crate::config::Access;

use super::OpenMode;
use super::os::Calls;

/// The calls of a Unix system.
pub(super) const CALLS: Calls = Calls { open, open_lock, free_bytes, host };

/// Opens a regular file without following a symbolic link, in one step: nobody can put a link there
/// between a check and the opening.
fn open(path: &Path, mode: OpenMode, access: Access) -> io::Result<File> {
    open_regular(
        path,
        access,
        match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::ReadWrite => OFlags::RDWR,
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        },
    )
}

/// Opens the lock file, creating it if need be; its content stays.
fn open_lock(path: &Path, access: Access) -> io::Result<File> {
    open_regular(path, access, OFlags::RDWR | OFlags::CREATE)
}

fn open_regular(path: &Path, access: Access, flags: OFlags) -> io::Result<File> {
    // NONBLOCK: opening a pipe that somebody put there must not wait for its other end. It means
    // nothing for a regular file.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(access.file_mode() as RawMode))
        .map_err(refused_link)?;
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(super::os::not_a_regular_file());
    }
    Ok(file)
}

/// A symbolic link is refused with `ELOOP`, or on some systems with `EMLINK`.
fn refused_link(errno: rustix::io::Errno) -> io::Error {
    if errno == rustix::io::Errno::LOOP || errno == rustix::io::Errno::MLINK {
        super::os::not_a_regular_file()
    } else {
        errno.into()
    }
}

/// What an ordinary user may still write on the device.
fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.checked_mul(stat.f_frsize))
}

/// The host's name.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
