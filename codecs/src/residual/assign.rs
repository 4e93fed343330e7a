//! The nearest centroid of each token: the exact argmax of the dot product.

use super::contest::{Bound, Contest};
use crate::kernel::{BytePanels, Kernel};

/// Tokens that pass over the centroids together: their int8 codes stay in the L1 cache.
const TOKENS: usize = 96;
/// Panels that such a block of tokens meets before the next panels: at 128 dimensions a quarter of an L2 cache.
const PANELS: usize = 128;

/// Centroids, laid out for assignment: each token is compared with every one, in int8, and with the few that may be
/// nearest in single precision; see [`Contest`].
#[derive(Clone, Debug)]
pub(crate) struct Assigner {
    kernel: Kernel,
    centroids: BytePanels,
    count: usize,
    bound: Bound,
}

impl Assigner {
    /// Lays out centroids of `dim` numbers.
    pub(crate) fn new(dim: usize, centroids: &[f32], kernel: Kernel) -> Self {
        Self {
            kernel,
            centroids: BytePanels::new(centroids, dim),
            count: centroids.len() / dim,
            bound: Bound::new(dim, centroids),
        }
    }

    /// Appends the nearest centroid of each token; ties go to the lowest.
    pub(crate) fn assign(&self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        let (mut contest, mut floors) = (Contest::default(), Vec::new());
        for tokens in tokens.chunks(TOKENS * dim) {
            contest.begin(&self.bound, dim, tokens);
            floors.clear();
            floors.resize(tokens.len() / dim, f32::NEG_INFINITY);
            let panels = self.centroids.panels();
            for first in (0..panels).step_by(PANELS) {
                let range = first..panels.min(first + PANELS);
                let (bytes, mut entries) = contest.parts();
                self.kernel.nearest(
                    &self.centroids,
                    range,
                    bytes,
                    &mut floors,
                    &mut |token, lane, score| {
                        if lane < self.count {
                            entries.enter(token, lane, score)
                        } else {
                            entries.floor(token)
                        }
                    },
                );
            }
            contest.decide(dim, centroids, tokens, codes);
        }
    }
}
