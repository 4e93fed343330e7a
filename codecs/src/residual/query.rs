//! MaxSim of a query against residual codes.

use super::codec::{Quantizer, ResidualCodec};
use super::codes::{Codes, ResidualRows};
use super::pack;
use super::trellis::Trellis;
use crate::error::CodecError;
use crate::kernel::{BytePanels, LANES, Panels, ROW_TILE, ResidualTile, Unpack, quantize};
use crate::maxsim::MaxSimQuery;

/// A query bound to a codec: it knows its score with every centroid, and has its tokens in int8.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    codec: &'a ResidualCodec,
    query: &'a MaxSimQuery,
    /// `[centroid][query token]`, and one panel of fill that a kernel may read past the last.
    scores: Vec<f32>,
    /// The query as residuals meet it: turned, with a trellis.
    bytes: BytePanels,
    residuals: Residuals<'a>,
}

/// What reading the residuals of a quantizer takes.
#[derive(Clone, Debug)]
enum Residuals<'a> {
    Buckets { fields: Unpack, weight_scale: f32 },
    Trellis { trellis: &'a Trellis, turned: Panels },
}

/// The rows of one register tile, unpacked.
struct Tile {
    weights: Vec<u8>,
    weight_scales: [f32; ROW_TILE],
    centroids: [usize; ROW_TILE],
    inverse_norms: [f32; ROW_TILE],
}

impl<'a> ResidualQuery<'a> {
    /// Scores all centroids, in int8 on both sides.
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
        let tokens = query.num_tokens();
        let mut scores = vec![0.0; codec.len() * tokens + LANES];
        let straight = BytePanels::new(query.tokens(), dim);
        query
            .kernel()
            .scores_i8(&straight, tokens, codec.byte_rows(), &mut scores);
        let (bytes, residuals) = match codec.quantizer() {
            Quantizer::Buckets(buckets) => {
                let mut weights = vec![0; buckets.weights().len()];
                let weight_scale = quantize(buckets.weights(), &mut weights);
                let of_value = |v: usize| weights[v].cast_unsigned() ^ 0x80;
                let fields = Unpack::new(codec.bits(), &pack::by_field(codec.bits(), of_value));
                (straight, Residuals::Buckets { fields, weight_scale })
            }
            Quantizer::Trellis(trellis) => {
                let mut turned = query.tokens().to_vec();
                trellis.rotate(&mut turned);
                let (bytes, turned) = (BytePanels::new(&turned, dim), Panels::new(&turned, dim));
                (bytes, Residuals::Trellis { trellis, turned })
            }
        };
        Ok(Self {
            codec,
            query,
            scores,
            bytes,
            residuals,
        })
    }

    /// The dot product of each centroid with each query token, centroid-major: `[centroid * num_tokens + token]`. Both
    /// are rounded to int8: with a query token `q` and a centroid `c` a score is off by at most
    /// `|e_q| |c| + |q'| |e_c|`, where `e` is what rounding takes.
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
    /// by int8 residuals, plus the centroid's score, by the stored reciprocal norm.
    ///
    /// Of a query token `q` it is off [`score_exact`](Self::score_exact) by at most what
    /// [`centroid_scores`](Self::centroid_scores) says for the centroid and `(|e_q| |r| + |q'| |e_r|)` for the residual
    /// `r`, both by the reciprocal norm, where `e` is what rounding to int8 takes (nothing from a trellis residual); with
    /// buckets also 2^-14 of the score for the norm.
    #[must_use]
    pub fn score(&self, rows: ResidualRows<'_>) -> f32 {
        let bytes = self.codec.residual_bytes();
        debug_assert_eq!(rows.residuals.len(), rows.len() * bytes);
        let mut tile = Tile::new(rows.len(), self.codec.dim());
        let mut maxima = self.query.panels().maxima();
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            self.unpack(rows, first, count, &mut tile);
            let tile = ResidualTile {
                weights: &tile.weights[..count * self.codec.dim()],
                weight_scales: &tile.weight_scales[..count],
                centroids: &tile.centroids[..count],
                centroid_scores: &self.scores,
                inverse_norms: &tile.inverse_norms[..count],
            };
            self.query
                .kernel()
                .maxsim_residual(&self.bytes, &tile, &mut maxima);
        }
        self.query.panels().total(&maxima)
    }

    /// Unpacks `count` rows from `first` on.
    fn unpack(&self, rows: ResidualRows<'_>, first: usize, count: usize, tile: &mut Tile) {
        let (dim, bytes) = (self.codec.dim(), self.codec.residual_bytes());
        let (tokens, last) = (self.query.num_tokens(), self.codec.len() - 1);
        for (start, at) in tile.centroids.iter_mut().zip(first..).take(count) {
            *start = (rows.codes.get(at) as usize).min(last) * tokens;
        }
        let packed = &rows.residuals[first * bytes..][..count * bytes];
        let factors = &rows.factors[first..][..count];
        match &self.residuals {
            Residuals::Buckets { fields, weight_scale } => {
                let kernel = self.query.kernel();
                kernel.unpack(fields, packed, &mut tile.weights[..count * dim]);
                tile.weight_scales = [*weight_scale; ROW_TILE];
                for (inverse, code) in tile.inverse_norms.iter_mut().zip(factors) {
                    *inverse = pack::inverse_norm(*code);
                }
            }
            Residuals::Trellis { trellis, .. } => {
                let mut before = [0; ROW_TILE];
                let scales = tile.weight_scales.iter_mut().zip(&mut tile.inverse_norms);
                for ((before, code), (scale, inverse)) in before.iter_mut().zip(factors).zip(scales) {
                    let factors = trellis.factors(*code);
                    *before = factors.before;
                    (*scale, *inverse) = (factors.scale, factors.inverse_norm);
                }
                let weights = &mut tile.weights[..count * dim];
                trellis.unpack(self.query.kernel(), &before[..count], packed, weights);
            }
        }
    }

    /// MaxSim with the reconstructed tokens in single precision: with buckets, the score of the reference.
    #[must_use]
    pub fn score_exact(&self, rows: ResidualRows<'_>) -> f32 {
        match &self.residuals {
            Residuals::Buckets { .. } => self.score_decoded(rows),
            Residuals::Trellis { turned, .. } => self.score_turned(rows, turned),
        }
    }

    fn score_decoded(&self, rows: ResidualRows<'_>) -> f32 {
        let (dim, bytes) = (self.codec.dim(), self.codec.residual_bytes());
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
                self.codec
                    .decode(rows.codes.get(at), residual, rows.factors[at], out);
            }
            self.query
                .kernel()
                .maxsim_f32(self.query.panels(), &wide[..count * dim], &mut maxima);
        }
        self.query.panels().total(&maxima)
    }

    /// The query meets centroids as it is and residuals turned, so that no token has to be turned back.
    fn score_turned(&self, rows: ResidualRows<'_>, turned: &Panels) -> f32 {
        let (dim, tokens) = (self.codec.dim(), self.query.num_tokens());
        let kernel = self.query.kernel();
        let most = ROW_TILE.min(rows.len());
        let mut tile = Tile::new(rows.len(), dim);
        let mut wide = vec![0.0; most * dim];
        let (mut straight, mut residual) = (vec![0.0; most * tokens], vec![0.0; most * tokens]);
        let mut maxima = vec![f32::NEG_INFINITY; tokens];
        for first in (0..rows.len()).step_by(ROW_TILE) {
            let count = ROW_TILE.min(rows.len() - first);
            let wide = &mut wide[..count * dim];
            for (at, out) in (first..).zip(wide.chunks_exact_mut(dim)) {
                out.copy_from_slice(self.codec.centroid(rows.codes.get(at)));
            }
            kernel.scores_f32(self.query.panels(), wide, &mut straight);
            self.unpack(rows, first, count, &mut tile);
            for (out, byte) in wide.iter_mut().zip(&tile.weights) {
                *out = f32::from((byte ^ 0x80).cast_signed());
            }
            kernel.scores_f32(turned, wide, &mut residual);
            let sums = straight.chunks_exact(tokens).zip(residual.chunks_exact(tokens));
            let factors = tile.weight_scales.iter().zip(&tile.inverse_norms);
            for ((straight, residual), (scale, inverse)) in sums.zip(factors).take(count) {
                for ((most, c), r) in maxima.iter_mut().zip(straight).zip(residual) {
                    *most = most.max((c + r * scale) * inverse);
                }
            }
        }
        maxima.iter().sum()
    }
}

impl Tile {
    fn new(rows: usize, dim: usize) -> Self {
        Self {
            weights: vec![0; ROW_TILE.min(rows) * dim],
            weight_scales: [0.0; ROW_TILE],
            centroids: [0; ROW_TILE],
            inverse_norms: [0.0; ROW_TILE],
        }
    }
}
