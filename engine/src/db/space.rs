//! Where the bytes of a database are, and what would free them.

use super::Db;
use crate::error::{Error, Result};
use crate::manifest::parse_manifest_name;
use crate::segment::parse_segment_file_name;
use crate::types::{CollectionId, Frontier, SeqNo};

/// Where the bytes of a database are: on disk, of which segments that are in use, of which what can
/// still be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// Bytes of all files in the directory.
    pub disk: u64,
    /// Of them, files of the log, spares included.
    pub wal: u64,
    /// Of them, manifests.
    pub manifest: u64,
    /// Of them, segments; those too that are replaced already and wait for their last reader.
    pub segments: u64,
    /// Of the segments, those in use.
    pub referenced: u64,
    /// Of those, what is not garbage at the sinces in effect, about.
    pub live: u64,
    /// The same by collection, in order of their names.
    pub collections: Vec<CollectionSpace>,
    /// Who keeps since from rising, and how much of the past.
    pub holders: Vec<HolderSpace>,
}

/// Where the bytes of a collection are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionSpace {
    /// Its name.
    pub name: String,
    /// Bytes of its segments.
    pub referenced: u64,
    /// Of them, what is not garbage at its since, about.
    pub live: u64,
    /// Of that, what would be left if only the latest readable time were kept, about.
    pub latest: u64,
}

/// What somebody keeps from being forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HolderSpace {
    /// Who, in words for people.
    pub owner: String,
    /// The collection, by name.
    pub collection: String,
    /// Since stays at or below this.
    pub at: Frontier,
    /// The last commit when it was made; of a durable one, when it was first taken.
    pub seqno: SeqNo,
    /// Bytes that could be forgotten but for this holder, about: beyond what the other holders of the
    /// collection keep anyway, if everything but the latest readable time were to go.
    pub bytes: u64,
}

struct Holder {
    owner: String,
    collection: CollectionId,
    at: Frontier,
    seqno: SeqNo,
}

impl Db {
    /// Where the bytes are. Reads statistics of the segments, no data.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed; [`Error::Corruption`].
    pub fn space(&self) -> Result<Space> {
        let view = &self.0.view;
        view.check_open()?;
        let mut space = Space::default();
        let listed = view.env.fs.list(&view.dir);
        for entry in listed.map_err(|e| Error::io("listing directory", &view.dir, e))? {
            let name = entry.name.to_string_lossy();
            space.disk += entry.len;
            if parse_segment_file_name(&name).is_some() {
                space.segments += entry.len;
            } else if parse_manifest_name(&name).is_some() {
                space.manifest += entry.len;
            } else if name.ends_with(".log") {
                space.wal += entry.len;
            }
        }
        for stats in self.collections() {
            let (id, upper) = (stats.collection.description.id, stats.collection.upper);
            let latest = self.would_free(id, latest_of(upper))?;
            let live = stats.bytes.saturating_sub(stats.garbage_bytes);
            space.referenced += stats.bytes;
            space.live += live;
            space.collections.push(CollectionSpace {
                name: stats.collection.description.name.to_string(),
                referenced: stats.bytes,
                live,
                latest: stats.bytes.saturating_sub(latest),
            });
        }
        let holders = self.holders()?;
        for holder in &holders {
            let Ok(collection) = self.collection(holder.collection) else { continue };
            let others = holders
                .iter()
                .filter(|other| !std::ptr::eq(*other, holder))
                .filter(|other| other.collection == holder.collection)
                .map(|other| other.at)
                .fold(latest_of(collection.upper), Frontier::min);
            let without = self.would_free(holder.collection, others)?;
            let with = self.would_free(holder.collection, others.min(holder.at))?;
            space.holders.push(HolderSpace {
                owner: holder.owner.clone(),
                collection: collection.description.name.to_string(),
                at: holder.at,
                seqno: holder.seqno,
                bytes: without.saturating_sub(with),
            });
        }
        Ok(space)
    }

    /// Bytes of a collection's segments that are garbage at `since`, or at its since if that is
    /// beyond: what [`compact_below`](crate::commit::Commit::compact_below) would let a merge leave
    /// out, about.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Corruption`].
    pub fn would_free(&self, id: CollectionId, since: Frontier) -> Result<u64> {
        let (collection, reads) = {
            let catalog = self.0.view.catalog.read();
            (catalog.collections().current(id)?, catalog.reads(id))
        };
        let since = since.max(collection.since);
        let mut segments = std::collections::BTreeMap::new();
        for segment in reads.parts.iter().flat_map(|part| part.segments.iter()) {
            segments.insert(segment.meta().id, segment);
        }
        let of = |segment: &std::sync::Arc<crate::segment::Segment>| {
            // An estimate, which may be more than there is.
            Ok(segment.garbage(since)?.bytes.min(segment.meta().file_len))
        };
        segments.into_values().map(of).sum()
    }

    /// Who keeps since from rising: on a database that is only read, those that its writer would know
    /// after a restart.
    fn holders(&self) -> Result<Vec<Holder>> {
        if !self.is_read_only() {
            let holds = self.holds().into_iter();
            let holder = |hold: crate::holds::HoldInfo| Holder {
                owner: hold.owner.to_string(),
                collection: hold.collection,
                at: hold.at,
                seqno: hold.seqno,
            };
            return Ok(holds.map(holder).collect());
        }
        let holds = self.durable_holds()?.into_iter().map(|hold| Holder {
            owner: format!("{} (durable: {})", hold.owner, hold.name),
            collection: hold.collection,
            at: hold.at,
            seqno: hold.seqno,
        });
        let subscriptions = self.durable_subscriptions()?.into_iter().map(|stored| Holder {
            owner: format!("{} (subscription: {})", stored.owner, stored.name),
            collection: stored.collection,
            at: stored.at(),
            seqno: stored.seqno,
        });
        Ok(holds.chain(subscriptions).collect())
    }
}

/// The since that keeps the latest readable time alone.
fn latest_of(upper: Frontier) -> Frontier {
    upper.last_below().map_or(Frontier::MIN, Frontier::at)
}
