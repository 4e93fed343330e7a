//! A first look at token matrices that are not coded.

use crate::kernel::{BytePanels, Kernel, LANES, ROW_TILE, ResidualTile};
use crate::maxsim::MaxSimQuery;
use crate::residual::directions::Directions;
use crate::tokens::TokenMatrix;

/// A query for a first look at token matrices: tokens that point the same way count as their sum, and everything is in int8. It
/// takes a fraction of the time of [`MaxSimQuery::score_f16`], and tells which documents are worth that.
///
/// But for what rounding takes, a score is at most the exact one: `max_d (p + q) . d` is at most `max_d p . d + max_d q . d`, and
/// hardly less where `p` and `q` are at a cosine of 0.8 or more with their sum.
#[derive(Clone, Debug)]
pub struct RoughQuery {
    kernel: Kernel,
    directions: BytePanels,
    count: usize,
    /// No token has a centroid to add the score of.
    no_centroids: Vec<f32>,
}

impl RoughQuery {
    /// The directions of a query.
    #[must_use]
    pub fn new(query: &MaxSimQuery) -> Self {
        let sums = Directions::new(query).sums;
        let directions = BytePanels::new(&sums, query.dim());
        Self {
            kernel: query.kernel(),
            count: sums.len() / query.dim(),
            no_centroids: vec![0.0; directions.panels() * LANES],
            directions,
        }
    }

    /// The score of a document of the query's dimension, nearly: a sum of dot products, as [`MaxSimQuery::score_f16`] gives. The
    /// first time the document's tokens are brought to int8, and kept with it: a byte a number.
    #[must_use]
    pub fn score(&self, document: &TokenMatrix) -> f32 {
        debug_assert_eq!(document.dim(), self.directions.dim);
        let (rows, dim) = (document.rounded(), self.directions.dim);
        let mut maxima = vec![f32::NEG_INFINITY; self.no_centroids.len()];
        for (weights, scales) in rows
            .values
            .chunks(ROW_TILE * dim)
            .zip(rows.scales.chunks(ROW_TILE))
        {
            let tile = ResidualTile {
                weights,
                weight_scales: scales,
                centroids: &[0; ROW_TILE][..scales.len()],
                centroid_scores: &self.no_centroids,
                inverse_norms: &[1.0; ROW_TILE][..scales.len()],
            };
            self.kernel.maxsim_residual(&self.directions, &tile, &mut maxima);
        }
        maxima.iter().take(self.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::Isa;

    /// Unit rows, all different.
    fn rows(count: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut state = seed | 1;
        let mut out = Vec::new();
        for _ in 0..count {
            let mut row: Vec<f32> = Vec::new();
            for _ in 0..dim {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                #[expect(clippy::cast_precision_loss, reason = "a random number")]
                row.push((state >> 40) as f32 / 8_388_608.0 - 1.0);
            }
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            out.extend(row.iter().map(|v| v / norm));
        }
        out
    }

    proptest! {
        #[test]
        fn tokens_that_differ_score_as_they_are_but_for_rounding(
            dim in (1usize..24).prop_map(|n| 8 * n),
            (tokens, length) in (1usize..40, 1usize..150),
            seed in any::<u64>(),
        ) {
            let document = TokenMatrix::from_f32(dim, &rows(length, dim, seed)).unwrap();
            for isa in Isa::available() {
                let query = MaxSimQuery::with_isa(dim, &rows(tokens, dim, !seed), isa).unwrap();
                let rough = RoughQuery::new(&query);
                let (exact, found) = (query.score_f16(document.as_f16()), rough.score(&document));
                #[expect(clippy::cast_precision_loss, reason = "few tokens")]
                let slack = 0.02 * tokens as f32;
                prop_assert!(found <= exact + slack, "{isa}: {found} for {exact}");
                if rough.count == tokens {
                    prop_assert!(found >= exact - slack, "{isa}: {found} for {exact}");
                }
            }
        }
    }

    #[test]
    fn tokens_that_are_alike_count_as_their_sum() {
        let mut twice = rows(3, 16, 9);
        twice.extend_from_within(..);
        let document = TokenMatrix::from_f32(16, &rows(20, 16, 4)).unwrap();
        let query = MaxSimQuery::new(16, &twice).unwrap();
        let rough = RoughQuery::new(&query);
        assert_eq!(rough.count, 3);
        let exact = query.score_f16(document.as_f16());
        assert!((rough.score(&document) - exact).abs() < 0.05, "{exact}");
    }
}
