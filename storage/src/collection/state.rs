//! What only the writer of a collection needs to know, and the one place where new files come into force.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::context::Context;
use super::load::{Loaded, codebook_path, segment_dir};
use super::sweep::Unused;
use crate::backend::StorageBackend;
use crate::error::{IoContext, Result, StorageError};
use crate::manifest::{Manifest, SegmentEntry, manifest_path};
use crate::poison::Poison;
use crate::publish::publish;
use crate::segment::{Codebook, Segment};
use crate::snapshot::Snapshot;
use crate::tombstones::{tombstones_path, write_tombstones};
use crate::wal::{AppendError, WalWriter, log_path};

/// Why a new manifest comes into force.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// A memtable became a segment.
    Flush {
        /// The first log to replay from now on.
        first_log: u64,
        /// The last change that the segments hold whole.
        sequence: u64,
    },
    /// A bulk load, whose frame has this number.
    Load {
        /// The number.
        sequence: u64,
    },
    /// The same documents in other files.
    Merge,
}

/// The writer's side of a collection; behind its mutex.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) wal: WalWriter,
    /// The manifest in force.
    manifest: Manifest,
    next_manifest: u64,
    next_segment: u64,
    next_codebook: u64,
    /// Per segment: deleted rows that its tombstones file holds.
    saved: HashMap<u64, u64>,
    /// Segments that left the manifest, and may still be read.
    retired: Vec<(Weak<Segment>, PathBuf)>,
}

impl State {
    /// The state after loading and sweeping.
    pub(crate) fn new(context: &Context, dir: &Path, loaded: &Loaded, unused: Unused) -> Result<Self> {
        let tail = loaded.tail;
        let backend = context.backend();
        let wal = match tail.len {
            Some(len) => WalWriter::resume(backend, dir, tail.number, len, tail.next_sequence)?,
            None => {
                let _ = backend.remove_file(&log_path(dir, tail.number));
                WalWriter::create(backend, dir, tail.number, tail.next_sequence)?
            }
        };
        Ok(Self {
            wal,
            saved: loaded.saved.clone(),
            next_manifest: unused.manifest,
            next_segment: unused.segment,
            next_codebook: unused.codebook,
            manifest: loaded.manifest.clone(),
            retired: Vec::new(),
        })
    }

    /// A number for a new segment.
    pub(crate) fn take_segment(&mut self) -> u64 {
        self.next_segment += 1;
        self.next_segment - 1
    }

    /// A number for a new codebook.
    pub(crate) fn take_codebook(&mut self) -> u64 {
        self.next_codebook += 1;
        self.next_codebook - 1
    }

    /// Whether no log holds a change.
    pub(crate) fn logs_are_empty(&self) -> bool {
        self.manifest.first_log == self.wal.number() && self.wal.is_empty()
    }

    /// Ends the log and begins another; everything before it is durable.
    pub(crate) fn rotate(&mut self, context: &Context, dir: &Path, poison: &Poison) -> Result<()> {
        self.sync(poison)?;
        let (number, sequence) = (self.wal.number() + 1, self.wal.next_sequence());
        // A rotation that failed may have left a log of this number, without frames.
        let _ = context.backend().remove_file(&log_path(dir, number));
        self.wal = WalWriter::create(context.backend(), dir, number, sequence)
            .map_err(|failure| failed_append(failure, poison))?;
        Ok(())
    }

    /// Makes the log durable.
    pub(crate) fn sync(&mut self, poison: &Poison) -> Result<()> {
        self.wal.sync().map_err(|failure| failed_append(failure, poison))
    }

    /// Puts `next` into force on the disk. Afterwards the caller shows it to readers.
    pub(crate) fn install(
        &mut self,
        context: &Context,
        dir: &Path,
        poison: &Poison,
        next: &Snapshot,
        cause: Cause,
    ) -> Result<()> {
        // Tombstones of changes that are only in the log must not outlive those changes.
        self.sync(poison)?;
        let number = self.next_manifest;
        self.next_manifest += 1;
        let (mut first_log, mut sequence, mut loads) = (
            self.manifest.first_log,
            self.manifest.sequence,
            self.manifest.loads.clone(),
        );
        match cause {
            Cause::Flush {
                first_log: log,
                sequence: last,
            } => {
                (first_log, sequence) = (log, last);
                loads.retain(|load| *load > last);
            }
            Cause::Load { sequence } => loads.push(sequence),
            Cause::Merge => {}
        }
        let manifest = Manifest {
            number,
            uid: self.manifest.uid,
            sequence,
            schema: self.manifest.schema.clone(),
            segments: self.save_tombstones(context, dir, poison, next, number)?,
            codebooks: next.codebooks.keys().copied().collect(),
            first_log,
            loads,
            next_segment: self.next_segment,
            next_codebook: self.next_codebook,
        };
        publish(context.backend().as_ref(), dir, &manifest).map_err(|failure| {
            if failure.uncertain {
                poison.set(failure.error.to_string());
            }
            failure.error
        })?;
        let old = std::mem::replace(&mut self.manifest, manifest);
        self.saved = next
            .segments
            .iter()
            .map(|view| (view.segment.id(), view.tombstones.len()))
            .collect();
        self.remove_replaced(context.backend().as_ref(), dir, &old);
        Ok(())
    }

    fn save_tombstones(
        &self,
        context: &Context,
        dir: &Path,
        poison: &Poison,
        next: &Snapshot,
        number: u64,
    ) -> Result<Vec<SegmentEntry>> {
        let old: HashMap<u64, u64> = self
            .manifest
            .segments
            .iter()
            .map(|entry| (entry.id, entry.tombstones))
            .collect();
        let mut entries = Vec::with_capacity(next.segments.len());
        for view in &next.segments {
            let (id, rows) = (view.segment.id(), view.segment.len());
            let saved = self.saved.get(&id).copied().unwrap_or(0);
            let tombstones = if view.tombstones.len() == saved {
                old.get(&id).copied().unwrap_or(0)
            } else {
                let written = write_tombstones(
                    context.backend().as_ref(),
                    &segment_dir(dir, id),
                    number,
                    &view.tombstones,
                );
                written.inspect_err(|error| {
                    if error.is_failed_sync() {
                        poison.set(error.to_string());
                    }
                })?;
                number
            };
            entries.push(SegmentEntry { id, rows, tombstones });
        }
        Ok(entries)
    }

    /// Removes files that only the manifest before this one named. What fails is left to the sweep of the next open.
    fn remove_replaced(&mut self, backend: &dyn StorageBackend, dir: &Path, old: &Manifest) {
        let _ = backend.remove_file(&manifest_path(dir, old.number));
        for number in old.first_log..self.manifest.first_log {
            let _ = backend.remove_file(&log_path(dir, number));
        }
        let kept: HashMap<u64, u64> = self
            .manifest
            .segments
            .iter()
            .map(|entry| (entry.id, entry.tombstones))
            .collect();
        for entry in &old.segments {
            if let Some(now) = kept.get(&entry.id)
                && entry.tombstones != 0
                && *now != entry.tombstones
            {
                let _ = backend.remove_file(&tombstones_path(&segment_dir(dir, entry.id), entry.tombstones));
            }
        }
        let codebooks: HashSet<u64> = self.manifest.codebooks.iter().copied().collect();
        for id in old.codebooks.iter().filter(|id| !codebooks.contains(id)) {
            Codebook::remove(backend, &codebook_path(dir, *id));
        }
    }

    /// Leaves the folder of a segment that is no longer in force to [`Self::remove_retired`].
    pub(crate) fn retire(&mut self, dir: &Path, segment: &Arc<Segment>) {
        self.retired
            .push((Arc::downgrade(segment), segment_dir(dir, segment.id())));
    }

    /// Whether folders of retired segments are left.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Removes the folders of retired segments that no reader of this process holds any more.
    pub(crate) fn remove_retired(&mut self, backend: &dyn StorageBackend) {
        self.retired.retain(|(segment, folder)| {
            segment.strong_count() > 0 || backend.remove_dir_all(folder).is_err()
        });
    }
}

/// The error of a failed append; poisons when the log's state is unknown.
pub(crate) fn failed_append(failure: AppendError, poison: &Poison) -> StorageError {
    if failure.uncertain {
        poison.set(failure.error.to_string());
    }
    failure.error
}

/// Adds the codebook that a new segment was coded with, should a merge have dropped it meanwhile.
pub(crate) fn keep_codebook(
    backend: &dyn StorageBackend,
    dir: &Path,
    next: &mut Snapshot,
    pinned: &Snapshot,
    segment: &Segment,
) -> Result<()> {
    let Some(id) = segment
        .codebook_id()
        .filter(|id| !next.codebooks.contains_key(id))
    else {
        return Ok(());
    };
    let Some(codebook) = pinned.codebooks.get(&id) else {
        return Ok(());
    };
    let (path, folder) = (codebook_path(dir, id), dir.join("codebooks"));
    match codebook.write(backend, &path) {
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
        written => drop(written?),
    }
    backend.sync_dir(&folder).at("sync", &folder)?;
    Arc::make_mut(&mut next.codebooks).insert(id, Arc::clone(codebook));
    Ok(())
}

/// The codebooks that a snapshot still needs: those of its segments, and the newest.
pub(crate) fn needed_codebooks(snapshot: &mut Snapshot) {
    let used: HashSet<u64> = snapshot
        .segments
        .iter()
        .filter_map(|view| view.segment.codebook_id())
        .collect();
    let newest = snapshot.codebooks.keys().next_back().copied();
    let needed: BTreeMap<_, _> = snapshot
        .codebooks
        .iter()
        .filter(|(id, _)| used.contains(id) || Some(**id) == newest)
        .map(|(id, codebook)| (*id, Arc::clone(codebook)))
        .collect();
    snapshot.codebooks = Arc::new(needed);
}
