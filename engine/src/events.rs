//! [`DbEvent`]s: what the engine does on its own, told to whoever wants to know.
//!
//! # Invariants
//! 1. A listener is called by the thread that did the work, and that does nothing else meanwhile. No lock
//!    is held that a reader takes, so a listener may read; the locks of those who write may be held.
//! 2. A listener that panics changes nothing: the panic ends at the call.

use crate::error::Error;
use crate::throttle::StallReason;
use crate::types::Frontier;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Why segments were merged.
///
/// ```
/// use datestone_engine::events::CompactionReason;
/// assert_eq!(CompactionReason::Explicit.name(), "explicit");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompactionReason {
    /// There were enough runs, or enough garbage in them.
    Runs,
    /// There were enough parts with updates ahead of upper.
    Future,
    /// The program asked for it.
    Explicit,
}

impl CompactionReason {
    /// Its name, the same in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Future => "future",
            Self::Explicit => "explicit",
        }
    }
}

/// What has happened.
///
/// ```
/// use datestone_engine::events::DbEvent;
/// assert_eq!(DbEvent::FlushStarted { bytes: 4096 }.name(), "flush_started");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DbEvent {
    /// A flush is about to begin. One `FlushFinished` or `FlushFailed` follows.
    FlushStarted {
        /// Bytes of the memtable.
        bytes: u64,
    },
    /// A memtable is in segments, durably.
    FlushFinished {
        /// Bytes of the segments; 0 when another thread had flushed it already.
        bytes: u64,
        /// How long it took.
        duration: Duration,
    },
    /// A flush failed; the memtable is still there and is flushed again later.
    FlushFailed {
        /// Why.
        error: Error,
    },
    /// Segments were merged, durably.
    CompactionFinished {
        /// The collection's name.
        collection: String,
        /// Why.
        reason: CompactionReason,
        /// Count of segments that were merged.
        inputs: u64,
        /// Bytes of their files.
        input_bytes: u64,
        /// Count of segments that came of it.
        outputs: u64,
        /// Bytes of their files.
        output_bytes: u64,
        /// From the choice to the installation, pauses between steps included.
        duration: Duration,
    },
    /// A commit was made to wait.
    Stalled {
        /// For what.
        reason: StallReason,
        /// How long.
        duration: Duration,
    },
    /// A collection's since was raised, durably: what lies below can be forgotten.
    SinceAdvanced {
        /// The collection's name.
        collection: String,
        /// Its since.
        since: Frontier,
    },
    /// The scrub found a segment that is not as it was written, or cannot be read. Reads of what is
    /// damaged fail as well; the rest of the database works on.
    Damage {
        /// What is wrong, with file and offset.
        error: Error,
    },
    /// A background thread met an error. It tries again; what cannot be done by trying again is
    /// told to whoever needs it.
    BackgroundError {
        /// The error.
        error: Error,
    },
}

impl DbEvent {
    /// The event's name, the same in every interface.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FlushStarted { .. } => "flush_started",
            Self::FlushFinished { .. } => "flush_finished",
            Self::FlushFailed { .. } => "flush_failed",
            Self::CompactionFinished { .. } => "compaction_finished",
            Self::Stalled { .. } => "stalled",
            Self::SinceAdvanced { .. } => "since_advanced",
            Self::Damage { .. } => "damage",
            Self::BackgroundError { .. } => "background_error",
        }
    }
}

/// What is called with every [`DbEvent`]. Cheap to clone; equal to its clones and nothing else.
///
/// ```
/// use datestone_engine::config::Options;
/// use datestone_engine::events::EventListener;
/// let listener = EventListener::new(|event| assert!(!event.name().is_empty()));
/// let options = Options { on_event: Some(listener), ..Options::default() };
/// assert_eq!(options, options.clone());
/// ```
#[derive(Clone)]
pub struct EventListener(Arc<dyn Fn(&DbEvent) + Send + Sync>);

impl EventListener {
    /// Has `listen` called. It is called on the threads that commit, flush and merge, so it should
    /// be quick. It may take snapshots and read them, and ask for stats; it must not commit, flush,
    /// compact or close: those may wait for the very thread that it runs on, for ever. To do such a thing
    /// when something happens, send a message to a thread of your own.
    #[must_use]
    pub fn new(listen: impl Fn(&DbEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }

    /// Calls this one, then `other`.
    ///
    /// ```
    /// use datestone_engine::events::EventListener;
    /// let both = EventListener::new(|_| {}).and(EventListener::new(|_| {}));
    /// ```
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(move |event| {
            self.tell(event);
            other.tell(event);
        })
    }

    /// Tells of an event. A panic of the listener ends here.
    pub fn tell(&self, event: &DbEvent) {
        // The listener's own state is its own business; ours is not reached from there.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.0)(event)));
    }
}

impl fmt::Debug for EventListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventListener")
    }
}

impl PartialEq for EventListener {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Eq for EventListener {}
