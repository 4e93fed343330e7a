//! A trellis-coded quantizer: less loss than buckets from the same bytes.

use super::trellis_tables::{step, table};
use crate::error::{CodecError, all_finite, length};
use crate::kernel::{Kernel, WINDOWS, back_at, back_len, exact_dot, lay_out, low_byte};
use crate::metric::squared_norm;
use crate::rotation::Rotation;

/// Trellis-coded quantisation (Marcellin and Fischer, IEEE Trans. Commun. 38(1), 1990, in the bit-shift form of Tseng et
/// al., QTIP, NeurIPS 2024) of a rotated residual, with a scale and a reciprocal norm for each token.
///
/// 1. The residual is rotated by a fixed orthonormal map, so that its numbers are alike and near Gaussian, and brought to
///    a root mean square of 1.
/// 2. A number is reconstructed from the last 8 bits of the bit stream up to and with its own 1, 2 or 4: entry of a fixed
///    table of 256. The Viterbi search finds the stream of least squared error.
/// 3. The token's scale is the residual's squared length over its dot product with the reconstruction, which makes the
///    estimate of a dot product unbiased along the residual (the estimator of RaBitQ, Gao and Long, SIGMOD 2024).
/// 4. The sum of centroid and residual is multiplied by its stored reciprocal norm: tokens are unit vectors.
///
/// The 16 bits of a token's factors hold, from the lowest, the 8 - `bits` bits before the stream, the index of the scale,
/// and the index of the reciprocal norm, in tables that the codebook holds.
#[derive(Clone, Debug)]
pub struct Trellis {
    bits: u8,
    rotation: Rotation,
    scales: Vec<f32>,
    inverse_norms: Vec<f32>,
    /// Scale (times the step of the table) and reciprocal norm of both indexes together, the scale's in the low bits.
    factors: Vec<[f32; 2]>,
    /// The table as the search reads it.
    laid_out: Box<[f32; WINDOWS]>,
    kernel: Kernel,
}

/// Memory of one encoding, kept from token to token.
#[derive(Debug)]
pub(super) struct Row {
    /// The rotated residual, at a root mean square of 1; then the reconstruction, turned back.
    values: Vec<f32>,
    coded: Vec<f32>,
    back: Vec<u8>,
    windows: Vec<u8>,
}

/// What the factors of a token say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    /// The bits before the stream.
    pub(crate) before: u8,
    /// What a table entry is multiplied by.
    pub(crate) scale: f32,
    pub(crate) inverse_norm: f32,
}

impl Trellis {
    /// Bits of the index of the scale and of the reciprocal norm.
    fn index_bits(bits: u8) -> (u8, u8) {
        match bits {
            1 => (4, 5),
            2 => (5, 5),
            _ => (6, 6),
        }
    }

    pub(super) fn new(
        bits: u8,
        dim: usize,
        scales: Vec<f32>,
        inverse_norms: Vec<f32>,
    ) -> Result<Self, CodecError> {
        let (scale_bits, norm_bits) = Self::index_bits(bits);
        length("trellis scales", 1 << scale_bits, scales.len())?;
        length("trellis norms", 1 << norm_bits, inverse_norms.len())?;
        all_finite(&scales, scales.len())?;
        all_finite(&inverse_norms, inverse_norms.len())?;
        for (what, table) in [("trellis scales", &scales), ("trellis norms", &inverse_norms)] {
            if let Some(at) = table.windows(2).position(|pair| pair[1] < pair[0]) {
                return Err(CodecError::NotAscending { what, index: at + 1 });
            }
        }
        let factors = inverse_norms
            .iter()
            .flat_map(|norm| scales.iter().map(|scale| [scale * step(bits), *norm]));
        Ok(Self {
            bits,
            rotation: Rotation::new(dim),
            factors: factors.collect(),
            scales,
            inverse_norms,
            laid_out: Box::new(lay_out(bits, |window| {
                f32::from(table(bits)[window]) * step(bits)
            })),
            kernel: Kernel::best(),
        })
    }

    /// A quantizer whose scales and norms span those of held-out tokens, given with the centroid of each.
    pub(super) fn fit<'a>(
        bits: u8,
        dim: usize,
        tokens: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    ) -> Result<Self, CodecError> {
        let (scale_bits, norm_bits) = Self::index_bits(bits);
        let one = |bits: u8| vec![1.0; 1 << bits];
        let blank = Self::new(bits, dim, one(scale_bits), one(norm_bits))?;
        let (mut scales, mut norms) = (Vec::new(), Vec::new());
        let mut row = Row::new(bits, dim);
        for (token, centroid) in tokens {
            let scale = blank.search(token, centroid, &mut row).1;
            scales.push(scale);
            norms.push(inverse_norm(centroid, &row.coded, scale));
        }
        scales.sort_unstable_by(f32::total_cmp);
        norms.sort_unstable_by(f32::total_cmp);
        let at = |sorted: &[f32], share: usize| sorted[(sorted.len() - 1) * share / 1000];
        // Tokens unlike those seen have larger residuals: room for them costs little on a geometric grid.
        let low = at(&scales, 1).max(1e-6);
        let high = (at(&scales, 1000) * 1.25).max(low * 1.01);
        let geometric = grid(low.ln(), high.ln(), scale_bits).map(f32::exp);
        let (low, high) = (at(&norms, 1), at(&norms, 999));
        let linear = grid(low.min(high - 1e-4), high.max(low + 1e-4), norm_bits);
        Self::new(bits, dim, geometric.collect(), linear.collect())
    }

    /// The scales that a token's index may name, ascending.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The reciprocal norms that a token's index may name, ascending.
    #[must_use]
    pub fn inverse_norms(&self) -> &[f32] {
        &self.inverse_norms
    }

    /// Codes a residual: leaves the windows and the reconstruction, turned back and of scale 1, in `row`; returns the
    /// bits before the stream and the scale.
    fn search(&self, token: &[f32], centroid: &[f32], row: &mut Row) -> (u8, f32) {
        for ((r, x), c) in row.values.iter_mut().zip(token).zip(centroid) {
            *r = x - c;
        }
        self.rotation.apply(&mut row.values);
        let (energy, unit) = (squared_norm(&row.values), step(self.bits));
        #[expect(clippy::cast_precision_loss, reason = "at most 1,024")]
        let root = (energy / row.values.len() as f32).sqrt();
        let inverse = if root > 1e-20 { root.recip() } else { 0.0 };
        row.values.iter_mut().for_each(|v| *v *= inverse);
        let (table, states) = (table(self.bits), WINDOWS >> self.bits);
        let mut state = self
            .kernel
            .trellis_search(self.bits, &row.values, &self.laid_out, &mut row.back);
        for (window, back) in row.windows.iter_mut().zip(row.back.chunks_exact(states)).rev() {
            let head = usize::from(back[back_at(self.bits, state)]);
            let whole = head << (8 - self.bits) | state;
            *window = low_byte(whole);
            state = whole >> self.bits;
        }
        for (coded, window) in row.coded.iter_mut().zip(&row.windows) {
            *coded = f32::from(table[usize::from(*window)]) * unit;
        }
        let product = exact_dot(&row.coded, &row.values);
        self.rotation.invert(&mut row.coded);
        // The reconstruction of 128 numbers is never across its row; of 8 hopeless ones it might be.
        let normal = energy * inverse * inverse;
        let scale = if product > 0.1 * normal {
            normal / product
        } else {
            1.0
        };
        (low_byte(state), scale * root)
    }

    /// Appends a token's packed residual; returns its factors.
    pub(super) fn encode(&self, token: &[f32], centroid: &[f32], row: &mut Row, out: &mut Vec<u8>) -> u16 {
        let (before, scale) = self.search(token, centroid, row);
        let mask = u8::MAX >> (8 - self.bits);
        out.extend(row.windows.chunks_exact(usize::from(8 / self.bits)).map(|some| {
            let append = |byte: u16, window: &u8| byte << self.bits | u16::from(window & mask);
            let [low, _] = some.iter().fold(0, append).to_le_bytes();
            low
        }));
        // Between geometric neighbours the nearer is the one on this side of their geometric mean.
        let scale_at = nearest(&self.scales, scale, |a, b| (a * b).sqrt());
        let norm = inverse_norm(centroid, &row.coded, self.scales[usize::from(scale_at)]);
        let norm_at = nearest(&self.inverse_norms, norm, f32::midpoint);
        let scale_shift = 8 - self.bits;
        let norm_shift = scale_shift + Self::index_bits(self.bits).0;
        u16::from(before) | scale_at << scale_shift | norm_at << norm_shift
    }

    /// What the factors of a token say.
    #[inline]
    pub(crate) fn factors(&self, factors: u16) -> Factors {
        let shift = 8 - self.bits;
        // All 2^scale_bits x 2^norm_bits are there, and 16 bits hold no more.
        let both = self.factors.get(usize::from(factors >> shift)).copied();
        let [scale, inverse_norm] = both.unwrap_or_default();
        Factors {
            before: low_byte(usize::from(factors & (u16::MAX >> (16 - shift)))),
            scale,
            inverse_norm,
        }
    }

    /// The table entries of the residuals at some places, as biased bytes; `before` has a byte a place.
    pub(crate) fn unpack(&self, kernel: Kernel, rows: (&[u32], &[u8]), residuals: &[u8], out: &mut [u8]) {
        kernel.trellis_unpack(self.bits, biased(self.bits), rows, residuals, out);
    }

    /// Adds a residual to its centroid, by its factors.
    pub(super) fn decode(&self, residual: &[u8], factors: u16, out: &mut [f32]) {
        let factors = self.factors(factors);
        let (mut bytes, mut values) = (vec![0; out.len()], vec![0.0; out.len()]);
        self.unpack(self.kernel, (&[0], &[factors.before]), residual, &mut bytes);
        for (value, byte) in values.iter_mut().zip(&bytes) {
            *value = f32::from((byte ^ 0x80).cast_signed()) * factors.scale;
        }
        self.rotation.invert(&mut values);
        for (out, value) in out.iter_mut().zip(&values) {
            *out = (*out + value) * factors.inverse_norm;
        }
    }

    /// Turns rows of query tokens as residuals are turned.
    pub(crate) fn rotate(&self, rows: &mut [f32]) {
        let dim = self.rotation.dim();
        rows.chunks_exact_mut(dim)
            .for_each(|row| self.rotation.apply(row));
    }
}

impl Row {
    pub(super) fn new(bits: u8, dim: usize) -> Self {
        Self {
            values: vec![0.0; dim],
            coded: vec![0.0; dim],
            back: vec![0; back_len(bits, dim)],
            windows: vec![0; dim],
        }
    }
}

/// The table of a rate, each entry plus 128.
fn biased(bits: u8) -> &'static [u8; WINDOWS] {
    const fn of(table: &[i8; WINDOWS]) -> [u8; WINDOWS] {
        let mut out = [0; WINDOWS];
        let mut at = 0;
        while at < WINDOWS {
            out[at] = table[at].cast_unsigned() ^ 0x80;
            at += 1;
        }
        out
    }
    static TABLES: [[u8; WINDOWS]; 3] = [of(table(1)), of(table(2)), of(table(4))];
    match bits {
        1 => &TABLES[0],
        2 => &TABLES[1],
        _ => &TABLES[2],
    }
}

/// The reciprocal norm of a centroid plus a scaled residual.
fn inverse_norm(centroid: &[f32], residual: &[f32], scale: f32) -> f32 {
    let sum = centroid
        .iter()
        .zip(residual)
        .map(|(c, r)| (c + scale * r).powi(2));
    sum.sum::<f32>().max(1e-12).sqrt().recip()
}

/// `2^bits` numbers from `low` to `high`, evenly apart.
fn grid(low: f32, high: f32, bits: u8) -> impl Iterator<Item = f32> {
    let last = f32::from((1u16 << bits) - 1);
    (0..1u16 << bits).map(move |at| low + (high - low) * (f32::from(at) / last))
}

/// Which of ascending numbers is nearest, given what lies between two.
fn nearest(sorted: &[f32], value: f32, between: impl Fn(f32, f32) -> f32) -> u16 {
    let below = sorted
        .windows(2)
        .filter(|pair| between(pair[0], pair[1]) < value)
        .count();
    u16::try_from(below).unwrap_or(u16::MAX)
}
