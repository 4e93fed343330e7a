//! Centroids and buckets: how a token becomes a code and residual bits, and back.

use super::assign::Assigner;
use super::codes::ResidualCodes;
use super::pack;
use crate::error::{CodecError, all_finite, length, whole_rows};
use crate::kernel::{Isa, Kernel};
use crate::metric::{normalize, squared_norm};
use crate::tokens::check_dim;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::OnceLock;

/// The residual codec of ColBERTv2 (Santhanam et al., NAACL 2022; `residual.py` of its reference implementation).
///
/// A token `x` is coded as the centroid `c` of greatest dot product and, for each dimension, the bucket of `x - c` among
/// `2^bits` that are cut at global quantiles of held-out residuals. It is reconstructed as `c` plus the buckets' weights,
/// brought to unit length; that length is part of the score.
#[derive(Clone, Debug)]
pub struct ResidualCodec {
    dim: usize,
    bits: u8,
    centroids: Vec<f32>,
    cutoffs: Vec<f32>,
    weights: Vec<f32>,
    /// The `8 / bits` weights of each residual byte.
    byte_weights: Vec<f32>,
    /// Made on the first assignment: a codec that only reads pays neither its time nor its memory.
    assigner: OnceLock<Assigner>,
}

impl ResidualCodec {
    /// A codec of given centroids (rows of `dim` numbers, rounded to half precision), `2^bits - 1` ascending cutoffs and
    /// `2^bits` weights.
    ///
    /// # Errors
    /// A dimension or bits that no codec has, lengths that do not fit, numbers that are not finite, cutoffs that descend.
    pub fn from_parts(
        dim: usize,
        bits: u8,
        mut centroids: Vec<f32>,
        cutoffs: Vec<f32>,
        weights: Vec<f32>,
    ) -> Result<Self, CodecError> {
        check_dim(dim)?;
        check_bits(bits)?;
        let rows = whole_rows(centroids.len(), dim)?;
        length("centroids", rows.clamp(1, 1 << 31), rows)?;
        length("bucket cutoffs", (1 << bits) - 1, cutoffs.len())?;
        length("bucket weights", 1 << bits, weights.len())?;
        round_to_half(&mut centroids);
        all_finite(&centroids, dim)?;
        all_finite(&cutoffs, cutoffs.len())?;
        all_finite(&weights, weights.len())?;
        if let Some(at) = cutoffs.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(CodecError::Cutoffs { index: at + 1 });
        }
        let byte_weights = byte_weights(bits, &weights);
        Ok(Self {
            dim,
            bits,
            centroids,
            cutoffs,
            weights,
            byte_weights,
            assigner: OnceLock::new(),
        })
    }

    /// The reference's number of centroids for a collection of so many tokens, `2^floor(log2(16 sqrt(n)))`, and never
    /// more than a quarter of them (which it is from 4,096 tokens on by itself).
    #[must_use]
    pub fn num_centroids(num_embeddings: u64) -> usize {
        // 16 sqrt(n) = sqrt(256 n), whose floored logarithm is half that of 256 n, floored: no rounding to go wrong.
        let formula = (u128::from(num_embeddings.max(1)) * 256).ilog2() / 2;
        let quarter = (num_embeddings / 4).max(1).ilog2();
        1 << formula.min(quarter)
    }

    /// The reference's number of passages to sample for training, `min(1 + floor(16 sqrt(120 n)), n)`.
    #[must_use]
    pub fn sample_passages(num_passages: u64) -> u64 {
        let root = (u128::from(num_passages) * 120 * 256).isqrt();
        u64::try_from(root.saturating_add(1))
            .unwrap_or(u64::MAX)
            .min(num_passages)
    }

    /// A codec whose buckets are the quantiles of the residuals of held-out tokens: cutoffs at `i / 2^bits`, weights at
    /// `(i + 1/2) / 2^bits`, one table for all dimensions.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts), and held-out tokens that are none or not finite.
    pub fn fit_buckets(
        bits: u8,
        dim: usize,
        centroids: Vec<f32>,
        heldout: &[f32],
    ) -> Result<Self, CodecError> {
        check_bits(bits)?;
        let rows = whole_rows(heldout.len(), dim)?;
        length("held-out tokens", rows.max(1), rows)?;
        all_finite(heldout, dim)?;
        let buckets = 1usize << bits;
        let mut codec = Self::from_parts(dim, bits, centroids, vec![0.0; buckets - 1], vec![0.0; buckets])?;
        let mut codes = Vec::with_capacity(rows);
        codec.assign(heldout, &mut codes);
        let mut residuals = vec![0.0; heldout.len()];
        let tokens = heldout.chunks_exact(dim).zip(residuals.chunks_exact_mut(dim));
        let mut half = vec![f16::ZERO; dim];
        for ((token, residual), code) in tokens.zip(&codes) {
            subtract(token, codec.centroid(*code), &mut half, residual);
        }
        residuals.sort_unstable_by(f32::total_cmp);
        let steps = 2 * buckets;
        codec.cutoffs = (1..buckets).map(|i| quantile(&residuals, 2 * i, steps)).collect();
        codec.weights = (0..buckets)
            .map(|i| quantile(&residuals, 2 * i + 1, steps))
            .collect();
        codec.byte_weights = byte_weights(bits, &codec.weights);
        Ok(codec)
    }

    /// Numbers a token.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bits of residual a dimension: 1, 2 or 4.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Number of centroids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// Whether there is no centroid, which no codec allows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.centroids.is_empty()
    }

    /// Bytes of residual a token.
    #[must_use]
    pub fn residual_bytes(&self) -> usize {
        self.dim * usize::from(self.bits) / 8
    }

    /// The centroids, row after row; each number is one of half precision.
    #[must_use]
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// A centroid; of a code beyond the last, the last.
    #[must_use]
    #[inline]
    pub fn centroid(&self, code: u32) -> &[f32] {
        &self.centroids[(code as usize).min(self.len() - 1) * self.dim..][..self.dim]
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

    /// Appends to `codes` the centroid of greatest dot product of each token; ties go to the lowest.
    pub fn assign(&self, tokens: &[f32], codes: &mut Vec<u32>) {
        let assigner = self
            .assigner
            .get_or_init(|| Assigner::new(self.dim, &self.centroids, Kernel::best()));
        assigner.assign(self.dim, &self.centroids, tokens, codes);
    }

    /// As [`assign`](Self::assign), by the kernels of one instruction set: for tests and benches.
    ///
    /// # Errors
    /// An instruction set that this machine has not.
    pub fn assign_with_isa(&self, isa: Isa, tokens: &[f32], codes: &mut Vec<u32>) -> Result<(), CodecError> {
        let assigner = Assigner::new(self.dim, &self.centroids, Kernel::new(isa)?);
        assigner.assign(self.dim, &self.centroids, tokens, codes);
        Ok(())
    }

    /// Appends the codes of tokens, finite rows of `dim` numbers.
    pub fn encode(&self, tokens: &[f32], out: &mut ResidualCodes) {
        debug_assert!(tokens.len().is_multiple_of(self.dim));
        let first = out.codes.len();
        self.assign(tokens, &mut out.codes);
        let dim = self.dim;
        let (mut half, mut row) = (vec![f16::ZERO; dim], vec![0.0f32; dim]);
        let mut values = vec![0u8; dim];
        for (token, code) in tokens.chunks_exact(dim).zip(&out.codes[first..]) {
            let centroid = self.centroid(*code);
            subtract(token, centroid, &mut half, &mut row);
            values.fill(0);
            // Counting the cutoffs below is torch.bucketize with right=False.
            for cutoff in &self.cutoffs {
                for (value, residual) in values.iter_mut().zip(&row) {
                    *value += u8::from(cutoff < residual);
                }
            }
            for ((sum, value), c) in row.iter_mut().zip(&values).zip(centroid) {
                *sum = c + self.weights[usize::from(*value)];
            }
            pack::pack(&values, self.bits, &mut out.residuals);
            out.inverse_norms
                .push(pack::inverse_norm_code(1.0 / squared_norm(&row).sqrt()));
        }
    }

    /// Reconstructs a token from its code and residual bytes, at unit length.
    pub fn decode(&self, code: u32, residual: &[u8], out: &mut [f32]) {
        let each = 8 / usize::from(self.bits);
        out.copy_from_slice(self.centroid(code));
        for (out, byte) in out.chunks_exact_mut(each).zip(residual) {
            let weights = &self.byte_weights[usize::from(*byte) * each..][..each];
            out.iter_mut().zip(weights).for_each(|(v, w)| *v += w);
        }
        normalize(out);
    }
}

fn check_bits(bits: u8) -> Result<(), CodecError> {
    if matches!(bits, 1 | 2 | 4) {
        Ok(())
    } else {
        Err(CodecError::Bits { got: bits })
    }
}

/// The weights of the values of every byte, in order.
fn byte_weights(bits: u8, weights: &[f32]) -> Vec<f32> {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    pack::unpack(&bytes, bits)
        .map(|value| weights[usize::from(value)])
        .collect()
}

/// The residual of a token, rounded to half precision, as the reference computes it on a GPU.
fn subtract(token: &[f32], centroid: &[f32], half: &mut [f16], residual: &mut [f32]) {
    for ((r, x), c) in residual.iter_mut().zip(token).zip(centroid) {
        *r = x - c;
    }
    half.convert_from_f32_slice(residual);
    half.convert_to_f32_slice(residual);
}

fn round_to_half(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
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
