//! Keys with deep histories beside a model, which is a list of rows.

// Outside of a model, loom's types do not work.
#![cfg(not(datestone_loom))]

use super::{CHAIN_STEPS_MAX, SHALLOW_KEYS_MAX};
use crate::format::{key_hash, table_val};
use crate::found::Found;
use crate::memtable::Memtable;
use crate::types::{CollectionId, Kind, SeqNo, TimeWindow, Timestamp, Update};
use std::collections::BTreeMap;

const COLLECTION: CollectionId = CollectionId(3);

/// What `seed` and a number give: chance that is the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end
    }
}

type Row = (Vec<u8>, Vec<u8>, Timestamp, i64);

struct Both {
    memtable: Memtable,
    rows: Vec<Row>,
}

impl Both {
    /// Keys are few more than there are buckets in the smallest memtable, so deep ones have
    /// neighbours.
    fn new() -> Self {
        Self { memtable: Memtable::new(0), rows: Vec::new() }
    }

    fn insert(&mut self, key: &[u8], val: &[u8], ts: Timestamp, diff: i64) {
        self.memtable.writer().insert_all(COLLECTION, [Update { key, val, ts, diff }]);
        self.rows.push((key.to_vec(), val.to_vec(), ts, diff));
    }

    fn in_window(&self, key: &[u8], window: TimeWindow) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.0 == key && window.contains(row.2))
    }

    /// Asserts that the contents of a key are those of the model.
    fn check_get(&self, key: &[u8], window: TimeWindow) {
        let mut sums: BTreeMap<&[u8], i128> = BTreeMap::new();
        for (_, val, _, diff) in self.in_window(key, window) {
            *sums.entry(val).or_default() += i128::from(*diff);
        }
        sums.retain(|_, sum| *sum != 0);
        let slot = self.memtable.slot(COLLECTION).unwrap();
        let mut found = Found::new();
        self.memtable.get(&slot, key, key_hash(key), window, &mut found);
        let mut all = Vec::new();
        let visit = found.visit(|val, sum| {
            all.push((val.to_vec(), sum));
            Ok::<_, ()>(())
        });
        assert_eq!(visit, Ok(()));
        let expected: Vec<_> = sums.iter().map(|(val, sum)| (val.to_vec(), *sum)).collect();
        assert_eq!(all, expected, "key {key:?} in {window:?} of {} rows", self.rows.len());
    }

    /// Asserts that the version of a key is that of the model: the least value of its last time.
    fn check_version(&self, key: &[u8], window: TimeWindow) {
        let expected = self.in_window(key, window).map(|row| (row.1.clone(), row.3)).min();
        let slot = self.memtable.slot(COLLECTION).unwrap();
        let mut all = Vec::new();
        self.memtable.version(&slot, key, key_hash(key), window, |version| {
            all.push((version.stored.as_slice().to_vec(), version.diff));
        });
        assert_eq!(all, Vec::from_iter(expected), "key {key:?} in {window:?}");
    }
}

/// Keys of the tests; the first ones get most of the updates.
fn key(chance: &mut Chance) -> Vec<u8> {
    let few = if chance.below(8) < 7 { 3 } else { 2_000 };
    chance.below(few).to_le_bytes().to_vec()
}

fn window(chance: &mut Chance, upper: Timestamp) -> TimeWindow {
    let last = chance.below(upper + 2);
    let first = if chance.below(3) == 0 { chance.below(last + 1) } else { 0 };
    TimeWindow { first, last }
}

/// Goal: point reads of deep keys, in all windows, are what the rows add up to, whatever the order
/// of times, and however many rows came between reads. Method: inserts and reads in turns.
#[test]
fn gets_of_deep_keys_agree_with_the_model() {
    for (seed, disorder, vals, pace) in
        [(1, 1, 4, 1), (2, 3, 400, 20), (3, 40, 4, 90), (4, 4_000, 30, 7), (5, 1, 1 << 30, 5)]
    {
        let (mut both, mut chance) = (Both::new(), Chance(seed));
        for step in 0..4_000 {
            let ts = (step / 3 + chance.below(disorder)) % 4_000;
            let key_at = key(&mut chance);
            let val = chance.below(vals).to_le_bytes();
            // Multiplicities of all sizes; that they sum to zero is frequent.
            let diff = [1, -1, 1, -1, 2, i64::MAX, -i64::MAX][chance.below(7) as usize];
            both.insert(&key_at, &val, ts, diff);
            if chance.below(pace) == 0 && (pace > 1 || chance.below(4) == 0) {
                both.check_get(&key(&mut chance), window(&mut chance, 4_000.min(ts + 3)));
                both.check_get(&0_u64.to_le_bytes(), TimeWindow { first: 0, last: ts });
                both.check_get(&key_at, TimeWindow::ALL);
            }
        }
        let slot = both.memtable.slot(COLLECTION).unwrap();
        assert!(slot.deep().keys.read().by_hash.len() >= 3, "the busy keys have histories");
        assert_eq!(slot.deep().bytes(), bytes_of_all(&both));
        assert!(both.memtable.history_bytes() < 2 * slot.bytes());
    }
}

fn bytes_of_all(both: &Both) -> u64 {
    let slot = both.memtable.slot(COLLECTION).unwrap();
    slot.deep().keys.read().by_hash.values().map(|known| known.bytes()).sum()
}

/// Goal: the same for versions of tables, several of one time included, where order decides. A get of
/// the same keys between does no harm.
#[test]
fn versions_of_deep_keys_agree_with_the_model() {
    for (seed, disorder, pace) in [(1, 1, 3), (2, 9, 20), (3, 4_000, 11), (4, 1, 200)] {
        let (mut both, mut chance) = (Both::new(), Chance(seed));
        let mut stored = Vec::new();
        for step in 0..4_000 {
            let ts = (step / 3 + chance.below(disorder)) % 4_000;
            let key_at = key(&mut chance);
            table_val::encode(Kind::Table, ts, SeqNo(step), &step.to_le_bytes(), &mut stored);
            both.insert(&key_at, &stored, ts, if chance.below(5) == 0 { -1 } else { 1 });
            if chance.below(pace) == 0 {
                both.check_version(&key(&mut chance), window(&mut chance, 4_000.min(ts + 3)));
                both.check_version(&0_u64.to_le_bytes(), TimeWindow { first: 0, last: ts / 2 });
                both.check_version(&key_at, TimeWindow::ALL);
                if seed == 2 {
                    both.check_get(&key_at, window(&mut chance, 4_000));
                }
            }
        }
        let slot = both.memtable.slot(COLLECTION).unwrap();
        assert!(slot.deep().keys.read().by_hash.len() >= 3, "the busy keys have histories");
        assert_eq!(slot.deep().bytes(), bytes_of_all(&both));
    }
}

/// Goal: a read of a deep key follows few entries, and so does one of its neighbour and one of a key
/// that is not here. Method: what a history covers after each read.
#[test]
fn histories_keep_up_with_the_writer() {
    let mut both = Both::new();
    for ts in 0..1_000_u64 {
        both.insert(b"hot", &ts.to_le_bytes(), ts, 1);
        both.check_get(b"hot", TimeWindow { first: 0, last: ts / 2 });
        let slot = both.memtable.slot(COLLECTION).unwrap();
        let keys = slot.deep().keys.read();
        let covered = keys.get(key_hash(b"hot"), b"hot").map_or(0, |known| known.history.count());
        let lag = ts as usize + 1 - covered;
        assert!(lag <= CHAIN_STEPS_MAX, "{lag} of {ts} are not covered");
        assert!(covered == 0 || lag <= super::TAIL_STEPS_MAX, "{lag} of {ts} are not covered");
    }
}

/// Goal: neighbours of deep keys have histories too, but a bounded number. Method: so many keys that
/// the chains of the smallest memtable are long.
#[test]
fn histories_of_keys_with_few_rows_are_bounded() {
    let mut both = Both::new();
    let updates = 0..100_000_u64;
    let keys: Vec<[u8; 8]> = updates.map(u64::to_le_bytes).collect();
    let updates = keys.iter().map(|key| Update { key, val: b"", ts: 1, diff: 1 });
    both.memtable.writer().insert_all(COLLECTION, updates);
    for key in keys.iter().step_by(7) {
        for _ in 0..2 {
            both.rows = vec![(key.to_vec(), Vec::new(), 1, 1)];
            both.check_get(key, TimeWindow::ALL);
            both.check_version(key, TimeWindow::ALL);
        }
    }
    let slot = both.memtable.slot(COLLECTION).unwrap();
    assert_eq!(slot.deep().keys.read().by_hash.len(), SHALLOW_KEYS_MAX);
}

/// Goal: the search in a history is right however times are spread, over the whole axis too: the
/// place where it begins is an estimate. Method: versions as of each time, and just beside it.
#[test]
fn times_of_any_spread_are_found() {
    let powers = (0..64).map(|bit| 1 << bit);
    let spreads: [Vec<Timestamp>; 6] = [
        [7; 90].to_vec(),
        [0, Timestamp::MAX - 1].repeat(50),
        powers.chain(Timestamp::MAX - 90..Timestamp::MAX).collect(),
        (0..300).map(|step| step / 100).collect(),
        (0..200).map(|step| 1_700_000_000_000_000_000 + step * step * 1_000_003).collect(),
        (0..100).chain([Timestamp::MAX - 1]).collect(),
    ];
    for mut times in spreads {
        times.sort_unstable();
        let mut both = Both::new();
        let mut stored = Vec::new();
        for (step, ts) in times.iter().enumerate() {
            table_val::encode(Kind::Table, *ts, SeqNo(step as u64), b"val", &mut stored);
            both.insert(b"hot", &stored, *ts, 1);
        }
        both.check_version(b"hot", TimeWindow { first: 0, last: 0 });
        both.check_version(b"hot", TimeWindow { first: 0, last: 0 });
        for ts in times {
            for last in [ts.saturating_sub(1), ts, ts.saturating_add(1)] {
                both.check_version(b"hot", TimeWindow { first: 0, last });
                both.check_get(b"hot", TimeWindow { first: 0, last });
            }
        }
        let slot = both.memtable.slot(COLLECTION).unwrap();
        assert_eq!(slot.deep().keys.read().by_hash.len(), 1, "a history was searched");
    }
}
