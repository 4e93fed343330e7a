//! MaxSim of a query against residual codes.

use super::codec::ResidualCodec;
use super::codes::{Codes, ResidualRows};
use super::pack;
use crate::error::CodecError;
use crate::kernel::{BytePanels, LANES, ROW_TILE, ResidualTile, Unpack, quantize};
use crate::maxsim::MaxSimQuery;

/// A query bound to a codec: it knows its score with every centroid, and has its tokens in int8.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    codec: &'a ResidualCodec,
    query: &'a MaxSimQuery,
    /// `[centroid][query token]`, and one panel of fill that a kernel may read past the last.
    scores: Vec<f32>,
    bytes: BytePanels,
    fields: Unpack,
    weight_scale: f32,
}

impl<'a> ResidualQuery<'a> {
    /// Scores all centroids.
    ///
    /// # Errors
    /// A query of another dimension than the codec.
    pub fn new(codec: &'a ResidualCodec, query: &'a MaxSimQuery) -> Result<Self, CodecError> {
        let dim = codec.dim();
        if dim != query.dim() {
            return Err(CodecError::Dimension {
                expected: dim,
                got: query.dim(),
            });
        }
        let mut scores = vec![0.0; codec.len() * query.num_tokens() + LANES];
        query
            .kernel()
            .scores_f32(query.panels(), codec.centroids(), &mut scores);
        let mut weights = vec![0; codec.weights().len()];
        let weight_scale = quantize(codec.weights(), &mut weights);
        let fields = Unpack::new(
            codec.bits(),
            &pack::by_field(codec.bits(), |v| weights[v].cast_unsigned() ^ 0x80),
        );
        Ok(Self {
            codec,
            query,
            scores,
            bytes: BytePanels::new(query.tokens(), dim),
            fields,
            weight_scale,
        })
    }

    /// The dot product of each centroid with each query token, centroid-major: `[centroid * num_tokens + token]`.
    #[must_use]
    pub fn centroid_scores(&self) -> &[f32] {
        &self.scores[..self.codec.len() * self.query.num_tokens()]
    }

    /// The score of a document if its tokens were their centroids: the sum over query tokens of the greatest centroid
    /// score.
    #[must_use]
    pub fn centroid_interaction(&self, codes: Codes<'_>) -> f32 {
        let mut maxima = self.query.panels().maxima();
        match codes {
            Codes::U16(codes) => self.raise(codes.iter().map(|code| usize::from(*code)), &mut maxima),
            Codes::U32(codes) => self.raise(codes.iter().map(|code| *code as usize), &mut maxima),
        }
        self.query.panels().total(&maxima)
    }

    /// Raises the maxima of whole panels; lanes past the last token take whatever follows, and are not summed.
    fn raise(&self, codes: impl Iterator<Item = usize>, maxima: &mut [f32]) {
        let (tokens, last) = (self.query.num_tokens(), self.codec.len() - 1);
        for code in codes {
            let row = &self.scores[code.min(last) * tokens..][..maxima.len()];
            for (most, score) in maxima.iter_mut().zip(row) {
                *most = if *score > *most { *score } else { *most };
            }
        }
    }

    /// MaxSim with the tokens as their codes reconstruct them, computed from the codes in registers: int8 query tokens
    /// by int8 bucket weights, plus the centroid's score, by the stored reciprocal norm.
    ///
    /// Of a query token `q` it is off [`score_exact`](Self::score_exact) by at most
    /// `(|e_q| |w| + |q'| |e_w|) / |c + w|`, where `e` is what rounding to int8 takes from `q` and from the token's bucket
    /// weights `w`, plus 2^-14 of the score for the norm.
    #[must_use]
    pub fn score(&self, rows: ResidualRows<'_>) -> f32 {
        let (dim, bytes) = (self.codec.dim(), self.codec.residual_bytes());
        debug_assert_eq!(rows.residuals.len(), rows.len() * bytes);
        let (tokens, last) = (self.query.num_tokens(), self.codec.len() - 1);
        let kernel = self.query.kernel();
        let mut weights = vec![0; ROW_TILE.min(rows.len()) * dim];
        let (mut centroids, mut inverse_norms) = ([0; ROW_TILE], [0.0; ROW_TILE]);
        let mut maxima = self.query.panels().maxima();
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            let weights = &mut weights[..count * dim];
            kernel.unpack(
                &self.fields,
                &rows.residuals[first * bytes..][..count * bytes],
                weights,
            );
            for (at, (start, inverse)) in (first..)
                .zip(centroids.iter_mut().zip(&mut inverse_norms))
                .take(count)
            {
                *start = (rows.codes.get(at) as usize).min(last) * tokens;
                *inverse = pack::inverse_norm(rows.inverse_norms[at]);
            }
            let tile = ResidualTile {
                weights,
                weight_scale: self.weight_scale,
                centroids: &centroids[..count],
                centroid_scores: &self.scores,
                inverse_norms: &inverse_norms[..count],
            };
            kernel.maxsim_residual(&self.bytes, &tile, &mut maxima);
        }
        self.query.panels().total(&maxima)
    }

    /// MaxSim with the reconstructed tokens in single precision: the score of the reference.
    #[must_use]
    pub fn score_exact(&self, rows: ResidualRows<'_>) -> f32 {
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
                self.codec.decode(rows.codes.get(at), residual, out);
            }
            self.query
                .kernel()
                .maxsim_f32(self.query.panels(), &wide[..count * dim], &mut maxima);
        }
        self.query.panels().total(&maxima)
    }
}
