//! Which of some centroids is nearest to each token, decided exactly at the cost of int8.

use crate::kernel::{exact_dot, quantize};
use crate::metric::squared_norm;

/// How far int8 scores with some centroids may be off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// The greatest norm of a centroid.
    norm: f32,
    /// The greatest norm of what rounding took from a centroid.
    error: f32,
}

impl Bound {
    pub(super) fn new(dim: usize, centroids: &[f32]) -> Self {
        let (mut norm, mut error) = (0.0f32, 0.0f32);
        let mut codes = vec![0; dim];
        for centroid in centroids.chunks_exact(dim) {
            norm = norm.max(squared_norm(centroid).sqrt());
            error = error.max(Rounded::new(centroid, &mut codes).error);
        }
        Self { norm, error }
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
        const LANES: usize = 8;
        let scale = quantize(row, codes);
        let (mut norms, mut errors) = ([0.0f32; LANES], [0.0f32; LANES]);
        // Every dimension is a multiple of 8.
        for (row, codes) in row.chunks_exact(LANES).zip(codes.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let rounded = f32::from(codes[lane]) * scale;
                norms[lane] += rounded * rounded;
                errors[lane] += (row[lane] - rounded) * (row[lane] - rounded);
            }
        }
        Self {
            scale,
            norm: norms.iter().sum::<f32>().sqrt(),
            error: errors.iter().sum::<f32>().sqrt(),
        }
    }
}

/// Some tokens, and the centroids that may be the nearest of each.
///
/// All dot products are computed in int8 first. By the Cauchy-Schwarz inequality such a score is off by at most
/// `|e_x| |c| + |x'| |e_c|`, where `e` is what rounding took from token and centroid, and `x'` the rounded token; so only
/// the centroids within twice that of the best can be nearest, and those few are compared in single precision. Scores
/// are in units of each token's scale.
#[derive(Default)]
pub(super) struct Contest {
    bytes: Vec<u8>,
    /// Twice the error bound of each token.
    margins: Vec<f32>,
    /// The norm of each token.
    norms: Vec<f32>,
    best: Vec<f32>,
    /// Token, centroid and score of all that reached the floor of their time.
    entries: Vec<(usize, usize, f32)>,
    nearest: Vec<(u32, f32)>,
}

/// Where centroids enter, beside the tokens' bytes.
pub(super) struct Entries<'c> {
    margins: &'c [f32],
    best: &'c mut [f32],
    entries: &'c mut Vec<(usize, usize, f32)>,
}

impl Entries<'_> {
    /// The score from which on a centroid may be a token's nearest.
    #[inline]
    pub(super) fn floor(&self, token: usize) -> f32 {
        self.best[token] - self.margins[token]
    }

    /// Adds a centroid that reached the floor; returns the new one.
    #[inline]
    pub(super) fn enter(&mut self, token: usize, centroid: usize, score: f32) -> f32 {
        self.entries.push((token, centroid, score));
        self.best[token] = self.best[token].max(score);
        self.floor(token)
    }
}

impl Contest {
    /// Takes tokens, rows of `dim` numbers, for centroids of this bound.
    pub(super) fn begin(&mut self, bound: &Bound, dim: usize, tokens: &[f32]) {
        self.bytes.clear();
        self.margins.clear();
        self.norms.clear();
        self.entries.clear();
        let mut codes = vec![0i8; dim];
        for token in tokens.chunks_exact(dim) {
            let rounded = Rounded::new(token, &mut codes);
            let error = rounded.error * bound.norm + rounded.norm * bound.error;
            // The second term covers the rounding of these single-precision sums themselves.
            let margin = 2.0 * error + 4e-5 * (rounded.norm + rounded.error) * bound.norm;
            let inverse = rounded.scale.recip();
            let in_units = |v: f32| {
                if inverse.is_finite() {
                    v * inverse
                } else {
                    f32::INFINITY
                }
            };
            self.margins.push(in_units(margin));
            self.norms.push(in_units(rounded.norm));
            self.bytes.extend(codes.iter().map(|c| c.cast_unsigned() ^ 0x80));
        }
        self.best.clear();
        self.best.resize(self.margins.len(), f32::NEG_INFINITY);
    }

    /// The tokens' biased bytes, and where their centroids enter.
    pub(super) fn parts(&mut self) -> (&[u8], Entries<'_>) {
        let entries = Entries {
            margins: &self.margins,
            best: &mut self.best,
            entries: &mut self.entries,
        };
        (&self.bytes, entries)
    }

    /// The tokens' biased bytes, and their norms.
    pub(super) fn tokens(&self) -> (&[u8], &[f32]) {
        (&self.bytes, &self.norms)
    }

    /// Appends the nearest of the centroids that entered for each token; ties go to the lowest.
    pub(super) fn decide(&mut self, dim: usize, centroids: &[f32], tokens: &[f32], codes: &mut Vec<u32>) {
        self.nearest.clear();
        self.nearest
            .resize(self.best.len(), (u32::MAX, f32::NEG_INFINITY));
        for (token, centroid, score) in &self.entries {
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
