//! Dense rows in four bits a number: what a graph is built over and walked by.

use half::bf16;

use super::codec::integer;
use crate::error::{CodecError, length};
use crate::kernel::{Kernel, prefetch, quantize};
use crate::metric::{Metric, squared_norm};
use crate::rotation::Rotation;

/// How rows of four bits a number are made.
///
/// A row is rotated by a fixed orthonormal map, so that its numbers are alike and near Gaussian, and each is rounded to one
/// of sixteen steps around 0. The width of a step is the one, of several, that leaves the least angle; the row's factor
/// makes the estimate of a dot product unbiased along the row. Both are those of extended RaBitQ (Gao et al., SIGMOD 2025),
/// with a search over steps instead of all scales.
///
/// With a query of unit length, a score of a unit row is off by some 0.1 / sqrt(dimension), one standard deviation: near
/// enough to walk a graph, too far to rank what is found.
#[derive(Clone, Debug)]
pub struct Int4Codec {
    metric: Metric,
    dim: usize,
    rotation: &'static Rotation,
}

/// Bytes in which numbers are packed together.
const GROUP: usize = 16;
/// Sums that are taken side by side; rotated rows are multiples of it.
const LANES: usize = 8;
/// The number that stands for 0 is between 7 and 8.
pub(super) const MIDDLE: f32 = 7.5;
/// Steps that are tried, in root mean squares of the row: a Gaussian loses least at a third.
const STEPS: [f32; 8] = [0.26, 0.28, 0.30, 0.32, 0.34, 0.36, 0.39, 0.42];

impl Int4Codec {
    /// A codec for rows of `dim` numbers that [`Metric::prepare`] has seen.
    #[must_use]
    pub fn new(metric: Metric, dim: usize) -> Self {
        Self {
            metric,
            dim,
            rotation: Rotation::of(dim.next_multiple_of(8)),
        }
    }

    /// Bytes of a row: half of the dimension, in groups of 16.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        Self::bytes_of(self.dim)
    }

    /// Bytes of a row of this dimension.
    #[must_use]
    pub fn bytes_of(dim: usize) -> usize {
        dim.div_ceil(2 * GROUP) * GROUP
    }

    /// Codes one row of finite numbers into [`row_bytes`](Self::row_bytes) bytes; returns what it has beside them.
    pub fn encode(&self, row: &[f32], codes: &mut [u8]) -> Int4Factors {
        let turned = self.rotation.turned(row);
        let energy = squared_norm(&turned);
        #[expect(clippy::cast_precision_loss, reason = "a dimension")]
        let root = (energy / turned.len() as f32).sqrt();
        let of_width = |share: &f32| {
            let inverse = (root * share).recip();
            // Sums side by side, and no call that rounds: so that compilers make a vector of it.
            let (mut products, mut owns) = ([0.0f32; LANES], [0.0f32; LANES]);
            for values in turned.as_chunks::<LANES>().0 {
                for ((value, product), own) in values.iter().zip(&mut products).zip(&mut owns) {
                    let code = step_of(*value, inverse) - MIDDLE;
                    *product += code * value;
                    *own += code * code;
                }
            }
            let (product, own) = (products.iter().sum::<f32>(), owns.iter().sum::<f32>());
            (product / own.sqrt(), inverse, product)
        };
        let best = STEPS
            .iter()
            .map(of_width)
            .reduce(|a, b| if b.0 > a.0 { b } else { a });
        let usable = best.filter(|(cosine, inverse, _)| *cosine > 0.0 && inverse.is_finite());
        // A row of zeros, or of numbers so small that their squares are: any codes, worth nothing.
        let (inverse, step) = usable.map_or((0.0, 0.0), |(_, inverse, product)| (inverse, energy / product));
        pack_numbers(turned.iter().map(|value| number(*value, inverse)), codes);
        Int4Factors {
            step: bf16::from_f32(step),
            squared_norm: energy,
        }
    }

    /// Squared norms that a view over so many rows has: one a row for distances, none for products.
    #[must_use]
    pub fn norms(metric: Metric, rows: usize) -> usize {
        if metric == Metric::L2 { rows } else { 0 }
    }

    /// A view over rows that [`encode`](Self::encode) made; it takes squared norms only for distances.
    ///
    /// # Errors
    /// Lengths that do not fit together.
    pub fn rows<'a>(
        &self,
        codes: &'a [u8],
        steps: &'a [bf16],
        squared_norms: &'a [f32],
    ) -> Result<Int4Rows<'a>, CodecError> {
        Int4Rows::new(self.metric, self.dim, codes, (steps, squared_norms))
    }

    /// A query vector that [`Metric::prepare`] has seen, ready for rows.
    #[must_use]
    pub fn query(&self, vector: &[f32]) -> Int4Query {
        let turned = self.rotation.turned(vector);
        self.query_of(&turned, Kernel::best())
    }

    /// The same of a rotated query.
    pub(super) fn query_of(&self, turned: &[f32], kernel: Kernel) -> Int4Query {
        let squared_norm = squared_norm(turned);
        let mut codes = vec![0; 2 * self.row_bytes()];
        let scale = quantize(turned, &mut codes[..turned.len()]);
        let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
        Int4Query {
            scale,
            offset: MIDDLE * integer(sum),
            squared_norm,
            codes,
            kernel,
        }
    }
}

/// Packs a row of numbers of 0 to 15. What is beyond the dimension counts as half a step, everywhere alike.
pub(super) fn pack_numbers(numbers: impl Iterator<Item = u8>, codes: &mut [u8]) {
    let mut numbers = numbers.chain(std::iter::repeat(8));
    codes
        .iter_mut()
        .zip(&mut numbers)
        .for_each(|(code, low)| *code = low);
    codes
        .iter_mut()
        .zip(&mut numbers)
        .for_each(|(code, high)| *code |= high << 4);
}

/// One number of a packed row.
pub(super) fn numbers_of(codes: &[u8], at: usize) -> u8 {
    match codes.get(at) {
        Some(code) => code & 15,
        None => codes[at - codes.len()] >> 4,
    }
}

/// The step, 0 to 15, that a number is in: the nearest whole one.
fn step_of(value: f32, inverse: f32) -> f32 {
    // Beyond 2^23 a float has no room for less than 1.
    const WHOLE: f32 = 12_582_912.0;
    ((value * inverse + MIDDLE).clamp(0.0, 15.0) + WHOLE) - WHOLE
}

/// The same as a code.
fn number(value: f32, inverse: f32) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 15, or NaN, which becomes 0"
    )]
    let number = step_of(value, inverse) as u8;
    number
}

/// What a row of four bits a number has beside its codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Int4Factors {
    /// What a step is worth. Two bytes, so that those of a million rows stay in the cache: off by 0.2% at most, where the codes are
    /// off by more.
    pub step: bf16,
    /// The row's squared norm.
    pub squared_norm: f32,
}

/// Rows of four bits a number, in place over the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub struct Int4Rows<'a> {
    metric: Metric,
    bytes: usize,
    /// What the product of two rows has of numbers beyond the dimension.
    fill: f32,
    numbers: f32,
    codes: &'a [u8],
    steps: &'a [bf16],
    /// None but for distances.
    squared_norms: &'a [f32],
    kernel: Kernel,
}

impl<'a> Int4Rows<'a> {
    /// A view over rows that an [`Int4Codec`] of this metric and dimension made.
    ///
    /// # Errors
    /// Lengths that do not fit together.
    pub fn new(
        metric: Metric,
        dim: usize,
        codes: &'a [u8],
        (steps, squared_norms): (&'a [bf16], &'a [f32]),
    ) -> Result<Self, CodecError> {
        let bytes = Int4Codec::bytes_of(dim);
        length("bytes of int4 codes", steps.len() * bytes, codes.len())?;
        let norms = Int4Codec::norms(metric, steps.len());
        length("squared norms of int4 rows", norms, squared_norms.len())?;
        let fill = 2 * bytes - dim.next_multiple_of(8);
        Ok(Self {
            metric,
            bytes,
            #[expect(clippy::cast_precision_loss, reason = "at most 31")]
            fill: 0.25 * fill as f32,
            #[expect(clippy::cast_precision_loss, reason = "a dimension")]
            numbers: (2 * bytes) as f32,
            codes,
            steps,
            squared_norms,
            kernel: Kernel::best(),
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.bytes
    }

    /// The codes of a row that exists and what it has beside them; without its squared norm but for distances.
    #[inline]
    #[must_use]
    pub fn row(&self, row: usize) -> (&[u8], Int4Factors) {
        (&self.codes[row * self.bytes..][..self.bytes], self.factors(row))
    }

    #[inline]
    fn factors(&self, row: usize) -> Int4Factors {
        Int4Factors {
            step: self.steps[row],
            squared_norm: self.squared_norms.get(row).copied().unwrap_or_default(),
        }
    }

    /// Begins to fetch what a row has beside its codes.
    #[inline]
    fn prefetch_factors(&self, row: usize) {
        prefetch(self.steps.get(row..=row).unwrap_or_default());
        prefetch(self.squared_norms.get(row..=row).unwrap_or_default());
    }

    /// The codes of a row; none of a row that there is not.
    #[inline]
    #[must_use]
    pub fn codes_of(&self, row: usize) -> &[u8] {
        let codes = self.codes.get(row * self.bytes..(row + 1) * self.bytes);
        codes.unwrap_or_default()
    }

    /// Begins to fetch a row.
    #[inline]
    pub fn prefetch(&self, row: usize) {
        prefetch(self.codes_of(row));
        self.prefetch_factors(row);
    }

    /// The score of two rows that exist.
    #[must_use]
    pub fn pair_score(&self, a: usize, b: usize) -> f32 {
        let ((codes_a, of_a), (codes_b, of_b)) = (self.row(a), self.row(b));
        let [products, sum] = self.kernel.dot_int4_rows(codes_a, codes_b);
        let centred = integer(products) - MIDDLE * integer(sum) + MIDDLE * MIDDLE * self.numbers - self.fill;
        let dot = centred * of_a.step.to_f32() * of_b.step.to_f32();
        match self.metric {
            Metric::L2 => (2.0 * dot - of_a.squared_norm - of_b.squared_norm).min(0.0),
            Metric::Cosine | Metric::InnerProduct => dot,
        }
    }
}

/// A query for rows of four bits a number, in one byte a number.
#[derive(Clone, Debug)]
pub struct Int4Query {
    codes: Vec<i8>,
    scale: f32,
    offset: f32,
    squared_norm: f32,
    kernel: Kernel,
}

impl Int4Query {
    pub(super) fn codes(&self) -> &[i8] {
        &self.codes
    }

    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    pub(super) fn squared_norm(&self) -> f32 {
        self.squared_norm
    }

    /// The scores of the first of some rows that exist, of the same codec, as many as `out` has places, each as
    /// [`score`](Self::score) gives it. The rows after them are fetched: those that are asked for next.
    pub fn score_some(&self, rows: &Int4Rows<'_>, some: &[u32], out: &mut [f32]) {
        const TILE: usize = 64;
        let mut products = [0; TILE];
        let wanted = out.len().min(some.len());
        for (first, out) in (0..wanted).step_by(TILE).zip(out[..wanted].chunks_mut(TILE)) {
            let (some, products) = (&some[first..], &mut products[..out.len()]);
            self.kernel
                .dot_int4_some((rows.codes, rows.bytes), some, &self.codes, products);
            for (at, (product, out)) in products.iter().zip(out).enumerate() {
                if let Some(ahead) = some.get(at + TILE) {
                    rows.prefetch_factors(*ahead as usize);
                }
                *out = self.finish(rows.metric, *product, rows.factors(some[at] as usize));
            }
        }
    }

    #[inline]
    fn finish(&self, metric: Metric, product: i32, of: Int4Factors) -> f32 {
        let dot = (integer(product) - self.offset) * self.scale * of.step.to_f32();
        match metric {
            Metric::L2 => (2.0 * dot - self.squared_norm - of.squared_norm).min(0.0),
            Metric::Cosine | Metric::InnerProduct => dot,
        }
    }

    /// The score of a row that exists, of the same codec.
    #[must_use]
    #[inline]
    pub fn score(&self, rows: &Int4Rows<'_>, row: usize) -> f32 {
        let (codes, of) = rows.row(row);
        let product = self.kernel.dot_int4(codes, &self.codes);
        self.finish(rows.metric, product, of)
    }
}
