//! AVX-512 with VNNI: 16 query tokens (or centroids) a register, up to 2 panels by 12 rows of sums at once.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{BytePanels, ByteRows, LANES, Panels, ResidualTile, Unpack};
use std::arch::x86_64::*;

/// Rows that a register tile holds: 2 panels x 12 rows are 24 of the 32 registers.
const ROWS: usize = 12;

/// Calls a const-generic tile function for 1 to 12 rows.
macro_rules! for_rows {
    ($rows:expr, $call:ident::<$p:literal>($($arg:expr),*)) => {
        match $rows {
            12 => $call::<$p, 12>($($arg),*),
            11 => $call::<$p, 11>($($arg),*),
            10 => $call::<$p, 10>($($arg),*),
            9 => $call::<$p, 9>($($arg),*),
            8 => $call::<$p, 8>($($arg),*),
            7 => $call::<$p, 7>($($arg),*),
            6 => $call::<$p, 6>($($arg),*),
            5 => $call::<$p, 5>($($arg),*),
            4 => $call::<$p, 4>($($arg),*),
            3 => $call::<$p, 3>($($arg),*),
            2 => $call::<$p, 2>($($arg),*),
            _ => $call::<$p, 1>($($arg),*),
        }
    };
}

/// Dot products of `P` panels with `R` rows. With `STREAM` the rows that come after them in memory are fetched meanwhile,
/// a line at each step: hardware follows the stream of one row, and not of twelve.
///
/// # Safety
/// 1. `panels` points to `P` panels of `LANES * dim` numbers. 2. `rows` points to `R` rows of `dim` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn dots_f32<const P: usize, const R: usize, const STREAM: bool>(
    panels: *const f32,
    rows: *const f32,
    dim: usize,
) -> [[__m512; P]; R] {
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    let next = rows.wrapping_add(R * dim);
    for d in 0..dim {
        if STREAM && d * LANES < R * dim {
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(d * LANES).cast());
        }
        let mut lanes = [_mm512_setzero_ps(); P];
        for (p, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: precondition 1, d < dim.
            *lanes = unsafe { _mm512_loadu_ps(panels.add((p * dim + d) * LANES)) };
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: precondition 2, d < dim.
            let value = _mm512_set1_ps(unsafe { *rows.add(r * dim + d) });
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = _mm512_fmadd_ps(lanes, value, *sum);
            }
        }
    }
    sums
}

/// Raises `P` registers of maxima.
///
/// # Safety
/// As [`dots_f32`]; 3. `maxima` points to `P * LANES` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn maxsim_tile<const P: usize, const R: usize>(
    panels: *const f32,
    rows: *const f32,
    dim: usize,
    maxima: *mut f32,
) {
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe { dots_f32::<P, R, true>(panels, rows, dim) };
    for p in 0..P {
        // SAFETY: precondition 3, p < P.
        let at = unsafe { maxima.add(p * LANES) };
        // SAFETY: as above.
        let mut most = unsafe { _mm512_loadu_ps(at) };
        for dot in &dots {
            most = _mm512_max_ps(most, dot[p]);
        }
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(at, most) };
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn maxsim_f32(query: &Panels, rows: &[f32], maxima: &mut [f32]) {
    let (dim, count) = (query.dim, rows.len() / query.dim);
    let panels = query.values.len() / (LANES * dim);
    assert_eq!(maxima.len(), panels * LANES);
    for panel in (0..panels).step_by(2) {
        let values = query.values[panel * LANES * dim..].as_ptr();
        let maxima = maxima[panel * LANES..].as_mut_ptr();
        for row in (0..count).step_by(ROWS) {
            let some = ROWS.min(count - row);
            let rows = rows[row * dim..].as_ptr();
            // SAFETY: `panel` and the one after it, where there is one, are panels; `some` rows are left; maxima has
            // LANES numbers a panel.
            unsafe {
                if panel + 1 < panels {
                    for_rows!(some, maxsim_tile::<2>(values, rows, dim, maxima));
                } else {
                    for_rows!(some, maxsim_tile::<1>(values, rows, dim, maxima));
                }
            }
        }
    }
}

/// Writes the dot products of `P` panels with `R` rows, `tokens` numbers apart; of each row the first `width`.
///
/// # Safety
/// As [`dots_f32`]; 3. `out` points to `R` rows that are `tokens` apart and have room for `width <= P * LANES` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn scores_tile<const P: usize, const R: usize>(
    panels: *const f32,
    rows: *const f32,
    dim: usize,
    out: *mut f32,
    tokens: usize,
    width: usize,
) {
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe { dots_f32::<P, R, false>(panels, rows, dim) };
    for p in 0..P {
        let mask = u16::MAX >> (LANES - LANES.min(width - p * LANES));
        for (r, dot) in dots.iter().enumerate() {
            // SAFETY: precondition 3; the mask leaves out what is beyond `width`.
            unsafe { _mm512_mask_storeu_ps(out.add(r * tokens + p * LANES), mask, dot[p]) };
        }
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn scores_f32(query: &Panels, rows: &[f32], out: &mut [f32]) {
    let (dim, tokens, count) = (query.dim, query.tokens, rows.len() / query.dim);
    let panels = query.values.len() / (LANES * dim);
    assert!(out.len() >= count * tokens && tokens.div_ceil(LANES) == panels);
    for row in (0..count).step_by(ROWS) {
        let some = ROWS.min(count - row);
        let rows = rows[row * dim..].as_ptr();
        for panel in (0..panels).step_by(2) {
            let values = query.values[panel * LANES * dim..].as_ptr();
            let width = (tokens - panel * LANES).min(2 * LANES);
            let out = out[row * tokens + panel * LANES..].as_mut_ptr();
            // SAFETY: `panel` and the one after it, where there is one, are panels; `some` rows are left in `rows` and
            // `out`, `width` numbers of each from `panel` on.
            unsafe {
                if panel + 1 < panels {
                    for_rows!(some, scores_tile::<2>(values, rows, dim, out, tokens, width));
                } else {
                    for_rows!(some, scores_tile::<1>(values, rows, dim, out, tokens, width));
                }
            }
        }
    }
}

/// Integer dot products of `P` panels with `R` rows of biased bytes. VNNI multiplies unsigned by signed bytes: a row's
/// byte is its number plus 128, and `-128` times the sum of each lane's numbers takes that off again.
///
/// # Safety
/// 1. `panels` points to `P` panels of `LANES * dim` bytes. 2. `rows` points to `R` rows of `dim` bytes, `dim` a multiple
///    of 4. 3. `offsets` points to `P * LANES` integers.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn dots_i8<const P: usize, const R: usize>(
    panels: *const i8,
    offsets: *const i32,
    rows: *const u8,
    dim: usize,
) -> [[__m512i; P]; R] {
    let mut start = [_mm512_setzero_si512(); P];
    for (p, start) in start.iter_mut().enumerate() {
        // SAFETY: precondition 3.
        *start = unsafe { _mm512_loadu_si512(offsets.add(p * LANES).cast()) };
    }
    let mut sums = [start; R];
    for d in (0..dim).step_by(4) {
        let mut lanes = [_mm512_setzero_si512(); P];
        for (p, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: precondition 1, d + 3 < dim.
            *lanes = unsafe { _mm512_loadu_si512(panels.add((p * dim + d) * LANES).cast()) };
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: precondition 2, d + 3 < dim.
            let value = _mm512_set1_epi32(unsafe { rows.add(r * dim + d).cast::<i32>().read_unaligned() });
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = _mm512_dpbusd_epi32(*sum, value, lanes);
            }
        }
    }
    sums
}

/// Raises `P` registers of maxima to the scores of `R` tokens: centroid score plus residual, by the reciprocal norm.
///
/// # Safety
/// As [`dots_i8`] with the tile's rows from `first`; 4. `panel + P` panels are in the query; 5. `maxima` points to
/// `P * LANES` numbers; 6. `first + R` rows are in the tile, and `LANES` numbers can be read at each of its centroid
/// scores plus the offset of each panel.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn residual_tile<const P: usize, const R: usize>(
    query: &BytePanels,
    tile: &ResidualTile<'_>,
    panel: usize,
    first: usize,
    maxima: *mut f32,
) {
    let dim = query.dim;
    // SAFETY: preconditions 1 to 4.
    let dots = unsafe {
        let panels = query.values.as_ptr().add(panel * LANES * dim);
        let offsets = query.offsets.as_ptr().add(panel * LANES);
        dots_i8::<P, R>(panels, offsets, tile.weights.as_ptr().add(first * dim), dim)
    };
    for p in 0..P {
        // SAFETY: preconditions 4 and 5.
        let (at, scale) = unsafe {
            (
                maxima.add(p * LANES),
                _mm512_loadu_ps(query.scales.as_ptr().add((panel + p) * LANES)),
            )
        };
        // SAFETY: precondition 5.
        let mut most = unsafe { _mm512_loadu_ps(at) };
        for (r, dot) in dots.iter().enumerate() {
            // SAFETY: precondition 6.
            let (centroid, inverse, factor) = unsafe {
                let start = *tile.centroids.get_unchecked(first + r) + (panel + p) * LANES;
                (
                    _mm512_loadu_ps(tile.centroid_scores.as_ptr().add(start)),
                    *tile.inverse_norms.get_unchecked(first + r),
                    *tile.weight_scales.get_unchecked(first + r),
                )
            };
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(factor));
            let score = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[p]), scale, centroid);
            most = _mm512_max_ps(most, _mm512_mul_ps(score, _mm512_set1_ps(inverse)));
        }
        // SAFETY: precondition 5.
        unsafe { _mm512_storeu_ps(at, most) };
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn maxsim_residual(query: &BytePanels, tile: &ResidualTile<'_>, maxima: &mut [f32]) {
    let panels = query.panels();
    let count = tile.check(query, maxima);
    for panel in (0..panels).step_by(2) {
        let maxima = maxima[panel * LANES..].as_mut_ptr();
        for row in (0..count).step_by(ROWS) {
            let some = ROWS.min(count - row);
            // SAFETY: `panel` and the one after it, where there is one, are panels; `some` rows are left; `check` saw
            // that every column has them, and that every centroid score can be read with its fill.
            unsafe {
                if panel + 1 < panels {
                    for_rows!(some, residual_tile::<2>(query, tile, panel, row, maxima));
                } else {
                    for_rows!(some, residual_tile::<1>(query, tile, panel, row, maxima));
                }
            }
        }
    }
}

/// The scaled dot products of `P` panels with `R` rows of bytes.
///
/// # Safety
/// As [`dots_i8`] with the query's panels from `panel` and the rows from `first`; 4. `first + R` rows have a scale.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn byte_scores<const P: usize, const R: usize>(
    query: &BytePanels,
    panel: usize,
    rows: &ByteRows,
    first: usize,
) -> [[__m512; P]; R] {
    let dim = query.dim;
    // SAFETY: preconditions 1 to 3.
    let dots = unsafe {
        let panels = query.values.as_ptr().add(panel * LANES * dim);
        let offsets = query.offsets.as_ptr().add(panel * LANES);
        dots_i8::<P, R>(panels, offsets, rows.values.as_ptr().add(first * dim), dim)
    };
    let mut scores = [[_mm512_setzero_ps(); P]; R];
    for p in 0..P {
        // SAFETY: precondition 1: there is a scale for each lane of each panel.
        let scale = unsafe { _mm512_loadu_ps(query.scales.as_ptr().add((panel + p) * LANES)) };
        for (r, (dot, scores)) in dots.iter().zip(&mut scores).enumerate() {
            // SAFETY: precondition 4.
            let factor = unsafe { *rows.scales.get_unchecked(first + r) };
            let score = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[p]), scale);
            scores[p] = _mm512_mul_ps(score, _mm512_set1_ps(factor));
        }
    }
    scores
}

/// Writes scaled dot products, `tokens` numbers apart; of each row the first `width`.
///
/// # Safety
/// As [`byte_scores`]; 5. `out` points to `R` rows that are `tokens` apart and have room for `width <= P * LANES` numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn byte_scores_tile<const P: usize, const R: usize>(
    query: &BytePanels,
    panel: usize,
    rows: &ByteRows,
    first: usize,
    out: *mut f32,
    tokens: usize,
    width: usize,
) {
    // SAFETY: preconditions 1 to 4.
    let scores = unsafe { byte_scores::<P, R>(query, panel, rows, first) };
    for p in 0..P {
        let mask = u16::MAX >> (LANES - LANES.min(width - p * LANES));
        for (r, scores) in scores.iter().enumerate() {
            // SAFETY: precondition 5; the mask leaves out what is beyond `width`.
            unsafe { _mm512_mask_storeu_ps(out.add(r * tokens + p * LANES), mask, scores[p]) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn scores_i8(query: &BytePanels, tokens: usize, rows: &ByteRows, out: &mut [f32]) {
    let (count, panels) = (rows.scales.len(), query.panels());
    assert!(rows.values.len() == count * query.dim && out.len() >= count * tokens);
    assert_eq!(tokens.div_ceil(LANES), panels);
    for row in (0..count).step_by(ROWS) {
        let some = ROWS.min(count - row);
        for panel in (0..panels).step_by(2) {
            let width = (tokens - panel * LANES).min(2 * LANES);
            let out = out[row * tokens + panel * LANES..].as_mut_ptr();
            // SAFETY: `panel` and the one after it, where there is one, are panels; `some` rows are left in `rows` and
            // `out`, `width` numbers of each from `panel` on.
            unsafe {
                if panel + 1 < panels {
                    for_rows!(
                        some,
                        byte_scores_tile::<2>(query, panel, rows, row, out, tokens, width)
                    );
                } else {
                    for_rows!(
                        some,
                        byte_scores_tile::<1>(query, panel, rows, row, out, tokens, width)
                    );
                }
            }
        }
    }
}

/// Writes scaled dot products as levels.
///
/// # Safety
/// As [`byte_scores`]; 5. `panel + P` panels have steps; 6. `levels` points to `R` rows that are as far apart as there are
/// steps and have room for `P * LANES` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn levels_tile<const P: usize, const R: usize>(
    query: &BytePanels,
    panel: usize,
    rows: &ByteRows,
    first: usize,
    steps: &[f32],
    levels: *mut u8,
) {
    // SAFETY: preconditions 1 to 4.
    let scores = unsafe { byte_scores::<P, R>(query, panel, rows, first) };
    for p in 0..P {
        // SAFETY: precondition 5.
        let step = unsafe { _mm512_loadu_ps(steps.as_ptr().add((panel + p) * LANES)) };
        for (r, scores) in scores.iter().enumerate() {
            let level = _mm512_max_ps(_mm512_mul_ps(scores[p], step), _mm512_setzero_ps());
            let level = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(level));
            // SAFETY: precondition 6.
            unsafe { _mm_storeu_si128(levels.add(r * steps.len() + p * LANES).cast(), level) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn levels_i8(query: &BytePanels, rows: &ByteRows, steps: &[f32], levels: &mut [u8]) {
    let (count, panels) = (rows.scales.len(), query.panels());
    assert!(rows.values.len() == count * query.dim);
    assert!(steps.len() == panels * LANES && levels.len() == count * steps.len());
    for row in (0..count).step_by(ROWS) {
        let some = ROWS.min(count - row);
        for panel in (0..panels).step_by(2) {
            let levels = levels[row * steps.len() + panel * LANES..].as_mut_ptr();
            // SAFETY: `panel` and the one after it, where there is one, are panels and have steps; `some` rows are left in
            // `rows` and `levels`.
            unsafe {
                if panel + 1 < panels {
                    for_rows!(some, levels_tile::<2>(query, panel, rows, row, steps, levels));
                } else {
                    for_rows!(some, levels_tile::<1>(query, panel, rows, row, steps, levels));
                }
            }
        }
    }
}

/// Unpacks whole groups of 64 fields; returns the packed bytes that it took.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn unpack(fields: &Unpack, packed: &[u8], out: &mut [u8]) -> usize {
    let step = 8 * usize::from(fields.bits);
    let groups = (packed.len() / step).min(out.len() / 64);
    // SAFETY: the table has 16 bytes.
    let table = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(fields.nibbles.as_ptr().cast()) });
    for group in 0..groups {
        let from = packed[group * step..].as_ptr();
        // SAFETY: `step` bytes are left in `packed`: 32, 16 or 8 for 4, 2 or 1 bits.
        let wide = unsafe {
            match fields.bits {
                4 => unpack_4(table, _mm256_loadu_si256(from.cast())),
                2 => unpack_2(table, _mm_loadu_si128(from.cast())),
                _ => unpack_1(fields, from.cast::<i64>().read_unaligned()),
            }
        };
        // SAFETY: 64 bytes are left in `out`.
        unsafe { _mm512_storeu_si512(out[group * 64..].as_mut_ptr().cast(), wide) };
    }
    groups * step
}

/// 32 bytes to 64 fields: the high half of a byte comes first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_4(table: __m512i, bytes: __m256i) -> __m512i {
    let words = _mm512_cvtepu8_epi16(bytes);
    let both = _mm512_or_si512(_mm512_srli_epi16::<4>(words), _mm512_slli_epi16::<8>(words));
    _mm512_shuffle_epi8(table, _mm512_and_si512(both, _mm512_set1_epi8(0x0f)))
}

/// 16 bytes to 64 fields: each byte four times, its own two bits left in each, looked up where they stand (the table
/// knows them as value and as value times 4).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_2(table: __m512i, bytes: __m128i) -> __m512i {
    let fourfold = _mm512_shuffle_epi8(
        _mm512_broadcast_i32x4(bytes),
        _mm512_set_epi32(
            0x0f0f_0f0f,
            0x0e0e_0e0e,
            0x0d0d_0d0d,
            0x0c0c_0c0c,
            0x0b0b_0b0b,
            0x0a0a_0a0a,
            0x0909_0909,
            0x0808_0808,
            0x0707_0707,
            0x0606_0606,
            0x0505_0505,
            0x0404_0404,
            0x0303_0303,
            0x0202_0202,
            0x0101_0101,
            0,
        ),
    );
    // The first two fields are in the high half: shift the words that hold them.
    let low = _mm512_mask_srli_epi16::<4>(fourfold, 0x5555_5555, fourfold);
    _mm512_shuffle_epi8(table, _mm512_and_si512(low, _mm512_set1_epi32(0x030c_030c)))
}

/// 8 bytes to 64 fields: each byte eight times, one bit tested in each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack_1(fields: &Unpack, bytes: i64) -> __m512i {
    let eightfold = _mm512_shuffle_epi8(
        _mm512_set1_epi64(bytes),
        _mm512_set_epi64(
            0x0707_0707_0707_0707,
            0x0606_0606_0606_0606,
            0x0505_0505_0505_0505,
            0x0404_0404_0404_0404,
            0x0303_0303_0303_0303,
            0x0202_0202_0202_0202,
            0x0101_0101_0101_0101,
            0,
        ),
    );
    let set = _mm512_test_epi8_mask(eightfold, _mm512_set1_epi64(0x0102_0408_1020_4080));
    let [zero, one] = [fields.nibbles[0], fields.nibbles[1]].map(|b| _mm512_set1_epi8(b.cast_signed()));
    _mm512_mask_blend_epi8(set, zero, one)
}

/// Calls `found(row, centroid, score)` for each score of `P` panels with `R` rows above the row's threshold, which
/// `found` may raise.
///
/// # Safety
/// As [`dots_i8`], `panel + P` panels being in `centroids`; 4. `floors` has `R` numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn nearest_tile<const P: usize, const R: usize>(
    centroids: &BytePanels,
    panel: usize,
    rows: *const u8,
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    let dim = centroids.dim;
    // SAFETY: preconditions 1 to 3.
    let dots = unsafe {
        let panels = centroids.values.as_ptr().add(panel * LANES * dim);
        dots_i8::<P, R>(panels, centroids.offsets.as_ptr().add(panel * LANES), rows, dim)
    };
    let mut scales = [_mm512_setzero_ps(); P];
    for (p, scale) in scales.iter_mut().enumerate() {
        // SAFETY: precondition 1: there is a scale for each lane of each panel.
        *scale = unsafe { _mm512_loadu_ps(centroids.scales.as_ptr().add((panel + p) * LANES)) };
    }
    let mut any = 0;
    for (dots, floor) in dots.iter().zip(floors.iter()) {
        for (dot, scale) in dots.iter().zip(scales) {
            let scores = _mm512_mul_ps(_mm512_cvtepi32_ps(*dot), scale);
            any |= _mm512_cmp_ps_mask::<_CMP_GE_OQ>(scores, _mm512_set1_ps(*floor));
        }
    }
    if any != 0 {
        report_above(&dots, &scales, panel, floors, found);
    }
}

/// The rare rest of [`nearest_tile`]: which scores they were.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn report_above<const P: usize, const R: usize>(
    dots: &[[__m512i; P]; R],
    scales: &[__m512; P],
    panel: usize,
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    for (r, (dots, floor)) in dots.iter().zip(floors).enumerate() {
        for (p, (dot, scale)) in dots.iter().zip(scales).enumerate() {
            let scores = _mm512_mul_ps(_mm512_cvtepi32_ps(*dot), *scale);
            let mut above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(scores, _mm512_set1_ps(*floor));
            let mut lanes = [0.0f32; LANES];
            // SAFETY: 16 numbers are there to be written.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), scores) };
            while above != 0 {
                let lane = above.trailing_zeros() as usize;
                *floor = found(r, (panel + p) * LANES + lane, lanes[lane]);
                above &= above - 1;
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn nearest(
    centroids: &BytePanels,
    panels: std::ops::Range<usize>,
    rows: &[u8],
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    let (dim, count) = (centroids.dim, rows.len() / centroids.dim);
    assert!(floors.len() == count && panels.end <= centroids.panels());
    for first in (0..count).step_by(ROWS) {
        let some = ROWS.min(count - first);
        let rows = rows[first * dim..].as_ptr();
        let floors = &mut floors[first..first + some];
        let found: &mut dyn FnMut(usize, usize, f32) -> f32 =
            &mut |row, centroid, score| found(first + row, centroid, score);
        for panel in panels.clone().step_by(2) {
            // SAFETY: `panel` and the one after it, where it is within `panels`, are panels; `some` rows are left.
            unsafe {
                if panel + 1 < panels.end {
                    for_rows!(some, nearest_tile::<2>(centroids, panel, rows, floors, found));
                } else {
                    for_rows!(some, nearest_tile::<1>(centroids, panel, rows, floors, found));
                }
            }
        }
    }
}
