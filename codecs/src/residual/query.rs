//! MaxSim of a query against residual codes.

use super::codec::ResidualCodec;
use super::codes::{Codes, ResidualRows};
use super::pack;
use crate::error::CodecError;
use crate::kernel::ROW_TILE;
use crate::maxsim::MaxSimQuery;
use crate::metric::normalize;

/// A query bound to a codec: it knows its score with every centroid.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    codec: &'a ResidualCodec,
    query: &'a MaxSimQuery,
    /// `[centroid][query token]`.
    scores: Vec<f32>,
}

impl<'a> ResidualQuery<'a> {
    /// Scores all centroids.
    ///
    /// # Errors
    /// A query of another dimension than the codec.
    pub fn new(codec: &'a ResidualCodec, query: &'a MaxSimQuery) -> Result<Self, CodecError> {
        if codec.dim() != query.dim() {
            return Err(CodecError::Dimension {
                expected: codec.dim(),
                got: query.dim(),
            });
        }
        let mut scores = vec![0.0; codec.len() * query.num_tokens()];
        query
            .kernel()
            .scores_f32(query.panels(), codec.centroids(), &mut scores);
        Ok(Self { codec, query, scores })
    }

    /// The dot product of each centroid with each query token, centroid-major: `[centroid * num_tokens + token]`.
    #[must_use]
    pub fn centroid_scores(&self) -> &[f32] {
        &self.scores
    }

    /// The score of a document if its tokens were their centroids: the sum over query tokens of the greatest centroid
    /// score.
    #[must_use]
    pub fn centroid_interaction(&self, codes: Codes<'_>) -> f32 {
        let tokens = self.query.num_tokens();
        let mut maxima = vec![f32::NEG_INFINITY; tokens];
        for at in 0..codes.len() {
            let row = &self.scores[codes.get(at) as usize * tokens..][..tokens];
            for (most, score) in maxima.iter_mut().zip(row) {
                *most = most.max(*score);
            }
        }
        maxima.iter().sum()
    }

    /// MaxSim with the tokens as their codes reconstruct them, by the stored norms.
    #[must_use]
    pub fn score(&self, rows: ResidualRows<'_>) -> f32 {
        self.score_reconstructed(rows, |at, out| {
            let inverse = pack::inverse_norm(rows.inverse_norms[at]);
            out.iter_mut().for_each(|v| *v *= inverse);
        })
    }

    /// MaxSim with the reconstructed tokens in single precision: the score of the reference.
    #[must_use]
    pub fn score_exact(&self, rows: ResidualRows<'_>) -> f32 {
        self.score_reconstructed(rows, |_, out| {
            normalize(out);
        })
    }

    fn score_reconstructed(&self, rows: ResidualRows<'_>, scale: impl Fn(usize, &mut [f32])) -> f32 {
        let (dim, bytes) = (self.codec.dim(), self.codec.residual_bytes());
        debug_assert_eq!(rows.residuals.len(), rows.len() * bytes);
        let mut wide = vec![0.0; ROW_TILE.min(rows.len()) * dim];
        let mut maxima = self.query.panels().maxima();
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            let residuals = rows.residuals[first * bytes..].chunks_exact(bytes);
            for ((at, residual), out) in (first..)
                .zip(residuals)
                .zip(wide.chunks_exact_mut(dim))
                .take(count)
            {
                self.codec.reconstruct(rows.codes.get(at), residual, out);
                scale(at, out);
            }
            self.query
                .kernel()
                .maxsim_f32(self.query.panels(), &wide[..count * dim], &mut maxima);
        }
        self.query.panels().total(&maxima)
    }
}
