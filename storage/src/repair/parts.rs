//! The segments of a damaged collection, whole or in part.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::backend::StorageBackend;
use crate::collection::{codebook_path, segment_dir};
use crate::document::DocumentId;
use crate::error::{IoContext, Result, StorageError};
use crate::manifest::{Manifest, SegmentEntry, read_manifest};
use crate::schema::Schema;
use crate::segment::{
    Beside, Codebook, Known, LostRows, Segment, SegmentMeta, codebook_number, patch_segment,
};
use crate::tombstones::{damaged_tombstones, read_tombstones, tombstones_number};

/// A segment, as far as it can be read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) segment: Arc<Segment>,
    /// The rows that are not whole, where the segment had to be patched.
    pub(super) patched: Option<LostRows>,
    /// Rows that are deleted, replaced or gone.
    pub(super) dead: RoaringBitmap,
    /// The tombstones that are on the disk already, by number and how many.
    pub(super) saved: (u64, u64),
    /// Whether their file has two whole copies.
    pub(super) saved_whole: bool,
    /// Whether those are all tombstones that there were.
    pub(super) tombstones_known: bool,
    /// The last change that the rows may know of; 0: unknown.
    pub(super) sequence: u64,
    /// Where the rows of a patched segment are, by id: its index may be damaged.
    index: Option<HashMap<DocumentId, u32>>,
}

/// What is known of a damaged collection.
#[derive(Debug)]
pub(super) struct Found {
    /// The manifest in force, if it can be read.
    pub(super) manifest: Option<Manifest>,
    pub(super) schema: Arc<Schema>,
    pub(super) codebooks: BTreeMap<u64, Arc<Codebook>>,
    pub(super) parts: Vec<Part>,
    /// Segments of which nothing can be read, and the documents that they had.
    pub(super) gone: Vec<(u64, u32)>,
    /// A number that no segment has.
    pub(super) next_segment: u64,
    /// Folders of patched copies, to be removed.
    pub(super) copies: Vec<PathBuf>,
    /// Folders that the repair has made.
    pub(super) made: Vec<PathBuf>,
    /// Bytes that were wrong and could be put right.
    pub(super) fixed: usize,
}

impl Part {
    /// The id of a row, unless it is lost: what stands there then may be that of another.
    pub(super) fn id_of(&self, row: u32) -> Option<DocumentId> {
        let lost = self.patched.as_ref().is_some_and(|lost| lost.ids.contains(row));
        (!lost).then(|| self.segment.document_id(row).ok()).flatten()
    }

    /// The row of an id, unless it is dead.
    pub(super) fn find(&self, id: &DocumentId) -> Option<u32> {
        let row = match &self.index {
            Some(index) => index.get(id).copied(),
            None => self.segment.find(id).ok().flatten(),
        };
        row.filter(|row| !self.dead.contains(*row))
    }

    pub(super) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.segment.len()).filter(|row| !self.dead.contains(*row))
    }
}

/// Reads what is there. `fallback` gives the schema where neither manifest nor segments have it.
///
/// # Errors
/// [`StorageError::VersionTooNew`]; [`StorageError::Corruption`] when there is no schema; what the backend says.
pub(super) fn find(
    backend: &dyn StorageBackend,
    dir: &Path,
    fallback: impl FnOnce() -> Option<Schema>,
) -> Result<Found> {
    let manifest = match read_manifest(backend, dir) {
        Ok((manifest, _)) => Some(manifest),
        Err(error @ StorageError::VersionTooNew { .. }) => return Err(error),
        Err(error) if error.is_of_the_disk() => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the manifest is put together from the segments");
            None
        }
    };
    let schema = manifest.as_ref().and_then(|manifest| manifest.schema(dir).ok());
    let folders = numbered(backend, &dir.join("segments"))?;
    let schema = schema
        .or_else(|| schema_of(backend, dir, &folders))
        .or_else(fallback);
    let schema = Arc::new(schema.ok_or_else(|| {
        let expected = "a schema in a manifest, a segment or the catalog";
        StorageError::corruption(dir, 0, expected, "none; nothing was changed")
    })?);
    let entries = match &manifest {
        Some(manifest) => manifest.segments.clone(),
        None => entries_in_force(backend, dir, &folders),
    };
    let used = manifest.as_ref().map_or(0, |manifest| manifest.next_segment);
    let next_segment = folders.last().map_or(1, |last| last + 1).max(used);
    let mut found = Found {
        codebooks: open_codebooks(backend, dir, manifest.as_ref())?,
        manifest,
        schema,
        parts: Vec::new(),
        gone: Vec::new(),
        next_segment,
        copies: Vec::new(),
        made: Vec::new(),
        fixed: 0,
    };
    for entry in &entries {
        found.add(backend, dir, entry)?;
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, backend: &dyn StorageBackend, dir: &Path, entry: &SegmentEntry) -> Result<()> {
        let folder = segment_dir(dir, entry.id);
        let codebooks = |id: u64| self.codebooks.get(&id).cloned();
        let opened = match Segment::open(backend, &folder, &self.schema, &codebooks) {
            Err(error @ StorageError::VersionTooNew { .. }) => return Err(error),
            Err(error) if error.is_of_the_disk() => return Err(error),
            opened => opened.ok(),
        };
        let damage = opened
            .as_ref()
            .map(|segment| segment.verify())
            .unwrap_or_default();
        let damage = || damage.iter().filter_map(|health| health.damage.as_ref());
        if let Some(error) = damage().find(|error| error.is_of_the_disk()) {
            return Err(error.clone());
        }
        let fits = |segment: &Segment| {
            let rows = self.manifest.is_none() || segment.len() == entry.rows;
            segment.id() == entry.id && rows && damage().next().is_none()
        };
        let (segment, patched) = match opened.filter(fits) {
            Some(segment) => (segment, None),
            None => {
                let copy = segment_dir(dir, self.next_segment);
                let known = Known {
                    dir: &folder,
                    schema: &self.schema,
                    rows: self.manifest.as_ref().map(|_| entry.rows),
                };
                let patched = patch_segment(backend, known, &codebooks, &copy, self.next_segment)?;
                self.next_segment += 1;
                self.copies.push(copy);
                let Some(patched) = patched else {
                    self.gone.push((entry.id, entry.rows));
                    return Ok(());
                };
                self.fixed += patched.fixed;
                (patched.segment, Some(patched.lost))
            }
        };
        let tombstones = tombstones(backend, &folder, entry, segment.len())?;
        let known = tombstones.is_some() && self.manifest.is_some();
        let dead = tombstones.unwrap_or_default();
        let mut part = Part {
            id: entry.id,
            saved: (entry.tombstones, dead.len()),
            saved_whole: entry.tombstones == 0
                || damaged_tombstones(backend, &folder, entry.tombstones, segment.len()).is_ok(),
            tombstones_known: known,
            sequence: segment.origin().sequence,
            dead,
            index: None,
            segment: Arc::new(segment),
            patched,
        };
        if part.patched.is_some() {
            let index = (0..part.segment.len()).filter_map(|row| Some((part.id_of(row)?, row)));
            part.index = Some(index.collect());
        }
        self.parts.push(part);
        Ok(())
    }
}

/// The deleted rows of a segment; `None` when a file of them cannot be read.
fn tombstones(
    backend: &dyn StorageBackend,
    folder: &Path,
    entry: &SegmentEntry,
    rows: u32,
) -> Result<Option<RoaringBitmap>> {
    if entry.tombstones == 0 {
        return Ok(Some(RoaringBitmap::new()));
    }
    match read_tombstones(backend, folder, entry.tombstones, rows) {
        Err(error) if error.is_of_the_disk() => Err(error),
        read => Ok(read.ok()),
    }
}

/// The numbers that files or folders of a folder are named by, ascending.
fn numbered(backend: &dyn StorageBackend, folder: &Path) -> Result<Vec<u64>> {
    let names = match backend.list(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|entry| codebook_number(&entry.name))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// The schema as the meta file of a segment has it.
fn schema_of(backend: &dyn StorageBackend, dir: &Path, folders: &[u64]) -> Option<Schema> {
    let read = |id: &u64| {
        let (_, file) = SegmentMeta::open(backend, &segment_dir(dir, *id)).ok()?;
        serde_json::from_str(&Beside::read(&file).schema).ok()
    };
    folders.iter().rev().find_map(read)
}

/// The segments that were in force when the manifest was lost: all that are whole enough to have a meta file, but those
/// that were merged into another, or those that were being merged.
fn entries_in_force(backend: &dyn StorageBackend, dir: &Path, folders: &[u64]) -> Vec<SegmentEntry> {
    let mut metas = Vec::new();
    for id in folders {
        let folder = segment_dir(dir, *id);
        let meta = SegmentMeta::open(backend, &folder).ok();
        let names = backend.list(&folder).unwrap_or_default();
        let tombstones = names
            .iter()
            .filter_map(|entry| tombstones_number(&entry.name))
            .max();
        let (rows, sources) = meta.map_or((0, Vec::new()), |(meta, file)| {
            (meta.rows, Beside::origin(&file).sources)
        });
        let entry = SegmentEntry {
            id: *id,
            rows,
            tombstones: tombstones.unwrap_or(0),
        };
        metas.push((entry, sources));
    }
    let there: HashSet<u64> = folders.iter().copied().collect();
    let mut out = HashSet::new();
    for (entry, sources) in metas.iter().filter(|(_, sources)| !sources.is_empty()) {
        // Sources are removed only once the merge is in force, and tombstones are written only for what is.
        let unfinished = entry.tombstones == 0 && sources.iter().all(|source| there.contains(source));
        if unfinished {
            out.insert(entry.id);
        } else {
            out.extend(sources);
        }
    }
    metas
        .into_iter()
        .map(|(entry, _)| entry)
        .filter(|entry| !out.contains(&entry.id))
        .collect()
}

fn open_codebooks(
    backend: &dyn StorageBackend,
    dir: &Path,
    manifest: Option<&Manifest>,
) -> Result<BTreeMap<u64, Arc<Codebook>>> {
    let ids = match manifest {
        Some(manifest) => manifest.codebooks.clone(),
        None => numbered(backend, &dir.join("codebooks"))?,
    };
    let mut codebooks = BTreeMap::new();
    for id in ids {
        match Codebook::open(backend, &codebook_path(dir, id)) {
            Ok(codebook) => drop(codebooks.insert(id, Arc::new(codebook))),
            Err(error @ StorageError::VersionTooNew { .. }) => return Err(error),
            Err(error) if error.is_of_the_disk() => return Err(error),
            Err(error) => tracing::warn!(%error, "a codebook is lost"),
        }
    }
    Ok(codebooks)
}
