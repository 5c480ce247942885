//! The crash explorer: which states a power cut at any moment can leave, and whether each of them is
//! what was promised.
//!
//! ```text
//! workload -> RecordFs: operations and marks -> Disk: durable and pending, prefix by prefix
//!          -> recipes: a fate for each pending change -> Image, told apart by its hash
//!          -> opened, compared, verified, written to, opened again -> judged by the marks
//! ```
//!
//! It shares nothing with the crash model of [`MemFs`](datestone_engine::io::MemFs), which only holds
//! the images that are opened.
//!
//! | module | what |
//! | --- | --- |
//! | [`record`] | a file system that writes down what is done to it; bugs planted there |
//! | [`disk`] | what is durable, what is pending, and the image after a power cut |
//! | [`recipe`] | which states are looked at; shrinking |
//! | [`workload`] | steps with a known state after each |
//! | [`script`] | workloads by theme and seed |
//! | [`check`] | what a database must hold |
//!
//! # Invariants
//! 1. Everything follows from the seed. How many states are looked at decides nothing about what they
//!    are, so that a violation comes up again when more are.
//! 2. An image is opened once however often it comes up; it is judged each time, as more has been
//!    acknowledged.

pub mod check;
pub mod disk;
pub mod recipe;
pub mod record;
pub mod script;
pub mod workload;

#[cfg(test)]
mod tests;

use self::check::{Expected, Observed, Promise, end, probe};
use self::disk::{Disk, Image, Model};
use self::recipe::{Fates, recipes, shrink};
use self::record::{Op, Skip};
use self::workload::{Workload, recorded, run};
use crate::database::{DIR, small_options};
use crate::seed::Chance;
use datestone_engine::db::Db;
use datestone_engine::io::{Clock, OsClock};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// Of so many images, the opening of one is itself cut off.
const RECOVERY_ONE_IN: u128 = 48;
/// How often a recovery is cut off in a row.
const DEPTH_MAX: usize = 2;

/// What was explored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Operations of the workloads.
    pub ops: u64,
    /// States that were made.
    pub tried: u64,
    /// Of these, images that had not been seen before.
    pub distinct: u64,
    /// Recoveries that were cut off in turn.
    pub recoveries: u64,
    /// Different states that the databases went through.
    pub known: u64,
    /// Time that it took.
    pub time: Duration,
}

/// Explores workloads, and remembers which images were seen.
#[derive(Debug, Default)]
pub struct Explorer {
    /// What was done, for [`Model::Strict`] and [`Model::Relaxed`].
    pub tallies: [Tally; 2],
    seen: HashSet<u128>,
}

impl Explorer {
    /// Explores one workload under both models: about `share` distinct images of each, or all that it
    /// has.
    ///
    /// # Errors
    /// The first violation, in words, with the smallest state that shows it.
    pub fn explore(
        &mut self,
        workload: &dyn Workload,
        seed: u64,
        share: u64,
        skip: Skip,
    ) -> Result<(), String> {
        let (early, late) = match skip {
            Skip::InRecovery(part) => (Skip::Nothing, Skip::FileSyncs(part)),
            _ => (skip, Skip::Nothing),
        };
        let run = run(workload, seed, early)?;
        let expected = Expected::new(run.states, workload.copies());
        let mut observed = HashMap::new();
        for (model, tally) in [Model::Strict, Model::Relaxed].into_iter().zip(&mut self.tallies) {
            let mut walk = Walk {
                expected: &expected,
                model,
                skip: late,
                chance: Chance::new(seed),
                lots: Chance::new(seed),
                take: take(model, &run.ops, share),
                observed: &mut observed,
                seen: &mut self.seen,
                tally,
            };
            let started = OsClock.monotonic();
            walk.tally.ops += run.ops.len() as u64;
            walk.tally.known += expected.count() as u64;
            walk.walk(&run.ops, &Image::default(), Promise::NONE, 0).map_err(|what| {
                let name = workload.name();
                format!(
                    "workload '{name}', {model:?}, {skip:?}; again with DATESTONE_SEED={seed} \
                     DATESTONE_EXPLORE_STATES=1000000\n{what}"
                )
            })?;
            walk.tally.time += OsClock.monotonic() - started;
        }
        Ok(())
    }
}

/// Of a thousand states, how many are looked at, so that about `share` are.
fn take(model: Model, ops: &[Op], share: u64) -> u64 {
    let (mut disk, mut chance) = (Disk::new(model, &Image::default()), Chance::new(0));
    let mut all = 1;
    for op in ops {
        disk.take(op);
        all += recipes(&disk, &mut chance).len() as u64;
    }
    // Most images come up more than once.
    (share.saturating_mul(1_500) / all).clamp(1, 1_000)
}

/// One way through the operations of a workload, or of a recovery.
struct Walk<'a> {
    expected: &'a Expected,
    model: Model,
    /// The bug that recoveries have.
    skip: Skip,
    /// What decides which states there are, whether they are looked at or not.
    chance: Chance,
    /// What decides which of them are looked at.
    lots: Chance,
    /// Of a thousand states, how many are looked at.
    take: u64,
    /// What was seen of images of this workload (I2).
    observed: &'a mut HashMap<u128, Observed>,
    seen: &'a mut HashSet<u128>,
    tally: &'a mut Tally,
}

impl Walk<'_> {
    /// Looks at the states after every prefix of `ops`, which began on a disk with `base`.
    fn walk(
        &mut self,
        ops: &[Op],
        base: &Image,
        mut promise: Promise,
        depth: usize,
    ) -> Result<(), String> {
        let mut disk = Disk::new(self.model, base);
        for (index, op) in ops.iter().enumerate() {
            promise.take(op);
            disk.take(op);
            for fates in recipes(&disk, &mut self.chance) {
                if self.lots.below(1_000) >= self.take {
                    continue;
                }
                if let Err(what) = self.look(&disk.image(&fates), &promise, depth) {
                    return Err(self.report(&what, ops, index, &disk, fates, &promise, depth));
                }
            }
        }
        Ok(())
    }

    /// Looks at one state, and now and then at the states that a cut of its recovery leaves.
    fn look(&mut self, image: &Image, promise: &Promise, depth: usize) -> Result<(), String> {
        let hash = image.hash();
        self.tally.tried += 1;
        if let Some(observed) = self.observed.get(&hash) {
            return self.expected.judge(observed, promise);
        }
        self.tally.distinct += u64::from(self.seen.insert(hash));
        let observed = observe(self.expected, image, hash)?;
        let verdict = self.expected.judge(&observed, promise);
        let (state, probes) = (observed.state, observed.probes);
        self.observed.insert(hash, observed);
        verdict?;
        if depth < DEPTH_MAX && (hash >> 64).is_multiple_of(RECOVERY_ONE_IN) {
            self.tally.recoveries += 1;
            let ops = recovery(image, hash, (state, probes), self.skip)?;
            let chance = std::mem::replace(&mut self.chance, Chance::new(hash as u64));
            let outcome = self.walk(&ops, image, promise.clone(), depth + 1);
            self.chance = chance;
            return outcome;
        }
        Ok(())
    }

    /// A violation in words: the smallest recipe that still fails, and what led to it.
    #[expect(clippy::too_many_arguments, reason = "it is all that is known of a violation")]
    fn report(
        &mut self,
        what: &str,
        ops: &[Op],
        index: usize,
        disk: &Disk,
        fates: Fates,
        promise: &Promise,
        depth: usize,
    ) -> String {
        // A violation of a recovery's states is told, and made small, where it was found.
        let is_nested = what.starts_with("in a recovery");
        let mut last = what.to_owned();
        let fates = if is_nested {
            fates
        } else {
            shrink(disk, fates, &mut |fates| {
                let image = disk.image(fates);
                let seen = observe(self.expected, &image, image.hash());
                let verdict = seen.and_then(|seen| self.expected.judge(&seen, promise));
                verdict.inspect_err(|e| last.clone_from(e)).is_err()
            })
        };
        let mut text = String::new();
        let place = if depth > 0 { "in a recovery, " } else { "" };
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{place}after operation {index} of {}, {promise:?}: {last}", ops.len());
        for (change, fate) in disk.pending.iter().zip(&fates) {
            let _ = writeln!(text, "  pending: {change}: {fate:?}");
        }
        for op in ops.get(index.saturating_sub(12)..=index).unwrap_or_default() {
            let _ = writeln!(text, "  before: {}", show(op));
        }
        text
    }
}

/// Observes, and takes a panic for what it is.
fn observe(expected: &Expected, image: &Image, hash: u128) -> Result<Observed, String> {
    catch_unwind(AssertUnwindSafe(|| expected.observe(image, hash)))
        .unwrap_or_else(|_| Err("a panic".into()))
}

/// What opening an image, and going on with it, does to it.
fn recovery(
    image: &Image,
    hash: u128,
    (state, probes): (usize, u64),
    skip: Skip,
) -> Result<Vec<Op>, String> {
    let fs = image.materialise(hash as u64).map_err(|e| format!("a broken image: {e}"))?;
    let (env, record) = recorded(fs, image, skip);
    let go_on = || {
        let db = Db::open(env, Path::new(DIR), small_options())?;
        record.mark(Op::Opened(state));
        record.mark(Op::ProbeBegun(probes + 1));
        probe(&db, hash >> 32)?;
        record.mark(Op::Probed(probes + 1));
        end(&db, hash >> 32)
    };
    go_on().map_err(|e| e.to_string())?;
    Ok(record.take())
}

fn show(op: &Op) -> String {
    match op {
        Op::Write(file, offset, data) => {
            format!("write {} bytes at {offset} of file {file}", data.len())
        }
        other => format!("{other:?}"),
    }
}
