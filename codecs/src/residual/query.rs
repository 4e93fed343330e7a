//! MaxSim of a query against residual codes.

use super::codec::{Quantizer, ResidualCodec};
use super::codes::{Codes, ResidualRows};
use super::pack;
use super::trellis::Trellis;
use crate::error::CodecError;
use crate::kernel::{BytePanels, LANES, Panels, ROW_TILE, ResidualTile, Unpack, quantize};
use crate::maxsim::MaxSimQuery;
use crate::metric::squared_norm;

/// A query bound to a codec: it knows its score with every centroid, and has its tokens in int8.
#[derive(Clone, Debug)]
pub struct ResidualQuery<'a> {
    codec: &'a ResidualCodec,
    query: &'a MaxSimQuery,
    tables: CentroidTables,
    /// What a level of each query token is worth; whole panels.
    units: Vec<f32>,
    /// The query as residuals meet it: turned, with a trellis.
    bytes: BytePanels,
    residuals: Residuals<'a>,
}

/// A query's scores with all centroids. They take megabytes: whoever runs query after query hands the memory of one to
/// the next.
#[derive(Clone, Debug, Default)]
pub struct CentroidTables {
    /// `[centroid][query token]`, and one panel of fill that a kernel may read past the last.
    scores: Vec<f32>,
    /// The same in 255 steps from 0 to the query token's norm: `[centroid][query token]`, whole panels.
    levels: Vec<u8>,
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
        Self::new_in(codec, query, CentroidTables::default())
    }

    /// As [`new`](Self::new), in the memory of an earlier query.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_in(
        codec: &'a ResidualCodec,
        query: &'a MaxSimQuery,
        mut tables: CentroidTables,
    ) -> Result<Self, CodecError> {
        let dim = codec.dim();
        if dim != query.dim() {
            return Err(CodecError::Dimension {
                expected: dim,
                got: query.dim(),
            });
        }
        let tokens = query.num_tokens();
        let straight = BytePanels::new(query.tokens(), dim);
        let units = units(query.tokens(), dim);
        let step = |unit: &f32| if *unit > 0.0 { unit.recip() } else { 0.0 };
        let steps: Vec<f32> = units.iter().map(step).collect();
        tables.scores.resize(codec.len() * tokens + LANES, 0.0);
        tables.levels.resize(codec.len() * units.len(), 0);
        let rows = codec.byte_rows();
        let (scores, levels) = (&mut tables.scores, &mut tables.levels);
        query
            .kernel()
            .scores_i8(&straight, tokens, rows, scores, &steps, levels);
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
            tables,
            units,
            bytes,
            residuals,
        })
    }

    /// The dot product of each centroid with each query token, centroid-major: `[centroid * num_tokens + token]`. Both
    /// are rounded to int8: with a query token `q` and a centroid `c` a score is off by at most
    /// `|e_q| |c| + |q'| |e_c|`, where `e` is what rounding takes.
    #[must_use]
    pub fn centroid_scores(&self) -> &[f32] {
        &self.tables.scores[..self.codec.len() * self.query.num_tokens()]
    }

    /// The memory of the scores, for another query.
    #[must_use]
    pub fn into_tables(self) -> CentroidTables {
        self.tables
    }

    /// [`centroid_scores`](Self::centroid_scores) in 255 steps from 0 (and all below) to the query token's norm (and all
    /// above), centroid-major; a row is [`level_units`](Self::level_units) long, and 0 where there is no token.
    #[must_use]
    pub fn centroid_levels(&self) -> &[u8] {
        &self.tables.levels
    }

    /// What a level is worth: a number for each query token, and zeros up to a multiple of 16.
    #[must_use]
    pub fn level_units(&self) -> &[f32] {
        &self.units
    }

    /// The score of a document if its tokens were their centroids: the sum over query tokens of the greatest level of a
    /// centroid score. It is off by half a step a query token, and counts what is below 0 as 0.
    #[must_use]
    pub fn centroid_interaction(&self, codes: Codes<'_>) -> f32 {
        let (kernel, levels) = (self.query.kernel(), &self.tables.levels);
        match codes {
            Codes::U16(codes) => kernel.interaction_u16(levels, &self.units, codes),
            Codes::U32(codes) => kernel.interaction_u32(levels, &self.units, codes),
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
                centroid_scores: &self.tables.scores,
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
        match rows.codes {
            Codes::U16(codes) => {
                for (start, code) in tile.centroids.iter_mut().zip(&codes[first..first + count]) {
                    *start = usize::from(*code).min(last) * tokens;
                }
            }
            Codes::U32(codes) => {
                for (start, code) in tile.centroids.iter_mut().zip(&codes[first..first + count]) {
                    *start = (*code as usize).min(last) * tokens;
                }
            }
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

/// What a level of each query token is worth: its norm in 255 steps.
fn units(tokens: &[f32], dim: usize) -> Vec<f32> {
    let count = tokens.len() / dim;
    let mut units = vec![0.0; count.div_ceil(LANES) * LANES];
    for (unit, token) in units.iter_mut().zip(tokens.chunks_exact(dim)) {
        *unit = squared_norm(token).sqrt() / 255.0;
    }
    units
}
