//! A disk in memory, for tests and for databases that need not last.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DirectoryEntry, StorageBackend, WritableFile};
use crate::mmap::MappedFile;

/// Files in memory. Clones share them, so that a database can be closed and opened again.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend(Arc<Mutex<Tree>>);

type Contents = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Contents>,
    dirs: BTreeSet<PathBuf>,
    locks: HashSet<PathBuf>,
}

#[derive(Debug)]
struct MemoryFile(Contents);

#[derive(Debug)]
struct MemoryLock {
    tree: MemoryBackend,
    path: PathBuf,
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        hold(&self.tree.0).locks.remove(&self.path);
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        hold(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WritableFile for MemoryFile {
    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        hold(&self.0).resize(len, 0);
        Ok(())
    }
}

impl MemoryBackend {
    /// Bytes of all files.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        let tree = hold(&self.0);
        tree.files.values().map(|file| hold(file).len() as u64).sum()
    }

    fn contents(&self, path: &Path) -> io::Result<Contents> {
        hold(&self.0)
            .files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A copy of every file as it is now: what a disk would hold if the process stopped here.
    #[must_use]
    pub fn image(&self) -> Self {
        let tree = hold(&self.0);
        let files = tree.files.iter().map(|(path, contents)| {
            let copy = Arc::new(Mutex::new(hold(contents).clone()));
            (path.clone(), copy)
        });
        let copy = Tree {
            files: files.collect(),
            dirs: tree.dirs.clone(),
            locks: HashSet::new(),
        };
        Self(Arc::new(Mutex::new(copy)))
    }
}

impl StorageBackend for MemoryBackend {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = hold(&self.0);
        tree.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let tree = hold(&self.0);
        if !tree.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name_of = |path: &Path| {
            let inside = path.parent() == Some(dir);
            inside
                .then(|| path.file_name()?.to_str().map(str::to_owned))
                .flatten()
        };
        let dirs = tree.dirs.iter().filter_map(|path| {
            Some(DirectoryEntry {
                name: name_of(path)?,
                is_dir: true,
                len: 0,
            })
        });
        let files = tree.files.iter().filter_map(|(path, contents)| {
            Some(DirectoryEntry {
                name: name_of(path)?,
                is_dir: false,
                len: hold(contents).len() as u64,
            })
        });
        let mut entries: Vec<_> = dirs.chain(files).collect();
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let tree = hold(&self.0);
        Ok(tree.files.contains_key(path) || tree.dirs.contains(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut tree = hold(&self.0);
        if !path.parent().is_some_and(|dir| tree.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if tree.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let contents = Contents::default();
        tree.files.insert(path.to_owned(), Arc::clone(&contents));
        Ok(Box::new(MemoryFile(contents)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        Ok(Box::new(MemoryFile(self.contents(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let contents = self.contents(path)?;
        let bytes = hold(&contents).clone();
        Ok(bytes)
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        let contents = self.contents(path)?;
        let mapped = MappedFile::from_bytes(&hold(&contents));
        Ok(mapped)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = hold(&self.0);
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| join(to, rest));
        let files: Vec<_> = tree
            .files
            .keys()
            .filter_map(|path| Some((path.clone(), moved(path)?)))
            .collect();
        let dirs: Vec<_> = tree
            .dirs
            .iter()
            .filter_map(|path| Some((path.clone(), moved(path)?)))
            .collect();
        if files.is_empty() && dirs.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (old, new) in files {
            if let Some(contents) = tree.files.remove(&old) {
                tree.files.insert(new, contents);
            }
        }
        for (old, new) in dirs {
            tree.dirs.remove(&old);
            tree.dirs.insert(new);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        hold(&self.0)
            .files
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = hold(&self.0);
        if !tree.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        tree.files.retain(|path, _| !path.starts_with(dir));
        tree.dirs.retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut tree = hold(&self.0);
        if !tree.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock {
            tree: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn native_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }
}

// `join` with an empty rest would add a separator.
fn join(to: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        to.to_owned()
    } else {
        to.join(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::DiskBackend;

    /// What both backends must do alike.
    fn behaves(backend: &dyn StorageBackend, root: &Path) {
        backend.create_dir_all(&root.join("a/b")).unwrap();
        let file = root.join("a/b/f");
        let mut out = backend.create(&file).unwrap();
        out.write_all(b"hello world").unwrap();
        out.truncate(5).unwrap();
        out.write_all(b"!").unwrap();
        out.sync_data().unwrap();
        assert_eq!(
            backend.create(&file).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(backend.read(&file).unwrap(), b"hello!");
        assert_eq!(&*backend.map(&file).unwrap(), b"hello!");
        let names: Vec<_> = backend
            .list(&root.join("a"))
            .unwrap()
            .into_iter()
            .map(|e| (e.name, e.is_dir))
            .collect();
        assert_eq!(names, [("b".to_owned(), true)]);
        backend.rename(&root.join("a"), &root.join("c")).unwrap();
        assert!(!backend.exists(&file).unwrap());
        let moved = root.join("c/b/f");
        backend.append(&moved).unwrap().write_all(b"?").unwrap();
        assert_eq!(backend.read(&moved).unwrap(), b"hello!?");
        assert_eq!(backend.list(&root.join("c/b")).unwrap()[0].len, 7);
        let lock = backend.lock(&root.join("LOCK")).unwrap();
        assert_eq!(
            backend.lock(&root.join("LOCK")).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(lock);
        backend.lock(&root.join("LOCK")).unwrap();
        backend.sync_dir(&root.join("c")).unwrap();
        backend.remove_dir_all(&root.join("c")).unwrap();
        assert_eq!(backend.read(&moved).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            backend.list(&root.join("c")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            backend.remove_file(&moved).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn disk_and_memory_behave_alike() {
        let dir = tempfile::tempdir().unwrap();
        behaves(&DiskBackend, dir.path());
        let memory = MemoryBackend::default();
        memory.create_dir_all(Path::new("/db")).unwrap();
        behaves(&memory, Path::new("/db"));
    }
}
