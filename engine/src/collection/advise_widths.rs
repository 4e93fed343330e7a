//! How documents would score if their tokens were coded with other residual bits.

use latewood_codecs::{MaxSimQuery, Quantizer, ResidualCodec, ResidualCodes, TokenMatrix};
use latewood_storage::{Codebook, StorageError};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::advise_originals::{Originals, Stop};
use super::advise_pool::Pool;
use crate::error::Error;

/// The widths that codes have.
pub(super) const BITS: [u8; 3] = [1, 2, 4];
/// What is scored: codes of each width, and the whole tokens.
pub(super) const WIDTHS: usize = BITS.len() + 1;

/// Tokens that the quantizer of a width is fitted to, and documents that they come from at most.
const FIT_TOKENS: usize = 16_384;
const FIT_DOCUMENTS: usize = 256;
/// Documents that are in memory at once.
const BATCH: usize = 64;

/// Scores of a query's documents, in the order of its pool: at 1, 2 and 4 bits and whole; none of a document that is no more.
pub(super) type Scores = Vec<Option<[f32; WIDTHS]>>;

/// A codec a width, all of the same centroids.
struct Codecs(Vec<ResidualCodec>);

/// Scores each query's documents at each width, as an exhaustive search over such codes does: by the reconstructions of the
/// tokens. The tokens are read twice at most, a batch of documents at a time.
pub(super) fn score(
    pool: &Pool,
    queries: &[MaxSimQuery],
    codebook: &Codebook,
    originals: &mut Originals<'_>,
    threads: Option<&ThreadPool>,
) -> Result<Vec<Scores>, Stop> {
    let codecs = Codecs::fit(codebook, &sample(pool, originals, codebook.codec.dim())?, threads)?;
    let askers = pool.askers();
    let mut scores: Vec<Scores> = pool.queries.iter().map(|query| vec![None; query.len()]).collect();
    let numbers: Vec<usize> = (0..pool.documents.len()).collect();
    for batch in numbers.chunks(BATCH) {
        let ids = &pool.documents[batch[0]..][..batch.len()];
        let matrices = originals.read(ids)?;
        let tasks: Vec<(&[(usize, usize)], &TokenMatrix)> = batch
            .iter()
            .zip(&matrices)
            .filter_map(|(&document, matrix)| Some((askers[document].as_slice(), matrix.as_ref()?)))
            .collect();
        let work =
            |(askers, matrix): &(&[(usize, usize)], &TokenMatrix)| codecs.score(queries, askers, matrix);
        let scored: Vec<Vec<[f32; WIDTHS]>> = match threads {
            Some(threads) => threads.install(|| tasks.par_iter().map(work).collect()),
            None => tasks.iter().map(work).collect(),
        };
        for ((askers, _), row) in tasks.iter().zip(scored) {
            for (&(query, place), each) in askers.iter().zip(row) {
                scores[query][place] = Some(each);
            }
        }
    }
    originals.check()?;
    Ok(scores)
}

/// Tokens of documents that are spread evenly over the pool, row after row.
fn sample(pool: &Pool, originals: &mut Originals<'_>, dim: usize) -> Result<Vec<f32>, Stop> {
    let every = pool.documents.len().div_ceil(FIT_DOCUMENTS).max(1);
    let ids: Vec<_> = pool.documents.iter().step_by(every).cloned().collect();
    let each = (FIT_TOKENS / ids.len().max(1)).max(1);
    let mut tokens = Vec::new();
    for ids in ids.chunks(BATCH) {
        for matrix in originals.read(ids)?.into_iter().flatten() {
            let step = matrix.len().div_ceil(each).max(1);
            let rows = matrix.to_f32();
            rows.chunks_exact(dim)
                .step_by(step)
                .for_each(|row| tokens.extend_from_slice(row));
        }
    }
    originals.check()?;
    Ok(tokens)
}

impl Codecs {
    /// The collection's own codec for its own width, and for the others one of the same centroids whose quantizer is fitted to
    /// a sample of tokens.
    fn fit(codebook: &Codebook, sample: &[f32], threads: Option<&ThreadPool>) -> Result<Self, Error> {
        let own = &codebook.codec;
        let fit = |bits: &u8| match own.quantizer() {
            _ if *bits == own.bits() => Ok(own.clone()),
            Quantizer::Buckets(_) => {
                ResidualCodec::fit_buckets(*bits, own.dim(), own.centroids().to_vec(), sample)
            }
            Quantizer::Trellis(_) => ResidualCodec::fit_trellis(*bits, own.dim(), own.centroids(), sample),
        };
        let codecs: Result<Vec<_>, _> = match threads {
            Some(threads) => threads.install(|| BITS.par_iter().map(fit).collect()),
            None => BITS.iter().map(fit).collect(),
        };
        Ok(Self(codecs.map_err(StorageError::from)?))
    }

    /// The scores of one document for those who ask for it, a row each.
    fn score(
        &self,
        queries: &[MaxSimQuery],
        askers: &[(usize, usize)],
        matrix: &TokenMatrix,
    ) -> Vec<[f32; WIDTHS]> {
        let whole = matrix.to_f32();
        let mut scores = vec![[0.0; WIDTHS]; askers.len()];
        let mut decoded = whole.clone();
        for width in 0..WIDTHS {
            if let Some(codec) = self.0.get(width) {
                recode(codec, &whole, &mut decoded);
            } else {
                decoded.copy_from_slice(&whole);
            }
            for (scores, (query, _)) in scores.iter_mut().zip(askers) {
                scores[width] = queries[*query].score_f32(&decoded);
            }
        }
        scores
    }
}

/// What a codec makes of tokens.
fn recode(codec: &ResidualCodec, tokens: &[f32], out: &mut [f32]) {
    let mut codes = ResidualCodes::default();
    codec.encode(tokens, &mut codes);
    let residuals = codes.residuals.chunks_exact(codec.residual_bytes());
    let coded = codes.codes.iter().zip(residuals).zip(&codes.factors);
    for (((code, residual), factors), out) in coded.zip(out.chunks_exact_mut(codec.dim())) {
        codec.decode(*code, residual, *factors, out);
    }
}
