//! Options of a database: every tunable, its unit in its name, its default and why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use latewood_storage::{DiskBackend, Durability, Maintenance, Repairs, StorageBackend, Store, StoreOptions};

use crate::database::Database;
use crate::error::Error;

/// How to open a database.
///
/// ```
/// # fn main() -> Result<(), latewood::Error> {
/// # let folder = std::env::temp_dir().join("latewood-doc-options");
/// use latewood::{Database, Durability};
/// let db = Database::options()
///     .durability(Durability::Buffered)
///     .memory_budget_bytes(256 << 20)
///     .threads(2)
///     .open(&folder)?;
/// # drop(db);
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) durability: Durability,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) maintenance: Maintenance,
    pub(crate) threads: usize,
    pub(crate) runtime: Option<PathBuf>,
    pub(crate) models: Vec<PathBuf>,
    pub(crate) backend: Arc<dyn StorageBackend>,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        const MEMORY_BUDGET_BYTES: u64 = 512 << 20;
        Self {
            create: true,
            read_only: false,
            durability: Durability::Sync,
            memory_budget_bytes: MEMORY_BUDGET_BYTES,
            maintenance: Maintenance::Background,
            threads: available_parallelism().map_or(1, usize::from),
            runtime: None,
            models: Vec::new(),
            backend: Arc::new(DiskBackend),
        }
    }
}

impl DatabaseOptions {
    /// Makes the collections of the database at `path` whole again, or one of them: what is derived is made again, of what is
    /// damaged every whole document is kept, and the report tells the rest. The damaged files are kept in a new folder
    /// `damaged-N` of the database. A repair that is cut off has changed nothing; a whole collection is left as it is.
    ///
    /// # Errors
    /// When there is no database, a writer has it open, or there is no such collection; and for each collection, when
    /// nothing says what it holds or the disk fails. Nothing of that collection is changed then.
    pub fn repair(self, path: impl AsRef<Path>, collection: Option<&str>) -> Result<Repairs<Error>, Error> {
        let repaired = Store::repair(path, self.store(), collection)?;
        let report = |(name, report): (String, Result<_, _>)| (name, report.map_err(Error::from));
        Ok(repaired.into_iter().map(report).collect())
    }

    pub(crate) fn store(&self) -> StoreOptions {
        StoreOptions {
            create: self.create,
            read_only: self.read_only,
            durability: self.durability,
            memory_budget_bytes: self.memory_budget_bytes,
            threads: self.threads,
            maintenance: self.maintenance,
            backend: Arc::clone(&self.backend),
        }
    }

    /// Whether a database that is not there is created. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens without the writer's lock and without writing anything. Default: no.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// When a write counts as done. Default: [`Durability::Sync`], on the disk.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Memory for memtables, ingest buffers, building of indexes, and pages of mapped files, which are handed back to the
    /// system before there are too many (on Linux). A smaller budget than the files of a collection makes its queries slower.
    /// Default: 512 MiB.
    #[must_use]
    pub fn memory_budget_bytes(mut self, bytes: u64) -> Self {
        self.memory_budget_bytes = bytes;
        self
    }

    /// Who merges segments and trains codebooks. Default: [`Maintenance::Background`], a thread of the collection.
    #[must_use]
    pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Threads for encoding, building and searching. What is done in the background takes one fewer, if there are several, and
    /// leaves a core to queries. Default: as many as the machine offers.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The ONNX Runtime library that runs the models; without one they run in pure Rust. A process has one runtime,
    /// chosen when its first model is loaded.
    #[must_use]
    pub fn onnxruntime(mut self, library: impl Into<PathBuf>) -> Self {
        self.runtime = Some(library.into());
        self
    }

    /// A folder from which the models may be loaded that collections name: a model's own, or one with several in it. May be
    /// called more than once. Without it the built-in models are loaded, and those that are given in code, by
    /// [`add_encoder`](Database::add_encoder) and the like; no other folder is read because a database says so.
    #[must_use]
    pub fn models(mut self, folder: impl Into<PathBuf>) -> Self {
        self.models.push(folder.into());
        self
    }

    /// The disk that the database lies on: [`MemoryBackend`](crate::MemoryBackend) for one that need not last, or one of your
    /// own that fails, counts or records. Default: the operating system's.
    #[must_use]
    pub fn backend(mut self, backend: Arc<dyn StorageBackend>) -> Self {
        self.backend = backend;
        self
    }

    /// Opens the database directory at `path`.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database, Error> {
        Database::open_with(path.as_ref(), self)
    }
}
