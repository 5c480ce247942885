//! What a database does, for the crates `tracing` and `metrics` (each behind a feature of its name).
//!
//! Both are [`EventListener`](crate::EventListener)s like any other: give one to
//! [`Options::on_event`](crate::Options::on_event), or several joined with
//! [`and`](crate::EventListener::and).

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::{metrics, record_stats};
#[cfg(feature = "tracing")]
pub use self::tracing::tracing;
