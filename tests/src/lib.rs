//! Harness of the tests of datestone as a whole. Nothing depends on this crate.
//!
//! | module | what |
//! | --- | --- |
//! | [`seed`] | where chance comes from: one seed, printed and settable (`DATESTONE_SEED`) |
//! | [`model`] | what a collection is: a sorted list of updates with two frontiers |
//! | [`database`] | a database in memory, and comparing what it says with the model |
//! | [`oracle`] | real data with the hashes that somebody else computed |
//! | [`explore`] | the crash explorer: every state that a power cut can leave, opened and compared |
//! | [`sweep`] | a deterministic workload whose every prefix is known, for crash and damage tests |

pub mod database;
pub mod explore;
pub mod model;
pub mod oracle;
pub mod seed;
pub mod sweep;
