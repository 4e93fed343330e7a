//! The quantizer of ColBERTv2: one table of quantile buckets for all dimensions.

use super::pack;
use crate::error::{CodecError, all_finite, length};
use crate::metric::{normalize, squared_norm};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Cutoffs and weights: a number of a residual becomes the count of cutoffs below it, and is reconstructed as the weight
/// of that count (`residual.py` of ColBERT's reference implementation).
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    bits: u8,
    cutoffs: Vec<f32>,
    weights: Vec<f32>,
    /// The `8 / bits` weights of each residual byte.
    byte_weights: Vec<f32>,
}

impl Buckets {
    pub(super) fn new(bits: u8, cutoffs: Vec<f32>, weights: Vec<f32>) -> Result<Self, CodecError> {
        length("bucket cutoffs", (1 << bits) - 1, cutoffs.len())?;
        length("bucket weights", 1 << bits, weights.len())?;
        all_finite(&cutoffs, cutoffs.len())?;
        all_finite(&weights, weights.len())?;
        if let Some(at) = cutoffs.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(CodecError::NotAscending {
                what: "bucket cutoffs",
                index: at + 1,
            });
        }
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let byte_weights = pack::unpack(&bytes, bits)
            .map(|value| weights[usize::from(value)])
            .collect();
        Ok(Self {
            bits,
            cutoffs,
            weights,
            byte_weights,
        })
    }

    /// The quantiles of residuals: cutoffs at `i / 2^bits`, weights at `(i + 1/2) / 2^bits`.
    pub(super) fn fit(bits: u8, mut residuals: Vec<f32>) -> Result<Self, CodecError> {
        residuals.sort_unstable_by(f32::total_cmp);
        let buckets = 1usize << bits;
        let steps = 2 * buckets;
        let cutoffs = (1..buckets).map(|i| quantile(&residuals, 2 * i, steps));
        let weights = (0..buckets).map(|i| quantile(&residuals, 2 * i + 1, steps));
        Self::new(bits, cutoffs.collect(), weights.collect())
    }

    /// Bits of a number: 1, 2 or 4.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// The bounds between buckets, ascending.
    #[must_use]
    pub fn cutoffs(&self) -> &[f32] {
        &self.cutoffs
    }

    /// What each bucket stands for.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Appends a token's packed residual; returns its factor, the reciprocal norm of its reconstruction.
    pub(super) fn encode(&self, token: &[f32], centroid: &[f32], row: &mut Row, out: &mut Vec<u8>) -> u16 {
        subtract(token, centroid, row);
        row.values.fill(0);
        // Counting the cutoffs below is torch.bucketize with right=False.
        for cutoff in &self.cutoffs {
            for (value, residual) in row.values.iter_mut().zip(&row.residual) {
                *value += u8::from(cutoff < residual);
            }
        }
        for ((sum, value), c) in row.residual.iter_mut().zip(&row.values).zip(centroid) {
            *sum = c + self.weights[usize::from(*value)];
        }
        pack::pack(&row.values, self.bits, out);
        pack::inverse_norm_code(1.0 / squared_norm(&row.residual).sqrt())
    }

    /// Adds a residual to its centroid and brings the sum to unit length.
    pub(super) fn decode(&self, residual: &[u8], out: &mut [f32]) {
        let each = 8 / usize::from(self.bits);
        for (out, byte) in out.chunks_exact_mut(each).zip(residual) {
            let weights = &self.byte_weights[usize::from(*byte) * each..][..each];
            out.iter_mut().zip(weights).for_each(|(v, w)| *v += w);
        }
        normalize(out);
    }
}

/// Memory of one encoding, kept from token to token.
#[derive(Debug)]
pub(super) struct Row {
    half: Vec<f16>,
    pub(super) residual: Vec<f32>,
    values: Vec<u8>,
}

impl Row {
    pub(super) fn new(dim: usize) -> Self {
        Self {
            half: vec![f16::ZERO; dim],
            residual: vec![0.0; dim],
            values: vec![0; dim],
        }
    }
}

/// The residual of a token, rounded to half precision, as the reference computes it on a GPU.
pub(super) fn subtract(token: &[f32], centroid: &[f32], row: &mut Row) {
    for ((r, x), c) in row.residual.iter_mut().zip(token).zip(centroid) {
        *r = x - c;
    }
    row.half.convert_from_f32_slice(&row.residual);
    row.half.convert_to_f32_slice(&mut row.residual);
}

/// The quantile `part / whole` of sorted numbers, interpolated between neighbours.
fn quantile(sorted: &[f32], part: usize, whole: usize) -> f32 {
    let last = sorted.len() - 1;
    let (low, rest) = (last * part / whole, last * part % whole);
    let (a, b) = (sorted[low], sorted[(low + 1).min(last)]);
    #[expect(clippy::cast_precision_loss, reason = "rest and whole are below 33")]
    let fraction = rest as f32 / whole as f32;
    a + (b - a) * fraction
}
