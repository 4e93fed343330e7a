//! Makes a segment of the memtable, so that its log can go. Writers go on meanwhile.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::CollectionStore;
use super::load::segment_dir;
use super::state::{Cause, State, keep_codebook};
use super::worker::Duty;
use crate::document::Record;
use crate::error::{IoContext, Result};
use crate::memtable::MemtableView;
use crate::poison::PoisonOnPanic;
use crate::segment::{Origin, ProgressFn, Segment, SegmentView, write_segment_with};
use crate::snapshot::Snapshot;
use crate::telemetry::{Task, Work, gauge};
use crate::tombstones::Tombstones;

/// Rows from which a fresh segment gets a graph at once. Smaller ones are merged soon, and then their rows are in a graph;
/// until then scanning them takes about a millisecond each.
const GRAPH_FROM: usize = 20_000;

impl CollectionStore {
    /// Moves the memtable into a segment. On return everything written before the call is in segments.
    ///
    /// # Errors
    /// [`crate::StorageError::Full`] and [`crate::StorageError::Io`]: the memtable and its log stay, nothing is lost.
    pub fn flush(&self) -> Result<()> {
        self.flush_if(|_| true)
    }

    /// Flushes if the memtable still asks for it once no other flush runs.
    pub(super) fn flush_if(&self, wanted: impl Fn(&MemtableView) -> bool) -> Result<()> {
        self.writable("flush")?;
        let _alone = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = PoisonOnPanic::new(&self.poison, "a flush");
        let mut task = None;
        let flushed = self.flush_alone(wanted, &mut task);
        if let Some(task) = task {
            task.end(&flushed);
        }
        flushed
    }

    fn flush_alone(&self, wanted: impl Fn(&MemtableView) -> bool, task: &mut Option<Task>) -> Result<()> {
        let pinned = self.with_state("flush", |state| {
            let snapshot = self.snapshot.load_full();
            if state.logs_are_empty() || !wanted(&snapshot.memtable) {
                return Ok(None);
            }
            *task = Some(Task::begin(Work::Flush, &self.name));
            state.rotate(&self.context, &self.dir, &self.poison)?;
            self.log_bytes.store(state.wal.len(), Ordering::Release);
            let (first_log, sequence) = (state.wal.number(), state.wal.next_sequence() - 1);
            Ok(Some((snapshot, Cause::Flush { first_log, sequence })))
        })?;
        let Some((pinned, cause)) = pinned else {
            return Ok(());
        };
        let (slots, records): (Vec<u32>, Vec<Arc<Record>>) = pinned
            .memtable
            .iter()
            .map(|(slot, record)| (slot, Arc::clone(record)))
            .unzip();
        let built = if records.is_empty() {
            None
        } else {
            Some(self.build_segment(&pinned, &records, pinned.sequence, &|_| ControlFlow::Continue(()))?)
        };
        let install = |state: &mut State, current: &Snapshot| {
            let mut next = current.clone();
            next.memtable = current.memtable.rest(pinned.memtable.slots());
            if let Some(segment) = &built {
                keep_codebook(
                    self.context.backend().as_ref(),
                    &self.dir,
                    &mut next,
                    &pinned,
                    segment,
                )?;
                let died = (0_u32..)
                    .zip(&slots)
                    .filter(|(_, slot)| current.memtable.get(**slot).is_none());
                let tombstones: Tombstones = died.map(|(ordinal, _)| ordinal).collect();
                next.segments.push(SegmentView {
                    segment: Arc::clone(segment),
                    tombstones: Arc::new(tombstones),
                });
            }
            state.install(&self.context, &self.dir, &self.poison, &next, cause)?;
            gauge(&self.name, &next);
            Ok((next, ()))
        };
        let installed = self.with_state("flush", |state| {
            self.snapshot.change(|current| install(state, current))
        });
        if let (Err(_), Some(segment)) = (&installed, &built) {
            self.discard(segment_dir(&self.dir, segment.id()));
        }
        installed?;
        if let (Some(task), Some(segment)) = (task, &built) {
            task.made(segment);
        }
        self.workers.wake(Duty::Merge);
        Ok(())
    }

    /// Writes and opens a segment that no manifest names yet. With it, changes up to `flushed` are in segments.
    pub(super) fn build_segment(
        &self,
        snapshot: &Snapshot,
        records: &[Arc<Record>],
        flushed: u64,
        progress: &ProgressFn<'_>,
    ) -> Result<Arc<Segment>> {
        let id = self.with_state("write", |state| Ok(state.take_segment()))?;
        let folder = segment_dir(&self.dir, id);
        let backend = self.context.backend().as_ref();
        let mut options = self.context.segment_options(id)?;
        options.graph_min_rows = GRAPH_FROM;
        options.origin = Origin {
            sequence: snapshot.sequence,
            flushed,
            sources: Vec::new(),
        };
        let codebook = self.codebook_for(snapshot, records);
        let written = write_segment_with(
            backend,
            &folder,
            &self.schema,
            codebook,
            records,
            &options,
            progress,
        );
        let opened = written.and_then(|_| self.open_segment(folder.clone(), snapshot));
        opened.inspect_err(|error| self.abandon(folder, error))
    }

    /// Makes a finished segment's name durable, opens it, and sees that every file can be read.
    pub(super) fn open_segment(&self, folder: PathBuf, snapshot: &Snapshot) -> Result<Arc<Segment>> {
        let backend = self.context.backend().as_ref();
        let parent = self.dir.join("segments");
        backend.sync_dir(&parent).at("sync", &parent)?;
        let codebooks = |id: u64| snapshot.codebooks.get(&id).cloned();
        let segment = Segment::open(backend, &folder, &self.schema, &codebooks)?;
        // An old segment may be used in part; a new one is whole or refused. What its first use would check is checked here,
        // so that the first query is not the one to wait for it.
        segment.check_for_readers();
        match segment.health().into_iter().find_map(|health| health.damage) {
            Some(damage) => Err(damage),
            None => Ok(Arc::new(segment)),
        }
    }

    /// Tidies up after a segment that could not be finished.
    pub(super) fn abandon(&self, folder: PathBuf, error: &crate::error::StorageError) {
        if error.is_failed_sync() {
            self.poison.set(error.to_string());
        }
        self.discard(folder);
    }

    fn discard(&self, folder: PathBuf) {
        // After an uncertain publish the manifest may name it.
        if self.poison.reason().is_none() {
            let _ = self.context.backend().remove_dir_all(&folder);
        }
    }
}
