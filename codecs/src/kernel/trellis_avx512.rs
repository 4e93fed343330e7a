//! The trellis codes with AVX-512: the Viterbi search, 16 states a register, and with VBMI the look-up of 64 windows at once.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{LANES, WINDOWS};
use std::arch::x86_64::*;

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
