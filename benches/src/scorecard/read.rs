//! Point reads and ordered scans of one run and of four, beside LMDB on the same rows.

use super::Context;
use super::table::{Line, nanos};
use crate::data::Rows;
use crate::lmdb::Lmdb;
use crate::stopwatch::{median, timed};
use crate::store::{Store, scratch_dir};
use crate::{Result, work};
use tempfile::TempDir;

/// Runs of the shapes that are read.
const RUNS: [usize; 2] = [1, 4];

struct Shapes {
    rows: Rows,
    lmdb: Lmdb,
    stores: Vec<(usize, Store)>,
    /// Removed last.
    _dir: TempDir,
}

impl Shapes {
    fn new(context: &Context) -> Result<Self> {
        let dir = scratch_dir()?;
        let rows = Rows::new(1, context.pick(1_000_000, 100_000));
        let lmdb = Lmdb::load(&dir.path().join("lmdb"), &rows)?;
        let stores = RUNS
            .into_iter()
            .map(|runs| {
                let path = dir.path().join(format!("runs-{runs}"));
                Ok((runs, Store::with_runs(&path, &rows, runs)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { rows, lmdb, stores, _dir: dir })
    }

    /// Runs LMDB and each store in turns; the medians of their seconds. All must return the same.
    fn race<T: PartialEq>(
        &self,
        rounds: usize,
        mut lmdb: impl FnMut(&Lmdb) -> Result<T>,
        mut ours: impl FnMut(&Store) -> Result<T>,
    ) -> Result<(f64, Vec<f64>)> {
        let mut lmdb_seconds = Vec::new();
        let mut our_seconds = vec![Vec::new(); self.stores.len()];
        // The first round warms up and is not counted.
        for round in 0..=rounds {
            let (seconds, expected) = timed(|| lmdb(&self.lmdb));
            let expected = expected?;
            lmdb_seconds.push(seconds);
            for ((_, store), samples) in self.stores.iter().zip(&mut our_seconds) {
                let (seconds, found) = timed(|| ours(store));
                if found? != expected {
                    return Err("the rows are not those of LMDB".into());
                }
                samples.push(seconds);
            }
            if round == 0 {
                lmdb_seconds.clear();
                our_seconds.iter_mut().for_each(Vec::clear);
            }
        }
        Ok((median(lmdb_seconds), our_seconds.into_iter().map(median).collect()))
    }

    fn lines(&self, what: &str, musts: [f64; 2], lmdb: f64, ours: &[f64]) -> Vec<Line> {
        let count = self.rows.len();
        self.stores
            .iter()
            .zip(ours)
            .zip(musts)
            .map(|(((runs, _), seconds), must)| {
                Line::figure(format!("{what}, runs: {runs}"), nanos(*seconds, count))
                    .beside(format!("LMDB {}", nanos(lmdb, count)))
                    .ratio(seconds / lmdb)
                    .at_most(seconds / lmdb, must, "x")
            })
            .collect()
    }
}

/// Random point reads of all keys.
pub(super) fn get(context: &Context) -> Result<Vec<Line>> {
    let shapes = Shapes::new(context)?;
    let keys = shapes.rows.lookups(2);
    let (lmdb, ours) = shapes.race(
        context.rounds(),
        |lmdb| lmdb.get_all(&keys),
        |store| work::get_all(&store.rows.latest()?, &keys),
    )?;
    Ok(shapes.lines("random get", [0.6, 0.6], lmdb, &ours))
}

/// An ordered scan of all rows.
pub(super) fn scan(context: &Context) -> Result<Vec<Line>> {
    let shapes = Shapes::new(context)?;
    let (lmdb, ours) =
        shapes.race(context.rounds(), Lmdb::scan, |store| work::scan(&store.rows.latest()?))?;
    Ok(shapes.lines("ordered scan", [0.7, 1.1], lmdb, &ours))
}
