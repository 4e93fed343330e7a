//! Training a codebook on a sample of a collection's tokens.
//!
//! Passages are drawn by the reference's formula, the number of centroids follows from the tokens that the sample lets
//! expect, and 5% of the sample (at most 50,000 tokens) are held out for the buckets; see
//! [`ResidualCodec`](latewood_codecs::ResidualCodec). Unlike the reference, k-means makes a few passes over growing
//! parts of the sample, [`PASSES`]: docs/decisions/0003-kmeans.md has what that costs in quality and saves in time. Each
//! pass reads its tokens where they are stored, so that memory holds the centroids and no sample.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use latewood_codecs::kmeans::KMeans;
use latewood_codecs::{ResidualCodec, TokenCodec};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::codebook::Codebook;
use super::distortion::Distortion;
use super::options::{ProgressFn, Stage, report};
use super::random::SplitMix64;
use super::sample::{Drawn, Sample};
use super::view::SegmentView;
use crate::document::Record;
use crate::error::{Result, StorageError};
use crate::schema::Schema;

/// The passes of k-means: over how many tokens a centroid each goes. The first move the centroids to where tokens are,
/// for which few tokens do; the last settle them.
const PASSES: [usize; 5] = [8, 8, 16, 32, 64];
/// Tokens a centroid that are drawn: as many as the largest pass takes.
const DRAWN: usize = 64;
/// Numbers that one task reads and assigns.
const TASK_NUMBERS: usize = 1 << 18;
/// Tasks a thread between two reports of progress: so many blocks are in memory at once.
const TASKS_A_THREAD: usize = 2;
/// Held-out tokens that the distortion is measured on, evenly spread.
const MEASURED: usize = 8_192;

/// What a codebook is trained on.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainingSet<'a> {
    /// Segments, whose live documents count.
    pub segments: &'a [SegmentView],
    /// Documents that are in no segment.
    pub records: &'a [Arc<Record>],
    /// Documents that are not in the collection yet.
    pub awaited: Option<&'a AwaitedTokens<'a>>,
}

/// Reads a token of a document, by the place of both: its numbers, which fill the slice.
pub type ReadToken<'a> = dyn Fn(usize, usize, &mut [f32]) -> std::io::Result<()> + Sync + 'a;

/// Token matrices in a file that is going to be loaded.
#[derive(Clone, Copy)]
pub struct AwaitedTokens<'a> {
    /// The file, as errors name it.
    pub path: &'a Path,
    /// Tokens of each document.
    pub lengths: &'a [u32],
    /// Reads one of them.
    pub read: &'a ReadToken<'a>,
}

impl AwaitedTokens<'_> {
    /// Tokens of all documents.
    pub fn tokens(&self) -> u64 {
        self.lengths.iter().map(|&length| u64::from(length)).sum()
    }
}

impl fmt::Debug for AwaitedTokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedTokens")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Trains a codebook. The same documents and seed give the same codebook on machines of one instruction set.
///
/// # Errors
/// [`StorageError::InvalidSchema`] when the schema has no tokens, [`StorageError::InvalidOption`] when there are none to
/// learn from, damage to the tokens, [`StorageError::Cancelled`].
pub fn train_codebook(
    id: u64,
    schema: &Schema,
    set: &TrainingSet<'_>,
    seed: u64,
    pool: &ThreadPool,
    progress: &ProgressFn<'_>,
) -> Result<Codebook> {
    let Some(spec) = &schema.tokens else {
        let reason = "a codebook was asked for, expected a tokens field, got none; declare one".to_owned();
        return Err(StorageError::InvalidSchema { reason });
    };
    let mut random = SplitMix64::new(seed);
    let sample = Sample::draw(spec, set, DRAWN, &mut random, progress)?;
    let rows = sample.rows();
    let k = sample.centroids.min(1 << rows.max(1).ilog2());
    let mut kmeans = KMeans::from_rows(spec.dim, sample.read(&sample.first(k)), random.next_u64())?;
    let passes = PASSES.map(|tokens| tokens.saturating_mul(k).min(rows));
    let (mut done, total) = (0, passes.iter().sum());
    for rows in passes {
        pass(&mut kmeans, &sample, rows, pool, &mut |assigned| {
            done += assigned;
            sample.fault()?;
            report(progress, Stage::Centroids, done, total)
        })?;
    }
    let centroids = kmeans.finish();
    let heldout = sample.read(&sample.held_out());
    sample.fault()?;
    let trained_on_tokens = sample.collection_tokens;
    drop(sample);
    let codec = match spec.codec {
        TokenCodec::Buckets => ResidualCodec::fit_buckets(spec.bits, spec.dim, centroids, &heldout)?,
        TokenCodec::Trellis => ResidualCodec::fit_trellis(spec.bits, spec.dim, &centroids, &heldout)?,
    };
    let every = (heldout.len() / spec.dim).div_ceil(MEASURED).max(1);
    let measured: Vec<f32> = heldout
        .chunks_exact(spec.dim)
        .step_by(every)
        .flatten()
        .copied()
        .collect();
    let distortion = pool.install(|| Distortion::measured(&codec, &measured).mean());
    Ok(Codebook {
        id,
        codec,
        trained_on_tokens,
        distortion,
    })
}

/// One pass of k-means over so many of the sample's tokens. Sums are taken in the order of the tokens, whatever the threads
/// do.
fn pass(
    kmeans: &mut KMeans,
    sample: &Sample<'_>,
    rows: usize,
    pool: &ThreadPool,
    assigned: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    let task_tokens = (TASK_NUMBERS / sample.dim()).max(1);
    let at_once = task_tokens * TASKS_A_THREAD * pool.current_num_threads();
    let mut codes = Vec::with_capacity(rows);
    let tokens = sample.first(rows);
    for block in tokens.chunks(at_once) {
        let assign = |task: &[Drawn]| {
            let values = sample.read(task);
            let codes = kmeans.assign(&values);
            (values, codes)
        };
        let tasks: Vec<(Vec<f32>, Vec<u32>)> =
            pool.install(|| block.par_chunks(task_tokens).map(assign).collect());
        for (values, new) in tasks {
            kmeans.add(&values, &new);
            codes.extend(new);
        }
        assigned(block.len())?;
    }
    kmeans.finish_pass(&codes, |row, out| {
        if let Some(token) = tokens.get(row) {
            sample.read_one(*token, out);
        }
    });
    Ok(())
}
