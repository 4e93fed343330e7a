//! Large writes: straight into a segment, without passing through the log.

use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::CollectionStore;
use super::commit::{Rows, bury, replaced_rows};
use super::load::segment_dir;
use super::state::{Cause, State, keep_codebook};
use super::worker::Duty;
use crate::document::{DocumentId, Record};
use crate::error::Result;
use crate::poison::PoisonOnPanic;
use crate::segment::{ProgressFn, Segment, SegmentView};
use crate::snapshot::Snapshot;
use crate::telemetry::{Applied, Task, Work, gauge};
use crate::validate::unique;
use crate::wal::replaced_frame;

impl CollectionStore {
    /// Writes many documents as one segment, replacing those of their ids. On return they are durable and visible; until
    /// then none of them is. Returns the sequence number.
    ///
    /// # Errors
    /// As [`Self::commit`]; [`crate::StorageError::Cancelled`] when `progress` breaks off.
    pub fn bulk(&self, mut records: Vec<Record>, progress: &ProgressFn<'_>) -> Result<u64> {
        self.writable("write")?;
        self.prepare_all(&mut records)?;
        unique(records.iter().map(|record| &record.id))?;
        if records.is_empty() {
            return Ok(self.snapshot.load().sequence);
        }
        let _guard = PoisonOnPanic::new(&self.poison, "a bulk load");
        let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
        let task = Task::begin(Work::BulkLoad, &self.name);
        let loaded = self.load_segment(&records, &task, progress);
        task.end(&loaded);
        loaded
    }

    fn load_segment(&self, records: &[Arc<Record>], task: &Task, progress: &ProgressFn<'_>) -> Result<u64> {
        let pinned = self.snapshot.load_full();
        let segment = self.build_segment(&pinned, records, 0, progress)?;
        task.made(&segment);
        let replaced = replaced_rows(&pinned, records.iter().map(|record| &record.id));
        let installed =
            replaced.and_then(|replaced| self.install_bulk(&pinned, &replaced, records, &segment));
        if let Err(error) = &installed {
            self.abandon(segment_dir(&self.dir, segment.id()), error);
        }
        self.workers.note_write();
        self.workers.wake(Duty::Merge);
        installed
    }

    /// Checks and prepares documents; pooling, which takes time, on all threads. The first fault is the error.
    fn prepare_all(&self, records: &mut [Record]) -> Result<()> {
        let pools = self
            .schema
            .tokens
            .as_ref()
            .is_some_and(|spec| spec.pool_factor > 1);
        if !pools {
            return records
                .iter_mut()
                .try_for_each(|record| self.schema.prepare(record));
        }
        let first_fault = || {
            let prepared = records.par_iter_mut().map(|record| self.schema.prepare(record));
            prepared.find_first(Result::is_err)
        };
        self.context.pool()?.install(first_fault).unwrap_or(Ok(()))
    }

    pub(super) fn install_bulk(
        &self,
        pinned: &Snapshot,
        replaced: &Rows,
        records: &[Arc<Record>],
        segment: &Arc<Segment>,
    ) -> Result<u64> {
        let install = |state: &mut State, current: &Snapshot| {
            let mut next = current.clone();
            keep_codebook(
                self.context.backend().as_ref(),
                &self.dir,
                &mut next,
                pinned,
                segment,
            )?;
            bury(
                &mut next,
                &self.replaced_since(pinned, replaced, current, records)?,
            );
            for record in records {
                next.memtable.remove(&record.id);
            }
            next.segments.push(SegmentView {
                segment: Arc::clone(segment),
                tombstones: Arc::default(),
            });
            // Changes to these documents that are in the logs must not come back over them.
            let ids: Vec<&DocumentId> = if state.logs_are_empty() {
                Vec::new()
            } else {
                records.iter().map(|record| &record.id).collect()
            };
            let (mark, sequence) = (state.wal.staged(), state.wal.next_sequence());
            next.sequence = state.wal.stage(replaced_frame(&ids, segment.id())?)?;
            let logged = state.wal.staged() - mark;
            let installed = state.install(
                &self.context,
                &self.dir,
                &self.poison,
                &next,
                Cause::Load { sequence },
            );
            if installed.is_err() && state.wal.staged() > mark {
                state.wal.unstage(mark, sequence);
            }
            installed?;
            Applied::log(&self.name, logged);
            Applied::documents(&self.name, records.len());
            gauge(&self.name, &next);
            Ok((next, sequence))
        };
        self.with_state("write", |state| {
            self.snapshot.change(|current| install(state, current))
        })
    }

    /// The rows to bury now, given those that were to be buried in `pinned`: segments that came since are searched.
    fn replaced_since(
        &self,
        pinned: &Snapshot,
        replaced: &Rows,
        current: &Snapshot,
        records: &[Arc<Record>],
    ) -> Result<Rows> {
        let place = |id: u64| current.segments.iter().position(|view| view.segment.id() == id);
        let known: HashSet<u64> = pinned.segments.iter().map(|view| view.segment.id()).collect();
        let still = |(index, ordinal): &(usize, u32)| {
            let id = pinned.segments.get(*index)?.segment.id();
            Some((place(id)?, *ordinal))
        };
        let mut rows: Rows = replaced.iter().filter_map(still).collect();
        for (index, view) in current.segments.iter().enumerate() {
            if known.contains(&view.segment.id()) {
                continue;
            }
            for record in records {
                rows.extend(view.segment.find(&record.id)?.map(|ordinal| (index, ordinal)));
            }
        }
        Ok(rows)
    }
}
