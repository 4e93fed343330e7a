//! Centroids and a quantizer: how a token becomes a code and residual bits, and back.

use super::assign::Assigner;
use super::buckets::{self, Buckets};
use super::codes::ResidualCodes;
use super::groups::CentroidSearch;
use super::trellis::{self, Trellis};
use crate::error::{CodecError, all_finite, length, whole_rows};
use crate::kernel::{ByteRows, Isa, Kernel};
use crate::tokens::check_dim;
use half::f16;
use std::sync::OnceLock;

/// Residual compression of token vectors: a token `x` is coded as the centroid `c` of greatest dot product and a few bits
/// a dimension of `x - c`, and reconstructed as their sum brought to unit length; that length is part of the score.
///
/// The bits are those of a [`Quantizer`]: the buckets of ColBERTv2 (Santhanam et al., NAACL 2022; `residual.py` of its
/// reference implementation), byte for byte, or a trellis code, which loses less.
#[derive(Clone, Debug)]
pub struct ResidualCodec {
    dim: usize,
    bits: u8,
    centroids: Vec<f32>,
    quantizer: Quantizer,
    /// Made on the first assignment: a codec that only reads pays neither its time nor its memory.
    assigner: OnceLock<Assigner>,
    /// As `assigner`, for assignment in two levels.
    search: OnceLock<CentroidSearch>,
    /// The centroids in int8: of a trellis codec just what they are, of buckets made on the first query.
    bytes: OnceLock<ByteRows>,
}

/// How the residual of a token becomes bits.
#[derive(Clone, Debug)]
pub enum Quantizer {
    /// The reference's. Its centroids are numbers of half precision.
    Buckets(Buckets),
    /// Trellis-coded quantisation. Its centroids are int8, each by a scale of its own.
    Trellis(Trellis),
}

/// Centroids in int8: `dim` bytes a row, each its code plus 128, and a scale a row.
#[derive(Clone, Debug, PartialEq)]
pub struct CentroidBytes {
    /// Row after row.
    pub values: Vec<u8>,
    /// What each row's codes are multiplied by.
    pub scales: Vec<f32>,
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
        check_shape(dim, bits, &centroids)?;
        let buckets = Buckets::new(bits, cutoffs, weights)?;
        round_to_half(&mut centroids);
        Self::new(dim, bits, centroids, Quantizer::Buckets(buckets))
    }

    /// A trellis codec of given centroids and the tables that a token's factors index: `2^4`, `2^5` or `2^6` scales and
    /// `2^5`, `2^5` or `2^6` reciprocal norms for 1, 2 or 4 bits, ascending.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn from_trellis(
        dim: usize,
        bits: u8,
        centroids: CentroidBytes,
        scales: Vec<f32>,
        inverse_norms: Vec<f32>,
    ) -> Result<Self, CodecError> {
        check_dim(dim)?;
        check_bits(bits)?;
        length(
            "centroid scales",
            whole_rows(centroids.values.len(), dim)?,
            centroids.scales.len(),
        )?;
        let rows = ByteRows {
            values: centroids.values,
            scales: centroids.scales,
        };
        let trellis = Trellis::new(bits, dim, scales, inverse_norms)?;
        let codec = Self::new(dim, bits, rows.decode(), Quantizer::Trellis(trellis))?;
        // A new cell takes what it is given.
        let _ = codec.bytes.set(rows);
        Ok(codec)
    }

    fn new(dim: usize, bits: u8, centroids: Vec<f32>, quantizer: Quantizer) -> Result<Self, CodecError> {
        check_shape(dim, bits, &centroids)?;
        all_finite(&centroids, dim)?;
        Ok(Self {
            dim,
            bits,
            centroids,
            quantizer,
            assigner: OnceLock::new(),
            search: OnceLock::new(),
            bytes: OnceLock::new(),
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
        mut centroids: Vec<f32>,
        heldout: &[f32],
    ) -> Result<Self, CodecError> {
        check_shape(dim, bits, &centroids)?;
        round_to_half(&mut centroids);
        let blank = Buckets::new(bits, vec![0.0; (1 << bits) - 1], vec![0.0; 1 << bits])?;
        let mut codec = Self::new(dim, bits, centroids, Quantizer::Buckets(blank))?;
        let codes = codec.assign_heldout(heldout, Self::assign)?;
        let mut residuals = Vec::with_capacity(heldout.len());
        let mut row = buckets::Row::new(dim);
        for (token, code) in heldout.chunks_exact(dim).zip(&codes) {
            buckets::subtract(token, codec.centroid(*code), &mut row);
            residuals.extend_from_slice(&row.residual);
        }
        codec.quantizer = Quantizer::Buckets(Buckets::fit(bits, residuals)?);
        Ok(codec)
    }

    /// A trellis codec of given centroids (rounded to int8), whose scales and norms span those of held-out tokens.
    ///
    /// # Errors
    /// As [`fit_buckets`](Self::fit_buckets).
    pub fn fit_trellis(bits: u8, dim: usize, centroids: &[f32], heldout: &[f32]) -> Result<Self, CodecError> {
        check_shape(dim, bits, centroids)?;
        all_finite(centroids, dim)?;
        let rows = ByteRows::new(centroids, dim);
        let blank = Buckets::new(bits, vec![0.0; (1 << bits) - 1], vec![0.0; 1 << bits])?;
        let mut codec = Self::new(dim, bits, rows.decode(), Quantizer::Buckets(blank))?;
        let codes = codec.assign_heldout(heldout, Self::assign_two_level)?;
        let centroids = codes.iter().map(|code| codec.centroid(*code));
        let trellis = Trellis::fit(bits, dim, heldout.chunks_exact(dim).zip(centroids))?;
        codec.quantizer = Quantizer::Trellis(trellis);
        // A new cell takes what it is given.
        let _ = codec.bytes.set(rows);
        Ok(codec)
    }

    fn assign_heldout(
        &self,
        heldout: &[f32],
        assign: impl Fn(&Self, &[f32], &mut Vec<u32>),
    ) -> Result<Vec<u32>, CodecError> {
        let rows = whole_rows(heldout.len(), self.dim)?;
        length("held-out tokens", rows.max(1), rows)?;
        all_finite(heldout, self.dim)?;
        let mut codes = Vec::with_capacity(rows);
        assign(self, heldout, &mut codes);
        Ok(codes)
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

    /// The root mean square of a number of a residual, about: what the residual adds to a score with a unit vector varies by
    /// as much.
    #[must_use]
    pub fn residual_spread(&self) -> f32 {
        match &self.quantizer {
            Quantizer::Buckets(buckets) => {
                let weights = buckets.weights();
                #[expect(clippy::cast_precision_loss, reason = "at most 16")]
                let count = weights.len() as f32;
                (crate::metric::squared_norm(weights) / count).sqrt()
            }
            Quantizer::Trellis(trellis) => {
                let scales = trellis.scales();
                scales.get(scales.len() / 2).copied().unwrap_or_default()
            }
        }
    }

    /// How residuals become bits.
    #[must_use]
    pub fn quantizer(&self) -> &Quantizer {
        &self.quantizer
    }

    /// The centroids, row after row: numbers of half precision with buckets, of int8 by a scale a row with a trellis.
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

    /// The centroids in int8: exact with a trellis, rounded with buckets.
    #[must_use]
    pub fn centroid_bytes(&self) -> CentroidBytes {
        let rows = self.byte_rows().clone();
        CentroidBytes {
            values: rows.values,
            scales: rows.scales,
        }
    }

    pub(crate) fn byte_rows(&self) -> &ByteRows {
        self.bytes
            .get_or_init(|| ByteRows::new(&self.centroids, self.dim))
    }

    /// Appends to `codes` the centroid of greatest dot product of each token; ties go to the lowest.
    pub fn assign(&self, tokens: &[f32], codes: &mut Vec<u32>) {
        let assigner = self
            .assigner
            .get_or_init(|| Assigner::new(self.dim, &self.centroids, Kernel::best()));
        assigner.assign(self.dim, &self.centroids, tokens, codes);
    }

    /// Appends to `codes` a centroid of great dot product for each token, which depends on the token and the centroids
    /// alone. Below 4,096 centroids it is that of [`assign`](Self::assign); from there on only the centroids of groups near
    /// the token are compared, and for about one token in 200 another than the nearest is found, in a time that grows with
    /// the root of their number.
    pub fn assign_two_level(&self, tokens: &[f32], codes: &mut Vec<u32>) {
        let search = self
            .search
            .get_or_init(|| CentroidSearch::new(self.dim, &self.centroids, Kernel::best()));
        search.assign(self.dim, &self.centroids, tokens, codes);
    }

    /// As [`assign_two_level`](Self::assign_two_level), by the kernels of one instruction set: for tests and benches.
    ///
    /// # Errors
    /// An instruction set that this machine has not.
    pub fn assign_two_level_with_isa(
        &self,
        isa: Isa,
        tokens: &[f32],
        codes: &mut Vec<u32>,
    ) -> Result<(), CodecError> {
        let search = CentroidSearch::new(self.dim, &self.centroids, Kernel::new(isa)?);
        search.assign(self.dim, &self.centroids, tokens, codes);
        Ok(())
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

    /// Appends the codes of tokens, finite rows of `dim` numbers: with buckets, as the reference does, the residual from
    /// the centroid that [`assign`](Self::assign) finds, with a trellis from that of
    /// [`assign_two_level`](Self::assign_two_level).
    pub fn encode(&self, tokens: &[f32], out: &mut ResidualCodes) {
        debug_assert!(tokens.len().is_multiple_of(self.dim));
        let first = out.codes.len();
        match &self.quantizer {
            Quantizer::Buckets(_) => self.assign(tokens, &mut out.codes),
            Quantizer::Trellis(_) => self.assign_two_level(tokens, &mut out.codes),
        }
        let codes = &out.codes[first..];
        let rows = tokens.chunks_exact(self.dim).zip(codes);
        let (residuals, factors) = (&mut out.residuals, &mut out.factors);
        match &self.quantizer {
            Quantizer::Buckets(buckets) => {
                let mut row = buckets::Row::new(self.dim);
                factors.extend(
                    rows.map(|(token, code)| {
                        buckets.encode(token, self.centroid(*code), &mut row, residuals)
                    }),
                );
            }
            Quantizer::Trellis(trellis) => {
                let mut row = trellis::Row::new(self.bits, self.dim);
                factors.extend(
                    rows.map(|(token, code)| {
                        trellis.encode(token, self.centroid(*code), &mut row, residuals)
                    }),
                );
            }
        }
    }

    /// Reconstructs a token from its code, residual bytes and factors, at unit length (with a trellis to within the steps
    /// of its reciprocal norms).
    pub fn decode(&self, code: u32, residual: &[u8], factors: u16, out: &mut [f32]) {
        out.copy_from_slice(self.centroid(code));
        match &self.quantizer {
            Quantizer::Buckets(buckets) => buckets.decode(residual, out),
            Quantizer::Trellis(trellis) => trellis.decode(residual, factors, out),
        }
    }
}

fn check_bits(bits: u8) -> Result<(), CodecError> {
    if matches!(bits, 1 | 2 | 4) {
        Ok(())
    } else {
        Err(CodecError::Bits { got: bits })
    }
}

fn check_shape(dim: usize, bits: u8, centroids: &[f32]) -> Result<(), CodecError> {
    check_dim(dim)?;
    check_bits(bits)?;
    let rows = whole_rows(centroids.len(), dim)?;
    length("centroids", rows.clamp(1, 1 << 31), rows)
}

fn round_to_half(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
}
