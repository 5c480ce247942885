//! The versions of a table's key as updates of a multiset: at the time of each version the value
//! before goes and the new one comes.

use crate::format::table_val::{VERSION_PUT, ts_of, val_of};
use crate::types::{Frontier, Kind, Timestamp};

/// Gathers the versions of one key, newest first, and gives them as updates.
#[derive(Debug, Default)]
pub(crate) struct Diffs {
    /// Versions as they are stored, and whether they were put, newest first.
    versions: Vec<(Vec<u8>, bool)>,
}

impl Diffs {
    /// Takes the next older version of the key.
    pub(crate) fn push(&mut self, stored: &[u8], diff: i64) {
        // Of several at one time the first is the one that counts.
        let ts = ts_of(stored);
        if self.versions.last().is_none_or(|(newer, _)| ts_of(newer) != ts) {
            self.versions.push((stored.to_vec(), diff == VERSION_PUT));
        }
    }

    /// Whether there is no version.
    pub(crate) const fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The updates that the versions make of what the key had `before`, in order of `(val, ts)`;
    /// those below `since` come at since. Forgets the versions.
    pub(crate) fn take(
        &mut self,
        kind: Kind,
        since: Frontier,
        mut before: Option<Vec<u8>>,
    ) -> Vec<(Vec<u8>, Timestamp, i64)> {
        // What the newest version at or below since hides is history that was given up.
        let hides = |(stored, _): &(Vec<u8>, bool)| since >= Frontier::at(ts_of(stored));
        if let Some(settled) = self.versions.iter().position(hides) {
            self.versions.truncate(settled + 1);
        }
        let mut updates: Vec<(Vec<u8>, Timestamp, i64)> = Vec::new();
        for (stored, put) in self.versions.drain(..).rev() {
            let ts = since.advance(ts_of(&stored));
            let val = put.then(|| val_of(kind, &stored).to_vec());
            if val != before {
                updates.extend(before.take().map(|before| (before, ts, -1)));
                updates.extend(val.clone().map(|val| (val, ts, 1)));
                before = val;
            }
        }
        updates.sort();
        updates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::table_val::{VERSION_DELETE, encode};
    use crate::types::SeqNo;

    #[test]
    fn each_version_takes_the_one_before_away() {
        let mut diffs = Diffs::default();
        let fill = |diffs: &mut Diffs| {
            let mut push = |ts, order, val: &[u8], diff| {
                let mut stored = Vec::new();
                encode(Kind::Table, ts, SeqNo(order), val, &mut stored);
                diffs.push(&stored, diff);
            };
            push(9, 6, b"b", VERSION_PUT);
            push(7, 5, b"b", VERSION_PUT);
            push(5, 4, b"", VERSION_DELETE);
            push(3, 3, b"a", VERSION_PUT);
            push(3, 2, b"overwritten", VERSION_PUT);
            push(1, 1, b"a", VERSION_PUT);
        };
        fill(&mut diffs);
        let row = |val: &[u8], ts, diff| (val.to_vec(), ts, diff);
        let all = [row(b"a", 1, 1), row(b"a", 5, -1), row(b"b", 7, 1)];
        assert_eq!(diffs.take(Kind::Table, Frontier::MIN, None), all);
        fill(&mut diffs);
        let late = [row(b"a", 4, 1), row(b"a", 5, -1), row(b"b", 7, 1)];
        assert_eq!(diffs.take(Kind::Table, Frontier::at(4), None), late);
        fill(&mut diffs);
        assert_eq!(diffs.take(Kind::Table, Frontier::at(6), None), [row(b"b", 7, 1)]);
        assert_eq!(diffs.take(Kind::Table, Frontier::at(6), None), []);
    }
}
