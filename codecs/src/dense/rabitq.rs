//! Rows of eight or twelve bits a number, of which four can be read alone: extended RaBitQ (Gao et al., SIGMOD 2025) in two planes.
//!
//! A row is rotated as for [`Int4Codec`], and each number rounded to one of 256 or 4,096 steps around 0, the largest in the last.
//! The highest four bits, which are the row as a graph walks it, stand in one plane, the others in another. The row's factor makes
//! the estimate of a dot product unbiased along the row.

use super::codec::{DenseCodes, DenseParts, integer};
use super::int4::{Int4Codec, Int4Factors, Int4Query, MIDDLE, numbers_of, pack_numbers};
use crate::error::{CodecError, length};
use crate::kernel::{Kernel, prefetch, quantize};
use crate::metric::{Metric, squared_norm};
use crate::rotation::Rotation;
use half::bf16;
use std::ops::Range;

/// How many bits a number has beside the four that a graph walks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fine {
    Four,
    Eight,
}

impl Fine {
    fn bits(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// What the highest bits are worth, in steps.
    fn coarse_step(self) -> f32 {
        match self {
            Self::Four => 16.0,
            Self::Eight => 256.0,
        }
    }

    /// The number that stands for 0, of all bits together.
    fn middle(self) -> f32 {
        8.0 * self.coarse_step() - 0.5
    }

    /// Bytes of a row of each plane.
    pub(super) fn plane_bytes(self, dim: usize) -> [usize; 2] {
        let bytes = Int4Codec::bytes_of(dim);
        [bytes, bytes * self.bits() as usize / 4]
    }
}

/// Appends a row of finite numbers.
pub(super) fn encode(fine: Fine, metric: Metric, row: &[f32], out: &mut DenseCodes) {
    let turned = Rotation::of(row.len().next_multiple_of(8)).turned(row);
    let largest = turned.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let (middle, inverse) = (fine.middle(), (fine.middle() + 0.5) / largest);
    // A row of zeros, or of numbers of which a step is none: any codes, worth nothing.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    // In steps, so that no square is too large or too small.
    let (mut numbers, mut energy, mut product) = (Vec::with_capacity(turned.len()), 0.0f32, 0.0f32);
    for value in turned.iter().map(|value| value * inverse) {
        let number = (value + middle).round().clamp(0.0, 2.0 * middle);
        energy += value * value;
        product += value * (number - middle);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a step, from 0 to 4,095"
        )]
        numbers.push(number as u16);
    }
    let step = Some(energy / product / inverse).filter(|step| step.is_finite());
    let [coarse_bytes, fine_bytes] = fine.plane_bytes(row.len());
    let low = (1u16 << fine.bits()) - 1;
    let first = out.codes.len();
    out.codes.resize(first + coarse_bytes, 0);
    let high = numbers
        .iter()
        .map(|number| (number >> fine.bits()).to_le_bytes()[0]);
    pack_numbers(high, &mut out.codes[first..]);
    let first = out.fine.len();
    out.fine.resize(first + fine_bytes, 0);
    let low = numbers.iter().map(|number| (number & low).to_le_bytes()[0]);
    match fine {
        Fine::Four => pack_numbers(low, &mut out.fine[first..]),
        // As a signed byte, which kernels multiply with another.
        Fine::Eight => out.fine[first..]
            .iter_mut()
            .zip(low)
            .for_each(|(byte, low)| *byte = low.wrapping_sub(128)),
    }
    out.factors.push(step.unwrap_or(0.0));
    if metric == Metric::L2 {
        out.factors.push(squared_norm(&turned));
    }
}

/// Rows, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct RabitqRows<'a> {
    kind: Fine,
    metric: Metric,
    dim: usize,
    coarse: &'a [u8],
    fine: &'a [u8],
    factors: &'a [f32],
}

impl<'a> RabitqRows<'a> {
    pub(super) fn new(
        kind: Fine,
        metric: Metric,
        dim: usize,
        parts: DenseParts<'a>,
    ) -> Result<Self, CodecError> {
        let [coarse_bytes, fine_bytes] = kind.plane_bytes(dim);
        let rows = parts.codes.len() / coarse_bytes;
        length("bytes of lower dense codes", rows * fine_bytes, parts.fine.len())?;
        Ok(Self {
            kind,
            metric,
            dim,
            coarse: parts.codes,
            fine: parts.fine,
            factors: parts.factors,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.factors.len() / factors(self.metric)
    }

    /// The highest four bits of all rows, as [`Int4Rows`](super::Int4Rows) has them.
    pub(super) fn coarse(&self) -> &'a [u8] {
        self.coarse
    }

    fn planes(&self, row: usize) -> (&'a [u8], &'a [u8]) {
        let [coarse, fine] = self.kind.plane_bytes(self.dim);
        (
            &self.coarse[row * coarse..][..coarse],
            &self.fine[row * fine..][..fine],
        )
    }

    fn step(&self, row: usize) -> f32 {
        self.factors[row * factors(self.metric)]
    }

    fn squared_norm(&self, row: usize) -> f32 {
        if self.metric == Metric::L2 {
            self.factors[2 * row + 1]
        } else {
            0.0
        }
    }

    /// Both planes of a range of rows.
    pub(super) fn planes_of(&self, rows: Range<usize>) -> [&'a [u8]; 2] {
        let [coarse, fine] = self.kind.plane_bytes(self.dim);
        let of = |plane: &'a [u8], width: usize| plane.get(rows.start * width..rows.end * width);
        [of(self.coarse, coarse), of(self.fine, fine)].map(Option::unwrap_or_default)
    }

    pub(super) fn prefetch(&self, row: usize) {
        let [coarse, fine] = self.planes_of(row..row + 1);
        prefetch(coarse);
        prefetch(fine);
        let place = row * factors(self.metric);
        prefetch(self.factors.get(place..=place).unwrap_or_default());
    }

    /// The numbers of a row, rotated, in steps around 0.
    fn centred(&self, row: usize) -> Vec<f32> {
        let (coarse, fine) = self.planes(row);
        let low = |at: usize| match self.kind {
            Fine::Four => f32::from(numbers_of(fine, at)) - MIDDLE,
            Fine::Eight => f32::from(fine[at].cast_signed()) + 0.5,
        };
        (0..self.dim.next_multiple_of(8))
            .map(|at| (f32::from(numbers_of(coarse, at)) - MIDDLE) * self.kind.coarse_step() + low(at))
            .collect()
    }

    pub(super) fn decode(&self, row: usize, out: &mut [f32]) {
        let (mut turned, step) = (self.centred(row), self.step(row));
        turned.iter_mut().for_each(|value| *value *= step);
        Rotation::of(turned.len()).invert(&mut turned);
        out.copy_from_slice(&turned[..self.dim]);
    }

    /// What a row has beside its highest four bits.
    pub(super) fn coarse_factors(&self, row: usize) -> Int4Factors {
        let (coarse, step) = (self.planes(row).0, self.step(row));
        let (mut energy, mut product) = (0.0f32, 0.0f32);
        for (at, centred) in self.centred(row).into_iter().enumerate() {
            let value = centred * step;
            energy += value * value;
            product += value * (f32::from(numbers_of(coarse, at)) - MIDDLE);
        }
        let coarse_step = Some(energy / product).filter(|step| step.is_finite());
        Int4Factors {
            step: bf16::from_f32(coarse_step.unwrap_or(0.0)),
            squared_norm: self.squared_norm(row),
        }
    }

    pub(super) fn pair_score(&self, a: usize, b: usize) -> f32 {
        let products = self.centred(a).into_iter().zip(self.centred(b));
        let dot = products.map(|(a, b)| a * b).sum::<f32>() * self.step(a) * self.step(b);
        match self.metric {
            Metric::L2 => (2.0 * dot - self.squared_norm(a) - self.squared_norm(b)).min(0.0),
            Metric::Cosine | Metric::InnerProduct => dot,
        }
    }
}

/// Factors of a row: its step, and for distances its squared norm.
pub(super) fn factors(metric: Metric) -> usize {
    if metric == Metric::L2 { 2 } else { 1 }
}

/// A query, rotated, in two bytes a number: what the first leaves is in the second.
#[derive(Clone, Debug)]
pub(super) struct RabitqQuery {
    rest: Vec<i8>,
    rest_scale: f32,
    /// Sums of the first bytes, and of the second.
    sums: [f32; 2],
}

impl RabitqQuery {
    /// The second bytes of a rotated query of which the first are known.
    pub(super) fn new(turned: &[f32], sketch: &Int4Query) -> Self {
        let (first, scale) = (sketch.codes(), sketch.scale());
        let left: Vec<f32> = turned
            .iter()
            .zip(first)
            .map(|(value, code)| value - f32::from(*code) * scale)
            .collect();
        let mut rest = vec![0; first.len()];
        let rest_scale = quantize(&left, &mut rest[..left.len()]);
        let sum = |codes: &[i8]| integer(codes.iter().map(|code| i32::from(*code)).sum());
        Self {
            sums: [sum(first), sum(&rest)],
            rest,
            rest_scale,
        }
    }

    /// The score of a row that exists, of a query of these first bytes.
    pub(super) fn score(&self, first: &Int4Query, rows: &RabitqRows<'_>, row: usize, kernel: Kernel) -> f32 {
        let (coarse, fine) = rows.planes(row);
        let with = |query: &[i8], sum: f32| {
            let high = integer(kernel.dot_int4(coarse, query)) - MIDDLE * sum;
            let low = match rows.kind {
                Fine::Four => integer(kernel.dot_int4(fine, query)) - MIDDLE * sum,
                Fine::Eight => integer(kernel.dot_i8(bytemuck::cast_slice(fine), query)) + 0.5 * sum,
            };
            high * rows.kind.coarse_step() + low
        };
        let dot = with(first.codes(), self.sums[0]) * first.scale()
            + with(&self.rest, self.sums[1]) * self.rest_scale;
        let dot = dot * rows.step(row);
        match rows.metric {
            Metric::L2 => (2.0 * dot - first.squared_norm() - rows.squared_norm(row)).min(0.0),
            Metric::Cosine | Metric::InnerProduct => dot,
        }
    }
}
