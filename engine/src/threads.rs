//! The threads that queries run on.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// A pool that is started by the first query that asks for it: opening a database starts no thread.
pub(crate) struct Threads {
    count: usize,
    pool: OnceLock<Result<ThreadPool, String>>,
}

impl Threads {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, pool: OnceLock::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `work` where rayon finds the pool.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let pool = self.pool.get_or_init(|| {
            let named = |i| format!("latewood-query-{i}");
            ThreadPoolBuilder::new().num_threads(self.count).thread_name(named).build().map_err(|e| e.to_string())
        });
        match pool {
            Ok(pool) => Ok(pool.install(work)),
            Err(reason) => Err(Error::Threads { threads: self.count, reason: reason.clone() }),
        }
    }
}
