//! Which posting lists to visit for each group of query tokens: those of the centroids nearest to it.

use std::cmp::Reverse;

/// A centroid and its score with a group of query tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probe {
    pub(crate) score: f32,
    pub(crate) centroid: u32,
}

/// The levels of all centroids with the groups of a query's tokens, as a
/// [`ResidualQuery`](latewood_codecs::ResidualQuery) has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CentroidLevels<'a> {
    /// `[centroid][group]`, rows as long as `units`.
    pub(crate) levels: &'a [u8],
    /// What a level of each group is worth.
    pub(crate) units: &'a [f32],
    pub(crate) groups: usize,
}

/// For each group the `n_probe` best centroids whose level is above 0, best first, of equals the lowest.
///
/// One pass over the levels: a rising floor for each group, which begins at what a sample lets expect, leaves nearly every
/// row to a comparison of bytes that compiles to a few vector instructions, and no list of all centroids is ever made.
pub(crate) fn best_centroids(all: CentroidLevels<'_>, n_probe: usize) -> Vec<Vec<Probe>> {
    let floors = sampled_floors(all, n_probe);
    let guessed = floors.iter().any(|floor| *floor > 0);
    let lists = above(all, n_probe, floors);
    if guessed && lists.iter().any(|list| list.len() < n_probe) {
        return above(all, n_probe, vec![0; all.groups]);
    }
    lists
}

/// Rows that floors are guessed from.
const SAMPLE: usize = 512;

/// For each group a level that somewhat more than `n_probe` centroids should be above; 0 where there are too few to guess.
fn sampled_floors(all: CentroidLevels<'_>, n_probe: usize) -> Vec<u8> {
    let width = all.units.len().max(1);
    let rows = all.levels.len() / width;
    let step = rows / SAMPLE;
    let expected = n_probe * SAMPLE / rows.max(1);
    // Two standard deviations of what a sample of this size may be off, and then some.
    let rank = expected + 2 * expected.isqrt() + 4;
    if step < 2 || rank >= SAMPLE / 2 {
        return vec![0; all.groups];
    }
    let floor = |group: usize| {
        let mut column: Vec<u8> = (0..SAMPLE)
            .map(|row| all.levels[row * step * width + group])
            .collect();
        let (_, level, _) = column.select_nth_unstable_by(rank, |a, b| b.cmp(a));
        level.saturating_sub(1)
    };
    (0..all.groups).map(floor).collect()
}

/// For each group the best `n_probe` of the centroids above its floor.
fn above(all: CentroidLevels<'_>, n_probe: usize, mut floors: Vec<u8>) -> Vec<Vec<Probe>> {
    let width = all.units.len();
    let mut lists = vec![Vec::with_capacity(2 * n_probe); all.groups];
    // Where there is no group nothing is above the floor.
    floors.resize(width, u8::MAX);
    for (levels, centroid) in all.levels.chunks_exact(width.max(1)).zip(0u32..) {
        if !any_above(levels, &floors) {
            continue;
        }
        for ((level, floor), list) in levels.iter().zip(&mut floors).zip(&mut lists) {
            if level > floor {
                list.push((*level, Reverse(centroid)));
                if list.len() == 2 * n_probe {
                    // A later centroid of the lowest level kept comes after it in order, so it may be left out.
                    *floor = cut(list, n_probe);
                }
            }
        }
    }
    let finished = lists.into_iter().zip(all.units).map(|(mut list, unit)| {
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.truncate(n_probe);
        let probes = list.into_iter().map(|(level, Reverse(centroid))| Probe {
            score: f32::from(level) * unit,
            centroid,
        });
        probes.collect()
    });
    finished.collect()
}

fn any_above(levels: &[u8], floors: &[u8]) -> bool {
    const BLOCK: usize = 16;
    let blocks = levels.chunks_exact(BLOCK).zip(floors.chunks_exact(BLOCK));
    let mut any = false;
    for (levels, floors) in blocks {
        let mut above = 0;
        for (level, floor) in levels.iter().zip(floors) {
            above |= u8::from(level > floor);
        }
        any |= above != 0;
    }
    any
}

/// Cuts a list to its best; returns the lowest level kept.
fn cut(list: &mut Vec<(u8, Reverse<u32>)>, n_probe: usize) -> u8 {
    list.select_nth_unstable_by(n_probe - 1, |a, b| b.cmp(a));
    list.truncate(n_probe);
    list[n_probe - 1].0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sample_changes_nothing(seed in 1u64..u64::MAX, n_probe in 1usize..20, skew in 1u32..6) {
            let mut state = seed;
            let mut level = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let [byte, ..] = state.to_le_bytes();
                let unit = f32::from(byte) / 255.0;
                // Many equal levels, and none at all above the lowest rows.
                let [level, ..] = ((unit.powi(skew.cast_signed()) * 40.0).to_bits() >> 18).to_le_bytes();
                level
            };
            let (groups, centroids) = (3, 2_000);
            let levels: Vec<u8> = (0..centroids * 16).map(|at| if at % 16 < groups { level() } else { 0 }).collect();
            let units = [1.0; 16];
            let all = CentroidLevels { levels: &levels, units: &units, groups };
            prop_assert_eq!(best_centroids(all, n_probe), above(all, n_probe, vec![0; groups]));
        }

        #[test]
        fn finds_what_a_sort_finds(some in prop::collection::vec(0u8..20, 0..400), groups in 1usize..5, n_probe in 1usize..12) {
            let centroids = some.len() / groups;
            let level = |at: usize| if at % 16 < groups { some[at / 16 * groups + at % 16] } else { 0 };
            let levels: Vec<u8> = (0..centroids * 16).map(level).collect();
            let units: Vec<f32> = (1u8..=16).map(f32::from).collect();
            let found = best_centroids(CentroidLevels { levels: &levels, units: &units, groups }, n_probe);
            prop_assert_eq!(found.len(), groups);
            for (group, list) in found.into_iter().enumerate() {
                let of = |c: usize| levels[c * 16 + group];
                let mut all: Vec<(Reverse<u8>, u32)> = (0..centroids).zip(0u32..)
                    .filter(|(c, _)| of(*c) > 0).map(|(c, centroid)| (Reverse(of(c)), centroid)).collect();
                all.sort_unstable();
                all.truncate(n_probe);
                let expected: Vec<Probe> = all.into_iter()
                    .map(|(Reverse(level), centroid)| Probe { score: f32::from(level) * units[group], centroid }).collect();
                prop_assert_eq!(list, expected);
            }
        }
    }
}
