//! `dbtool put`, `del`, `append`: writes by hand; `dbtool truncate`, `erase`, `drop`: what destroys
//! tells its plan, and does it only with `--commit`.

use super::note;
use crate::args::Global;
use crate::args::change::{Append, Checkpoint, Del, Drop, Erase, Put, Retention, Truncate};
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Fact, Format, OnStdout as _, write_one};
use crate::store::Store;
use datestone::{Expected, Kind};
use std::io::{BufRead as _, Write as _};
use std::ops::Bound;

/// Runs `dbtool put`.
pub(crate) fn put(global: &Global, args: &Put) -> Result<()> {
    let store = Store::existing_or_new(&args.db)?;
    let val = Some(args.val.0.as_slice());
    write(global, store, &args.table, &args.key.0, val, args.ts, args.advance)
}

/// Runs `dbtool del`.
pub(crate) fn del(global: &Global, args: &Del) -> Result<()> {
    let store = Store::existing(&args.db)?;
    store.find(&args.table)?;
    write(global, store, &args.table, &args.key.0, None, args.ts, args.advance)
}

/// Puts a value, or deletes a key. A table that does not exist is made: on the caller's clock when a
/// time is given.
fn write(
    global: &Global,
    store: Store,
    table: &str,
    key: &[u8],
    val: Option<&[u8]>,
    ts: Option<u64>,
    advance: bool,
) -> Result<()> {
    let path = store.path().to_owned();
    let db = &store.db;
    let kind = match db.find(table) {
        Ok(found) => found.info().in_database(&path)?.kind,
        Err(_) if ts.is_some() => Kind::Table,
        Err(_) => Kind::ClockTable,
    };
    let at = match (kind, ts) {
        (Kind::ClockTable, None) => {
            if db.find(table).is_err() {
                db.table(table).in_database(&path)?;
            }
            let table = db.find_table(table).in_database(&path)?;
            match val {
                Some(val) => table.put(key, val).in_database(&path)?,
                None => table.delete(key).in_database(&path)?,
            }
        }
        (Kind::Table, Some(ts)) => {
            if db.find(table).is_err() {
                db.timed_table(table).in_database(&path)?;
            }
            let table = db.find_timed_table(table).in_database(&path)?;
            let commit = match val {
                Some(val) => db.commit().put_at(&table, key, val, ts),
                None => db.commit().delete_at(&table, key, ts),
            };
            let upper = datestone::Frontier::just_beyond(ts);
            let commit = if advance { commit.advance_table(&table, upper) } else { commit };
            commit.run().in_database(&path)?;
            ts
        }
        (Kind::Table, None) => {
            return Err(Failure::usage(format!("table '{table}' is on its user's clock"))
                .why("a put needs a time")
                .hint("add --ts T, and --advance to make it readable"));
        }
        (Kind::ClockTable, Some(_)) => {
            return Err(Failure::usage(format!("table '{table}' is on the database's clock"))
                .why("it gives the time itself")
                .hint("leave --ts out"));
        }
        (kind, _) => {
            return Err(Failure::usage(format!("collection '{table}' is a {kind}, not a table"))
                .hint("dbtool load adds to a multiset, dbtool append to a log"));
        }
    };
    print(global, vec![("ts", Fact::Count(at))])?;
    store.close()
}

/// Runs `dbtool append`.
pub(crate) fn append(global: &Global, args: &Append) -> Result<()> {
    let store = Store::existing_or_new(&args.db)?;
    let path = store.path().to_owned();
    if store.db.find(&args.log).is_err() {
        store.db.log(&args.log).in_database(&path)?;
    }
    let log = store.db.find_log(&args.log).in_database(&path)?;
    let expected = args.expect.map_or(Expected::Any, Expected::Exact);
    let (first, count) = match (&args.event, &args.id) {
        (Some(event), Some(id)) => (log.append_once(&id.0, &event.0).in_database(&path)?, 1),
        (Some(event), None) => {
            (log.append_at(expected, [event.0.as_slice()]).in_database(&path)?, 1)
        }
        (None, _) => {
            let lines = std::io::stdin().lock().split(b'\n');
            let events = lines.collect::<std::io::Result<Vec<_>>>().map_err(|e| {
                Failure::new(crate::exit::Exit::Error, format!("reading stdin: {e}"))
            })?;
            let count = events.len() as u64;
            let events = events.iter().map(Vec::as_slice);
            (log.append_at(expected, events).in_database(&path)?, count)
        }
    };
    print(global, vec![("position", Fact::Count(first)), ("events", Fact::Count(count))])?;
    store.close()
}

/// Runs `dbtool truncate`.
pub(crate) fn truncate(global: &Global, args: &Truncate) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let collection = store.find(&args.collection)?;
    let report = if args.commit {
        collection.truncate_at(args.at)
    } else {
        collection.would_truncate(args.at)
    };
    let report = report.in_database(store.path())?;
    plan(global, args.commit, format_args!("upper of '{}' goes back", args.collection));
    print(
        global,
        vec![
            ("updates", Fact::Count(report.updates)),
            ("upper_before", Fact::Frontier(report.upper_before)),
            ("upper_after", Fact::Frontier(datestone::Frontier::at(args.at))),
            ("done", Fact::Text(args.commit.to_string())),
        ],
    )?;
    store.close()
}

/// Runs `dbtool erase`.
pub(crate) fn erase(global: &Global, args: &Erase) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let path = store.path().to_owned();
    let collection = store.find(&args.collection)?;
    let (from, to) = range(args)?;
    if args.commit {
        let erased = collection.erase::<[u8]>((slice(&from), slice(&to))).in_database(&path)?;
        for held in &erased.held {
            note(global, format_args!("{} is still read, and goes later", held.display()));
        }
        print(
            global,
            vec![
                ("updates", Fact::Count(erased.updates)),
                ("segments", Fact::Count(erased.segments)),
                ("wal_files", Fact::Count(erased.wal_files)),
                ("done", Fact::Text("true".into())),
            ],
        )?;
    } else {
        let mut updates = collection.updates().in_database(&path)?;
        let mut count = 0;
        let within = (slice(&from), slice(&to));
        while let Some(update) = updates.next_update().in_database(&path)? {
            count += u64::from(std::ops::RangeBounds::<[u8]>::contains(&within, update.key));
        }
        plan(global, false, format_args!("rows of '{}' go, at every time", args.collection));
        print(global, vec![("updates", Fact::Count(count)), ("done", Fact::Text("false".into()))])?;
    }
    store.close()
}

type OwnBound = Bound<Vec<u8>>;

fn range(args: &Erase) -> Result<(OwnBound, OwnBound)> {
    let bound = |key: &Option<crate::datum::ArgBytes>, bound: fn(Vec<u8>) -> OwnBound| {
        key.as_ref().map_or(Bound::Unbounded, |key| bound(key.0.clone()))
    };
    match (&args.key, &args.prefix) {
        (Some(key), None) => Ok((Bound::Included(key.0.clone()), Bound::Included(key.0.clone()))),
        (None, Some(prefix)) => {
            let mut end = prefix.0.clone();
            while end.last() == Some(&u8::MAX) {
                end.pop();
            }
            let end = match end.last_mut() {
                Some(last) => {
                    *last += 1;
                    Bound::Excluded(end)
                }
                None => Bound::Unbounded,
            };
            Ok((Bound::Included(prefix.0.clone()), end))
        }
        _ if args.from.is_none() && args.to.is_none() => {
            Err(Failure::usage("nothing says which keys to erase")
                .hint("give a KEY, --prefix, or --from and --to; dbtool drop removes all"))
        }
        _ => Ok((bound(&args.from, Bound::Included), bound(&args.to, Bound::Excluded))),
    }
}

fn slice(bound: &OwnBound) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Runs `dbtool checkpoint`.
pub(crate) fn checkpoint(global: &Global, args: &Checkpoint) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let made = store.db.checkpoint(&args.dir).in_database(store.path())?;
    print(
        global,
        vec![
            ("seqno", Fact::Count(made.seqno)),
            ("collections", Fact::Count(made.uppers.len() as u64)),
            ("segments", Fact::Count(made.segments)),
            ("bytes", Fact::Bytes(made.bytes)),
            ("copied", Fact::Count(made.copied)),
        ],
    )?;
    store.close()
}

/// Runs `dbtool retention`.
pub(crate) fn retention(global: &Global, args: &Retention) -> Result<()> {
    let store = if args.commit { Store::existing(&args.db)? } else { Store::reading(&args.db)? };
    let collection = store.find(&args.collection)?;
    let before = collection.retention().in_database(store.path())?;
    if let Some(retention) = args.retention {
        if args.commit {
            collection.set_retention(retention).in_database(store.path())?;
        }
        let name = &args.collection;
        plan(global, args.commit, format_args!("collection '{name}' keeps {retention}"));
    }
    let info = store.info(&collection)?;
    let kept = args.retention.filter(|_| args.commit).unwrap_or(before);
    print(
        global,
        vec![
            ("collection", Fact::Text(args.collection.clone())),
            ("retention", Fact::Text(kept.to_string())),
            ("since", Fact::Frontier(info.since)),
            ("upper", Fact::Frontier(info.upper)),
        ],
    )?;
    store.close()
}

/// Runs `dbtool drop`.
pub(crate) fn drop_collection(global: &Global, args: &Drop) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let info = store.info(&store.find(&args.collection)?)?;
    if args.commit {
        store.db.drop_collection(&args.collection).in_database(store.path())?;
        store.db.flush().in_database(store.path())?;
    }
    plan(global, args.commit, format_args!("collection '{}' goes", args.collection));
    print(
        global,
        vec![
            ("updates", Fact::Count(info.updates + info.memtable_updates)),
            ("bytes", Fact::Bytes(info.bytes)),
            ("done", Fact::Text(args.commit.to_string())),
        ],
    )?;
    store.close()
}

/// Tells that nothing has happened yet.
fn plan(global: &Global, done: bool, what: std::fmt::Arguments<'_>) {
    if !done {
        note(global, format_args!("the plan: {what}; nothing was changed, --commit does it"));
    }
}

fn print(global: &Global, facts: output::Facts) -> Result<()> {
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_one(&mut out, format, &facts).and_then(|()| out.flush()).on_stdout()
}
