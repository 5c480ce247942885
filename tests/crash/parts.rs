//! The parts of this program, and which of them are asked for.

use crate::image::{FileSystem, Image, Namespace, in_own_namespace};
use crate::site::{Ground, IMAGE_BYTES};
use crate::supervisor::{self, tell};
use crate::{fill, syscalls};
use datestone_tests::seed::count;
use std::process::ExitCode;

/// An argument: a part that cannot be run here has not failed.
const LEFT_OUT_IS_FINE: &str = "--left-out-is-fine";

/// How a part ended.
enum End {
    Passed,
    Failed,
    /// It cannot be run here.
    LeftOut(String),
}

impl From<bool> for End {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// What a part is told: its name, and whether it was asked for by name and so must not be left out.
#[derive(Clone, Copy)]
struct Asked {
    name: &'static str,
    by_name: bool,
}

type Part = (&'static str, fn(Asked) -> End);

const PARTS: &[Part] = &[
    ("kills", kills),
    ("kill_syscalls", kill_syscalls),
    ("power_cuts", power_cuts),
    ("fill", fill),
];

/// Runs the parts whose names the arguments are, or all.
pub(crate) fn run() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let may_be_left_out = asked.is_empty() || std::env::args().any(|arg| arg == LEFT_OUT_IS_FINE);
    let mut failed = false;
    for &(name, part) in PARTS {
        if asked.is_empty() || asked.iter().any(|arg| arg == name) {
            match part(Asked { name, by_name: !may_be_left_out }) {
                End::Passed => {}
                End::Failed => failed = true,
                End::LeftOut(why) => {
                    tell(&format!("{name}: left out: {why}"));
                    failed |= !may_be_left_out;
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The end of a part that is run where its mounts are nobody else's; `None` when it is there.
fn elsewhere(asked: Asked) -> Option<End> {
    let arguments = [asked.name, LEFT_OUT_IS_FINE];
    match in_own_namespace(if asked.by_name { &arguments[..1] } else { &arguments }) {
        Namespace::Here => None,
        Namespace::Elsewhere(passed) => Some(passed.into()),
        Namespace::Refused(why) => Some(End::LeftOut(why)),
    }
}

fn kills(_: Asked) -> End {
    supervisor::run(Ground::Directory, count("DATESTONE_CRASH_KILLS", 300)).into()
}

fn kill_syscalls(_: Asked) -> End {
    match syscalls::obstacle() {
        Some(why) => End::LeftOut(why),
        None => syscalls::run(count("DATESTONE_SYSCALL_STRIDE", 16)).into(),
    }
}

fn power_cuts(asked: Asked) -> End {
    if let Some(end) = elsewhere(asked) {
        return end;
    }
    let cuts = count("DATESTONE_POWER_CUTS", 5);
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        match Image::obstacle_to_cuts(kind, IMAGE_BYTES) {
            Some(why) => return End::LeftOut(why),
            None if !supervisor::run(Ground::Device(kind), cuts) => return End::Failed,
            None => {}
        }
    }
    End::Passed
}

fn fill(asked: Asked) -> End {
    if let Some(end) = elsewhere(asked) {
        return end;
    }
    let kinds = [FileSystem::Ext4, FileSystem::Tmpfs, FileSystem::Xfs];
    let why = |kind: &FileSystem| Image::obstacle(*kind, fill::image_bytes(*kind));
    match kinds.iter().find_map(why) {
        Some(why) => End::LeftOut(why),
        None => fill::run(&kinds, count("DATESTONE_FILLS", 3)).into(),
    }
}
