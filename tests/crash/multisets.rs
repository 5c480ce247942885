//! Multisets in pairs: commits to both, whole or not at all.
//!
//! Each writer has two collections. Its commit `n` gives both their rows of time `n`, takes away
//! those of time `n - WINDOW`, puts a row ahead to time `n + AHEAD`, and moves both uppers to
//! `n + 1`; now and then it raises since, or does something to a collection that comes and goes.

use crate::actor::{
    Actor, Contents, Known, Outcome, Row, Stage, Step, contents, require_same, there, ts, wrong,
};
use datestone::{Collection, Commit};

/// Writes the pair of collections of this number.
pub(crate) struct Writer(pub(crate) u64);

/// Times that a row lives.
const WINDOW: u64 = 60;
/// How far ahead of upper a commit writes.
const AHEAD: u64 = 4;

/// The collections of a writer.
fn names(writer: u64) -> [String; 2] {
    [format!("left-{writer}"), format!("right-{writer}")]
}

/// Sides differ in their values, so that rows in the wrong place are seen.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

const SIDES: [Side; 2] = [Side::Left, Side::Right];

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
fn since(count: u64) -> u64 {
    let last = count / 16 * 16;
    last.saturating_sub(20)
}

/// Adds what commit `n` of a writer does.
fn add(commit: Commit, writer: u64, sides: &[Collection; 2], n: u64) -> Commit {
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
fn wanted(writer: u64, side: Side, as_of: u64) -> Contents {
    let first = (as_of + 1).saturating_sub(WINDOW);
    let now = (first..=as_of).flat_map(|n| rows(writer, side, n));
    let ahead = as_of.checked_sub(AHEAD).map(|last| {
        let first = (last + 1).saturating_sub(WINDOW);
        (first..=last).map(ahead)
    });
    now.chain(ahead.into_iter().flatten()).map(|row| (row, 1)).collect()
}

impl Actor for Writer {
    fn name(&self) -> String {
        format!("writer-{}", self.0)
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let (db, writer) = (stage.db.clone(), self.0);
        let [left, right] = names(writer);
        let sides = [db.collection(&left)?, db.collection(&right)?];
        Ok(Box::new(move |n| {
            add(db.commit(), writer, &sides, n).run()?;
            match n % 50 {
                13 => db.flush()?,
                31 => sides[0].compact()?,
                // A collection that comes and goes.
                40 => drop(db.collection("passing")?),
                47 => drop(db.drop_collection("passing")?),
                _ => {}
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        let mut counts = Vec::new();
        for (side, name) in SIDES.into_iter().zip(names(self.0)) {
            let Some(collection) = there(stage.db.find(&name))? else {
                counts.push(0);
                continue;
            };
            let upper = ts(collection.upper()?);
            counts.push(upper);
            if ts(collection.since()?) != since(upper) {
                wrong!("{name}: since {} after {upper} commits", collection.since()?);
            }
            let Some(last) = upper.checked_sub(1) else { continue };
            let (first, span) = (since(upper), last.saturating_sub(since(upper)) + 1);
            let sample = [known.chance % span, known.chance.rotate_left(32) % span];
            for as_of in [first, last, first + sample[0], first + sample[1]] {
                let what = format!("{name} as of {as_of}, upper {upper}");
                require_same(what, &contents(&collection, as_of)?, &wanted(self.0, side, as_of))?;
            }
        }
        match counts.as_slice() {
            [left, right] if left == right => Ok(*left),
            _ => wrong!("half a commit: {counts:?}"),
        }
    }
}
