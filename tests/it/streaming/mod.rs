//! Reading along the time axis.
//!
//! | module | what |
//! | --- | --- |
//! | `model` | random histories: history, changes, splits, many gets and subscriptions agree with a list of updates |
//! | `holds` | what holds keep from being forgotten, and what happens when they let go |
//! | `waiting` | who waits is woken: by uppers, drops, the closing, or the end of its patience |
//! | `concurrency` | writers and listeners at once |
//! | `locality` | changes touch only what has changed |

mod concurrency;
mod holds;
mod locality;
mod model;
mod waiting;

use datestone_engine::db::Db;
use datestone_engine::error::Result;
use datestone_engine::snapshot::Updates;
use datestone_engine::subscription::{Event, Subscription};
use datestone_engine::types::{Frontier, Update};
use datestone_tests::model::OwnedUpdate;

fn owned(update: Update<'_>) -> OwnedUpdate {
    let Update { key, val, ts, diff } = update;
    OwnedUpdate { key: key.to_vec(), val: val.to_vec(), ts, diff }
}

/// Reads updates to their end.
fn all(mut updates: Updates) -> Result<Vec<OwnedUpdate>> {
    let mut all = Vec::new();
    while let Some(update) = updates.next()? {
        all.push(owned(update));
    }
    assert!(updates.next()?.is_none(), "the end stays the end");
    Ok(all)
}

/// What a consumer of a subscription has seen.
#[derive(Debug, Default)]
struct Consumer {
    updates: Vec<OwnedUpdate>,
    frontier: Option<Frontier>,
}

impl Consumer {
    /// Takes an event; whether it was a progress. Checks the order of everything.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Updates(batch) => {
                assert!(!batch.is_empty());
                for update in batch.iter().map(owned) {
                    let key = |u: &OwnedUpdate| (u.ts, u.key.clone(), u.val.clone());
                    assert!(self.frontier.is_none_or(|frontier| !frontier.is_beyond(update.ts)));
                    assert!(self.updates.last().is_none_or(|last| key(last) < key(&update)));
                    self.updates.push(update);
                }
                false
            }
            Event::Progress(frontier) => {
                assert!(self.frontier.is_none_or(|before| before < frontier));
                assert!(self.updates.last().is_none_or(|last| frontier.is_beyond(last.ts)));
                self.frontier = Some(frontier);
                true
            }
        }
    }

    /// Takes everything that there is now.
    fn drain(&mut self, subscription: &mut Subscription) -> Result<()> {
        while let Some(event) = subscription.try_next()? {
            if self.take(event) {
                assert_eq!(self.frontier, Some(subscription.frontier()));
            }
        }
        Ok(())
    }

    /// What the updates add up to, in order of key and value.
    fn contents(&self) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        let mut sums = std::collections::BTreeMap::new();
        for OwnedUpdate { key, val, diff, .. } in &self.updates {
            *sums.entry((key.clone(), val.clone())).or_insert(0) += diff;
        }
        sums.into_iter().filter(|(_, sum)| *sum != 0).map(|((k, v), sum)| (k, v, sum)).collect()
    }
}

/// Does the background work that there is.
fn work_off(db: &Db) {
    while db.step().unwrap() {}
}
