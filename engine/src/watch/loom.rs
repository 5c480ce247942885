//! Loom models of how a change reaches whoever waits for it: a wake-up that is lost is a deadlock,
//! which loom reports.
//!
//! Run with `RUSTFLAGS="--cfg datestone_loom" cargo test -p datestone-engine --release watch`.

use super::{Parker, Watch};
use crate::sync::RwLock;
use crate::types::CollectionId;
use ::loom::thread;
use std::sync::Arc;

const ID: CollectionId = CollectionId(3);
const OTHER: CollectionId = CollectionId(4);

/// What a listener looks at, as it looks at the catalog.
type Upper = ::loom::sync::Arc<RwLock<u64>>;

/// Waits until upper has reached `wanted`, as a subscription does.
fn wait_until(watch: &Arc<Watch>, upper: &Upper, wanted: u64) {
    let parker = Arc::new(Parker::default());
    loop {
        let _registered = watch.register(ID, Arc::clone(&parker).into());
        if *upper.read() >= wanted {
            return;
        }
        assert!(parker.park(None));
    }
}

fn publish(watch: &Watch, upper: &Upper) {
    *upper.write() += 1;
    watch.changed(&[OTHER, ID]);
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Goal: I1, one listener and one commit.
#[test]
fn a_commit_reaches_a_listener() {
    check(|| {
        let (watch, upper) = (Arc::new(Watch::default()), Upper::new(RwLock::new(0)));
        let listener = thread::spawn({
            let (watch, upper) = (Arc::clone(&watch), Upper::clone(&upper));
            move || wait_until(&watch, &upper, 1)
        });
        publish(&watch, &upper);
        listener.join().unwrap();
        assert!(watch.waited_for().is_empty(), "what is woken or dropped is taken back");
    });
}

/// Goal: the listener registers anew between two commits and misses neither.
#[test]
fn two_commits_reach_a_listener() {
    check(|| {
        let (watch, upper) = (Arc::new(Watch::default()), Upper::new(RwLock::new(0)));
        let listener = thread::spawn({
            let (watch, upper) = (Arc::clone(&watch), Upper::clone(&upper));
            move || {
                wait_until(&watch, &upper, 1);
                wait_until(&watch, &upper, 2);
            }
        });
        publish(&watch, &upper);
        publish(&watch, &upper);
        listener.join().unwrap();
        assert!(watch.waited_for().is_empty());
    });
}

/// Goal: two listeners of one collection are both woken by one commit, though one takes its waker
/// back meanwhile.
#[test]
fn a_commit_reaches_two_listeners() {
    check(|| {
        let (watch, upper) = (Arc::new(Watch::default()), Upper::new(RwLock::new(0)));
        let listeners = [(); 2].map(|()| {
            let (watch, upper) = (Arc::clone(&watch), Upper::clone(&upper));
            thread::spawn(move || wait_until(&watch, &upper, 1))
        });
        publish(&watch, &upper);
        listeners.into_iter().for_each(|listener| listener.join().unwrap());
        assert!(watch.waited_for().is_empty());
    });
}
