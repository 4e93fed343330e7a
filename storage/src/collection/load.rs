//! Reads a collection from its directory: manifest, then segments, then the logs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::StorageBackend;
use crate::document::{DocumentId, Record};
use crate::error::{IoContext, Result, StorageError};
use crate::manifest::{Manifest, manifest_path, read_manifest};
use crate::operation::Operation;
use crate::schema::Schema;
use crate::segment::{Codebook, Segment, SegmentView};
use crate::snapshot::Snapshot;
use crate::tombstones::read_tombstones;
use crate::wal::{Closed, Frame, FrameKind, decode_batch, decode_ids, log_path, read_log};
use crate::wire::{Reader, number_in_name};

/// How often a reader starts over when a writer replaced the files under it.
const ATTEMPTS: u32 = 20;

/// A collection as its directory says.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) snapshot: Snapshot,
    pub(crate) tail: Tail,
    /// Per segment: deleted rows that its tombstones file holds.
    pub(crate) saved: HashMap<u64, u64>,
    /// `CURRENT` could not be read and is to be written again.
    pub(crate) stood_in: bool,
}

/// The end of the last log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) number: u64,
    /// Its whole frames end here; `None` when it was never finished and is to be created again.
    pub(crate) len: Option<u64>,
    /// Bytes behind those frames.
    pub(crate) rest: u64,
    pub(crate) next_sequence: u64,
}

/// The folder of a segment.
pub(crate) fn segment_dir(collection: &Path, id: u64) -> PathBuf {
    collection.join("segments").join(id.to_string())
}

/// The file of a codebook.
pub(crate) fn codebook_path(collection: &Path, id: u64) -> PathBuf {
    collection.join("codebooks").join(id.to_string())
}

/// Reads a collection beside a writer that may replace files meanwhile: starts over when one is gone. What `previous`
/// has open is not opened again.
pub(crate) fn load(backend: &dyn StorageBackend, dir: &Path, previous: Option<&Snapshot>) -> Result<Loaded> {
    for attempt in 1..ATTEMPTS {
        match load_once(backend, dir, previous) {
            // Files are removed only once a later manifest is in force: under an unchanged one, all were there.
            Ok(loaded) if read_manifest(backend, dir)?.0.number == loaded.manifest.number => {
                return Ok(loaded);
            }
            Err(error) if !error.is_not_found() => return Err(error),
            _ => std::thread::sleep(Duration::from_millis(u64::from(attempt))),
        }
    }
    load_once(backend, dir, previous).map_err(missing)
}

/// Reads a collection that no one else writes.
pub(crate) fn load_locked(backend: &dyn StorageBackend, dir: &Path) -> Result<Loaded> {
    load_once(backend, dir, None).map_err(missing)
}

/// A file that the manifest names and that is not there is damage.
fn missing(error: StorageError) -> StorageError {
    match error {
        StorageError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StorageError::corruption(&path, 0, "a file, as the manifest says", "none")
        }
        other => other,
    }
}

pub(super) fn load_once(
    backend: &dyn StorageBackend,
    dir: &Path,
    previous: Option<&Snapshot>,
) -> Result<Loaded> {
    let (manifest, stood_in) = read_manifest(backend, dir)?;
    let schema: Arc<Schema> = match previous {
        Some(previous) => Arc::clone(&previous.schema),
        None => Arc::new(manifest.schema(dir)?),
    };
    let codebooks = open_codebooks(backend, dir, &manifest, previous)?;
    let segments = open_segments(backend, dir, &manifest, &schema, &codebooks, previous)?;
    let mut snapshot = Snapshot {
        segments,
        codebooks: Arc::new(codebooks),
        ..Snapshot::empty(Arc::clone(&schema))
    };
    snapshot.sequence = manifest.sequence;
    let saved = snapshot
        .segments
        .iter()
        .map(|view| (view.segment.id(), view.tombstones.len()))
        .collect();
    let mut replay = Replay {
        changes: Changes::default(),
        loads: &manifest.loads,
        schema: &schema,
    };
    let tail = replay.logs(backend, dir, &manifest)?;
    replay.changes.apply(&mut snapshot)?;
    snapshot.sequence = tail.next_sequence - 1;
    Ok(Loaded {
        snapshot,
        tail,
        saved,
        stood_in,
        manifest,
    })
}

fn open_codebooks(
    backend: &dyn StorageBackend,
    dir: &Path,
    manifest: &Manifest,
    previous: Option<&Snapshot>,
) -> Result<BTreeMap<u64, Arc<Codebook>>> {
    let open = |id: u64| match previous.and_then(|snapshot| snapshot.codebooks.get(&id)) {
        Some(codebook) => Ok((id, Arc::clone(codebook))),
        None => Ok((id, Arc::new(Codebook::open(backend, &codebook_path(dir, id))?))),
    };
    manifest.codebooks.iter().map(|id| open(*id)).collect()
}

fn open_segments(
    backend: &dyn StorageBackend,
    dir: &Path,
    manifest: &Manifest,
    schema: &Arc<Schema>,
    codebooks: &BTreeMap<u64, Arc<Codebook>>,
    previous: Option<&Snapshot>,
) -> Result<Vec<SegmentView>> {
    let find = |id: u64| codebooks.get(&id).cloned();
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let path = segment_dir(dir, entry.id);
        let open = previous.and_then(|snapshot| {
            snapshot
                .segments
                .iter()
                .find(|view| view.segment.id() == entry.id)
        });
        let segment = match open {
            Some(view) => Arc::clone(&view.segment),
            None => Arc::new(Segment::open(backend, &path, schema, &find)?),
        };
        if segment.id() != entry.id || segment.len() != entry.rows {
            let expected = format!("segment {} of {} rows", entry.id, entry.rows);
            let found = format!("segment {} of {} rows", segment.id(), segment.len());
            return Err(StorageError::corruption(
                &manifest_path(dir, manifest.number),
                0,
                expected,
                found,
            ));
        }
        let tombstones = match entry.tombstones {
            0 => Arc::default(),
            number => Arc::new(read_tombstones(backend, &path, number, entry.rows)?.into()),
        };
        segments.push(SegmentView { segment, tombstones });
    }
    Ok(segments)
}

/// The last change to each document that the logs hold, in order.
#[derive(Debug, Default)]
struct Changes {
    order: Vec<Option<(DocumentId, Option<Record>)>>,
    at: HashMap<DocumentId, usize>,
}

impl Changes {
    fn push(&mut self, id: DocumentId, record: Option<Record>) {
        self.forget(&id);
        self.at.insert(id.clone(), self.order.len());
        self.order.push(Some((id, record)));
    }

    fn forget(&mut self, id: &DocumentId) {
        if let Some(slot) = self.at.remove(id).and_then(|at| self.order.get_mut(at)) {
            *slot = None;
        }
    }

    fn apply(self, snapshot: &mut Snapshot) -> Result<()> {
        for (id, record) in self.order.into_iter().flatten() {
            for view in &mut snapshot.segments {
                if let Some(ordinal) = view.segment.find(&id)?
                    && view.is_live(ordinal)
                {
                    Arc::make_mut(&mut view.tombstones).insert(ordinal);
                }
            }
            if let Some(record) = record {
                snapshot.memtable.upsert(Arc::new(record));
            }
        }
        Ok(())
    }
}

struct Replay<'a> {
    changes: Changes,
    /// The bulk loads in force.
    loads: &'a [u64],
    schema: &'a Schema,
}

impl Replay<'_> {
    /// Reads every log from the manifest's first on.
    fn logs(&mut self, backend: &dyn StorageBackend, dir: &Path, manifest: &Manifest) -> Result<Tail> {
        let folder = dir.join("wal");
        // Read before the logs: it only ever says less than there is.
        let closed = Closed::read(backend, dir).unwrap_or_default();
        let names = backend.list(&folder).at("list", &folder)?;
        let last = names.iter().filter_map(|entry| number_in_name(&entry.name)).max();
        let last = last.unwrap_or_default().max(manifest.first_log);
        if let Some(closed) = closed.filter(|closed| closed.number > last) {
            let path = log_path(dir, closed.number);
            return Err(StorageError::corruption(
                &path,
                0,
                "a log, as when it was closed",
                "none",
            ));
        }
        let mut expected = manifest.sequence + 1;
        let mut tail = Tail {
            number: last,
            len: None,
            rest: 0,
            next_sequence: expected,
        };
        for number in manifest.first_log..=last {
            let path = log_path(dir, number);
            let bytes = backend.read(&path).at("read", &path)?;
            let Some(log) = read_log(&path, number, &bytes)? else {
                if let Some(closed) = closed {
                    closed.check(&path, number, 0)?;
                }
                if number == manifest.first_log || number != last {
                    return Err(StorageError::corruption(&path, 0, "the header of a log", "none"));
                }
                continue;
            };
            if log.first_sequence != expected {
                let found = format!("change {}", log.first_sequence);
                return Err(StorageError::corruption(
                    &path,
                    24,
                    format!("change {expected}"),
                    found,
                ));
            }
            if number != last && log.len != bytes.len() as u64 {
                return Err(StorageError::corruption(
                    &path,
                    log.len,
                    "a whole frame, as a later log exists",
                    "damage",
                ));
            }
            if let Some(closed) = closed {
                closed.check(&path, number, log.len)?;
            }
            for frame in &log.frames {
                self.frame(&path, frame)?;
            }
            expected = log.next_sequence();
            tail = Tail {
                number,
                len: Some(log.len),
                rest: log.rest,
                next_sequence: expected,
            };
        }
        if tail.number != last {
            tail = Tail {
                number: last,
                len: None,
                rest: 0,
                next_sequence: expected,
            };
        }
        Ok(tail)
    }

    fn frame(&mut self, path: &Path, frame: &Frame<'_>) -> Result<()> {
        let offset = frame.offset + (frame.len() - frame.payload.len()) as u64;
        let mut reader = Reader::with_base(path, frame.payload, offset);
        match frame.kind {
            FrameKind::Batch => {
                for operation in decode_batch(&mut reader)? {
                    match operation {
                        Operation::Upsert(record) => {
                            // What is whole may still be of another schema.
                            self.schema.fits(&record).map_err(|error| {
                                reader.corruption("a document of the schema", error.to_string())
                            })?;
                            self.changes.push(record.id.clone(), Some(record));
                        }
                        Operation::Delete(id) => self.changes.push(id, None),
                    }
                }
            }
            FrameKind::Replaced => {
                // Of a bulk load that did not get as far as its manifest, nothing is visible.
                if self.loads.contains(&frame.sequence) {
                    decode_ids(&mut reader)?
                        .ids
                        .iter()
                        .for_each(|id| self.changes.forget(id));
                }
            }
        }
        Ok(())
    }
}
