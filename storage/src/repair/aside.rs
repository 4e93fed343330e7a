//! Keeps damaged files: a repair takes nothing away that someone may still want to look at.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::backend::StorageBackend;
use crate::error::{IoContext, Result};
use crate::wire::number_in_name;

/// A folder that damaged files are kept in.
#[derive(Debug)]
pub(super) struct Aside<'a> {
    backend: &'a dyn StorageBackend,
    /// Where it is made.
    draft: PathBuf,
    /// Where it will be.
    pub(super) folder: PathBuf,
    database: PathBuf,
}

impl<'a> Aside<'a> {
    /// A new folder `damaged-N` of a database, for files of a collection.
    pub(super) fn create(backend: &'a dyn StorageBackend, database: &Path) -> Result<Self> {
        let names = backend.list(database).at("list", database)?;
        let number = |name: &str| number_in_name(name.strip_prefix("damaged-")?);
        let next = names
            .iter()
            .filter_map(|entry| number(&entry.name))
            .max()
            .unwrap_or(0)
            + 1;
        let folder = database.join(format!("damaged-{next}"));
        let draft = database.join(format!("damaged-{next}.new"));
        if backend.exists(&draft).at("look for", &draft)? {
            // Of a repair that did not finish: what it kept is all still in its place.
            backend.remove_dir_all(&draft).at("remove", &draft)?;
        }
        backend.create_dir_all(&draft).at("create", &draft)?;
        Ok(Self {
            backend,
            draft,
            folder,
            database: database.to_owned(),
        })
    }

    /// Where a file will be, while the folder is made.
    pub(super) fn draft(&self) -> &Path {
        &self.draft
    }

    /// Keeps a file, or a folder with all in it, under its path in the database. What is not there is not missed.
    pub(super) fn keep(&self, path: &Path) -> Result<()> {
        let inside = path.strip_prefix(&self.database).unwrap_or(path);
        let to = self.draft.join(inside);
        if self.backend.exists(&to).at("look for", &to)? || !self.backend.exists(path).at("look for", path)? {
            return Ok(());
        }
        if let Ok(entries) = self.backend.list(path) {
            self.backend.create_dir_all(&to).at("create", &to)?;
            for entry in entries {
                self.keep(&path.join(entry.name))?;
            }
            return self.backend.sync_dir(&to).at("sync", &to);
        }
        if let Some(parent) = to.parent() {
            self.backend.create_dir_all(parent).at("create", parent)?;
        }
        link_or_copy(self.backend, path, &to)
    }

    /// Gives the folder its name; everything in it is durable then.
    pub(super) fn finish(&self) -> Result<()> {
        self.sync(&self.draft)?;
        self.backend
            .rename(&self.draft, &self.folder)
            .at("rename", &self.draft)?;
        self.backend.sync_dir(&self.database).at("sync", &self.database)
    }

    fn sync(&self, folder: &Path) -> Result<()> {
        for entry in self.backend.list(folder).at("list", folder)? {
            if entry.is_dir {
                self.sync(&folder.join(entry.name))?;
            }
        }
        self.backend.sync_dir(folder).at("sync", folder)
    }
}

/// Gives a file a second name, which takes no room, or copies it where that is not possible.
pub(crate) fn link_or_copy(backend: &dyn StorageBackend, from: &Path, to: &Path) -> Result<()> {
    if let (Some(from), Some(to)) = (backend.native_path(from), backend.native_path(to))
        && fs::hard_link(from, to).is_ok()
    {
        return Ok(());
    }
    copy(backend, from, to)
}

/// Copies a file, durable on return.
pub(crate) fn copy(backend: &dyn StorageBackend, from: &Path, to: &Path) -> Result<()> {
    const BLOCK: usize = 1 << 20;
    let bytes = backend.map(from).at("map", from)?;
    let mut file = backend.create(to).at("create", to)?;
    for block in bytes.chunks(BLOCK) {
        file.write_all(block).at("write", to)?;
    }
    file.sync_data().at("sync", to)
}
