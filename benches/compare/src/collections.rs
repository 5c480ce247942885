//! Many small collections in one database. The peers get them in the way that is the cheapest for
//! them, and that the documentation of log-structured ones recommends for so many: one map, with the
//! number of the collection before the key.

use crate::Result;
use crate::data::{KEY_LEN, Key, Seen, Val};
use crate::engine::{Durability, Engine, Op};
use crate::engines::{self, OWN, Shape};
use std::path::Path;

/// A collection, a key and its value.
pub(crate) type Put = (u64, Key, Val);

/// Length of a key with the number of its collection.
const PREFIXED_LEN: usize = 4 + KEY_LEN;

/// An open database with many collections.
pub(crate) trait Collections {
    /// Makes `puts` one durable commit.
    fn write(&self, puts: &[Put]) -> Result<()>;

    /// Reads the value of a key of a collection; whether it is there.
    fn get(&self, collection: u64, key: &Key, seen: &mut Seen) -> Result<bool>;
}

/// Opens the database of `engine` with `count` collections.
pub(crate) fn open(engine: &str, dir: &Path, count: u64) -> Result<Box<dyn Collections>> {
    std::fs::create_dir_all(dir)?;
    if engine == OWN {
        return engines::open_own_collections(dir, count);
    }
    Ok(Box::new(Prefixed(engines::open(engine, dir, Shape::Rows)?)))
}

/// A key with the number of its collection.
fn prefixed(collection: u64, key: &Key) -> [u8; PREFIXED_LEN] {
    let mut bytes = [0; PREFIXED_LEN];
    let (head, tail) = bytes.split_at_mut(4);
    head.copy_from_slice(&(collection as u32).to_be_bytes());
    tail.copy_from_slice(key);
    bytes
}

/// One map for all.
struct Prefixed(Box<dyn Engine>);

impl Collections for Prefixed {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let keys: Vec<_> =
            puts.iter().map(|(collection, key, _)| prefixed(*collection, key)).collect();
        let ops: Vec<_> = keys.iter().zip(puts).map(|(key, put)| Op::put(key, &put.2)).collect();
        self.0.write(&ops, Durability::Synced)
    }

    fn get(&self, collection: u64, key: &Key, seen: &mut Seen) -> Result<bool> {
        self.0.get(&prefixed(collection, key), seen)
    }
}
