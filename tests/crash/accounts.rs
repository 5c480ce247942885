//! Transactions that move amounts between accounts. None is lost and none takes effect by half, so
//! that every balance follows from the counts of all movers, and the sum never changes.

use crate::actor::{Actor, Known, Outcome, Stage, Step, mixed, require_same, there, wrong};
use datestone::{Codec, Datestone};
use std::collections::BTreeMap;

/// Threads that move amounts between the same accounts.
pub(crate) const MOVERS: u64 = 2;
const ACCOUNTS: u64 = 6;
/// What each account has at first, without having a row.
const START: u64 = 1 << 40;
/// Keys of the counts of the movers lie behind those of the accounts.
const COUNTS: u64 = 100;

pub(crate) struct Mover(pub(crate) u64);

struct Transfer {
    from: u64,
    to: u64,
    amount: u64,
}

fn transfer(mover: u64, n: u64) -> Transfer {
    let chance = mixed(n ^ mover << 50);
    let from = chance % ACCOUNTS;
    let to = (from + 1 + (chance >> 8) % (ACCOUNTS - 1)) % ACCOUNTS;
    Transfer { from, to, amount: (chance >> 20) % 1000 }
}

impl Actor for Mover {
    fn name(&self) -> String {
        format!("mover-{}", self.0)
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let db = stage.db.clone();
        let table = db.typed_table::<u64, u64>("accounts")?;
        let mover = self.0;
        Ok(Box::new(move |n| {
            let Transfer { from, to, amount } = transfer(mover, n);
            // The sum that the transaction sees, if it looks.
            let (count, missing) = db.transact(|transaction| {
                let count = transaction.get(&table, &(COUNTS + mover))?.unwrap_or(0);
                let paid = transaction.get(&table, &from)?.unwrap_or(START);
                transaction.put(&table, &from, &(paid - amount))?;
                let got = transaction.get(&table, &to)?.unwrap_or(START);
                transaction.put(&table, &to, &(got + amount))?;
                transaction.put(&table, &(COUNTS + mover), &(n + 1))?;
                if n % 4 > 0 {
                    return Ok((count, 0));
                }
                let rows = transaction.range(&table, 0..ACCOUNTS)?;
                let sum: u64 = rows.iter().map(|row| row.val).sum();
                Ok((count, sum.abs_diff(rows.len() as u64 * START)))
            })?;
            if count != n || missing != 0 {
                wrong!("step {n} of {mover} found {count} steps, and a sum that is {missing} off");
            }
            Ok(0)
        }))
    }

    fn check(&self, stage: &Stage, _: &Known) -> Outcome<u64> {
        Ok(counts(&stage.db)?[self.0 as usize])
    }
}

fn counts(db: &Datestone) -> Outcome<[u64; MOVERS as usize]> {
    let mut counts = [0; MOVERS as usize];
    let Some(table) = there(db.find_table("accounts"))? else { return Ok(counts) };
    let Some(snapshot) = there(table.latest())? else { return Ok(counts) };
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for row in snapshot.iter() {
        let row = row?;
        found.insert(u64::decode(&row.key)?, u64::decode(&row.val)?);
    }
    let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
    for (mover, count) in (0..).zip(&mut counts) {
        *count = found.remove(&(COUNTS + mover)).unwrap_or(0);
        for n in 0..*count {
            let Transfer { from, to, amount } = transfer(mover, n);
            *wanted.entry(from).or_insert(START) -= amount;
            *wanted.entry(to).or_insert(START) += amount;
        }
    }
    require_same(format!("balances after {counts:?} transactions"), &found, &wanted)?;
    if found.values().sum::<u64>() != found.len() as u64 * START {
        wrong!("the sum of all accounts has changed");
    }
    Ok(counts)
}
