//! Which segments to merge, and when to train a codebook. Pure functions of what the segments hold.

use crate::snapshot::Snapshot;

/// Segments that a collection may have before the smallest are merged.
const MAX_SEGMENTS: usize = 8;
/// How many are merged at least then.
const MIN_MERGED: usize = 4;
/// Raw tokens from which a segment waits for its codebook rather than being copied about.
const LARGE_RAW: u64 = 1 << 20;
/// Raw tokens from which a first codebook is trained in the background.
const TRAIN_FROM: u64 = 65_536;
/// A codebook is trained again when there are so many times the tokens that it was trained for.
const TRAIN_AGAIN: u64 = 4;
/// Tokens from which `optimize` trains a first codebook: below, raw tokens cost little and are exact.
const OPTIMIZE_FROM: u64 = 4_096;

/// What the policy looks at in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) rows: u64,
    pub(super) live: u64,
    /// Tokens that are not coded yet.
    pub(super) raw_tokens: u64,
}

/// The facts of each segment.
pub(super) fn facts(snapshot: &Snapshot) -> Vec<Facts> {
    let facts = snapshot.segments().iter().map(|view| Facts {
        rows: u64::from(view.segment.len()),
        live: view.live_len(),
        raw_tokens: if view.segment.codebook_id().is_some() {
            0
        } else {
            view.segment.num_tokens()
        },
    });
    facts.collect()
}

/// The segments to merge next, by index in ascending order; fewer than two only to reclaim deleted rows or to code raw
/// tokens.
pub(super) fn choose(segments: &[Facts], has_codebook: bool) -> Option<Vec<usize>> {
    let all = || segments.iter().enumerate();
    if let Some((index, _)) = all().find(|(_, facts)| facts.live * 2 < facts.rows) {
        return Some(vec![index]);
    }
    let raw: Vec<usize> = all()
        .filter(|(_, facts)| facts.raw_tokens > 0)
        .map(|(index, _)| index)
        .collect();
    if has_codebook && !raw.is_empty() {
        return Some(raw);
    }
    if segments.len() <= MAX_SEGMENTS {
        return None;
    }
    let mut by_size: Vec<(u64, usize)> = all()
        .filter(|(_, facts)| facts.raw_tokens < LARGE_RAW)
        .map(|(index, facts)| (facts.live, index))
        .collect();
    by_size.sort_unstable();
    let mut sum = 0;
    let mut chosen: Vec<usize> = Vec::new();
    for (live, index) in by_size {
        // A segment larger than all smaller ones together would be copied for little.
        if chosen.len() >= MIN_MERGED && live > sum {
            break;
        }
        sum += live;
        chosen.push(index);
    }
    chosen.sort_unstable();
    (chosen.len() >= MIN_MERGED).then_some(chosen)
}

/// Whether a codebook should be trained: `tokens` are in segments, `trained` is what the newest was trained for.
pub(super) fn should_train(tokens: u64, trained: Option<u64>, optimizing: bool) -> bool {
    match trained {
        None => tokens >= if optimizing { OPTIMIZE_FROM } else { TRAIN_FROM },
        Some(trained) => tokens >= TRAIN_AGAIN * trained.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(rows: u64) -> Facts {
        Facts {
            rows,
            live: rows,
            raw_tokens: 0,
        }
    }

    #[test]
    fn few_segments_are_left_alone() {
        assert_eq!(choose(&[clean(10); 8], true), None);
    }

    #[test]
    fn the_smallest_are_merged_first() {
        let rows = [1000, 5, 900, 5, 5, 100_000, 5, 5, 800];
        let segments: Vec<Facts> = rows.map(clean).to_vec();
        assert_eq!(choose(&segments, true), Some(vec![1, 3, 4, 6, 7]));
    }

    #[test]
    fn merging_ends_with_few_segments_and_each_row_is_copied_seldom() {
        let mut segments: Vec<Facts> = Vec::new();
        let mut copied = 0;
        for _ in 0..4096 {
            segments.push(clean(16));
            while let Some(chosen) = choose(&segments, true) {
                let sum: u64 = chosen.iter().map(|index| segments[*index].rows).sum();
                copied += sum;
                for index in chosen.iter().rev() {
                    segments.remove(*index);
                }
                segments.push(clean(sum));
            }
            assert!(segments.len() <= MAX_SEGMENTS);
        }
        assert!(
            copied <= 16 * 4096 * 8,
            "each row was copied {} times",
            copied / (16 * 4096)
        );
    }

    #[test]
    fn half_deleted_and_raw_segments_are_rewritten() {
        let dying = Facts {
            rows: 100,
            live: 49,
            raw_tokens: 0,
        };
        assert_eq!(choose(&[clean(10), dying], true), Some(vec![1]));
        let raw = Facts {
            rows: 100,
            live: 100,
            raw_tokens: 5000,
        };
        assert_eq!(choose(&[raw, clean(10), raw], true), Some(vec![0, 2]));
        assert_eq!(choose(&[raw, clean(10), raw], false), None);
    }

    #[test]
    fn codebooks_are_trained_at_first_and_at_growth() {
        assert!(!should_train(TRAIN_FROM - 1, None, false) && should_train(TRAIN_FROM, None, false));
        assert!(should_train(OPTIMIZE_FROM, None, true) && !should_train(OPTIMIZE_FROM - 1, None, true));
        assert!(!should_train(399, Some(100), true) && should_train(400, Some(100), true));
    }
}
