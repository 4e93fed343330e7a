//! The background threads of a collection: one flushes, one merges, and when writing pauses trains and settles, and one
//! has settings measured anew. What takes long keeps none of the others waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::CollectionStore;
use super::context::Context;
use crate::error::{Result, StorageError};

/// How long writing pauses before what can wait is done, so that a long ingest is not slowed down by it.
const PAUSE: Duration = Duration::from_secs(1);
/// Where writing never pauses, what can wait is done after so long all the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Makes segments of the memtable.
    Flush,
    /// Merges segments and trains codebooks.
    Merge,
    /// Calls who wants to measure what the others have changed.
    Measure,
}

impl Duty {
    const ALL: [Self; 3] = [Self::Flush, Self::Merge, Self::Measure];

    fn thread(self) -> &'static str {
        match self {
            Self::Flush => "latewood-flush",
            Self::Merge => "latewood-merge",
            Self::Measure => "latewood-tune",
        }
    }
}

/// A collection's background threads; there may be none.
#[derive(Debug)]
pub(super) struct Workers {
    running: Mutex<Vec<Running>>,
    stopping: AtomicBool,
    /// By duty: the thread waits for a pause in writing, and need not be woken for one.
    waiting: [AtomicBool; Duty::ALL.len()],
    /// Merges have changed what is searched since it was measured.
    unmeasured: AtomicBool,
    /// Threads that hold the collection while they work.
    at_work: AtomicUsize,
    collection: OnceLock<Weak<CollectionStore>>,
    begun: Instant,
    /// When something was written last, in milliseconds from the beginning.
    written: AtomicU64,
}

#[derive(Debug)]
struct Running {
    duty: Duty,
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            stopping: AtomicBool::new(false),
            waiting: Default::default(),
            unmeasured: AtomicBool::new(false),
            at_work: AtomicUsize::new(0),
            collection: OnceLock::new(),
            begun: Instant::now(),
            written: AtomicU64::new(0),
        }
    }
}

impl Workers {
    /// Starts the threads, which end by themselves when the collection goes.
    pub(super) fn start(&self, collection: &Arc<CollectionStore>) -> Result<()> {
        self.stopping.store(false, Ordering::Release);
        let _ = self.collection.set(Arc::downgrade(collection));
        for duty in Duty::ALL {
            let (wake, woken) = bounded(1);
            let weak = Arc::downgrade(collection);
            let spawned = std::thread::Builder::new()
                .name(duty.thread().to_owned())
                .spawn(move || work(duty, &weak, &woken));
            let thread = spawned.map_err(|error| {
                StorageError::io("start the background threads of", &collection.dir, error)
            })?;
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.push(Running { duty, wake, thread });
        }
        Ok(())
    }

    /// Has a thread look what there is to do. What there is, it finds by itself: one waiting call is enough.
    pub(super) fn wake(&self, duty: Duty) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.iter().find(|running| running.duty == duty) {
            let _ = running.wake.try_send(());
        }
    }

    /// Whether a thread looks by itself, before long, if writing pauses.
    pub(super) fn waits_for_pause(&self, duty: Duty) -> bool {
        self.waiting_of(duty).load(Ordering::Acquire)
    }

    fn waiting_of(&self, duty: Duty) -> &AtomicBool {
        let [flush, merge, measure] = &self.waiting;
        match duty {
            Duty::Flush => flush,
            Duty::Merge => merge,
            Duty::Measure => measure,
        }
    }

    /// Notes that what was measured may no longer hold.
    pub(super) fn note_merge(&self) {
        self.unmeasured.store(true, Ordering::Release);
    }

    /// Whether the threads are being stopped: long work breaks off.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether, seen from a thread at work, no one else holds the collection: its work breaks off as well, so that the
    /// database is not kept locked by it.
    pub(super) fn abandoned(&self) -> bool {
        let at_work = self.at_work.load(Ordering::Acquire);
        self.collection
            .get()
            .is_some_and(|collection| collection.strong_count() <= at_work)
    }

    /// Whether more than one thread is at work.
    pub(super) fn several_at_work(&self) -> bool {
        self.at_work.load(Ordering::Acquire) > 1
    }

    /// Notes that something was written.
    pub(super) fn note_write(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.written.store(now, Ordering::Release);
    }

    /// Since when nothing was written.
    fn idle(&self) -> Duration {
        let written = Duration::from_millis(self.written.load(Ordering::Acquire));
        self.begun.elapsed().saturating_sub(written)
    }

    /// Ends the threads; long work breaks off at its next report.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *running);
        drop(running);
        let threads: Vec<JoinHandle<()>> = all.into_iter().map(|running| running.thread).collect();
        for thread in threads {
            // The last handle may have been dropped on one of the threads itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Holds a collection as long as a thread works on it.
struct AtWork(Arc<CollectionStore>);

impl AtWork {
    fn begin(collection: &Weak<CollectionStore>) -> Option<Self> {
        let collection = collection.upgrade()?;
        collection.workers.at_work.fetch_add(1, Ordering::AcqRel);
        Some(Self(collection))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.workers.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

fn work(duty: Duty, collection: &Weak<CollectionStore>, woken: &Receiver<()>) {
    Context::work_in_background();
    let mut waiting_since: Option<Instant> = None;
    let mut pause = PAUSE;
    loop {
        if waiting_since.is_some() {
            if woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        } else if woken.recv().is_err() {
            return;
        }
        let Some(held) = AtWork::begin(collection) else {
            return;
        };
        let (collection, workers) = (&held.0, &held.0.workers);
        if workers.stopping() {
            return;
        }
        // Writers wake the threads for what is due at once, and not for every write.
        let patience_ended = waiting_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let paused = workers.idle() >= PAUSE || patience_ended;
        match catch_unwind(AssertUnwindSafe(|| collection.maintain(duty, paused))) {
            Ok(Ok(false)) => waiting_since = None,
            Ok(Ok(true)) if paused || waiting_since.is_none() => waiting_since = Some(Instant::now()),
            Ok(Ok(true)) => {}
            Ok(Err(StorageError::Cancelled)) => return,
            // The next write tries again; one that finds the memtable full gets the error itself.
            Ok(Err(error)) => {
                tracing::warn!(collection = collection.name(), %error, "background work failed");
                crate::telemetry::background_failed(collection.name());
                waiting_since = None;
            }
            Err(_) => {
                crate::telemetry::background_failed(collection.name());
                collection.poison.set("a background thread panicked".to_owned());
                return;
            }
        }
        let rest = PAUSE.saturating_sub(workers.idle());
        pause = if rest.is_zero() { PAUSE } else { rest };
        let waiting = workers.waiting_of(duty);
        waiting.store(waiting_since.is_some(), Ordering::Release);
    }
}

impl CollectionStore {
    /// One round of background work; whether there is more to do when writing pauses.
    pub(super) fn maintain(&self, duty: Duty, paused: bool) -> Result<bool> {
        match duty {
            Duty::Flush => {
                if self.memtable_is_full(1) || self.should_flush(paused) {
                    self.flush()?;
                }
                Ok(self.should_flush(true))
            }
            Duty::Merge => {
                self.merge_as_needed()?;
                if paused {
                    if self.training_is_due() {
                        self.train_in_background()?;
                    }
                    self.settle()?;
                    if self.workers.unmeasured.swap(false, Ordering::AcqRel) {
                        self.workers.wake(Duty::Measure);
                    }
                }
                Ok(self.training_is_due() || self.is_unsettled() || !self.tidy()?)
            }
            Duty::Measure if paused => {
                self.call_settled();
                self.tidy()?;
                Ok(false)
            }
            Duty::Measure => Ok(true),
        }
    }
}
