//! Operations of [`super::MemFs`], counted, and made to fail on demand.

use std::io;
use std::path::{Path, PathBuf};

/// An operation of a file system, for counting and failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultOp {
    /// Creating a directory.
    CreateDir,
    /// Opening an existing file.
    Open,
    /// Creating a file.
    Create,
    /// Reading from an open file.
    Read,
    /// Writing to an open file. A failed write leaves the first half of its bytes behind.
    Write,
    /// Syncing a file. What a failed sync was to make durable stays visible but is never made durable
    /// by a later sync, as on systems that drop the dirty mark of a page they could not write.
    Sync,
    /// Changing a file's length.
    SetLen,
    /// Renaming a file.
    Rename,
    /// Giving a file a further name.
    Link,
    /// Removing a file.
    Remove,
    /// Listing a directory.
    List,
    /// Syncing a directory; a failed one loses what a failed [`FaultOp::Sync`] loses.
    SyncDir,
    /// Mapping a file.
    Map,
    /// Taking a lock file.
    Lock,
    /// As a fault: any of those that change something or make it durable (not the lock).
    Change,
    /// As a fault: any operation.
    Any,
}

impl FaultOp {
    /// Whether a fault on `self` meets the operation `op`.
    fn covers(self, op: Self) -> bool {
        match self {
            Self::Any => true,
            Self::Change => matches!(
                op,
                Self::CreateDir
                    | Self::Create
                    | Self::Write
                    | Self::Sync
                    | Self::SetLen
                    | Self::Rename
                    | Self::Link
                    | Self::Remove
                    | Self::SyncDir
            ),
            _ => self == op,
        }
    }
}

/// An operation to fail.
#[derive(Clone, Debug)]
pub struct Fault {
    op: FaultOp,
    /// How many matching operations still pass.
    pass: u64,
    kind: io::ErrorKind,
    forever: bool,
    /// Only operations on paths whose last component starts with this.
    prefix: String,
}

impl Fault {
    /// Fails the `nth` operation `op` from now on, once; 1 is the next one (0 is taken as 1).
    #[must_use]
    pub const fn nth(op: FaultOp, nth: u64, kind: io::ErrorKind) -> Self {
        Self { op, pass: nth.saturating_sub(1), kind, forever: false, prefix: String::new() }
    }

    /// Also fails every matching operation after it.
    #[must_use]
    pub const fn forever(mut self) -> Self {
        self.forever = true;
        self
    }

    /// Only counts and fails operations on files (or directories) whose name starts with `prefix`. A
    /// handle goes by the name that its file was opened with.
    #[must_use]
    pub fn on(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    fn matches(&self, op: FaultOp, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.op.covers(op) && name.as_encoded_bytes().starts_with(self.prefix.as_bytes())
    }
}

/// How many operations there were, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCounts {
    /// Directories created.
    pub create_dirs: u64,
    /// Files opened.
    pub opens: u64,
    /// Files created.
    pub creates: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes asked to be written.
    pub written_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Changes of length.
    pub set_lens: u64,
    /// Renames.
    pub renames: u64,
    /// Links.
    pub links: u64,
    /// Removals.
    pub removes: u64,
    /// Listings of directories.
    pub lists: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Files mapped.
    pub maps: u64,
    /// Attempts to take a lock.
    pub locks: u64,
}

impl OpCounts {
    const fn count(&mut self, op: FaultOp) {
        let count = match op {
            FaultOp::CreateDir => &mut self.create_dirs,
            FaultOp::Open => &mut self.opens,
            FaultOp::Create => &mut self.creates,
            FaultOp::Read => &mut self.reads,
            FaultOp::Write => &mut self.writes,
            FaultOp::Sync => &mut self.syncs,
            FaultOp::SetLen => &mut self.set_lens,
            FaultOp::Rename => &mut self.renames,
            FaultOp::Link => &mut self.links,
            FaultOp::Remove => &mut self.removes,
            FaultOp::List => &mut self.lists,
            FaultOp::SyncDir => &mut self.dir_syncs,
            FaultOp::Map => &mut self.maps,
            FaultOp::Lock => &mut self.locks,
            FaultOp::Change | FaultOp::Any => return,
        };
        *count += 1;
    }
}

/// Watches over the operations of one file system.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) counts: OpCounts,
    pub(super) faults: Vec<Fault>,
    /// What happened, while somebody records it.
    pub(super) trace: Option<Vec<(FaultOp, PathBuf)>>,
}

impl Watch {
    /// Counts an operation, and fails it if a fault says so.
    pub(super) fn before(&mut self, op: FaultOp, path: &Path) -> io::Result<()> {
        self.counts.count(op);
        if let Some(trace) = &mut self.trace {
            trace.push((op, path.to_owned()));
        }
        let mut failed = None;
        self.faults.retain_mut(|fault| {
            if !fault.matches(op, path) {
                return true;
            }
            if fault.pass > 0 {
                fault.pass -= 1;
                return true;
            }
            failed = failed.or(Some(fault.kind));
            fault.forever
        });
        match failed {
            Some(kind) => Err(io::Error::new(kind, "injected fault")),
            None => Ok(()),
        }
    }
}
