//! `dbtool tail`: updates in order of time, and what is added to them.
//!
//! A database is open in one process at a time, so following it means to open it again and again,
//! as shortly as possible, and to stay away while somebody else has it.

use crate::args::{Global, Tail};
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Format, OnStdout as _, RowsOut};
use crate::store::Store;
use datestone::{Collection, Event, Frontier, Subscription};
use datestone_engine::io::{Clock as _, OsClock};
use std::io::Write;
use std::time::Duration;

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Tail) -> Result<()> {
    let format = global.format.unwrap_or(Format::Jsonl);
    if args.follow && format == Format::Table {
        let what = "a table has an end, what is followed has none";
        return Err(Failure::usage(what).hint("--format jsonl or --format tsv"));
    }
    let mut rows = RowsOut::new(output::stdout(), format).on_stdout()?;
    let mut frontier = None;
    loop {
        match look(args, &mut frontier, &mut rows) {
            Ok(()) => {}
            Err(failure) if args.follow && failure.exit() == Exit::Locked => {}
            Err(failure) => return Err(failure),
        }
        if !args.follow || frontier == Some(Frontier::CLOSED) {
            return rows.finish().on_stdout();
        }
        rows.flush().on_stdout()?;
        OsClock.sleep(PAUSE);
    }
}

/// Prints what there is from `frontier` on, and moves it.
fn look(
    args: &Tail,
    frontier: &mut Option<Frontier>,
    rows: &mut RowsOut<impl Write>,
) -> Result<()> {
    let store = Store::existing(&args.db)?;
    let collection = store.find(&args.collection)?;
    let news = match *frontier {
        None => start(&store, &collection, args.from)?,
        Some(frontier) => listen(&store, &collection, frontier)?,
    };
    if let Some(mut news) = news {
        while let Some(event) = news.try_next().in_database(store.path())? {
            match event {
                Event::Updates(updates) => {
                    updates.iter().try_for_each(|update| rows.row(update)).on_stdout()?;
                }
                Event::Progress(reached) => *frontier = Some(reached),
            }
        }
    }
    store.close()
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
