//! Sealed files as [`Bytes`]: mapped, or read into memory without the feature `mmap`. The only
//! `unsafe` of the `io` layer.
//!
//! # Invariants
//! 1. Only sealed files come here: the engine writes a segment once, syncs it, and from then on never
//!    writes to it nor cuts it; it only removes its name, which leaves a mapping intact.
//! 2. Nothing above relies on mapped bytes staying equal for its memory safety beyond what Rust's
//!    `&[u8]` already asks for.

use std::fs::File;
use std::io;

use bytes::Bytes;

/// The content of `file`, mapped.
#[cfg(feature = "mmap")]
pub(super) fn map(file: File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // Where the system itself vouches for the file (fs-verity), no promise of ours is needed.
    if let Ok(map) = memmap2::MmapOptions::new().map_if_safe(&file) {
        return Ok(Bytes::from_owner(map));
    }
    map_sealed(&file)
}

#[cfg(feature = "mmap")]
#[expect(unsafe_code, reason = "reading segments in place is what makes a get fast")]
fn map_sealed(file: &File) -> io::Result<Bytes> {
    // SAFETY: the mapped bytes must not change while the map lives. Within the process nobody writes
    // to a sealed file (invariant 1). Other processes are kept out by the database's lock; one that
    // ignores it and writes into the files breaks the promise that the directory belongs to
    // datestone alone, which README states.
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}

/// The content of `file`, read into memory.
#[cfg(not(feature = "mmap"))]
pub(super) fn map(mut file: File) -> io::Result<Bytes> {
    let mut content = Vec::new();
    let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    content.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    io::Read::read_to_end(&mut file, &mut content)?;
    Ok(Bytes::from(content))
}
