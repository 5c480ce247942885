//! [`salvage`]: what is whole of a damaged database becomes a new database in another directory.
//!
//! ```text
//! manifest -> whole blocks of its segments -> new segments -+
//! log      -> whole commits -------------> a new log        +-> a manifest that names them, last
//! ```
//!
//! A damaged database is refused by [`Db::open`](crate::db::Db::open), or by the reads that meet the
//! damage; here it is not opened but read, file by file, each piece under its own checksum. The source is
//! never written to, but for the text in its lock file: the lock is taken so that nobody else writes.
//!
//! # With a whole manifest
//! The new database is the old one without what is damaged: the same collections with their ids, kinds,
//! metadata and frontiers, the same runs, and the commits that were only in the log in their order. Then
//! nothing is there that was not there before, but for this:
//! - A log keeps its positions: where events are lost there is a hole, which no read shows. An event whose
//!   row of its id is lost could be appended again under its id.
//! - The database gives times and positions when a commit is applied, so those of commits behind a lost
//!   commit may be lower than they were.
//! - A deletion that is lost with its block brings back what was deleted.
//! - Commits to a collection whose creation is lost with its commit go to a multiset `collection-<id>`.
//!
//! # Without
//! Every segment in the directory is taken, the newest first; what a newer one has too is left out.
//! (Updates that a merge had changed before it was cut off are not recognised and count twice.)
//! Since is not known and counts as 0, so what reads show of times below the old since means nothing; the
//! upper is just beyond the last time. Which commits of the log are in segments is not known either: what
//! the log still has goes to collections of its own, `<name>.log` beside `<name>`.
//!
//! # Crash behaviour
//! The manifest of the new database is written last. Without it the directory is refused by everybody;
//! remove it and begin again.

mod earlier;
mod guess;
mod log;
mod names;
mod report;
mod segments;

pub use report::{ManifestFound, SalvageDamage, SalvageOptions, SalvageReport};

use crate::checkpoint::make_dir;
use crate::error::{Error, Result};
use crate::format::manifest_edit::{CollectionHead, Edit, EditOp, Part};
use crate::io::{Env, LockOwner};
use crate::manifest::{
    ManifestRemains, ManifestState, manifest_name, parse_manifest_name, publish_first, read_file,
    replay_remains,
};
use crate::recovery::LOCK;
use crate::segment::{SegmentIdentity, parse_segment_file_name};
use crate::types::{CollectionId, Kind, SegmentId, SeqNo};
use crate::wal::{WalPiece, read_remains};
use earlier::Earlier;
use segments::Wanted;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;

/// A salvage under way.
struct Job<'j> {
    env: &'j Env,
    from: &'j Path,
    to: &'j Path,
    options: &'j SalvageOptions,
    /// The segments that the source has.
    files: BTreeSet<SegmentId>,
    next_segment: SegmentId,
    /// The greatest order of a version that was seen; see [`crate::format::table_val`].
    order_max: u64,
    report: SalvageReport,
}

/// Writes every whole piece of the database in `from` to a new one in `to`, which must be missing or
/// empty.
///
/// # Errors
/// `NotFound` when there is nothing of a database in `from`; `Locked` when it is open; `AlreadyExists`
/// when there is something in `to`; `FormatTooNew`; and what the file system says. Damage is no error.
pub fn salvage(
    env: &Env,
    from: &Path,
    to: &Path,
    options: &SalvageOptions,
) -> Result<SalvageReport> {
    let files = list(env, from)?;
    let _lock = lock(env, from)?;
    make_dir(&env.fs, to)?;
    let report = SalvageReport::default();
    let mut job =
        Job { env, from, to, options, files, next_segment: SegmentId(1), order_max: 0, report };
    job.run()?;
    Ok(job.report)
}

/// The segments in the directory; an error when there is nothing of a database in it.
fn list(env: &Env, dir: &Path) -> Result<BTreeSet<SegmentId>> {
    let missing = || Error::NotFound { what: format!("database at {}", dir.display()) };
    let entries = env.fs.list(dir).map_err(|e| match e.kind() {
        IoErrorKind::NotFound => missing(),
        _ => Error::io("listing directory", dir, e),
    })?;
    let names: Vec<_> = entries.iter().filter_map(|entry| entry.name.to_str()).collect();
    let is_log = |name: &str| name.starts_with("wal-") && name.ends_with(".log");
    let is_data = |name: &str| {
        is_log(name)
            || parse_manifest_name(name).is_some()
            || parse_segment_file_name(name).is_some()
    };
    if !names.iter().any(|name| is_data(name)) {
        return Err(missing());
    }
    Ok(names.into_iter().filter_map(parse_segment_file_name).collect())
}

/// Keeps others from writing meanwhile. Without a lock file nobody has it open; where none can be written
/// nobody else can write either.
fn lock(env: &Env, dir: &Path) -> Result<Option<Box<dyn Send + Sync>>> {
    let path = dir.join(LOCK);
    if !env.fs.exists(&path).map_err(|e| Error::io("looking for", &path, e))? {
        return Ok(None);
    }
    match LockOwner::take(env, &path) {
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                IoErrorKind::PermissionDenied | IoErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(None)
        }
        taken => taken.map(Some),
    }
}

impl Job<'_> {
    fn run(&mut self) -> Result<()> {
        let state = match self.manifest()? {
            Found::Whole(state) => {
                let state = self.known_segments(state)?;
                self.log_known(&state)?;
                state
            }
            Found::Damaged(beginning) => {
                self.report.manifest = match beginning {
                    Some(_) => ManifestFound::Part,
                    None => ManifestFound::Nothing,
                };
                let guessed = self.guess(&beginning.unwrap_or_default())?;
                self.log_apart(&guessed)?;
                guessed.state
            }
        };
        let sync = self.env.fs.sync_dir(self.to);
        sync.map_err(|e| Error::io("syncing directory", self.to, e))?;
        publish_first(Arc::clone(&self.env.fs), self.to, &state)
    }

    /// What the manifest says.
    fn manifest(&mut self) -> Result<Found> {
        let dir = self.from;
        let entries = self.env.fs.list(dir).map_err(|e| Error::io("listing directory", dir, e))?;
        let number = entries.iter().filter_map(|e| parse_manifest_name(e.name.to_str()?)).max();
        let Some(number) = number else {
            self.add(SalvageDamage::new(dir, 0, "there is no manifest"));
            return Ok(Found::Damaged(None));
        };
        let path = dir.join(manifest_name(number));
        let bytes = match read_file(&*self.env.fs, &path) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.add(SalvageDamage::new(&path, 0, e.to_string()));
                return Ok(Found::Damaged(None));
            }
        };
        let remains = replay_remains(&bytes, &path, number)?;
        if let Some(e) = &remains.damage {
            let offset = if let Error::Corruption { offset, .. } = e { *offset } else { 0 };
            self.add(SalvageDamage::new(&path, offset, e.to_string()));
        }
        match remains {
            ManifestRemains { state: Some(state), whole: Some(summary), .. }
                if summary.is_torn() && !self.is_latest(&state)? =>
            {
                let what = "the end is damaged: segments or commits that come before it are gone";
                self.add(SalvageDamage::new(&path, summary.valid_len, what));
                Ok(Found::Damaged(Some(Beginning { heads: heads(&state), state: Some(state) })))
            }
            ManifestRemains { state: Some(state), whole: Some(_), is_uuid_doubtful, .. } => {
                let state = if is_uuid_doubtful { self.under_true_uuid(state)? } else { state };
                Ok(Found::Whole(state))
            }
            ManifestRemains { state, heads, .. } => {
                let beginning = Beginning { state, heads };
                Ok(Found::Damaged((!beginning.heads.is_empty()).then_some(beginning)))
            }
        }
    }

    /// The same state under the identity that the segments and the log say.
    fn under_true_uuid(&self, state: ManifestState) -> Result<ManifestState> {
        let uuid = self.told_uuid()?.unwrap_or(state.uuid());
        make_state(uuid, &state.snapshot())
    }

    /// Whether a torn tail is what a crash leaves. It is not if it made segments superfluous, or commits
    /// of the log, and these are gone.
    fn is_latest(&self, state: &ManifestState) -> Result<bool> {
        let has_all = state.live_segments().all(|(_, meta)| self.files.contains(&meta.id));
        let has_orphans = self.files.iter().any(|id| !state.has_segment(*id));
        let (mut has_hole, flushed) = (false, Some(state.flushed_seqno()));
        read_remains(&*self.env.fs, self.from, state.uuid(), flushed, &mut |piece| {
            let is_hole =
                |piece| matches!(piece, WalPiece::Damage { seqnos, .. } if !seqnos.is_empty());
            has_hole |= is_hole(piece);
            Ok(())
        })?;
        Ok(has_all && !(has_orphans && has_hole))
    }

    /// Saves the segments that the manifest names; its state with the new ones in their places.
    fn known_segments(&mut self, state: ManifestState) -> Result<ManifestState> {
        self.next_segment = state.next_segment();
        let mut saved: HashMap<SegmentId, Part> = HashMap::new();
        for (collection, meta) in state.live_segments() {
            let head = state.collections().get(&collection).map(|known| &known.head);
            let kind = head.map_or(Kind::Multiset, |head| head.kind);
            let wanted = Wanted {
                id: meta.id,
                identity: SegmentIdentity { db_uuid: state.uuid(), collection, kind },
                name: head.map_or("", |head| head.name.as_str()),
                meta: Some(meta),
                windows: &[],
            };
            saved.insert(meta.id, self.save(&wanted, &mut Earlier::default())?);
        }
        let mut edit = state.snapshot();
        for op in &mut edit.ops {
            match op {
                EditOp::NextIds { segment, .. } => *segment = self.next_segment,
                EditOp::Runs { runs, .. } => {
                    runs.substitute_segments(|meta| saved.get(&meta.id).cloned());
                }
                _ => {}
            }
        }
        make_state(state.uuid(), &edit)
    }

    fn add(&mut self, damage: SalvageDamage) {
        self.report.add(damage, self.options.damages_max);
    }

    const fn damage_count(&self) -> u64 {
        self.report.damage_count
    }

    /// Makes the new log's first file, for a database of which all up to `flushed` is in segments.
    fn begin_log(&self, uuid: u128, flushed: SeqNo) -> Result<crate::wal::WalWriter> {
        let fs = Arc::clone(&self.env.fs);
        if flushed > SeqNo(0) {
            crate::wal::create_first(&fs, self.to, uuid, flushed.next())?;
        }
        let options = crate::wal::WalOptions::default();
        let opened = crate::wal::open(fs, self.to, uuid, options, flushed, &mut |_| Ok(()));
        Ok(opened?.0)
    }
}

/// What was found of the manifest.
enum Found {
    Whole(ManifestState),
    /// What can be read of it.
    Damaged(Option<Beginning>),
}

/// What a damaged manifest says.
#[derive(Default)]
struct Beginning {
    /// The state before the damage.
    state: Option<ManifestState>,
    /// The collections, as far as anything says what they are.
    heads: BTreeMap<CollectionId, CollectionHead>,
}

fn heads(state: &ManifestState) -> BTreeMap<CollectionId, CollectionHead> {
    state.collections().iter().map(|(id, known)| (*id, known.head.clone())).collect()
}

/// The state that an edit makes out of nothing.
fn make_state(uuid: u128, edit: &Edit) -> Result<ManifestState> {
    let mut state = ManifestState::new(uuid);
    state.apply(edit).map_err(|e| Error::Internal { what: format!("salvaged manifest: {e}") })?;
    Ok(state)
}
