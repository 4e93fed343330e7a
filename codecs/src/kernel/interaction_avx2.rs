//! The centroid interaction with AVX2: 16 levels are one load, and panels that stand side by side share the row's address.
#![expect(
    unsafe_code,
    reason = "kernels read and write through pointers, within lengths that are checked on entry"
)]

use super::{LANES, interaction};
use std::arch::x86_64::*;

/// A table of levels.
#[derive(Clone, Copy)]
struct Table<'a> {
    levels: &'a [u8],
    width: usize,
    last: usize,
}

impl<'a> Table<'a> {
    /// None of a table without rows.
    #[inline]
    fn new(levels: &'a [u8], width: usize) -> Option<Self> {
        let last = (levels.len() / width.max(LANES)).checked_sub(1)?;
        (width.is_multiple_of(LANES)).then_some(Self { levels, width, last })
    }

    /// `P` panels of a row from a column on; those of a row beyond the last, the last's. `W` is the table's width where it is
    /// known, else 0.
    ///
    /// # Safety
    /// `column / LANES + P` panels are in a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn row<const P: usize, const W: usize>(self, at: usize, column: usize) -> [__m128i; P] {
        let width = if W > 0 { W } else { self.width };
        let row = at.min(self.last) * width + column;
        // SAFETY: the row is one of the table, and the caller answers for the columns.
        std::array::from_fn(|p| unsafe { _mm_loadu_si128(self.levels.as_ptr().add(row + p * LANES).cast()) })
    }

    /// The greatest levels of `P` panels over some rows.
    ///
    /// # Safety
    /// As [`row`](Self::row).
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn greatest<C: Copy, const P: usize, const W: usize>(
        self,
        codes: &[C],
        index: impl Fn(C) -> usize + Copy,
        column: usize,
    ) -> [__m128i; P] {
        let raise = |most: &mut [__m128i; P], code: C| {
            // SAFETY: the caller answers for the columns.
            let row = unsafe { self.row::<P, W>(index(code), column) };
            for (most, row) in most.iter_mut().zip(row) {
                *most = _mm_max_epu8(*most, row);
            }
        };
        let mut most = [[_mm_setzero_si128(); P]; 4];
        let (fours, rest) = codes.as_chunks::<4>();
        for four in fours {
            for (most, code) in most.iter_mut().zip(four) {
                raise(most, *code);
            }
        }
        for code in rest {
            raise(&mut most[0], *code);
        }
        let [a, b, c, d] = most;
        std::array::from_fn(|p| _mm_max_epu8(_mm_max_epu8(a[p], b[p]), _mm_max_epu8(c[p], d[p])))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn interaction<C: Copy, const W: usize>(
        self,
        units: &[f32],
        codes: &[C],
        index: impl Fn(C) -> usize + Copy,
    ) -> f32 {
        assert!(W == 0 || W == self.width);
        let mut sum = 0.0;
        for (column, units) in (0..self.width).step_by(LANES).zip(units.chunks_exact(LANES)) {
            let mut most = [0u8; LANES];
            // SAFETY: `column` begins a panel; `most` has 16 bytes.
            unsafe {
                let [greatest] = self.greatest::<C, 1, W>(codes, index, column);
                _mm_storeu_si128(most.as_mut_ptr().cast(), greatest);
            }
            sum += interaction::weighted(&most, units);
        }
        sum
    }

    /// As [`interaction::contenders`], of a table whose rows are `P` panels.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn contenders<C: Copy, const P: usize, const W: usize>(
        self,
        units: &[f32],
        codes: &[C],
        index: impl Fn(C) -> usize + Copy,
        within: &[u8],
        out: &mut Vec<u32>,
    ) {
        assert!(W == P * LANES && self.width == W && within.len() == W && units.len() == W);
        let mut asked = [[0u8; LANES]; P];
        for (asked, unit) in asked.as_flattened_mut().iter_mut().zip(units) {
            *asked = if *unit > 0.0 { u8::MAX } else { 0 };
        }
        // SAFETY: `P` panels are a row, and both lists have so many.
        let (floors, asked): ([__m128i; P], [__m128i; P]) = unsafe {
            let most = self.greatest::<C, P, W>(codes, index, 0);
            let within = |p: usize| _mm_loadu_si128(within.as_ptr().add(p * LANES).cast());
            (
                std::array::from_fn(|p| _mm_subs_epu8(most[p], within(p))),
                std::array::from_fn(|p| _mm_loadu_si128(asked[p].as_ptr().cast())),
            )
        };
        let before = out.len();
        out.resize(before + codes.len(), 0);
        let places = &mut out[before..];
        let mut count = 0;
        for (code, place) in codes.iter().zip(0u32..) {
            // There is room for every place, and the next overwrites one that is not counted.
            if let Some(next) = places.get_mut(count) {
                *next = place;
            }
            // SAFETY: as above.
            let row = unsafe { self.row::<P, W>(index(*code), 0) };
            let mut reached = _mm_setzero_si128();
            for p in 0..P {
                let equal = _mm_cmpeq_epi8(_mm_max_epu8(row[p], floors[p]), row[p]);
                reached = _mm_or_si128(reached, _mm_and_si128(equal, asked[p]));
            }
            count += usize::from(_mm_testz_si128(reached, reached) == 0);
        }
        out.truncate(before + count);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn interaction_of<C: Copy>(
    levels: &[u8],
    units: &[f32],
    codes: &[C],
    index: impl Fn(C) -> usize + Copy,
) -> f32 {
    match Table::new(levels, units.len()) {
        Some(table) if table.width == LANES => table.interaction::<C, LANES>(units, codes, index),
        Some(table) => table.interaction::<C, 0>(units, codes, index),
        None => 0.0,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn contenders_of<C: Copy>(
    levels: &[u8],
    units: &[f32],
    codes: &[C],
    index: impl Fn(C) -> usize + Copy,
    within: &[u8],
    out: &mut Vec<u32>,
) {
    const ONE: usize = LANES;
    const TWO: usize = 2 * LANES;
    match Table::new(levels, units.len()) {
        Some(table) if table.width == ONE => {
            table.contenders::<C, 1, ONE>(units, codes, index, within, out);
        }
        Some(table) if table.width == TWO => {
            table.contenders::<C, 2, TWO>(units, codes, index, within, out);
        }
        _ => interaction::contenders(levels, units, codes, index, within, out),
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn interaction_u16(levels: &[u8], units: &[f32], codes: &[u16]) -> f32 {
    interaction_of(levels, units, codes, usize::from)
}

#[target_feature(enable = "avx2")]
pub(super) fn interaction_u32(levels: &[u8], units: &[f32], codes: &[u32]) -> f32 {
    interaction_of(levels, units, codes, |code| code as usize)
}

#[target_feature(enable = "avx2")]
pub(super) fn contenders_u16(levels: &[u8], units: &[f32], codes: &[u16], within: &[u8], out: &mut Vec<u32>) {
    contenders_of(levels, units, codes, usize::from, within, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn contenders_u32(levels: &[u8], units: &[f32], codes: &[u32], within: &[u8], out: &mut Vec<u32>) {
    contenders_of(levels, units, codes, |code| code as usize, within, out);
}
