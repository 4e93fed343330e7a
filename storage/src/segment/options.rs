//! How a segment is written, and what a long operation tells its caller.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::ThreadPool;
use serde::Serialize;

use super::graph::GraphOptions;
use super::origin::Origin;
use crate::error::{Result, StorageError};

/// Rows from which on a graph is built over dense vectors: below, scanning them is as fast.
pub(crate) const GRAPH_MIN_ROWS: usize = 1_000;

/// How a segment is written.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// The segment's number in its collection.
    pub id: u64,
    /// Where parallel work runs.
    pub pool: Arc<ThreadPool>,
    /// Rows from which on a graph is built over the dense vectors: below, scanning them is as fast.
    pub graph_min_rows: usize,
    /// How the graph is built.
    pub graph: GraphOptions,
    /// Seed of the graph's levels.
    pub seed: u64,
    /// Memory that writing may hold, in bytes; what needs more is done in several passes.
    pub memory_bytes: u64,
    /// Where the documents come from.
    pub origin: Origin,
}

impl SegmentOptions {
    /// Postings that are held at once while posting lists are made: in a quarter of the memory.
    pub(crate) fn postings_at_once(&self) -> usize {
        let postings = self.memory_bytes / 4 / size_of::<u32>() as u64;
        usize::try_from(postings).unwrap_or(usize::MAX)
    }

    /// The defaults, for a segment of this number on this pool.
    pub fn new(id: u64, pool: Arc<ThreadPool>) -> Self {
        Self {
            id,
            pool,
            graph_min_rows: GRAPH_MIN_ROWS,
            graph: GraphOptions::default(),
            seed: 0x1a7e_300d,
            memory_bytes: 256 << 20,
            origin: Origin::default(),
        }
    }
}

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The segment's number.
    pub id: u64,
    /// Documents.
    pub rows: u32,
    /// Tokens of all documents.
    pub tokens: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A step of writing, merging or training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// Ids, texts and payloads; counted in documents.
    Documents,
    /// Dense vectors; counted in documents.
    Dense,
    /// The graph; counted in documents.
    Graph,
    /// Token matrices; counted in tokens.
    Tokens,
    /// Posting lists; counted in documents.
    Postings,
    /// Indexing the texts; counted in documents.
    Terms,
    /// Drawing the sample that a codebook is trained on; counted in passages.
    Sample,
    /// k-means; counted in assigned tokens, over all iterations.
    Centroids,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The step.
    pub stage: Stage,
    /// Units done.
    pub done: u64,
    /// Units to do.
    pub total: u64,
}

/// Hears how far a long operation is, on the thread that called it, and may break it off.
pub type ProgressFn<'a> = dyn Fn(Progress) -> ControlFlow<()> + 'a;

/// Reports, and turns a break into [`StorageError::Cancelled`].
pub(crate) fn report(progress: &ProgressFn<'_>, stage: Stage, done: usize, total: usize) -> Result<()> {
    match progress(Progress {
        stage,
        done: done as u64,
        total: total as u64,
    }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(StorageError::Cancelled),
    }
}
