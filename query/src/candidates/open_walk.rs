//! A walk over all rows of a graph that keeps the matching ones. Its beam is as wide as it takes to hold enough of them: that is
//! found as it goes, from how many match round the query, however many match elsewhere.

use latewood_storage::{Scored, Seen};

use super::matching_walk::Ground;
use super::measure::Measure;

/// The memory of walks, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct OpenWalk {
    seen: Seen,
    /// Best first.
    best: Vec<Met>,
    /// How many of them match.
    matching: usize,
    fresh: Vec<u32>,
    scores: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Met {
    near: Scored,
    walked: bool,
    matches: bool,
}

/// How wide a walk is.
#[derive(Clone, Copy)]
pub(super) struct Width {
    /// The beam without a filter.
    pub(super) ef: usize,
    /// Matching rows that are wanted at least.
    pub(super) keep: usize,
    /// Rows that may be scored.
    pub(super) most: u64,
}

impl Width {
    /// Whether a beam of so many rows, of which so many match, is wide enough: the wider, the fewer match, but by the root of
    /// it. So it reaches as far beyond the best matches, in proportion, when few match as when all do.
    fn is_enough(self, rows: usize, matching: usize) -> bool {
        matching >= self.keep && rows.saturating_mul(matching) >= self.ef.saturating_mul(self.ef)
    }
}

impl OpenWalk {
    /// The best matching rows that are reached from `entry`, best first, and how many rows were scored; `None` when that would
    /// be too many.
    pub(super) fn walk(
        &mut self,
        ground: &Ground<'_>,
        entry: Scored,
        width: Width,
        measure: &impl Measure,
    ) -> (Option<Vec<Scored>>, u64) {
        self.seen.begin(ground.graph.len());
        self.best.clear();
        self.matching = 0;
        self.seen.first_visit(entry.row);
        self.keep(entry, ground, width);
        let (mut hops, mut next) = (0, 0);
        while let Some(met) = self.best.get_mut(next) {
            if std::mem::replace(&mut met.walked, true) {
                next += 1;
                continue;
            }
            let row = met.near.row;
            if let Some(after) = self.best.get(next + 1).filter(|after| !after.walked) {
                ground.graph.prefetch(after.near.row);
            }
            self.fresh.clear();
            for row in ground.graph.neighbours(0, row) {
                if self.seen.first_visit(row) {
                    measure.fetch(row);
                    self.fresh.push(row);
                }
            }
            hops += self.fresh.len() as u64;
            if hops > width.most {
                return (None, hops);
            }
            self.scores.resize(self.fresh.len(), 0.0);
            measure.score_some(&self.fresh, &mut self.scores);
            next += 1;
            for at in 0..self.fresh.len() {
                let (score, row) = (self.scores[at], self.fresh[at]);
                let place = self.keep(Scored { score, row }, ground, width);
                if place <= next {
                    ground.graph.prefetch(row);
                    next = place;
                } else if place < usize::MAX {
                    ground.graph.prefetch_place(row);
                }
            }
        }
        let matching = self.best.iter().filter(|met| met.matches);
        (Some(matching.map(|met| met.near).collect()), hops)
    }

    /// Keeps a row if it is among the best; its place, or beyond all.
    #[inline]
    fn keep(&mut self, near: Scored, ground: &Ground<'_>, width: Width) -> usize {
        let worst = self.best.last();
        if worst.is_some_and(|worst| !near.is_better_than(&worst.near))
            && width.is_enough(self.best.len(), self.matching)
        {
            return usize::MAX;
        }
        let place = self
            .best
            .partition_point(|other| other.near.is_better_than(&near));
        let matches = ground.matches.contains(near.row);
        self.matching += usize::from(matches);
        let walked = false;
        self.best.insert(
            place,
            Met {
                near,
                walked,
                matches,
            },
        );
        while let Some(worst) = self.best.last() {
            let left = self.matching - usize::from(worst.matches);
            if !width.is_enough(self.best.len() - 1, left) {
                break;
            }
            self.matching = left;
            self.best.pop();
        }
        place
    }
}
