//! MaxSim of a query against reconstructed tokens, in single precision.

use super::codes::ResidualRows;
use super::query::{ResidualQuery, Residuals};
use super::tile::{Scratch, Tile};
use crate::kernel::{ByteRows, LANES, Panels, ROW_TILE};

/// Most scores of one document that are kept to find its maxima.
const MOST_SCORES: usize = 1 << 18;

/// 16 query tokens in single precision: as centroids meet them, and turned, as residuals do.
#[derive(Clone, Debug)]
pub(super) struct ExactPanel {
    straight: Panels,
    turned: Panels,
}

impl ExactPanel {
    /// One for each 16 rows of `dim` numbers.
    pub(super) fn of(straight: &[f32], turned: &[f32], dim: usize) -> Vec<Self> {
        let both = straight.chunks(LANES * dim).zip(turned.chunks(LANES * dim));
        both.map(|(straight, turned)| Self {
            straight: Panels::new(straight, dim),
            turned: Panels::new(turned, dim),
        })
        .collect()
    }
}

impl ResidualQuery<'_> {
    /// MaxSim with the reconstructed tokens in single precision: with buckets, the score of the reference.
    #[must_use]
    pub fn score_exact(&self, rows: ResidualRows<'_>) -> f32 {
        match &self.residuals {
            Residuals::Buckets { .. } => self.score_decoded(rows),
            Residuals::Trellis { panels, .. } => self.score_turned(rows, panels),
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

    /// The query meets centroids as it is and residuals turned, so that no token has to be turned back. Where the
    /// centroids are scored already, int8 scores tell which tokens can hold a maximum at all, for 16 query tokens at a time.
    fn score_turned(&self, rows: ResidualRows<'_>, panels: &[ExactPanel]) -> f32 {
        let mut maxima = vec![f32::NEG_INFINITY; panels.len() * LANES];
        let near = self.nearly_greatest(rows);
        for (at, (panel, maxima)) in panels.iter().zip(maxima.chunks_exact_mut(LANES)).enumerate() {
            match near.as_ref().and_then(|near| near.get(at)) {
                Some(places) => {
                    self.raise_exactly(rows, places.iter().map(|place| *place as usize), panel, maxima);
                }
                None => self.raise_exactly(rows, 0..rows.len(), panel, maxima),
            }
        }
        maxima[..self.query.num_tokens()].iter().sum()
    }

    fn raise_exactly(
        &self,
        rows: ResidualRows<'_>,
        mut places: impl ExactSizeIterator<Item = usize>,
        panel: &ExactPanel,
        maxima: &mut [f32],
    ) {
        let (dim, tokens) = (self.codec.dim(), panel.straight.tokens);
        let kernel = self.query.kernel();
        let most = ROW_TILE.min(places.len());
        let mut wide = vec![0.0; most * dim];
        let (mut straight, mut residual) = (vec![0.0; most * tokens], vec![0.0; most * tokens]);
        Scratch::with(dim, 0, |Scratch { tile, .. }| {
            while tile.take(&mut places) > 0 {
                let wide = &mut wide[..tile.count * dim];
                for (place, out) in tile.places.iter().zip(wide.chunks_exact_mut(dim)) {
                    out.copy_from_slice(self.codec.centroid(rows.codes.get(*place as usize)));
                }
                kernel.scores_f32(&panel.straight, wide, &mut straight);
                self.unpack(rows, tile);
                for (out, byte) in wide.iter_mut().zip(&tile.weights) {
                    *out = f32::from((byte ^ 0x80).cast_signed());
                }
                kernel.scores_f32(&panel.turned, wide, &mut residual);
                let sums = straight.chunks_exact(tokens).zip(residual.chunks_exact(tokens));
                let factors = tile.weight_scales.iter().zip(&tile.inverse_norms);
                for ((straight, residual), (scale, inverse)) in sums.zip(factors).take(tile.count) {
                    for ((most, c), r) in maxima.iter_mut().zip(straight).zip(residual) {
                        *most = most.max((c + r * scale) * inverse);
                    }
                }
            }
        });
    }

    /// For each 16 query tokens, the places of the tokens whose int8 score comes so near to the greatest of one of them that
    /// rounding may be what keeps it below; none where the centroids are not scored, or where it would take too much memory
    /// to find out.
    fn nearly_greatest(&self, rows: ResidualRows<'_>) -> Option<Vec<Vec<u32>>> {
        let tokens = self.query.num_tokens();
        if self.tables.scored == 0 || rows.len() <= ROW_TILE || rows.len() * tokens > MOST_SCORES {
            return None;
        }
        let panels = tokens.div_ceil(LANES);
        let mut floors = vec![f32::NEG_INFINITY; panels * LANES];
        Scratch::with(self.codec.dim(), 0, |Scratch { tile, scores, .. }| {
            // What lies beyond the tokens of a row is the fill of its last panel, and reaches no floor.
            scores.resize(rows.len() * panels * LANES, f32::NEG_INFINITY);
            if !self.quick_scores(rows, tile, scores, &mut floors) {
                return None;
            }
            for (floor, off) in floors.iter_mut().zip(&self.rounding) {
                *floor -= off;
            }
            floors[tokens..].fill(f32::INFINITY);
            let near = |panel: usize| {
                let floors = floors[panel * LANES..].first_chunk::<LANES>();
                let rows = scores.chunks_exact(panels * LANES).zip(0u32..);
                let near = rows.filter(|(scores, _)| {
                    let scores = scores[panel * LANES..].first_chunk::<LANES>();
                    scores
                        .zip(floors)
                        .is_some_and(|(scores, floors)| reaches(scores, floors))
                });
                near.map(|(_, place)| place).collect()
            };
            Some((0..panels).map(near).collect())
        })
    }

    /// The int8 scores of all rows, whole panels a row, and the greatest of each query token; false if there are none yet of
    /// a centroid.
    fn quick_scores(
        &self,
        rows: ResidualRows<'_>,
        tile: &mut Tile,
        mut out: &mut [f32],
        greatest: &mut [f32],
    ) -> bool {
        let (dim, tokens, width) = (self.codec.dim(), self.query.num_tokens(), greatest.len());
        let mut weights = ByteRows::default();
        let mut places = 0..rows.len();
        while tile.take(&mut places) > 0 {
            if !self.find_centroids(rows.codes, tile) {
                return false;
            }
            self.unpack(rows, tile);
            let (here, rest) = out.split_at_mut(tile.count * width);
            weights.values.clear();
            weights
                .values
                .extend_from_slice(&tile.weights[..tile.count * dim]);
            weights.scales.clear();
            weights
                .scales
                .extend_from_slice(&tile.weight_scales[..tile.count]);
            self.query.kernel().scores_i8(&self.turned, width, &weights, here);
            let parts = tile.centroids.iter().zip(&tile.inverse_norms);
            for (scores, (start, inverse)) in here.chunks_exact_mut(width).zip(parts) {
                let centroid = &self.tables.scores[*start..][..tokens];
                for ((score, c), greatest) in scores.iter_mut().zip(centroid).zip(&mut *greatest) {
                    *score = (*score + c) * inverse;
                    *greatest = greatest.max(*score);
                }
            }
            out = rest;
        }
        true
    }
}

/// Whether a score comes up to its floor.
fn reaches(scores: &[f32; LANES], floors: &[f32; LANES]) -> bool {
    let mut any = 0;
    for (score, floor) in scores.iter().zip(floors) {
        any |= u8::from(score >= floor);
    }
    any != 0
}
