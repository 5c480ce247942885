//! `dbtool load`: rows of a file into a collection, durably, commit by commit.
//!
//! # Invariants
//! 1. A commit holds a batch of rows, the position behind them and the upper that time has come to,
//!    all or nothing. A bad row leaves nothing of its batch.
//! 2. Upper never passes a time that rows to come may still have: until the end it stands at the
//!    last time seen, not beyond.
//! 3. An acknowledgement is printed after its commit is durable, never before.

use super::position::{POSITIONS, Position};
use super::{note, restore};
use crate::args::{Global, Load};
use crate::batch::Batch;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::input::{Input, RowFormat, RowSource};
use crate::interrupt;
use crate::output::{self, Fact, OnStdout as _, write_object};
use crate::progress::{Bar, Stopwatch};
use crate::store::Store;
use datestone::{Collection, Error, Frontier};
use std::io::Write;

/// Most bytes of keys and values in a commit: a batch of large rows is committed early.
const BATCH_LEN_MAX: usize = 64 << 20;

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Load) -> Result<()> {
    let bar = Bar::bytes("loading", global.progress());
    if let Some(dump) = &args.dump {
        return restore::run(global, args, dump, &bar);
    }
    let target = args.collection.as_deref().unwrap_or_default();
    let format = args.input.unwrap_or_else(|| RowFormat::of(&args.file));
    let source = RowSource::new(Input::open(&args.file, &bar)?, format)?;
    interrupt::loading();
    let watch = Stopwatch::start();
    let store = Store::existing_or_new(&args.db)?;
    let mut out = output::stdout();
    let mut ack = |state: Loaded| match args.ack {
        true => print_ack(&mut out, state),
        false => Ok(()),
    };
    let loaded = load(&store, target, source, &Plan::of(args), &mut ack)?;
    store.close()?;
    bar.clear();
    let Loaded { rows, upper } = loaded;
    let seconds = watch.elapsed().as_secs_f64();
    note(
        global,
        format_args!("{rows} rows of '{target}' are durable, upper {upper} ({seconds:.1} s)"),
    );
    Ok(())
}

/// How to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Updates in a commit.
    pub(crate) batch: usize,
    /// What becomes of upper.
    pub(crate) upper: UpperPlan,
    /// Where to begin.
    pub(crate) start: Start,
}

/// What becomes of upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpperPlan {
    /// Whether it stays at the last time in the end, or passes it.
    pub(crate) open_ended: bool,
    /// Whether it waits for the end.
    pub(crate) unordered: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first row.
    First,
    /// Behind the last durable commit.
    Resume,
}

impl Plan {
    fn of(args: &Load) -> Self {
        Self {
            batch: args.batch.get(),
            upper: UpperPlan { open_ended: args.open_ended, unordered: args.unordered },
            start: if args.resume { Start::Resume } else { Start::First },
        }
    }
}

/// What is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Rows of the input.
    pub(crate) rows: u64,
    /// Upper of the collection.
    pub(crate) upper: Frontier,
}

/// Loads every row of `source` into the collection `target`, and calls `ack` after each durable
/// commit, or once when there was nothing to do.
pub(crate) fn load(
    store: &Store,
    target: &str,
    mut source: RowSource,
    plan: &Plan,
    ack: &mut dyn FnMut(Loaded) -> Result<()>,
) -> Result<Loaded> {
    if target == POSITIONS {
        return Err(Failure::usage(format!(
            "collection '{POSITIONS}' keeps the positions of loads"
        ))
        .hint("choose another name"));
    }
    let collection = store.db.collection(target).in_database(store.path())?;
    let position = Position::open(store, target)?;
    let mut loader = Loader::new(store, collection, position, plan)?;
    if plan.start == Start::Resume {
        loader.skip(&mut source)?;
    }
    let mut batch = Batch::default();
    while source.read_into(&mut batch, loader.upper).map_err(|f| loader.keeps(f))? {
        if batch.len() >= plan.batch || batch.len_bytes() >= BATCH_LEN_MAX {
            loader.commit(&mut batch, &source, Step::OnTheWay)?;
            ack(loader.loaded())?;
        }
    }
    let committed = loader.commit(&mut batch, &source, Step::AtTheEnd)?;
    if committed || loader.commits == 0 {
        ack(loader.loaded())?;
    }
    Ok(loader.loaded())
}

/// Where a commit stands in the load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    OnTheWay,
    AtTheEnd,
}

struct Loader<'a> {
    store: &'a Store,
    collection: Collection,
    position: Position,
    plan: UpperPlan,
    rows: u64,
    /// Upper as of the last durable commit.
    upper: Frontier,
    /// The greatest time seen, also among skipped rows.
    ts_max: Option<u64>,
    commits: u64,
}

impl<'a> Loader<'a> {
    fn new(
        store: &'a Store,
        collection: Collection,
        position: Position,
        plan: &Plan,
    ) -> Result<Self> {
        let rows = match plan.start {
            Start::First => 0,
            Start::Resume => position.rows().unwrap_or(0),
        };
        let upper = store.info(&collection)?.upper;
        let plan = plan.upper;
        Ok(Self { store, collection, position, plan, rows, upper, ts_max: None, commits: 0 })
    }

    /// Passes over the rows that are durable.
    fn skip(&mut self, source: &mut RowSource) -> Result<()> {
        let mut batch = Batch::default();
        for at in 0..self.rows {
            batch.clear();
            if !source.read_into(&mut batch, Frontier::MIN)? {
                let rows = self.rows;
                let what = format!("{} has {at} rows, of which {rows} were loaded", source.name());
                return Err(Failure::new(Exit::Error, what)
                    .why("--resume goes on with the same input")
                    .hint("give the input of the load that was stopped"));
            }
            self.ts_max = self.ts_max.max(batch.ts_max());
        }
        Ok(())
    }

    /// Commits what is in `batch`, if anything, and empties it; `false` when nothing was to do.
    fn commit(&mut self, batch: &mut Batch, source: &RowSource, step: Step) -> Result<bool> {
        self.ts_max = self.ts_max.max(batch.ts_max());
        let upper = self.upper_after(step);
        if batch.is_empty() && upper == self.upper {
            return Ok(false);
        }
        let rows = self.rows + batch.len() as u64;
        let commit = self.store.db.commit().append(&self.collection, batch.updates());
        let commit = self.position.put(commit.advance_upper(&self.collection, upper), rows)?;
        commit.run().map_err(|error| self.keeps(self.told(&error, batch, source)))?;
        self.position.committed(rows);
        (self.rows, self.upper) = (rows, upper);
        self.commits += 1;
        batch.clear();
        Ok(true)
    }

    /// Where upper is to be.
    fn upper_after(&self, step: Step) -> Frontier {
        let Some(ts) = self.ts_max else { return self.upper };
        let wanted = match step {
            Step::OnTheWay if self.plan.unordered => return self.upper,
            Step::AtTheEnd if !self.plan.open_ended => Frontier::just_beyond(ts),
            Step::OnTheWay | Step::AtTheEnd => Frontier::at(ts), // I2
        };
        wanted.max(self.upper)
    }

    /// A failed commit, with the line at fault when it is one.
    fn told(&self, error: &Error, batch: &Batch, source: &RowSource) -> Failure {
        let failure = Failure::database(error, self.store.path());
        let index = match error {
            Error::TsBelowUpper { index, .. } | Error::TsBeyondNewUpper { index, .. } => *index,
            _ => return failure,
        };
        match batch.line(index) {
            Some(line) => {
                Failure::new(failure.exit(), format!("{}:{line}", source.name())).why(error)
            }
            None => failure,
        }
    }

    /// Adds what is kept to a failure.
    fn keeps(&self, failure: Failure) -> Failure {
        match (self.rows, failure) {
            (0, failure) => failure,
            (rows, Failure::Told(mut told)) => {
                let kept = format!("{rows} rows before it are durable, go on with --resume");
                told.hint = Some(match told.hint {
                    Some(hint) => format!("{hint}; {kept}"),
                    None => kept,
                });
                Failure::Told(told)
            }
            (_, failure) => failure,
        }
    }

    fn loaded(&self) -> Loaded {
        Loaded { rows: self.rows, upper: self.upper }
    }
}

/// Prints an acknowledgement and sees that it leaves.
fn print_ack(out: &mut impl Write, loaded: Loaded) -> Result<()> {
    let Loaded { rows, upper } = loaded;
    let facts = vec![("rows", Fact::Count(rows)), ("upper", Fact::Frontier(upper))];
    match write_object(out, &facts).and_then(|()| out.flush()).on_stdout() {
        // A load must not stop half-way without a word.
        Err(Failure::BrokenPipe) => {
            Err(Failure::new(Exit::Error, "nobody reads the acknowledgements")
                .why(format!("{rows} rows are durable"))
                .hint("the same command with --resume goes on"))
        }
        other => other,
    }
}

/// The rows of the input that are durable in `target`: where `--resume` goes on.
pub(crate) fn position(store: &Store, target: &str) -> Result<u64> {
    Ok(Position::open(store, target)?.rows().unwrap_or(0))
}
