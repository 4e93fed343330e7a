//! Brings a collection into its best shape: one segment, no deleted rows, tokens coded with a codebook made for them.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::CollectionStore;
use super::policy::{choose, facts, should_train};
use crate::error::Result;
use crate::poison::PoisonOnPanic;
use crate::segment::{Progress, ProgressFn};
use crate::snapshot::Snapshot;

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
    /// segment. Readers and writers go on meanwhile.
    ///
    /// # Errors
    /// [`crate::StorageError::Cancelled`], [`crate::StorageError::Full`], [`crate::StorageError::Io`],
    /// [`crate::StorageError::Corruption`]: the collection stays as it was.
    pub fn optimize(&self, options: &OptimizeOptions<'_>) -> Result<OptimizeReport> {
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
        let codebook = trained.as_ref().or(pinned.codebook());
        let optimal = match pinned.segments() {
            [] => true,
            [one] => {
                one.tombstones.is_empty() && one.segment.codebook_id() == codebook.map(|codebook| codebook.id)
            }
            _ => false,
        };
        if !optimal {
            let all: Vec<usize> = (0..pinned.segments.len()).collect();
            self.merge(&pinned, &all, codebook, &progress)?;
        }
        let report = OptimizeReport {
            segments_before: pinned.segments.len(),
            segments_after: self.snapshot.load().segments.len(),
            reclaimed: if optimal { 0 } else { pinned.num_deleted() },
            trained_centroids: trained.map(|codebook| codebook.codec.len()),
            bytes_before: segment_bytes(&pinned),
            bytes_after: segment_bytes(&self.snapshot.load()),
        };
        drop(pinned);
        self.tidy()?;
        Ok(report)
    }

    fn train_if_due(
        &self,
        pinned: &Snapshot,
        force: bool,
        optimizing: bool,
        progress: &ProgressFn<'_>,
    ) -> Result<Option<Arc<crate::segment::Codebook>>> {
        let tokens: u64 = pinned.segments.iter().map(|view| view.segment.num_tokens()).sum();
        let trained = pinned.codebook().map(|codebook| codebook.trained_on_tokens);
        let due = self.schema.tokens.is_some()
            && tokens > 0
            && (force || should_train(tokens, trained, optimizing));
        if due {
            self.train(pinned, progress).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Whether the background thread should train once writing pauses.
    pub(super) fn training_is_due(&self) -> bool {
        let snapshot = self.snapshot.load();
        let tokens: u64 = snapshot
            .segments
            .iter()
            .map(|view| view.segment.num_tokens())
            .sum();
        let trained = snapshot.codebook().map(|codebook| codebook.trained_on_tokens);
        self.schema.tokens.is_some() && should_train(tokens, trained, false)
    }

    fn background_progress(&self) -> ControlFlow<()> {
        if self.stopping() || self.worker.stopping() || self.worker.abandoned() {
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
            let Some(chosen) = choose(&facts(&pinned), pinned.codebook().is_some()) else {
                return Ok(());
            };
            self.merge(&pinned, &chosen, pinned.codebook(), &progress)?;
        }
    }

    /// Trains a codebook and codes the raw segments with it. On the background thread only.
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
        drop(pinned);
        self.tidy()
    }
}

fn segment_bytes(snapshot: &Snapshot) -> u64 {
    snapshot
        .segments
        .iter()
        .flat_map(|view| view.segment.bytes().into_values())
        .sum()
}
