//! The one function that makes a new set of files durable and visible.

use std::path::Path;

use crate::backend::{StorageBackend, write_file};
use crate::error::{IoContext, Result, StorageError};
use crate::manifest::{Current, Manifest, current_path, manifest_path};

/// Why a manifest was not published.
#[derive(Debug)]
pub(crate) struct PublishError {
    pub(crate) error: StorageError,
    /// Which manifest a reopened collection would find is unknown.
    pub(crate) uncertain: bool,
}

/// Puts `manifest` in force. Every file that it names is durable already.
pub(crate) fn publish(
    backend: &dyn StorageBackend,
    collection: &Path,
    manifest: &Manifest,
) -> Result<(), PublishError> {
    let (current, new) = (current_path(collection), collection.join("CURRENT.new"));
    let path = manifest_path(collection, manifest.number);

    let prepared = manifest.encode().and_then(|bytes| {
        write_file(backend, &path, &bytes)?;
        let pointer = Current::to(manifest.number, bytes).encode();
        write_file(backend, &new, &pointer)?;
        backend.sync_dir(collection).at("sync", collection)
    });
    let withdraw = |error: StorageError| {
        let _ = backend.remove_file(&new);
        let removed = backend.remove_file(&path).is_ok() || !backend.exists(&path).unwrap_or(true);
        PublishError {
            uncertain: !removed || error.is_failed_sync(),
            error,
        }
    };
    prepared.map_err(withdraw)?;
    match backend.rename(&new, &current).at("rename", &new) {
        Ok(()) => {}
        // Nothing was renamed: what was in force still is.
        Err(error @ StorageError::Full { .. }) => return Err(withdraw(error)),
        Err(error) => {
            return Err(PublishError {
                error,
                uncertain: true,
            });
        }
    }
    backend
        .sync_dir(collection)
        .at("sync", collection)
        .map_err(|error| PublishError {
            error,
            uncertain: true,
        })
}
