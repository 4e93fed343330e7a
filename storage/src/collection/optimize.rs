//! Brings a collection into its best shape: one segment, no deleted rows, tokens coded with a codebook made for them.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::CollectionStore;
use super::fit::{raw_tokens, segment_tokens};
use super::policy::{Merge, choose, facts, facts_with_graphs, is_wasteful, settle, should_train, tidy_up};
use super::worker::Duty;
use crate::error::Result;
use crate::poison::PoisonOnPanic;
use crate::segment::{Codebook, Progress, ProgressFn, TrainingSet};
use crate::snapshot::Snapshot;
use crate::telemetry::{Task, Work};

/// How [`CollectionStore::optimize`] works.
#[derive(Clone, Copy, Default)]
pub struct OptimizeOptions<'a> {
    /// Hears how far it is, and may break it off: nothing has changed then but a flush.
    pub progress: Option<&'a ProgressFn<'a>>,
    /// Train a codebook even where the present one would do. Tokens that are coded already, and are not kept beside the
    /// codes, are coded again from their reconstructions, which costs a little accuracy.
    pub retrain: bool,
}

impl fmt::Debug for OptimizeOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimizeOptions")
            .field("retrain", &self.retrain)
            .finish_non_exhaustive()
    }
}

/// What [`CollectionStore::optimize`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OptimizeReport {
    /// Segments before, after the flush.
    pub segments_before: usize,
    /// Segments after.
    pub segments_after: usize,
    /// Deleted rows whose room was reclaimed.
    pub reclaimed: u64,
    /// Centroids of the codebook, if one was trained.
    pub trained_centroids: Option<usize>,
    /// Bytes of all segments before.
    pub bytes_before: u64,
    /// Bytes of all segments after.
    pub bytes_after: u64,
}

impl CollectionStore {
    /// Flushes, trains a codebook if there is none or the collection has outgrown it, and merges everything into one
    /// segment; where there are codes of an older codebook and no original tokens beside them, into one for each codebook,
    /// as coding them anew would lose accuracy. Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`crate::StorageError::Cancelled`], [`crate::StorageError::Full`], [`crate::StorageError::Io`],
    /// [`crate::StorageError::Corruption`]: the collection stays as it was.
    pub fn optimize(&self, options: &OptimizeOptions<'_>) -> Result<OptimizeReport> {
        let task = Task::begin(Work::Optimize, &self.name);
        let optimized = self.optimize_files(options);
        if let Ok(report) = &optimized {
            task.record("segments_before", report.segments_before as u64);
            task.record("segments_after", report.segments_after as u64);
            task.record("bytes_before", report.bytes_before);
            task.record("bytes_after", report.bytes_after);
        }
        task.end(&optimized);
        optimized
    }

    fn optimize_files(&self, options: &OptimizeOptions<'_>) -> Result<OptimizeReport> {
        self.flush()?;
        let _alone = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = PoisonOnPanic::new(&self.poison, "an optimize");
        let progress = |progress: Progress| {
            let wanted = options
                .progress
                .map_or(ControlFlow::Continue(()), |report| report(progress));
            if self.stopping() {
                ControlFlow::Break(())
            } else {
                wanted
            }
        };
        let pinned = self.snapshot();
        let trained = self.train_if_due(&pinned, options.retrain, true, &progress)?;
        let merges = self.optimal_merges(&pinned, trained.as_ref(), options.retrain);
        for merge in &merges {
            self.merge_chosen(&pinned, merge, trained.as_ref(), &progress)?;
        }
        if let Some(codebook) = &trained
            && merges.iter().all(|merge| merge.codebook != Some(codebook.id))
        {
            // Nothing is to be coded with it yet; what comes will be.
            self.merge(&pinned, &[], Some(codebook), &progress)?;
        }
        let report = OptimizeReport {
            segments_before: pinned.segments.len(),
            segments_after: self.snapshot.load().segments.len(),
            reclaimed: if merges.is_empty() {
                0
            } else {
                pinned.num_deleted()
            },
            trained_centroids: trained.map(|codebook| codebook.codec.len()),
            bytes_before: segment_bytes(&pinned),
            bytes_after: segment_bytes(&self.snapshot.load()),
        };
        drop(pinned);
        if !self.tidy()? {
            // Somebody reads what was merged: the background looks again.
            self.workers.wake(Duty::Merge);
        }
        Ok(report)
    }

    /// One merge for all segments where that loses nothing or is asked for; else one for each codebook.
    fn optimal_merges(
        &self,
        pinned: &Snapshot,
        trained: Option<&Arc<Codebook>>,
        retrain: bool,
    ) -> Vec<Merge> {
        let facts = facts_with_graphs(pinned);
        let newest = trained.or(pinned.codebook()).map(|codebook| codebook.id);
        let tokens = self.schema.tokens.as_ref();
        let lossless = tokens.is_some_and(|tokens| tokens.original.is_some());
        let mixed = facts
            .iter()
            .any(|facts| facts.codebook.is_some_and(|own| Some(own) != newest));
        if mixed && (retrain || lossless) {
            return vec![Merge {
                segments: (0..facts.len()).collect(),
                codebook: newest,
            }];
        }
        tidy_up(&facts, newest)
    }

    /// Merges segments of `pinned`, coding tokens with the codebook that is named there, or was just trained.
    fn merge_chosen(
        &self,
        pinned: &Snapshot,
        merge: &Merge,
        trained: Option<&Arc<Codebook>>,
        progress: &ProgressFn<'_>,
    ) -> Result<()> {
        let find = |id: u64| {
            let trained = trained.filter(|codebook| codebook.id == id);
            trained.or_else(|| pinned.codebooks.get(&id))
        };
        self.merge(pinned, &merge.segments, merge.codebook.and_then(find), progress)
    }

    fn train_if_due(
        &self,
        pinned: &Snapshot,
        force: bool,
        optimizing: bool,
        progress: &ProgressFn<'_>,
    ) -> Result<Option<Arc<Codebook>>> {
        let (tokens, raw) = (segment_tokens(pinned), raw_tokens(pinned));
        let trained = pinned.codebook().map(|codebook| codebook.trained_on_tokens);
        let due = self.schema.tokens.is_some()
            && tokens > 0
            && (force || should_train(tokens, raw, trained, optimizing));
        if due {
            let set = TrainingSet {
                segments: &pinned.segments,
                ..TrainingSet::default()
            };
            self.train(pinned, &set, progress).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether the background thread should train once writing pauses.
    pub(super) fn training_is_due(&self) -> bool {
        let snapshot = self.snapshot.load();
        let trained = snapshot.codebook().map(|codebook| codebook.trained_on_tokens);
        self.schema.tokens.is_some()
            && should_train(segment_tokens(&snapshot), raw_tokens(&snapshot), trained, false)
    }

    fn background_progress(&self) -> ControlFlow<()> {
        if self.stopping() || self.workers.stopping() || self.workers.abandoned() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Merges while the policy asks for it. On the background thread only.
    pub(super) fn merge_as_needed(&self) -> Result<()> {
        let _alone = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = |_| self.background_progress();
        loop {
            self.tidy()?;
            let pinned = self.snapshot();
            let raw_fit = self.raw_fit(&pinned)?;
            let Some(chosen) = choose(&facts(&pinned), newest(&pinned), raw_fit, self.has_graph()) else {
                return Ok(());
            };
            self.merge_chosen(&pinned, &chosen, None, &progress)?;
            self.workers.note_merge();
        }
    }

    /// Whether a pause in writing should be used to merge what has changed.
    pub(super) fn is_unsettled(&self) -> bool {
        let snapshot = self.snapshot.load();
        settle(&facts(&snapshot), newest(&snapshot), self.has_graph()).is_some()
    }

    /// Whether deleted rows take more room than they may while writing goes on.
    pub(super) fn is_wasteful(&self) -> bool {
        is_wasteful(&facts(&self.snapshot.load()), self.has_graph())
    }

    fn has_graph(&self) -> bool {
        self.schema.dense.is_some()
    }

    /// Merges what has changed until it is searched like a collection that was built at once. On the background thread only.
    pub(super) fn settle(&self) -> Result<()> {
        let _alone = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = |_| self.background_progress();
        loop {
            self.tidy()?;
            let pinned = self.snapshot();
            let Some(merge) = settle(&facts(&pinned), newest(&pinned), self.has_graph()) else {
                return Ok(());
            };
            self.merge_chosen(&pinned, &merge, None, &progress)?;
            self.workers.note_merge();
        }
    }

    /// Trains a codebook, if one is due, and codes the raw segments with it. On the background thread only.
    pub(super) fn train_in_background(&self) -> Result<()> {
        let _alone = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = |_| self.background_progress();
        let pinned = self.snapshot();
        let Some(codebook) = self.train_if_due(&pinned, false, false, &progress)? else {
            return Ok(());
        };
        let raw: Vec<usize> = facts(&pinned)
            .iter()
            .enumerate()
            .filter(|(_, facts)| facts.raw_tokens > 0)
            .map(|(index, _)| index)
            .collect();
        self.merge(&pinned, &raw, Some(&codebook), &progress)?;
        self.workers.note_merge();
        drop(pinned);
        self.tidy()?;
        Ok(())
    }
}

/// The codebook that new tokens are coded with.
fn newest(snapshot: &Snapshot) -> Option<u64> {
    snapshot.codebook().map(|codebook| codebook.id)
}

fn segment_bytes(snapshot: &Snapshot) -> u64 {
    snapshot
        .segments
        .iter()
        .flat_map(|view| view.segment.bytes().into_values())
        .sum()
}
