//! [`SalvageReport`]: what was saved, and what was not.

use crate::segment::LostBlock;
use crate::types::Timestamp;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How a salvage goes about it.
///
/// ```
/// use datestone_engine::salvage::SalvageOptions;
/// assert!(!SalvageOptions::default().unchecked_blocks);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageOptions {
    /// Takes blocks of segments whose checksums are lost, with the block index, as they are. Their
    /// structure is proved even so, but not that they are what was written.
    pub unchecked_blocks: bool,
    /// Most damages that the report lists; all are counted.
    pub damages_max: usize,
}

impl Default for SalvageOptions {
    fn default() -> Self {
        Self { unchecked_blocks: false, damages_max: 1000 }
    }
}

/// What was left of the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ManifestFound {
    /// It is whole, and says which segments count.
    #[default]
    Whole,
    /// It is damaged; what can be read gives collections their names.
    Part,
    /// Nothing of it can be read.
    Nothing,
}

impl ManifestFound {
    /// Its name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part => "part",
            Self::Nothing => "nothing",
        }
    }
}

/// What a salvage saved, and what is lost.
///
/// ```
/// use datestone_engine::salvage::SalvageReport;
/// assert!(SalvageReport::default().is_clean());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// What was left of the manifest.
    pub manifest: ManifestFound,
    /// Collections in the new database, those that the database keeps for itself among them.
    pub collections: u64,
    /// Segments that were looked at.
    pub segments: u64,
    /// Segments of them with damage, those that are lost among them.
    pub segments_damaged: u64,
    /// Segments of which nothing could be saved.
    pub segments_lost: u64,
    /// Blocks saved.
    pub blocks: u64,
    /// Blocks known to be lost.
    pub blocks_lost: u64,
    /// Updates saved from segments.
    pub updates: u64,
    /// Updates known to be lost from segments.
    pub updates_lost: u64,
    /// Updates that were left out because a later segment has them too; only without a whole manifest.
    pub updates_left_out: u64,
    /// Commits saved from the log.
    pub commits: u64,
    /// Commits known to be lost from the log.
    pub commits_lost: u64,
    /// What is damaged, each naming file and offset, up to [`SalvageOptions::damages_max`].
    pub damages: Vec<SalvageDamage>,
    /// Count of all damages.
    pub damage_count: u64,
}

impl SalvageReport {
    /// Whether nothing was damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damage_count == 0
    }

    /// Counts a damage, and lists it unless there are `damages_max` already.
    pub(super) fn add(&mut self, damage: SalvageDamage, damages_max: usize) {
        self.damage_count += 1;
        if self.damages.len() < damages_max {
            self.damages.push(damage);
        }
    }
}

/// One damage, and what is lost by it as far as anybody can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageDamage {
    /// The file.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// The collection.
    pub collection: Option<String>,
    /// The first key that is lost.
    pub first_key: Option<Vec<u8>>,
    /// The first key behind that is not.
    pub end_key: Option<Vec<u8>>,
    /// The least and the greatest time of what is lost.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Count of the updates that are lost.
    pub updates: Option<u64>,
    /// The commits of the log that are lost, by seqno.
    pub commits: Range<u64>,
}

impl SalvageDamage {
    pub(super) fn new(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.into(), offset, what: what.into(), ..Self::default() }
    }

    /// A block of a collection's segment.
    pub(super) fn block(file: &Path, collection: &str, lost: LostBlock) -> Self {
        Self {
            collection: Some(collection.into()),
            first_key: lost.first_key,
            end_key: lost.end_key,
            times: lost.times.map(|times| (times.first, times.last)),
            updates: lost.updates,
            ..Self::new(file, lost.offset, format!("block: {}", lost.what))
        }
    }
}

impl fmt::Display for SalvageDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.file.display(), self.offset, self.what)?;
        if let Some(collection) = &self.collection {
            write!(f, "; collection '{collection}'")?;
        }
        if let Some(first) = &self.first_key {
            write!(f, ", keys from \"{}\"", first.escape_ascii())?;
        }
        if let Some(end) = &self.end_key {
            write!(f, " to \"{}\"", end.escape_ascii())?;
        }
        if let Some((first, last)) = self.times {
            write!(f, ", times {first} to {last}")?;
        }
        if let Some(updates) = self.updates {
            write!(f, ", {updates} updates lost")?;
        }
        if !self.commits.is_empty() {
            write!(f, ", commits {} to {} lost", self.commits.start, self.commits.end - 1)?;
        }
        Ok(())
    }
}
