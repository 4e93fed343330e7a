//! What the collections of one database share.

use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;

use rayon::ThreadPool;

use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::options::StoreOptions;
use crate::resident::WatchedBackend;
use crate::segment::SegmentOptions;

/// The disk, the options, the threads and the lock of a database.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) options: StoreOptions,
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
    closed: AtomicBool,
    pool: OnceLock<Arc<ThreadPool>>,
    background: OnceLock<Arc<ThreadPool>>,
}

thread_local! {
    /// Whether this thread works in the background.
    static IN_BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

impl Context {
    pub(crate) fn new(mut options: StoreOptions, lock: Option<Box<dyn Any + Send + Sync>>) -> Self {
        let (budget, least) = (options.memory_budget_bytes, options.mapped_bytes());
        options.backend = Arc::new(WatchedBackend::new(options.backend, budget, least));
        Self {
            options,
            lock: Mutex::new(lock),
            closed: AtomicBool::new(false),
            pool: OnceLock::new(),
            background: OnceLock::new(),
        }
    }

    pub(crate) fn backend(&self) -> &Arc<dyn StorageBackend> {
        &self.options.backend
    }

    /// An error unless writes are allowed.
    pub(crate) fn writable(&self, action: &'static str) -> Result<()> {
        if self.options.read_only {
            return Err(StorageError::ReadOnly { action });
        }
        if self.closed() {
            Err(StorageError::Closed)
        } else {
            Ok(())
        }
    }

    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses writes from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets another writer open the database.
    pub(crate) fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How a segment of this number is written.
    pub(crate) fn segment_options(&self, id: u64) -> Result<SegmentOptions> {
        let mut options = SegmentOptions::new(id, self.pool()?);
        options.memory_bytes = self.options.memory_budget_bytes;
        Ok(options)
    }

    /// Has what this thread does leave a core to those who search.
    pub(crate) fn work_in_background() {
        IN_BACKGROUND.set(true);
    }

    /// The threads that build segments, started at first use: all that there may be for a caller who waits for them, one
    /// fewer, if there are several, for what is done in the background.
    pub(crate) fn pool(&self) -> Result<Arc<ThreadPool>> {
        let all = match self.options.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        if IN_BACKGROUND.get() {
            self.pool_of(&self.background, "latewood-background", (all - 1).max(1))
        } else {
            self.pool_of(&self.pool, "latewood", all)
        }
    }

    fn pool_of(
        &self,
        slot: &OnceLock<Arc<ThreadPool>>,
        name: &'static str,
        threads: usize,
    ) -> Result<Arc<ThreadPool>> {
        if let Some(pool) = slot.get() {
            return Ok(Arc::clone(pool));
        }
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |index| format!("{name}-{index}"))
            .build();
        let pool = built.map_err(|error| StorageError::InvalidOption {
            name: "threads",
            expected: "a number of threads that the system can start".to_owned(),
            got: format!("{} ({error})", self.options.threads),
        })?;
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(pool))))
    }
}
