//! A figure: one line of JSON.

use crate::data::Seen;
use serde::{Deserialize, Serialize};

/// Which of two values wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// Rates.
    Higher,
    /// Times, memory, bytes.
    Lower,
}

/// One figure of one engine in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Who.
    pub(crate) engine: String,
    /// Which work.
    pub(crate) work: String,
    /// What of it.
    pub(crate) figure: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: String,
    /// Which of two wins.
    pub(crate) better: Better,
    /// The round.
    pub(crate) round: u32,
    /// Rows of the data.
    pub(crate) rows: u64,
    /// Most memory that the process had until now, mapped files included, in bytes.
    pub(crate) peak_rss: u64,
    /// Bytes on disk now.
    pub(crate) disk_bytes: u64,
    /// Rows that were read, where every engine has to read the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// A sum over their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sum: Option<String>,
    /// How it was done, where engines differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Figure {
    /// With what was read.
    pub(crate) fn checked(mut self, seen: Seen) -> Self {
        self.count = Some(seen.count);
        self.sum = Some(format!("{:016x}", seen.sum));
        self
    }

    /// With how it was done.
    pub(crate) fn noted(mut self, note: &str) -> Self {
        self.note = Some(note.to_string());
        self
    }
}
