//! Collections come and go by a change of their folder's name: whole, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{COLLECTIONS, Store, is_name};
use crate::collection::CollectionStore;
use crate::error::{IoContext, Result, StorageError};
use crate::schema::Schema;

const CREATING: &str = ".creating";
const DROPPING: &str = ".dropping";

impl Store {
    /// Creates an empty collection, durable on return.
    ///
    /// # Errors
    /// [`StorageError::InvalidName`], [`StorageError::InvalidSchema`], [`StorageError::CollectionExists`],
    /// [`StorageError::ReadOnly`], [`StorageError::Full`], [`StorageError::Io`]: there is no such collection then. After a
    /// failed sync [`StorageError::Poisoned`], until the database is opened again.
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Arc<CollectionStore>> {
        self.context.writable("create a collection")?;
        check_name(name)?;
        schema.validate()?;
        self.poison.check()?;
        let alone = self.lock_changing();
        let backend = self.context.backend();
        let (dir, draft) = self.names(name, CREATING);
        if backend.exists(&dir).at("open", &dir)? {
            return Err(StorageError::CollectionExists {
                name: name.to_owned(),
            });
        }
        if backend.exists(&draft).at("open", &draft)? {
            backend.remove_dir_all(&draft).at("remove", &draft)?;
        }
        CollectionStore::create(&self.context, &draft, &schema)
            .and_then(|()| backend.rename(&draft, &dir).at("rename", &draft))
            .inspect_err(|_| drop(backend.remove_dir_all(&draft)))?;
        let collection = self
            .sync_names()
            .and_then(|()| CollectionStore::open(Arc::clone(&self.context), name, dir.clone()))
            .inspect_err(|error| {
                if self.rename_back(&dir, &draft, error) {
                    let _ = backend.remove_dir_all(&draft);
                }
            })?;
        self.lock_open().insert(name.to_owned(), Arc::clone(&collection));
        drop(alone);
        if let Some(catalog) = self.catalog.get() {
            catalog.catch_up_one(&collection);
        }
        Ok(collection)
    }

    /// Removes a collection with everything in it. Snapshots that are held stay readable.
    ///
    /// # Errors
    /// [`StorageError::NoCollection`], [`StorageError::ReadOnly`], [`StorageError::Io`]: the collection is as it was. After
    /// a failed sync both it and the database are [`StorageError::Poisoned`] until the database is opened again.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.context.writable("drop a collection")?;
        self.poison.check()?;
        // It may wait for the lock that is taken next.
        let dropped = self.lock_open().get(name).cloned();
        if let Some(collection) = dropped {
            collection.stop_background();
        }
        let alone = self.lock_changing();
        let backend = self.context.backend();
        let (dir, doomed) = self.names(name, DROPPING);
        if !is_name(name) || !backend.exists(&dir).at("open", &dir)? {
            return Err(StorageError::NoCollection {
                name: name.to_owned(),
                known: self.collections()?,
            });
        }
        if backend.exists(&doomed).at("open", &doomed)? {
            backend.remove_dir_all(&doomed).at("remove", &doomed)?;
        }
        // The new name is the point of no return: what is left under it is removed now or at the next open.
        let rename = || {
            backend.rename(&dir, &doomed).at("rename", &dir)?;
            self.sync_names().inspect_err(|error| {
                self.rename_back(&doomed, &dir, error);
            })
        };
        let opened = self.lock_open().get(name).cloned();
        match opened {
            Some(collection) => collection.drop_by(rename)?,
            None => rename()?,
        }
        self.lock_open().remove(name);
        if let Err(error) = backend.remove_dir_all(&doomed) {
            tracing::warn!(path = %doomed.display(), %error, "a dropped collection is removed at the next open");
        }
        drop(alone);
        if let Some(catalog) = self.catalog.get() {
            catalog.remove(name);
        }
        Ok(())
    }

    /// Removes what creating or dropping a collection left behind. First the names are made durable as they are: an earlier
    /// process may have been killed before it could, and what they say now is built upon.
    pub(super) fn sweep(&self) -> Result<()> {
        if self.context.options.read_only {
            return Ok(());
        }
        let (backend, dir) = (self.context.backend(), self.path.join(COLLECTIONS));
        backend.sync_dir(&self.path).at("sync", &self.path)?;
        backend.sync_dir(&dir).at("sync", &dir)?;
        for entry in backend.list(&dir).unwrap_or_default() {
            if entry.name.ends_with(CREATING) || entry.name.ends_with(DROPPING) {
                let _ = backend.remove_dir_all(&dir.join(&entry.name));
            }
        }
        Ok(())
    }

    /// The folder of a collection, and the one that it has before or after its life.
    fn names(&self, name: &str, suffix: &str) -> (PathBuf, PathBuf) {
        let parent = self.path.join(COLLECTIONS);
        (parent.join(name), parent.join(format!("{name}{suffix}")))
    }

    fn sync_names(&self) -> Result<()> {
        let parent = self.path.join(COLLECTIONS);
        self.context.backend().sync_dir(&parent).at("sync", &parent)
    }

    /// Takes back a change of name after an error; whether that is durable. Where it is not, it is unknown which name a reopen
    /// would find, and what is under it must stay whole.
    fn rename_back(&self, from: &Path, to: &Path, error: &StorageError) -> bool {
        let back = self.context.backend().rename(from, to).at("rename", from);
        let durable = back.and_then(|()| self.sync_names()).is_ok() && !error.is_failed_sync();
        if !durable {
            self.poison.set(error.to_string());
        }
        durable
    }
}

fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        Ok(())
    } else {
        Err(StorageError::InvalidName {
            name: name.to_owned(),
        })
    }
}
