//! A scan of all matching rows, or of those near the query, with the score of each kept until the query is answered.

use std::collections::BinaryHeap;

use latewood_storage::Scored;

use super::measure::Measure;
use super::near_cells::NearCells;
use crate::filter::SegmentMatches;

/// Rows scored at once.
const TILE: usize = 256;
/// Rows that are fetched before the first is scored.
const AHEAD: usize = 24;
/// Scores that are held against the least that is kept at once.
const LANES: usize = 16;

/// The rows of a scan and their scores. The memory is kept from one scan to the next.
#[derive(Debug, Default)]
pub(super) struct MatchScan {
    rows: Vec<u32>,
    scores: Vec<f32>,
    best: Vec<Scored>,
    /// Of cells: which there are; the ranks of their centres' scores, each with its cell; and the rows of one.
    all: Vec<u32>,
    nearest: BinaryHeap<u64>,
    cell: Vec<u32>,
}

impl MatchScan {
    /// All matching rows are to be scored; how many.
    pub(super) fn gather(&mut self, matches: &SegmentMatches) -> usize {
        self.rows.clear();
        matches.append_to(&mut self.rows);
        self.rows.len()
    }

    /// The matching rows of the cells nearest to a query are to be scored, of as many cells as it takes for the rows that are
    /// wanted; how many.
    pub(super) fn gather_near(&mut self, near: NearCells<'_>, matches: &SegmentMatches) -> usize {
        let NearCells { cells, sketch, rows } = near;
        let centres = cells.centres();
        if self.all.len() != centres.len() {
            self.all = (0..).take(centres.len()).collect();
        }
        self.scores.clear();
        self.scores.resize(self.all.len(), 0.0);
        sketch.score_some(centres, &self.all, &mut self.scores);
        let mut nearest = std::mem::take(&mut self.nearest).into_vec();
        nearest.clear();
        let scored = self.all.iter().zip(&self.scores);
        nearest.extend(scored.map(|(&cell, &score)| u64::from(rank(score)) << 32 | u64::from(cell)));
        self.nearest = nearest.into();
        self.rows.clear();
        while self.rows.len() < rows
            && let Some(near) = self.nearest.pop()
        {
            self.cell.clear();
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the cell")]
            cells.append_rows(near as u32, &mut self.cell);
            matches.append_of(&self.cell, &mut self.rows);
        }
        self.rows.len()
    }

    /// Scores the rows that were gathered; the `most` best of them, best first.
    pub(super) fn best(&mut self, most: usize, measure: &impl Measure) -> Vec<Scored> {
        self.scores.clear();
        self.scores.resize(self.rows.len(), 0.0);
        self.best.clear();
        let (most, mut least) = (most.max(1), f32::NEG_INFINITY);
        self.rows.iter().take(AHEAD).for_each(|row| measure.fetch(*row));
        for (first, scores) in (0..).step_by(TILE).zip(self.scores.chunks_mut(TILE)) {
            let rows = &self.rows[first..];
            measure.score_some(rows, scores);
            for (rows, scores) in rows.chunks(LANES).zip(scores.chunks(LANES)) {
                if scores.iter().all(|score| *score < least) {
                    continue;
                }
                let near = rows.iter().zip(scores).filter(|(_, score)| **score >= least);
                self.best.extend(near.map(|(&row, &score)| Scored { score, row }));
            }
            // Rows that may be among the best gather, and are cut to the best from time to time.
            if self.best.len() > 2 * most + TILE {
                cut(&mut self.best, most);
                least = self.best[most - 1].score;
            }
        }
        cut(&mut self.best, most);
        self.best.sort_unstable_by(|a, b| b.cmp(a));
        self.best.clone()
    }

    /// The scores of the rows that were gathered, in that order.
    pub(super) fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The rows of the last scan whose score is at least this, in its order.
    pub(super) fn at_least(&self, least: f32) -> impl Iterator<Item = Scored> {
        let scored = self.rows.iter().zip(&self.scores);
        let near = scored.filter(move |(_, score)| **score >= least);
        near.map(|(&row, &score)| Scored { score, row })
    }
}

/// A number that is the greater the greater a score is: its bits, of negative ones all turned, of others the sign.
fn rank(score: f32) -> u32 {
    let bits = score.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Leaves the `most` best, in any order but that the last of them comes last.
fn cut(best: &mut Vec<Scored>, most: usize) {
    if best.len() > most {
        best.select_nth_unstable_by(most - 1, |a, b| b.cmp(a));
        best.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn ranks_are_in_the_order_of_scores() {
        let scores = [
            f32::NEG_INFINITY,
            -3.5,
            -0.25,
            -0.0,
            0.0,
            1e-30,
            0.25,
            7.0,
            f32::INFINITY,
        ];
        assert!(scores.map(rank).is_sorted());
        assert!(rank(-1.0) < rank(-0.5) && rank(0.5) < rank(0.75));
    }
}
