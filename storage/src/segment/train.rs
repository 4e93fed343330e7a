//! Training a codebook on a sample of a collection's tokens.
//!
//! Passages are drawn by the reference's formula, the number of centroids follows from the tokens that the sample lets
//! expect, and 5% of the sample (at most 50,000 tokens) are held out for the buckets; see
//! [`ResidualCodec`](latewood_codecs::ResidualCodec). Unlike the reference, k-means makes a few passes over growing
//! parts of the sample, [`PASSES`]: docs/decisions/0003-kmeans.md has what that costs in quality and saves in time.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use latewood_codecs::kmeans::KMeans;
use latewood_codecs::{ResidualCodec, TokenCodec};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::codebook::Codebook;
use super::options::{ProgressFn, Stage, report};
use super::random::SplitMix64;
use super::view::SegmentView;
use crate::document::Record;
use crate::error::{Result, StorageError};
use crate::schema::{Schema, TokensSpec};

/// The passes of k-means: over how many tokens a centroid each goes. The first move the centroids to where tokens are,
/// for which few tokens do; the last settle them.
const PASSES: [usize; 5] = [8, 8, 16, 32, 64];
/// Most bytes of training tokens in memory: beyond, the last passes have fewer tokens a centroid.
const MOST_SAMPLE_BYTES: usize = 512 << 20;
/// Most tokens that the buckets are fitted to.
const MOST_HELD_OUT: usize = 50_000;
/// Tokens that one task assigns.
const TASK_TOKENS: usize = 4096;
/// Tasks between two reports of progress.
const TASKS_AT_ONCE: usize = 16;

/// A live document with tokens.
#[derive(Clone, Copy)]
enum Passage<'a> {
    Stored { view: &'a SegmentView, ordinal: u32 },
    Fresh(&'a Record),
}

/// Trains a codebook on live documents of the segments and on fresh ones. The same documents and seed give the same
/// codebook on machines of one instruction set.
///
/// # Errors
/// [`StorageError::InvalidSchema`] when the schema has no tokens, [`StorageError::InvalidOption`] when there are none to
/// learn from, damage to the tokens, [`StorageError::Cancelled`].
pub fn train_codebook(
    id: u64,
    schema: &Schema,
    sources: &[SegmentView],
    memtable: &[Arc<Record>],
    seed: u64,
    pool: &ThreadPool,
    progress: &ProgressFn<'_>,
) -> Result<Codebook> {
    let Some(spec) = &schema.tokens else {
        let reason = "a codebook was asked for, expected a tokens field, got none; declare one".to_owned();
        return Err(StorageError::InvalidSchema { reason });
    };
    let mut random = SplitMix64::new(seed);
    let sample = Sample::draw(spec, sources, memtable, &mut random, progress)?;
    let dim = spec.dim;
    let (heldout, training) = sample.values.split_at(sample.heldout * dim);
    // A sample too small to hold anything out is learnt and measured whole.
    let training = if training.is_empty() { heldout } else { training };
    let heldout = if heldout.is_empty() { training } else { heldout };
    let rows = training.len() / dim;
    let k = sample.centroids.min(1 << rows.max(1).ilog2());
    let mut kmeans = pool.install(|| KMeans::new(dim, k, training, random.next_u64()))?;
    let passes = PASSES.map(|tokens| tokens.saturating_mul(k).min(rows));
    let (mut done, total) = (0, passes.iter().sum());
    for rows in passes {
        let part = training.get(..rows * dim).unwrap_or(training);
        let mut codes = Vec::with_capacity(rows);
        for block in part.chunks(TASK_TOKENS * TASKS_AT_ONCE * dim) {
            let tasks = || {
                block
                    .par_chunks(TASK_TOKENS * dim)
                    .map(|task| kmeans.assign(task))
                    .collect()
            };
            let assigned: Vec<Vec<u32>> = pool.install(tasks);
            codes.extend(assigned.into_iter().flatten());
            done += block.len() / dim;
            report(progress, Stage::Centroids, done, total)?;
        }
        kmeans.update(part, &codes);
    }
    let centroids = kmeans.finish();
    let codec = match spec.codec {
        TokenCodec::Buckets => ResidualCodec::fit_buckets(spec.bits, dim, centroids, heldout)?,
        TokenCodec::Trellis => ResidualCodec::fit_trellis(spec.bits, dim, &centroids, heldout)?,
    };
    Ok(Codebook {
        id,
        codec,
        trained_on_tokens: sample.collection_tokens,
    })
}

/// The tokens to learn from.
struct Sample {
    /// Rows of tokens in random order, the first of them held out.
    values: Vec<f32>,
    heldout: usize,
    centroids: usize,
    collection_tokens: u64,
}

impl Sample {
    fn draw(
        spec: &TokensSpec,
        sources: &[SegmentView],
        memtable: &[Arc<Record>],
        random: &mut SplitMix64,
        progress: &ProgressFn<'_>,
    ) -> Result<Self> {
        let passages = passages(sources, memtable)?;
        let wanted = ResidualCodec::sample_passages(passages.len() as u64);
        let chosen = choose(
            passages.len(),
            usize::try_from(wanted).unwrap_or(usize::MAX),
            random,
        );
        let collection_tokens: u64 = passages.iter().map(|(_, tokens)| *tokens as u64).sum();
        let tokens: usize = chosen
            .iter()
            .filter_map(|&i| passages.get(i))
            .map(|(_, tokens)| tokens)
            .sum();
        if tokens == 0 {
            return Err(StorageError::InvalidOption {
                name: "codebook",
                expected: "at least one live document with tokens to learn from".to_owned(),
                got: format!("{} documents", passages.len()),
            });
        }
        // The reference estimates the collection's tokens from the sample's documents; here they are known.
        let centroids = ResidualCodec::num_centroids(collection_tokens);
        let heldout = (tokens / 20).min(MOST_HELD_OUT);
        let wanted = centroids.saturating_mul(PASSES.into_iter().max().unwrap_or(1));
        let most = wanted.min(MOST_SAMPLE_BYTES / (spec.dim * size_of::<f32>()).max(1));
        let picked = choose(tokens, heldout.saturating_add(most), random);
        let mut values = Vec::with_capacity(picked.len() * spec.dim);
        let mut document = Vec::new();
        let mut first = 0;
        let mut next = 0;
        for (at, &index) in chosen.iter().enumerate() {
            let Some(&(passage, count)) = passages.get(index) else {
                continue;
            };
            let here = picked
                .iter()
                .skip(next)
                .take_while(|&&p| p < first + count)
                .count();
            if here > 0 {
                document.resize(count * spec.dim, 0.0);
                passage.read(&mut document)?;
                for &token in picked.iter().skip(next).take(here) {
                    let start = (token - first) * spec.dim;
                    values.extend_from_slice(document.get(start..start + spec.dim).unwrap_or_default());
                }
            }
            (first, next) = (first + count, next + here);
            if at % 1024 == 0 || at + 1 == chosen.len() {
                report(progress, Stage::Sample, at + 1, chosen.len())?;
            }
        }
        shuffle_rows(&mut values, spec.dim, random);
        Ok(Self {
            values,
            heldout,
            centroids,
            collection_tokens,
        })
    }
}

/// Live documents and their numbers of tokens.
fn passages<'a>(
    sources: &'a [SegmentView],
    memtable: &'a [Arc<Record>],
) -> Result<Vec<(Passage<'a>, usize)>> {
    let mut passages = Vec::new();
    for view in sources {
        let Some(tokens) = view.segment.tokens()? else {
            continue;
        };
        let live = view.live_runs().into_iter().flatten();
        passages.extend(live.map(|ordinal| (Passage::Stored { view, ordinal }, tokens.range(ordinal).len())));
    }
    let fresh = memtable
        .iter()
        .filter_map(|r| Some((Passage::Fresh(r), r.tokens.as_ref()?.len())));
    passages.extend(fresh);
    Ok(passages)
}

impl Passage<'_> {
    /// Writes the passage's tokens to a slice of exactly their numbers.
    fn read(self, out: &mut [f32]) -> Result<()> {
        match self {
            Self::Stored { view, ordinal } => {
                let Some(tokens) = view.segment.tokens()? else {
                    return Ok(());
                };
                let first = tokens.range(ordinal).start;
                match view.segment.original()? {
                    Some(original) => original.decode(first, out),
                    None => tokens.decode(first, out),
                }
            }
            Self::Fresh(record) => {
                if let Some(tokens) = &record.tokens {
                    tokens.as_f16().convert_to_f32_slice(out);
                }
            }
        }
        Ok(())
    }
}

/// `wanted` of the numbers below `of`, ascending, each equally likely: Knuth's selection sampling (TAOCP 2, 3.4.2 S).
fn choose(of: usize, wanted: usize, random: &mut SplitMix64) -> Vec<usize> {
    let wanted = wanted.min(of);
    let mut chosen = Vec::with_capacity(wanted);
    for number in 0..of {
        if chosen.len() == wanted {
            break;
        }
        if random.below((of - number) as u64) < (wanted - chosen.len()) as u64 {
            chosen.push(number);
        }
    }
    chosen
}

/// Puts rows in an order of which each is equally likely.
fn shuffle_rows(values: &mut [f32], dim: usize, random: &mut SplitMix64) {
    for row in (1..values.len() / dim.max(1)).rev() {
        let other = usize::try_from(random.below(row as u64 + 1)).unwrap_or(row);
        if other != row {
            let (front, back) = values.split_at_mut(row * dim);
            front[other * dim..][..dim].swap_with_slice(&mut back[..dim]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SplitMix64, choose, shuffle_rows};

    #[test]
    fn every_number_is_chosen_about_as_often() {
        let mut random = SplitMix64::new(3);
        let mut times = [0u32; 10];
        for _ in 0..10_000 {
            let chosen = choose(10, 3, &mut random);
            assert_eq!(chosen.len(), 3);
            assert!(chosen.is_sorted_by(|a, b| a < b));
            chosen.into_iter().for_each(|n| times[n] += 1);
        }
        assert!(times.iter().all(|&t| (2700..3300).contains(&t)), "{times:?}");
        assert_eq!(choose(4, 9, &mut random), [0, 1, 2, 3]);
    }

    #[test]
    fn shuffling_moves_rows_and_loses_none() {
        let mut values: Vec<f32> = (0..20u8)
            .flat_map(|i| [f32::from(i), f32::from(i) + 0.5])
            .collect();
        let before = values.clone();
        shuffle_rows(&mut values, 2, &mut SplitMix64::new(1));
        assert_ne!(values, before);
        let mut rows: Vec<[f32; 2]> = values.chunks(2).map(|r| [r[0], r[1]]).collect();
        assert!(rows.iter().all(|r| r[1] == r[0] + 0.5));
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert!(rows.iter().zip(0u8..).all(|(r, i)| r[0] == f32::from(i)));
    }
}
