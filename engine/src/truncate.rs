//! Truncation: everything from a time on is discarded, and upper goes back to it. What an engine
//! needs that starts again from a checkpoint of its own.
//!
//! # Crash behaviour
//! Everything is in segments when it begins. One manifest edit then shows less of them; before it is
//! durable nothing has happened, after it everything has. The log has nothing to replay that would
//! bring upper back up: the edit says too that all of it is flushed.

use crate::collection::Collection;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::format::manifest_edit::{Edit, EditOp, RunList};
use crate::install::{Shared, head};
use crate::leader::WriteState;
use crate::planted::{Bug, planted};
use crate::read::PartCursor;
use crate::types::{CollectionId, Frontier, Kind, TimeWindow, Timestamp};
use std::collections::BTreeSet;

/// What a truncation discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Updates (for a table: puts and deletions) at or beyond the time.
    pub updates: u64,
    /// Upper before.
    pub upper_before: Frontier,
}

/// Discards the updates of a collection at or beyond `ts`, or with `dry_run` only counts them. The
/// caller keeps commits and merges out and has flushed.
pub(crate) fn truncate(
    shared: &Shared,
    state: &mut WriteState,
    id: CollectionId,
    ts: Timestamp,
    dry_run: bool,
) -> Result<Truncated> {
    let collection = state.collections.require(id)?.clone();
    check(&collection, ts)?;
    let mut report = Truncated { updates: 0, upper_before: collection.upper };
    let reads = shared.view.catalog.read().reads(id);
    let window = TimeWindow { first: ts, last: Timestamp::MAX };
    for part in &reads.parts {
        if let Some(window) = part.window.intersect(window) {
            report.updates += count(PartCursor::new(part.segments.clone(), window))?;
        }
    }
    if dry_run {
        return Ok(report);
    }
    let upper = Frontier::at(ts);
    let after = Collection { upper, ..collection.clone() };
    // Readers are refused what is about to go before it goes.
    show(shared, state, id, &after);
    let installed = shared.install(Vec::new(), None, |manifest| {
        let known = manifest.collections().get(&id);
        let mut runs = known.map(|known| RunList::clone(&known.runs)).unwrap_or_default();
        if !planted(Bug::TruncationShowsAll) {
            runs.truncate(upper)?;
        }
        Ok(Edit {
            ops: vec![
                EditOp::Flushed(state.last_seqno),
                EditOp::Collection(head(&collection)),
                EditOp::Truncate { id, upper },
                EditOp::Runs { id, runs },
            ],
        })
    });
    if installed.is_err() {
        show(shared, state, id, &collection);
    }
    installed.map(|()| report)
}

fn check(collection: &Collection, ts: Timestamp) -> Result<()> {
    let (name, kind) = (&collection.description.name, collection.description.kind);
    if kind.assigns_times() {
        return Err(Error::invalid(format!(
            "collection '{name}' is a {kind}, which cannot be truncated: its times are not its \
             user's"
        )));
    }
    debug_assert!(matches!(kind, Kind::Multiset | Kind::Table));
    // Times before since may have been given the time since: at since itself they cannot be told from
    // those that are to go.
    if collection.since != Frontier::MIN && collection.since >= Frontier::at(ts) {
        return Err(Error::Compacted {
            collection: name.to_string(),
            as_of: ts,
            since: collection.since,
            upper: collection.upper,
        });
    }
    Ok(())
}

fn count(mut cursor: PartCursor) -> Result<u64> {
    let (mut count, mut updates) = (0, Vec::new());
    cursor.seek_first()?;
    while cursor.valid() {
        updates.clear();
        cursor.updates(&mut updates);
        count += updates.len() as u64;
        cursor.next()?;
    }
    Ok(count)
}

fn show(shared: &Shared, state: &mut WriteState, id: CollectionId, collection: &Collection) {
    state.collections.replace(id, Some(collection));
    shared.view.catalog.write().publish(&BTreeSet::from([id]), &state.collections);
}
