//! Best-first search on one level of a graph: the paper's algorithm 2, used to build and, by the query crate, to answer.

use super::seen::Seen;

/// A row and its score against the query. Better is a higher score, and among equals the earlier row, so that searches
/// are deterministic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Higher is nearer.
    pub score: f32,
    /// The row.
    pub row: u32,
}

impl Scored {
    /// Whether it comes before the other.
    #[inline]
    pub fn is_better_than(&self, other: &Self) -> bool {
        self.score > other.score || (self.score.total_cmp(&other.score).is_eq() && self.row < other.row)
    }
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What will be read next: nothing waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upcoming {
    /// The row is scored.
    Row(u32),
    /// The row's links may be walked, by and by: where they stand is looked up.
    Place(u32),
    /// The row's links are walked.
    Links(u32),
}

/// A row among the best, and whether its links have been walked.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    near: Scored,
    walked: bool,
}

/// The memory of searches over one graph, kept from one to the next: which rows were seen, and the best of them.
#[derive(Debug, Default)]
pub struct GraphSearch {
    seen: Seen,
    /// Best first.
    best: Vec<Candidate>,
    /// The rows of the links at hand that were not seen before.
    fresh: Vec<u32>,
    scores: Vec<f32>,
}

impl GraphSearch {
    /// Memory for graphs of any size; it grows with the first search.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `ef` best rows that are reached from `entries` over `neighbours`, best first. `rows` is the size of the
    /// graph; `score` is asked once for each row that is reached, those of a step together, and `fetch` hears of them before.
    ///
    /// The best stand in one ordered row, as in the searches of NSG (Fu et al., VLDB 2019): for beams of hundreds that is
    /// quicker than two heaps, and the next one to walk is known while the one before is scored.
    pub fn search<L: IntoIterator<Item = u32>>(
        &mut self,
        rows: usize,
        entries: &[Scored],
        ef: usize,
        neighbours: impl Fn(u32) -> L,
        fetch: impl Fn(Upcoming),
        score: impl Fn(&[u32], &mut [f32]),
    ) -> Vec<Scored> {
        self.seen.begin(rows);
        self.best.clear();
        for entry in entries {
            if self.seen.first_visit(entry.row) {
                self.keep(*entry, ef);
            }
        }
        let mut next = 0;
        while let Some(candidate) = self.best.get_mut(next) {
            if std::mem::replace(&mut candidate.walked, true) {
                next += 1;
                continue;
            }
            let row = candidate.near.row;
            if let Some(after) = self.best.get(next + 1).filter(|after| !after.walked) {
                fetch(Upcoming::Links(after.near.row));
            }
            let mut fresh = std::mem::take(&mut self.fresh);
            fresh.clear();
            for row in neighbours(row) {
                if self.seen.first_visit(row) {
                    fetch(Upcoming::Row(row));
                    fresh.push(row);
                }
            }
            next += 1;
            self.scores.resize(fresh.len(), 0.0);
            score(&fresh, &mut self.scores);
            for (at, &row) in fresh.iter().enumerate() {
                let near = Scored {
                    score: self.scores.get(at).copied().unwrap_or(f32::NEG_INFINITY),
                    row,
                };
                let place = self.keep(near, ef);
                if place <= next {
                    fetch(Upcoming::Links(row));
                    next = place;
                } else if place < ef {
                    fetch(Upcoming::Place(row));
                }
            }
            self.fresh = fresh;
        }
        self.best.iter().map(|candidate| candidate.near).collect()
    }

    /// Keeps a row among the `ef` best; its place, or beyond all if it is not among them.
    #[inline]
    fn keep(&mut self, near: Scored, ef: usize) -> usize {
        let full = self.best.len() >= ef;
        if full
            && self
                .best
                .last()
                .is_none_or(|worst| !near.is_better_than(&worst.near))
        {
            return usize::MAX;
        }
        let place = self
            .best
            .partition_point(|other| other.near.is_better_than(&near));
        if full {
            self.best.pop();
        }
        let walked = false;
        self.best.insert(place, Candidate { near, walked });
        place
    }
}
