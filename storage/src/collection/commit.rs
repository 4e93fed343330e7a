//! Small writes: into the log, then into the memtable, then visible.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::CollectionStore;
use super::policy::Facts;
use super::state::{State, failed_append};
use super::worker::Duty;
use super::{fit, policy};
use crate::document::{DocumentId, Record};
use crate::error::Result;
use crate::memtable::MemtableView;
use crate::operation::Operation;
use crate::options::{Durability, Maintenance};
use crate::poison::PoisonOnPanic;
use crate::snapshot::Snapshot;
use crate::telemetry::{Applied, Task, Work, gauge};
use crate::validate::prepare_batch;
use crate::wal::{Draft, batch_frame};

/// The most documents, replaced ones included, that a memtable takes before it is flushed.
const MAX_SLOTS: u32 = 16_384;
/// How long a write waits at most for deleted rows to be cleared away.
const HELD: Duration = Duration::from_secs(1);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(5);
/// What may wait unwritten under [`Durability::None`].
const MAX_STAGED: usize = 1 << 20;

/// A batch that is checked and encoded, waiting for its turn.
#[derive(Debug)]
pub(super) struct Prepared {
    changes: Vec<Change>,
    frame: Draft,
}

#[derive(Debug)]
enum Change {
    Upsert(Arc<Record>),
    Delete(DocumentId),
}

impl Change {
    fn id(&self) -> &DocumentId {
        match self {
            Self::Upsert(record) => &record.id,
            Self::Delete(id) => id,
        }
    }
}

impl CollectionStore {
    /// Applies a batch whole or not at all, and returns its sequence number. On return it is as durable as the database's
    /// [`Durability`] says, and every later snapshot holds it. Concurrent calls share one sync.
    ///
    /// # Errors
    /// [`crate::StorageError::InvalidRecord`] before anything is written; [`crate::StorageError::Full`] and
    /// [`crate::StorageError::Io`], after which nothing of the batch is visible;
    /// [`crate::StorageError::Poisoned`] after a failure that left the disk's state unknown.
    pub fn commit(&self, mut batch: Vec<Operation>) -> Result<u64> {
        self.writable("write")?;
        prepare_batch(&self.schema, &mut batch)?;
        if batch.is_empty() {
            return Ok(self.snapshot.load().sequence);
        }
        self.make_room()?;
        let frame = batch_frame(&batch)?;
        let changes = batch.into_iter().map(|operation| match operation {
            Operation::Upsert(record) => Change::Upsert(Arc::new(record)),
            Operation::Delete(id) => Change::Delete(id),
        });
        let prepared = Prepared {
            changes: changes.collect(),
            frame,
        };
        let sequence = self.group.submit(prepared, |group| self.commit_group(group))?;
        self.workers.note_write();
        self.wake_workers();
        Ok(sequence)
    }

    /// Wakes the threads that have something to do, at once or when writing pauses.
    fn wake_workers(&self) {
        let waits = |duty| self.workers.waits_for_pause(duty);
        let full = self.memtable_is_full(1) || self.should_flush(false);
        if full || (!waits(Duty::Flush) && self.should_flush(true)) {
            self.workers.wake(Duty::Flush);
        }
        if self.is_wasteful() || (!waits(Duty::Merge) && self.is_unsettled()) {
            self.workers.wake(Duty::Merge);
        }
    }

    /// Waits for a flush when the background thread does not keep up, or when there is none, and where files take too much for
    /// what clears them away.
    fn make_room(&self) -> Result<()> {
        let background = self.context.options.maintenance == Maintenance::Background;
        let factor = if background { 2 } else { 1 };
        let newest = || self.snapshot.load().codebook().map(|codebook| codebook.id);
        let no_room = |memtable: &MemtableView| {
            let waits = || policy::holds_writers(memtable.num_tokens(), newest());
            self.is_full(memtable, factor) || (background && waits())
        };
        if no_room(&self.snapshot.load().memtable) {
            self.flush_if(no_room)?;
        }
        if background && self.is_overfull() {
            self.make_smaller()?;
        }
        Ok(())
    }

    fn is_overfull(&self) -> bool {
        let facts = policy::facts(&self.snapshot.load());
        policy::is_overfull(&facts, self.log_bytes.load(Ordering::Acquire))
    }

    /// Waits for the background threads to clear away what takes too much, if not for long: to merge a large graph takes
    /// minutes, and writers that wait with every write leave it time enough.
    fn make_smaller(&self) -> Result<()> {
        self.flush_if(|_| self.should_flush(false))?;
        let begun = Instant::now();
        while self.is_overfull() && self.is_wasteful() && begun.elapsed() < HELD {
            self.workers.wake(Duty::Merge);
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(super) fn memtable_is_full(&self, factor: u32) -> bool {
        self.is_full(&self.snapshot.load().memtable, factor)
    }

    /// Whether the memtable should become a segment before it is full, given whether writing pauses: its log takes much
    /// beside what lives in segments, or its tokens should be coded.
    pub(super) fn should_flush(&self, pauses: bool) -> bool {
        let snapshot = self.snapshot.load();
        let live = policy::facts(&snapshot).iter().map(Facts::live_bytes).sum();
        if policy::log_is_long(self.log_bytes.load(Ordering::Acquire), live) {
            return true;
        }
        let raw = fit::raw_tokens(&snapshot);
        let newest = snapshot.codebook().map(|codebook| codebook.id);
        policy::should_code(snapshot.memtable.num_tokens(), raw, newest, pauses)
    }

    fn is_full(&self, memtable: &MemtableView, factor: u32) -> bool {
        memtable.slots() >= MAX_SLOTS.saturating_mul(factor)
            || memtable.bytes()
                >= self
                    .context
                    .options
                    .memtable_bytes()
                    .saturating_mul(u64::from(factor))
    }

    fn commit_group(&self, group: Vec<Prepared>) -> Vec<Result<u64>> {
        let count = group.len();
        let _guard = PoisonOnPanic::new(&self.poison, "a commit");
        let (task, mut applied) = (Task::begin(Work::Commit, &self.name), Applied::default());
        let apply = |state: &mut State| {
            self.snapshot
                .change(|current| self.log_and_apply(state, current, group, (&task, &mut applied)))
        };
        let committed = self.with_state("write", apply);
        if committed.is_ok() {
            applied.end(&task, &self.name);
        }
        task.end(&committed);
        match committed {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    /// What the group makes of the snapshot. An outer error is everyone's; an inner one is of one batch, which is left out.
    fn log_and_apply(
        &self,
        state: &mut State,
        current: &Snapshot,
        group: Vec<Prepared>,
        (task, applied): (&Task, &mut Applied),
    ) -> Result<(Snapshot, Vec<Result<u64>>)> {
        let (mark, first_sequence) = (state.wal.staged(), state.wal.next_sequence());
        let mut staged = Vec::with_capacity(group.len());
        let results: Vec<Result<u64>> = group
            .into_iter()
            .map(|prepared| {
                let replaced = replaced_rows(current, prepared.changes.iter().map(Change::id))?;
                let sequence = state.wal.stage(prepared.frame)?;
                let upserts = prepared.changes.iter();
                applied.batch(upserts.map(|change| matches!(change, Change::Upsert(_))));
                staged.push((prepared.changes, replaced));
                Ok(sequence)
            })
            .collect();
        let logged = state.wal.staged() - mark;
        let written = match self.context.options.durability {
            Durability::Sync => state.wal.sync(),
            Durability::Buffered => state.wal.write(),
            Durability::None if state.wal.staged() > MAX_STAGED => state.wal.write(),
            Durability::None => Ok(()),
        };
        if let Err(failure) = written {
            state.wal.unstage(mark, first_sequence);
            return Err(failed_append(failure, &self.poison));
        }
        task.record("bytes", logged as u64);
        Applied::log(&self.name, logged);
        self.log_bytes.store(state.wal.len(), Ordering::Release);
        let mut next = current.clone();
        for (changes, replaced) in staged {
            bury(&mut next, &replaced);
            for change in changes {
                match change {
                    Change::Upsert(record) => next.memtable.upsert(record),
                    Change::Delete(id) => drop(next.memtable.remove(&id)),
                }
            }
        }
        next.sequence = state.wal.next_sequence() - 1;
        gauge(&self.name, &next);
        Ok((next, results))
    }
}

/// Rows of segments, as index and ordinal.
pub(super) type Rows = Vec<(usize, u32)>;

/// The live rows of segments that hold one of these documents.
pub(super) fn replaced_rows<'a>(
    snapshot: &Snapshot,
    ids: impl Iterator<Item = &'a DocumentId>,
) -> Result<Rows> {
    let ids: Vec<&DocumentId> = ids.collect();
    let mut rows = Rows::new();
    for (index, view) in snapshot.segments.iter().enumerate() {
        let mut finder = view.segment.finder()?;
        for id in &ids {
            if let Some(ordinal) = finder.find(id)?
                && view.is_live(ordinal)
            {
                rows.push((index, ordinal));
            }
        }
    }
    Ok(rows)
}

/// Marks rows as deleted.
pub(super) fn bury(snapshot: &mut Snapshot, rows: &Rows) {
    for (index, ordinal) in rows {
        if let Some(view) = snapshot.segments.get_mut(*index) {
            Arc::make_mut(&mut view.tombstones).insert(*ordinal);
        }
    }
}
