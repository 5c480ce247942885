//! [`Syncer`]: makes commits durable for those who wait without a thread of their own. They leave a
//! waker; one thread, started when it is first needed, syncs the log for all that have come together.
//!
//! # Invariants
//! 1. A waker that is left is woken: when its commit is durable, when syncing has failed, or when the
//!    database is closed.
//! 2. After a failure nobody is told that a commit is durable that was not before: the log is poisoned.

use super::writer::{Leader, Writer};
use super::{Db, Role};
use crate::error::{Error, Result};
use crate::io::JoinHandle;
use crate::sync::{Condvar, Mutex, wait};
use crate::types::SeqNo;
use crate::wal::WalShared;
use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Who waits for what to be durable.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    /// Notified when there is somebody, and when the thread should stop.
    work: Condvar,
    thread: Mutex<Thread>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<(SeqNo, Waker)>,
    /// Whether somebody has come since the last sync began.
    wanted: bool,
    failed: Option<Error>,
    stop: bool,
}

#[derive(Default)]
struct Thread(Option<Box<dyn JoinHandle>>);

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Thread").field(&self.0.is_some()).finish()
    }
}

impl Db {
    /// The last commit that is known to be durable; of a database that is only read, none is.
    #[must_use]
    pub fn durable_seqno(&self) -> SeqNo {
        match &self.0.role {
            Role::Writer(writer) => writer.wal.stats().durable_seqno,
            Role::Reader { .. } => SeqNo(0),
        }
    }

    /// Whether a commit is durable; if not yet, it will be soon, and `waker` is woken then. Without
    /// background threads it is made durable by this call.
    ///
    /// # Errors
    /// Why it could not be made durable: [`Error::Poisoned`], [`Error::Io`]; [`Error::Closed`].
    pub fn poll_durable(&self, seqno: SeqNo, waker: &Waker) -> Poll<Result<()>> {
        match self.0.writer() {
            Ok(writer) => writer.poll_durable(seqno, waker),
            // Closing makes everything durable.
            Err(Error::Closed) if self.durable_seqno() >= seqno => Poll::Ready(Ok(())),
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}

impl Writer {
    fn poll_durable(&self, seqno: SeqNo, waker: &Waker) -> Poll<Result<()>> {
        let is_durable = || self.wal.stats().durable_seqno >= seqno;
        if is_durable() {
            return Poll::Ready(Ok(()));
        }
        if self.shared.view.options.background_threads == 0 {
            return Poll::Ready(self.leader.lock().wal.sync().map(drop));
        }
        if let Err(e) = self.start_syncer() {
            return Poll::Ready(Err(e));
        }
        {
            let mut state = self.syncer.state.lock();
            if let Some(e) = &state.failed {
                return Poll::Ready(Err(e.clone()));
            }
            if state.stop {
                return Poll::Ready(Err(Error::Closed));
            }
            state.waiting.push((seqno, waker.clone()));
            state.wanted = true;
        }
        self.syncer.work.notify_all();
        // Between the first look and the waker it may have become so, and nobody would wake it.
        if is_durable() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn start_syncer(&self) -> Result<()> {
        let mut thread = self.syncer.thread.lock();
        if thread.0.is_some() {
            return Ok(());
        }
        let (syncer, leader) = (Arc::clone(&self.syncer), Arc::clone(&self.leader));
        let wal = Arc::clone(&self.wal);
        let run = Box::new(move || syncer.run(&leader, &wal));
        let view = &self.shared.view;
        let failed = |e| Error::io("starting the thread that syncs", &view.dir, e);
        thread.0 = Some(view.env.threads.spawn("datestone-sync", run).map_err(failed)?);
        Ok(())
    }
}

impl Syncer {
    fn run(&self, leader: &Mutex<Leader>, wal: &WalShared) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.wanted && !state.stop {
                    state = wait(&self.work, state);
                }
                if state.stop {
                    return;
                }
                state.wanted = false;
            }
            let synced = leader.lock().wal.sync();
            let durable = wal.stats().durable_seqno;
            let mut state = self.state.lock();
            let is_done = |(seqno, _): &mut (SeqNo, Waker)| synced.is_err() || *seqno <= durable;
            let done: Vec<_> = state.waiting.extract_if(.., is_done).collect();
            state.failed = synced.err().or(state.failed.take());
            drop(state);
            // Foreign code: not under the lock.
            done.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    /// Ends the thread, and leaves those who wait to what closing makes of their commits.
    pub(super) fn stop(&self) -> Result<()> {
        self.state.lock().stop = true;
        self.work.notify_all();
        let thread = self.thread.lock().0.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(Error::Internal { what: "the thread that syncs panicked".into() });
        }
        Ok(())
    }

    /// Wakes everybody: the log is closed.
    pub(super) fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
