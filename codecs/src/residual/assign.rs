//! The nearest centroid of each token: the exact argmax of the dot product.

use crate::kernel::{BytePanels, Kernel, exact_dot, quantize};
use crate::metric::squared_norm;

/// Tokens that pass over the centroids together: their int8 codes stay in the L1 cache.
const TOKENS: usize = 96;
/// Panels that such a block of tokens meets before the next panels: at 128 dimensions a quarter of an L2 cache.
const PANELS: usize = 128;

/// Centroids, laid out for assignment.
///
/// All dot products are computed in int8 first. By the Cauchy-Schwarz inequality such a score is off by at most
/// `|e_x| |c| + |x'| |e_c|`, where `e` is what rounding took from token and centroid, and `x'` the rounded token; so only
/// the centroids within twice that of the best can be nearest, and those few are compared in single precision.
#[derive(Clone, Debug)]
pub(crate) struct Assigner {
    kernel: Kernel,
    centroids: BytePanels,
    count: usize,
    /// The greatest norm of a centroid.
    norm: f32,
    /// The greatest norm of what rounding took from a centroid.
    error: f32,
}

impl Assigner {
    /// Lays out centroids of `dim` numbers.
    pub(crate) fn new(dim: usize, centroids: &[f32], kernel: Kernel) -> Self {
        let (mut norm, mut error) = (0.0f32, 0.0f32);
        let mut codes = vec![0; dim];
        for centroid in centroids.chunks_exact(dim) {
            let rounded = Rounded::new(centroid, &mut codes);
            norm = norm.max(squared_norm(centroid).sqrt());
            error = error.max(rounded.error);
        }
        let count = centroids.len() / dim;
        Self {
            kernel,
            centroids: BytePanels::new(centroids, dim),
            count,
            norm,
            error,
        }
    }

    /// Appends the nearest centroid of each token; ties go to the lowest.
    pub(crate) fn assign(&self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        let mut block = Block::default();
        for tokens in tokens.chunks(TOKENS * dim) {
            block.prepare(self, dim, tokens);
            let panels = self.centroids.panels();
            for first in (0..panels).step_by(PANELS) {
                let range = first..panels.min(first + PANELS);
                block.meet(self, range);
            }
            block.decide(dim, centroids, tokens, codes);
        }
    }
}

/// A row rounded to int8, and what that took.
struct Rounded {
    scale: f32,
    norm: f32,
    error: f32,
}

impl Rounded {
    fn new(row: &[f32], codes: &mut [i8]) -> Self {
        let scale = quantize(row, codes);
        let (mut norm, mut error) = (0.0f32, 0.0f32);
        for (v, code) in row.iter().zip(codes.iter()) {
            let rounded = f32::from(*code) * scale;
            norm += rounded * rounded;
            error += (v - rounded) * (v - rounded);
        }
        Self {
            scale,
            norm: norm.sqrt(),
            error: error.sqrt(),
        }
    }
}

/// Some tokens on their way past the centroids. Scores are in units of each token's scale.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Twice the error bound of each token.
    margins: Vec<f32>,
    best: Vec<f32>,
    floors: Vec<f32>,
    /// Token, centroid and score of all that reached the floor of their time.
    candidates: Vec<(usize, usize, f32)>,
    nearest: Vec<(u32, f32)>,
}

impl Block {
    fn prepare(&mut self, assigner: &Assigner, dim: usize, tokens: &[f32]) {
        let count = tokens.len() / dim;
        self.bytes.clear();
        self.margins.clear();
        self.candidates.clear();
        let mut codes = vec![0i8; dim];
        for token in tokens.chunks_exact(dim) {
            let rounded = Rounded::new(token, &mut codes);
            let bound = rounded.error * assigner.norm + rounded.norm * assigner.error;
            // The second term covers the rounding of these single-precision sums themselves.
            let margin = 2.0 * bound + 4e-5 * (rounded.norm + rounded.error) * assigner.norm;
            self.margins.push(if rounded.scale > 0.0 {
                margin / rounded.scale
            } else {
                f32::INFINITY
            });
            self.bytes.extend(codes.iter().map(|c| c.cast_unsigned() ^ 0x80));
        }
        self.best = vec![f32::NEG_INFINITY; count];
        self.floors = vec![f32::NEG_INFINITY; count];
    }

    fn meet(&mut self, assigner: &Assigner, panels: std::ops::Range<usize>) {
        let Self {
            bytes,
            margins,
            best,
            floors,
            candidates,
            ..
        } = self;
        assigner.kernel.nearest(
            &assigner.centroids,
            panels,
            bytes,
            floors,
            &mut |token, centroid, score| {
                if centroid < assigner.count {
                    candidates.push((token, centroid, score));
                    best[token] = best[token].max(score);
                }
                best[token] - margins[token]
            },
        );
    }

    fn decide(&mut self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        self.nearest.clear();
        self.nearest
            .resize(self.floors.len(), (u32::MAX, f32::NEG_INFINITY));
        for (token, centroid, score) in &self.candidates {
            if *score < self.best[*token] - self.margins[*token] {
                continue;
            }
            let exact = exact_dot(&tokens[token * dim..][..dim], &centroids[centroid * dim..][..dim]);
            let id = u32::try_from(*centroid).unwrap_or(u32::MAX);
            let nearest = &mut self.nearest[*token];
            if exact > nearest.1 || (exact == nearest.1 && id < nearest.0) {
                *nearest = (id, exact);
            }
        }
        // A token of NaN has no nearest centroid: any will do, as long as it exists.
        codes.extend(
            self.nearest
                .iter()
                .map(|(id, _)| if *id == u32::MAX { 0 } else { *id }),
        );
    }
}
