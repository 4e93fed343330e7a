//! One database: a directory, its lock, its collections and its catalog.

mod directory;
mod naming;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::backup::{Backup, BackupReport};
use crate::catalog::Catalog;
use crate::collection::{CollectionStore, Context, Finding, survey};
use crate::error::{IoContext, Result, StorageError};
use crate::options::StoreOptions;
use crate::poison::Poison;
use crate::repair::{Repairs, repair};
pub(crate) use directory::create_durably;
use directory::take_lock;

const COLLECTIONS: &str = "collections";

/// One database directory. Dropping it ends background work; when the last collection that was taken from it is dropped
/// too, another writer may open it. What was acknowledged is then as durable as [`crate::Durability`] says; only
/// [`Store::close`] reports a failure, and flushes what would make the next open slow.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    context: Arc<Context>,
    /// Held only to look and to note: who asks for a collection that is open waits for no file.
    open: Mutex<BTreeMap<String, Arc<CollectionStore>>>,
    /// Held while collections are opened, created and dropped.
    changing: Mutex<()>,
    catalog: OnceLock<Catalog>,
    closing: AtomicBool,
    /// Which collections a reopen would find became unknown.
    poison: Poison,
}

impl Store {
    /// Opens a database, creating it if the options say so.
    ///
    /// # Errors
    /// [`StorageError::NoDatabase`], [`StorageError::Locked`], [`StorageError::InvalidOption`], [`StorageError::Io`].
    pub fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        options.validate()?;
        let path = path.as_ref().to_owned();
        let backend = Arc::clone(&options.backend);
        let collections = path.join(COLLECTIONS);
        let exists = backend.exists(&collections).at("open", &path)?;
        if !exists && (options.read_only || !options.create) {
            return Err(StorageError::NoDatabase { path });
        }
        let lock = if options.read_only {
            None
        } else {
            create_durably(backend.as_ref(), &path)?;
            Some(take_lock(&options, &path)?)
        };
        if !exists {
            backend.create_dir_all(&collections).at("create", &collections)?;
        }
        let store = Self {
            path,
            context: Arc::new(Context::new(options, lock)),
            open: Mutex::default(),
            changing: Mutex::default(),
            catalog: OnceLock::new(),
            closing: AtomicBool::new(false),
            poison: Poison::default(),
        };
        store.sweep()?;
        Ok(store)
    }

    /// Makes the collections of a database whole again, or one of them: what is derived is made again, of what is damaged
    /// every whole document is kept, and the rest is told. The damaged files are kept in a new folder `damaged-N` of the
    /// database. A repair that is cut off has changed nothing; one of a whole collection does nothing.
    ///
    /// # Errors
    /// [`StorageError::NoDatabase`], [`StorageError::Locked`], [`StorageError::NoCollection`], and for each collection what
    /// its repair says: [`StorageError::Corruption`] when nothing says what it holds, [`StorageError::VersionTooNew`],
    /// [`StorageError::Full`], [`StorageError::Io`]; nothing of that collection is changed then.
    pub fn repair(path: impl AsRef<Path>, options: StoreOptions, only: Option<&str>) -> Result<Repairs> {
        let options = StoreOptions {
            create: false,
            read_only: false,
            ..options
        };
        let store = Self::open(path, options)?;
        let mut names = store.collections()?;
        if let Some(only) = only {
            if !names.iter().any(|name| name == only) {
                return Err(StorageError::NoCollection {
                    name: only.to_owned(),
                    known: names,
                });
            }
            names.retain(|name| name == only);
        }
        let repaired = names.into_iter().map(|name| {
            let report = repair(&store.context, &store.path, &name);
            (name, report)
        });
        Ok(repaired.collect())
    }

    /// Copies the database, as it is now, into a folder that does not exist or is empty; opening that folder restores it.
    /// Readers and writers go on meanwhile, in this process and in others; each collection is of one moment. With `link`,
    /// files that never change get a second name where the disk allows it, and take no room until the original drops them:
    /// a backup against mistakes, not against the loss of the disk.
    ///
    /// # Errors
    /// [`StorageError::InvalidOption`] when there is something in the folder, [`StorageError::Corruption`] when a collection
    /// is damaged, [`StorageError::Full`], [`StorageError::Io`]. The folder holds no database then.
    pub fn backup(&self, to: impl AsRef<Path>, link: bool) -> Result<BackupReport> {
        let open: Vec<Arc<CollectionStore>> = self.lock_open().values().cloned().collect();
        for collection in open {
            collection.hand_over()?;
        }
        let backup = Backup {
            backend: self.context.backend().as_ref(),
            from: &self.path,
            to: to.as_ref(),
            link,
        };
        backup.run(&self.collections()?)
    }

    /// Looks for damage in every file of a collection, whether or not it can be opened.
    ///
    /// # Errors
    /// [`StorageError::NoCollection`], [`StorageError::VersionTooNew`].
    pub fn check(&self, name: &str) -> Result<Vec<Finding>> {
        let dir = self.path.join(COLLECTIONS).join(name);
        if !is_name(name) || !self.context.backend().exists(&dir).at("open", &dir)? {
            return Err(StorageError::NoCollection {
                name: name.to_owned(),
                known: self.collections()?,
            });
        }
        survey(self.context.backend().as_ref(), &dir)
    }

    /// The database's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The options that it was opened with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.context.options
    }

    /// The names of the collections, sorted.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the directory cannot be listed.
    pub fn collections(&self) -> Result<Vec<String>> {
        let dir = self.path.join(COLLECTIONS);
        let entries = self.context.backend().list(&dir).at("list", &dir)?;
        Ok(entries
            .into_iter()
            .filter(|entry| entry.is_dir && is_name(&entry.name))
            .map(|entry| entry.name)
            .collect())
    }

    /// A collection; the same one for every call.
    ///
    /// # Errors
    /// [`StorageError::NoCollection`], [`StorageError::Corruption`], [`StorageError::VersionTooNew`],
    /// [`StorageError::Io`].
    pub fn collection(&self, name: &str) -> Result<Arc<CollectionStore>> {
        if let Some(collection) = self.opened(name)? {
            return Ok(collection);
        }
        let _alone = self.lock_changing();
        // Someone may have opened it meanwhile.
        if let Some(collection) = self.opened(name)? {
            return Ok(collection);
        }
        let dir = self.path.join(COLLECTIONS).join(name);
        if !is_name(name) || !self.context.backend().exists(&dir).at("open", &dir)? {
            return Err(StorageError::NoCollection {
                name: name.to_owned(),
                known: self.collections()?,
            });
        }
        let collection = CollectionStore::open(Arc::clone(&self.context), name, dir)?;
        self.lock_open().insert(name.to_owned(), Arc::clone(&collection));
        Ok(collection)
    }

    /// A collection that is open.
    fn opened(&self, name: &str) -> Result<Option<Arc<CollectionStore>>> {
        let open = self.lock_open();
        if self.context.closed() || self.closing.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        Ok(open.get(name).map(Arc::clone))
    }

    /// The catalog, opened at first use. A database that is open read-only has a copy in memory of what a writer left.
    ///
    /// # Errors
    /// What opening a collection says, as it is caught up with all of them.
    pub fn catalog(&self) -> Result<&Catalog> {
        if let Some(catalog) = self.catalog.get() {
            return Ok(catalog);
        }
        let names = self.collections()?;
        let collections = names
            .iter()
            .map(|name| self.collection(name))
            .collect::<Result<Vec<_>>>()?;
        Ok(self.catalog.get_or_init(|| {
            let dir = self.path.join("catalog");
            let catalog = match self.context.backend().native_path(&dir) {
                Some(dir) if self.context.options.read_only => Catalog::open_read_only(&dir),
                Some(dir) => Catalog::open(&dir),
                None => Catalog::in_memory(),
            };
            catalog.catch_up(collections.iter().map(AsRef::as_ref));
            catalog
        }))
    }

    /// Bytes of the catalog on the disk.
    #[must_use]
    pub fn catalog_bytes(&self) -> u64 {
        let entries = self
            .context
            .backend()
            .list(&self.path.join("catalog"))
            .unwrap_or_default();
        entries.iter().map(|entry| entry.len).sum()
    }

    /// Ends the database: background work stops, everything is durable, another writer may open it. Handles that are
    /// still around can read, not write.
    ///
    /// # Errors
    /// The first failure of a last flush or sync; the database is closed all the same.
    pub fn close(&self) -> Result<()> {
        let open = {
            let _alone = self.lock_changing();
            let mut open = self.lock_open();
            // Work in the background must not open a collection again that is being closed.
            self.closing.store(true, Ordering::Release);
            std::mem::take(&mut *open)
        };
        let results: Vec<Result<()>> = open.values().map(|collection| collection.close()).collect();
        self.context.close();
        self.context.unlock();
        results.into_iter().collect()
    }

    fn lock_changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CollectionStore>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A thread at work would hold its collection, and with it the lock, beyond the last handle.
        for collection in self.lock_open().values() {
            collection.stop_background();
        }
    }
}

/// Names are folders, also where case does not count and where some are devices; so they are kept plain.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
}
