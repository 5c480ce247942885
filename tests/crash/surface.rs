//! What the child does beside its writers: tables, logs, tokens, transactions, a durable subscription, and
//! what is done to a whole collection or the database; and what must be there of it after a kill.
//!
//! Three threads count what they have done and say so; what follows from the counts is checked.
//!
//! | thread | its `n`-th step |
//! | --- | --- |
//! | `kinds` | one commit under the token `n`: a put and a deletion, an event with and one without an id; then a transaction that moves 1 from one account to another |
//! | `copier` | copies what comes of the table into a multiset, and acknowledges it in the same commit |
//! | `whole` | an ingestion, an erasure, a truncation; now and then a backup and a checkpoint |

use datestone::{
    Backups, Collection, Commit, Datestone, DurableSubscription, ErrorKind, Event, Frontier,
    Result, Retention, VerifyDepth,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEYS: u64 = 30;
const ACCOUNTS: u64 = 8;
const BALANCE: u64 = 100;
/// Rows of an ingestion, and of what is erased.
const ROWS: u64 = 40;
const BACKUPS_KEPT: usize = 3;

/// How often each thread was told that its step was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kinds: u64,
    pub(crate) whole: u64,
    /// The latest backup and checkpoint.
    pub(crate) backup: u64,
    pub(crate) checkpoint: u64,
}

impl Counts {
    /// Takes a line of the child; whether it was one of these.
    pub(crate) fn hear(&mut self, words: &[&str]) -> bool {
        let [what, n] = words else { return false };
        let Ok(n) = n.parse::<u64>() else { return false };
        match *what {
            "kinds" => self.kinds = n + 1,
            "whole" => self.whole = n + 1,
            "backup" => self.backup = n,
            "checkpoint" => self.checkpoint = n,
            _ => return false,
        }
        true
    }
}

fn beside(dir: &Path, name: &str) -> PathBuf {
    dir.with_file_name(name)
}

/// Commit `n` of the thread `kinds`, but for its token.
fn kinds_commit(db: &Datestone, n: u64) -> Result<Commit> {
    let (table, log) = (db.typed_table::<u64, u64>("register")?, db.typed_log::<u64>("events")?);
    let id = format!("id-{n}");
    let commit = db.commit().put(&table, &(n % KEYS), &n).delete(&table, &((n + 11) % KEYS));
    Ok(commit.append_once(&log, id.as_bytes(), &n).append_events(&log, [&(n + 1_000_000)]))
}

/// What the register holds after `count` commits.
fn register(count: u64) -> Vec<(u64, u64)> {
    let mut rows = std::collections::BTreeMap::new();
    for n in count.saturating_sub(2 * KEYS)..count {
        rows.insert(n % KEYS, n);
        rows.remove(&((n + 11) % KEYS));
    }
    rows.into_iter().collect()
}

pub(crate) fn kinds(db: &Datestone, say: impl Fn(&str)) -> Result<()> {
    let accounts = db.typed_table::<u64, u64>("accounts")?;
    if accounts.get(&0)?.is_none() {
        let all = (0..ACCOUNTS).fold(db.commit(), |commit, n| commit.put(&accounts, &n, &BALANCE));
        all.run()?;
    }
    let first = db.typed_log::<u64>("events")?.len()? / 2;
    for n in first.saturating_sub(1).. {
        let done = kinds_commit(db, n)?.once("kinds", &n.to_le_bytes()).run();
        match done {
            // The last one of the life before is tried again.
            Ok(done) if done.repeated != (n < first) => return Err(bug("a token is wrong")),
            Ok(_) => say(&format!("kinds {n}")),
            Err(e) => return Err(e),
        }
        db.transact(|transaction| {
            let (from, to) = (n % ACCOUNTS, (n * 3 + 1) % ACCOUNTS);
            let rich = transaction.get(&accounts, &from)?.unwrap_or(0);
            let poor = transaction.get(&accounts, &to)?.unwrap_or(0);
            if from != to && rich > 0 {
                transaction.put(&accounts, &from, &(rich - 1))?;
                transaction.put(&accounts, &to, &(poor + 1))?;
            }
            Ok(())
        })?;
        if n % 40 == 17 {
            accounts.as_collection().set_retention(Retention::Behind(50))?;
        }
    }
    Ok(())
}

fn bug(what: &str) -> datestone::Error {
    datestone::Error::Internal { what: what.into() }
}

pub(crate) fn copier(db: &Datestone) -> Result<()> {
    let table = db.typed_table::<u64, u64>("register")?;
    let copy = db.typed::<u64, u64>("copy")?;
    while table.upper()?.ts() < Some(2) {
        std::thread::yield_now();
    }
    let start = table.since()?.ts().unwrap_or(0).max(1);
    let mut news: DurableSubscription<u64, u64> =
        db.durable_subscription("copier", table.as_collection(), start, "copier")?;
    let mut updates = Vec::new();
    loop {
        match news.next(Duration::from_secs(60))? {
            None => {}
            Some(Event::Updates(more)) => updates.extend(more.decode()?),
            Some(Event::Progress(frontier)) => {
                let rows = updates.iter().map(|u| (&u.key, &u.val, u.ts, u.diff));
                let commit = db.commit().append(&copy, rows).advance_upper(&copy, frontier);
                commit.acknowledge(&news).run()?;
                updates.clear();
                let ts = frontier.ts().unwrap_or(0);
                if ts % 16 == 0 {
                    table.compact_below(ts.saturating_sub(1))?;
                    copy.compact_below(ts.saturating_sub(30))?;
                }
            }
        }
    }
}

/// The rows of step `n` in a collection of the thread `whole`.
fn rows(n: u64) -> impl Iterator<Item = ([u8; 16], u64)> {
    (0..ROWS).map(move |row| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key[8..].copy_from_slice(&row.to_be_bytes());
        (key, row)
    })
}

pub(crate) fn whole(db: &Datestone, dir: &Path, say: impl Fn(&str)) -> Result<()> {
    let (bulk, gone, cut) = (db.collection("bulk")?, db.collection("gone")?, db.collection("cut")?);
    for n in bulk.upper()?.ts().unwrap_or(0).. {
        let keys: Vec<[u8; 16]> = rows(n).map(|(key, _)| key).collect();
        let of = |ts: u64| keys.iter().map(move |key| (&key[..], &b"row"[..], ts, 1));
        // What a kill has let happen is not done again.
        if gone.upper()? <= Frontier::at(n) {
            db.commit().append(&gone, of(n)).advance_upper(&gone, n + 1).run()?;
        }
        if let Some(before) = n.checked_sub(1) {
            // The rows of the step before go, all of them.
            gone.erase(&before.to_be_bytes()[..]..&n.to_be_bytes()[..])?;
        }
        if cut.upper()? <= Frontier::at(10 * n) {
            let commit = db.commit().append(&cut, of(10 * n)).append(&cut, of(10 * n + 5));
            commit.advance_upper(&cut, 10 * n + 8).run()?;
        }
        if cut.upper()? > Frontier::at(10 * n + 3) {
            cut.truncate_at(10 * n + 3)?;
        }
        bulk.ingest(of(n), Some(n + 1))?;
        say(&format!("whole {n}"));
        if n % 4 == 1 {
            let taken = db.backup(beside(dir, "backups"))?;
            say(&format!("backup {}", taken.info.number));
            Backups::open(beside(dir, "backups"))?.keep_latest(BACKUPS_KEPT)?;
        }
        if n % 4 == 3 {
            let name = format!("checkpoint-{n}");
            match db.checkpoint(beside(dir, &name)) {
                Ok(_) => say(&format!("checkpoint {n}")),
                // Cut off in an earlier life.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// What is wrong with what a kill has left, if anything; the counts that are there.
///
/// # Errors
/// What reading returns.
pub(crate) fn check(
    db: &Datestone,
    dir: &Path,
    said: &Counts,
    before: &Counts,
) -> Result<std::result::Result<Counts, String>> {
    let mut found = *before;
    found.backup = said.backup.max(before.backup);
    found.checkpoint = said.checkpoint.max(before.checkpoint);
    if db.find("events").is_ok() {
        let len = db.typed_log::<u64>("events")?.len()?;
        if len % 2 != 0 {
            return Ok(Err(format!("half of an append: {len} events")));
        }
        found.kinds = len / 2;
        if let Some(what) = check_kinds(db, found.kinds)? {
            return Ok(Err(what));
        }
    }
    if db.find("cut").is_ok() {
        found.whole = db.collection("bulk")?.upper()?.ts().unwrap_or(0);
        if let Some(what) = check_whole(db, found.whole)? {
            return Ok(Err(what));
        }
    }
    for (name, acknowledged, found) in [
        ("kinds", said.kinds.max(before.kinds), found.kinds),
        ("whole", said.whole.max(before.whole), found.whole),
    ] {
        // The transaction behind a commit of `kinds` is not counted.
        if found < acknowledged || found > acknowledged + 1 {
            return Ok(Err(format!("{name}: {found} steps, {acknowledged} were acknowledged")));
        }
    }
    if let Some(what) = check_copies(dir, &found)? {
        return Ok(Err(what));
    }
    Ok(Ok(found))
}

fn check_kinds(db: &Datestone, count: u64) -> Result<Option<String>> {
    let log = db.typed_log::<u64>("events")?;
    for n in [0, count / 2, count.saturating_sub(1)].into_iter().filter(|n| *n < count) {
        let id = format!("id-{n}");
        let events = (log.get(2 * n)?, log.get(2 * n + 1)?, log.position_of(id.as_bytes())?);
        if events != (Some(n), Some(n + 1_000_000), Some(2 * n)) {
            return Ok(Some(format!("event {n} of {count}: {events:?}")));
        }
    }
    let table = db.typed_table::<u64, u64>("register")?;
    let rows: Vec<(u64, u64)> = match table.latest() {
        Ok(latest) => {
            latest.iter().map(|row| row.map(|row| (row.key, row.val))).collect::<Result<_>>()?
        }
        Err(e) if e.kind() == ErrorKind::NotYet => Vec::new(),
        Err(e) => return Err(e),
    };
    let wanted = register(count);
    if rows != wanted {
        return Ok(Some(format!("the register after {count} commits: {rows:?}, not {wanted:?}")));
    }
    if db.find("accounts").is_ok() {
        let accounts = db.typed_table::<u64, u64>("accounts")?;
        let sum = accounts
            .latest()
            .map_or(Ok(0), |latest| latest.iter().map(|row| row.map(|row| row.val)).sum());
        let sum: u64 = sum?;
        if sum != 0 && sum != ACCOUNTS * BALANCE {
            return Ok(Some(format!("the accounts have {sum}")));
        }
    }
    check_copy(db)
}

/// The copy is what the table was when it was copied.
fn check_copy(db: &Datestone) -> Result<Option<String>> {
    let Ok(copy) = db.find("copy") else { return Ok(None) };
    let Some(as_of) = copy.upper()?.last_below() else { return Ok(None) };
    let rows = |of: &Collection| -> Result<Vec<_>> {
        of.snapshot(as_of)?.iter().map(|row| row.map(|row| (row.key, row.val, row.diff))).collect()
    };
    let (original, copied) = (rows(&db.find("register")?)?, rows(&copy)?);
    let what = format!("the copy as of {as_of} is {copied:?}, not {original:?}");
    Ok((original != copied).then_some(what))
}

fn check_whole(db: &Datestone, count: u64) -> Result<Option<String>> {
    let keys = |name: &str| -> Result<Vec<(u64, u64)>> {
        let latest = match db.find(name)?.latest() {
            Ok(latest) => latest,
            Err(e) if e.kind() == ErrorKind::NotYet => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut counts = std::collections::BTreeMap::new();
        for row in latest.iter() {
            let key = row?.key;
            let head = key.first_chunk().copied().map_or(u64::MAX, u64::from_be_bytes);
            *counts.entry(head).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    };
    let bulk = keys("bulk")?;
    if !bulk.iter().copied().eq((0..count).map(|n| (n, ROWS))) {
        return Ok(Some(format!("ingested in {count} steps: {bulk:?}")));
    }
    // What is erased is the step before the last one, in part of a step.
    let gone = keys("gone")?;
    let whole = gone.iter().all(|(n, rows)| *rows == ROWS && (*n == count || n + 1 == count));
    if !whole || (count > 0 && gone.is_empty()) {
        return Ok(Some(format!("not erased in {count} steps: {gone:?}")));
    }
    let cut = db.find("cut")?;
    let mut updates = cut.updates()?;
    while let Some(update) = updates.next_update()? {
        let n = update.ts / 10;
        if update.ts % 10 != 0 && n < count {
            return Ok(Some(format!("not truncated in {count} steps: a row at {}", update.ts)));
        }
    }
    Ok(None)
}

/// Backups and checkpoints that were told of are whole; others are whole or refused.
fn check_copies(dir: &Path, found: &Counts) -> Result<Option<String>> {
    let backups = beside(dir, "backups");
    if found.backup > 0 {
        let backups = Backups::open(&backups)?;
        if let Some(damage) = backups.verify()?.damage.first() {
            return Ok(Some(format!("backups: {damage}")));
        }
        let numbers: Vec<u64> = backups.list()?.iter().map(|info| info.number).collect();
        if !numbers.contains(&found.backup) {
            return Ok(Some(format!("backup {} of {numbers:?} is gone", found.backup)));
        }
        let restored = beside(dir, "restored");
        let _ = std::fs::remove_dir_all(&restored);
        backups.restore(None, &restored)?;
        if let Some(what) = is_whole(&restored)? {
            return Ok(Some(format!("restored: {what}")));
        }
    }
    for entry in
        dir.parent().into_iter().flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten())
    {
        let path = entry.map_err(|e| datestone::Error::Internal { what: e.to_string() })?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(n) = name.strip_prefix("checkpoint-").and_then(|n| n.parse::<u64>().ok()) else {
            continue;
        };
        match is_whole(&path) {
            Ok(None) => {}
            Ok(Some(what)) => return Ok(Some(format!("{name}: {what}"))),
            Err(e) if n == found.checkpoint => return Err(e),
            Err(e) if matches!(e.kind(), ErrorKind::Corruption | ErrorKind::NotFound) => {}
            Err(e) => return Err(e),
        }
        let _ = std::fs::remove_dir_all(&path);
    }
    Ok(None)
}

/// A copy of the database holds whole commits.
fn is_whole(dir: &Path) -> Result<Option<String>> {
    let options = datestone::Options { create_if_missing: false, ..crate::child::options() };
    let db = Datestone::open_with(dir, options)?;
    if let Some(damage) = db.verify(VerifyDepth::Full, |_, _| {})?.damage.first() {
        return Ok(Some(damage.to_string()));
    }
    let len = if db.find("events").is_ok() { db.typed_log::<u64>("events")?.len()? } else { 0 };
    if len % 2 != 0 {
        return Ok(Some(format!("{len} events")));
    }
    if len > 0 { check_kinds(&db, len / 2) } else { Ok(None) }
}
