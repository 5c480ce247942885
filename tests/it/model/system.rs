//! The engine on a file system in memory, driven by the steps and compared with the world.

use super::steps::{End, Op, Probe, ProbeKind, Refusal, Step, key};
use super::world::{Action, Change, Machine, NAMES, Safety, World};
use datestone_engine::commit::Commit;
use datestone_engine::config::{Compression, Durability, Options};
use datestone_engine::db::Db;
use datestone_engine::error::{ErrorKind, Result};
use datestone_engine::io::MemFs;
use datestone_engine::read::RangeSpec;
use datestone_engine::read::range::prefix_range;
use datestone_engine::snapshot::Snapshot;
use datestone_engine::types::{CollectionId, Kind, Update};
use datestone_tests::database::{
    collection_difference, damage, difference, open, push, small_options, snapshot_difference,
    updates,
};
use datestone_tests::model::ModelRow;
use proptest_state_machine::StateMachineTest;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads at a time before the latest readable one.
pub(super) static HISTORICAL_READS: AtomicU64 = AtomicU64::new(0);

/// Flushes and merges.
pub(super) static FLUSHES: AtomicU64 = AtomicU64::new(0);
pub(super) static MERGES: AtomicU64 = AtomicU64::new(0);

/// The database under test.
pub(super) struct System {
    fs: MemFs,
    db: Db,
    ids: BTreeMap<usize, CollectionId>,
    dropped: Option<CollectionId>,
    held: Vec<Snapshot>,
}

/// Drives a system by the steps of a profile.
pub(super) struct Driver<const PROFILE: u8>;

impl<const PROFILE: u8> StateMachineTest for Driver<PROFILE> {
    type SystemUnderTest = System;
    type Reference = Machine<PROFILE>;

    fn init_test(_: &World) -> System {
        let fs = MemFs::new();
        let db = open(&fs, &small_options()).unwrap();
        System { fs, db, ids: BTreeMap::new(), dropped: None, held: Vec::new() }
    }

    fn apply(mut system: System, world: &World, _: Step) -> System {
        system.act(world);
        system
    }

    fn check_invariants(system: &System, world: &World) {
        system.check(world);
    }

    fn teardown(mut system: System, world: World) {
        system.check_everything(&world);
        system.db.compact(None).unwrap();
        system.check_everything(&world);
        system.count_work();
        system.db.close().unwrap();
        system.db = open(&system.fs, &small_options()).unwrap();
        system.check_everything(&world);
    }
}

impl System {
    fn act(&mut self, world: &World) {
        match &world.action {
            Action::Nothing => {}
            Action::Create(which) => {
                let found = self.db.create_or_load(Kind::Multiset, NAMES[*which], b"").unwrap();
                let known = self.ids.insert(*which, found.id);
                match known {
                    Some(known) => assert_eq!(known, found.id, "loaded, not created again"),
                    None => assert!(self.dropped < Some(found.id), "ids are not used again"),
                }
            }
            Action::Drop(which) => {
                assert!(self.db.drop_collection(NAMES[*which]).unwrap());
                self.dropped = self.dropped.max(self.ids.remove(which));
            }
            Action::Commit { parts, durability } => {
                self.commit(parts, *durability, None).unwrap();
            }
            Action::Refused { parts, refusal } => self.refused(parts, *refusal),
            Action::Hold { which, as_of } => {
                if self.held.len() > world.held.len() - 1 {
                    self.held.remove(0);
                }
                self.held.push(self.db.snapshot(self.ids[which], *as_of).unwrap());
            }
            Action::Release(index) => {
                self.held.remove(*index);
            }
            Action::Maintenance(op) => self.maintain(op, world),
        }
    }

    fn check(&self, world: &World) {
        for (which, name) in NAMES.iter().enumerate() {
            let found = self.db.find(name).ok().map(|found| found.id);
            assert_eq!(found, self.ids.get(&which).copied(), "collection '{name}'");
            assert_eq!(found.is_some(), world.collections.contains_key(&which), "'{name}'");
            if let Some(id) = found {
                let (found, model) = (self.db.collection(id).unwrap(), &world.collections[&which]);
                let found = (found.since, found.upper);
                assert_eq!(found, (model.since, model.upper), "frontiers of '{name}'");
            }
        }
        if let Some(probe) = &world.probe {
            self.probe(world, probe);
        }
    }

    fn commit(
        &self,
        parts: &[(usize, Change)],
        durability: Durability,
        last_id: Option<CollectionId>,
    ) -> Result<()> {
        let mut commit = Commit::new();
        for (index, (which, change)) in parts.iter().enumerate() {
            let name = NAMES[*which];
            let id = last_id.filter(|_| index + 1 == parts.len()).unwrap_or(self.ids[which]);
            match change {
                Change::Append(updates) => push(&mut commit, id, name, updates)?,
                Change::Compare { updates, expected, new } => {
                    let mut batch = commit.compare_and_append(id, name, *expected, *new)?;
                    for u in updates {
                        let (key, val) = (&u.key, &u.val);
                        batch.push(Update { key, val, ts: u.ts, diff: u.diff })?;
                    }
                    batch.finish()?;
                }
                Change::AdvanceUpper(upper) => commit.advance_upper(id, *upper)?,
                Change::CompactBelow(since) => commit.compact_below(id, *since)?,
            }
        }
        self.db.commit(commit, durability).map(drop)
    }

    fn refused(&self, parts: &[(usize, Change)], refusal: Refusal) {
        let dropped = match refusal {
            Refusal::Dropped => Some(self.dropped.unwrap_or(CollectionId(u64::MAX))),
            _ => None,
        };
        let kind = self.commit(parts, Durability::Fsync, dropped).unwrap_err().kind();
        let wanted = match refusal {
            Refusal::BelowUpper | Refusal::BeyondNewUpper => ErrorKind::Invalid,
            Refusal::UpperMismatch => ErrorKind::UpperMismatch,
            Refusal::Dropped => ErrorKind::NotFound,
        };
        assert_eq!(kind, wanted, "{refusal:?}");
    }

    fn maintain(&mut self, op: &Op, world: &World) {
        match op {
            Op::Flush => self.db.flush().unwrap(),
            Op::BackgroundSteps(count) => {
                for _ in 0..*count {
                    if !self.db.step().unwrap() {
                        break;
                    }
                }
            }
            Op::Compact(which) => {
                let id = which.and_then(|which| Some(self.ids[&world.pick(which)?]));
                self.db.compact(id).unwrap();
            }
            Op::Sync => self.db.sync().unwrap(),
            Op::Verify => {
                assert_eq!(damage(&self.db).unwrap().map(|e| e.to_string()), None);
                let names: Vec<_> = (self.db.collections().into_iter())
                    .map(|stats| stats.collection.description.name.to_string())
                    .collect();
                let wanted: Vec<_> = world.collections.keys().map(|w| NAMES[*w]).collect();
                assert_eq!(names, wanted);
            }
            Op::Reopen { end, options } => self.reopen(*end, *options, world),
            _ => unreachable!("not maintenance: {op:?}"),
        }
    }

    fn reopen(&mut self, end: End, options: u8, world: &World) {
        let survives = match end {
            End::Close => Safety::Nothing,
            End::Kill => Safety::Kill,
            End::PowerCut(_) => Safety::PowerCut,
        };
        if world.safety_before < survives {
            self.db.sync().unwrap();
        }
        self.count_work();
        let fs = match end {
            End::Close => {
                self.db.close().unwrap();
                self.fs.clone()
            }
            End::Kill => self.fs.kill(),
            End::PowerCut(plan) => self.fs.crash(plan),
        };
        // The old database closes itself on the old file system, which the new one does not see.
        self.db = open(&fs, &options_of(options)).unwrap();
        self.fs = fs;
    }

    fn count_work(&self) {
        let counts = self.db.stats().counts;
        FLUSHES.fetch_add(counts.flushes, Ordering::Relaxed);
        MERGES.fetch_add(counts.compactions, Ordering::Relaxed);
    }

    fn probe(&self, world: &World, probe: &Probe) {
        if let ProbeKind::Held(index) = probe.kind {
            if let Some(index) = usize::from(index).checked_rem(self.held.len()) {
                self.check_held(world, index);
            }
            return;
        }
        let Some(which) = world.pick(probe.which) else { return };
        let (id, model) = (self.ids[&which], &world.collections[&which]);
        match probe.kind {
            ProbeKind::BelowSince => {
                let Some(below) = model.since.last_below() else { return };
                let error = self.db.snapshot(id, below).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Compacted);
            }
            ProbeKind::BeyondUpper => {
                let Some(upper) = model.upper.ts() else { return };
                let error = self.db.snapshot(id, upper).unwrap_err();
                let compacted = model.since.is_beyond(upper);
                let wanted = if compacted { ErrorKind::Compacted } else { ErrorKind::NotYet };
                assert_eq!(error.kind(), wanted);
            }
            ProbeKind::Updates => {
                assert_eq!(updates(&self.db, id).unwrap(), model.advanced(), "all updates");
            }
            _ => {
                let Some(as_of) = world.pick_time(which, probe.at) else { return };
                if model.readable().is_some_and(|(_, last)| as_of < last) {
                    HISTORICAL_READS.fetch_add(1, Ordering::Relaxed);
                }
                let snapshot = self.db.snapshot(id, as_of).unwrap();
                read(&snapshot, &model.contents(as_of), probe.kind);
            }
        }
    }

    fn check_held(&self, world: &World, index: usize) {
        let held = &world.held[index];
        let name = NAMES[held.which];
        assert_eq!(self.held[index].as_of(), held.as_of);
        let found = snapshot_difference(&self.held[index], &held.model).unwrap();
        assert_eq!(found, None, "held snapshot of '{name}'");
    }

    fn check_everything(&self, world: &World) {
        for (which, model) in &world.collections {
            let found = collection_difference(&self.db, self.ids[which], model).unwrap();
            assert_eq!(found, None, "collection '{}'", NAMES[*which]);
        }
        for index in 0..self.held.len() {
            self.check_held(world, index);
        }
        assert_eq!(damage(&self.db).unwrap().map(|e| e.to_string()), None);
    }
}

fn read(snapshot: &Snapshot, contents: &[ModelRow<'_>], kind: ProbeKind) {
    let all = || contents.iter().copied();
    let found = match kind {
        ProbeKind::Get(choice) => {
            let key = key(choice);
            let mut found = Vec::new();
            let visit = |val: &[u8], diff| {
                found.push((val.to_vec(), diff));
                Ok(())
            };
            snapshot.get(&key, visit).unwrap();
            let wanted: Vec<_> =
                all().filter(|row| row.0 == key).map(|row| (row.1.to_vec(), row.2)).collect();
            assert_eq!(found, wanted, "get {} as of {}", key.escape_ascii(), snapshot.as_of());
            return;
        }
        ProbeKind::Count => {
            let count = snapshot.rows(RangeSpec::ALL).count().unwrap();
            assert_eq!(count, contents.len() as u64);
            return;
        }
        ProbeKind::Reverse => difference(snapshot.rows(RangeSpec::ALL).reversed(), all().rev()),
        ProbeKind::Range { from, to, inclusive, reverse } => {
            let (from, to) = (key(from), key(to));
            let within = |key: &[u8]| {
                if inclusive { *from <= *key && *key <= *to } else { *from < *key && *key < *to }
            };
            let bound = |key: &Vec<u8>| {
                if inclusive { Bound::Included(key.clone()) } else { Bound::Excluded(key.clone()) }
            };
            let range = RangeSpec { start: bound(&from), end: bound(&to) };
            let wanted: Vec<_> = all().filter(|row| within(row.0)).collect();
            directed(snapshot, range, reverse, wanted)
        }
        ProbeKind::Prefix { key: choice, len, reverse } => {
            let mut prefix = key(choice);
            prefix.truncate(usize::from(len));
            let wanted: Vec<_> = all().filter(|row| row.0.starts_with(&prefix)).collect();
            directed(snapshot, prefix_range(&prefix), reverse, wanted)
        }
        _ => difference(snapshot.rows(RangeSpec::ALL), all()),
    };
    assert_eq!(found.unwrap(), None, "{kind:?} as of {}", snapshot.as_of());
}

fn directed(
    snapshot: &Snapshot,
    range: RangeSpec,
    reverse: bool,
    mut wanted: Vec<ModelRow<'_>>,
) -> Result<Option<String>> {
    let mut rows = snapshot.rows(range);
    if reverse {
        rows = rows.reversed();
        wanted.reverse();
    }
    difference(rows, wanted)
}

/// Options of a new life of the database.
fn options_of(choice: u8) -> Options {
    let bit = |n: u8| choice >> n & 1 == 1;
    Options {
        compression: if bit(0) { Compression::Cold { level: 1 } } else { Compression::None },
        block_cache_bytes: if bit(1) { 0 } else { 1 << 20 },
        hash_index: !bit(2),
        auto_compaction: !bit(3),
        wal_file_bytes: if bit(4) { 256 << 10 } else { 64 << 10 },
        memtable_bytes: if bit(5) { 200 << 10 } else { 64 << 10 },
        ..small_options()
    }
}
