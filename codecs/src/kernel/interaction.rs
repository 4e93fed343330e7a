//! The centroid interaction: the greatest level of each query token among some centroids. The oracle, and what
//! machines without AVX2 run.

use super::LANES;
use crate::maxsim::MAX_QUERY_TOKENS;

/// The sum over query tokens of the greatest level, times what a level is worth. `levels` are rows as long as `units`;
/// a code beyond the last row counts as that.
#[inline(always)]
pub(super) fn interaction<C: Copy>(
    levels: &[u8],
    units: &[f32],
    codes: &[C],
    index: impl Fn(C) -> usize + Copy,
) -> f32 {
    let width = units.len();
    let mut sum = 0.0;
    for (column, units) in (0..width).step_by(LANES).zip(units.chunks_exact(LANES)) {
        sum += weighted(&greatest(levels, width, column, codes, index), units);
    }
    sum
}

#[inline(always)]
fn greatest<C: Copy>(
    levels: &[u8],
    width: usize,
    column: usize,
    codes: &[C],
    index: impl Fn(C) -> usize,
) -> [u8; LANES] {
    let mut most = [0u8; LANES];
    let Some(last) = (levels.len() / width).checked_sub(1) else {
        return most;
    };
    for code in codes {
        let first = index(*code).min(last) * width + column;
        let row = levels.get(first..).and_then(<[u8]>::first_chunk::<LANES>);
        for (most, level) in most.iter_mut().zip(row.unwrap_or(&[0; LANES])) {
            *most = (*most).max(*level);
        }
    }
    most
}

/// Appends the places of the codes whose level is within so many levels (`within`, one for each column) of the greatest in
/// at least one column. A column whose greatest level is that near to 0 leaves nothing out; one that is worth nothing asks
/// for nothing.
#[inline(always)]
pub(super) fn contenders<C: Copy>(
    levels: &[u8],
    units: &[f32],
    codes: &[C],
    index: impl Fn(C) -> usize + Copy,
    within: &[u8],
    out: &mut Vec<u32>,
) {
    let width = units.len();
    let mut floors = [u8::MAX; MAX_QUERY_TOKENS];
    let floors = &mut floors[..width];
    for column in (0..width).step_by(LANES) {
        let most = greatest(levels, width, column, codes, index);
        let lanes = units[column..].iter().zip(&within[column..]);
        for ((floor, most), (unit, within)) in floors[column..].iter_mut().zip(most).zip(lanes).take(LANES) {
            *floor = if *unit > 0.0 {
                most.saturating_sub(*within)
            } else {
                u8::MAX
            };
        }
    }
    let (before, last) = (out.len(), (levels.len() / width.max(1)).saturating_sub(1));
    out.resize(before + codes.len(), 0);
    let mut count = before;
    for (code, place) in codes.iter().zip(0u32..) {
        // There is room for every place, and the next overwrites one that is not counted.
        out[count] = place;
        let row = levels.get(index(*code).min(last) * width..);
        let row = row.and_then(|rest| rest.get(..width));
        count += usize::from(row.is_some_and(|row| reaches(row, floors)));
    }
    out.truncate(count);
}

#[inline(always)]
fn reaches(row: &[u8], floors: &[u8]) -> bool {
    let mut panels = row.chunks_exact(LANES).zip(floors.chunks_exact(LANES));
    panels.any(|(levels, floors)| {
        let mut any = 0;
        for (level, floor) in levels.iter().zip(floors) {
            any |= u8::from(level >= floor);
        }
        any != 0
    })
}

/// The levels of some rows times what a level is worth, as long as `units` each; `starts` are the rows' first levels.
#[inline(always)]
pub(super) fn scores(levels: &[u8], units: &[f32], starts: &[usize], out: &mut [f32]) {
    let width = units.len();
    for (start, out) in starts.iter().zip(out.chunks_exact_mut(width)) {
        let levels = levels[*start..][..width].chunks_exact(LANES);
        let panels = levels
            .zip(units.chunks_exact(LANES))
            .zip(out.chunks_exact_mut(LANES));
        for ((levels, units), out) in panels {
            for ((out, level), unit) in out.iter_mut().zip(levels).zip(units) {
                *out = f32::from(*level) * unit;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(in crate::kernel) fn scores_avx512(levels: &[u8], units: &[f32], starts: &[usize], out: &mut [f32]) {
        super::scores(levels, units, starts, out);
    }

    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn scores_avx2(levels: &[u8], units: &[f32], starts: &[usize], out: &mut [f32]) {
        super::scores(levels, units, starts, out);
    }
}

#[inline(always)]
pub(super) fn weighted(levels: &[u8; LANES], units: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for ((sum, level), unit) in sums.iter_mut().zip(levels).zip(units) {
        *sum = f32::from(*level) * unit;
    }
    // In halves, so that the order of additions is the same on every machine and few wait for another.
    for half in [8, 4, 2, 1] {
        let (low, high) = sums.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
    }
    sums[0]
}
