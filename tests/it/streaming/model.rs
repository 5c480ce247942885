//! Random histories: whatever can be asked along the time axis agrees with a sorted list of updates,
//! with flushes, merges, forgetting and restarts in between.

use super::{Consumer, all, work_off};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::MemFs;
use datestone_engine::read::RangeSpec;
use datestone_engine::subscription::Subscription;
use datestone_engine::types::{CollectionId, Frontier, Kind};
use datestone_tests::database::{collect, open, push, small_options};
use datestone_tests::model::{Model, OwnedUpdate};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;

#[derive(Clone, Debug)]
enum Op {
    /// Updates at so much beyond upper, which then advances.
    Append {
        updates: Vec<(u8, u8, u8, i64)>,
        advance: u8,
    },
    /// Many updates at one time.
    Bulk {
        count: u16,
        ahead: u8,
    },
    CompactBelow(u8),
    Flush,
    Work,
    Compact,
    Reopen,
    /// A new subscription or listener as of a readable time.
    Subscribe {
        at: u8,
        with_snapshot: bool,
        piece: u16,
    },
    /// One of them reads on.
    Read(u8),
    Unsubscribe(u8),
    History {
        lower: u8,
        len: u8,
        from: u8,
        keys: u8,
    },
    Changes {
        from: u8,
        to: u8,
        first: u8,
        keys: u8,
    },
    Split(u8),
    MultiGet(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let diff = prop_oneof![Just(1_i64), Just(-1), Just(2)];
    let updates = prop::collection::vec((0..12_u8, 0..3_u8, 0..6_u8, diff), 0..12);
    prop_oneof![
        8 => (updates, 0..5_u8).prop_map(|(updates, advance)| Op::Append { updates, advance }),
        1 => (500..1500_u16, 0..3_u8).prop_map(|(count, ahead)| Op::Bulk { count, ahead }),
        2 => any::<u8>().prop_map(Op::CompactBelow),
        2 => Just(Op::Flush),
        2 => Just(Op::Work),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        2 => (any::<u8>(), any::<bool>(), 1..3000_u16).prop_map(|(at, with_snapshot, piece)| {
            Op::Subscribe { at, with_snapshot, piece }
        }),
        4 => any::<u8>().prop_map(Op::Read),
        1 => any::<u8>().prop_map(Op::Unsubscribe),
        3 => any::<(u8, u8, u8, u8)>()
            .prop_map(|(lower, len, from, keys)| Op::History { lower, len, from, keys }),
        3 => any::<(u8, u8, u8, u8)>()
            .prop_map(|(from, to, first, keys)| Op::Changes { from, to, first, keys }),
        1 => (1..9_u8).prop_map(Op::Split),
        1 => prop::collection::vec(0..14_u8, 0..20).prop_map(Op::MultiGet),
    ]
}

struct Listener {
    subscription: Subscription,
    consumer: Consumer,
    /// The updates that it was to deliver when it was made, from the snapshot.
    snapshot_at: Option<u64>,
    from: u64,
}

struct World {
    fs: MemFs,
    db: Db,
    id: CollectionId,
    model: Model,
    requested: Frontier,
    listeners: Vec<Listener>,
}

fn key(n: u8) -> Vec<u8> {
    // Some keys are prefixes of others, one is empty.
    vec![b'k'; usize::from(n % 4)].into_iter().chain((n > 3).then_some(n)).collect()
}

fn range(first: u8, keys: u8) -> RangeSpec {
    let start = if first < 100 { Bound::Unbounded } else { Bound::Included(key(first % 12)) };
    let end = if keys < 100 { Bound::Unbounded } else { Bound::Excluded(key(keys % 12)) };
    RangeSpec { start, end }
}

fn in_range(range: &RangeSpec, key: &[u8]) -> bool {
    range.first_key().is_none_or(|first| key >= first.as_slice())
        && range.end_key().is_none_or(|end| key < end.as_slice())
}

impl World {
    fn new() -> Self {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        let id = db.create_or_load(Kind::Multiset, "c", &[]).unwrap().id;
        let (model, requested) = (Model::default(), Frontier::MIN);
        Self { fs, db, id, model, requested, listeners: Vec::new() }
    }

    fn commit(&mut self, updates: Vec<OwnedUpdate>, upper: Frontier) {
        let mut commit = Commit::new();
        push(&mut commit, self.id, "c", &updates).unwrap();
        commit.advance_upper(self.id, upper).unwrap();
        self.db.commit(commit, Durability::Buffer).unwrap();
        self.model.append(updates);
        self.model.advance_upper(upper);
        self.settle();
    }

    /// What holds have let go of takes effect: with no threads at the latest at the next commit.
    fn settle(&mut self) {
        let holds = self.db.holds();
        let least = holds.iter().map(|hold| hold.at).min().unwrap_or(Frontier::CLOSED);
        let since = self.db.collection(self.id).unwrap().since;
        assert!(since <= least.max(self.model.since), "{since} in spite of {holds:?}");
        assert!(since >= self.model.since && since <= self.requested);
        self.model.since = since;
    }

    fn time(&self, at: u8) -> Option<u64> {
        let (first, last) = self.model.readable()?;
        Some(first + u64::from(at) % (last - first + 1))
    }

    fn run(&mut self, op: Op) {
        let upper = self.model.upper.ts().unwrap();
        match op {
            Op::Append { updates, advance } => {
                let updates = updates.into_iter().map(|(k, v, ahead, diff)| OwnedUpdate {
                    key: key(k),
                    val: vec![v],
                    ts: upper + u64::from(ahead),
                    diff,
                });
                let updates = updates.collect();
                self.commit(updates, Frontier::at(upper + u64::from(advance)));
            }
            Op::Bulk { count, ahead } => {
                let ts = upper + u64::from(ahead);
                let row = |n: u16| OwnedUpdate {
                    key: key(5),
                    val: n.to_be_bytes().to_vec(),
                    ts,
                    diff: 1,
                };
                self.commit((0..count).map(row).collect(), Frontier::at(upper + 1));
            }
            Op::CompactBelow(at) => {
                let Some(to) = self.time(at) else { return };
                let mut commit = Commit::new();
                commit.compact_below(self.id, Frontier::at(to)).unwrap();
                self.db.commit(commit, Durability::Fsync).unwrap();
                self.requested = self.requested.max(Frontier::at(to));
                self.settle();
                assert_eq!(self.db.requested_since(self.id).unwrap(), self.requested);
            }
            Op::Flush => self.db.flush().unwrap(),
            Op::Work => {
                work_off(&self.db);
                self.settle();
            }
            Op::Compact => {
                self.db.compact(None).unwrap();
                self.settle();
                let holds = self.db.holds();
                let least = holds.iter().map(|hold| hold.at).min().unwrap_or(Frontier::CLOSED);
                let due = self.requested.min(least).max(self.model.since);
                assert_eq!(self.model.since, due, "{holds:?}");
            }
            Op::Reopen => self.reopen(),
            Op::Subscribe { at, with_snapshot, piece } => self.subscribe(at, with_snapshot, piece),
            Op::Read(which) => {
                let count = self.listeners.len();
                if let Some(listener) = self.listeners.get_mut(usize::from(which) % count.max(1)) {
                    listener.read(&self.model);
                }
            }
            Op::Unsubscribe(which) => {
                if !self.listeners.is_empty() {
                    self.listeners.swap_remove(usize::from(which) % self.listeners.len());
                }
            }
            Op::History { lower, len, from, keys } => self.history(lower, len, &range(from, keys)),
            Op::Changes { from, to, first, keys } => self.changes(from, to, &range(first, keys)),
            Op::Split(count) => self.split(count.into()),
            Op::MultiGet(keys) => self.multi_get(&keys),
        }
    }

    fn reopen(&mut self) {
        // A restart ends the holds; each listener is resumed at the frontier that it reports.
        let resumed: Vec<Option<u64>> =
            self.listeners.iter().map(|l| l.subscription.frontier().last_below()).collect();
        let listeners = std::mem::take(&mut self.listeners);
        self.db.close().unwrap();
        self.db = open(&self.fs, &small_options()).unwrap();
        self.requested = self.model.since;
        self.settle();
        for (mut listener, as_of) in listeners.into_iter().zip(resumed) {
            let Some(as_of) = as_of.filter(|_| listener.consumer.frontier.is_some()) else {
                continue;
            };
            listener.subscription = self.db.listen(self.id, as_of, "resumed").unwrap();
            let frontier = Frontier::just_beyond(as_of);
            // What was delivered of the interval that was under way comes again.
            listener.consumer.updates.retain(|update| frontier.is_beyond(update.ts));
            self.listeners.push(listener);
        }
    }

    fn subscribe(&mut self, at: u8, with_snapshot: bool, piece: u16) {
        let Some(as_of) = self.time(at).filter(|_| self.listeners.len() < 4) else { return };
        let mut subscription = if with_snapshot {
            self.db.subscribe(self.id, as_of, "subscriber").unwrap()
        } else {
            self.db.listen(self.id, as_of, "listener").unwrap()
        };
        subscription.set_piece_bytes(piece.into());
        let snapshot_at = with_snapshot.then_some(as_of);
        let consumer = Consumer::default();
        self.listeners.push(Listener { subscription, consumer, snapshot_at, from: as_of });
    }

    fn history(&self, lower: u8, len: u8, range: &RangeSpec) {
        let upper = self.model.upper.ts().unwrap();
        let lower = u64::from(lower) % (upper + 2);
        let end = (lower + u64::from(len) % 20).min(upper);
        let found =
            self.db.history(self.id, range.clone(), lower, Some(Frontier::at(end))).unwrap();
        let mut expected = self.model.advanced();
        expected.retain(|u| lower <= u.ts && u.ts < end && in_range(range, &u.key));
        assert_eq!(all(found).unwrap(), expected, "history {lower}..{end} of {range:?}");
        let beyond = self.db.history(self.id, range.clone(), 0, Some(Frontier::at(upper + 1)));
        assert!(beyond.is_err());
    }

    fn changes(&self, a: u8, b: u8, range: &RangeSpec) {
        let (Some(a), Some(b)) = (self.time(a), self.time(b)) else { return };
        let (from, to) = (a.min(b), a.max(b));
        let found = self.db.changes(self.id, range.clone(), from, to).unwrap();
        let mut sums: BTreeMap<(&[u8], &[u8]), i64> = BTreeMap::new();
        let (before, after) = (self.model.contents(from), self.model.contents(to));
        before.iter().for_each(|(key, val, diff)| *sums.entry((key, val)).or_default() -= diff);
        after.iter().for_each(|(key, val, diff)| *sums.entry((key, val)).or_default() += diff);
        let expected: Vec<_> = sums
            .into_iter()
            .filter(|((key, _), diff)| *diff != 0 && in_range(range, key))
            .map(|((key, val), diff)| (key.to_vec(), val.to_vec(), diff))
            .collect();
        assert_eq!(collect(found).unwrap(), expected, "changes {from}..={to} of {range:?}");
    }

    fn split(&self, count: usize) {
        let Some(as_of) = self.time(u8::MAX) else { return };
        let snapshot = self.db.snapshot(self.id, as_of).unwrap();
        let parts = snapshot.split(count).unwrap();
        assert!(!parts.is_empty() && parts.len() <= count);
        assert!(parts.windows(2).all(|pair| pair[0].end_key() == pair[1].first_key()));
        let joined: Vec<_> =
            parts.into_iter().flat_map(|part| collect(snapshot.rows(part)).unwrap()).collect();
        assert_eq!(joined, collect(snapshot.rows(RangeSpec::ALL)).unwrap());
    }

    fn multi_get(&self, keys: &[u8]) {
        let Some(as_of) = self.time(77) else { return };
        let snapshot = self.db.snapshot(self.id, as_of).unwrap();
        let keys: Vec<Vec<u8>> = keys.iter().map(|n| key(*n)).collect();
        let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut found = vec![Vec::new(); keys.len()];
        snapshot
            .multi_get(&slices, |index, val, diff| {
                found[index].push((val.to_vec(), diff));
                Ok(())
            })
            .unwrap();
        let contents = self.model.contents(as_of);
        for (key, found) in keys.iter().zip(found) {
            let of_key = contents.iter().filter(|row| row.0 == key);
            assert!(found.iter().map(|(v, d)| (&v[..], *d)).eq(of_key.map(|row| (row.1, row.2))));
        }
    }
}

impl Listener {
    /// Reads everything and compares it with the model: each update, and the contents at the
    /// frontier.
    fn read(&mut self, model: &Model) {
        self.consumer.drain(&mut self.subscription).unwrap();
        assert_eq!(self.subscription.try_next().unwrap(), None);
        let frontier = self.subscription.frontier();
        assert!(frontier >= model.upper);
        let mut expected: Vec<OwnedUpdate> = Vec::new();
        if let Some(as_of) = self.snapshot_at {
            let rows = model.contents(as_of).into_iter();
            expected.extend(rows.map(|(key, val, diff)| OwnedUpdate {
                key: key.to_vec(),
                val: val.to_vec(),
                ts: as_of,
                diff,
            }));
        }
        let mut unforgetful = model.clone();
        unforgetful.since = Frontier::MIN;
        let mut news = unforgetful.advanced();
        news.retain(|update| update.ts > self.from && model.upper.is_beyond(update.ts));
        news.sort_by(|a, b| (a.ts, &a.key, &a.val).cmp(&(b.ts, &b.key, &b.val)));
        expected.extend(news);
        assert_eq!(self.consumer.updates, expected);
        if let (Some(_), Some(last)) = (self.snapshot_at, model.upper.last_below()) {
            let contents = self.consumer.contents();
            let rows = contents.iter().map(|(key, val, diff)| (&key[..], &val[..], *diff));
            assert!(rows.eq(model.contents(last)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn reads_along_the_time_axis_agree_with_the_model(ops in prop::collection::vec(op(), 1..70)) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        for listener in &mut world.listeners {
            listener.read(&world.model);
        }
    }
}
