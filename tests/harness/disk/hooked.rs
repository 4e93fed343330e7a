//! A disk that tells of every call before and after it is made.

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use latewood::backend::{DirectoryEntry, WritableFile};
use latewood::{MappedFile, StorageBackend};

/// The calls of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// A directory is created.
    CreateDir,
    /// A directory is listed.
    List,
    /// Whether something exists.
    Exists,
    /// A file is created.
    Create,
    /// A file is opened to write at its end.
    Append,
    /// A file is read.
    Read,
    /// A file is mapped.
    Map,
    /// A name is changed.
    Rename,
    /// A file is removed.
    RemoveFile,
    /// A directory is removed.
    RemoveDir,
    /// The names of a directory are synced.
    SyncDir,
    /// The lock is taken.
    Lock,
    /// Bytes are written.
    Write,
    /// A file is synced.
    Sync,
    /// A file is cut.
    Truncate,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::CreateDir,
        Self::List,
        Self::Exists,
        Self::Create,
        Self::Append,
        Self::Read,
        Self::Map,
        Self::Rename,
        Self::RemoveFile,
        Self::RemoveDir,
        Self::SyncDir,
        Self::Lock,
        Self::Write,
        Self::Sync,
        Self::Truncate,
    ];

    /// Whether it changes what is on the disk, or makes a change durable.
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Self::List | Self::Exists | Self::Append | Self::Read | Self::Map | Self::Lock
        )
    }

    /// Whether it may find the disk full.
    pub fn may_need_room(self) -> bool {
        self.needs_room() || matches!(self, Self::Rename | Self::SyncDir | Self::Lock)
    }

    /// Whether it always needs room on the disk.
    pub fn needs_room(self) -> bool {
        matches!(self, Self::CreateDir | Self::Create | Self::Write | Self::Sync)
    }
}

/// What is told of every call.
pub trait Hook: Send + Sync + Debug + 'static {
    /// Before a call; an error takes its place. Of `len` bytes to be written as many are as it says.
    fn before(&self, call: Call, path: &Path, len: usize) -> io::Result<usize> {
        let _ = (call, path);
        Ok(len)
    }

    /// After a call that did not fail.
    fn after(&self, call: Call, path: &Path) {
        let _ = (call, path);
    }
}

/// A disk and its hook. Clones share both.
#[derive(Clone, Debug)]
pub struct HookedDisk {
    inner: Arc<dyn StorageBackend>,
    hook: Arc<dyn Hook>,
}

#[derive(Debug)]
struct HookedFile {
    inner: Box<dyn WritableFile>,
    hook: Arc<dyn Hook>,
    path: PathBuf,
}

impl HookedDisk {
    /// A disk that tells `hook` of its calls.
    pub fn new(inner: Arc<dyn StorageBackend>, hook: Arc<dyn Hook>) -> Self {
        Self { inner, hook }
    }

    fn call<T>(
        &self,
        call: Call,
        path: &Path,
        f: impl FnOnce(&dyn StorageBackend) -> io::Result<T>,
    ) -> io::Result<T> {
        self.hook.before(call, path, 0)?;
        let done = f(self.inner.as_ref())?;
        self.hook.after(call, path);
        Ok(done)
    }

    fn file(&self, inner: Box<dyn WritableFile>, path: &Path) -> Box<dyn WritableFile> {
        Box::new(HookedFile {
            inner,
            hook: Arc::clone(&self.hook),
            path: path.to_owned(),
        })
    }
}

impl Write for HookedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.hook.before(Call::Write, &self.path, bytes.len())?;
        let written = self.inner.write(&bytes[..len.min(bytes.len())])?;
        self.hook.after(Call::Write, &self.path);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl WritableFile for HookedFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.hook.before(Call::Sync, &self.path, 0)?;
        self.inner.sync_data()?;
        self.hook.after(Call::Sync, &self.path);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.hook.before(Call::Truncate, &self.path, 0)?;
        self.inner.truncate(len)?;
        self.hook.after(Call::Truncate, &self.path);
        Ok(())
    }
}

impl StorageBackend for HookedDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call(Call::CreateDir, dir, |disk| disk.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.call(Call::List, dir, |disk| disk.list(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Call::Exists, path, |disk| disk.exists(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let file = self.call(Call::Create, path, |disk| disk.create(path))?;
        Ok(self.file(file, path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let file = self.call(Call::Append, path, |disk| disk.append(path))?;
        Ok(self.file(file, path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call(Call::Read, path, |disk| disk.read(path))
    }

    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        self.call(Call::Map, path, |disk| disk.map(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, from, |disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Call::RemoveFile, path, |disk| disk.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call(Call::RemoveDir, dir, |disk| disk.remove_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Call::SyncDir, dir, |disk| disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.call(Call::Lock, path, |disk| disk.lock(path))
    }

    fn native_path(&self, path: &Path) -> Option<PathBuf> {
        self.inner.native_path(path)
    }
}
