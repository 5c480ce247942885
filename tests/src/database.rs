//! A database in memory whose every step the test drives, and comparing what it says with the model.

use crate::model::{Model, ModelRow, OwnedUpdate};
use datestone_engine::collection::Collection;
use datestone_engine::commit::Commit;
use datestone_engine::config::{Durability, Options};
use datestone_engine::db::{CollectionStats, Db};
use datestone_engine::error::Result;
use datestone_engine::io::{Env, MemFs};
use datestone_engine::limits;
use datestone_engine::read::{RangeSpec, Rows, Source};
use datestone_engine::snapshot::{Contents, Snapshot};
use datestone_engine::types::{CollectionId, Frontier, Kind, Update};
use datestone_engine::verify::VerifyDepth;
use std::path::Path;

/// Where the database is in its file system.
pub const DIR: &str = "/db";

/// Everything as small as it may be, so that flushes and merges happen soon; no threads.
#[must_use]
pub fn small_options() -> Options {
    Options {
        memtable_bytes: limits::MEMTABLE_BYTES_MIN,
        wal_file_bytes: limits::WAL_FILE_BYTES_MIN,
        segment_bytes: limits::SEGMENT_BYTES_MIN,
        background_threads: 0,
        ..Options::default()
    }
}

/// Opens the database of a file system in memory.
///
/// # Errors
/// What opening returns.
pub fn open(fs: &MemFs, options: &Options) -> Result<Db> {
    Db::open(Env::memory(fs.clone()), Path::new(DIR), options.clone())
}

/// Makes a commit of updates alone.
///
/// # Errors
/// What the commit returns.
pub fn append(db: &Db, id: CollectionId, name: &str, updates: &[OwnedUpdate]) -> Result<()> {
    let mut commit = Commit::new();
    push(&mut commit, id, name, updates)?;
    db.commit(commit, Durability::Fsync).map(drop)
}

/// Adds updates to a commit.
///
/// # Errors
/// What adding returns.
pub fn push(
    commit: &mut Commit,
    id: CollectionId,
    name: &str,
    updates: &[OwnedUpdate],
) -> Result<()> {
    let mut batch = commit.append(id, name);
    for OwnedUpdate { key, val, ts, diff } in updates {
        batch.push(Update { key, val, ts: *ts, diff: *diff })?;
    }
    batch.finish()
}

/// A row that was read.
pub type Row = (Vec<u8>, Vec<u8>, i64);

/// Reads rows to their end.
///
/// # Errors
/// What reading returns.
pub fn collect(rows: impl Into<Contents>) -> Result<Vec<Row>> {
    let (mut rows, mut all) = (rows.into(), Vec::new());
    while let Some(row) = rows.next()? {
        all.push((row.key.to_vec(), row.val.to_vec(), row.diff));
    }
    Ok(all)
}

/// Reads rows and compares each with what is expected; the first difference as text.
///
/// # Errors
/// What reading returns.
pub fn difference<'m>(
    mut rows: Rows<Source>,
    expected: impl IntoIterator<Item = ModelRow<'m>>,
) -> Result<Option<String>> {
    let mut expected = expected.into_iter();
    let mut index = 0;
    loop {
        let found = rows.next()?.map(|row| (row.key, row.val, row.diff));
        let wanted = expected.next();
        if found != wanted {
            return Ok(Some(format!("row {index}: {}, not {}", show(found), show(wanted))));
        }
        if found.is_none() {
            return Ok(None);
        }
        index += 1;
    }
}

fn show(row: Option<ModelRow<'_>>) -> String {
    let Some((key, val, diff)) = row else { return "the end".into() };
    let shown = val.get(..16).unwrap_or(val).escape_ascii();
    format!("({}, {shown}.. {} bytes, {diff:+})", key.escape_ascii(), val.len())
}

/// Compares a whole snapshot with the model's contents at its time.
///
/// # Errors
/// What reading returns.
pub fn snapshot_difference(snapshot: &Snapshot, model: &Model) -> Result<Option<String>> {
    let found = difference(snapshot.rows(RangeSpec::ALL), model.contents(snapshot.as_of()))?;
    Ok(found.map(|what| format!("as of {}: {what}", snapshot.as_of())))
}

/// Compares point reads of every key that the model ever had, and of a key that it never had, with
/// the model's contents.
///
/// # Errors
/// What reading returns.
pub fn get_difference(snapshot: &Snapshot, model: &Model) -> Result<Option<String>> {
    let contents = model.contents(snapshot.as_of());
    let mut keys: Vec<&[u8]> = model.updates().iter().map(|update| &update.key[..]).collect();
    keys.dedup();
    keys.push(b"never there");
    let mut rest = contents.as_slice();
    for key in keys {
        let count = rest.iter().take_while(|row| row.0 == key).count();
        let (wanted, others) = rest.split_at(count);
        rest = others;
        let mut found = Vec::new();
        snapshot.get(key, |val, diff| {
            found.push((val.to_vec(), diff));
            Ok(())
        })?;
        if !found.iter().map(|(val, diff)| (&val[..], *diff)).eq(wanted.iter().map(|r| (r.1, r.2)))
        {
            let (as_of, key) = (snapshot.as_of(), key.escape_ascii());
            let (found, wanted) = (found.len(), wanted.len());
            return Ok(Some(format!("get '{key}' as of {as_of}: {found} values, not {wanted}")));
        }
    }
    Ok(None)
}

/// All updates of a collection.
///
/// # Errors
/// What reading returns.
pub fn updates(db: &Db, id: CollectionId) -> Result<Vec<OwnedUpdate>> {
    let mut rows = db.updates(id)?;
    let mut all = Vec::new();
    while let Some(Update { key, val, ts, diff }) = rows.next()? {
        all.push(OwnedUpdate { key: key.to_vec(), val: val.to_vec(), ts, diff });
    }
    Ok(all)
}

/// Compares everything that a collection can be asked with the model: frontiers, the contents at
/// every telling time, all updates. The first difference as text.
///
/// # Errors
/// What reading returns.
pub fn collection_difference(db: &Db, id: CollectionId, model: &Model) -> Result<Option<String>> {
    let collection = db.collection(id)?;
    if (collection.since, collection.upper) != (model.since, model.upper) {
        return Ok(Some(format!(
            "frontiers {}..{}, not {}..{}",
            collection.since, collection.upper, model.since, model.upper
        )));
    }
    let times = model.telling_times();
    // Point reads find their way by other structures than scans; a few times do for them.
    let is_asked =
        |as_of| [times.first(), times.get(times.len() / 2), times.last()].contains(&Some(&as_of));
    for &as_of in &times {
        let snapshot = db.snapshot(id, as_of)?;
        let mut difference = snapshot_difference(&snapshot, model)?;
        if difference.is_none() && is_asked(as_of) {
            difference = get_difference(&snapshot, model)?;
        }
        if difference.is_some() {
            return Ok(difference);
        }
    }
    let (found, wanted) = (updates(db, id)?, model.advanced());
    let at = found.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
    if at < found.len().max(wanted.len()) {
        let (found, wanted) = (found.get(at), wanted.get(at));
        return Ok(Some(format!("update {at}: {found:?}, not {wanted:?}")));
    }
    Ok(None)
}

/// A collection: what it is, its frontiers, its updates.
pub type Whole = (String, Kind, Frontier, Frontier, Vec<OwnedUpdate>);

/// All that a database holds.
///
/// # Errors
/// What reading returns.
pub fn whole(db: &Db) -> Result<Vec<Whole>> {
    let of = |stats: CollectionStats| {
        let Collection { description, since, upper } = stats.collection;
        let all = updates(db, description.id)?;
        Ok((description.name.to_string(), description.kind, since, upper, all))
    };
    db.collections().into_iter().map(of).collect()
}

/// The first damage that a full verification finds.
///
/// # Errors
/// What verifying returns.
pub fn damage(db: &Db) -> Result<Option<datestone_engine::error::Error>> {
    Ok(db.verify(VerifyDepth::Full, |_, _| {})?.damage.into_iter().next())
}
