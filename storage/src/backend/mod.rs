//! The disk as storage sees it, so that tests can put another one in its place.
//!
//! Everything that storage reads or writes passes through a [`StorageBackend`], except the catalog, which sled keeps on
//! its own and which can be rebuilt.

mod disk;
mod memory;

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use disk::DiskBackend;
pub use memory::MemoryBackend;

use crate::error::{IoContext, Result};
use crate::mmap::MappedFile;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The last component of its path. Names that are no UTF-8 are left out: Latewood writes none.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of a file; 0 for a directory.
    pub len: u64,
}

/// A file that is being written, from its beginning or from its end.
pub trait WritableFile: Write + Send + Debug {
    /// Makes what was written survive a power loss (fdatasync).
    ///
    /// # Errors
    /// What the operating system says; what is on the disk is unknown afterwards.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes; the next write appends there.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The disk, or the one that a test injects.
pub trait StorageBackend: Send + Sync + Debug + 'static {
    /// Creates a directory and those above it.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Whether a file or directory is there.
    ///
    /// # Errors
    /// What the operating system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Creates a new file.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one of that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;

    /// Opens a file to write at its end.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn append(&self, path: &Path) -> io::Result<Box<dyn WritableFile>>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Maps a whole file read-only.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn map(&self, path: &Path) -> io::Result<MappedFile>;

    /// The same, of a file of which parts may be copied instead, where that is possible.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn map_and_keep(&self, path: &Path) -> io::Result<MappedFile> {
        self.map(path)
    }

    /// Gives a file or directory another name, replacing a file of that name in one step.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with what is in it.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names of a directory survive a power loss.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the one-writer lock of a file, creating it, and writes this process's id into it. Released on drop.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Where a path lies on a real disk, for sled; `None` keeps the catalog in memory.
    fn native_path(&self, path: &Path) -> Option<PathBuf>;
}

/// Writes a new file and syncs it. The caller syncs its directory.
///
/// # Errors
/// [`crate::StorageError::Io`] or [`crate::StorageError::Full`]; a partly written file is removed.
pub fn write_file(backend: &dyn StorageBackend, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = backend.create(path).at("create", path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.flush())
        .at("write", path);
    let synced = written.and_then(|()| file.sync_data().at("sync", path));
    if synced.is_err() {
        let _ = backend.remove_file(path);
    }
    synced
}
