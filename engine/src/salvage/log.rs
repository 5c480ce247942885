//! The log: whole commits are written to a new log, operation by operation, so that the next open finds
//! nothing in it that contradicts the collections.

use super::Job;
use super::guess::Guessed;
use super::names::{Known, Names, fallback_name, free_name};
use super::report::SalvageDamage;
use crate::collection::{Change, Collection, Collections, Description};
use crate::error::Result;
use crate::format::wal_record::{
    Create, Op, RecordBuilder, Rows, WAL_TS_ASSIGNED, WAL_TS_WIDTH, decode,
};
use crate::leader::rows_change;
use crate::manifest::ManifestState;
use crate::types::{CollectionId, Frontier, Kind, SeqNo, Timestamp};
use crate::wal::{FrameIn, ReplayFrame, WalPiece, WalWriter, read_remains};
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Job<'_> {
    /// Saves the commits that are not flushed.
    pub(super) fn log_known(&mut self, state: &ManifestState) -> Result<()> {
        let flushed = state.flushed_seqno();
        let target = Target::new(state, Apart::No, self.begin_log(state.uuid(), flushed)?);
        self.log(state.uuid(), Some(flushed), target)
    }

    /// Saves all commits to collections of their own.
    pub(super) fn log_apart(&mut self, guessed: &Guessed) -> Result<()> {
        let Guessed { state, names, source_uuid } = guessed;
        let writer = self.begin_log(state.uuid(), state.flushed_seqno())?;
        let apart = Apart::Yes { names: names.clone(), ids: HashMap::new() };
        self.log(*source_uuid, None, Target::new(state, apart, writer))
    }

    fn log(&mut self, uuid: u128, flushed: Option<SeqNo>, mut target: Target) -> Result<()> {
        let env = self.env;
        read_remains(&*env.fs, self.from, uuid, flushed, &mut |piece| match piece {
            WalPiece::Commit(frame) => {
                match target.commit(&frame)? {
                    Ok(()) => self.report.commits += 1,
                    Err(what) => {
                        let damage = SalvageDamage::new(frame.file, frame.payload_offset, what);
                        let commits = frame.seqno.0..frame.seqno.0.saturating_add(1);
                        self.report.commits_lost += 1;
                        self.add(SalvageDamage { commits, ..damage });
                        target.has_hole = true;
                    }
                }
                Ok(())
            }
            WalPiece::Damage { file, offset, seqnos, what } => {
                self.report.commits_lost += seqnos.end - seqnos.start;
                target.has_hole |= !seqnos.is_empty();
                let damage = SalvageDamage::new(file, offset, what);
                self.add(SalvageDamage { commits: seqnos, ..damage });
                Ok(())
            }
        })?;
        self.report.collections = target.finish()?;
        Ok(())
    }
}

/// Whether the log's rows go to collections of their own.
enum Apart {
    No,
    /// What is known of the old collections, and the new ones of those that were seen.
    Yes {
        names: Names,
        ids: HashMap<CollectionId, CollectionId>,
    },
}

/// The new log, and the collections as they are after the commits so far.
struct Target {
    collections: Collections,
    apart: Apart,
    writer: WalWriter,
    next_collection: CollectionId,
    /// Collections that commits of this log have dropped.
    dropped: BTreeSet<CollectionId>,
    /// New collections without a creation in the log, and what is beyond all their times.
    made: BTreeMap<CollectionId, Frontier>,
    /// Whether a commit before is missing.
    has_hole: bool,
}

impl Target {
    fn new(state: &ManifestState, apart: Apart, writer: WalWriter) -> Self {
        let collections = Collections::restore(state.collections().values().map(|known| {
            let head = &known.head;
            let description = Description {
                id: head.id,
                name: head.name.as_str().into(),
                meta: head.meta.as_slice().into(),
                kind: head.kind,
            };
            Collection { description, since: head.since, upper: head.upper }
        }));
        Self {
            collections: collections.at_clock(state.clock()),
            apart,
            writer,
            next_collection: state.next_collection(),
            dropped: BTreeSet::new(),
            made: BTreeMap::new(),
            has_hole: false,
        }
    }

    /// Writes a commit, or says why it makes no sense.
    fn commit(&mut self, frame: &ReplayFrame<'_>) -> Result<std::result::Result<(), String>> {
        // All of it is looked at first: a record applies wholly or not at all.
        let ops = decode(frame.payload)
            .and_then(|ops| ops.collect::<std::result::Result<Vec<Op<'_>>, _>>());
        let ops = match ops {
            Ok(ops) => ops,
            Err(e) => return Ok(Err(e.what)),
        };
        let mut record = RecordBuilder::with_capacity(frame.payload.len());
        let clock = self.collections.clock();
        for op in &ops {
            self.op(op, frame.seqno, clock, &mut record)?;
        }
        self.write(record)?;
        Ok(Ok(()))
    }

    fn write(&mut self, record: RecordBuilder) -> Result<()> {
        if !record.is_empty() {
            self.writer.append(&[FrameIn::new(&record.finish()?)])?;
            self.writer.write()?;
        }
        Ok(())
    }

    /// Makes all of the collections readable whose uppers nobody knows, and ends the log; how many
    /// collections there are.
    fn finish(mut self) -> Result<u64> {
        let mut record = RecordBuilder::default();
        for (id, upper) in std::mem::take(&mut self.made) {
            if let Some(made) = self.collections.get(id).filter(|made| made.upper < upper)
                && made.description.kind != Kind::Log
            {
                record.advance_upper(id, upper);
            }
        }
        self.write(record)?;
        self.writer.close()?;
        Ok(self.collections.iter().count() as u64)
    }

    /// Takes over one operation, as far as it still means anything.
    fn op(
        &mut self,
        op: &Op<'_>,
        seqno: SeqNo,
        clock: Timestamp,
        record: &mut RecordBuilder,
    ) -> Result<()> {
        match op {
            Op::Append { collection, rows } => match self.find(*collection, record)? {
                Some(id) => self.append(id, rows, seqno, clock, record),
                None => Ok(()),
            },
            Op::AdvanceUpper { collection, upper } => {
                if let Some(id) = self.find(*collection, record)? {
                    self.collections.apply(&Change::AdvanceUpper(id, *upper), clock)?;
                    record.advance_upper(id, *upper);
                }
                Ok(())
            }
            Op::CompactBelow { collection, since } => {
                if let Some(id) = self.find(*collection, record)? {
                    let current = self.collections.current(id)?.upper;
                    // An upper that went before may be lost.
                    let since = if self.has_hole { *since.min(&current) } else { *since };
                    self.collections.apply(&Change::CompactBelow(id, since), clock)?;
                    record.compact_below(id, since);
                }
                Ok(())
            }
            Op::Create { collection, create } => self.create(*collection, create, record),
            Op::Drop { collection } => {
                self.dropped.insert(*collection);
                if let Some(id) = self.known(*collection) {
                    self.collections.apply(&Change::Drop(id), clock)?;
                    record.drop_collection(id);
                }
                Ok(())
            }
            Op::SetMeta { collection, meta } => match self.find(*collection, record)? {
                Some(id) => record.set_meta(id, meta),
                None => Ok(()),
            },
        }
    }

    fn append(
        &mut self,
        id: CollectionId,
        rows: &Rows<'_>,
        seqno: SeqNo,
        clock: Timestamp,
        record: &mut RecordBuilder,
    ) -> Result<()> {
        let change = rows_change(self.collections.require(id)?, rows.clone());
        if change.is_some_and(|change| self.collections.apply(&change, clock).is_err()) {
            return Ok(()); // A full log: nobody could have appended.
        }
        let kind = self.collections.require(id)?.description.kind;
        let Some(beyond) = self.made.get_mut(&id) else {
            return record.op_again(&Op::Append { collection: id, rows: rows.clone() });
        };
        record.begin_append(id);
        for mut row in rows.clone() {
            if row.ts == WAL_TS_ASSIGNED && !kind.assigns_times() {
                // The time that it was given is not known; this keeps the order.
                row.ts = seqno.0;
            }
            *beyond = (*beyond).max(Frontier::just_beyond(row.ts));
            record.row(&row)?;
        }
        Ok(())
    }

    /// A collection that the log creates.
    fn create(
        &mut self,
        old: CollectionId,
        create: &Create<'_>,
        record: &mut RecordBuilder,
    ) -> Result<()> {
        if self.known(old).is_none() {
            self.make(old, create.kind, create.name, create.meta, record)?;
        }
        Ok(())
    }

    /// The new collection of an old one that is there.
    fn known(&self, old: CollectionId) -> Option<CollectionId> {
        let id = match &self.apart {
            Apart::No => old,
            Apart::Yes { ids, .. } => *ids.get(&old)?,
        };
        self.collections.get(id).map(|_| id)
    }

    /// The new collection of an old one; made if its creation is lost. `None` when it was dropped.
    fn find(
        &mut self,
        old: CollectionId,
        record: &mut RecordBuilder,
    ) -> Result<Option<CollectionId>> {
        if let Some(id) = self.known(old) {
            return Ok(Some(id));
        }
        let known = match &self.apart {
            _ if self.dropped.contains(&old) => return Ok(None),
            // With all commits there, it is one that was dropped.
            Apart::No if !self.has_hole => return Ok(None),
            Apart::No => Known::default(),
            Apart::Yes { names, .. } => names.get(old),
        };
        let name = known.name.unwrap_or_else(|| fallback_name(old));
        let id = self.make(old, known.kind.unwrap_or_default(), &name, &known.meta, record)?;
        self.made.insert(id, Frontier::MIN);
        Ok(Some(id))
    }

    fn make(
        &mut self,
        old: CollectionId,
        kind: Kind,
        name: &str,
        meta: &[u8],
        record: &mut RecordBuilder,
    ) -> Result<CollectionId> {
        let id = match &mut self.apart {
            Apart::No => old,
            Apart::Yes { ids, .. } => {
                let id = self.next_collection;
                self.next_collection = id.next();
                ids.insert(old, id);
                id
            }
        };
        let is_free = |name: &str| self.collections.find(name).is_none();
        let name = free_name(name, id, is_free);
        record.create(id, &Create { kind, ts_width: WAL_TS_WIDTH, name: &name, meta })?;
        let description = Description { id, name: name.into(), meta: meta.into(), kind };
        self.collections.apply(&Change::Create(description), 0)?;
        Ok(id)
    }
}
