//! Looking for bytes in every file of a database: the proof that what was erased is gone.
//!
//! Files are read as they lie, with bounded memory; what a segment hides from such a look is looked at
//! decoded: blocks that are compressed, and keys, of whose common beginning a block has one copy. Log and
//! manifest store everything as it is.

use crate::checkpoint::read_through;
use crate::error::{Error, Result};
use crate::io::OpenMode;
use crate::segment::{Remains, parse_segment_file_name};
use crate::view::View;
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

/// Looks for `needle` in every file of the database's directory. A file that is removed meanwhile is
/// left out.
pub(crate) fn find_bytes(view: &View, needle: &[u8]) -> Result<Occurrences> {
    if needle.is_empty() || needle.len() > NEEDLE_LEN_MAX {
        let len = needle.len();
        let what = format!("{len} bytes to look for, which must be 1 to {NEEDLE_LEN_MAX}");
        return Err(Error::invalid(what));
    }
    let fs = &view.env.fs;
    let mut found = Occurrences::default();
    let mut entries =
        fs.list(&view.dir).map_err(|e| Error::io("listing directory", &view.dir, e))?;
    entries.retain(|entry| entry.is_file);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        let path = view.dir.join(&entry.name);
        let file = match fs.open(&path, OpenMode::Read) {
            Err(e) if e.kind() == IoErrorKind::NotFound => continue,
            opened => opened.map_err(|e| Error::io("opening", &path, e))?,
        };
        // The end of what was read before, in which a needle may begin.
        let mut carried: Vec<u8> = Vec::new();
        let read = read_through(&*file, &path, |bytes, at| {
            let before = carried.len();
            carried.extend_from_slice(bytes);
            each(&carried, needle, |i| found.add(&path, at + i as u64 - before as u64, false));
            carried.drain(..carried.len() - carried.len().min(needle.len() - 1));
            Ok(())
        })?;
        found.files += 1;
        found.bytes += read.len;
        if let Some(id) = entry.name.to_str().and_then(parse_segment_file_name) {
            let remains = match Remains::open(fs, &view.dir, id) {
                Err(_) if !fs.exists(&path).unwrap_or(true) => continue,
                opened => opened?,
            };
            decoded(&remains, needle, &mut found)?;
        }
    }
    Ok(found)
}

/// Looks at the blocks of a segment as they are read.
fn decoded(remains: &Remains, needle: &[u8], found: &mut Occurrences) -> Result<()> {
    let path = remains.path();
    if let Some((offset, what)) = remains.damages().first() {
        return Err(Error::corruption(path, *offset, what.as_str()));
    }
    for i in 0..remains.blocks() {
        let (raw, shape) = remains.block(i, false).map_err(|lost| {
            Error::corruption(
                path,
                lost.offset,
                format!("a block that cannot be read: {}", lost.what),
            )
        })?;
        let offset = remains.block_offset(i);
        if remains.is_compressed(i) {
            each(&raw, needle, |_| found.add(path, offset, true));
        }
        if shape.prefix_len() > 0 {
            shape.each_key(&raw, |key| each(key, needle, |_| found.add(path, offset, true)));
        }
    }
    Ok(())
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
