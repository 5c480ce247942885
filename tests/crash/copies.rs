//! Copies of the database: checkpoints, and backups in a directory of theirs. One that was
//! acknowledged is whole, one that was not is whole or none, and the next one works.

use crate::actor::{Actor, Known, Outcome, Stage, Step, there, wrong};
use crate::alike;
use crate::child::options;
use datestone::{Backups, Datestone, ErrorKind, Options, VerifyDepth};
use std::path::{Path, PathBuf};

/// A copy that says that it is one holds whole commits, those before it began, and no later ones.
fn check_copy(path: &Path, least: u64, stage: &Stage) -> datestone::Result<Outcome<()>> {
    let options = Options { create_if_missing: false, background_threads: 0, ..options() };
    let copy = Datestone::open_with(path, options)?;
    let check = || {
        let report = copy.verify(VerifyDepth::Full, |_, _| {})?;
        if let Some(damage) = report.damage.first() {
            wrong!("{}: {damage}", path.display());
        }
        let (count, most) = (alike::count(&copy)?, alike::count(&stage.db)?);
        if !(least..=most).contains(&count) {
            wrong!("{}: {count} commits of {least} to {most}", path.display());
        }
        Ok(())
    };
    let checked = check();
    copy.close()?;
    Ok(checked)
}

/// Commits that a copy has to have which begins now.
fn commits(db: &Datestone) -> Outcome<u64> {
    Ok(there(db.find_log("alike-log"))?.map_or(Ok(0), |log| log.len())?)
}

/// Takes checkpoints, each in a directory of its own.
pub(crate) struct Checkpoints;

fn path_of(place: &Path, n: u64) -> PathBuf {
    place.join(format!("checkpoint-{n}"))
}

/// Removes a directory that may not be there.
fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

impl Actor for Checkpoints {
    fn name(&self) -> String {
        "checkpoints".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let Stage { db, place } = stage.clone();
        Ok(Box::new(move |n| {
            // What a checkpoint has left that was cut off.
            remove(&path_of(&place, n))?;
            let least = commits(&db)?;
            db.checkpoint(path_of(&place, n))?;
            if let Some(old) = n.checked_sub(2) {
                remove(&path_of(&place, old))?;
            }
            Ok(least)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        if !known.active {
            return Ok(known.count);
        }
        let mut newest = None;
        for n in (known.count..known.most).rev() {
            match check_copy(&path_of(&stage.place, n), 0, stage) {
                Ok(checked) => {
                    checked?;
                    newest = Some(n);
                    break;
                }
                Err(e) if refused(e.kind()) => {}
                Err(e) => return Err(e.into()),
            }
        }
        // The last one of which it is known is there, unless two later ones were taken.
        if let Some(last) = known.count.checked_sub(1)
            && newest.is_none_or(|newest| newest == known.count)
        {
            let least = known.marks.get(&last).copied().unwrap_or(0);
            check_copy(&path_of(&stage.place, last), least, stage)??;
        }
        Ok(newest.map_or(known.count, |newest| newest + 1))
    }
}

/// How it is said that there is no database.
const fn refused(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Corruption)
}

/// Takes backups, and keeps the latest ones.
pub(crate) struct BackupTaker;

const KEPT: usize = 2;

fn backups(place: &Path) -> PathBuf {
    place.join("backups")
}

impl Actor for BackupTaker {
    fn name(&self) -> String {
        "backups".into()
    }

    fn begin(&self, stage: &Stage, _: u64) -> Outcome<Step> {
        let Stage { db, place } = stage.clone();
        Ok(Box::new(move |n| {
            let least = commits(&db)?;
            let made = db.backup(backups(&place))?;
            if made.info.number != n + 1 {
                wrong!("backup {n} has the number {}", made.info.number);
            }
            Backups::open(backups(&place))?.keep_latest(KEPT)?;
            Ok(least)
        }))
    }

    fn check(&self, stage: &Stage, known: &Known) -> Outcome<u64> {
        if !known.active {
            return Ok(known.count);
        }
        let all = match Backups::open(backups(&stage.place)) {
            Err(e) if e.kind() == ErrorKind::NotFound && known.count == 0 => return Ok(0),
            all => all?,
        };
        let report = all.verify()?;
        if let Some(damage) = report.damage.first() {
            wrong!("{damage}");
        }
        let listed = all.list()?;
        let count = listed.last().map_or(0, |last| last.number);
        // Kills that come before the oldest is removed leave one more each.
        let (kept, heard) = (KEPT as u64, known.acknowledged);
        let fits = count.min(kept)..=kept + count.saturating_sub(heard);
        if !fits.contains(&(listed.len() as u64)) {
            wrong!("{} backups after {count}", listed.len());
        }
        for info in listed {
            let restored = stage.place.join("restored");
            // A power cut may have taken back that it was removed.
            remove(&restored)?;
            all.restore(Some(info.number), &restored)?;
            let least = known.marks.get(&(info.number - 1)).copied().unwrap_or(0);
            check_copy(&restored, least, stage)??;
            remove(&restored)?;
        }
        Ok(count)
    }
}
