//! The six core workloads of YCSB, on rows of this size: Zipfian with 0.99, one thread, one commit for
//! each write, which is given to the operating system and not waited for, as YCSB does by default.
//! One database for all, in the order A, B, C, F, D, E.

use super::{Race, emit, timed};
use crate::Result;
use crate::data::{self, Seen};
use crate::engine::{Durability, Engine, Op};
use crate::machine;
use rand::RngExt;

/// Most operations of one workload.
const OPS_MAX: u64 = 200_000;
/// Most rows of one scan.
const SCAN_MAX: u64 = 100;

/// One operation.
enum Step {
    /// Reads a row.
    Read(u64),
    /// Gives a row another value without a look at it.
    Update(u64),
    /// Adds a row.
    Insert(u64),
    /// Reads so many rows.
    Scan(u64, u64),
    /// Reads a row, then gives it another value.
    Modify(u64),
}

/// What a workload does beside reading, and how often in a hundred.
#[derive(Clone, Copy)]
enum Other {
    Update,
    Insert,
    Scan,
    Modify,
}

/// A workload: its name, the other operation, its share in per cent, and whether its reads are of
/// the newest rows.
type Mix = (&'static str, Other, u64, bool);

/// The workloads.
const MIXES: [Mix; 6] = [
    ("A", Other::Update, 50, false),
    ("B", Other::Update, 5, false),
    ("C", Other::Update, 0, false),
    ("F", Other::Modify, 50, false),
    ("D", Other::Insert, 5, true),
    // 95 scans and 5 inserts.
    ("E", Other::Scan, 95, false),
];

/// All workloads.
pub(super) fn run(race: &Race) -> Result<()> {
    let engine = race.open()?;
    race.load(engine.as_ref())?;
    let ops = race.rows.min(OPS_MAX);
    let mut rows = race.rows;
    for (seed, mix) in (0..).zip(MIXES) {
        let steps = plan(seed, mix, &mut rows, ops)?;
        let (seconds, seen) = timed(|| follow(engine.as_ref(), &steps, seed))?;
        emit(race.rate(mix.0, ops, seconds, "ops/s").checked(seen))?;
        machine::wait_until_idle();
    }
    Ok(())
}

/// What is done, in order, decided before the clock runs.
fn plan(
    seed: u64,
    (_, other, percent, newest): Mix,
    rows: &mut u64,
    ops: u64,
) -> Result<Vec<Step>> {
    let popular = data::zipfian(seed, *rows, ops)?;
    let ages = data::zipfian_ages(seed, *rows, ops)?;
    let mut chance = data::chance(seed ^ 0xacce55);
    let mut steps = Vec::with_capacity(ops as usize);
    for (index, age) in popular.into_iter().zip(ages) {
        let index = if newest { rows.saturating_sub(age + 1) } else { index };
        let is_other = chance.random_range(0..100) < percent;
        steps.push(match other {
            Other::Scan if is_other => Step::Scan(index, chance.random_range(1..=SCAN_MAX)),
            Other::Update if is_other => Step::Update(index),
            Other::Modify if is_other => Step::Modify(index),
            Other::Insert if !is_other => Step::Read(index),
            Other::Insert | Other::Scan => {
                *rows += 1;
                Step::Insert(*rows - 1)
            }
            Other::Update | Other::Modify => Step::Read(index),
        });
    }
    Ok(steps)
}

/// Does it.
fn follow(engine: &dyn Engine, steps: &[Step], seed: u64) -> Result<Seen> {
    let mut seen = Seen::default();
    let put = |index: u64, version: u64| {
        let (key, val) = (data::key(index), data::val(index, version));
        engine.write(&[Op::put(&key, &val)], Durability::Deferred)
    };
    for (number, step) in (1..).zip(steps) {
        let version = number + (seed << 20);
        match *step {
            Step::Read(index) => drop(engine.get(&data::key(index), &mut seen)?),
            Step::Update(index) => put(index, version)?,
            Step::Insert(index) => put(index, 0)?,
            Step::Scan(index, limit) => {
                engine.read(&mut |reader| reader.scan(&data::key(index), None, limit, &mut seen))?
            }
            Step::Modify(index) => {
                engine.get(&data::key(index), &mut seen)?;
                put(index, version)?;
            }
        }
    }
    Ok(seen)
}
