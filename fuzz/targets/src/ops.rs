//! Operations on a database, with restarts, kills and power cuts between them, against a model that
//! is a list of updates and nothing else.

use crate::session::{Interruption, Part, Session};
use arbitrary::{Arbitrary, Result, Unstructured};
use datestone_engine::config::Durability;
use datestone_engine::io::CrashPlan;
use datestone_engine::types::Frontier;

/// Operations of one input.
const OPS_MAX: usize = 48;
/// Names of collections.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// See the module.
pub fn ops(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let mut session = Session::new();
    session.create(NAMES[0]);
    for _ in 0..OPS_MAX {
        if bytes.is_empty() || step(&mut session, &mut bytes).is_err() {
            break;
        }
    }
    session.finish();
}

/// One operation.
pub(crate) fn step(session: &mut Session, bytes: &mut Unstructured<'_>) -> Result<()> {
    match bytes.int_in_range(0..=19)? {
        0..=7 => commit(session, bytes)?,
        8 => session.create(bytes.choose(&NAMES)?),
        9 if bytes.ratio(1, 3)? => session.drop_collection(bytes.choose(&NAMES)?),
        9 | 10 => session.hold(bytes.choose(&NAMES)?),
        11 => session.flush(),
        12 => session.maintain(usize::from(u8::arbitrary(bytes)? % 8)),
        13 => session.compact(),
        14 => session.sync(),
        15 => session.check(),
        // With checksums that count as right, what an earlier use left in a file counts as well.
        _ if cfg!(fuzzing) => {}
        16 => session.restart(Interruption::Close),
        17 => session.restart(Interruption::Kill),
        18 => session.restart(Interruption::PowerCut(CrashPlan::LoseUnsynced)),
        _ => {
            let seed = u64::from(u8::arbitrary(bytes)?);
            session.restart(Interruption::PowerCut(CrashPlan::Random(seed)));
        }
    }
    Ok(())
}

fn commit(session: &mut Session, bytes: &mut Unstructured<'_>) -> Result<()> {
    let durability = *bytes.choose(&[
        Durability::Fsync,
        Durability::Fsync,
        Durability::Buffer,
        Durability::None,
    ])?;
    let mut parts = Vec::new();
    for name in NAMES {
        let Some(upper) = session.upper(name) else { continue };
        if parts.is_empty() || bytes.ratio(1, 4)? {
            parts.push((name.to_owned(), part(upper, bytes)?));
        }
    }
    if !parts.is_empty() {
        session.commit(&parts, durability);
    }
    Ok(())
}

/// A frontier that is usually a little beyond `from`.
fn frontier(from: Frontier, bytes: &mut Unstructured<'_>) -> Result<Frontier> {
    let Some(ts) = from.ts() else { return Ok(Frontier::CLOSED) };
    let step = u8::arbitrary(bytes)?;
    Ok(match step {
        // The end of time is the end of most that can be tried.
        255 if bytes.ratio(1, 8)? => Frontier::CLOSED,
        254 if bytes.ratio(1, 8)? => Frontier::at(u64::MAX),
        _ => Frontier::at(ts.saturating_add(u64::from(step % 6))),
    })
}

fn part(upper: Frontier, bytes: &mut Unstructured<'_>) -> Result<Part> {
    Ok(match bytes.int_in_range(0..=7)? {
        0..=2 => Part::Append(updates(upper.ts().unwrap_or(u64::MAX), bytes)?),
        3 | 4 => {
            let new = frontier(upper, bytes)?;
            let expected = if bytes.ratio(1, 16)? { frontier(upper, bytes)? } else { upper };
            let mut updates = updates(upper.ts().unwrap_or(u64::MAX), bytes)?;
            // Most of them legal: those that are not go.
            if !bytes.ratio(1, 16)? {
                updates.retain(|(_, _, ts, _)| new.is_beyond(*ts) && !expected.is_beyond(*ts));
            }
            Part::CompareAndAppend(updates, expected, new)
        }
        5 | 6 => Part::Advance(frontier(upper, bytes)?),
        _ => {
            let back = u64::from(u8::arbitrary(bytes)? % 8);
            let since = upper.ts().map_or(Frontier::at(u64::MAX), |ts| {
                Frontier::at(ts.saturating_add(2).saturating_sub(back))
            });
            Part::Since(since)
        }
    })
}

type Row = (Vec<u8>, Vec<u8>, u64, i64);

/// Updates at `from` and a little later, rarely before; of few keys and values, so that they meet.
fn updates(from: u64, bytes: &mut Unstructured<'_>) -> Result<Vec<Row>> {
    let count = bytes.int_in_range(0..=12)?;
    let mut updates = Vec::with_capacity(count);
    for _ in 0..count {
        let [key, val, ts, diff] = <[u8; 4]>::arbitrary(bytes)?;
        let key = match key % 16 {
            0 => vec![],
            15 => vec![key; 300],
            n => [&b"kkk"[..usize::from(n % 4)], &[key % 5]].concat(),
        };
        let val = match val % 32 {
            0 => vec![],
            1..=3 => vec![val; 4_000],
            4 => vec![val; 40_000],
            n => vec![n % 3; usize::from(n % 4)],
        };
        let ts = match ts % 64 {
            0 => from.saturating_sub(1),
            1 => u64::MAX,
            n => from.saturating_add(u64::from(n % 5)),
        };
        let diff = [1, 1, 1, -1, -1, 2, -2, 1 << 40][usize::from(diff % 8)];
        updates.push((key, val, ts, diff));
    }
    Ok(updates)
}
