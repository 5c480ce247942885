//! Looking for bytes in every file of a database: the proof that what was erased is gone.
//!
//! Files are read as they lie, with bounded memory; what a segment hides from such a look is looked at
//! decoded: blocks that are compressed, and keys, of whose common beginning a block has one copy. Log and
//! manifest store everything as it is.

use crate::checkpoint::read_through;
use crate::error::{Error, Result};
use crate::io::{DirEntry, OpenMode};
use crate::segment::{Remains, parse_segment_file_name};
use crate::types::SegmentId;
use crate::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind as IoErrorKind;
use std::path::PathBuf;

/// Most bytes that can be looked for.
pub const NEEDLE_LEN_MAX: usize = 64 << 10;
/// Most places that are told of; the others are counted.
pub const PLACES_MAX: usize = 1_000;

/// Where bytes were found in the files of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occurrences {
    /// Files that were read, each to its end.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How often they were found. What lies in a block as it is counts once as a part of the file, and
    /// once more where it is part of a key.
    pub count: u64,
    /// The first places.
    pub places: Vec<FoundAt>,
}

impl Occurrences {
    /// Whether they are nowhere.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.count == 0
    }

    fn absorb(&mut self, more: Self) {
        self.files += more.files;
        self.bytes += more.bytes;
        self.count += more.count;
        let room = PLACES_MAX - self.places.len();
        self.places.extend(more.places.into_iter().take(room));
    }

    fn add(&mut self, file: &std::path::Path, offset: u64, decoded: bool) {
        self.count += 1;
        if self.places.len() < PLACES_MAX {
            self.places.push(FoundAt { file: file.into(), offset, decoded });
        }
    }
}

/// A place where bytes were found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundAt {
    /// The file.
    pub file: PathBuf,
    /// Offset in the file; of the block, when that had to be decoded.
    pub offset: u64,
    /// Whether it is in a decoded block or key, and not in the file as it lies.
    pub decoded: bool,
}

/// Most listings of the directory before the writer is called too busy.
const LISTINGS_MAX: usize = 1_000;

/// Looks for `needle` in every file of the database's directory, while it may be written: bytes that
/// move from a file to another one meanwhile are found in one of them. `refresh` brings the view up to
/// date, if somebody else writes.
///
/// Files are read until a listing has none that was not read. A file goes only when what it had is in
/// another one that is whole, so whatever was there at the beginning was either read, or is in a file
/// that came later and has another name. A segment without its end is one that is being written, or
/// was when the power went: what can be decoded of it is looked at, and once more if it turns out to
/// have become whole.
pub(crate) fn find_bytes(
    view: &View,
    needle: &[u8],
    refresh: impl Fn() -> Result<()>,
) -> Result<Occurrences> {
    if needle.is_empty() || needle.len() > NEEDLE_LEN_MAX {
        let len = needle.len();
        let what = format!("{len} bytes to look for, which must be 1 to {NEEDLE_LEN_MAX}");
        return Err(Error::invalid(what));
    }
    let mut search = Search { view, needle, found: Occurrences::default() };
    let mut read = BTreeSet::new();
    let mut partial: BTreeMap<OsString, Occurrences> = BTreeMap::new();
    for _ in 0..LISTINGS_MAX {
        let mut entries = view
            .env
            .fs
            .list(&view.dir)
            .map_err(|e| Error::io("listing directory", &view.dir, e))?;
        entries.retain(|entry| entry.is_file && !read.contains(&entry.name));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut news = false;
        for DirEntry { name, .. } in entries {
            match search.file(&name)? {
                Looked::Gone => {}
                Looked::Whole => {
                    partial.remove(&name);
                    read.insert(name);
                    news = true;
                }
                // Only that it is there is news.
                Looked::Partly(found) => news |= partial.insert(name, found).is_none(),
            }
        }
        refresh()?;
        if !news {
            partial.into_values().for_each(|found| search.found.absorb(found));
            return Ok(search.found);
        }
    }
    Err(Error::Busy { what: "files come faster than they can be read; look when less is written" })
}

/// How a file was looked at.
enum Looked {
    /// It is not there any longer.
    Gone,
    Whole,
    /// A segment that is not whole, and what was found in it.
    Partly(Occurrences),
}

struct Search<'a> {
    view: &'a View,
    needle: &'a [u8],
    found: Occurrences,
}

impl Search<'_> {
    /// Looks at a file.
    fn file(&mut self, name: &OsStr) -> Result<Looked> {
        let fs = &self.view.env.fs;
        let path = self.view.dir.join(name);
        let segment = name.to_str().and_then(parse_segment_file_name);
        // Decoded as of a moment before it is read: what came later is in no block known by then.
        let remains = match segment.map(|id| Remains::open(fs, &self.view.dir, id)) {
            Some(Err(_)) if !fs.exists(&path).unwrap_or(true) => return Ok(Looked::Gone),
            opened => opened.transpose()?,
        };
        let file = match fs.open(&path, OpenMode::Read) {
            Err(e) if e.kind() == IoErrorKind::NotFound => return Ok(Looked::Gone),
            opened => opened.map_err(|e| Error::io("opening", &path, e))?,
        };
        let mut found = Occurrences::default();
        // The end of what was read before, in which a needle may begin.
        let mut carried: Vec<u8> = Vec::new();
        let needle = self.needle;
        let read = read_through(&*file, &path, |bytes, at| {
            let before = carried.len();
            carried.extend_from_slice(bytes);
            each(&carried, needle, |i| found.add(&path, at + i as u64 - before as u64, false));
            carried.drain(..carried.len() - carried.len().min(needle.len() - 1));
            Ok(())
        })?;
        found.files += 1;
        found.bytes += read.len;
        let decoded = remains.map_or(Ok(()), |remains| decode(&remains, needle, &mut found));
        match decoded {
            Ok(()) => {
                self.found.absorb(found);
                Ok(Looked::Whole)
            }
            Err(damage) if segment.is_some_and(|id| self.is_live(id)) => Err(damage),
            Err(_) => Ok(Looked::Partly(found)),
        }
    }

    /// Whether readers read the segment.
    fn is_live(&self, id: SegmentId) -> bool {
        let catalog = self.view.catalog.read();
        let reads = catalog.collections().iter().map(|known| catalog.reads(known.description.id));
        reads
            .flat_map(|reads| reads.parts.clone())
            .any(|part| part.segments.iter().any(|segment| segment.meta().id == id))
    }
}

/// Looks at the blocks of a segment as they are read, at all that can be.
///
/// # Errors
/// The first damage.
fn decode(remains: &Remains, needle: &[u8], found: &mut Occurrences) -> Result<()> {
    let path = remains.path();
    let mut damage =
        remains.damages().first().map(|(at, what)| Error::corruption(path, *at, what.as_str()));
    for i in 0..remains.blocks() {
        let (raw, shape) = match remains.block(i, false) {
            Ok(block) => block,
            Err(lost) => {
                let what = format!("a block that cannot be read: {}", lost.what);
                damage.get_or_insert_with(|| Error::corruption(path, lost.offset, what));
                continue;
            }
        };
        let offset = remains.block_offset(i);
        if remains.is_compressed(i) {
            each(&raw, needle, |_| found.add(path, offset, true));
        }
        if shape.prefix_len() > 0 {
            shape.each_key(&raw, |key| each(key, needle, |_| found.add(path, offset, true)));
        }
    }
    damage.map_or(Ok(()), Err)
}

/// Calls `visit` with each place of `needle` in `bytes`.
fn each(bytes: &[u8], needle: &[u8], mut visit: impl FnMut(usize)) {
    let Some((first, rest)) = needle.split_first() else { return };
    let mut from = 0;
    while let Some(at) =
        bytes.get(from..).and_then(|left| left.iter().position(|byte| byte == first))
    {
        let start = from + at;
        if bytes.get(start + 1..).is_some_and(|behind| behind.starts_with(rest)) {
            visit(start);
        }
        from = start + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_found() {
        let places = |bytes: &[u8], needle: &[u8]| {
            let mut all = Vec::new();
            each(bytes, needle, |at| all.push(at));
            all
        };
        assert_eq!(places(b"aaa", b"aa"), [0, 1]);
        assert_eq!(places(b"xaab", b"aab"), [1]);
        assert_eq!(places(b"ab", b"abc"), []);
        assert_eq!(places(b"", b"a"), []);
    }
}
