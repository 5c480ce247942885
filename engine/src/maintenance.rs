//! [`Worker`]: the background work as step functions, and the threads that drive them.
//!
//! A step flushes a memtable, makes a log file ready, or does a bounded piece of a merge or of a scrub, in this
//! order of urgency, so that one thread is enough. Without threads the caller runs the steps.
//!
//! # Invariants
//! 1. At most one flush and at most one merge are under way.
//! 2. An error of a background step is kept until a step of the same sort succeeds, so that whoever
//!    waits for it learns of it.

use crate::compaction::job::{Compaction, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::events::DbEvent;
use crate::flush::{Flushed, flush_oldest};
use crate::install::Shared;
use crate::io::JoinHandle;
use crate::scrub::Scrub;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, wait, wait_for};
use crate::types::CollectionId;
use crate::wal::WalShared;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes a second that a flush is taken to write before one was measured.
const FLUSH_RATE_FIRST: u64 = 300 << 20;
/// Pause after a failed step, so that a full device is not hammered.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The background work of one database.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    wal: Arc<WalShared>,
    /// Invariant 1. Lock order: before the installer.
    flushing: Mutex<()>,
    merging: Mutex<Merging>,
    signal: Mutex<Signal>,
    /// Notified when there may be work, and when the threads should stop.
    work: Condvar,
    /// Notified when a flush has ended, well or not.
    progress: Condvar,
    flush_rate: AtomicU64,
    /// `None` when the options do not ask for it.
    scrub: Option<Scrub>,
    /// See [`Worker::also`].
    also: OnceLock<Also>,
}

/// A step of somebody else.
struct Also(Box<dyn Fn() -> Result<bool> + Send + Sync>);

impl fmt::Debug for Also {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Also").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Merging {
    job: Option<Compaction>,
    /// Collections whose merge failed; left alone until the database is opened again.
    broken: HashSet<CollectionId>,
}

#[derive(Debug, Default)]
struct Signal {
    /// Counts calls for work, so that none is missed between a look and a wait.
    calls: u64,
    stop: bool,
    flush_error: Option<Error>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, wal: Arc<WalShared>) -> Self {
        let scrub = Scrub::new(&shared.view.options);
        Self {
            shared,
            wal,
            scrub,
            flushing: Mutex::new(()),
            merging: Mutex::new(Merging::default()),
            signal: Mutex::new(Signal::default()),
            work: Condvar::new(),
            progress: Condvar::new(),
            flush_rate: AtomicU64::new(FLUSH_RATE_FIRST),
            also: OnceLock::new(),
        }
    }

    /// Adds a step that needs what this module does not know (the leader of commits). Once, before
    /// the threads are started.
    pub(crate) fn also(&self, step: impl Fn() -> Result<bool> + Send + Sync + 'static) {
        // Nobody else sets it, and a second step would change nothing that is promised.
        let _ = self.also.set(Also(Box::new(step)));
    }

    /// Starts the threads that the options ask for.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Vec<Box<dyn JoinHandle>>> {
        let shared = &self.shared;
        (0..shared.view.options.background_threads)
            .map(|index| {
                let worker = Arc::clone(self);
                let work = Box::new(move || worker.run(index));
                shared
                    .view
                    .env
                    .threads
                    .spawn(&format!("datestone-{index}"), work)
                    .map_err(|e| Error::io("starting a background thread for", &shared.view.dir, e))
            })
            .collect()
    }

    /// Tells the threads that there may be work.
    pub(crate) fn call(&self) {
        self.signal.lock().calls += 1;
        self.work.notify_all();
    }

    /// Tells the threads to end.
    pub(crate) fn stop(&self) {
        self.signal.lock().stop = true;
        self.work.notify_all();
        self.progress.notify_all();
    }

    fn stopping(&self) -> bool {
        self.signal.lock().stop
    }

    /// Bytes a second that the latest flush wrote.
    pub(crate) fn flush_rate(&self) -> f64 {
        self.flush_rate.load(Ordering::Relaxed) as f64
    }

    fn run(&self, index: usize) {
        let mut seen = 0;
        // One thread keeps the time of the scrub; nobody calls when a piece of it is due.
        let scrub = self.scrub.as_ref().filter(|_| index == 0);
        loop {
            {
                let mut signal = self.signal.lock();
                while signal.calls == seen && !signal.stop {
                    let Some(scrub) = scrub else {
                        signal = wait(&self.work, signal);
                        continue;
                    };
                    drop(signal);
                    let pause = scrub.pause(&self.shared.view);
                    signal = self.signal.lock();
                    if pause.is_zero() || signal.calls != seen || signal.stop {
                        break;
                    }
                    signal = wait_for(&self.work, signal, pause).0;
                }
                if signal.stop {
                    return;
                }
                seen = signal.calls;
            }
            while !self.stopping() {
                match self.step() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        self.shared.view.tell(|| DbEvent::BackgroundError { error });
                        self.shared.view.env.clock.sleep(RETRY_PAUSE);
                    }
                }
            }
        }
    }

    /// Does one step; whether there was anything to do.
    pub(crate) fn step(&self) -> Result<bool> {
        if self.flush_step()? || self.wal.prepare_spare()? {
            return Ok(true);
        }
        if let Some(Also(step)) = self.also.get()
            && step()?
        {
            return Ok(true);
        }
        if self.shared.view.options.auto_compaction && self.merge_step()? {
            return Ok(true);
        }
        Ok(self.scrub.as_ref().is_some_and(|scrub| scrub.step(&self.shared.view)))
    }

    /// Flushes the oldest frozen memtable; whether there was one.
    pub(crate) fn flush_step(&self) -> Result<bool> {
        // Taken before looking: a flush under way is waited for, and its memtable is not told of
        // twice. Nobody who reads needs it, so it may be held while the listener is told.
        let flushing = self.flushing.lock();
        let oldest = {
            let catalog = self.shared.view.catalog.read();
            catalog.mem().frozen.first().map(|frozen| frozen.memtable.bytes())
        };
        let Some(bytes) = oldest else {
            self.signal.lock().flush_error = None; // What failed last has succeeded since.
            return Ok(false);
        };
        self.shared.view.tell(|| DbEvent::FlushStarted { bytes });
        let start = self.shared.view.env.clock.monotonic();
        let flushed = self.flush_one();
        let duration = self.shared.view.env.clock.monotonic().saturating_sub(start);
        self.shared.view.tell(|| match &flushed {
            Ok(bytes) => DbEvent::FlushFinished { bytes: *bytes, duration },
            Err(error) => DbEvent::FlushFailed { error: error.clone() },
        });
        drop(flushing);
        flushed.map(|_| true)
    }

    /// Flushes the oldest frozen memtable, which is there; the bytes of its segments.
    fn flush_one(&self) -> Result<u64> {
        let clock = &self.shared.view.env.clock;
        let start = clock.monotonic();
        let flushed = flush_oldest(&self.shared)
            .and_then(|flushed| flushed.map(|flushed| self.flushed(&flushed)).transpose());
        let mut signal = self.signal.lock();
        signal.flush_error = flushed.as_ref().err().cloned();
        self.progress.notify_all();
        drop(signal);
        let (bytes, segment_bytes) = flushed?.unwrap_or_default();
        let seconds = (clock.monotonic() - start).as_secs_f64();
        if bytes >= 1 << 20 && seconds > 0.0 {
            self.flush_rate.store((bytes as f64 / seconds) as u64, Ordering::Relaxed);
        }
        Ok(segment_bytes)
    }

    /// Bytes of the memtable and of its segments.
    fn flushed(&self, flushed: &Flushed) -> Result<(u64, u64)> {
        self.wal.release(flushed.frozen.last_seqno)?;
        Ok((flushed.frozen.memtable.bytes(), flushed.segment_bytes))
    }

    /// Waits until fewer than `count` memtables are frozen. With no threads it flushes itself.
    ///
    /// # Errors
    /// Why flushes fail, when they do: the wait would not end.
    pub(crate) fn wait_for_flush(&self, count: usize) -> Result<()> {
        while self.shared.view.catalog.read().mem().frozen.len() >= count {
            if self.shared.view.options.background_threads == 0 {
                self.flush_step()?;
                continue;
            }
            let signal = self.signal.lock();
            if let Some(error) = &signal.flush_error {
                return Err(error.clone());
            }
            if signal.stop {
                return Err(Error::Closed);
            }
            // Looked at again under the lock that a flush takes before it notifies.
            if self.shared.view.catalog.read().mem().frozen.len() >= count {
                drop(wait(&self.progress, signal));
            }
        }
        Ok(())
    }

    /// Does a piece of the merge under way, or chooses the next one; whether there was any.
    fn merge_step(&self) -> Result<bool> {
        let Some(mut merging) = self.merging.try_lock() else { return Ok(false) };
        if merging.job.is_none() {
            merging.job = Compaction::choose(&self.shared, &merging.broken)?;
        }
        let Some(job) = &mut merging.job else { return Ok(false) };
        let collection = job.collection();
        match job.step(&self.shared) {
            Ok(Progress::More) => Ok(true),
            Ok(Progress::Done) => {
                let event = job.take_event();
                merging.job = None;
                drop(merging);
                self.merged(event);
                Ok(true)
            }
            Err(error) => {
                merging.job = None;
                // Space may come back; what else is wrong stays wrong.
                if error.kind() != ErrorKind::NoSpace {
                    merging.broken.insert(collection);
                }
                Err(error)
            }
        }
    }

    /// Gives the merge under way up and lets none begin while `work` is done.
    pub(crate) fn without_merges<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut merging = self.merging.lock();
        merging.job = None;
        work()
    }

    /// Merges all sealed runs of a collection into one, if anything is gained by it.
    pub(crate) fn compact(&self, collection: CollectionId) -> Result<()> {
        let mut merging = self.merging.lock();
        // What was under way may have chosen a part of the same runs.
        merging.job = None;
        let Some(mut job) = Compaction::whole(&self.shared, collection)? else { return Ok(()) };
        while job.step(&self.shared)? == Progress::More {}
        merging.broken.remove(&collection);
        drop(merging);
        self.merged(job.take_event());
        Ok(())
    }

    /// Tells of a merge, outside of its lock.
    fn merged(&self, event: Option<DbEvent>) {
        if let Some(event) = event {
            self.shared.view.tell(|| event);
        }
    }
}
