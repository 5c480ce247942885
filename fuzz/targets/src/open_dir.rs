//! A damaged directory: opening and reading it gives errors or what was written, up to some commit.

use crate::base::{Base, base};
use crate::damage::damage;
use crate::model::Model;
use crate::session::{DIR, check_collection, open};
use arbitrary::{Arbitrary, Unstructured};
use datestone_engine::db::Db;
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::io::{Fs, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::verify::VerifyDepth;
use std::path::Path;

/// See the module.
pub fn open_dir(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(choice) = u8::arbitrary(&mut bytes) else { return };
    if choice == u8::MAX {
        return arbitrary_files(&mut bytes);
    }
    let base = base(choice);
    let fs = base.fs.kill();
    let _ = damage(&fs, &mut bytes, |_| true);
    let Ok(db) = open(&fs) else { return };
    read_all(&db);
    if !cfg!(fuzzing) {
        compare(base, &db);
    }
    // It goes on working, or says why not; and what it wrote can be opened again.
    let works = db.flush().and_then(|()| db.compact(None)).and_then(|()| db.close()).is_ok();
    drop(db);
    if let (true, false, Ok(db)) = (works, cfg!(fuzzing), open(&fs)) {
        compare(base, &db);
    }
}

/// A directory of nothing but arbitrary files.
fn arbitrary_files(bytes: &mut Unstructured<'_>) {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).expect("a new directory");
    for name in ["MANIFEST-0000000000000001", "wal-0001.log", "0000000000000001.seg", "LOCK"] {
        let len = usize::from(u16::arbitrary(bytes).unwrap_or(0)).min(bytes.len());
        let content = bytes.bytes(len).unwrap_or_default();
        if len > 0 {
            fs.put_file(Path::new(DIR).join(name), content).expect("a good name");
        }
    }
    if let Ok(db) = open(&fs) {
        read_all(&db);
    }
}

/// Reads everything; only panics are wrong.
fn read_all(db: &Db) {
    let _ = db.verify(VerifyDepth::Full, |_, _| {});
    for collection in db.collections() {
        let id = collection.collection.description.id;
        if let Ok(snapshot) = db.latest(id) {
            let mut rows = snapshot.rows(RangeSpec::ALL);
            while let Ok(Some(row)) = rows.next() {
                let _ = snapshot.get(row.key, |_, _| Ok(()));
            }
            let mut rows = snapshot.rows(RangeSpec::ALL).reversed();
            while let Ok(Some(_)) = rows.next() {}
        }
        if let Ok(mut updates) = db.updates(id) {
            while let Ok(Some(_)) = updates.next() {}
        }
    }
}

/// What can be read is what the database held after the last commit that it knows.
fn compare(base: &Base, db: &Db) {
    let model: &Model = base.state(db.stats().last_seqno);
    let found = db.collections();
    let names = found.iter().map(|c| c.collection.description.name.as_ref());
    assert!(names.eq(model.keys().map(String::as_str)), "the collections are those of a commit");
    for (name, collection) in model {
        match check_collection(db, name, collection) {
            Ok(()) => {}
            Err(e) => assert_damage(&e),
        }
    }
}

fn assert_damage(e: &Error) {
    let kind = e.kind();
    assert!(matches!(kind, ErrorKind::Corruption | ErrorKind::FormatTooNew), "{e}");
}
