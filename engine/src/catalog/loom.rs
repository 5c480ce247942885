//! Loom models of what readers of the catalog see while commits and hand-overs are published.
//!
//! Run with `RUSTFLAGS="--cfg datestone_loom" cargo test -p datestone-engine --release catalog`.

use super::{Catalog, Frozen, MemSet};
use crate::collection::{Change, Collections, Description};
use crate::memtable::Memtable;
use crate::sync::{Arc, RwLock};
use crate::types::{CollectionId, Frontier, Kind, SeqNo, Timestamp, Update};
use ::loom::thread;
use std::collections::HashMap;

const A: CollectionId = CollectionId(1);
const B: CollectionId = CollectionId(2);
/// The database's clock, on which neither collection is.
const CLOCK: Timestamp = 1;

fn two_collections() -> Collections {
    let mut collections = Collections::restore([]);
    for (id, name) in [(A, "a"), (B, "b")] {
        let description =
            Description { id, name: name.into(), kind: Kind::Multiset, meta: [].into() };
        collections.apply(&Change::Create(description), CLOCK).unwrap();
    }
    collections.take_changed();
    collections
}

fn catalog(collections: &Collections) -> (Arc<RwLock<Catalog>>, std::sync::Arc<Memtable>) {
    let active = std::sync::Arc::new(Memtable::new(0));
    let mem = MemSet { active: std::sync::Arc::clone(&active), frozen: Vec::new() };
    let catalog = Catalog::new(collections.clone(), HashMap::new(), std::sync::Arc::new(mem));
    (Arc::new(RwLock::new(catalog)), active)
}

/// Goal: readers see all of a commit over two collections or none of it. Method: one thread raises
/// both uppers in one publication; whoever looks under one read lock finds them equal.
#[test]
fn a_commit_is_seen_whole() {
    ::loom::model(|| {
        let mut collections = two_collections();
        let (catalog, _) = catalog(&collections);
        let reader = {
            let catalog = Arc::clone(&catalog);
            thread::spawn(move || {
                let catalog = catalog.read();
                let upper = |id| catalog.collections().get(id).map(|c| c.upper);
                assert_eq!(upper(A), upper(B));
            })
        };
        for id in [A, B] {
            collections.apply(&Change::AdvanceUpper(id, Frontier::at(5)), CLOCK).unwrap();
        }
        let changed = collections.take_changed();
        catalog.write().publish(&changed, &collections);
        reader.join().unwrap();
    });
}

/// Goal: an update is in what a reader pins exactly once while its memtable is handed over, and is
/// there as soon as upper has passed it. Method: insert, publish upper, hand over; a reader that
/// may read the time finds the update once.
#[test]
fn a_hand_over_neither_hides_nor_doubles() {
    ::loom::model(|| {
        let mut collections = two_collections();
        let (catalog, active) = catalog(&collections);
        let reader = {
            let catalog = Arc::clone(&catalog);
            thread::spawn(move || {
                let catalog = catalog.read();
                let readable = catalog.collections().get(A).is_some_and(|a| a.upper.is_beyond(3));
                let found: u64 = catalog
                    .mem()
                    .iter()
                    .filter_map(|memtable| memtable.slot(A))
                    .map(|slot| slot.updates())
                    .sum();
                assert!(found <= 1);
                assert!(found == 1 || !readable);
            })
        };
        active.writer().insert_all(A, [Update { key: b"k", val: b"v", ts: 3, diff: 1 }]);
        collections.apply(&Change::AdvanceUpper(A, Frontier::at(4)), CLOCK).unwrap();
        let changed = collections.take_changed();
        catalog.write().publish(&changed, &collections);
        active.freeze();
        let frozen =
            Frozen { memtable: active, last_seqno: SeqNo(1), changed: Vec::new(), clock: CLOCK };
        let fresh = std::sync::Arc::new(Memtable::new(0));
        catalog.write().set_mem(MemSet { active: fresh, frozen: vec![frozen.into()] });
        reader.join().unwrap();
    });
}
