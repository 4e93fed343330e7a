//! The layout in which the kernels read a query: panels of 16 tokens, so that a lane is a token, a running maximum is
//! vertical, and nothing is ever summed across lanes.

/// Query tokens a panel: the lanes of a 512-bit register.
pub(crate) const LANES: usize = 16;

/// Query tokens in panels of 16, each dimension-major; the last panel is filled up with zeros.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    /// Numbers a token.
    pub(crate) dim: usize,
    /// Tokens, without the fill.
    pub(crate) tokens: usize,
    /// `[panel][dimension][lane]`.
    pub(crate) values: Vec<f32>,
}

impl Panels {
    /// Lays out rows of `dim` numbers.
    pub(crate) fn new(rows: &[f32], dim: usize) -> Self {
        let tokens = rows.len() / dim;
        let mut values = vec![0.0; tokens.div_ceil(LANES) * LANES * dim];
        for (token, row) in rows.chunks_exact(dim).enumerate() {
            let panel = &mut values[token / LANES * LANES * dim..];
            for (d, v) in row.iter().enumerate() {
                panel[d * LANES + token % LANES] = *v;
            }
        }
        Self { dim, tokens, values }
    }

    /// Running maxima before the first row.
    pub(crate) fn maxima(&self) -> Vec<f32> {
        vec![f32::NEG_INFINITY; self.tokens.div_ceil(LANES) * LANES]
    }

    /// The sum of the maxima of the real tokens.
    pub(crate) fn total(&self, maxima: &[f32]) -> f32 {
        maxima[..self.tokens].iter().sum()
    }
}

/// Rows in panels of 16 and int8, each row by its own scale: query tokens, or centroids.
#[derive(Clone, Debug)]
pub(crate) struct BytePanels {
    /// Numbers a row.
    pub(crate) dim: usize,
    /// `[panel][dimension / 4][lane][4]`: what one 32-bit product of four bytes reads lies together.
    pub(crate) values: Vec<i8>,
    /// What each row's codes are multiplied by; 0 for the fill.
    pub(crate) scales: Vec<f32>,
    /// `-128` times the sum of each row's codes: takes the bias of 128 of the other side off a dot product.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only VNNI multiplies unsigned bytes")
    )]
    pub(crate) offsets: Vec<i32>,
}

impl BytePanels {
    /// Lays out rows of `dim` numbers, `dim` being a multiple of 4.
    pub(crate) fn new(rows: &[f32], dim: usize) -> Self {
        let padded = (rows.len() / dim).div_ceil(LANES) * LANES;
        let (mut values, mut codes) = (vec![0i8; padded * dim], vec![0i8; dim]);
        let (mut scales, mut offsets) = (vec![0.0; padded], vec![0; padded]);
        for (at, row) in rows.chunks_exact(dim).enumerate() {
            scales[at] = quantize(row, &mut codes);
            offsets[at] = -128 * codes.iter().map(|c| i32::from(*c)).sum::<i32>();
            let panel = &mut values[at / LANES * LANES * dim..];
            for (group, four) in codes.chunks_exact(4).enumerate() {
                panel[(group * LANES + at % LANES) * 4..][..4].copy_from_slice(four);
            }
        }
        Self {
            dim,
            values,
            scales,
            offsets,
        }
    }

    /// The length of what rounding took from each of the rows that it was made of.
    pub(crate) fn rounding(&self, rows: &[f32]) -> Vec<f32> {
        let lost = rows.chunks_exact(self.dim).enumerate().map(|(at, row)| {
            let panel = &self.values[at / LANES * LANES * self.dim..];
            let fours = row.chunks_exact(4).enumerate().flat_map(|(group, four)| {
                let codes = &panel[(group * LANES + at % LANES) * 4..][..4];
                four.iter().zip(codes)
            });
            let off = |(v, code): (&f32, &i8)| v - f32::from(*code) * self.scales[at];
            fours.map(off).map(|off| off * off).sum::<f32>().sqrt()
        });
        lost.collect()
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.scales.len() / LANES
    }
}

/// Rows in int8, each by its own scale, one after another: what is scored against panels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByteRows {
    /// `dim` bytes a row: the code plus 128.
    pub(crate) values: Vec<u8>,
    /// What each row's codes are multiplied by.
    pub(crate) scales: Vec<f32>,
}

impl ByteRows {
    /// Rounds rows of `dim` numbers.
    pub(crate) fn new(rows: &[f32], dim: usize) -> Self {
        let mut codes = vec![0i8; dim];
        let mut out = Self {
            values: Vec::with_capacity(rows.len()),
            scales: Vec::with_capacity(rows.len() / dim),
        };
        for row in rows.chunks_exact(dim) {
            out.scales.push(quantize(row, &mut codes));
            out.values.extend(codes.iter().map(|c| c.cast_unsigned() ^ 0x80));
        }
        out
    }

    /// The rows as they were rounded.
    pub(crate) fn decode(&self) -> Vec<f32> {
        let dim = self.values.len() / self.scales.len().max(1);
        let rows = self.values.chunks_exact(dim.max(1)).zip(&self.scales);
        rows.flat_map(|(row, scale)| {
            row.iter()
                .map(move |b| f32::from((b ^ 0x80).cast_signed()) * scale)
        })
        .collect()
    }
}

/// Rounds a row to int8 by its own scale: the greatest magnitude becomes 127, and every number is off by at most half
/// the returned scale. A row of zeros has scale 0.
pub(crate) fn quantize(row: &[f32], out: &mut [i8]) -> f32 {
    debug_assert_eq!(row.len(), out.len());
    let greatest = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    // A subnormal scale would have an infinite inverse.
    if greatest < f32::MIN_POSITIVE * 256.0 {
        out.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / greatest;
    for (code, v) in out.iter_mut().zip(row) {
        // Adding 1.5 * 2^23 leaves the number, rounded to even, in the low bits: without a call of the library for each.
        let [low, ..] = (v * inverse + 12_582_912.0).to_bits().to_le_bytes();
        *code = low.cast_signed();
    }
    greatest / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn int8_numbers_are_within_half_a_scale(row in prop::collection::vec(-1e3f32..1e3, 1..300), e in -30i32..30) {
            let factor = 2.0f32.powi(e);
            let row: Vec<f32> = row.iter().map(|v| v * factor).collect();
            let mut codes = vec![0i8; row.len()];
            let scale = quantize(&row, &mut codes);
            for (v, code) in row.iter().zip(&codes) {
                prop_assert!((v - f32::from(*code) * scale).abs() <= scale * 0.5001);
                prop_assert!(*code >= -127);
            }
        }
    }

    #[test]
    fn a_row_of_zeros_has_no_scale() {
        let mut codes = [1i8; 3];
        assert_eq!(quantize(&[0.0; 3], &mut codes), 0.0);
        assert_eq!(codes, [0; 3]);
    }
}
