//! Best-first search on one level of a graph: the paper's algorithm 2, used to build and, by the query crate, to answer.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row and its score against the query. Ordered by score, and by ascending row among equals, so that searches are
/// deterministic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Higher is nearer.
    pub score: f32,
    /// The row.
    pub row: u32,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The memory of searches over one graph, kept from one to the next: which rows were seen, and the two heaps.
#[derive(Debug, Default)]
pub struct GraphSearch {
    seen: Vec<u32>,
    stamp: u32,
    frontier: BinaryHeap<Scored>,
    best: BinaryHeap<Reverse<Scored>>,
}

impl GraphSearch {
    /// Memory for graphs of any size; it grows with the first search.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, rows: usize) {
        if self.seen.len() < rows {
            self.seen.resize(rows, 0);
        }
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.seen.fill(0);
            self.stamp = 1;
        }
        self.frontier.clear();
        self.best.clear();
    }

    /// Marks a row; true the first time. A row outside the graph counts as seen.
    fn first_visit(&mut self, row: u32) -> bool {
        match self.seen.get_mut(row as usize) {
            Some(stamp) if *stamp != self.stamp => {
                *stamp = self.stamp;
                true
            }
            _ => false,
        }
    }

    /// The `ef` best rows that are reached from `entries` over `neighbours`, best first. `rows` is the size of the
    /// graph; `score` is asked once for each row that is reached.
    pub fn search<'g>(
        &mut self,
        rows: usize,
        entries: &[Scored],
        ef: usize,
        neighbours: impl Fn(u32) -> &'g [u32],
        score: impl Fn(u32) -> f32,
    ) -> Vec<Scored> {
        self.begin(rows);
        for &entry in entries {
            if self.first_visit(entry.row) {
                self.frontier.push(entry);
                self.keep(entry, ef);
            }
        }
        while let Some(nearest) = self.frontier.pop() {
            if self.best.len() >= ef
                && self
                    .best
                    .peek()
                    .is_some_and(|worst| nearest.score < worst.0.score)
            {
                break;
            }
            for &row in neighbours(nearest.row) {
                if self.first_visit(row) {
                    let candidate = Scored {
                        score: score(row),
                        row,
                    };
                    if self.keep(candidate, ef) {
                        self.frontier.push(candidate);
                    }
                }
            }
        }
        let mut found: Vec<Scored> = self.best.drain().map(|r| r.0).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    /// Keeps a candidate among the `ef` best; whether it is among them.
    fn keep(&mut self, candidate: Scored, ef: usize) -> bool {
        if self.best.len() < ef {
            self.best.push(Reverse(candidate));
            return true;
        }
        match self.best.peek_mut() {
            Some(mut worst) if candidate > worst.0 => {
                *worst = Reverse(candidate);
                true
            }
            _ => false,
        }
    }
}
