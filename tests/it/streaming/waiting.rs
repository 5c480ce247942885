//! Who waits for a time is woken when it comes, or cannot come any more.

use datestone::{Datestone, ErrorKind, Frontier};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn database() -> (tempfile::TempDir, Datestone) {
    let dir = tempfile::tempdir().unwrap();
    let db = Datestone::open(dir.path()).unwrap();
    (dir, db)
}

/// Goal: every way that a wait can end ends it. Method: a thread waits far longer than the test may
/// take; the test ends only if it is woken.
#[test]
fn a_wait_ends_when_its_time_has_come_or_cannot_come() {
    let (_dir, db) = database();
    let c = db.collection("c").unwrap();
    let waiting = |act: &dyn Fn()| {
        std::thread::scope(|scope| {
            let (at_ten, news) = (c.clone(), c.listen(20));
            let snapshot = scope.spawn(move || at_ten.snapshot_wait(10, LONG).map(|s| s.as_of()));
            let news = scope.spawn(move || news?.next(LONG));
            act();
            (snapshot.join().unwrap(), news.join().unwrap())
        })
    };
    let (snapshot, news) = waiting(&|| {
        c.append([(&b"k"[..], &b"v"[..], 30, 1)]).unwrap(); // Wakes nobody for good.
        c.advance_upper(10).unwrap();
        c.advance_upper(11).unwrap();
        c.advance_upper(31).unwrap();
    });
    assert_eq!(snapshot.unwrap(), 10);
    assert!(news.unwrap().is_some());

    let d = db.collection("d").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| d.snapshot_wait(10, LONG).unwrap_err().kind());
        d.compact_below(50).unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Compacted);
        let waiting = scope.spawn(|| d.snapshot_wait(60, LONG).unwrap_err().kind());
        db.drop_collection("d").unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::NotFound);
    });
    let e = db.collection("e").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| e.snapshot_wait(10, LONG).unwrap_err().kind());
        let mut news = e.listen(0).unwrap();
        let news = scope.spawn(move || news.next(LONG).unwrap_err().kind());
        db.clone().close().unwrap();
        assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
        assert_eq!(news.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn patience_ends() {
    let (_dir, db) = database();
    let c = db.collection("c").unwrap();
    for patience in [Duration::ZERO, Duration::from_millis(3)] {
        let error = c.snapshot_wait(0, patience).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotYet);
        assert!(c.listen(0).unwrap().next(patience).unwrap().is_none());
    }
    c.advance_upper(Frontier::CLOSED).unwrap();
    assert_eq!(c.snapshot_wait(u64::MAX, Duration::MAX).unwrap().as_of(), u64::MAX);
    c.compact_below(7).unwrap();
    assert_eq!(c.snapshot_wait(6, LONG).unwrap_err().kind(), ErrorKind::Compacted);
}
