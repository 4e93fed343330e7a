//! NEON: a panel of 16 is four registers.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{BytePanels, ByteRows, LANES, Panels, ResidualTile, Unpack, levels_of};
use std::arch::aarch64::*;

/// Rows that a register tile of f32 holds: 4 x 5 of the 32 registers.
const ROWS: usize = 5;
/// Rows that a register tile of int8 holds: 4 x 4, and more is needed for products.
const BYTE_ROWS: usize = 4;

/// Calls a const-generic tile function for 1 to 5 rows.
macro_rules! for_rows {
    ($rows:expr, $call:ident($($arg:expr),*)) => {
        match $rows {
            5 => $call::<5>($($arg),*),
            4 => $call::<4>($($arg),*),
            3 => $call::<3>($($arg),*),
            2 => $call::<2>($($arg),*),
            _ => $call::<1>($($arg),*),
        }
    };
}

/// Dot products of a panel with `R` rows, four lanes a register.
///
/// # Safety
/// 1. `panel` points to `LANES * dim` numbers. 2. `rows` points to `R` rows of `dim` numbers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dots_f32<const R: usize>(panel: *const f32, rows: *const f32, dim: usize) -> [[float32x4_t; 4]; R] {
    // SAFETY: preconditions 1 and 2, d < dim.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 4]; R];
        for d in 0..dim {
            let at = panel.add(d * LANES);
            let lanes = [
                vld1q_f32(at),
                vld1q_f32(at.add(4)),
                vld1q_f32(at.add(8)),
                vld1q_f32(at.add(12)),
            ];
            for (r, sums) in sums.iter_mut().enumerate() {
                let value = *rows.add(r * dim + d);
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum = vfmaq_n_f32(*sum, lanes, value);
                }
            }
        }
        sums
    }
}

/// Raises a panel's maxima.
///
/// # Safety
/// As [`dots_f32`]; 3. `maxima` points to `LANES` numbers.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn maxsim_tile<const R: usize>(panel: *const f32, rows: *const f32, dim: usize, maxima: *mut f32) {
    // SAFETY: preconditions 1 to 3.
    unsafe {
        let dots = dots_f32::<R>(panel, rows, dim);
        for quarter in 0..4 {
            let at = maxima.add(quarter * 4);
            let most = dots
                .iter()
                .fold(vld1q_f32(at), |most, dot| vmaxq_f32(most, dot[quarter]));
            vst1q_f32(at, most);
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn maxsim_f32(query: &Panels, rows: &[f32], maxima: &mut [f32]) {
    let (dim, count) = (query.dim, rows.len() / query.dim);
    let panels = query.values.chunks_exact(LANES * dim);
    assert_eq!(maxima.len(), panels.len() * LANES);
    for (panel, maxima) in panels.zip(maxima.chunks_exact_mut(LANES)) {
        for row in (0..count).step_by(ROWS) {
            let (some, rows) = (ROWS.min(count - row), rows[row * dim..].as_ptr());
            // SAFETY: `panel` is a panel, `some` rows are left, `maxima` has LANES numbers.
            unsafe { for_rows!(some, maxsim_tile(panel.as_ptr(), rows, dim, maxima.as_mut_ptr())) };
        }
    }
}

/// Dot products of a panel with `R` rows, as numbers.
///
/// # Safety
/// As [`dots_f32`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn scores_tile<const R: usize>(
    panel: *const f32,
    rows: *const f32,
    dim: usize,
    out: &mut [f32; ROWS * LANES],
) {
    // SAFETY: preconditions 1 and 2; `out` has LANES numbers for each row, and R is at most ROWS.
    unsafe {
        let dots = dots_f32::<R>(panel, rows, dim);
        for (dot, out) in dots.iter().zip(out.chunks_exact_mut(LANES)) {
            for (quarter, dot) in dot.iter().enumerate() {
                vst1q_f32(out.as_mut_ptr().add(quarter * 4), *dot);
            }
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn scores_f32(query: &Panels, rows: &[f32], out: &mut [f32]) {
    let (dim, tokens) = (query.dim, query.tokens);
    let mut scores = [0.0; ROWS * LANES];
    for (rows, out) in rows.chunks(ROWS * dim).zip(out.chunks_mut(ROWS * tokens)) {
        let some = rows.len() / dim;
        for (panel, values) in query.values.chunks_exact(LANES * dim).enumerate() {
            // SAFETY: `values` is a panel, `rows` are `some` rows.
            unsafe {
                for_rows!(
                    some,
                    scores_tile(values.as_ptr(), rows.as_ptr(), dim, &mut scores)
                )
            };
            let width = LANES.min(tokens - panel * LANES);
            for (row, out) in out.chunks_exact_mut(tokens).enumerate() {
                out[panel * LANES..][..width].copy_from_slice(&scores[row * LANES..][..width]);
            }
        }
    }
}

/// Integer dot products of a panel with `R` rows of biased bytes. The sum of two products of bytes above -128 fits in 16
/// bits; pairs of those are added up in 32.
///
/// # Safety
/// 1. `panel` points to `LANES * dim` bytes above -128. 2. `rows` points to `R` rows of `dim` bytes above 0, `dim` a
///    multiple of 4.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dots_i8<const R: usize>(panel: *const i8, rows: *const u8, dim: usize) -> [[int32x4_t; 4]; R] {
    // SAFETY: preconditions 1 and 2, d + 3 < dim.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; R];
        let bias = vdupq_n_u8(0x80);
        for d in (0..dim).step_by(4) {
            let at = panel.add(d * LANES);
            let lanes = [
                vld1q_s8(at),
                vld1q_s8(at.add(16)),
                vld1q_s8(at.add(32)),
                vld1q_s8(at.add(48)),
            ];
            for (r, sums) in sums.iter_mut().enumerate() {
                let four = rows.add(r * dim + d).cast::<u32>().read_unaligned();
                let signed = vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(four)), bias));
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    let low = vmull_s8(vget_low_s8(lanes), vget_low_s8(signed));
                    let high = vmull_high_s8(lanes, signed);
                    *sum = vpadalq_s16(*sum, vpaddq_s16(low, high));
                }
            }
        }
        sums
    }
}

/// Raises a panel's maxima to the scores of `R` tokens.
///
/// # Safety
/// As [`dots_i8`] with the tile's rows from `first` and the query's `panel`; 3. `maxima` points to `LANES` numbers;
/// 4. `first + R` rows are in the tile, and a panel can be read at each of its centroid scores plus the panel's offset.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn residual_tile<const R: usize>(
    query: &BytePanels,
    tile: &ResidualTile<'_>,
    panel: usize,
    first: usize,
    maxima: *mut f32,
) {
    // SAFETY: preconditions 1 to 4.
    unsafe {
        let dim = query.dim;
        let values = query.values.as_ptr().add(panel * LANES * dim);
        let dots = dots_i8::<R>(values, tile.weights.as_ptr().add(first * dim), dim);
        for quarter in 0..4 {
            let (at, lane) = (maxima.add(quarter * 4), panel * LANES + quarter * 4);
            let scale = vld1q_f32(query.scales.as_ptr().add(lane));
            let mut most = vld1q_f32(at);
            for (r, dot) in dots.iter().enumerate() {
                let start = *tile.centroids.get_unchecked(first + r) + lane;
                let centroid = vld1q_f32(tile.centroid_scores.as_ptr().add(start));
                let scale = vmulq_n_f32(scale, *tile.weight_scales.get_unchecked(first + r));
                let score = vfmaq_f32(centroid, vcvtq_f32_s32(dot[quarter]), scale);
                most = vmaxq_f32(
                    most,
                    vmulq_n_f32(score, *tile.inverse_norms.get_unchecked(first + r)),
                );
            }
            vst1q_f32(at, most);
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn maxsim_residual(query: &BytePanels, tile: &ResidualTile<'_>, maxima: &mut [f32]) {
    let count = tile.check(query, maxima);
    for (panel, maxima) in maxima.chunks_exact_mut(LANES).enumerate() {
        for row in (0..count).step_by(BYTE_ROWS) {
            let (some, maxima) = (BYTE_ROWS.min(count - row), maxima.as_mut_ptr());
            // SAFETY: `panel` is one of the query, quantised to -127..=127 as the weights are; `some` rows are left;
            // `check` saw that every column has them, and that every centroid score can be read with its fill.
            unsafe { for_rows!(some, residual_tile(query, tile, panel, row, maxima)) };
        }
    }
}

/// Writes the scaled dot products of a panel with `R` rows of bytes.
///
/// # Safety
/// As [`dots_i8`] with the query's `panel` and the rows from `first`; 3. `first + R` rows have a scale.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn byte_scores_tile<const R: usize>(
    query: &BytePanels,
    panel: usize,
    rows: &ByteRows,
    first: usize,
    out: &mut [f32; BYTE_ROWS * LANES],
) {
    // SAFETY: preconditions 1 to 3; there is a scale for each lane of the panel; `out` has LANES numbers a row.
    unsafe {
        let dim = query.dim;
        let values = query.values.as_ptr().add(panel * LANES * dim);
        let dots = dots_i8::<R>(values, rows.values.as_ptr().add(first * dim), dim);
        for quarter in 0..4 {
            let scale = vld1q_f32(query.scales.as_ptr().add(panel * LANES + quarter * 4));
            for (r, dot) in dots.iter().enumerate() {
                let score = vmulq_f32(vcvtq_f32_s32(dot[quarter]), scale);
                let score = vmulq_n_f32(score, *rows.scales.get_unchecked(first + r));
                vst1q_f32(out.as_mut_ptr().add(r * LANES + quarter * 4), score);
            }
        }
    }
}

/// Calls `each(first row, panel, scores)` for the scaled dot products of each panel with up to [`BYTE_ROWS`] rows.
#[inline]
#[target_feature(enable = "neon")]
fn for_byte_scores(query: &BytePanels, rows: &ByteRows, mut each: impl FnMut(usize, usize, &[f32])) {
    let count = rows.scales.len();
    assert!(rows.values.len() == count * query.dim);
    let mut scores = [0.0; BYTE_ROWS * LANES];
    for row in (0..count).step_by(BYTE_ROWS) {
        let some = BYTE_ROWS.min(count - row);
        for panel in 0..query.panels() {
            // SAFETY: `panel` is one of the query's, quantised to -127..=127 as the rows are; `some` rows are left, and
            // each has a scale.
            unsafe { for_rows!(some, byte_scores_tile(query, panel, rows, row, &mut scores)) };
            each(row, panel, &scores[..some * LANES]);
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn scores_i8(query: &BytePanels, tokens: usize, rows: &ByteRows, out: &mut [f32]) {
    assert_eq!(tokens.div_ceil(LANES), query.panels());
    for_byte_scores(query, rows, |first, panel, scores| {
        let width = LANES.min(tokens - panel * LANES);
        for (row, scores) in (first..).zip(scores.chunks_exact(LANES)) {
            out[row * tokens + panel * LANES..][..width].copy_from_slice(&scores[..width]);
        }
    });
}

#[target_feature(enable = "neon")]
pub(super) fn levels_i8(query: &BytePanels, rows: &ByteRows, steps: &[f32], levels: &mut [u8]) {
    for_byte_scores(query, rows, |first, panel, scores| {
        let steps_here = &steps[panel * LANES..][..LANES];
        for (row, scores) in (first..).zip(scores.chunks_exact(LANES)) {
            let levels = &mut levels[row * steps.len() + panel * LANES..][..LANES];
            levels_of(scores, steps_here, levels);
        }
    });
}

/// Unpacks whole groups of 16 packed bytes; returns the packed bytes that it took.
#[target_feature(enable = "neon")]
pub(super) fn unpack(fields: &Unpack, packed: &[u8], out: &mut [u8]) -> usize {
    let each = 8 / usize::from(fields.bits);
    let groups = (packed.len() / 16).min(out.len() / (16 * each));
    if fields.bits == 1 {
        return 0;
    }
    // SAFETY: the table has 16 bytes; 16 bytes are left in `packed` and 16 times `each` in `out` for every group.
    unsafe {
        let table = vld1q_u8(fields.nibbles.as_ptr());
        for group in 0..groups {
            let bytes = vld1q_u8(packed.as_ptr().add(group * 16));
            let (high, low) = (vshrq_n_u8::<4>(bytes), vandq_u8(bytes, vdupq_n_u8(0x0f)));
            let to = out.as_mut_ptr().add(group * 16 * each);
            if fields.bits == 4 {
                vst2q_u8(to, uint8x16x2_t(vqtbl1q_u8(table, high), vqtbl1q_u8(table, low)));
            } else {
                // Two fields a half, looked up where they stand: the table knows them also at four times their value.
                let of = |half, mask| vqtbl1q_u8(table, vandq_u8(half, vdupq_n_u8(mask)));
                vst4q_u8(
                    to,
                    uint8x16x4_t(of(high, 0x0c), of(high, 0x03), of(low, 0x0c), of(low, 0x03)),
                );
            }
        }
    }
    groups * 16
}

/// Calls `found(row, centroid, score)` for each score of a panel with `R` rows above the row's threshold, which `found`
/// may raise.
///
/// # Safety
/// As [`dots_i8`], `panel` being one of `centroids`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn nearest_tile<const R: usize>(
    centroids: &BytePanels,
    panel: usize,
    rows: *const u8,
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    // SAFETY: preconditions 1 and 2; there is a scale for each lane of the panel.
    unsafe {
        let dim = centroids.dim;
        let dots = dots_i8::<R>(centroids.values.as_ptr().add(panel * LANES * dim), rows, dim);
        for quarter in 0..4 {
            let first = panel * LANES + quarter * 4;
            let scale = vld1q_f32(centroids.scales.as_ptr().add(first));
            for (r, dot) in dots.iter().enumerate() {
                let scores = vmulq_f32(vcvtq_f32_s32(dot[quarter]), scale);
                if vmaxvq_f32(scores) >= floors[r] {
                    let mut lanes = [0.0f32; 4];
                    vst1q_f32(lanes.as_mut_ptr(), scores);
                    for (lane, score) in lanes.into_iter().enumerate() {
                        if score >= floors[r] {
                            floors[r] = found(r, first + lane, score);
                        }
                    }
                }
            }
        }
    }
}

#[target_feature(enable = "neon")]
pub(super) fn nearest(
    centroids: &BytePanels,
    panels: std::ops::Range<usize>,
    rows: &[u8],
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    let (dim, count) = (centroids.dim, rows.len() / centroids.dim);
    assert!(floors.len() == count && panels.end <= centroids.panels());
    for first in (0..count).step_by(BYTE_ROWS) {
        let some = BYTE_ROWS.min(count - first);
        let rows = rows[first * dim..].as_ptr();
        let floors = &mut floors[first..first + some];
        let found: &mut dyn FnMut(usize, usize, f32) -> f32 =
            &mut |row, centroid, score| found(first + row, centroid, score);
        for panel in panels.clone() {
            // SAFETY: `panel` is one of the centroids', quantised to -127..=127 as the rows are; `some` rows are left.
            unsafe { for_rows!(some, nearest_tile(centroids, panel, rows, floors, found)) };
        }
    }
}
