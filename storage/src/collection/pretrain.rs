//! Training the codebook before a load, on what is to be loaded: documents are coded as they are written, and never lie in
//! the collection whole.

use std::sync::PoisonError;

use super::CollectionStore;
use crate::error::Result;
use crate::poison::PoisonOnPanic;
use crate::segment::{AwaitedTokens, ProgressFn, TrainingSet};

/// Fewer tokens lie whole, without harm, until all are there.
const WORTH_IT: u64 = 1 << 18;

impl CollectionStore {
    /// Whether a load of so many tokens should train a codebook first: there is none, and they are many. Where tokens are
    /// pooled, only the load can tell what is to be coded.
    pub fn should_train_for(&self, tokens: u64) -> bool {
        let pools = |factor| factor > 1;
        let codes = self
            .schema
            .tokens
            .as_ref()
            .is_some_and(|spec| !pools(spec.pool_factor));
        codes && tokens >= WORTH_IT && self.snapshot.load().codebook().is_none()
    }

    /// Trains a codebook for the collection as it will be when these documents are written; all that is written from now on
    /// is coded with it. Returns the number of centroids.
    ///
    /// # Errors
    /// [`crate::StorageError::Io`] for what cannot be read; [`crate::StorageError::InvalidSchema`] and
    /// [`crate::StorageError::InvalidOption`] where there are no tokens to learn from;
    /// [`crate::StorageError::Cancelled`] when `progress` breaks off. The collection is as it was then.
    pub fn train_for(&self, awaited: &AwaitedTokens<'_>, progress: &ProgressFn<'_>) -> Result<usize> {
        self.writable("train a codebook")?;
        let _alone = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = PoisonOnPanic::new(&self.poison, "the training of a codebook");
        let pinned = self.snapshot();
        let set = TrainingSet {
            segments: &pinned.segments,
            records: &[],
            awaited: Some(awaited),
        };
        let codebook = self.train(&pinned, &set, progress)?;
        self.merge(&pinned, &[], Some(&codebook), progress)?;
        Ok(codebook.codec.len())
    }
}
