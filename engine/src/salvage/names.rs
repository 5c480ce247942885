//! What collections are called, when no whole manifest says so.

use crate::format::manifest_edit::CollectionHead;
use crate::format::wal_record::{Create, Op, decode};
use crate::limits::NAME_LEN_MAX;
use crate::types::{CollectionId, Kind};
use std::collections::{BTreeMap, HashMap};

/// What is known of a collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) name: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) meta: Vec<u8>,
}

/// What is known of the collections of the source.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(HashMap<CollectionId, Known>);

impl Names {
    /// Those that a manifest says.
    pub(super) fn of(heads: &BTreeMap<CollectionId, CollectionHead>) -> Self {
        let known = heads.values().cloned().map(|head| {
            (head.id, Known { name: Some(head.name), kind: Some(head.kind), meta: head.meta })
        });
        Self(known.collect())
    }

    /// Those that a commit creates.
    pub(super) fn learn(&mut self, payload: &[u8]) {
        for op in decode(payload).into_iter().flatten().flatten() {
            if let Op::Create { collection, create: Create { kind, name, meta, .. } } = op {
                let (name, kind) = (Some(name.to_owned()), Some(kind));
                self.0.insert(collection, Known { name, kind, meta: meta.to_vec() });
            }
        }
    }

    /// What the header of a segment says.
    pub(super) fn learn_kind(&mut self, id: CollectionId, kind: Kind) {
        self.0.entry(id).or_default().kind.get_or_insert(kind);
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = CollectionId> {
        self.0.keys().copied()
    }

    pub(super) fn get(&self, id: CollectionId) -> Known {
        self.0.get(&id).cloned().unwrap_or_default()
    }
}

/// The name of a collection of which nobody knows the name.
pub(super) fn fallback_name(id: CollectionId) -> String {
    format!("collection-{}", id.0)
}

/// `name`, or what comes next to it and is free: `<name>.log`, then something with the id.
pub(super) fn free_name(name: &str, id: CollectionId, is_free: impl Fn(&str) -> bool) -> String {
    let candidates = [name.to_owned(), format!("{name}.log"), format!("{name}-{}", id.0)];
    let fits = |name: &String| name.len() <= NAME_LEN_MAX && is_free(name);
    if let Some(name) = candidates.into_iter().find(fits) {
        return name;
    }
    let mut name = fallback_name(id);
    while !is_free(&name) {
        name.push('+');
    }
    name
}
