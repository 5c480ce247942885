//! Checkpoint: a database of its own in a new directory, by links to the same immutable segments.
//!
//! It holds exactly the commits up to one seqno. Everything is flushed up to it, so that the checkpoint
//! has an empty log; what is captured under the leader's lock are the manifest's state and the open
//! segments, which cannot go while they are held. The files are linked after that, while commits go
//! on.
//!
//! # Crash behaviour
//! The manifest gets its name last, when everything else is durable. A directory that was cut off
//! before is no database: opening it is refused, as there are segments without a manifest. The source
//! is only read.

use crate::error::{Error, Result};
use crate::install::Shared;
use crate::io::{Fs, OpenMode};
use crate::manifest::{self, ManifestState};
use crate::segment::{Segment, segment_file_name};
use crate::types::{Frontier, SeqNo};
use crate::wal;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are copied at once where files cannot be linked.
const COPY_LEN: usize = 1 << 20;

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last commit that it holds.
    pub seqno: u64,
    /// Its collections, by name, with their uppers.
    pub uppers: Vec<(String, Frontier)>,
    /// Segment files.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many of them had to be copied, because the directory is on another file system.
    pub copied: u64,
}

/// What a checkpoint is made of.
pub(crate) struct Captured {
    state: ManifestState,
    segments: Vec<Arc<Segment>>,
}

/// Captures the manifest and its segments. The caller keeps commits and merges out and has flushed
/// those up to `last`.
pub(crate) fn capture(shared: &Shared, last: SeqNo) -> Result<Captured> {
    use crate::format::manifest_edit::{Edit, EditOp};
    // Commits that left nothing to flush count too: the checkpoint has no log to find them in.
    shared.install(Vec::new(), None, |_| Ok(Edit { ops: vec![EditOp::Flushed(last)] }))?;
    let installer = shared.installer.lock();
    let segments = installer.open.values().cloned().collect();
    Ok(Captured { state: installer.log.state().clone(), segments })
}

/// Writes what was captured to `dir`, which must be missing or empty.
pub(crate) fn write(shared: &Shared, captured: &Captured, dir: &Path) -> Result<Checkpoint> {
    let fs = &shared.env.fs;
    make_dir(fs, dir)?;
    let Captured { state, segments } = captured;
    let mut report = Checkpoint {
        seqno: state.flushed_seqno().0,
        uppers: uppers(state),
        segments: segments.len() as u64,
        bytes: 0,
        copied: 0,
    };
    for segment in segments {
        let to = dir.join(segment_file_name(segment.meta().id));
        report.bytes += segment.meta().file_len;
        report.copied += u64::from(link_or_copy(fs, segment.path(), &to)?);
    }
    if state.flushed_seqno() > SeqNo(0) {
        wal::create_first(fs, dir, state.uuid(), state.flushed_seqno().next())?;
    }
    fs.sync_dir(dir).map_err(|e| Error::io("syncing directory", dir, e))?;
    manifest::publish_first(Arc::clone(fs), dir, state)?;
    Ok(report)
}

fn uppers(state: &ManifestState) -> Vec<(String, Frontier)> {
    let clock = Frontier::at(state.clock());
    let mut uppers: Vec<_> = state
        .collections()
        .values()
        .map(|known| {
            let on_clock = known.head.kind == crate::types::Kind::ClockTable;
            let upper = if on_clock { known.head.upper.max(clock) } else { known.head.upper };
            (known.head.name.clone(), upper)
        })
        .collect();
    uppers.sort();
    uppers
}

/// Makes the directory, or takes an empty one.
pub(crate) fn make_dir(fs: &Arc<dyn Fs>, dir: &Path) -> Result<()> {
    match fs.create_dir(dir) {
        Ok(()) => {
            let parent = match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            fs.sync_dir(parent).map_err(|e| Error::io("syncing directory", parent, e))
        }
        Err(e) if e.kind() == IoErrorKind::AlreadyExists => {
            let entries = fs.list(dir).map_err(|e| Error::io("listing directory", dir, e))?;
            if entries.is_empty() {
                return Ok(());
            }
            Err(Error::AlreadyExists { what: format!("something in {}", dir.display()) })
        }
        Err(e) => Err(Error::io("creating directory", dir, e)),
    }
}

/// Whether it had to be copied.
fn link_or_copy(fs: &Arc<dyn Fs>, from: &Path, to: &Path) -> Result<bool> {
    match fs.hard_link(from, to) {
        Ok(()) => Ok(false),
        Err(e) if matches!(e.kind(), IoErrorKind::CrossesDevices | IoErrorKind::Unsupported) => {
            copy(fs, from, to).map(|()| true)
        }
        Err(e) => Err(Error::io("linking", to, e)),
    }
}

fn copy(fs: &Arc<dyn Fs>, from: &Path, to: &Path) -> Result<()> {
    let source = fs.open(from, OpenMode::Read).map_err(|e| Error::io("opening", from, e))?;
    let target = fs.open(to, OpenMode::CreateNew).map_err(|e| Error::io("creating", to, e))?;
    let mut buffer = vec![0; COPY_LEN];
    let mut at = 0;
    loop {
        let read = source.read_at(&mut buffer, at).map_err(|e| Error::io("reading", from, e))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        target.write_all_at(bytes, at).map_err(|e| Error::io("writing", to, e))?;
        at += read as u64;
    }
    target.sync().map_err(|e| Error::io("syncing", to, e))
}
