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

/// For each query token the `n_probe` best centroids, best first, from scores laid out `[centroid][query token]`.
///
/// One pass over the scores: a rising floor for each token leaves nearly every row to a comparison that compiles to a
/// few vector instructions, and no list of all centroids is ever made.
pub(crate) fn best_centroids(scores: &[f32], query_tokens: usize, n_probe: usize) -> Vec<Vec<Probe>> {
    let mut lists = vec![Vec::with_capacity(2 * n_probe); query_tokens];
    let mut floors = vec![f32::NEG_INFINITY; query_tokens];
    for (row, centroid) in scores.chunks_exact(query_tokens.max(1)).zip(0u32..) {
        let above = row
            .iter()
            .zip(&floors)
            .fold(false, |any, (score, floor)| any | (score > floor));
        if !above {
            continue;
        }
        for ((score, floor), list) in row.iter().zip(&mut floors).zip(&mut lists) {
            if *score > *floor {
                list.push(Probe {
                    score: *score,
                    centroid,
                });
                if list.len() == 2 * n_probe {
                    *floor = cut(list, n_probe);
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
            let scores: Vec<f32> = scores.iter().map(|&s| f32::from(s)).collect();
            let centroids = scores.len() / tokens;
            let found = best_centroids(&scores[..centroids * tokens], tokens, n_probe);
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
