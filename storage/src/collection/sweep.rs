//! Removes what no manifest names: leftovers of an operation that did not finish, or that did not tidy up.

use std::path::Path;

use super::load::segment_dir;
use crate::backend::{DirectoryEntry, StorageBackend};
use crate::manifest::{Manifest, manifest_number};
use crate::segment::codebook_number;
use crate::tombstones::tombstones_number;
use crate::wire::number_in_name;

/// Numbers that new files may begin at: past everything that is still there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unused {
    pub(crate) manifest: u64,
    pub(crate) segment: u64,
    pub(crate) codebook: u64,
}

/// Removes what `manifest` does not name. What cannot be removed stays, and its number is not used again.
pub(crate) fn sweep(backend: &dyn StorageBackend, dir: &Path, manifest: &Manifest) -> Unused {
    for entry in list(backend, dir) {
        let old = manifest_number(&entry.name).is_some_and(|number| number != manifest.number);
        if old || entry.name == "CURRENT.new" {
            remove(backend, dir, &entry);
        }
    }
    for entry in list(backend, &dir.join("wal")) {
        if number(&entry).is_none_or(|number| number < manifest.first_log) {
            remove(backend, &dir.join("wal"), &entry);
        }
    }
    for entry in &manifest.segments {
        let folder = segment_dir(dir, entry.id);
        for file in list(backend, &folder) {
            if tombstones_number(&file.name).is_some_and(|number| number != entry.tombstones) {
                remove(backend, &folder, &file);
            }
        }
    }
    let highest = list(backend, dir)
        .iter()
        .filter_map(|entry| manifest_number(&entry.name))
        .max();
    let manifest_number = highest.unwrap_or_default().max(manifest.number) + 1;
    let segments = manifest.segments.iter().map(|entry| entry.id).collect::<Vec<_>>();
    let segment = sweep_numbered(backend, &dir.join("segments"), &segments, number);
    let codebooks = |entry: &DirectoryEntry| codebook_number(&entry.name);
    let codebook = sweep_numbered(backend, &dir.join("codebooks"), &manifest.codebooks, codebooks);
    Unused {
        manifest: manifest_number,
        segment: segment.max(manifest.next_segment),
        codebook: codebook.max(manifest.next_codebook),
    }
}

/// Removes everything but the numbers of `keep`; returns a number past all that are left.
fn sweep_numbered(
    backend: &dyn StorageBackend,
    dir: &Path,
    keep: &[u64],
    number: impl Fn(&DirectoryEntry) -> Option<u64>,
) -> u64 {
    for entry in list(backend, dir) {
        if number(&entry).is_none_or(|number| !keep.contains(&number)) {
            remove(backend, dir, &entry);
        }
    }
    list(backend, dir)
        .iter()
        .filter_map(number)
        .max()
        .map_or(0, |number| number + 1)
}

fn number(entry: &DirectoryEntry) -> Option<u64> {
    number_in_name(&entry.name)
}

fn list(backend: &dyn StorageBackend, dir: &Path) -> Vec<DirectoryEntry> {
    backend.list(dir).unwrap_or_default()
}

fn remove(backend: &dyn StorageBackend, dir: &Path, entry: &DirectoryEntry) {
    let path = dir.join(&entry.name);
    let removed = if entry.is_dir {
        backend.remove_dir_all(&path)
    } else {
        backend.remove_file(&path)
    };
    match removed {
        Ok(()) => tracing::debug!(path = %path.display(), "removed what no manifest names"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "could not remove what no manifest names")
        }
    }
}
