//! Scores from codes for the documents that the centroid interaction put first, as far down as it pays.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Scope;
use crate::token_scorer::TokenScorer;
use crate::top_k::{Scored, TopK, keep_best};

/// What was read.
pub(crate) struct Read {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
}

/// Documents between two looks at whether to go on; the same on any number of threads, so that the answer is.
const BLOCK: usize = 32;
/// Documents that the difference of the two scores is learnt from before it is relied on.
const LEARNT_FROM: u32 = 48;
/// Standard deviations by which a document may gain on what its interaction lets expect. Of 10,000 documents recall@10 is
/// 0.991 with 3, 0.994 with 3.5 and no higher with 5; of 55,637 it is 0.992 with 3.5.
const MARGIN: f64 = 3.5;
/// The same where more than a recall of [`USUAL`] is asked.
const WIDE_MARGIN: f64 = 6.0;
const USUAL: f64 = 0.99;

/// Scores documents anew from their codes and keeps the best `finalists`. They are looked at
/// best first by their centroid interaction; once even [`MARGIN`] standard deviations more than the usual gain would not lift the next one above the
/// `keep`-th best, the rest is left.
pub(crate) fn by_codes(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    found: &mut Vec<Scored>,
    keep: usize,
    finalists: usize,
    recall: f64,
) -> Read {
    let margin = if recall > USUAL { WIDE_MARGIN } else { MARGIN };
    let (mut best, mut gains) = (TopK::new(keep.max(1)), Gains::default());
    let mut read = Read {
        documents: 0,
        tokens: 0,
    };
    let mut scored = Vec::new();
    // A heap gives them best first, and orders no more than are looked at.
    let mut rest = BinaryHeap::from(std::mem::take(found).into_iter().map(Reverse).collect::<Vec<_>>());
    let mut block = Vec::with_capacity(BLOCK);
    while !rest.is_empty() {
        block.clear();
        block.extend(
            std::iter::from_fn(|| rest.pop())
                .take(BLOCK)
                .map(|Reverse(document)| document),
        );
        let reachable = block.first().map_or(0.0, |first| f64::from(first.score)) + gains.most(margin);
        if gains.count >= LEARNT_FROM && reachable < f64::from(best.threshold()) {
            break;
        }
        let scores = scope.map(&block, |document| scorer.coded(document.position));
        for (document, score) in block.iter().zip(scores) {
            gains.add(f64::from(score - document.score));
            best.push(score, document.position);
            read.tokens += scorer.tokens_of(document.position) as u64;
            scored.push(Scored { score, ..*document });
        }
        read.documents += block.len() as u64;
    }
    keep_best(&mut scored, finalists);
    *found = scored;
    read
}

/// Mean and variance of a stream (Welford, Technometrics 4(3), 1962).
#[derive(Default)]
struct Gains {
    count: u32,
    mean: f64,
    squares: f64,
}

impl Gains {
    fn add(&mut self, gain: f64) {
        self.count += 1;
        let before = gain - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (gain - self.mean);
    }

    fn most(&self, margin: f64) -> f64 {
        self.mean + margin * (self.squares / f64::from(self.count.max(1))).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::{Gains, MARGIN};

    #[test]
    fn gains_are_their_mean_and_some_deviations() {
        let mut gains = Gains::default();
        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|gain| gains.add(gain));
        assert!((gains.most(MARGIN) - (3.0 + MARGIN * 3.5f64.sqrt())).abs() < 1e-12);
    }
}
