//! Those who use the database over time: transactions, commits with tokens, durable subscriptions,
//! retention policies.

use super::{Known, World};
use datestone_engine::commit::{Commit, Reads};
use datestone_engine::config::{Durability, Retention};
use datestone_engine::error::ErrorKind;
use datestone_engine::read::range::prefix_range;
use datestone_engine::subscription::Event;
use datestone_engine::types::{Frontier, Kind};
use std::collections::BTreeMap;

/// Who uses a collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    /// The durable subscription, if there is one.
    consumer: Option<Consumer>,
    /// Where `Retention::Everything` holds it.
    everything: Option<u64>,
    /// The fewest times behind the latest that a policy ever asked to keep: since is raised to there at a
    /// moment of the engine's own choice.
    behind: Option<u64>,
}

/// A consumer and what it has.
#[derive(Clone, Debug)]
struct Consumer {
    start: u64,
    /// Everything below is in `state`.
    frontier: u64,
    state: BTreeMap<(Vec<u8>, Vec<u8>), i64>,
}

impl Users {
    /// Where they hold since.
    pub(super) fn held(&self) -> impl Iterator<Item = u64> {
        let at = |consumer: &Consumer| consumer.start.max(consumer.frontier.saturating_sub(1));
        self.consumer.as_ref().map(at).into_iter().chain(self.everything)
    }

    /// Whether since is raised when the engine finds it right.
    pub(super) const fn drifts(&self) -> bool {
        self.behind.is_some()
    }

    /// Keys are gone as if they had never been.
    pub(super) fn forget(&mut self, prefix: &[u8]) {
        if let Some(consumer) = &mut self.consumer {
            consumer.state.retain(|(key, _), _| !key.starts_with(prefix));
        }
    }

    /// The policy holds what there is when the database is opened.
    pub(super) fn reopened(&mut self, since: u64) {
        self.everything = self.everything.map(|_| since);
    }
}

impl Known {
    /// The contents at a time.
    fn contents(&self, as_of: u64) -> BTreeMap<(Vec<u8>, Vec<u8>), i64> {
        let mut sums = BTreeMap::new();
        for update in self.folded().into_iter().filter(|update| update.ts <= as_of) {
            *sums.entry((update.key, update.val)).or_default() += update.diff;
        }
        sums.retain(|_, diff| *diff != 0);
        sums
    }
}

impl World {
    /// Takes over since where a policy may have raised it.
    pub(super) fn drift(&mut self) {
        let names: Vec<String> = self.known.keys().cloned().collect();
        for name in names {
            let known = &self.known[&name];
            let Some(behind) = known.users.behind else { continue };
            let latest = self.upper(known).saturating_sub(1);
            let since = self.db.collection(known.id).unwrap().since.ts().unwrap();
            let wanted = known.wanted.max(latest.saturating_sub(behind));
            let most = known.held().fold(wanted, u64::min).max(known.since);
            assert!((known.since..=most).contains(&since), "{name}: since {since}, {most} at most");
            self.known.get_mut(&name).unwrap().since = since;
        }
    }

    /// The name of a collection of this kind.
    fn any_of(&mut self, kind: Kind) -> Option<String> {
        let names: Vec<&String> = self
            .known
            .iter()
            .filter(|(_, known)| known.kind == kind)
            .map(|(name, _)| name)
            .collect();
        let at = self.chance.below(names.len().max(1) as u64) as usize;
        names.get(at).map(|name| (*name).clone())
    }

    /// Puts a value to a table on the database's clock.
    fn put(&mut self, commit: &mut Commit, name: &str, key: Vec<u8>) {
        let val = self.val();
        let known = self.known.get_mut(name).unwrap();
        let description = self.db.collection(known.id).unwrap().description;
        let mut puts = commit.puts(&description).unwrap();
        puts.put(&key, &val, None).unwrap();
        puts.finish();
        known.versions.entry(key).or_default().insert(self.clock, Some(val));
    }

    /// A transaction that has read a key or a range of a table, while somebody else may have written.
    pub(super) fn transact(&mut self) {
        let Some(name) = self.any_of(Kind::ClockTable) else { return };
        let id = self.known[&name].id;
        let as_of = self.db.now();
        let key = self.key();
        let by_range = self.chance.one_in(2);
        let mut reads = Reads { as_of, keys: Vec::new(), ranges: Vec::new() };
        if by_range {
            reads.ranges.push((id, prefix_range(&key[..1])));
        } else {
            reads.keys.push((id, key.clone()));
        }
        let mut conflict = false;
        if self.chance.one_in(2) {
            // The same key, or one beside it.
            let beside = self.chance.one_in(2);
            let mut written = key.clone();
            written[1] += if beside { 100 } else { 0 };
            conflict = by_range || !beside;
            let mut commit = Commit::new();
            self.put(&mut commit, &name, written);
            self.db.commit(commit, Durability::Fsync).unwrap();
            self.clock += 1;
            for _ in 0..self.below(3) {
                self.db.step().unwrap();
            }
            if self.chance.one_in(4) {
                self.db.compact(None).unwrap();
            }
        }
        self.drift();
        let forgotten = self.known[&name].since > as_of;
        let before = self.known[&name].versions.clone();
        let mut commit = Commit::new();
        let written = self.key();
        self.put(&mut commit, &name, written);
        commit.depend_on(reads);
        let refused = self.db.commit(commit, Durability::Fsync).err().map(|e| e.kind());
        let wanted = match (forgotten, conflict) {
            (true, _) => Some(ErrorKind::Compacted),
            (false, true) => Some(ErrorKind::Conflict),
            (false, false) => None,
        };
        assert_eq!(refused, wanted, "{name}, read at {as_of}");
        if refused.is_some() {
            self.known.get_mut(&name).unwrap().versions = before;
        } else {
            self.clock += 1;
        }
    }

    /// A commit that is tried twice, perhaps over a restart.
    pub(super) fn commit_once(&mut self) {
        let Some(name) = self.any_of(Kind::ClockTable) else { return };
        // The table of the database's own is there, so that only the commit ticks.
        self.made += 1;
        let token = self.made.to_be_bytes();
        let mut commit = Commit::new();
        let key = self.key();
        self.put(&mut commit, &name, key);
        let (done, again) =
            self.db.commit_once(commit, "writer", &token, Durability::Fsync).unwrap();
        assert_eq!((done.ts, again), (self.clock, false));
        self.clock += 1;
        match self.below(4) {
            0 => self.reopen(true),
            1 => self.reopen(false),
            2 => self.db.flush().unwrap(),
            _ => {}
        }
        let repeat = self.db.commit_once(Commit::new(), "writer", &token, Durability::Fsync);
        let (repeated, again) = repeat.unwrap();
        assert_eq!((repeated.ts, again), (done.ts, true));
    }

    /// A durable subscription is taken, has what there is delivered, and is acknowledged, or not, or is
    /// released.
    pub(super) fn consume(&mut self) {
        let Some(name) = self.any() else { return };
        let subscription = format!("to {name}");
        let upper = self.upper(&self.known[&name]);
        let (id, known) = (self.known[&name].id, self.known.get_mut(&name).unwrap());
        if known.users.consumer.is_none() {
            let start = known.since;
            if start >= upper {
                let refused = self.db.take_subscription(&subscription, id, start, "somebody");
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotYet);
                return;
            }
            let consumer = Consumer { start, frontier: start, state: BTreeMap::new() };
            known.users.consumer = Some(consumer);
        }
        let consumer = known.users.consumer.clone().unwrap();
        let taken = self.db.take_subscription(&subscription, id, consumer.start, "somebody");
        let taken = taken.unwrap();
        assert_eq!(
            (taken.start, taken.frontier),
            (consumer.start, Frontier::at(consumer.frontier))
        );
        let mut news = self.db.resume(&taken).unwrap();
        let (mut state, mut frontier) = (consumer.state, consumer.frontier);
        while let Some(event) = news.try_next().unwrap() {
            match event {
                Event::Updates(batch) => {
                    for update in (0..batch.len()).filter_map(|at| batch.get(at)) {
                        let row = (update.key.to_vec(), update.val.to_vec());
                        *state.entry(row).or_default() += update.diff;
                    }
                }
                Event::Progress(to) => frontier = to.ts().unwrap(),
            }
        }
        drop(news);
        state.retain(|_, diff| *diff != 0);
        // The books were written on the database's clock, and a reader of a table on it sees that.
        self.clock = self.db.now() + 1;
        let known = self.known.get(&name).unwrap();
        assert!((upper..=self.upper(known)).contains(&frontier), "{frontier}, not {upper}");
        let contents = known.contents(frontier - 1);
        let differs = state.iter().zip(&contents).find(|(a, b)| a != b);
        assert!(
            state.len() == contents.len() && differs.is_none(),
            "{name} below {frontier}: {differs:?}"
        );
        let what = self.below(4);
        let known = self.known.get_mut(&name).unwrap();
        if what == 0 {
            self.db.acknowledge(&subscription, taken.epoch, None).unwrap();
            known.users.consumer = None;
        } else if what < 3 {
            self.db.acknowledge(&subscription, taken.epoch, Some(Frontier::at(frontier))).unwrap();
            known.users.consumer = Some(Consumer { start: consumer.start, frontier, state });
        }
        self.clock = self.db.now() + 1;
        // What was held back takes effect by itself.
        while self.db.step().unwrap() {}
        known.settle();
    }

    /// Gives a collection a policy.
    pub(super) fn retain(&mut self) {
        let Some(name) = self.any() else { return };
        let behind = self.below(4);
        let policies = [
            Retention::Manual,
            Retention::Everything,
            Retention::Behind(behind),
            Retention::Latest,
        ];
        let policy = policies[self.below(4) as usize];
        let known = self.known.get_mut(&name).unwrap();
        let set = self.db.set_retention(known.id, policy);
        if known.kind == Kind::Log {
            assert_eq!(set.unwrap_err().kind(), ErrorKind::Invalid);
            return;
        }
        set.unwrap();
        self.clock = self.db.now() + 1;
        assert_eq!(self.db.retention(known.id).unwrap(), policy);
        let since = self.db.collection(known.id).unwrap().since.ts().unwrap();
        known.users.everything = (policy == Retention::Everything).then_some(since);
        let least = |count: u64| Some(known.users.behind.map_or(count, |known| known.min(count)));
        known.users.behind = match policy {
            Retention::Behind(count) => least(count),
            Retention::Latest => least(0),
            _ => known.users.behind,
        };
        while self.db.step().unwrap() {}
        known.settle();
    }
}
