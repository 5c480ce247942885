//! The model: a collection is a sorted list of updates, and two frontiers. Nothing is ever merged,
//! advanced or forgotten here, so that every question is answered from the definition.

use datestone_engine::types::{Frontier, Timestamp};

/// One update.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnedUpdate {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub val: Vec<u8>,
    /// Its time.
    pub ts: Timestamp,
    /// The change of multiplicity.
    pub diff: i64,
}

/// A row of contents: key, value, multiplicity.
pub type ModelRow<'m> = (&'m [u8], &'m [u8], i64);

/// A collection as the semantics define it.
#[derive(Clone, Debug)]
pub struct Model {
    /// All updates ever added, sorted.
    updates: Vec<OwnedUpdate>,
    /// Reads need `as_of >= since`.
    pub since: Frontier,
    /// First time that is not complete.
    pub upper: Frontier,
}

impl Default for Model {
    fn default() -> Self {
        Self { updates: Vec::new(), since: Frontier::MIN, upper: Frontier::MIN }
    }
}

impl Model {
    /// Adds updates.
    pub fn append(&mut self, updates: impl IntoIterator<Item = OwnedUpdate>) {
        self.updates.extend(updates);
        self.updates.sort();
    }

    /// All updates, sorted.
    #[must_use]
    pub fn updates(&self) -> &[OwnedUpdate] {
        &self.updates
    }

    /// Raises upper.
    pub fn advance_upper(&mut self, upper: Frontier) {
        self.upper = self.upper.max(upper);
    }

    /// Raises since.
    pub fn compact_below(&mut self, since: Frontier) {
        self.since = self.since.max(since);
    }

    /// First and last readable time, both inclusive.
    #[must_use]
    pub fn readable(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.since.ts()?, self.upper.last_below()?);
        (first <= last).then_some((first, last))
    }

    /// Every readable time at which the contents differ from the time before, the time just before
    /// each of these, and the ends of the readable window.
    #[must_use]
    pub fn telling_times(&self) -> Vec<Timestamp> {
        let Some((first, last)) = self.readable() else { return Vec::new() };
        let mut times: Vec<Timestamp> = vec![first, last];
        for update in &self.updates {
            times.extend([update.ts.saturating_sub(1), update.ts]);
        }
        times.retain(|ts| (first..=last).contains(ts));
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The contents at `as_of`: for each `(key, val)` the sum of the diffs up to then, without zeros.
    #[must_use]
    pub fn contents(&self, as_of: Timestamp) -> Vec<ModelRow<'_>> {
        let same = |a: &OwnedUpdate, b: &OwnedUpdate| (&a.key, &a.val) == (&b.key, &b.val);
        let mut rows = Vec::new();
        for group in self.updates.chunk_by(same) {
            let sum: i64 = group.iter().filter(|u| u.ts <= as_of).map(|u| u.diff).sum();
            if let (Some(first), true) = (group.first(), sum != 0) {
                rows.push((first.key.as_slice(), first.val.as_slice(), sum));
            }
        }
        rows
    }

    /// All updates with times below since at since, equal ones added up, without zeros.
    #[must_use]
    pub fn advanced(&self) -> Vec<OwnedUpdate> {
        let mut all = self.updates.clone();
        for update in &mut all {
            update.ts = self.since.advance(update.ts);
        }
        all.sort();
        all.dedup_by(|next, kept| {
            let same = (&next.key, &next.val, next.ts) == (&kept.key, &kept.val, kept.ts);
            if same {
                kept.diff += next.diff;
            }
            same
        });
        all.retain(|update| update.diff != 0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(key: &str, ts: u64, diff: i64) -> OwnedUpdate {
        OwnedUpdate { key: key.into(), val: vec![], ts, diff }
    }

    #[test]
    fn the_model_follows_the_definition() {
        let mut model = Model::default();
        model.append([update("a", 1, 1), update("b", 2, 2), update("a", 3, -1), update("a", 3, 0)]);
        assert_eq!(model.readable(), None);
        model.advance_upper(Frontier::at(4));
        assert_eq!(model.contents(2), [(&b"a"[..], &b""[..], 1), (&b"b"[..], &b""[..], 2)]);
        assert_eq!(model.contents(3), [(&b"b"[..], &b""[..], 2)]);
        assert_eq!(model.telling_times(), [0, 1, 2, 3]);
        model.compact_below(Frontier::at(3));
        assert_eq!(model.readable(), Some((3, 3)));
        assert_eq!(model.advanced(), [update("b", 3, 2)]);
    }
}
