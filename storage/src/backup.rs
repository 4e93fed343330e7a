//! A copy of a live database in another folder: what a manifest names, and the logs behind it.
//!
//! Nothing waits: files that may be mapped never change, so they are linked where the disk allows it and copied where not;
//! logs only grow, and are copied. A manifest that is replaced meanwhile, with the files that it alone named, makes the
//! collection be copied again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::backend::StorageBackend;
use crate::collection::{codebook_path, load_locked, segment_dir};
use crate::error::{IoContext, Result, StorageError};
use crate::manifest::{current_path, manifest_path, read_manifest};
use crate::repair::{copy, link_or_copy};
use crate::segment::Codebook;
use crate::store::create_durably;
use crate::tombstones::tombstones_path;
use crate::wal::log_path;
use crate::wire::number_in_name;

/// How often a collection is begun again when a writer replaces its files.
const ATTEMPTS: u32 = 20;

/// What was backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// The new database.
    pub path: PathBuf,
    /// The collections, and how many live documents each has in the copy.
    pub collections: Vec<(String, u64)>,
}

/// A backup on its way.
pub(crate) struct Backup<'a> {
    pub(crate) backend: &'a dyn StorageBackend,
    pub(crate) from: &'a Path,
    pub(crate) to: &'a Path,
    /// Whether files may share their bytes with the original.
    pub(crate) link: bool,
}

impl Backup<'_> {
    /// Copies the collections of these names. The folder becomes a database when all are whole.
    pub(crate) fn run(&self, names: &[String]) -> Result<BackupReport> {
        let taken = self
            .backend
            .list(self.to)
            .is_ok_and(|entries| !entries.is_empty());
        if taken {
            return Err(StorageError::InvalidOption {
                name: "backup folder",
                expected: "a folder that does not exist, or is empty".to_owned(),
                got: self.to.display().to_string(),
            });
        }
        let (draft, whole) = (self.to.join("collections.new"), self.to.join("collections"));
        create_durably(self.backend, self.to)?;
        self.backend.create_dir_all(&draft).at("create", &draft)?;
        let copied = self.collections(names, &draft);
        if copied.is_err() {
            let _ = self.backend.remove_dir_all(&draft);
        }
        let collections = copied?;
        self.catalog()?;
        self.backend.sync_dir(&draft).at("sync", &draft)?;
        self.backend.rename(&draft, &whole).at("rename", &draft)?;
        self.backend.sync_dir(self.to).at("sync", self.to)?;
        Ok(BackupReport {
            path: self.to.to_owned(),
            collections,
        })
    }

    fn collections(&self, names: &[String], draft: &Path) -> Result<Vec<(String, u64)>> {
        let mut collections = Vec::new();
        for name in names {
            let (from, to) = (self.from.join("collections").join(name), draft.join(name));
            self.collection(&from, &to)?;
            // It is opened once: a backup that cannot be restored is none.
            let documents = load_locked(self.backend, &to)?.snapshot.len();
            collections.push((name.clone(), documents));
        }
        Ok(collections)
    }

    fn collection(&self, from: &Path, to: &Path) -> Result<()> {
        for attempt in 1..ATTEMPTS {
            match self.once(from, to) {
                Ok(number) if read_manifest(self.backend, from)?.0.number == number => return Ok(()),
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
            self.backend.remove_dir_all(to).at("remove", to)?;
            std::thread::sleep(Duration::from_millis(u64::from(attempt)));
        }
        self.once(from, to).map(drop)
    }

    /// Copies what the manifest in force names; returns its number.
    fn once(&self, from: &Path, to: &Path) -> Result<u64> {
        for folder in ["wal", "segments", "codebooks"] {
            let path = to.join(folder);
            self.backend.create_dir_all(&path).at("create", &path)?;
        }
        let (manifest, _) = read_manifest(self.backend, from)?;
        // The last log may grow while it is copied; one that comes after this list is left out.
        let wal = from.join("wal");
        let logs = self.backend.list(&wal).at("list", &wal)?;
        let logs = logs.iter().filter_map(|entry| number_in_name(&entry.name));
        for number in logs.filter(|number| *number >= manifest.first_log) {
            copy(self.backend, &log_path(from, number), &log_path(to, number))?;
        }
        for entry in &manifest.segments {
            let (source, target) = (segment_dir(from, entry.id), segment_dir(to, entry.id));
            self.backend.create_dir_all(&target).at("create", &target)?;
            for file in self.backend.list(&source).at("list", &source)? {
                if !file.name.starts_with("tombstones-") {
                    self.file(&source.join(&file.name), &target.join(&file.name))?;
                }
            }
            if entry.tombstones != 0 {
                let of = |folder: &Path| tombstones_path(folder, entry.tombstones);
                self.file(&of(&source), &of(&target))?;
            }
            self.backend.sync_dir(&target).at("sync", &target)?;
        }
        for id in &manifest.codebooks {
            Codebook::open(self.backend, &codebook_path(from, *id))?
                .write(self.backend, &codebook_path(to, *id))?;
        }
        self.file(
            &manifest_path(from, manifest.number),
            &manifest_path(to, manifest.number),
        )?;
        self.file(&current_path(from), &current_path(to))?;
        for folder in ["wal", "segments", "codebooks"] {
            let path = to.join(folder);
            self.backend.sync_dir(&path).at("sync", &path)?;
        }
        self.backend.sync_dir(to).at("sync", to)?;
        Ok(manifest.number)
    }

    /// The values of the catalog that any process may read. sled's own files cannot be copied while they are written.
    fn catalog(&self) -> Result<()> {
        let (from, to) = (self.from.join("catalog/readers"), self.to.join("catalog/readers"));
        let Ok(entries) = self.backend.list(&from) else {
            return Ok(());
        };
        self.backend.create_dir_all(&to).at("create", &to)?;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            // It is a copy of a copy: what goes missing is measured again.
            let _ = copy(self.backend, &from.join(&entry.name), &to.join(&entry.name));
        }
        Ok(())
    }

    fn file(&self, from: &Path, to: &Path) -> Result<()> {
        if self.link {
            link_or_copy(self.backend, from, to)
        } else {
            copy(self.backend, from, to)
        }
    }
}
