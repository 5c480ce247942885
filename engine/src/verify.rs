//! Verification: every live segment is read and checked against itself and the manifest.

use crate::catalog::ReadSet;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{Segment, SegmentDepth};
use crate::types::SegmentId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much is read.
///
/// ```
/// use datestone_engine::verify::VerifyDepth;
/// assert_eq!(VerifyDepth::default(), VerifyDepth::Full);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerifyDepth {
    /// The files' lengths, trailers and sections (indexes, filters, statistics).
    Quick,
    /// Everything: each block's checksum and structure too, the order of the keys, the counts, and
    /// that indexes and filters find every key.
    #[default]
    Full,
}

/// What a verification found.
///
/// ```
/// use datestone_engine::verify::VerifyReport;
/// assert!(VerifyReport::default().is_clean());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Segments checked.
    pub segments: u64,
    /// Blocks checked; none by a quick verification.
    pub blocks: u64,
    /// Updates in them.
    pub updates: u64,
    /// Bytes of the segments' files.
    pub bytes: u64,
    /// What is damaged, each naming file and offset.
    pub damage: Vec<Error>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks the segments of `reads`, each once, and tells `progress` bytes done and bytes in all.
pub(crate) fn verify<'a>(
    reads: impl Iterator<Item = &'a Arc<ReadSet>>,
    depth: VerifyDepth,
    mut progress: impl FnMut(u64, u64),
) -> Result<VerifyReport> {
    let mut segments: BTreeMap<SegmentId, Arc<Segment>> = BTreeMap::new();
    for part in reads.flat_map(|reads| &reads.parts) {
        segments
            .extend(part.segments.iter().map(|segment| (segment.meta().id, Arc::clone(segment))));
    }
    let total = segments.values().map(|segment| segment.meta().file_len).sum();
    let segment_depth = match depth {
        VerifyDepth::Quick => SegmentDepth::Quick,
        VerifyDepth::Full => SegmentDepth::Full,
    };
    let mut report = VerifyReport::default();
    for segment in segments.values() {
        let before = report.bytes;
        let mut read = 0;
        let verified = segment.verify(segment_depth, &mut |more| {
            read += more;
            progress(before + read, total);
        });
        match verified {
            Ok(verified) => {
                report.blocks += verified.blocks;
                report.updates += verified.updates;
            }
            Err(e) if matches!(e.kind(), ErrorKind::Corruption | ErrorKind::FormatTooNew) => {
                report.damage.push(e);
            }
            Err(e) => return Err(e),
        }
        report.segments += 1;
        report.bytes += segment.meta().file_len;
        progress(report.bytes, total);
    }
    Ok(report)
}
