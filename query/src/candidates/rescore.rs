//! The best of what was found by codes, by their exact scores: as many are scored as may be among the best, by how far the
//! codes were off so far.

use latewood_storage::Scored;

use super::measure::Measure;
use crate::hits::Position;
use crate::top_k::TopK;

/// How many rows ahead of the one that is scored are fetched.
const AHEAD: usize = 8;
/// Rows that are scored before it is judged how far codes are off.
pub(super) const FEWEST: usize = 16;
/// A row is left out whose code falls short of the last of the best by more than this many times the root mean square of what
/// codes were off. Of Gaussian errors 0.6% are larger to the one side.
const MARGIN: f32 = 2.5;

/// The best by exact scores, so far.
pub(super) struct Rescored<'a, M> {
    exact: &'a M,
    top: TopK,
    /// Sum of squares of what codes were off, and of how many rows.
    off: f32,
    rows: usize,
}

impl<'a, M: Measure> Rescored<'a, M> {
    pub(super) fn new(exact: &'a M, keep: usize) -> Self {
        Self {
            exact,
            top: TopK::new(keep),
            off: 0.0,
            rows: 0,
        }
    }

    /// The score by codes from which on a row may be among the best.
    pub(super) fn least(&self) -> f32 {
        if self.rows < FEWEST {
            return f32::NEG_INFINITY;
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean over rows")]
        let off = (self.off / self.rows as f32).sqrt();
        self.top.threshold() - MARGIN * off
    }

    /// Scores rows, best first by their codes, until no further one may be among the best. Whether that came before their end.
    pub(super) fn add_sorted(&mut self, found: &[Scored]) -> bool {
        for near in found.iter().take(AHEAD) {
            self.exact.fetch(near.row);
        }
        for (at, near) in found.iter().enumerate() {
            if near.score < self.least() {
                return true;
            }
            if let Some(ahead) = found.get(at + AHEAD) {
                self.exact.fetch(ahead.row);
            }
            self.add(*near);
        }
        false
    }

    /// Scores rows in any order, but those that cannot be among the best.
    pub(super) fn add_all(&mut self, found: &[Scored]) {
        for (at, near) in found.iter().enumerate() {
            if let Some(ahead) = found.get(at + AHEAD) {
                self.exact.fetch(ahead.row);
            }
            if near.score >= self.least() {
                self.add(*near);
            }
        }
    }

    fn add(&mut self, near: Scored) {
        let (score, ordinal) = (self.exact.score(near.row), near.row);
        let off = near.score - score;
        (self.off, self.rows) = (off.mul_add(off, self.off), self.rows + 1);
        if score >= self.top.threshold() {
            let segment = 0;
            self.top.push(score, Position { segment, ordinal });
        }
    }

    /// The best, best first.
    pub(super) fn finish(self) -> Vec<Scored> {
        let sorted = self.top.into_sorted().into_iter();
        let found = sorted.map(|near| Scored {
            score: near.score,
            row: near.position.ordinal,
        });
        found.collect()
    }
}
