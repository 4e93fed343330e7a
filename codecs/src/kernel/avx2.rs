//! AVX2 with FMA: a panel of 16 is two registers.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{BytePanels, ByteRows, LANES, Panels, ResidualTile, Unpack, WINDOWS, levels_of, trellis};
use std::arch::x86_64::*;

/// Rows that a register tile of f32 holds: 2 x 6 of the 16 registers.
const ROWS: usize = 6;
/// Rows that a register tile of int8 holds: 2 x 4, and more is needed for products.
const BYTE_ROWS: usize = 4;

/// Calls a const-generic tile function for 1 to 6 rows.
macro_rules! for_rows {
    ($rows:expr, $call:ident($($arg:expr),*)) => {
        match $rows {
            6 => $call::<6>($($arg),*),
            5 => $call::<5>($($arg),*),
            4 => $call::<4>($($arg),*),
            3 => $call::<3>($($arg),*),
            2 => $call::<2>($($arg),*),
            _ => $call::<1>($($arg),*),
        }
    };
}

/// Dot products of a panel with `R` rows: the lower and the upper 8 lanes.
///
/// # Safety
/// 1. `panel` points to `LANES * dim` numbers. 2. `rows` points to `R` rows of `dim` numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dots_f32<const R: usize>(panel: *const f32, rows: *const f32, dim: usize) -> [[__m256; 2]; R] {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    for d in 0..dim {
        // SAFETY: precondition 1, d < dim.
        let lanes = unsafe {
            [
                _mm256_loadu_ps(panel.add(d * LANES)),
                _mm256_loadu_ps(panel.add(d * LANES + 8)),
            ]
        };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: precondition 2, d < dim.
            let value = _mm256_set1_ps(unsafe { *rows.add(r * dim + d) });
            sums[0] = _mm256_fmadd_ps(lanes[0], value, sums[0]);
            sums[1] = _mm256_fmadd_ps(lanes[1], value, sums[1]);
        }
    }
    sums
}

/// Raises a panel's maxima.
///
/// # Safety
/// As [`dots_f32`]; 3. `maxima` points to `LANES` numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn maxsim_tile<const R: usize>(panel: *const f32, rows: *const f32, dim: usize, maxima: *mut f32) {
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe { dots_f32::<R>(panel, rows, dim) };
    for half in 0..2 {
        // SAFETY: precondition 3.
        let at = unsafe { maxima.add(half * 8) };
        // SAFETY: as above.
        let mut most = unsafe { _mm256_loadu_ps(at) };
        for dot in dots {
            most = _mm256_max_ps(most, dot[half]);
        }
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(at, most) };
    }
}

#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
unsafe fn scores_tile<const R: usize>(
    panel: *const f32,
    rows: *const f32,
    dim: usize,
    out: &mut [f32; ROWS * LANES],
) {
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe { dots_f32::<R>(panel, rows, dim) };
    for (dot, out) in dots.iter().zip(out.chunks_exact_mut(LANES)) {
        // SAFETY: `out` has LANES numbers.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), dot[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), dot[1]);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
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

/// Integer dot products of a panel with `R` rows of biased bytes. There is only a product of unsigned with signed bytes,
/// whose pairs saturate at 16 bits: the magnitude of a row's number times the lane's, with the row's sign, is at most
/// 127 * 127 and a pair of those fits.
///
/// # Safety
/// 1. `panel` points to `LANES * dim` bytes above -128. 2. `rows` points to `R` rows of `dim` bytes above 0, `dim` a
///    multiple of 4.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dots_i8<const R: usize>(panel: *const i8, rows: *const u8, dim: usize) -> [[__m256i; 2]; R] {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    let (ones, bias) = (_mm256_set1_epi16(1), _mm256_set1_epi8(i8::MIN));
    for d in (0..dim).step_by(4) {
        // SAFETY: precondition 1, d + 3 < dim.
        let lanes = unsafe {
            let at = panel.add(d * LANES);
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.add(32).cast()),
            ]
        };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: precondition 2, d + 3 < dim.
            let four = unsafe { rows.add(r * dim + d).cast::<i32>().read_unaligned() };
            let signed = _mm256_xor_si256(_mm256_set1_epi32(four), bias);
            let magnitude = _mm256_abs_epi8(signed);
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(lanes, signed));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    sums
}

/// Raises a panel's maxima to the scores of `R` tokens.
///
/// # Safety
/// As [`dots_i8`] with the tile's rows from `first` and the query's `panel`; 3. `maxima` points to `LANES` numbers;
/// 4. `first + R` rows are in the tile, and a panel can be read at each of its centroid scores plus the panel's offset.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn residual_tile<const R: usize>(
    query: &BytePanels,
    tile: &ResidualTile<'_>,
    panel: usize,
    first: usize,
    maxima: *mut f32,
) {
    let dim = query.dim;
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe {
        let values = query.values.as_ptr().add(panel * LANES * dim);
        dots_i8::<R>(values, tile.weights.as_ptr().add(first * dim), dim)
    };
    for half in 0..2 {
        let lane = panel * LANES + half * 8;
        // SAFETY: preconditions 1 and 3.
        let (at, scale) = unsafe {
            (
                maxima.add(half * 8),
                _mm256_loadu_ps(query.scales.as_ptr().add(lane)),
            )
        };
        // SAFETY: precondition 3.
        let mut most = unsafe { _mm256_loadu_ps(at) };
        for (r, dot) in dots.iter().enumerate() {
            // SAFETY: precondition 4.
            let (centroid, inverse, factor) = unsafe {
                let start = *tile.centroids.get_unchecked(first + r) + lane;
                (
                    _mm256_loadu_ps(tile.centroid_scores.as_ptr().add(start)),
                    *tile.inverse_norms.get_unchecked(first + r),
                    *tile.weight_scales.get_unchecked(first + r),
                )
            };
            let scale = _mm256_mul_ps(scale, _mm256_set1_ps(factor));
            let score = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[half]), scale, centroid);
            most = _mm256_max_ps(most, _mm256_mul_ps(score, _mm256_set1_ps(inverse)));
        }
        // SAFETY: precondition 3.
        unsafe { _mm256_storeu_ps(at, most) };
    }
}

#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
unsafe fn byte_scores_tile<const R: usize>(
    query: &BytePanels,
    panel: usize,
    rows: &ByteRows,
    first: usize,
    out: &mut [f32; BYTE_ROWS * LANES],
) {
    let dim = query.dim;
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe {
        let values = query.values.as_ptr().add(panel * LANES * dim);
        dots_i8::<R>(values, rows.values.as_ptr().add(first * dim), dim)
    };
    for half in 0..2 {
        // SAFETY: precondition 1: there is a scale for each lane of the panel.
        let scale = unsafe { _mm256_loadu_ps(query.scales.as_ptr().add(panel * LANES + half * 8)) };
        for (r, dot) in dots.iter().enumerate() {
            // SAFETY: precondition 3; `out` has LANES numbers a row.
            unsafe {
                let factor = _mm256_set1_ps(*rows.scales.get_unchecked(first + r));
                let score = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[half]), scale);
                _mm256_storeu_ps(
                    out.as_mut_ptr().add(r * LANES + half * 8),
                    _mm256_mul_ps(score, factor),
                );
            }
        }
    }
}

/// Calls `each(first row, panel, scores)` for the scaled dot products of each panel with up to [`BYTE_ROWS`] rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
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

#[target_feature(enable = "avx2,fma")]
pub(super) fn scores_i8(query: &BytePanels, tokens: usize, rows: &ByteRows, out: &mut [f32]) {
    assert_eq!(tokens.div_ceil(LANES), query.panels());
    for_byte_scores(query, rows, |first, panel, scores| {
        let width = LANES.min(tokens - panel * LANES);
        for (row, scores) in (first..).zip(scores.chunks_exact(LANES)) {
            out[row * tokens + panel * LANES..][..width].copy_from_slice(&scores[..width]);
        }
    });
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn levels_i8(query: &BytePanels, rows: &ByteRows, steps: &[f32], levels: &mut [u8]) {
    for_byte_scores(query, rows, |first, panel, scores| {
        let steps_here = &steps[panel * LANES..][..LANES];
        for (row, scores) in (first..).zip(scores.chunks_exact(LANES)) {
            let levels = &mut levels[row * steps.len() + panel * LANES..][..LANES];
            levels_of(scores, steps_here, levels);
        }
    });
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn trellis_search(bits: u8, row: &[f32], laid_out: &[f32; WINDOWS], back: &mut [u8]) -> usize {
    trellis::search_any(bits, row, laid_out, back)
}

/// Unpacks whole groups of 32 fields; returns the packed bytes that it took.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(fields: &Unpack, packed: &[u8], out: &mut [u8]) -> usize {
    let step = 4 * usize::from(fields.bits);
    let groups = (packed.len() / step).min(out.len() / 32);
    // SAFETY: the table has 16 bytes.
    let table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(fields.nibbles.as_ptr().cast()) });
    for group in 0..groups {
        let from = packed[group * step..].as_ptr();
        // SAFETY: `step` bytes are left in `packed`: 16, 8 or 4 for 4, 2 or 1 bits.
        let wide = unsafe {
            match fields.bits {
                4 => unpack_4(table, _mm_loadu_si128(from.cast())),
                2 => unpack_2(table, from.cast::<i64>().read_unaligned()),
                _ => unpack_1(fields, from.cast::<i32>().read_unaligned()),
            }
        };
        // SAFETY: 32 bytes are left in `out`.
        unsafe { _mm256_storeu_si256(out[group * 32..].as_mut_ptr().cast(), wide) };
    }
    groups * step
}

/// 16 bytes to 32 fields: the high half of a byte comes first.
#[inline]
#[target_feature(enable = "avx2")]
fn unpack_4(table: __m256i, bytes: __m128i) -> __m256i {
    let words = _mm256_cvtepu8_epi16(bytes);
    let both = _mm256_or_si256(_mm256_srli_epi16::<4>(words), _mm256_slli_epi16::<8>(words));
    _mm256_shuffle_epi8(table, _mm256_and_si256(both, _mm256_set1_epi8(0x0f)))
}

/// 8 bytes to 32 fields: each byte four times, its own two bits left in each, looked up where they stand (the table
/// knows them as value and as value times 4).
#[inline]
#[target_feature(enable = "avx2")]
fn unpack_2(table: __m256i, bytes: i64) -> __m256i {
    let fourfold = _mm256_shuffle_epi8(
        _mm256_set1_epi64x(bytes),
        _mm256_set_epi32(
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
    let low = _mm256_blend_epi16::<0x55>(fourfold, _mm256_srli_epi16::<4>(fourfold));
    _mm256_shuffle_epi8(table, _mm256_and_si256(low, _mm256_set1_epi32(0x030c_030c)))
}

/// 4 bytes to 32 fields: each byte eight times, one bit tested in each.
#[inline]
#[target_feature(enable = "avx2")]
fn unpack_1(fields: &Unpack, bytes: i32) -> __m256i {
    let eightfold = _mm256_shuffle_epi8(
        _mm256_set1_epi32(bytes),
        _mm256_set_epi64x(
            0x0303_0303_0303_0303,
            0x0202_0202_0202_0202,
            0x0101_0101_0101_0101,
            0,
        ),
    );
    let bit = _mm256_set1_epi64x(0x0102_0408_1020_4080);
    let set = _mm256_cmpeq_epi8(_mm256_and_si256(eightfold, bit), bit);
    let [zero, one] = [fields.nibbles[0], fields.nibbles[1]].map(|b| _mm256_set1_epi8(b.cast_signed()));
    _mm256_blendv_epi8(zero, one, set)
}

/// Calls `found(row, centroid, score)` for each score of a panel with `R` rows above the row's threshold, which `found`
/// may raise.
///
/// # Safety
/// As [`dots_i8`], `panel` being one of `centroids`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn nearest_tile<const R: usize>(
    centroids: &BytePanels,
    panel: usize,
    rows: *const u8,
    floors: &mut [f32],
    found: &mut dyn FnMut(usize, usize, f32) -> f32,
) {
    let dim = centroids.dim;
    // SAFETY: preconditions 1 and 2.
    let dots = unsafe { dots_i8::<R>(centroids.values.as_ptr().add(panel * LANES * dim), rows, dim) };
    for half in 0..2 {
        let first = panel * LANES + half * 8;
        // SAFETY: precondition 1: there is a scale for each lane of the panel.
        let scale = unsafe { _mm256_loadu_ps(centroids.scales.as_ptr().add(first)) };
        for (r, dot) in dots.iter().enumerate() {
            let scores = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[half]), scale);
            let floor = _mm256_set1_ps(floors[r]);
            let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(scores, floor));
            if above != 0 {
                let mut lanes = [0.0f32; 8];
                // SAFETY: 8 numbers are there to be written.
                unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), scores) };
                for (lane, score) in lanes.into_iter().enumerate() {
                    if above >> lane & 1 == 1 {
                        floors[r] = found(r, first + lane, score);
                    }
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
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
        let found = &mut |row: usize, centroid, score| found(first + row, centroid, score);
        for panel in panels.clone() {
            // SAFETY: `panel` is one of the centroids', quantised to -127..=127 as the rows are; `some` rows are left.
            unsafe { for_rows!(some, nearest_tile(centroids, panel, rows, floors, found)) };
        }
    }
}
