//! The storage engine of datestone: everything that touches bytes.
//!
//! This crate is wide and may change; applications use the crate `datestone`. See ARCHITECTURE.md
//! for the bird's-eye view and FORMAT.md for every byte on disk.
//!
//! # Reading order
//! | path | modules |
//! | --- | --- |
//! | write | [`db`] -> [`wal`] (durable) -> [`memtable`] -> `flush` -> [`segment`] -> [`manifest`] -> [`compaction`] |
//! | read | [`db`] -> [`snapshot`] (pins a version) -> [`read`] over the cursors of [`memtable`] and [`segment`] |
//! | follow | [`subscription`] -> [`watch`] (woken), [`holds`] (keeps since) -> [`db`] -> the read path, by time |
//! | recovery | `recovery` -> [`manifest`] -> [`segment`] -> [`wal`] replay -> ready |
//! | rescue | [`salvage`] -> what is whole of [`manifest`], [`segment`] and [`wal`] -> a new directory |

mod admission;
pub mod config;
pub mod consolidate;
pub mod cursor;
pub mod error;
pub mod events;
pub mod found;
pub mod io;
pub mod limits;
pub mod stats;
pub mod sync;
pub mod throttle;
pub mod types;

pub mod holds;
pub mod watch;

pub mod format;

mod gallop;
pub mod planted;
mod prefetch;

pub mod memtable;
pub mod segment;
pub mod wal;

pub mod collection;
pub mod commit;
pub mod manifest;
pub mod read;

pub mod catalog;
pub mod snapshot;
pub mod split;

pub mod compaction;
mod flush;
mod install;
mod leader;
mod scrub;
mod view;

pub mod absent;
pub mod backup;
pub mod checkpoint;
pub mod erase;
pub mod ingest;
pub mod truncate;

mod follower;
mod maintenance;
mod recovery;
pub mod salvage;
pub mod verify;

pub mod db;
pub mod subscription;

#[cfg(all(test, datestone_shuttle))]
mod shuttle;
