//! Commits whose durability is waited for without a thread.

use datestone::{Datestone, ErrorKind, Options, Table};
use datestone_engine::commit::Commit;
use datestone_engine::config::Durability;
use datestone_engine::db::Db;
use datestone_engine::io::{CrashPlan, FaultOp, MemFs};
use datestone_engine::types::Kind;
use datestone_tests::database::{open, push, small_options, updates};
use datestone_tests::model::OwnedUpdate;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it is woken, and wakes the thread that made it.
struct Woken(AtomicU64, std::thread::Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.unpark();
    }
}

fn woken() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken(AtomicU64::new(0), std::thread::current()));
    (Arc::clone(&woken), woken.into())
}

/// Polls until it is ready, as a runtime does.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let (_, waker) = woken();
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Goal: every ticket is told, and few syncs do for many. Method: threads that have many on their way at
/// once, beside commits that sync by themselves.
#[test]
fn tickets_of_many_threads_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open(dir.path()).unwrap();
    let table: Table<u64, u64> = db.typed_table("t").unwrap();
    let before = db.stats().wal_syncs;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (db, table) = (&db, &table);
            scope.spawn(move || {
                for round in 0..20 {
                    let submit = |n| db.commit().put(table, &(thread * 100 + n), &round).submit();
                    let tickets: Vec<_> = (0..25).map(|n| submit(n).unwrap()).collect();
                    for ticket in tickets {
                        let committed = block_on(ticket).unwrap();
                        assert!(db.stats().durable_seqno >= committed.seqno);
                    }
                    table.put(&thread, &round).unwrap();
                }
            });
        }
    });
    let (syncs, commits) = (db.stats().wal_syncs - before, db.stats().counts.commits);
    assert!(commits >= 2_080 && syncs < 1_000, "{syncs} syncs of {commits} commits");
}

/// What a ticket was told of survives a power cut.
#[test]
fn who_was_told_is_there_after_a_power_cut() {
    let fs = MemFs::new();
    let db = open(&fs, &small_options()).unwrap();
    let id = db.create_or_load(Kind::Multiset, "c", b"").unwrap().id;
    let made = |db: &Db, key: &[u8]| {
        let updates = [OwnedUpdate { key: key.to_vec(), val: Vec::new(), ts: 1, diff: 1 }];
        let mut commit = Commit::new();
        push(&mut commit, id, "c", &updates).unwrap();
        db.commit(commit, Durability::Buffer).unwrap().seqno
    };
    let told = made(&db, b"told");
    assert!(db.durable_seqno() < told);
    assert!(matches!(db.poll_durable(told, Waker::noop()), Poll::Ready(Ok(()))));
    made(&db, b"not told");
    let after = open(&fs.crash(CrashPlan::LoseUnsynced), &small_options()).unwrap();
    let there: Vec<_> = updates(&after, id).unwrap().into_iter().map(|u| u.key).collect();
    assert_eq!(there, [b"told"]);
    // One that fails is told so.
    let lost = made(&db, b"lost");
    fs.fail_nth(FaultOp::Sync, 1, std::io::ErrorKind::Other);
    let Poll::Ready(Err(e)) = db.poll_durable(lost, Waker::noop()) else { panic!("not failed") };
    assert_eq!(e.kind(), ErrorKind::Io);
    let Poll::Ready(Err(e)) = db.poll_durable(lost, Waker::noop()) else { panic!("healed") };
    assert_eq!(e.kind(), ErrorKind::Poisoned);
}

/// Who still waits when the database is closed is woken, and told what closing has made of the commit.
#[test]
fn closing_wakes_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..50 {
        let db = Datestone::open_with(dir.path(), Options::default()).unwrap();
        let table = db.table("t").unwrap();
        let mut ticket = db.commit().put(&table, b"k", b"v").submit().unwrap();
        let (woken, waker) = woken();
        let mut poll = || std::pin::Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker));
        let first = poll();
        db.close().unwrap();
        if first.is_pending() {
            assert!(woken.0.load(Ordering::SeqCst) > 0);
            assert!(matches!(poll(), Poll::Ready(Ok(_))));
        }
        let late = Datestone::open(dir.path()).unwrap();
        late.close().unwrap();
    }
}
