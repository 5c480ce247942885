//! [`Base`]: databases that damage is done to, made once.

use crate::model::Model;
use crate::ops::step;
use crate::session::{DIR, Session};
use arbitrary::Unstructured;
use datestone_engine::io::{Fs, MemFs};
use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

/// Count of bases.
const COUNT: u64 = 4;

/// The files of a database that was killed, and what it held after each commit.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) fs: MemFs,
    /// By seqno, ascending.
    pub(crate) states: Vec<(u64, Model)>,
}

/// The base that `choice` means.
pub(crate) fn base(choice: u8) -> &'static Base {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    let bases = BASES.get_or_init(|| (0..COUNT).map(make).collect());
    &bases[usize::from(choice) % bases.len()]
}

/// Takes a database through operations that follow from `seed`: it has segments in several runs, a
/// manifest with edits, log files that were used again, and commits that are in the log alone.
fn make(seed: u64) -> Base {
    let mut session = Session::new();
    session.create("a");
    session.create("b");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(4_000)
    .collect();
    let mut bytes = Unstructured::new(&bytes);
    for _ in 0..60 {
        step(&mut session, &mut bytes).expect("there are enough bytes");
    }
    session.check();
    Base { fs: session.fs.kill(), states: session.states }
}

impl Base {
    /// Names of the files, ascending; without the lock.
    pub(crate) fn names(fs: &MemFs) -> Vec<OsString> {
        let entries = fs.list(Path::new(DIR)).unwrap_or_default();
        let mut names: Vec<_> =
            entries.into_iter().filter(|e| e.is_file && e.name != "LOCK").map(|e| e.name).collect();
        names.sort();
        names
    }

    /// What the database held after the commit `seqno`.
    pub(crate) fn state(&self, seqno: u64) -> &Model {
        let after = self.states.partition_point(|(at, _)| *at <= seqno);
        &self.states[after.saturating_sub(1)].1
    }
}
