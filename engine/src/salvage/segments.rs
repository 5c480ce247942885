//! Segments: every whole block of one is written to a new segment of the new database.

use super::Job;
use super::earlier::Earlier;
use super::report::SalvageDamage;
use crate::compaction::PartWriter;
use crate::cursor::EntrySink;
use crate::error::{Error, Result};
use crate::format::block::BlockShape;
use crate::format::manifest_edit::Part;
use crate::format::table_val::order_of;
use crate::segment::{LostBlock, Remains, SegmentIdentity, SegmentOptions, SegmentWriter};
use crate::types::{Kind, SegmentId, SegmentMeta, TimeWindow, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// A segment to save, and what is known of it.
pub(super) struct Wanted<'a> {
    pub(super) id: SegmentId,
    pub(super) identity: SegmentIdentity,
    /// Name of its collection.
    pub(super) name: &'a str,
    /// What the manifest says of it.
    pub(super) meta: Option<&'a SegmentMeta>,
    /// The times of which its updates count; all when empty.
    pub(super) windows: &'a [TimeWindow],
}

/// What came of a segment.
#[derive(Default)]
struct Outcome {
    blocks: u64,
    blocks_lost: u64,
    updates: u64,
    updates_lost: u64,
    left_out: u64,
    order_max: u64,
}

impl Job<'_> {
    /// Saves what is whole of a segment, but for what is in `earlier`; the new segments.
    pub(super) fn save(&mut self, wanted: &Wanted<'_>, earlier: &mut Earlier) -> Result<Part> {
        let damages = self.damage_count();
        self.report.segments += 1;
        let path = self.from.join(crate::segment::segment_file_name(wanted.id));
        let opened = Remains::open(&self.env.fs, self.from, wanted.id);
        let (part, outcome) = match opened.and_then(|remains| check_identity(remains, wanted)) {
            Ok(remains) => self.save_blocks(wanted, &remains, earlier)?,
            // Too new is nothing to be saved from, and nothing to be left out either.
            Err(e @ Error::FormatTooNew { .. }) => return Err(e),
            Err(e) => {
                let updates = wanted.meta.map(|meta| meta.updates);
                let damage = SalvageDamage::new(&path, 0, e.to_string());
                self.add(whole(damage, wanted, updates));
                let updates_lost = updates.unwrap_or(0);
                (Part::new(), Outcome { updates_lost, ..Outcome::default() })
            }
        };
        let is_lost = outcome.blocks == 0;
        let report = &mut self.report;
        report.segments_damaged += u64::from(report.damage_count > damages);
        report.segments_lost += u64::from(is_lost);
        report.blocks += outcome.blocks;
        report.blocks_lost += outcome.blocks_lost;
        report.updates += outcome.updates;
        report.updates_lost += outcome.updates_lost;
        report.updates_left_out += outcome.left_out;
        self.order_max = self.order_max.max(outcome.order_max);
        Ok(part)
    }

    /// Whether all that is whole of a segment is in `earlier`; then it is counted as left out.
    pub(super) fn leave_out(&mut self, wanted: &Wanted<'_>, earlier: &mut Earlier) -> Result<bool> {
        let remains = Remains::open(&self.env.fs, self.from, wanted.id)?;
        let (mut updates, mut count) = (Vec::new(), 0);
        for i in 0..remains.blocks() {
            let Ok((raw, shape)) = remains.block(i, self.options.unchecked_blocks) else {
                continue;
            };
            for (key, entry) in entries(&raw, &shape) {
                let key = shape.key_to_vec(&raw, key);
                wanted.updates(&raw, &shape, entry, &mut updates);
                count += updates.len() as u64;
                earlier.leave_out(&key, shape.val(&raw, entry), &mut updates)?;
                if !updates.is_empty() {
                    return Ok(false);
                }
            }
        }
        if count > 0 {
            self.report.segments += 1;
            self.report.updates_left_out += count;
        }
        Ok(count > 0)
    }

    fn save_blocks(
        &mut self,
        wanted: &Wanted<'_>,
        remains: &Remains,
        earlier: &mut Earlier,
    ) -> Result<(Part, Outcome)> {
        for (offset, what) in remains.damages() {
            let damage = SalvageDamage::new(remains.path(), *offset, what.as_str());
            self.add(SalvageDamage { collection: Some(wanted.name.into()), ..damage });
        }
        let Job { env, to, options, next_segment, report, .. } = self;
        let make = || {
            let id = *next_segment;
            *next_segment = id.next();
            SegmentWriter::create(&env.fs, to, id, wanted.identity, SegmentOptions::default())
        };
        let mut output = PartWriter::new(Arc::clone(&env.fs), to.to_path_buf(), make);
        let mut copy = Copy { last: None, earlier, wanted, outcome: Outcome::default() };
        for i in 0..remains.blocks() {
            let read = remains.block(i, options.unchecked_blocks).and_then(|(raw, shape)| {
                let follows = copy.follows(&raw, &shape);
                let out_of_order = || remains.lost_block(i, "out of order".into());
                follows.then_some((raw, shape)).ok_or_else(out_of_order)
            });
            match read {
                Ok((raw, shape)) => copy.block(&raw, &shape, &mut output)?,
                Err(lost) => {
                    copy.lost(&lost);
                    let damage = SalvageDamage::block(remains.path(), wanted.name, lost);
                    report.add(damage, options.damages_max);
                }
            }
        }
        let mut outcome = copy.outcome;
        let part = output.finish()?;
        let seen = outcome.updates + outcome.updates_lost + outcome.left_out;
        let missing = wanted.meta.map_or(0, |meta| meta.updates.saturating_sub(seen));
        if missing > 0 || !remains.has_index() {
            let what = "no block index; what is behind here is lost";
            let damage = SalvageDamage::new(remains.path(), remains.data_end(), what);
            self.add(whole(damage, wanted, Some(missing).filter(|_| wanted.meta.is_some())));
            outcome.updates_lost += missing;
        }
        Ok((part, outcome))
    }
}

/// A damage of a whole segment, with what the manifest says of that.
fn whole(damage: SalvageDamage, wanted: &Wanted<'_>, updates: Option<u64>) -> SalvageDamage {
    SalvageDamage {
        collection: Some(wanted.name.into()),
        times: wanted.meta.map(|meta| (meta.min_ts, meta.max_ts)),
        updates,
        ..damage
    }
}

/// Refuses a file that is not the wanted segment's.
fn check_identity(remains: Remains, wanted: &Wanted<'_>) -> Result<Remains> {
    let SegmentIdentity { db_uuid, collection, kind } = wanted.identity;
    let header = remains.header().is_none_or(|header| {
        header.segment == wanted.id
            && (header.db_uuid, header.collection, header.kind) == (db_uuid, collection, kind)
    });
    let trailer = remains
        .trailer()
        .is_none_or(|trailer| (trailer.segment, trailer.collection) == (wanted.id, collection));
    if header && trailer {
        return Ok(remains);
    }
    let path: &Path = remains.path();
    Err(Error::corruption(
        path,
        0,
        format!("not the file of segment {} of this database", wanted.id),
    ))
}

/// Copies the blocks of one segment.
struct Copy<'c, 'w> {
    /// The last key and value taken.
    last: Option<(Vec<u8>, Vec<u8>)>,
    earlier: &'c mut Earlier,
    wanted: &'c Wanted<'w>,
    outcome: Outcome,
}

impl Copy<'_, '_> {
    /// Whether a block comes behind all that was taken.
    fn follows(&self, raw: &[u8], shape: &BlockShape) -> bool {
        let Some((key, val)) = &self.last else { return true };
        let first = (shape.key_to_vec(raw, 0), shape.val(raw, 0));
        (key, val.as_slice()) <= (&first.0, first.1)
    }

    fn lost(&mut self, block: &LostBlock) {
        self.outcome.blocks_lost += 1;
        self.outcome.updates_lost += block.updates.unwrap_or(0);
    }

    fn block(&mut self, raw: &[u8], shape: &BlockShape, sink: &mut impl EntrySink) -> Result<()> {
        let (mut updates, mut taken) = (Vec::new(), 0);
        let is_table = self.wanted.identity.kind == Kind::Table;
        for (key, entry) in entries(raw, shape) {
            let (key, val) = (shape.key_to_vec(raw, key), shape.val(raw, entry));
            let all = shape.updates_of(raw, entry).len();
            self.wanted.updates(raw, shape, entry, &mut updates);
            self.earlier.leave_out(&key, val, &mut updates)?;
            self.outcome.left_out += (all - updates.len()) as u64;
            if !updates.is_empty() {
                sink.push(&key, val, &updates)?;
                taken += updates.len() as u64;
            }
            if is_table {
                self.outcome.order_max = self.outcome.order_max.max(order_of(val));
            }
        }
        let val = shape.val(raw, shape.entries().saturating_sub(1)).to_vec();
        self.last = Some((shape.key_to_vec(raw, shape.keys().saturating_sub(1)), val));
        self.outcome.blocks += 1;
        self.outcome.updates += taken;
        Ok(())
    }
}

impl Wanted<'_> {
    /// The updates of an entry that count.
    fn updates(&self, raw: &[u8], shape: &BlockShape, entry: u32, out: &mut Vec<(Timestamp, i64)>) {
        out.clear();
        let all = shape.updates_of(raw, entry);
        out.extend(all.map(|at| (shape.ts(raw, at), shape.diff(raw, at))));
        if !self.windows.is_empty() {
            out.retain(|(ts, _)| self.windows.iter().any(|window| window.contains(*ts)));
        }
    }
}

/// The entries of a block, each with the number of its key.
fn entries(raw: &[u8], shape: &BlockShape) -> impl Iterator<Item = (u32, u32)> {
    (0..shape.keys()).flat_map(|key| shape.entries_of(raw, key).map(move |entry| (key, entry)))
}
