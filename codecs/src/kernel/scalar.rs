//! The kernels in plain Rust: right on every machine, and the oracle of the others.

use super::{BytePanels, ByteRows, LANES, Panels, ResidualTile, Unpack};
use half::f16;

/// A dot product whose rounding is the same on every machine: what decides between near ties.
pub(crate) fn exact_dot(a: &[f32], b: &[f32]) -> f32 {
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

pub(super) fn dot_mixed(a: &[f32], b: &[f16]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y.to_f32()).sum()
}

pub(super) fn l2sq_mixed(a: &[f32], b: &[f16]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y.to_f32()).powi(2)).sum()
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

/// The integer dot products of one row of biased bytes with the rows of one panel.
#[inline(always)]
fn panel_dots_i8(panel: &[i8], row: &[u8]) -> [i32; LANES] {
    let mut sums = [0i32; LANES];
    for (lanes, four) in panel.chunks_exact(4 * LANES).zip(row.chunks_exact(4)) {
        for (sum, lane) in sums.iter_mut().zip(lanes.chunks_exact(4)) {
            let products = lane
                .iter()
                .zip(four)
                .map(|(a, b)| i32::from(*a) * (i32::from(*b) - 128));
            *sum += products.sum::<i32>();
        }
    }
    sums
}

/// Integer dot products of panel number `panel` with one row, times the scale of each lane.
#[inline(always)]
fn panel_scores(panels: &BytePanels, panel: usize, row: &[u8]) -> [f32; LANES] {
    let values = &panels.values[panel * LANES * panels.dim..][..LANES * panels.dim];
    let dots = panel_dots_i8(values, row);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a dot product of 1,024 bytes is below 2^24"
    )]
    std::array::from_fn(|lane| dots[lane] as f32 * panels.scales[panel * LANES + lane])
}

pub(super) fn scores_i8(query: &BytePanels, tokens: usize, rows: &ByteRows, out: &mut [f32]) {
    let each = rows.values.chunks_exact(query.dim).zip(&rows.scales);
    for ((row, scale), out) in each.zip(out.chunks_exact_mut(tokens)) {
        for (panel, out) in out.chunks_mut(LANES).enumerate() {
            let scores = panel_scores(query, panel, row);
            out.iter_mut()
                .zip(scores)
                .for_each(|(to, score)| *to = score * scale);
        }
    }
}

pub(super) fn levels_i8(query: &BytePanels, rows: &ByteRows, steps: &[f32], levels: &mut [u8]) {
    let each = rows.values.chunks_exact(query.dim).zip(&rows.scales);
    for ((row, scale), levels) in each.zip(levels.chunks_exact_mut(steps.len())) {
        let panels = levels.chunks_exact_mut(LANES).zip(steps.chunks_exact(LANES));
        for (panel, (levels, steps)) in panels.enumerate() {
            let scores = panel_scores(query, panel, row).map(|score| score * scale);
            levels_of(&scores, steps, levels);
        }
    }
}

/// Scores as levels: times the lane's step, rounded, from 0 to 255.
#[inline(always)]
pub(super) fn levels_of(scores: &[f32], steps: &[f32], levels: &mut [u8]) {
    for ((level, score), step) in levels.iter_mut().zip(scores).zip(steps) {
        // Adding 2^23 rounds to even and leaves the number in the low bits.
        let rounded = (score * step).clamp(0.0, 255.0) + 8_388_608.0;
        [*level, ..] = rounded.to_bits().to_le_bytes();
    }
}

pub(super) fn maxsim_residual(query: &BytePanels, tile: &ResidualTile<'_>, maxima: &mut [f32]) {
    let count = tile.check(query, maxima);
    for (panel, maxima) in maxima.chunks_exact_mut(LANES).enumerate() {
        for row in 0..count {
            let dots = panel_scores(query, panel, &tile.weights[row * query.dim..][..query.dim]);
            let centroid = &tile.centroid_scores[tile.centroids[row] + panel * LANES..][..LANES];
            for (lane, most) in maxima.iter_mut().enumerate() {
                let score = centroid[lane] + dots[lane] * tile.weight_scales[row];
                *most = most.max(score * tile.inverse_norms[row]);
            }
        }
    }
}

/// Unpacks all fields, by a table of what each byte holds.
pub(super) fn unpack(fields: &Unpack, packed: &[u8], out: &mut [u8]) {
    let each = 8 / usize::from(fields.bits);
    for (byte, out) in packed.iter().zip(out.chunks_exact_mut(each)) {
        out.copy_from_slice(&fields.bytes[usize::from(*byte) * each..][..each]);
    }
}

pub(super) fn nearest(
    centroids: &BytePanels,
    panels: std::ops::Range<usize>,
    rows: &[u8],
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    for panel in panels {
        for (row, bytes) in rows.chunks_exact(centroids.dim).enumerate() {
            for (lane, score) in panel_scores(centroids, panel, bytes).into_iter().enumerate() {
                if score >= floors[row] {
                    floors[row] = found(row, panel * LANES + lane, score);
                }
            }
        }
    }
}
