//! Damage to the files of a directory, decoded from bytes.

use crate::base::Base;
use crate::session::DIR;
use arbitrary::{Arbitrary, Result, Unstructured};
use datestone_engine::io::{Fs, MemFs};
use std::path::{Path, PathBuf};

/// Pieces of damage of one input.
const PIECES_MAX: usize = 8;
/// Longest piece of a file that is copied or zeroed.
const PIECE_LEN_MAX: usize = 1 << 16;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    /// Nothing was done.
    None,
    /// At most one bit is another.
    OneBit,
    /// Anything.
    Any,
}

/// Does all the damage that `bytes` holds to the files whose name `is_meant` accepts.
pub(crate) fn damage(fs: &MemFs, bytes: &mut Unstructured<'_>, is_meant: fn(&str) -> bool) -> Harm {
    damage_named(fs, bytes, is_meant, database_name)
}

/// The same in a directory whose files have other names.
pub(crate) fn damage_named(
    fs: &MemFs,
    bytes: &mut Unstructured<'_>,
    is_meant: fn(&str) -> bool,
    new_name: fn(u8) -> String,
) -> Harm {
    let mut worst = Harm::None;
    for _ in 0..PIECES_MAX {
        if bytes.is_empty() {
            break;
        }
        let Ok(harm) = piece(fs, bytes, is_meant, new_name) else { return Harm::Any };
        worst = if worst == Harm::None { harm } else { Harm::Any };
    }
    worst
}

fn piece(
    fs: &MemFs,
    bytes: &mut Unstructured<'_>,
    is_meant: fn(&str) -> bool,
    new_name: fn(u8) -> String,
) -> Result<Harm> {
    let paths: Vec<PathBuf> = Base::names(fs)
        .into_iter()
        .filter(|name| name.to_str().is_some_and(is_meant))
        .map(|name| Path::new(DIR).join(name))
        .collect();
    let Some(path) = paths.get(usize::from(u8::arbitrary(bytes)?) % paths.len().max(1)) else {
        return Ok(Harm::None);
    };
    let mut harm = Harm::Any;
    let mut content = fs.read_file(path).expect("it was listed");
    match bytes.int_in_range(0..=9)? {
        0 | 1 => {
            let at = offset(&content, bytes)?;
            let len = usize::from(u8::arbitrary(bytes)? % 64);
            let new = bytes.bytes(len.min(bytes.len()))?;
            let end = at + new.len();
            content.resize(content.len().max(end), 0);
            content[at..end].copy_from_slice(new);
        }
        2 | 3 => {
            let at = offset(&content, bytes)?;
            let bit = u8::arbitrary(bytes)? % 8;
            if let Some(byte) = content.get_mut(at) {
                *byte ^= 1 << bit;
            }
            harm = Harm::OneBit;
        }
        4 => content.truncate(offset(&content, bytes)?),
        5 => {
            let more = usize::from(u16::arbitrary(bytes)?);
            content.resize(content.len() + more, 0);
        }
        6 => {
            let at = offset(&content, bytes)?;
            let len = usize::from(u16::arbitrary(bytes)?).min(content.len() - at);
            content[at..at + len].fill(0);
        }
        7 => {
            let (from, to) = (offset(&content, bytes)?, offset(&content, bytes)?);
            let len = usize::from(u16::arbitrary(bytes)?).min(PIECE_LEN_MAX);
            let len = len.min(content.len() - from.max(to));
            content.copy_within(from..from + len, to);
        }
        8 => {
            let other = &paths[usize::from(u8::arbitrary(bytes)?) % paths.len()];
            let theirs = fs.read_file(other).expect("it was listed");
            fs.put_file(other, &content).expect("it was listed");
            content = theirs;
        }
        _ => return whole_file(fs, path, bytes, new_name).map(|()| harm),
    }
    fs.put_file(path, &content).expect("it was listed");
    Ok(harm)
}

/// Removes a file, makes it arbitrary, or gives its content to another name too.
fn whole_file(
    fs: &MemFs,
    path: &Path,
    bytes: &mut Unstructured<'_>,
    new_name: fn(u8) -> String,
) -> Result<()> {
    match bytes.int_in_range(0..=3)? {
        0 => fs.remove_file(path).expect("it was listed"),
        1 => {
            let len = usize::from(u16::arbitrary(bytes)?).min(bytes.len());
            fs.put_file(path, bytes.bytes(len)?).expect("it was listed");
        }
        kind => {
            let name = new_name(u8::arbitrary(bytes)?);
            let content = fs.read_file(path).expect("it was listed");
            fs.put_file(Path::new(DIR).join(name), &content).expect("a good name");
            if kind == 3 {
                fs.remove_file(path).expect("it was listed");
            }
        }
    }
    Ok(())
}

/// A name that a file of a database may have.
fn database_name(number: u8) -> String {
    match number % 4 {
        0 => format!("wal-{number:04}.log"),
        1 => format!("MANIFEST-{number:016x}"),
        2 => format!("{number:016x}.seg"),
        _ => format!("MANIFEST-{number:016x}.tmp"),
    }
}

/// A place in what is used of a file, or a little beyond: log files end with many zeros.
fn offset(content: &[u8], bytes: &mut Unstructured<'_>) -> Result<usize> {
    let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let wanted = u32::arbitrary(bytes)? as usize;
    Ok((wanted % (used + 64)).min(content.len()))
}
