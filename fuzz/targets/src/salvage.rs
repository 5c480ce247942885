//! A damaged directory that is salvaged: nothing panics, damage is no error, and what comes out is a
//! database without damage that makes nothing up.

use crate::base::{Base, base, every_kind};
use crate::damage::{Harm, damage};
use crate::session::{DIR, check_collection, options};
use arbitrary::{Arbitrary, Unstructured};
use datestone_engine::db::{BOOKS, Db};
use datestone_engine::error::{Error, ErrorKind};
use datestone_engine::io::{Env, Fs, MemFs};
use datestone_engine::read::RangeSpec;
use datestone_engine::salvage::{SalvageOptions, SalvageReport, salvage as run_salvage};
use datestone_engine::verify::VerifyDepth;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

/// Where the salvaged database goes, and what is salvaged of that in turn.
const NEW: &str = "/new";
const NEWER: &str = "/newer";
/// Bases of which the contents are known; one more has all kinds.
const KNOWN: u8 = 4;

/// See the module.
pub fn salvage(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok([choice, flags]) = <[u8; 2]>::arbitrary(&mut bytes) else { return };
    let (unchecked_blocks, is_deep) = (flags & 1 == 1, flags & 6 == 6);
    let options = SalvageOptions { unchecked_blocks, damages_max: usize::from(flags >> 3) };
    if choice == u8::MAX {
        let fs = MemFs::new();
        arbitrary_files(&fs, &mut bytes);
        salvaged(&fs, &options, is_deep);
        return;
    }
    let known = (choice % (KNOWN + 1) < KNOWN).then(|| base(choice % (KNOWN + 1)));
    let fs = known.map_or_else(all_kinds, |base| &base.fs).kill();
    let harm = damage(&fs, &mut bytes, |_| true);
    let Some((db, report)) = salvaged(&fs, &options, is_deep) else { return };
    if cfg!(fuzzing) {
        return;
    }
    let Some(base) = known else { return };
    if harm == Harm::None {
        assert!(report.is_clean(), "{report:?}");
        compare(base, &db);
    }
    if !unchecked_blocks {
        nothing_is_made_up(base, &db);
    }
}

fn all_kinds() -> &'static MemFs {
    static ALL_KINDS: OnceLock<MemFs> = OnceLock::new();
    ALL_KINDS.get_or_init(|| every_kind(|_, _| {}))
}

/// A directory of nothing but arbitrary files.
fn arbitrary_files(fs: &MemFs, bytes: &mut Unstructured<'_>) {
    fs.create_dir(Path::new(DIR)).expect("a new directory");
    for name in [
        "MANIFEST-0000000000000001",
        "0000000000000001.seg",
        "wal-0001.log",
        "0000000000000002.seg",
        "wal-0002.log",
        "LOCK",
    ] {
        let len = usize::from(u16::arbitrary(bytes).unwrap_or(0)).min(bytes.len());
        let content = bytes.bytes(len).unwrap_or_default();
        if len > 0 {
            fs.put_file(Path::new(DIR).join(name), content).expect("a good name");
        }
    }
}

/// Salvages and opens what comes out, goes on with it and salvages that if it is to be deep; `None` when there was nothing, or something newer.
fn salvaged(fs: &MemFs, options: &SalvageOptions, is_deep: bool) -> Option<(Db, SalvageReport)> {
    let env = Env::memory(fs.clone());
    let before = contents(fs);
    let report = match run_salvage(&env, Path::new(DIR), Path::new(NEW), options) {
        Err(e) => {
            let kind = e.kind();
            assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::FormatTooNew), "{e}");
            return None;
        }
        Ok(report) => report,
    };
    assert!(contents(fs) == before, "the source is not written to");
    assert!(report.damages.len() <= options.damages_max);
    let is_lax = cfg!(fuzzing) || options.unchecked_blocks;
    let db = open(fs, NEW, is_lax)?;
    if !is_deep {
        return Some((db, report));
    }
    // What the log had goes to segments without a contradiction.
    db.flush().and_then(|()| db.compact(None)).and_then(|()| db.close()).expect("nothing fails");
    let again = run_salvage(&env, Path::new(NEW), Path::new(NEWER), &SalvageOptions::default());
    let again = again.expect("nothing fails");
    assert!(again.is_clean(), "what was salvaged is whole: {again:?}");
    Some((open(fs, NEWER, is_lax)?, report))
}

fn contents(fs: &MemFs) -> Vec<Vec<u8>> {
    let read = |name| fs.read_file(Path::new(DIR).join(name)).unwrap_or_default();
    Base::names(fs).into_iter().map(read).collect()
}

/// Opens a database in which nothing is damaged, and reads all of it. Where wrong checksums count as right
/// (`is_lax`), damage may have come through in what the database keeps for itself: a hold that cannot be
/// read is refused, as it must neither be forgotten nor guessed. `None` then.
fn open(fs: &MemFs, dir: &str, is_lax: bool) -> Option<Db> {
    let db = match Db::open(Env::memory(fs.clone()), Path::new(dir), options()) {
        Ok(db) => db,
        Err(Error::Corruption { file, .. }) if is_lax && *file == *Path::new(BOOKS) => return None,
        Err(e) => panic!("{dir} opens: {e}"),
    };
    let report = db.verify(VerifyDepth::Full, |_, _| {}).expect("nothing fails");
    assert!(report.is_clean(), "{:?}", report.damage);
    for collection in db.collections() {
        read(&db, &collection.collection.description.name).unwrap_or_else(|e| panic!("{e}"));
    }
    Some(db)
}

/// Reads a collection in every way.
fn read(db: &Db, name: &str) -> Result<(), Error> {
    let id = db.find(name)?.id;
    let mut updates = db.updates(id)?;
    while updates.next()?.is_some() {}
    // Before the first time is complete there is nothing to read.
    let Ok(snapshot) = db.latest(id) else { return Ok(()) };
    let mut rows = snapshot.rows(RangeSpec::ALL);
    while let Some(row) = rows.next()? {
        snapshot.get(row.key, |_, _| Ok(()))?;
    }
    let mut rows = snapshot.rows(RangeSpec::ALL).reversed();
    while rows.next()?.is_some() {}
    Ok(())
}

/// The database is what an open of the same files gives.
fn compare(base: &Base, db: &Db) {
    let opened = open(&base.fs.kill(), DIR, false).expect("the base is whole");
    let model = base.state(opened.stats().last_seqno);
    for (name, collection) in model {
        check_collection(db, name, collection).unwrap_or_else(|e| panic!("'{name}': {e}"));
    }
    assert_eq!(db.collections().len(), model.len());
}

/// Every key with its value is one that was written.
fn nothing_is_made_up(base: &Base, db: &Db) {
    let states = base.states.iter().flat_map(|(_, model)| model.values());
    let updates = states.flat_map(|collection| &collection.updates);
    let written: BTreeSet<_> =
        updates.map(|(key, val, ..)| (key.as_slice(), val.as_slice())).collect();
    for collection in db.collections() {
        let mut updates =
            db.updates(collection.collection.description.id).expect("it was there just now");
        while let Some(update) = updates.next().expect("nothing is damaged") {
            assert!(written.contains(&(update.key, update.val)), "{update:?} was never written");
        }
    }
}
