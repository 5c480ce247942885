//! `dbtool holds`: the durable holds and subscriptions, and releasing one.

use super::note;
use crate::args::Global;
use crate::args::change::Holds;
use crate::exit::Exit;
use crate::failure::{Failure, InDatabase as _, Result};
use crate::output::{self, Fact, Facts, Format, OnStdout as _, write_list};
use crate::store::Store;
use datestone::{DurableHoldInfo, DurableSubscriptionInfo, Space};
use std::io::Write as _;

/// `seqno` is the last commit when it was first taken.
const NAMES: [&str; 8] = ["name", "what", "collection", "at", "bytes", "seqno", "epoch", "owner"];

/// A durable hold or subscription.
enum Holder {
    Hold(DurableHoldInfo),
    Subscription(DurableSubscriptionInfo),
}

impl Holder {
    fn name(&self) -> &str {
        match self {
            Self::Hold(hold) => &hold.name,
            Self::Subscription(subscription) => &subscription.name,
        }
    }

    const fn what(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Subscription(_) => "subscription",
        }
    }

    /// Bytes that only this one keeps from being forgotten.
    fn bytes(&self, space: &Space) -> u64 {
        let end = match self {
            Self::Hold(hold) => format!("(durable: {})", hold.name),
            Self::Subscription(info) => format!("(subscription: {})", info.name),
        };
        let mine = space.holders.iter().find(|holder| holder.owner.ends_with(&end));
        mine.map_or(0, |holder| holder.bytes)
    }

    fn facts(&self, space: &Space) -> Facts {
        let (collection, at, seqno, epoch, owner) = match self {
            Self::Hold(DurableHoldInfo { collection, at, seqno, epoch, owner, .. }) => {
                (collection, at, seqno, epoch, owner)
            }
            Self::Subscription(info) => {
                (&info.collection, &info.frontier, &info.seqno, &info.epoch, &info.owner)
            }
        };
        let values = [
            Fact::Text(self.name().into()),
            Fact::Text(self.what().into()),
            Fact::Text(collection.clone().unwrap_or_default()),
            Fact::Frontier(*at),
            Fact::Bytes(self.bytes(space)),
            Fact::Count(*seqno),
            Fact::Count(*epoch),
            Fact::Text(owner.clone()),
        ];
        NAMES.into_iter().zip(values).collect()
    }

    fn release(&self, store: &Store) -> Result<()> {
        let released = match self {
            Self::Hold(hold) => store.db.release_durable_hold(&hold.name),
            Self::Subscription(info) => store.db.release_durable_subscription(&info.name),
        };
        released.in_database(store.path())
    }
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &Holds) -> Result<()> {
    let store = if args.commit { Store::existing(&args.db)? } else { Store::reading(&args.db)? };
    let holds = store.db.durable_holds().in_database(store.path())?;
    let subscriptions = store.db.durable_subscriptions().in_database(store.path())?;
    let subscriptions = subscriptions.into_iter().map(Holder::Subscription);
    let mut holders: Vec<Holder> =
        holds.into_iter().map(Holder::Hold).chain(subscriptions).collect();
    if let Some(name) = &args.release {
        holders.retain(|holder| holder.name() == name);
        if holders.is_empty() {
            let hint = format!("dbtool holds {}", args.db.display());
            return Err(Failure::new(Exit::NotFound, format!("no hold '{name}'")).hint(hint));
        }
        for holder in &holders {
            if args.commit {
                holder.release(&store)?;
            } else {
                let what = holder.what();
                let plan = format_args!(
                    "the plan: {what} '{name}' goes; nothing was changed, --commit does it"
                );
                note(global, plan);
            }
        }
    }
    let space = store.db.space().in_database(store.path())?;
    let list: Vec<Facts> = holders.iter().map(|holder| holder.facts(&space)).collect();
    let mut out = output::stdout();
    let format = global.format.unwrap_or(Format::Table);
    write_list(&mut out, format, &NAMES, &list).and_then(|()| out.flush()).on_stdout()?;
    store.close()
}
