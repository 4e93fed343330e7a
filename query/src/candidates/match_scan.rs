//! A scan of all matching rows, with the score of each kept until the query is answered.

use latewood_storage::Scored;

use super::measure::Measure;
use crate::filter::SegmentMatches;

/// Rows scored at once.
const TILE: usize = 256;
/// Rows that are fetched before the first is scored.
const AHEAD: usize = 24;
/// Scores that are held against the least that is kept at once.
const LANES: usize = 16;

/// The matching rows, ascending, and their scores. The memory is kept from one scan to the next.
#[derive(Debug, Default)]
pub(super) struct MatchScan {
    rows: Vec<u32>,
    scores: Vec<f32>,
    best: Vec<Scored>,
}

impl MatchScan {
    /// Scores all matching rows; the `most` best of them, best first.
    pub(super) fn scan(
        &mut self,
        matches: &SegmentMatches,
        most: usize,
        measure: &impl Measure,
    ) -> Vec<Scored> {
        self.rows.clear();
        matches.append_to(&mut self.rows);
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

    /// The rows of the last scan whose score is at least this, ascending.
    pub(super) fn at_least(&self, least: f32) -> impl Iterator<Item = Scored> {
        let scored = self.rows.iter().zip(&self.scores);
        let near = scored.filter(move |(_, score)| **score >= least);
        near.map(|(&row, &score)| Scored { score, row })
    }
}

/// Leaves the `most` best, in any order but that the last of them comes last.
fn cut(best: &mut Vec<Scored>, most: usize) {
    if best.len() > most {
        best.select_nth_unstable_by(most - 1, |a, b| b.cmp(a));
        best.truncate(most);
    }
}
