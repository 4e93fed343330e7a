//! The kernels in plain Rust: right on every machine, and the oracle of the others.

use super::{LANES, Panels};
use half::f16;

pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    lanes_of(a, b, |x, y| x * y)
}

pub(super) fn l2sq_f32(a: &[f32], b: &[f32]) -> f32 {
    lanes_of(a, b, |x, y| (x - y) * (x - y))
}

pub(super) fn dot_f16(a: &[f16], b: &[f16]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x.to_f32() * y.to_f32()).sum()
}

pub(super) fn l2sq_f16(a: &[f16], b: &[f16]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x.to_f32() - y.to_f32()).powi(2))
        .sum()
}

pub(super) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}

/// Sums in 16 lanes, because the order of additions is fixed and one sum would leave the registers idle.
#[inline(always)]
fn lanes_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = left.remainder().iter().zip(right.remainder());
    let rest: f32 = tail.map(|(x, y)| term(*x, *y)).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..LANES {
            sums[lane] += term(x[lane], y[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The dot products of one row with the tokens of one panel.
#[inline(always)]
fn panel_dots(panel: &[f32], row: &[f32]) -> [f32; LANES] {
    let mut sums = [0.0f32; LANES];
    for (lanes, v) in panel.chunks_exact(LANES).zip(row) {
        for lane in 0..LANES {
            sums[lane] += lanes[lane] * v;
        }
    }
    sums
}

pub(super) fn maxsim_f32(query: &Panels, rows: &[f32], maxima: &mut [f32]) {
    let panels = query.values.chunks_exact(LANES * query.dim);
    for (panel, maxima) in panels.zip(maxima.chunks_exact_mut(LANES)) {
        for row in rows.chunks_exact(query.dim) {
            for (most, dot) in maxima.iter_mut().zip(panel_dots(panel, row)) {
                *most = most.max(dot);
            }
        }
    }
}

pub(super) fn scores_f32(query: &Panels, rows: &[f32], out: &mut [f32]) {
    for (row, out) in rows
        .chunks_exact(query.dim)
        .zip(out.chunks_exact_mut(query.tokens))
    {
        let panels = query.values.chunks_exact(LANES * query.dim);
        for (panel, out) in panels.zip(out.chunks_mut(LANES)) {
            out.copy_from_slice(&panel_dots(panel, row)[..out.len()]);
        }
    }
}
