//! A database: open, close, and its collections.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use latewood_query::{BreadthTable, CostModel, QualityTable, TunedTable};
use latewood_storage::{BackupReport, StorageError, Store};

use crate::collection::{CheckReport, Collection};
use crate::error::Error;
use crate::model_source::{EncoderSource, RerankerSource};
use crate::options::DatabaseOptions;
use crate::registry::ModelRegistry;
use crate::schema::SchemaBuilder;
use crate::threads::Threads;

/// A database directory, open. Clones share it; the last one to go closes it.
///
/// One process writes; any number may read with [`DatabaseOptions::read_only`].
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

/// What the collections of a database have in common.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) store: Store,
    pub(crate) models: ModelRegistry,
    pub(crate) threads: Threads,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) read_only: bool,
    /// The cost models of the collections, as far as they were asked for.
    pub(crate) costs: Mutex<HashMap<String, Arc<CostModel>>>,
    /// How well the plans of each collection were measured to rank.
    pub(crate) qualities: Mutex<HashMap<String, Option<Arc<QualityTable>>>>,
    /// What the collections were tuned to, as far as it was asked for.
    pub(crate) tuned: Mutex<HashMap<String, Option<Arc<TunedTable>>>>,
    /// The same of the graphs over dense vectors.
    pub(crate) breadths: Mutex<HashMap<String, Option<Arc<BreadthTable>>>>,
}

impl Database {
    /// Opens the database at `path`, and creates it if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path)
    }

    /// Options to open a database with.
    pub fn options() -> DatabaseOptions {
        DatabaseOptions::default()
    }

    pub(crate) fn open_with(path: &Path, options: DatabaseOptions) -> Result<Self, Error> {
        let store = Store::open(path, options.store())?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                store,
                models: ModelRegistry::new(options.runtime, options.threads, options.models),
                threads: Threads::new(options.threads),
                memory_budget_bytes: options.memory_budget_bytes,
                read_only: options.read_only,
                costs: Mutex::default(),
                qualities: Mutex::default(),
                tuned: Mutex::default(),
                breadths: Mutex::default(),
            }),
        })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Creates a collection. Its models are loaded: they say which vectors there are.
    pub fn create_collection(&self, name: &str, schema: SchemaBuilder) -> Result<Collection, Error> {
        let encoder = schema
            .encoder
            .as_ref()
            .map(|source| self.shared.models.add_encoder(source))
            .transpose()?;
        let reranker = schema
            .reranker
            .as_ref()
            .map(|source| self.shared.models.add_reranker(source))
            .transpose()?;
        let schema = schema.build(encoder.as_deref(), reranker.map(|r| r.identity().clone()))?;
        let store = self.shared.store.create_collection(name, schema)?;
        Ok(Collection::new(name, store, self.shared.clone()))
    }

    /// A collection that exists. Its models are loaded when they are first needed.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        let store = self.shared.store.collection(name)?;
        Ok(Collection::new(name, store, self.shared.clone()))
    }

    /// The names of the collections, in order.
    pub fn collections(&self) -> Result<Vec<String>, Error> {
        Ok(self.shared.store.collections()?)
    }

    /// Removes a collection and its files.
    pub fn drop_collection(&self, name: &str) -> Result<(), Error> {
        self.shared
            .costs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.shared
            .qualities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.shared
            .tuned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.shared
            .breadths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        Ok(self.shared.store.drop_collection(name)?)
    }

    /// Loads an encoder for every collection that was made with it, wherever its folder was then.
    pub fn add_encoder(&self, encoder: impl Into<EncoderSource>) -> Result<(), Error> {
        self.shared.models.add_encoder(&encoder.into())?;
        Ok(())
    }

    /// Loads a reranker for every collection that was made with it, wherever its folder was then.
    pub fn add_reranker(&self, reranker: impl Into<RerankerSource>) -> Result<(), Error> {
        self.shared.models.add_reranker(&reranker.into())?;
        Ok(())
    }

    /// Looks for damage in a collection, also in one that cannot be opened: with `full` every byte of every file, and that
    /// each document is found by its id; otherwise what an open reads.
    pub fn check(&self, name: &str, full: bool) -> Result<CheckReport, Error> {
        let (documents, findings) = match self.shared.store.collection(name) {
            Ok(collection) => (collection.snapshot().len(), collection.check(full)?),
            Err(error @ (StorageError::NoCollection { .. } | StorageError::VersionTooNew { .. })) => {
                return Err(error.into());
            }
            Err(_) => (0, self.shared.store.check(name)?),
        };
        Ok(CheckReport {
            collection: name.to_owned(),
            documents,
            findings,
        })
    }

    /// Copies the database, as it is now, into a folder that does not exist or is empty. Opening that folder restores it.
    /// Readers and writers go on meanwhile. With `link`, files that never change get a second name where the disk allows
    /// it, which takes neither time nor room, but shares the fate of the disk.
    ///
    /// What the planner and the token index were tuned to is not in it for a writer: `optimize` measures it again.
    pub fn backup(&self, to: impl AsRef<Path>, link: bool) -> Result<BackupReport, Error> {
        Ok(self.shared.store.backup(to, link)?)
    }

    /// Waits for the work in the background and closes the database. Handles that are left answer with an error.
    pub fn close(self) -> Result<(), Error> {
        Ok(self.shared.store.close()?)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}
