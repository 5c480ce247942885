//! `dbtool tail`: updates in order of time, and what is added to them.

use crate::args::{Global, Tail};
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Format, OnStdout as _, RowsOut};
use crate::store::Store;
use datestone::{Collection, Event, Frontier, Subscription};
use datestone_engine::io::{Clock as _, OsClock};
use std::io::Write;
use std::time::Duration;

/// How long to wait before looking again whether anything is complete yet.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to wait for an event; then for the next.
const WAIT: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Tail) -> Result<()> {
    let format = global.format.unwrap_or(Format::Jsonl);
    if args.follow && format == Format::Table {
        let what = "a table has an end, what is followed has none";
        return Err(Failure::usage(what).hint("--format jsonl or --format tsv"));
    }
    let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
    let store = if args.follow { Store::following(&args.db)? } else { Store::reading(&args.db)? };
    let collection = store.find(&args.collection)?;
    let mut news = start(&store, &collection, args.from)?;
    while args.follow && news.is_none() {
        OsClock.sleep(PAUSE);
        news = start(&store, &collection, args.from)?;
    }
    if let Some(news) = &mut news {
        print(&store, news, args.follow, &mut rows)?;
    }
    rows.finish().on_stdout()?;
    store.close()
}

/// Prints what comes: all that there is, or all that ever will be.
fn print(
    store: &Store,
    news: &mut Subscription,
    follow: bool,
    rows: &mut RowsOut<impl Write>,
) -> Result<()> {
    while !news.frontier().is_closed() {
        let next = match news.try_next().in_database(store.path())? {
            None if !follow => break,
            None => {
                rows.flush().on_stdout()?;
                news.next(WAIT).in_database(store.path())?
            }
            some => some,
        };
        if let Some(Event::Updates(updates)) = next {
            updates.iter().try_for_each(|update| rows.row(update)).on_stdout()?;
        }
    }
    Ok(())
}

/// From the time asked for, or all that there is; `None` when nothing is complete yet.
fn start(
    store: &Store,
    collection: &Collection,
    from: Option<u64>,
) -> Result<Option<Subscription>> {
    let info = store.info(collection)?;
    let since = info.since.ts();
    match (from.or(since), since) {
        (Some(from), Some(since)) if from == since => {
            if info.upper <= info.since {
                return Ok(None);
            }
            collection.subscribe(since).map(Some).in_database(store.path())
        }
        (Some(from), _) => listen(store, collection, Frontier::at(from)),
        (None, _) => Ok(None),
    }
}

fn listen(
    store: &Store,
    collection: &Collection,
    frontier: Frontier,
) -> Result<Option<Subscription>> {
    let as_of = frontier.last_below().unwrap_or(0);
    collection.listen(as_of).map(Some).in_database(store.path())
}
