//! Random use, random failures, random power cuts: what was synced is there, and nothing else than
//! a prefix of what was appended.

use super::*;
use crate::io::{CrashPlan, FaultOp};
use std::io;

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What must be true of the WAL.
struct Model {
    /// Payload of each commit that was appended; seqno 1 first. `None` for a close.
    commits: Vec<Option<Vec<u8>>>,
    durable: u64,
    flushed: u64,
    /// Makes payloads of different histories differ.
    stamp: u64,
}

impl Model {
    fn payload(&mut self, chance: &mut Chance) -> Vec<u8> {
        self.stamp += 1;
        let len = match chance.below(20) {
            0 => 70_000,
            1..4 => 9_000,
            _ => chance.below(300) as usize,
        };
        let mut bytes = self.stamp.to_le_bytes().to_vec();
        bytes.resize(8 + len, self.stamp as u8);
        bytes
    }

    /// One random operation; `false` when the session is over.
    fn step(&mut self, writer: &mut WalWriter, chance: &mut Chance) -> bool {
        let outcome = match chance.below(16) {
            0..7 => {
                let payloads: Vec<Vec<u8>> =
                    (0..=chance.below(4)).map(|_| self.payload(chance)).collect();
                let frames: Vec<FrameIn<'_>> =
                    payloads.iter().map(|bytes| FrameIn::new(bytes)).collect();
                let outcome = writer.append(&frames);
                if outcome.is_ok() || writer.check().is_err() {
                    // An append that poisons may have happened.
                    self.commits.extend(payloads.into_iter().map(Some));
                }
                outcome.map(|_| ())
            }
            7..12 => writer.sync().map(|_| ()),
            12 => writer.write(),
            13 => writer.shared().prepare_spare().map(|_| ()),
            14 => {
                let unflushed = self.durable - self.flushed;
                self.flushed += chance.below(unflushed + 1);
                writer.shared().release(SeqNo(self.flushed))
            }
            _ if chance.below(10) == 0 => {
                self.commits.push(None);
                let _ = writer.close();
                self.durable = writer.durable_seqno().0;
                return false;
            }
            _ => Ok(()),
        };
        self.durable = writer.durable_seqno().0;
        if outcome.is_ok() {
            assert_eq!(writer.last_seqno().0, self.commits.len() as u64);
        }
        writer.check().is_ok()
    }

    /// Takes what a recovery found, which must be right.
    fn recovered(&mut self, replayed: &Replayed, last: u64, context: &str) {
        assert!(last >= self.durable, "{context}: {last} of {} durable", self.durable);
        assert!(last <= self.commits.len() as u64, "{context}: more than was appended");
        self.commits.truncate(last as usize);
        let want: Replayed = (1..)
            .zip(&self.commits)
            .filter(|(seqno, _)| *seqno > self.flushed)
            .filter_map(|(seqno, bytes)| Some((seqno, bytes.clone()?)))
            .collect();
        assert!(*replayed == want, "{context}: other commits than were appended");
        self.durable = last;
    }
}

fn plan(chance: &mut Chance) -> CrashPlan {
    match chance.below(6) {
        0 => CrashPlan::LoseUnsynced,
        1 => CrashPlan::KeepAll,
        _ => CrashPlan::Random(chance.next()),
    }
}

/// One history of several sessions, each ended by a close, a failure, a kill or a power cut.
fn history(seed: u64) {
    let mut chance = Chance(seed);
    let mut fs = new_fs();
    let mut model = Model { commits: Vec::new(), durable: 0, flushed: 0, stamp: 0 };
    for session in 0..8 {
        let context = format!("seed {seed} session {session}");
        // A recovery that is cut short changes nothing.
        if chance.below(3) == 0 {
            fs.fail_from(FaultOp::Any, 1 + chance.below(30), io::ErrorKind::Other);
            if open_at(&fs, model.flushed).is_err() {
                fs = match chance.below(2) {
                    0 => fs.crash(plan(&mut chance)),
                    _ => fs.kill(),
                };
            }
            fs.clear_faults();
        }
        let (mut writer, replayed, summary) =
            open_at(&fs, model.flushed).unwrap_or_else(|e| panic!("{context}: {e}"));
        model.recovered(&replayed, summary.last_seqno.0, &context);
        if chance.below(4) == 0 {
            let kinds = [io::ErrorKind::Other, io::ErrorKind::StorageFull];
            let kind = kinds[chance.below(2) as usize];
            let ops = [FaultOp::Change, FaultOp::Sync, FaultOp::Write, FaultOp::SyncDir];
            let op = ops[chance.below(4) as usize];
            match chance.below(2) {
                0 => fs.fail_nth(op, 1 + chance.below(60), kind),
                _ => fs.fail_from(op, 1 + chance.below(60), kind),
            }
        }
        for _ in 0..chance.below(120) {
            if !model.step(&mut writer, &mut chance) {
                break;
            }
        }
        fs = match chance.below(4) {
            0 => fs.kill(),
            _ => fs.crash(plan(&mut chance)),
        };
    }
}

#[test]
fn every_synced_commit_survives_whatever_happens() {
    let first = std::env::var("DATESTONE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..500, |seed: u64| seed..seed + 1);
    for seed in seeds {
        history(seed);
    }
}

/// Goal: no moment of a rotation, a recycling or a recovery is special. Method: the n-th change and
/// all after it fail, for n = 1, 2, .. until the whole script passes; then the power is cut in
/// every way, and the recovery after it is cut short at every change as well.
#[test]
fn a_power_cut_between_any_two_changes_loses_nothing() {
    for n in 1.. {
        let fs = new_fs();
        fs.fail_from(FaultOp::Change, n, io::ErrorKind::Other);
        let (durable, appended, flushed) = script(&fs);
        let passed = fs.counts().writes > 0 && durable == 40 && flushed == 35;
        let plans = [CrashPlan::LoseUnsynced, CrashPlan::KeepAll];
        let random = (0..4).map(|seed| CrashPlan::Random(n * 8 + seed));
        for plan in plans.into_iter().chain(random) {
            let crashed = fs.crash(plan);
            for m in 1.. {
                let again = crashed.kill();
                again.fail_from(FaultOp::Change, m, io::ErrorKind::Other);
                let first = open_at(&again, flushed).map(|opened| opened.1);
                let was_whole = first.is_ok();
                let again = again.crash(plan);
                let (_, replayed, summary) =
                    open_at(&again, flushed).unwrap_or_else(|e| panic!("{n} {plan:?} {m}: {e}"));
                let last = summary.last_seqno.0;
                assert!(durable <= last && last <= appended, "{n} {plan:?} {m}: {last}");
                assert_eq!(replayed, expected(flushed + 1..=last, 9_001), "{n} {plan:?} {m}");
                if let Ok(first) = first {
                    assert_eq!(replayed, first, "{n} {plan:?} {m}: shown, then gone");
                }
                if was_whole && m > 3 {
                    break;
                }
            }
        }
        if passed {
            assert!(n > 60, "{n}");
            return;
        }
    }
}

/// Commits over several files, some of which are released and used again. Returns what was durable,
/// appended and flushed when it ended or failed.
fn script(fs: &MemFs) -> (u64, u64, u64) {
    let Ok((mut writer, ..)) = open_at(fs, 0) else { return (0, 0, 0) };
    let (mut flushed, mut appended) = (0, 0);
    for seqno in 1..=40 {
        let bytes = payload(seqno, 9_001);
        let outcome = writer.append(&[FrameIn::new(&bytes)]);
        appended = appended.max(writer.last_seqno().0);
        if outcome.is_err() {
            break;
        }
        if seqno % 2 == 0 && writer.sync().is_err() {
            break;
        }
        let durable = writer.durable_seqno().0;
        if seqno % 12 == 0 && writer.shared().prepare_spare().is_err() {
            break;
        }
        if seqno > 10 && durable > 5 {
            flushed = durable - 5;
            if writer.shared().release(SeqNo(flushed)).is_err() {
                break;
            }
        }
    }
    (writer.durable_seqno().0, appended, flushed)
}
