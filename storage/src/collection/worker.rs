//! The background thread of a collection: flushes and merges, and when writing pauses codes, trains and settles.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::CollectionStore;
use crate::error::{Result, StorageError};

/// How long writing pauses before what can wait is done, so that a long ingest is not slowed down by it.
const PAUSE: Duration = Duration::from_secs(1);
/// Where writing never pauses, what can wait is done after so long all the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collection's background thread; there may be none.
#[derive(Debug, Default)]
pub(super) struct Worker {
    running: Mutex<Option<Running>>,
    stopping: AtomicBool,
    /// It waits for a pause in writing, and need not be woken for one.
    waiting: AtomicBool,
    collection: OnceLock<Weak<CollectionStore>>,
}

#[derive(Debug)]
struct Running {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread, which ends by itself when the collection goes.
    pub(super) fn start(&self, collection: &Arc<CollectionStore>) -> Result<()> {
        self.stopping.store(false, Ordering::Release);
        let (wake, woken) = bounded(1);
        let weak = Arc::downgrade(collection);
        let _ = self.collection.set(Weak::clone(&weak));
        let spawned = std::thread::Builder::new()
            .name("latewood-worker".to_owned())
            .spawn(move || work(&weak, &woken));
        let thread = spawned
            .map_err(|error| StorageError::io("start the background thread of", &collection.dir, error))?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { wake, thread });
        Ok(())
    }

    /// Has it look what there is to do. What there is, it finds by itself: one waiting call is enough.
    pub(super) fn wake(&self) {
        if let Some(running) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = running.wake.try_send(());
        }
    }

    /// Whether it looks by itself, before long, if writing pauses.
    pub(super) fn waits_for_pause(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether the thread is being stopped: long work breaks off.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether, seen from the thread at work, no one else holds the collection: its work breaks off as well, so that the
    /// database is not kept locked by it.
    pub(super) fn abandoned(&self) -> bool {
        self.collection
            .get()
            .is_some_and(|collection| collection.strong_count() <= 1)
    }

    /// Ends the thread; long work breaks off at its next report.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { wake, thread }) = running {
            drop(wake);
            // The last handle may have been dropped on the thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn work(collection: &Weak<CollectionStore>, woken: &Receiver<()>) {
    let mut waiting_since: Option<Instant> = None;
    let mut seen = None;
    loop {
        let timed_out = if waiting_since.is_some() {
            match woken.recv_timeout(PAUSE) {
                Ok(()) => false,
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else if woken.recv().is_ok() {
            false
        } else {
            return;
        };
        let Some(collection) = collection.upgrade() else {
            return;
        };
        if collection.worker.stopping() {
            return;
        }
        // Writers wake the thread for what is due at once, and not for every write.
        let sequence = Some(collection.snapshot().sequence());
        let patience_ended = waiting_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let paused = (timed_out && sequence == seen) || patience_ended;
        seen = sequence;
        match catch_unwind(AssertUnwindSafe(|| collection.maintain(paused))) {
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
                collection.poison.set("the background thread panicked".to_owned());
                return;
            }
        }
        collection
            .worker
            .waiting
            .store(waiting_since.is_some(), Ordering::Release);
    }
}

impl CollectionStore {
    /// One round of background work; whether there is more to do when writing pauses.
    fn maintain(&self, paused: bool) -> Result<bool> {
        if self.memtable_is_full(1) || self.should_code(paused) {
            self.flush()?;
        }
        self.merge_as_needed()?;
        if paused {
            let trained = self.training_is_due() && self.train_in_background()?;
            if self.settle()? || trained {
                self.notify_settled();
            }
        }
        Ok(self.should_code(true) || self.training_is_due() || self.is_unsettled())
    }
}
