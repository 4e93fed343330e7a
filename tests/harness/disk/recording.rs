//! A disk in memory that remembers what was synced and what every unsynced change was.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latewood::backend::{DirectoryEntry, WritableFile};
use latewood::{MappedFile, StorageBackend};

/// A disk in memory. Clones share it; [`Self::fork`] is a copy.
#[derive(Clone, Debug, Default)]
pub struct RecordingDisk(Arc<Mutex<Tree>>);

/// Files and directories by number; 0 is the root.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Arc<Node>>,
    locks: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir(Names),
    File(Versions),
}

/// The names in a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) now: BTreeMap<String, usize>,
    /// What each name that has changed since the last sync has meant: first as it was synced, last as it is now.
    pub(super) unsynced: BTreeMap<String, Vec<Option<usize>>>,
    /// Those of them that a failed sync has dropped: no later one makes them durable.
    dropped: BTreeSet<String>,
}

/// What a file has held: first as it was synced, then after each change, last as it is now.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    pub(super) all: Vec<Arc<Vec<u8>>>,
    /// A failed sync has dropped what was not synced: no later one makes it durable.
    dropped: bool,
}

#[derive(Debug)]
struct RecordingFile {
    disk: RecordingDisk,
    node: usize,
}

#[derive(Debug)]
struct RecordingLock {
    disk: RecordingDisk,
    path: PathBuf,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Arc::new(Node::Dir(Names::default()))],
            locks: BTreeSet::new(),
        }
    }
}

impl Names {
    pub(super) fn set(&mut self, name: &str, node: Option<usize>) {
        let before = match node {
            Some(node) => self.now.insert(name.to_owned(), node),
            None => self.now.remove(name),
        };
        let history = self
            .unsynced
            .entry(name.to_owned())
            .or_insert_with(|| vec![before]);
        history.push(node);
        self.dropped.remove(name);
    }

    fn sync(&mut self) {
        let dropped = &self.dropped;
        self.unsynced.retain(|name, _| dropped.contains(name));
    }
}

impl Versions {
    pub(super) fn of(bytes: Arc<Vec<u8>>) -> Self {
        Self {
            all: vec![bytes],
            dropped: false,
        }
    }

    fn now(&self) -> &Arc<Vec<u8>> {
        self.all.last().expect("the first version is always there")
    }

    fn sync(&mut self) {
        if !self.dropped {
            self.all = vec![Arc::clone(self.now())];
        }
    }
}

impl Tree {
    pub(super) fn add(&mut self, node: Node) -> usize {
        self.nodes.push(Arc::new(node));
        self.nodes.len() - 1
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for component in path.components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) => {
                    at = *name
                        .to_str()
                        .and_then(|name| self.dir(at).ok()?.now.get(name))
                        .ok_or(io::ErrorKind::NotFound)?;
                }
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(at)
    }

    fn parent(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((
            self.find(parent)?,
            name.ok_or(io::ErrorKind::InvalidInput)?.to_owned(),
        ))
    }

    pub(super) fn dir(&self, node: usize) -> io::Result<&Names> {
        match &*self.nodes[node] {
            Node::Dir(names) => Ok(names),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn dir_mut(&mut self, node: usize) -> io::Result<&mut Names> {
        match Arc::make_mut(&mut self.nodes[node]) {
            Node::Dir(names) => Ok(names),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, node: usize) -> io::Result<&Versions> {
        match &*self.nodes[node] {
            Node::File(versions) => Ok(versions),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Vec<u8>)) {
        if let Node::File(versions) = Arc::make_mut(&mut self.nodes[node]) {
            let mut bytes = Vec::clone(versions.now());
            change(&mut bytes);
            versions.all.push(Arc::new(bytes));
        }
    }

    fn is_dir(&self, node: usize) -> bool {
        matches!(&*self.nodes[node], Node::Dir(_))
    }

    fn remove(&mut self, parent: usize, name: &str) -> io::Result<()> {
        let node = *self.dir(parent)?.now.get(name).ok_or(io::ErrorKind::NotFound)?;
        if self.is_dir(node) {
            let names: Vec<String> = self.dir(node)?.now.keys().cloned().collect();
            names.iter().try_for_each(|name| self.remove(node, name))?;
        }
        self.dir_mut(parent)?.set(name, None);
        Ok(())
    }
}

impl RecordingDisk {
    /// A disk with a directory that is durable.
    pub fn with_dir(dir: &Path) -> Self {
        let disk = Self::default();
        disk.create_dir_all(dir).unwrap();
        disk.after(super::Loss::Nothing).0
    }

    pub(super) fn of(tree: Tree) -> Self {
        Self(Arc::new(Mutex::new(tree)))
    }

    pub(super) fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sync of a file or directory fails: what was not synced can be read, and never becomes durable, as on Linux.
    pub fn fail_sync(&self, path: &Path) {
        let mut tree = self.tree();
        if let Ok(node) = tree.find(path) {
            match Arc::make_mut(&mut tree.nodes[node]) {
                Node::Dir(names) => names.dropped.extend(names.unsynced.keys().cloned()),
                Node::File(versions) => versions.dropped = true,
            }
        }
    }

    /// The disk as it is now, for the next process: what was not synced still is not.
    pub fn fork(&self) -> Self {
        let mut tree = self.tree().clone();
        tree.locks.clear();
        Self::of(tree)
    }
}

impl Drop for RecordingLock {
    fn drop(&mut self) {
        self.disk.tree().locks.remove(&self.path);
    }
}

impl Write for RecordingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk
            .tree()
            .change(self.node, |contents| contents.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WritableFile for RecordingFile {
    fn sync_data(&mut self) -> io::Result<()> {
        if let Node::File(versions) = Arc::make_mut(&mut self.disk.tree().nodes[self.node]) {
            versions.sync();
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.disk
            .tree()
            .change(self.node, |contents| contents.resize(len, 0));
        Ok(())
    }
}

impl StorageBackend for RecordingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let mut ancestors: Vec<&Path> = dir.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors.into_iter().skip(1) {
            if tree.find(dir).is_err() {
                let (parent, name) = tree.parent(dir)?;
                let node = tree.add(Node::Dir(Names::default()));
                tree.dir_mut(parent)?.set(&name, Some(node));
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let tree = self.tree();
        let names = tree.dir(tree.find(dir)?)?;
        let entry = |(name, node): (&String, &usize)| DirectoryEntry {
            name: name.clone(),
            is_dir: tree.is_dir(*node),
            len: tree.file(*node).map_or(0, |versions| versions.now().len() as u64),
        };
        Ok(names.now.iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.tree().find(path).is_ok())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut tree = self.tree();
        let (parent, name) = tree.parent(path)?;
        if tree.dir(parent)?.now.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = tree.add(Node::File(Versions::of(Arc::default())));
        tree.dir_mut(parent)?.set(&name, Some(node));
        drop(tree);
        Ok(Box::new(RecordingFile {
            disk: self.clone(),
            node,
        }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let node = self.tree().find(path)?;
        Ok(Box::new(RecordingFile {
            disk: self.clone(),
            node,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let tree = self.tree();
        Ok(Vec::clone(tree.file(tree.find(path)?)?.now()))
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        let tree = self.tree();
        Ok(MappedFile::from_bytes(tree.file(tree.find(path)?)?.now()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let node = tree.find(from)?;
        let ((old, from), (new, to)) = (tree.parent(from)?, tree.parent(to)?);
        tree.dir_mut(new)?.set(&to, Some(node));
        tree.dir_mut(old)?.set(&from, None);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let node = tree.find(path)?;
        tree.file(node)?;
        let (parent, name) = tree.parent(path)?;
        tree.remove(parent, &name)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let (parent, name) = tree.parent(dir)?;
        tree.remove(parent, &name)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let node = tree.find(dir)?;
        tree.dir_mut(node)?.sync();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !self.tree().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(RecordingLock {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn native_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }
}
