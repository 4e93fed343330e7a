//! What the collections of one database share.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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

    /// The threads that build segments, started at first use.
    pub(crate) fn pool(&self) -> Result<Arc<ThreadPool>> {
        if let Some(pool) = self.pool.get() {
            return Ok(Arc::clone(pool));
        }
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.threads)
            .thread_name(|index| format!("latewood-{index}"))
            .build();
        let pool = built.map_err(|error| StorageError::InvalidOption {
            name: "threads",
            expected: "a number of threads that the system can start".to_owned(),
            got: format!("{} ({error})", self.options.threads),
        })?;
        Ok(Arc::clone(self.pool.get_or_init(|| Arc::new(pool))))
    }
}
