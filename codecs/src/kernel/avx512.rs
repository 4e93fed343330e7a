//! AVX-512 with VNNI: 16 query tokens (or centroids) a register, up to 2 panels by 12 rows of sums at once.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{BytePanels, ByteRows, LANES, Panels, ResidualTile, Unpack, WINDOWS};
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

/// Dot products of `P` panels with `R` rows.
///
/// # Safety
/// 1. `panels` points to `P` panels of `LANES * dim` numbers. 2. `rows` points to `R` rows of `dim` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn dots_f32<const P: usize, const R: usize>(
    panels: *const f32,
    rows: *const f32,
    dim: usize,
) -> [[__m512; P]; R] {
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    for d in 0..dim {
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
    let dots = unsafe { dots_f32::<P, R>(panels, rows, dim) };
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
    let dots = unsafe { dots_f32::<P, R>(panels, rows, dim) };
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn trellis_search(bits: u8, row: &[f32], laid_out: &[f32; WINDOWS], back: &mut [u8]) -> usize {
    // SAFETY: the table has 16 registers.
    let table: [__m512; 16] =
        std::array::from_fn(|at| unsafe { _mm512_loadu_ps(laid_out.as_ptr().add(at * LANES)) });
    match bits {
        1 => search_1(row, &table, back),
        2 => search_2(row, &table, back),
        _ => search_4(row, &table, back),
    }
}

/// The cost of a window: that of the state before and its squared error, each operation rounded as in plain Rust.
#[inline]
#[target_feature(enable = "avx512f")]
fn window_cost(x: __m512, table: __m512, cost: __m512) -> __m512 {
    let error = _mm512_sub_ps(x, table);
    _mm512_add_ps(cost, _mm512_mul_ps(error, error))
}

/// The lesser of two costs, and where it is the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn lesser(a: __m512, b: __m512) -> (__m512, __mmask16) {
    (_mm512_min_ps(a, b), _mm512_cmp_ps_mask::<_CMP_LT_OQ>(b, a))
}

/// Two registers of 32-bit numbers, one from each in turn.
#[inline]
#[target_feature(enable = "avx512f")]
fn interleave(a: __m512, b: __m512) -> [__m512; 2] {
    let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    [
        _mm512_permutex2var_ps(a, low, b),
        _mm512_permutex2var_ps(a, high, b),
    ]
}

/// As [`interleave`], pairs of numbers in turn.
#[inline]
#[target_feature(enable = "avx512f")]
fn interleave_pairs(a: __m512, b: __m512) -> [__m512; 2] {
    let low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    let high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
    let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
    [
        _mm512_castpd_ps(_mm512_permutex2var_pd(a, low, b)),
        _mm512_castpd_ps(_mm512_permutex2var_pd(a, high, b)),
    ]
}

/// The state of least cost, the first of several.
#[inline]
#[target_feature(enable = "avx512f")]
fn least_state(costs: &[__m512]) -> usize {
    let mut all = [0.0f32; 8 * LANES];
    for (cost, out) in costs.iter().zip(all.chunks_exact_mut(LANES)) {
        // SAFETY: `out` has 16 numbers.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *cost) };
    }
    let all = &all[..costs.len() * LANES];
    let best = |best: usize, state: usize| if all[state] < all[best] { state } else { best };
    (0..all.len()).fold(0, best)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn search_1(row: &[f32], table: &[__m512; 16], back: &mut [u8]) -> usize {
    let mut cost = [_mm512_setzero_ps(); 8];
    for (x, back) in row.iter().zip(back.chunks_exact_mut(8 * LANES)) {
        let x = _mm512_set1_ps(*x);
        let mut next = cost;
        for tail in 0..4 {
            let mut least = [_mm512_setzero_ps(); 2];
            for branch in 0..2 {
                let first = window_cost(x, table[branch * 8 + tail], cost[tail]);
                let second = window_cost(x, table[branch * 8 + 4 + tail], cost[4 + tail]);
                let (min, is_second) = lesser(first, second);
                least[branch] = min;
                let heads = _mm_maskz_set1_epi8(is_second, 1);
                let out = &mut back[(branch * 4 + tail) * LANES..][..LANES];
                // SAFETY: `out` has 16 bytes.
                unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), heads) };
            }
            [next[2 * tail], next[2 * tail + 1]] = interleave(least[0], least[1]);
        }
        cost = next;
    }
    least_state(&cost)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn search_2(row: &[f32], table: &[__m512; 16], back: &mut [u8]) -> usize {
    let mut cost = [_mm512_setzero_ps(); 4];
    for (x, back) in row.iter().zip(back.chunks_exact_mut(4 * LANES)) {
        let x = _mm512_set1_ps(*x);
        let mut least = [_mm512_setzero_ps(); 4];
        for (branch, least) in least.iter_mut().enumerate() {
            let of = |head: usize| window_cost(x, table[branch * 4 + head], cost[head]);
            let ((low, odd_low), (high, odd_high)) = (lesser(of(0), of(1)), lesser(of(2), of(3)));
            let (min, is_high) = lesser(low, high);
            *least = min;
            let odd = (is_high & odd_high) | (!is_high & odd_low);
            let heads = _mm_or_si128(_mm_maskz_set1_epi8(is_high, 2), _mm_maskz_set1_epi8(odd, 1));
            let out = &mut back[branch * LANES..][..LANES];
            // SAFETY: `out` has 16 bytes.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), heads) };
        }
        let (even, odd) = (interleave(least[0], least[1]), interleave(least[2], least[3]));
        let (low, high) = (
            interleave_pairs(even[0], odd[0]),
            interleave_pairs(even[1], odd[1]),
        );
        cost = [low[0], low[1], high[0], high[1]];
    }
    least_state(&cost)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn search_4(row: &[f32], table: &[__m512; 16], back: &mut [u8]) -> usize {
    let mut cost = _mm512_setzero_ps();
    for (x, back) in row.iter().zip(back.chunks_exact_mut(LANES)) {
        let x = _mm512_set1_ps(*x);
        // Four chains of four states each, which are compared at the end.
        let mut chains = [(_mm512_setzero_ps(), _mm512_setzero_si512()); 4];
        for (chain, (least, head)) in (0i32..).step_by(4).zip(&mut chains) {
            let first = chain.unsigned_abs() as usize;
            for (at, table) in (chain..).zip(&table[first..first + 4]) {
                let before = _mm512_permutexvar_ps(_mm512_set1_epi32(at), cost);
                let sum = window_cost(x, *table, before);
                if at == chain {
                    (*least, *head) = (sum, _mm512_set1_epi32(at));
                } else {
                    let (min, is_new) = lesser(*least, sum);
                    *head = _mm512_mask_mov_epi32(*head, is_new, _mm512_set1_epi32(at));
                    *least = min;
                }
            }
        }
        let [first, rest @ ..] = chains;
        let (least, heads) = rest
            .into_iter()
            .fold(first, |(least, heads), (other, other_heads)| {
                let (min, is_other) = lesser(least, other);
                (min, _mm512_mask_mov_epi32(heads, is_other, other_heads))
            });
        cost = least;
        // SAFETY: `back` has 16 bytes.
        unsafe { _mm_storeu_si128(back.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(heads)) };
    }
    least_state(&[cost])
}

/// Looks up the windows of the rows at some places, which are whole groups of 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn trellis_unpack(
    bits: u8,
    table: &[u8; WINDOWS],
    (places, before): (&[u32], &[u8]),
    packed: &[u8],
    out: &mut [u8],
) {
    let step = 8 * usize::from(bits);
    let groups = out.len() / 64 / before.len().max(1);
    assert!(out.len() == before.len() * groups * 64 && places.len() == before.len());
    let ends_by = |place: &u32| (*place as usize + 1) * groups * step <= packed.len();
    assert!(places.iter().all(ends_by));
    // SAFETY: the table has 256 bytes.
    let quarters: [__m512i; 4] =
        std::array::from_fn(|q| unsafe { _mm512_loadu_si512(table.as_ptr().add(q * 64).cast()) });
    let [bytes, shifts] = &SPREAD[(bits / 2) as usize];
    // SAFETY: both arrays have 64 bytes.
    let (bytes, shifts) = unsafe {
        (
            _mm512_loadu_si512(bytes.as_ptr().cast()),
            _mm512_loadu_si512(shifts.as_ptr().cast()),
        )
    };
    // Byte 0 of the source is the one before the group: in memory, but for the first group of a row.
    let mask = u64::MAX >> (63 - step);
    for (row, (place, before)) in places.iter().zip(before).enumerate() {
        let first = *place as usize * groups;
        for group in 0..groups {
            // SAFETY: `step` bytes are there from here on, and one before them unless it is masked out; the mask reads no
            // more. 64 bytes are left in `out`.
            unsafe {
                let from = packed.as_ptr().add((first + group) * step).cast::<i8>();
                let source = if group == 0 {
                    let source = _mm512_maskz_loadu_epi8(mask & !1, from.wrapping_sub(1));
                    _mm512_mask_set1_epi8(source, 1, before.cast_signed())
                } else {
                    _mm512_maskz_loadu_epi8(mask, from.sub(1))
                };
                let windows = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(bytes, source));
                let low = _mm512_permutex2var_epi8(quarters[0], windows, quarters[1]);
                let high = _mm512_permutex2var_epi8(quarters[2], windows, quarters[3]);
                let values = _mm512_mask_blend_epi8(_mm512_movepi8_mask(windows), low, high);
                _mm512_storeu_si512(out.as_mut_ptr().add((row * groups + group) * 64).cast(), values);
            }
        }
    }
}

/// For 1, 2 and 4 bits, how 64 windows are found: which byte of the source goes where, and the shift of each window. The
/// bytes of 8 numbers and the one before them, last first, make a 64-bit number; byte 0 of the source is the one before
/// the group.
static SPREAD: [[[u8; 64]; 2]; 3] = [spread(1), spread(2), spread(4)];

const fn spread(bits: u8) -> [[u8; 64]; 2] {
    let (mut bytes, mut shifts) = ([0u8; 64], [0u8; 64]);
    let mut at = 0u8;
    while at < 64 {
        let (end, place) = ((at / 8 + 1) * bits, at % 8);
        if place <= bits {
            bytes[at as usize] = end - place;
        }
        shifts[at as usize] = 8 * bits - bits * (place + 1);
        at += 1;
    }
    [bytes, shifts]
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
