//! [`Image`]: a file system in a file, mounted through a loop device, that can be stopped as by a power
//! cut: what was not synced is gone when it is mounted again.
//!
//! # Invariants
//! 1. Nothing else is ever stopped: before each time, the device that the mount point is on must be a
//!    loop device whose file is the image.
//! 2. Mounts live in a namespace of their own ([`in_own_namespace`]): with the last process in it they
//!    are gone, and the loop devices with them, whatever has ended it.

use crate::actor::{Outcome, Wrong, wrong};
use crate::site::temporary;
use datestone_engine::io::{Clock as _, OsClock};
use datestone_tests::seed::Chance;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Attempts to unmount: processes that are being started have all files open for a moment.
const UNMOUNTS_MAX: u32 = 200;
const BETWEEN_UNMOUNTS: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
    /// In memory, of limited size; it has no device, and its power cannot be cut.
    Tmpfs,
}

impl FileSystem {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// Says that this process has mounts of its own.
const NAMESPACE_VARIABLE: &str = "DATESTONE_CRASH_NAMESPACE";

/// Where this part of the tests has mounts of its own.
pub(crate) enum Namespace {
    Here,
    /// There it was run, to such an end.
    Elsewhere(bool),
    /// Nowhere, and why.
    Refused(String),
}

/// Runs this program once more, where its mounts are nobody else's, unless that is here.
pub(crate) fn in_own_namespace(arguments: &[&str]) -> Namespace {
    if std::env::var_os(NAMESPACE_VARIABLE).is_some() {
        return Namespace::Here;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--"]);
        command
    };
    if let Err(Wrong(why)) = run(unshare().arg("true")) {
        return Namespace::Refused(why);
    }
    let program = std::env::current_exe().expect("this program has a path");
    let status = unshare().arg(program).args(arguments).env(NAMESPACE_VARIABLE, "1").status();
    Namespace::Elsewhere(status.is_ok_and(|status| status.success()))
}

pub(crate) struct Image {
    kind: FileSystem,
    options: String,
    file: PathBuf,
    mount_point: PathBuf,
    /// Has both; `None` when everything is to be kept.
    dir: Option<TempDir>,
}

impl Image {
    /// Makes a file system of so many bytes and mounts it.
    pub(crate) fn new(kind: FileSystem, bytes: u64, chance: &mut Chance) -> Outcome<Self> {
        let dir = temporary()?;
        let (file, mount_point) = (dir.path().join("image"), dir.path().join("mounted"));
        std::fs::create_dir(&mount_point)?;
        let options = match kind {
            FileSystem::Ext4 if chance.one_in(2) => "loop,data=writeback".into(),
            FileSystem::Ext4 => "loop,data=ordered".into(),
            FileSystem::Xfs => "loop".into(),
            FileSystem::Tmpfs => format!("size={bytes}"),
        };
        if kind != FileSystem::Tmpfs {
            std::fs::File::create_new(&file)?.set_len(bytes)?;
            run(Command::new(format!("mkfs.{}", kind.name())).arg("-q").arg(&file))?;
        }
        let image = Self { kind, options, file, mount_point, dir: Some(dir) };
        image.mount()?;
        Ok(image)
    }

    /// Why there can be none here; `None` when there can.
    pub(crate) fn obstacle(kind: FileSystem, bytes: u64) -> Option<String> {
        let tried = Self::new(kind, bytes, &mut Chance::new(0));
        tried.err().map(|Wrong(why)| format!("{}: {why}", kind.name()))
    }

    /// The same of one whose power can be cut.
    pub(crate) fn obstacle_to_cuts(kind: FileSystem, bytes: u64) -> Option<String> {
        let tried = Self::new(kind, bytes, &mut Chance::new(0))
            .and_then(|image| image.fuse()?.blow().and_then(|()| image.mount_again()));
        tried.err().map(|Wrong(why)| format!("{}: {why}", kind.name()))
    }

    /// The mount point.
    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    fn mount(&self) -> Outcome<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind.name(), "-o", &self.options]);
        run(mount.arg(&self.file).arg(&self.mount_point))
    }

    fn is_mounted(&self) -> bool {
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        device(&self.mount_point) != self.mount_point.parent().and_then(device)
    }

    fn unmount(&self) -> Outcome<()> {
        let mut last = Ok(());
        for _ in 0..UNMOUNTS_MAX {
            last = run(Command::new("umount").arg(&self.mount_point));
            if last.is_ok() {
                break;
            }
            OsClock.sleep(BETWEEN_UNMOUNTS);
        }
        last
    }

    /// Makes ready to stop the file system at once.
    pub(crate) fn fuse(&self) -> Outcome<Fuse> {
        self.require_own_device()?;
        let mut program = Command::new("xfs_io");
        program.arg("-x").arg(&self.mount_point).stdin(Stdio::piped());
        let program = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let program = program.map_err(|e| Wrong(format!("xfs_io: {e}")))?;
        Ok(Fuse { program, probe: self.mount_point.join("probe") })
    }

    /// I1.
    fn require_own_device(&self) -> Outcome<()> {
        let device = std::fs::metadata(&self.mount_point)?.dev();
        // As glibc's `major` and `minor`.
        let major = (device >> 8) & 0xfff | (device >> 32) & !0xfff;
        let minor = device & 0xff | (device >> 12) & 0xffff_ff00;
        let backing = format!("/sys/dev/block/{major}:{minor}/loop/backing_file");
        let found = std::fs::read_to_string(&backing)
            .map_err(|e| Wrong(format!("not a loop device, {major}:{minor}: {e}")))?;
        let own = self.file.canonicalize()?;
        if Path::new(found.trim_end()) != own {
            wrong!("loop device {major}:{minor} is of {found}, not of {}", own.display());
        }
        Ok(())
    }

    /// What starting the machine again does; nobody may have a file open.
    pub(crate) fn mount_again(&self) -> Outcome<()> {
        self.unmount()?;
        self.mount()
    }

    /// Leaves the image to be looked at, mounted nowhere.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.dir.take().map_or_else(PathBuf::new, TempDir::keep)
    }
}

/// What stops a file system: nothing reaches its device any longer, and its journal stays as it is.
pub(crate) struct Fuse {
    /// Has the file system open, and waits for its command.
    program: Child,
    probe: PathBuf,
}

impl Fuse {
    pub(crate) fn blow(self) -> Outcome<()> {
        let Self { mut program, probe } = self;
        // Without `-f`, nothing is flushed before, not even the journal.
        let told = program.stdin.take().map(|mut input| input.write_all(b"shutdown\n"));
        let output = program.wait_with_output()?;
        if !matches!(told, Some(Ok(()))) || !output.status.success() || !output.stderr.is_empty() {
            wrong!("xfs_io: {told:?}, {output:?}");
        }
        match std::fs::File::create_new(probe) {
            Ok(_) => wrong!("the file system has not stopped"),
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.is_mounted() && self.unmount().is_err() {
            // It goes when its last file is closed.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount_point));
        }
    }
}

/// Runs a program to its end, which must be a good one.
fn run(command: &mut Command) -> Outcome<()> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|e| Wrong(format!("{program}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    wrong!("{program}: {}: {}", output.status, said.trim())
}
