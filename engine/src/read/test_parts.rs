//! Parts of real segments on a file system in memory, for tests.

use super::vec_cursor::Entry;
use crate::cursor::EntrySink;
use crate::error::Result;
use crate::io::{Fs, MemFs};
use crate::segment::{BlockCache, Segment, SegmentIdentity, SegmentOptions, SegmentWriter};
use crate::types::{CollectionId, Kind, SegmentId, SegmentMeta};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const IDENTITY: SegmentIdentity =
    SegmentIdentity { db_uuid: 0xD5, collection: CollectionId(3), kind: Kind::Multiset };

/// A directory for segments.
pub(crate) struct PartStore {
    pub(crate) mem: MemFs,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) options: SegmentOptions,
    cache: Arc<BlockCache>,
    next_id: Cell<SegmentId>,
}

impl PartStore {
    pub(crate) fn new(block_len: usize) -> Self {
        let mem = MemFs::new();
        let dir = PathBuf::from("/db");
        mem.create_dir(&dir).unwrap();
        Self {
            fs: Arc::new(mem.clone()),
            mem,
            dir,
            options: SegmentOptions { block_len, ..SegmentOptions::default() },
            cache: Arc::new(BlockCache::new(1 << 20)),
            next_id: Cell::new(SegmentId(1)),
        }
    }

    pub(crate) fn writer(&self) -> Result<SegmentWriter> {
        let id = self.next_id.get();
        self.next_id.set(id.next());
        SegmentWriter::create(&self.fs, &self.dir, id, IDENTITY, self.options)
    }

    /// Writes one segment of each list of entries.
    pub(crate) fn write<'a>(
        &self,
        lists: impl IntoIterator<Item = &'a [Entry]>,
    ) -> Vec<SegmentMeta> {
        let write = |entries: &[Entry]| {
            let mut writer = self.writer().unwrap();
            for (key, val, updates) in entries.iter().filter(|entry| !entry.2.is_empty()) {
                writer.push(key, val, updates).unwrap();
            }
            writer.finish().unwrap()
        };
        lists.into_iter().filter_map(write).collect()
    }

    pub(crate) fn open(&self, metas: &[SegmentMeta]) -> Arc<[Arc<Segment>]> {
        let open = |meta| Segment::open(&self.fs, &self.dir, meta, IDENTITY, &self.cache).unwrap();
        metas.iter().map(open).collect()
    }

    /// A part of sorted entries in segments of about `len` entries, split between keys.
    pub(crate) fn part(&self, entries: &[Entry], len: usize) -> Arc<[Arc<Segment>]> {
        let mut lists: Vec<&[Entry]> = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let mut end = len.min(rest.len());
            while end < rest.len() && rest[end].0 == rest[end - 1].0 {
                end += 1;
            }
            let (list, tail) = rest.split_at(end);
            lists.push(list);
            rest = tail;
        }
        self.open(&self.write(lists))
    }

    /// Names of the files there are.
    pub(crate) fn files(&self) -> usize {
        self.fs.list(Path::new(&self.dir)).unwrap().len()
    }
}
