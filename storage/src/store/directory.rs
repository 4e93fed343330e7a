//! The directory of a database: made durable, and locked.

use std::any::Any;
use std::io;
use std::path::Path;

use crate::backend::StorageBackend;
use crate::error::{IoContext, Result, StorageError};
use crate::options::StoreOptions;

/// Creates a directory and those above it. Their names are durable on return, also where an earlier process that created
/// them was killed before it could sync them.
pub(crate) fn create_durably(backend: &dyn StorageBackend, path: &Path) -> Result<()> {
    let mut created = vec![path];
    for ancestor in path.ancestors().skip(1) {
        if ancestor.as_os_str().is_empty() || backend.exists(ancestor).at("open", ancestor)? {
            break;
        }
        created.push(ancestor);
    }
    backend.create_dir_all(path).at("create", path)?;
    for dir in created.iter().rev() {
        let parent = match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => continue,
        };
        match backend.sync_dir(parent) {
            // A folder that may be entered but not read cannot be synced either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced.at("sync", parent)?,
        }
    }
    Ok(())
}

pub(super) fn take_lock(options: &StoreOptions, path: &Path) -> Result<Box<dyn Any + Send + Sync>> {
    let file = path.join("LOCK");
    options.backend.lock(&file).map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return StorageError::io("lock", &file, error);
        }
        let holder = options
            .backend
            .read(&file)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        StorageError::Locked {
            path: path.to_owned(),
            pid: holder.and_then(|pid| pid.trim().parse().ok()),
        }
    })
}
