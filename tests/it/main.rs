//! The integration tests of datestone, one binary.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `api` | what the public interface promises, call by call, and each kind of error |
//! | `history` | what concurrent threads did and saw is serializable and whole |
//! | `kinds` | tables and logs agree with plain maps |
//! | `merge_under_way` | what may happen between two steps of a merge |
//! | `memory` | limits of memory and log hold while much more goes through |
//! | `mixed` | all kinds and operations in one random history agree with plain maps and lists |
//! | `model` | random histories agree with a sorted list of updates at every legal time |
//! | `nth_failure` | the n-th failure of every kind of call loses nothing |
//! | `oracle` | real data has the hashes that an independent oracle computed |
//! | `planted` | bugs in the engine, one at a time, are caught (feature `planted`) |
//! | `explore` | of every crash state of many workloads, that it is one that was promised |
//! | `power_cut` | a power cut at every change of the file system leaves a whole prefix |
//! | `absent` | what is looked for is found in whatever file it is |
//! | `backup` | backups hold whole commits, share what does not change, and survive power cuts |
//! | `books` | durable holds and tokens of commits survive restarts |
//! | `checkpoint` | checkpoints hold whole commits, and come into being wholly or not at all |
//! | `corruption` | damage at rest gives right data or a typed error |
//! | `deep` | point reads of long histories agree with scans |
//! | `events` | what listeners are told, and that they can break nothing |
//! | `format_spec` | FORMAT.md and the code say the same |
//! | `golden` | files written by earlier builds are read, and written again byte for byte |
//! | `salvage` | of a damaged database all is saved but what was hit |
//! | `transactions` | transactions are serializable, in the order of their times |
//! | `surgery` | truncation, erasure and ingestion, and power cuts at every change of them |
//! | `read_only` | a database that is read while somebody else writes it |
//! | `scrub` | every segment is checked once a period, and damage is told once a pass |
//! | `streaming` | history, changes, splits, waiting, holds and subscriptions |
//! | `tickets` | commits whose durability is waited for without a thread |
//! | `tidy` | layers, hollow assertions and plain sources |

#[cfg(test)]
mod absent;
#[cfg(test)]
mod api;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod books;
#[cfg(test)]
mod checkpoint;
#[cfg(test)]
mod corruption;
#[cfg(test)]
mod deep;
#[cfg(test)]
mod events;
#[cfg(test)]
mod explore;
#[cfg(test)]
mod format_spec;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod history;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod merge_under_way;
#[cfg(test)]
mod mixed;
#[cfg(test)]
mod model;
#[cfg(test)]
mod nth_failure;
#[cfg(test)]
mod oracle;
#[cfg(test)]
#[cfg(feature = "planted")]
mod planted;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod read_only;
#[cfg(test)]
mod salvage;
#[cfg(test)]
mod scrub;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod surgery;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod transactions;
