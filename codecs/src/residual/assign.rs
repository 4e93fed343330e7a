//! The nearest centroid of each token: the exact argmax of the dot product.

use crate::kernel::Kernel;

/// Centroids, laid out for assignment.
#[derive(Clone, Debug)]
pub(crate) struct Assigner {
    kernel: Kernel,
}

impl Assigner {
    /// Lays out centroids of `dim` numbers.
    pub(crate) fn new(_dim: usize, _centroids: &[f32], kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// Appends the nearest centroid of each token; ties go to the lowest.
    pub(crate) fn assign(&self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        for token in tokens.chunks_exact(dim) {
            let mut best = (0u32, f32::NEG_INFINITY);
            for (id, centroid) in (0u32..).zip(centroids.chunks_exact(dim)) {
                let score = self.kernel.dot_f32(token, centroid);
                if score > best.1 {
                    best = (id, score);
                }
            }
            codes.push(best.0);
        }
    }
}
