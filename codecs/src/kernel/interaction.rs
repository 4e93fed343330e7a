//! The centroid interaction: the greatest level of each query token among some centroids. Written so that each
//! instruction set's build of it keeps a row in registers.

use super::LANES;

/// The sum over query tokens of the greatest level, times what a level is worth. `levels` are rows as long as `units`;
/// a code beyond the last row counts for nothing.
#[inline(always)]
pub(super) fn interaction<C: Copy>(
    levels: &[u8],
    units: &[f32],
    codes: &[C],
    index: impl Fn(C) -> usize + Copy,
) -> f32 {
    let width = units.len();
    let (mut sum, mut column) = (0.0, 0);
    // Two panels at once are most queries whole; what is left is one.
    while column + 2 * LANES <= width {
        let most = greatest::<C, { 2 * LANES }>(levels, width, column, codes, index);
        sum += weighted(&most, &units[column..]);
        column += 2 * LANES;
    }
    if column < width {
        let most = greatest::<C, LANES>(levels, width, column, codes, index);
        sum += weighted(&most, &units[column..]);
    }
    sum
}

#[inline(always)]
fn greatest<C: Copy, const COLUMNS: usize>(
    levels: &[u8],
    width: usize,
    column: usize,
    codes: &[C],
    index: impl Fn(C) -> usize,
) -> [u8; COLUMNS] {
    let mut most = [0u8; COLUMNS];
    for code in codes {
        let first = index(*code).saturating_mul(width) + column;
        let Some(row) = levels.get(first..).and_then(<[u8]>::first_chunk::<COLUMNS>) else {
            continue;
        };
        for (most, level) in most.iter_mut().zip(row) {
            *most = (*most).max(*level);
        }
    }
    most
}

/// In 16 sums, so that the order of additions is the same on every machine and none waits for another.
#[inline(always)]
fn weighted(levels: &[u8], units: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (levels, units) in levels.chunks_exact(LANES).zip(units.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += f32::from(levels[lane]) * units[lane];
        }
    }
    sums.iter().sum()
}
