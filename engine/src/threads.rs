//! The threads that queries run on.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// A pool that is started by the first query: opening a database starts no thread for queries.
pub(crate) struct Threads {
    count: usize,
    pool: OnceLock<Result<ThreadPool, String>>,
}

impl Threads {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            pool: OnceLock::new(),
        }
    }

    /// The pool; none where queries run on the caller's thread alone.
    pub(crate) fn pool(&self) -> Result<Option<&ThreadPool>, Error> {
        if self.count <= 1 {
            return Ok(None);
        }
        let pool = self.pool.get_or_init(|| {
            let named = |i| format!("latewood-query-{i}");
            ThreadPoolBuilder::new()
                .num_threads(self.count)
                .thread_name(named)
                .build()
                .map_err(|e| e.to_string())
        });
        match pool {
            Ok(pool) => Ok(Some(pool)),
            Err(reason) => Err(Error::Threads {
                threads: self.count,
                reason: reason.clone(),
            }),
        }
    }
}
