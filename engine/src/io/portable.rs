//! The platform calls on std alone, for systems that [`super::platform`] does not know and for
//! builds without the feature `platform`.
//!
//! Weaker in one point: a symbolic link is looked for before the file is opened, so a link put there
//! in between is followed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::config::Access;

use super::OpenMode;
use super::os::{Calls, not_a_regular_file};

/// The calls of any system that std knows.
pub(super) const CALLS: Calls = Calls { open, open_lock, free_bytes, host };

fn open(path: &Path, mode: OpenMode, access: Access) -> io::Result<File> {
    match mode {
        OpenMode::Read => {
            check_regular(path)?;
            OpenOptions::new().read(true).open(path)
        }
        OpenMode::ReadWrite => {
            check_regular(path)?;
            OpenOptions::new().read(true).write(true).open(path)
        }
        // What exists, links included, is refused by the system itself.
        OpenMode::CreateNew => creating(access).create_new(true).open(path),
    }
}

fn open_lock(path: &Path, access: Access) -> io::Result<File> {
    match check_regular(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    creating(access).create(true).truncate(false).open(path)
}

/// For reading and writing a file that may be created.
#[cfg(unix)]
fn creating(access: Access) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(access.file_mode());
    options
}

/// For reading and writing a file that may be created.
#[cfg(not(unix))]
fn creating(_: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn check_regular(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_file() { Ok(()) } else { Err(not_a_regular_file()) }
}

/// std cannot tell.
#[expect(clippy::unnecessary_wraps, reason = "the signature is shared with the platform's call")]
fn free_bytes(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// The host's name where the system shows it as a file or a variable, else empty.
fn host() -> String {
    let from_file = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let from_variable =
        || ["COMPUTERNAME", "HOSTNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    from_file.or_else(from_variable).unwrap_or_default().trim().to_owned()
}
