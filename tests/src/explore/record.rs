//! A file system that writes down every change that is made to it, with its bytes.

use super::disk::{Image, Node};
use datestone_engine::io::{DirEntry, File, Fs, MemFs, OpenMode};
use datestone_engine::sync::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file apart from its names: files are numbered in order of their creation.
pub type FileNo = usize;

/// One operation, or a mark of the workload.
#[derive(Clone, Debug)]
pub enum Op {
    /// A directory was made.
    CreateDir(PathBuf),
    /// A file was made.
    Create(PathBuf, FileNo),
    /// Bytes were written.
    Write(FileNo, u64, Arc<[u8]>),
    /// A file was cut or extended.
    SetLen(FileNo, u64),
    /// A file of the first name got the second one instead.
    Rename(PathBuf, PathBuf, FileNo),
    /// A file got a further name.
    Link(PathBuf, FileNo),
    /// A name was taken away.
    Remove(PathBuf),
    /// A file was synced.
    SyncFile(FileNo),
    /// A directory was synced.
    SyncDir(PathBuf),
    /// So many steps have been begun.
    Begun(usize),
    /// So many steps have been acknowledged.
    Acknowledged(usize),
    /// A recovery is done, and has shown this of the known states.
    Opened(usize),
    /// So many probes have been begun.
    ProbeBegun(u64),
    /// So many probes have been acknowledged.
    Probed(u64),
}

/// A bug planted between engine and disk, to prove that the explorer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// None.
    Nothing,
    /// As if directories whose paths begin so were never synced.
    DirSyncs(&'static str),
    /// As if the root was never synced.
    RootSyncs,
    /// As if files whose paths have this in them were never synced.
    FileSyncs(&'static str),
    /// The same, but only in recoveries and what follows them.
    InRecovery(&'static str),
    /// As if such files were synced only after the step that asked for it was acknowledged.
    Late(&'static str),
}

/// A file system in memory, and the record of what was done to it. The lock file's text is no part of
/// the record, as nothing is decided by it; its creation is.
#[derive(Clone, Debug)]
pub struct RecordFs {
    inner: MemFs,
    tape: Arc<Mutex<Tape>>,
}

#[derive(Debug)]
struct Tape {
    ops: Vec<Op>,
    /// Which file has a name.
    numbers: BTreeMap<PathBuf, FileNo>,
    /// Count of files.
    files: FileNo,
    skip: Skip,
    /// Syncs that are still to come, of [`Skip::Late`].
    owed: Vec<Op>,
}

impl Tape {
    fn number(&self, path: &Path) -> io::Result<FileNo> {
        self.numbers.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether a name of a file has `part` in it.
    fn is_called(&self, number: FileNo, part: &str) -> bool {
        let mut names = self.numbers.iter().filter(|(_, known)| **known == number);
        names.any(|(path, _)| path.to_string_lossy().contains(part))
    }

    fn create(&mut self, path: &Path) -> FileNo {
        let file = self.files;
        self.files += 1;
        self.numbers.insert(path.into(), file);
        self.ops.push(Op::Create(path.into(), file));
        file
    }
}

impl RecordFs {
    /// Records what happens to `fs`, whose content is `image`.
    #[must_use]
    pub fn over(fs: MemFs, image: &Image, skip: Skip) -> Self {
        let files = image.nodes.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        let numbers: BTreeMap<_, _> =
            files.enumerate().map(|(number, (path, _))| (path.to_path_buf(), number)).collect();
        let files = numbers.len();
        let tape = Tape { ops: Vec::new(), numbers, files, skip, owed: Vec::new() };
        Self { inner: fs, tape: Arc::new(Mutex::new(tape)) }
    }

    /// Puts a mark between the operations.
    pub fn mark(&self, mark: Op) {
        let mut tape = self.tape.lock();
        tape.ops.push(mark);
        let owed = std::mem::take(&mut tape.owed);
        tape.ops.extend(owed);
    }

    /// What was recorded.
    #[must_use]
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.tape.lock().ops)
    }
}

impl Fs for RecordFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)?;
        self.tape.lock().ops.push(Op::CreateDir(path.into()));
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, mode)?;
        let mut tape = self.tape.lock();
        let number =
            if mode == OpenMode::CreateNew { tape.create(path) } else { tape.number(path)? };
        drop(tape);
        Ok(Arc::new(RecordFile { inner, number, tape: Arc::clone(&self.tape) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)?;
        let mut tape = self.tape.lock();
        let number = tape.number(from)?;
        tape.numbers.remove(from);
        tape.numbers.insert(to.into(), number);
        tape.ops.push(Op::Rename(from.into(), to.into(), number));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.hard_link(from, to)?;
        let mut tape = self.tape.lock();
        let number = tape.number(from)?;
        tape.numbers.insert(to.into(), number);
        tape.ops.push(Op::Link(to.into(), number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)?;
        let mut tape = self.tape.lock();
        tape.numbers.remove(path);
        tape.ops.push(Op::Remove(path.into()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)?;
        let mut tape = self.tape.lock();
        let is_skipped = match tape.skip {
            Skip::DirSyncs(start) => dir.to_string_lossy().starts_with(start),
            Skip::RootSyncs => dir == Path::new("/"),
            _ => false,
        };
        if !is_skipped {
            tape.ops.push(Op::SyncDir(dir.into()));
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn map(&self, path: &Path) -> io::Result<bytes::Bytes> {
        self.inner.map(path)
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Send + Sync>> {
        let was_there = self.inner.exists(path)?;
        let lock = self.inner.lock(path, owner)?;
        if !was_there {
            self.tape.lock().create(path);
        }
        Ok(lock)
    }

    fn read_lock(&self, path: &Path) -> io::Result<String> {
        self.inner.read_lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        self.inner.free_bytes(path)
    }
}

#[derive(Debug)]
struct RecordFile {
    inner: Arc<dyn File>,
    number: FileNo,
    tape: Arc<Mutex<Tape>>,
}

impl File for RecordFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(buf, offset)?;
        if !buf.is_empty() {
            self.tape.lock().ops.push(Op::Write(self.number, offset, buf.into()));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        let mut tape = self.tape.lock();
        match tape.skip {
            Skip::FileSyncs(part) if tape.is_called(self.number, part) => {}
            Skip::Late(part) if tape.is_called(self.number, part) => {
                tape.owed.push(Op::SyncFile(self.number));
            }
            _ => tape.ops.push(Op::SyncFile(self.number)),
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.tape.lock().ops.push(Op::SetLen(self.number, len));
        Ok(())
    }
}
