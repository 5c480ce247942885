//! `dbtool holds`: the durable holds, and releasing one.

use super::note;
use crate::args::Global;
use crate::args::change::Holds;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list};
use crate::store::Store;
use std::io::Write as _;

const NAMES: [&str; 5] = ["name", "collection", "at", "epoch", "owner"];

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Holds) -> Result<()> {
    let store = if args.commit { Store::existing(&args.db)? } else { Store::reading(&args.db)? };
    let mut holds = store.db.durable_holds().in_database(store.path())?;
    if let Some(name) = &args.release {
        holds.retain(|hold| hold.name == *name);
        if holds.is_empty() {
            let hint = format!("dbtool holds {}", args.db.display());
            return Err(Failure::new(Exit::NotFound, format!("no hold '{name}'")).hint(hint));
        }
        if args.commit {
            store.db.release_durable_hold(name).in_database(store.path())?;
        } else {
            let what =
                format_args!("the plan: hold '{name}' goes; nothing was changed, --commit does it");
            note(global, what);
        }
    }
    let facts = |hold: &datestone::DurableHoldInfo| -> Facts {
        let values = [
            Fact::Text(hold.name.clone()),
            Fact::Text(hold.collection.clone().unwrap_or_default()),
            Fact::Frontier(hold.at),
            Fact::Count(hold.epoch),
            Fact::Text(hold.owner.clone()),
        ];
        NAMES.into_iter().zip(values).collect()
    };
    let list: Vec<Facts> = holds.iter().map(facts).collect();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_list(&mut out, format, &NAMES, &list).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}
