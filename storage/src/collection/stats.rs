//! What a collection holds and what it costs on the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CollectionStore;
use super::fit::raw_tokens;
use crate::error::{IoContext, Result};
use crate::manifest::manifest_number;
use crate::tombstones::tombstones_number;

/// What a collection holds and what it costs on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StorageStats {
    /// Live documents.
    pub documents: u64,
    /// Deleted and replaced documents that still take room.
    pub deleted: u64,
    /// Tokens, those of deleted documents in segments included.
    pub tokens: u64,
    /// Tokens that are not coded: those of the memtable, and those that wait in segments for a codebook that fits them.
    pub raw_tokens: u64,
    /// Segments.
    pub segments: usize,
    /// Documents that are in the log and in memory only.
    pub memtable_documents: usize,
    /// Bytes on the disk by component: the files of segments, and `wal`, `manifest`, `codebook`, `tombstones`.
    pub bytes: BTreeMap<&'static str, u64>,
    /// The last commit.
    pub last_sequence: u64,
}

impl CollectionStore {
    /// Counts, and bytes on the disk by component.
    ///
    /// # Errors
    /// [`crate::StorageError::Io`] when a folder cannot be listed.
    pub fn stats(&self) -> Result<StorageStats> {
        let snapshot = self.snapshot();
        let backend = self.context.backend().as_ref();
        let list = |dir: &Path| backend.list(dir).at("list", dir);
        let mut bytes: BTreeMap<&'static str, u64> = BTreeMap::new();
        for view in snapshot.segments() {
            for (component, len) in view.segment.bytes() {
                *bytes.entry(component).or_default() += len;
            }
            let folder = list(view.segment.dir()).unwrap_or_default();
            let tombstones = folder
                .iter()
                .filter(|file| tombstones_number(&file.name).is_some());
            *bytes.entry("tombstones").or_default() += tombstones.map(|file| file.len).sum::<u64>();
        }
        let of = |dir: PathBuf| Ok::<u64, crate::StorageError>(list(&dir)?.iter().map(|file| file.len).sum());
        bytes.insert("wal", of(self.dir.join("wal"))?);
        bytes.insert("codebook", of(self.dir.join("codebooks"))?);
        let top = list(&self.dir)?;
        let manifest = top
            .iter()
            .filter(|file| manifest_number(&file.name).is_some() || file.name == "CURRENT");
        bytes.insert("manifest", manifest.map(|file| file.len).sum());
        Ok(StorageStats {
            documents: snapshot.len(),
            deleted: snapshot.num_deleted(),
            tokens: snapshot.num_tokens(),
            raw_tokens: raw_tokens(&snapshot) + snapshot.memtable().num_tokens(),
            segments: snapshot.segments().len(),
            memtable_documents: snapshot.memtable().len(),
            bytes,
            last_sequence: snapshot.sequence(),
        })
    }
}
