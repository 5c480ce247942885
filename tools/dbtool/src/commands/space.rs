//! `dbtool space`: where the bytes are, and what would free them.

use crate::args::Global;
use crate::failure::{InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list, write_one};
use crate::store::Store;
use datestone::Space;
use std::io::{self, Write};
use std::path::Path;

const COLLECTIONS: [&str; 4] = ["collection", "referenced", "live", "latest"];
const WOULD_FREE: &str = "would_free";
const HOLDERS: [&str; 5] = ["holder", "collection", "at", "seqno", "bytes"];

/// Runs the command.
pub(crate) fn run(global: &Global, db: &Path, below: Option<u64>) -> Result<()> {
    let store = Store::reading(db)?;
    let space = store.db.space().in_database(store.path())?;
    let mut collections: Vec<Facts> = Vec::new();
    for of in &space.collections {
        let values = [
            Fact::Text(of.name.clone()),
            Fact::Bytes(of.referenced),
            Fact::Bytes(of.live),
            Fact::Bytes(of.latest),
        ];
        let mut facts: Facts = COLLECTIONS.into_iter().zip(values).collect();
        if let Some(since) = below {
            let collection = store.find(&of.name)?;
            let bytes = collection.would_free(since).in_database(store.path())?;
            facts.push((WOULD_FREE, Fact::Bytes(bytes)));
        }
        collections.push(facts);
    }
    let format = global.format.unwrap_or(Format::Table);
    write(format, &space, below.is_some(), &collections).on_stdout()?;
    store.close()
}

fn write(format: Format, space: &Space, below: bool, collections: &[Facts]) -> io::Result<()> {
    let mut out = output::stdout();
    let database = vec![
        ("disk", Fact::Bytes(space.disk)),
        ("wal", Fact::Bytes(space.wal)),
        ("manifest", Fact::Bytes(space.manifest)),
        ("segments", Fact::Bytes(space.segments)),
        ("referenced", Fact::Bytes(space.referenced)),
        ("live", Fact::Bytes(space.live)),
    ];
    write_one(&mut out, format, &database)?;
    let mut names = COLLECTIONS.to_vec();
    if below {
        names.push(WOULD_FREE);
    }
    if !collections.is_empty() {
        between(&mut out, format)?;
        write_list(&mut out, format, &names, collections)?;
    }
    let holder = |of: &datestone::HolderSpace| -> Facts {
        let values = [
            Fact::Text(of.owner.clone()),
            Fact::Text(of.collection.clone()),
            Fact::Frontier(of.at),
            Fact::Count(of.seqno.0),
            Fact::Bytes(of.bytes),
        ];
        HOLDERS.into_iter().zip(values).collect()
    };
    let holders: Vec<Facts> = space.holders.iter().map(holder).collect();
    if !holders.is_empty() {
        between(&mut out, format)?;
        write_list(&mut out, format, &HOLDERS, &holders)?;
    }
    out.flush()
}

fn between(out: &mut impl Write, format: Format) -> io::Result<()> {
    if format == Format::Table { writeln!(out) } else { Ok(()) }
}
