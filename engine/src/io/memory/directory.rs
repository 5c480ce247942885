//! One directory of [`super::MemFs`]: its names as they are beside what a power cut leaves of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::CrashPlan;
use super::image::Image;
use crate::io::clock::Chance;
use crate::sync::Mutex;

/// A file apart from its names. Locked only while the file system's state is locked.
pub(super) type Node = Arc<Mutex<Image>>;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Entry {
    File(Node),
    Dir,
}

/// The names of one directory.
pub(super) type Names = BTreeMap<OsString, Entry>;

/// A directory, live and durable.
#[derive(Clone, Default)]
pub(super) struct Directory {
    live: Names,
    durable: Names,
    /// What happened since the last sync, oldest first.
    pending: Vec<Pending>,
}

#[derive(Clone)]
struct Pending {
    change: Change,
    /// A sync of this change has failed; see `image::Pending`.
    lost: bool,
}

#[derive(Clone)]
enum Change {
    Link { name: OsString, entry: Entry },
    Unlink { name: OsString },
    Rename { from: OsString, to: OsString, node: Node },
}

impl Directory {
    /// A directory that has `names`, durably.
    pub(super) fn synced(names: Names) -> Self {
        Self { live: names.clone(), durable: names, pending: Vec::new() }
    }

    /// What `name` stands for.
    pub(super) fn get(&self, name: &OsStr) -> Option<&Entry> {
        self.live.get(name)
    }

    /// All names.
    pub(super) const fn names(&self) -> &Names {
        &self.live
    }

    /// Gives `entry` the name `name`.
    pub(super) fn link(&mut self, name: OsString, entry: Entry) {
        self.change(Change::Link { name, entry });
    }

    /// Takes the name `name` away.
    pub(super) fn unlink(&mut self, name: OsString) {
        self.change(Change::Unlink { name });
    }

    /// Gives `node`, called `from`, the name `to`.
    pub(super) fn rename(&mut self, from: OsString, to: OsString, node: Node) {
        self.change(Change::Rename { from, to, node });
    }

    /// Gives `entry` the name `name`, durably at once.
    pub(super) fn put_durable(&mut self, name: OsString, entry: Entry) {
        self.live.insert(name.clone(), entry.clone());
        self.durable.insert(name, entry);
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(Pending { change, lost: false });
    }

    /// Makes what happened so far durable.
    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            if !pending.lost {
                pending.change.apply(&mut self.durable);
            }
        }
    }

    /// A sync that the system failed.
    pub(super) fn fail_sync(&mut self) {
        for pending in &mut self.pending {
            pending.lost = true;
        }
    }

    /// Which names are there after a power cut.
    pub(super) fn crash(&self, plan: CrashPlan, chance: &mut Chance) -> Names {
        match plan {
            CrashPlan::LoseUnsynced => self.durable.clone(),
            CrashPlan::KeepAll => self.live.clone(),
            CrashPlan::Random(_) => {
                // None, all, or each with its own chance.
                let keep = [0, 4, 2, 2][chance.below(4) as usize];
                let mut names = self.durable.clone();
                for pending in &self.pending {
                    if chance.below(4) < keep {
                        pending.change.apply(&mut names);
                    }
                }
                names
            }
        }
    }

    /// The same directory with every file replaced by `copy` of it.
    pub(super) fn map_nodes(&self, copy: &mut impl FnMut(&Node) -> Node) -> Self {
        Self {
            live: map_names(&self.live, copy),
            durable: map_names(&self.durable, copy),
            pending: self
                .pending
                .iter()
                .map(|pending| Pending { change: pending.change.map(copy), lost: pending.lost })
                .collect(),
        }
    }
}

/// `names` with every file replaced by `copy` of it.
pub(super) fn map_names(names: &Names, copy: &mut impl FnMut(&Node) -> Node) -> Names {
    names.iter().map(|(name, entry)| (name.clone(), entry.map(copy))).collect()
}

impl Entry {
    /// The file's length; 0 of a directory.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(node) => node.lock().live().len() as u64,
            Self::Dir => 0,
        }
    }

    fn map(&self, copy: &mut impl FnMut(&Node) -> Node) -> Self {
        match self {
            Self::File(node) => Self::File(copy(node)),
            Self::Dir => Self::Dir,
        }
    }

    fn is(&self, node: &Node) -> bool {
        matches!(self, Self::File(own) if Arc::ptr_eq(own, node))
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, entry } => {
                names.insert(name.clone(), entry.clone());
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                // After a crash that lost earlier changes, `from` may mean another file.
                if names.get(from).is_some_and(|entry| entry.is(node)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Entry::File(node.clone()));
            }
        }
    }

    fn map(&self, copy: &mut impl FnMut(&Node) -> Node) -> Self {
        match self {
            Self::Link { name, entry } => Self::Link { name: name.clone(), entry: entry.map(copy) },
            Self::Unlink { name } => Self::Unlink { name: name.clone() },
            Self::Rename { from, to, node } => {
                Self::Rename { from: from.clone(), to: to.clone(), node: copy(node) }
            }
        }
    }
}
