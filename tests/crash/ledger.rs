//! What the commits of the child are, and so what the database holds after so many of them.
//!
//! Each writer has two collections. Its commit `n` gives both their rows of time `n`, takes away
//! those of time `n - WINDOW`, puts a row ahead to time `n + AHEAD`, and moves both uppers to
//! `n + 1`; now and then it raises since, or does something to a collection that comes and goes.

use datestone::{Collection, Commit, Datestone, Error, ErrorKind, Frontier, Result};
use std::collections::BTreeMap;

/// Threads of the child that write.
pub(crate) const WRITERS: u64 = 3;
/// Times that a row lives.
const WINDOW: u64 = 60;
/// How far ahead of upper a commit writes.
const AHEAD: u64 = 4;

/// The collections of a writer.
pub(crate) fn names(writer: u64) -> [String; 2] {
    [format!("left-{writer}"), format!("right-{writer}")]
}

/// Sides differ in their values, so that rows in the wrong place are seen.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Left,
    Right,
}

pub(crate) const SIDES: [Side; 2] = [Side::Left, Side::Right];

type Row = (Vec<u8>, Vec<u8>);

/// The rows that commit `n` brings at time `n`.
fn rows(writer: u64, side: Side, n: u64) -> Vec<Row> {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20) ^ writer;
    let count = 1 + mixed % 6;
    (0..count)
        .map(|row| {
            let key = format!("{:02}-{n:06}-{row}", mixed % 50).into_bytes();
            let fill = match side {
                Side::Left => b'l',
                Side::Right => b'r',
            };
            let len = if n % 37 == 5 && row == 0 { 20_000 } else { (mixed >> 8) % 400 };
            (key, vec![fill; len as usize])
        })
        .collect()
}

/// The row that commit `n` writes ahead.
fn ahead(n: u64) -> Row {
    (format!("ahead-{n:06}").into_bytes(), Vec::new())
}

/// The since of a writer's collections after `count` commits.
pub(crate) fn since(count: u64) -> u64 {
    let last = count / 16 * 16;
    last.saturating_sub(20)
}

/// Adds what commit `n` of a writer does.
pub(crate) fn add(commit: Commit, writer: u64, sides: &[Collection; 2], n: u64) -> Commit {
    let mut commit = commit;
    for (side, collection) in SIDES.into_iter().zip(sides) {
        let mut updates: Vec<(Row, u64, i64)> = Vec::new();
        updates.extend(rows(writer, side, n).into_iter().map(|row| (row, n, 1)));
        if let Some(old) = n.checked_sub(WINDOW) {
            updates.extend(rows(writer, side, old).into_iter().map(|row| (row, n, -1)));
        }
        let now = updates.iter().map(|((key, val), ts, diff)| (&key[..], &val[..], *ts, *diff));
        commit = commit.compare_and_append(collection, now, n, n + 1);
        let (key, val) = ahead(n);
        commit = commit.append(collection, [(&key[..], &val[..], n + AHEAD, 1)]);
        if let Some((key, val)) = n.checked_sub(WINDOW).map(ahead) {
            commit = commit.append(collection, [(&key[..], &val[..], n + AHEAD, -1)]);
        }
        if since(n + 1) > since(n) {
            commit = commit.compact_below(collection, since(n + 1));
        }
    }
    commit
}

/// The contents of a collection at `as_of`.
fn contents(writer: u64, side: Side, as_of: u64) -> BTreeMap<Row, i64> {
    let first = (as_of + 1).saturating_sub(WINDOW);
    let now = (first..=as_of).flat_map(|n| rows(writer, side, n));
    let ahead = as_of.checked_sub(AHEAD).map(|last| {
        let first = (last + 1).saturating_sub(WINDOW);
        (first..=last).map(ahead)
    });
    now.chain(ahead.into_iter().flatten()).map(|row| (row, 1)).collect()
}

/// How many commits of a writer the database has, all of them whole.
///
/// # Errors
/// What reading returns; text for what is wrong.
pub(crate) fn check(
    db: &Datestone,
    writer: u64,
    times: impl Fn(u64, u64) -> Vec<u64>,
) -> Result<std::result::Result<u64, String>> {
    let mut counts = Vec::new();
    for (side, name) in SIDES.into_iter().zip(names(writer)) {
        let collection = match db.find(&name) {
            Ok(collection) => collection,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                counts.push(0);
                continue;
            }
            Err(e) => return Err(e),
        };
        let upper = collection.upper()?.ts().unwrap_or(u64::MAX);
        counts.push(upper);
        if collection.since()? != Frontier::at(since(upper)) {
            return Ok(Err(format!("{name}: since {} after {upper} commits", collection.since()?)));
        }
        let Some(last) = upper.checked_sub(1) else { continue };
        for as_of in times(since(upper), last) {
            if let Some(what) = difference(&collection, as_of, &contents(writer, side, as_of))? {
                return Ok(Err(format!("{name} as of {as_of}, upper {upper}: {what}")));
            }
        }
    }
    match counts.as_slice() {
        [left, right] if left == right => Ok(Ok(*left)),
        _ => Ok(Err(format!("half a commit of writer {writer}: {counts:?}"))),
    }
}

fn difference(
    collection: &Collection,
    as_of: u64,
    wanted: &BTreeMap<Row, i64>,
) -> std::result::Result<Option<String>, Error> {
    let snapshot = collection.snapshot(as_of)?;
    let mut found = BTreeMap::new();
    for row in snapshot.iter() {
        let row = row?;
        if found.insert((row.key, row.val), row.diff).is_some() {
            return Ok(Some("a row comes twice".into()));
        }
    }
    let missing = wanted.iter().find(|(row, diff)| found.get(row) != Some(diff));
    let foreign = found.iter().find(|(row, diff)| wanted.get(row) != Some(diff));
    let key = |row: Option<(&Row, &i64)>| row.map(|(row, _)| row.0.escape_ascii().to_string());
    match (key(missing), key(foreign)) {
        (None, None) => Ok(None),
        (missing, foreign) => Ok(Some(format!("missing {missing:?}, not expected {foreign:?}"))),
    }
}
