//! Which posting lists to visit for each query token: those of the centroids nearest to it.

use std::cmp::Ordering;

/// A centroid and its score with a query token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probe {
    pub(crate) score: f32,
    pub(crate) centroid: u32,
}

fn best_first(a: &Probe, b: &Probe) -> Ordering {
    b.score.total_cmp(&a.score).then(a.centroid.cmp(&b.centroid))
}

/// The scores of all centroids with the query's tokens, as a [`ResidualQuery`](latewood_codecs::ResidualQuery) has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CentroidScores<'a> {
    /// `[centroid][query token]`.
    pub(crate) scores: &'a [f32],
    /// The same in a byte each, rows of `width`.
    pub(crate) levels: &'a [u8],
    pub(crate) width: usize,
    pub(crate) query_tokens: usize,
}

/// For each query token the `n_probe` best centroids, best first.
///
/// One pass over the levels: a rising floor for each token leaves nearly every row to a comparison of bytes that compiles
/// to a few vector instructions, and no list of all centroids is ever made.
pub(crate) fn best_centroids(all: CentroidScores<'_>, n_probe: usize) -> Vec<Vec<Probe>> {
    let tokens = all.query_tokens;
    let mut lists = vec![Vec::with_capacity(2 * n_probe); tokens];
    let mut floors = vec![f32::NEG_INFINITY; tokens];
    // Where there is no token nothing is above the floor.
    let mut level_floors = vec![u8::MAX; all.width];
    level_floors[..tokens].fill(0);
    let rows = all.levels.chunks_exact(all.width.max(1));
    for ((levels, row), centroid) in rows.zip(all.scores.chunks_exact(tokens.max(1))).zip(0u32..) {
        if !any_reaches(levels, &level_floors) {
            continue;
        }
        for (token, (score, list)) in row.iter().zip(&mut lists).enumerate() {
            if *score > floors[token] {
                list.push(Probe {
                    score: *score,
                    centroid,
                });
                if list.len() == 2 * n_probe {
                    floors[token] = cut(list, n_probe);
                    // A score above the floor has at least the level of the floor.
                    let lowest = list[n_probe - 1].centroid as usize;
                    level_floors[token] = all.levels[lowest * all.width + token];
                }
            }
        }
    }
    for list in &mut lists {
        list.sort_unstable_by(best_first);
        list.truncate(n_probe);
    }
    lists
}

fn any_reaches(levels: &[u8], floors: &[u8]) -> bool {
    const BLOCK: usize = 16;
    let blocks = levels.chunks_exact(BLOCK).zip(floors.chunks_exact(BLOCK));
    let mut any = false;
    for (levels, floors) in blocks {
        let mut reached = 0;
        for (level, floor) in levels.iter().zip(floors) {
            // 255 is the floor of no token, and its level is 0.
            reached |= u8::from(level >= floor);
        }
        any |= reached != 0;
    }
    any
}

/// Cuts a list to its best; returns the lowest score kept. A later centroid of that same score comes after it in order,
/// so it may be left out.
fn cut(list: &mut Vec<Probe>, n_probe: usize) -> f32 {
    list.select_nth_unstable_by(n_probe - 1, best_first);
    list.truncate(n_probe);
    list[n_probe - 1].score
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_sort_finds(scores in prop::collection::vec(-20i8..20, 0..400), tokens in 1usize..5, n_probe in 1usize..12) {
            let (bytes, scores): (Vec<i8>, Vec<f32>) = scores.iter().map(|&s| (s, f32::from(s))).unzip();
            let centroids = scores.len() / tokens;
            // Levels of 4 scores each, of rows of 16.
            let level = |at: usize| match (at / 16, at % 16) {
                (centroid, token) if token < tokens => (bytes[centroid * tokens + token] + 20).unsigned_abs() / 4,
                _ => 0,
            };
            let levels: Vec<u8> = (0..centroids * 16).map(level).collect();
            let all = CentroidScores { scores: &scores[..centroids * tokens], levels: &levels, width: 16, query_tokens: tokens };
            let found = best_centroids(all, n_probe);
            prop_assert_eq!(found.len(), tokens);
            for (token, list) in found.into_iter().enumerate() {
                let mut all: Vec<Probe> = (0..centroids).zip(0u32..)
                    .map(|(c, centroid)| Probe { score: scores[c * tokens + token], centroid }).collect();
                all.sort_by(best_first);
                all.truncate(n_probe);
                prop_assert_eq!(list, all);
            }
        }
    }
}
