//! [`Reads`]: what a transaction has read, to be found unchanged when it is committed.

use crate::read::RangeSpec;
use crate::types::{CollectionId, Timestamp};

/// The reads of a transaction, all as of one time of the database's clock.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// The time.
    pub as_of: Timestamp,
    /// Keys that were read, whether there was a value or not.
    pub keys: Vec<(CollectionId, Vec<u8>)>,
    /// Ranges of keys that were read.
    pub ranges: Vec<(CollectionId, RangeSpec)>,
}

impl Reads {
    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Whether a key of a table is among what was read.
    #[must_use]
    pub fn cover(&self, table: CollectionId, key: &[u8]) -> bool {
        self.keys.iter().any(|(id, read)| *id == table && read == key)
            || self.ranges.iter().any(|(id, range)| *id == table && range.contains(key))
    }
}
