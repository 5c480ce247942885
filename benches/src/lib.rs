//! Workloads with fixed seeds, the peers that they are measured against, and the scorecard.
//!
//! - `cargo bench -p datestone-benches` runs the criterion benches of `benches/`, one path of the
//!   data each.
//! - `cargo run --release -p datestone-benches --bin scorecard` measures once what the project
//!   promises about speed and memory, each row interleaved with its peer, and prints one table.
//!
//! Everything goes through the public API. Databases are made next to the built program, on the
//! disk of the build; `DATESTONE_BENCH_DIR` names another place.

pub mod data;
pub mod history;
pub mod lmdb;
pub mod machine;
pub mod scorecard;
pub mod stopwatch;
pub mod store;
pub mod tree;
pub mod work;

/// What fails here ends the measurement, whatever it is.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
