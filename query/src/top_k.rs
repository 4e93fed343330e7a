//! The best k of a stream of scores, in an order that leaves no tie to chance.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::hits::Position;

/// A document and its score. Ordered best first: a higher score, then the earlier position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) position: Position,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.position.cmp(&other.position))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the best `k` of what is pushed.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    // The heap's maximum is the worst kept, which is the first to go.
    heap: BinaryHeap<Scored>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::with_capacity(k.min(4_096)),
        }
    }

    /// The score that a document must reach to be kept; below it nothing needs to be pushed.
    pub(crate) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    pub(crate) fn push(&mut self, score: f32, position: Position) {
        let new = Scored { score, position };
        if self.heap.len() < self.k {
            self.heap.push(new);
            return;
        }
        if let Some(mut worst) = self.heap.peek_mut()
            && new < *worst
        {
            *worst = new;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for Scored { score, position } in other.heap {
            self.push(score, position);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

/// Cuts an unordered list to its best `k`, best first.
pub(crate) fn keep_best(scored: &mut Vec<Scored>, k: usize) {
    if scored.len() > k {
        if k > 0 {
            scored.select_nth_unstable(k - 1);
        }
        scored.truncate(k);
    }
    scored.sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ordinal: u32) -> Position {
        Position { segment: 0, ordinal }
    }

    proptest! {
        #[test]
        fn keeps_what_a_sort_keeps(scores in prop::collection::vec(-3i8..3, 0..200), k in 0usize..20, cut in 0usize..200) {
            let all: Vec<Scored> = scores.iter().zip(0..).map(|(&s, i)| Scored { score: f32::from(s), position: at(i) }).collect();
            let mut expected = all.clone();
            expected.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.position.cmp(&b.position)));
            expected.truncate(k);

            let (mut one, mut other) = (TopK::new(k), TopK::new(k));
            for (i, s) in all.iter().enumerate() {
                if i < cut { one.push(s.score, s.position) } else { other.push(s.score, s.position) }
            }
            other.merge(one);
            prop_assert_eq!(other.into_sorted(), expected.clone());

            let mut list = all;
            keep_best(&mut list, k);
            prop_assert_eq!(list, expected);
        }
    }

    #[test]
    fn the_threshold_rises_once_full() {
        let mut top = TopK::new(2);
        assert_eq!(top.threshold(), f32::NEG_INFINITY);
        top.push(1.0, at(0));
        top.push(3.0, at(1));
        assert_eq!(top.threshold(), 1.0);
        top.push(2.0, at(2));
        assert_eq!(top.threshold(), 2.0);
    }
}
