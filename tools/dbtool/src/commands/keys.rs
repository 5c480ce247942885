//! Which keys a command is about.

use crate::args::Keys;
use datestone::KeyRange;
use std::ops::Bound;

impl Keys {
    /// The keys that are meant.
    pub(crate) fn range(&self) -> KeyRange {
        if let Some(prefix) = &self.prefix {
            return KeyRange::prefix(&prefix.0);
        }
        let from = self.from_key.as_ref().map_or(Bound::Unbounded, |key| Bound::Included(&*key.0));
        let to = self.to_key.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&*key.0));
        KeyRange::of::<[u8], [u8]>((from, to))
    }
}
