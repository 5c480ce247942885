//! Loom models of holds that are made and let go of beside a since that rises.
//!
//! Run with `RUSTFLAGS="--cfg datestone_loom" cargo test -p datestone-engine --release holds`.

use super::Holds;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::types::{CollectionId, Frontier, SeqNo};
use ::loom::thread;
use std::sync::Arc;

const ID: CollectionId = CollectionId(3);
/// What is asked to be forgotten.
const WANTED: Frontier = Frontier::at(5);

/// What the models have of a database: the leader with its since, what is published of it, and what
/// merges have folded.
struct Database {
    holds: Arc<Holds>,
    leader: Mutex<Frontier>,
    published: RwLock<Frontier>,
    folded: AtomicU64,
}

impl Database {
    fn new() -> ::loom::sync::Arc<Self> {
        let (leader, published) = (Mutex::new(Frontier::MIN), RwLock::new(Frontier::MIN));
        let (holds, folded) = (Arc::default(), AtomicU64::new(0));
        ::loom::sync::Arc::new(Self { holds, leader, published, folded })
    }

    /// As a commit that asks for since is led.
    fn compact_below(&self, wanted: Frontier) {
        let mut leader = self.leader.lock();
        let limited = self.holds.limit(ID, wanted);
        *leader = limited.max(*leader);
        if limited < wanted {
            self.holds.remember(ID, wanted);
        }
        *self.published.write() = *leader;
    }

    /// As the background work raises what holds have let go of.
    fn raise_due(&self) {
        if !self.holds.is_due() {
            return;
        }
        let mut leader = self.leader.lock();
        for (_, since) in self.holds.due(|_| Some(*leader)) {
            *leader = since.max(*leader);
            *self.published.write() = *leader;
        }
    }

    /// As a merge folds what lies below since.
    fn merge(&self) {
        let since = self.published.read().ts().unwrap();
        self.folded.fetch_max(since, Ordering::SeqCst);
    }

    /// Holds `at` for a while, unless since is beyond it: nothing of it is folded meanwhile.
    fn hold(&self, at: Frontier) {
        let hold = {
            let leader = self.leader.lock();
            if *leader > at {
                return;
            }
            self.holds.hold(ID, at, "model", SeqNo(0))
        };
        let folded = self.folded.load(Ordering::SeqCst);
        assert!(*self.published.read() <= at && Frontier::at(folded) <= at, "I1");
        drop(hold);
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Goal: I1 and I3: what is held is neither published as forgotten nor folded, and what was asked for
/// comes about when nobody holds it any more.
#[test]
fn a_hold_is_made_beside_a_since_that_rises() {
    check(|| {
        let database = Database::new();
        let forgetter = thread::spawn({
            let database = ::loom::sync::Arc::clone(&database);
            move || {
                database.compact_below(WANTED);
                database.merge();
            }
        });
        database.hold(Frontier::at(2));
        forgetter.join().unwrap();
        database.raise_due();
        assert_eq!(*database.published.read(), WANTED, "what was held back is lost");
    });
}

/// Goal: the same while the background work raises since: of two that hold, the last one to let go
/// leaves nothing held back.
#[test]
fn what_is_let_go_of_is_raised() {
    check(|| {
        let database = Database::new();
        let hold = database.holds.hold(ID, Frontier::at(1), "first", SeqNo(0));
        database.compact_below(WANTED);
        let worker = thread::spawn({
            let database = ::loom::sync::Arc::clone(&database);
            move || {
                database.raise_due();
                database.merge();
            }
        });
        let holder = thread::spawn({
            let database = ::loom::sync::Arc::clone(&database);
            move || database.hold(Frontier::at(3))
        });
        drop(hold);
        worker.join().unwrap();
        holder.join().unwrap();
        database.raise_due();
        assert_eq!(*database.published.read(), WANTED, "what was held back is lost");
    });
}
