//! How a database is opened.

use std::sync::Arc;

use crate::backend::{DiskBackend, StorageBackend};
use crate::error::{Result, StorageError};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// When it is on the disk (fdatasync): it survives a power loss. Concurrent writers share one sync.
    #[default]
    Sync,
    /// When the operating system has it: it survives the end of the process, however it comes, but not a power loss.
    Buffered,
    /// When it is in memory: the last megabyte may be lost with the process. What is there is always a prefix of what
    /// was written.
    None,
}

/// Who merges segments and trains codebooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintenance {
    /// Threads of the collection flush, merge and train as needed. Writers wait where these cannot keep up: for a flush once 32,768
    /// tokens wait to be coded or the memtable is full twice over, and for a second at most while log and deleted rows take
    /// more than half of what lives.
    #[default]
    Background,
    /// A full memtable is flushed by the writer that filled it; merging and training wait for `optimize`.
    Manual,
}

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Create the database if there is none. Default: true.
    pub create: bool,
    /// Open without writing anything, beside a writer or on a read-only disk. Default: false.
    pub read_only: bool,
    /// When a write is acknowledged. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// Memory that writing and pages of mapped files may hold, in bytes, at least 16 MiB. A quarter of it is the share of one
    /// collection's memtable. Default: 256 MiB.
    pub memory_budget_bytes: u64,
    /// Threads that flushes, merges and training use; 0 takes one per core. What is done in the background takes one fewer, if
    /// there are several. Default: 0.
    pub threads: usize,
    /// Who merges and trains. Default: [`Maintenance::Background`].
    pub maintenance: Maintenance,
    /// The disk. Default: the real one.
    pub backend: Arc<dyn StorageBackend>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            durability: Durability::Sync,
            memory_budget_bytes: 256 << 20,
            threads: 0,
            maintenance: Maintenance::Background,
            backend: Arc::new(DiskBackend),
        }
    }
}

impl StoreOptions {
    const MIN_BUDGET: u64 = 16 << 20;
    const MAX_THREADS: usize = 1024;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`StorageError::InvalidOption`].
    pub fn validate(&self) -> Result<()> {
        let invalid =
            |name, expected: String, got: String| Err(StorageError::InvalidOption { name, expected, got });
        if self.memory_budget_bytes < Self::MIN_BUDGET {
            let expected = format!("at least {} bytes", Self::MIN_BUDGET);
            return invalid(
                "memory_budget_bytes",
                expected,
                self.memory_budget_bytes.to_string(),
            );
        }
        if self.threads > Self::MAX_THREADS {
            return invalid(
                "threads",
                format!("at most {}", Self::MAX_THREADS),
                self.threads.to_string(),
            );
        }
        Ok(())
    }

    /// The memory that pages of mapped files may take, whatever else is in memory, before they are handed back.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.memory_budget_bytes / 16
    }

    /// The memory that a memtable may take before it is flushed.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        self.memory_budget_bytes / 4
    }
}
