//! A query's scores with the centroids of a codec.

use super::codec::ResidualCodec;
use super::directions::Directions;
use crate::kernel::{BytePanels, ByteRows, Kernel, LANES};
use crate::maxsim::MaxSimQuery;

/// A query's scores with centroids. They take megabytes: whoever runs query after query hands the memory of one to the
/// next.
#[derive(Clone, Debug, Default)]
pub struct CentroidTables {
    /// `[slot][query token]`, and one panel of fill that a kernel may read past the last.
    pub(super) scores: Vec<f32>,
    /// Where a centroid's scores are; [`UNKNOWN`] where they are not yet.
    slots: Vec<u32>,
    next_slot: u32,
    /// Group scores in 255 steps from 0 to the group's length: `[centroid][group]`, whole panels.
    pub(super) levels: Vec<u8>,
    /// Slots whose scores are there.
    pub(super) scored: u32,
    /// Centroids whose scores are not there yet, in the order of their slots, and their rows.
    asked: Vec<u32>,
    rows: ByteRows,
}

const UNKNOWN: u32 = u32::MAX;

impl CentroidTables {
    /// The levels of a query's groups; no scores yet.
    pub(super) fn begin(&mut self, codec: &ResidualCodec, query: &MaxSimQuery, groups: &Directions) {
        let units = &groups.units;
        let step = |unit: &f32| if *unit > 0.0 { unit.recip() } else { 0.0 };
        let steps: Vec<f32> = units.iter().map(step).collect();
        self.scores.clear();
        self.asked.clear();
        (self.next_slot, self.scored) = (0, 0);
        self.slots.clear();
        self.slots.resize(codec.len(), UNKNOWN);
        self.levels.resize(codec.len() * units.len(), 0);
        let sums = BytePanels::new(&groups.sums, codec.dim());
        query
            .kernel()
            .levels_i8(&sums, codec.byte_rows(), &steps, &mut self.levels);
    }

    /// Where a centroid's scores are; those of a code beyond the last, the last's.
    #[inline]
    pub(super) fn slot(&self, code: u32) -> u32 {
        let last = self.slots.last().copied().unwrap_or(UNKNOWN);
        self.slots.get(code as usize).copied().unwrap_or(last)
    }

    /// Gives a centroid the next slot, unless it has one.
    #[inline]
    pub(super) fn ask(&mut self, code: u32) {
        let at = (code as usize).min(self.slots.len() - 1);
        if self.slots[at] == UNKNOWN {
            self.slots[at] = self.next_slot;
            self.next_slot += 1;
            #[expect(clippy::cast_possible_truncation, reason = "at most the code")]
            self.asked.push(at as u32);
        }
    }

    /// Scores `tokens` query tokens with the centroids that were asked for.
    pub(super) fn score_asked(&mut self, kernel: Kernel, query: &BytePanels, tokens: usize, all: &ByteRows) {
        if self.asked.is_empty() {
            return;
        }
        self.rows.values.clear();
        self.rows.scales.clear();
        for centroid in &self.asked {
            let at = *centroid as usize;
            self.rows
                .values
                .extend_from_slice(&all.values[at * query.dim..][..query.dim]);
            self.rows.scales.push(all.scales[at]);
        }
        // The fill of the last slot is where the next begins.
        let known = self.scores.len().saturating_sub(LANES);
        self.scores.resize(known + self.asked.len() * tokens + LANES, 0.0);
        self.asked.clear();
        self.scored = self.next_slot;
        kernel.scores_i8(query, tokens, &self.rows, &mut self.scores[known..]);
    }

    /// Scores `tokens` query tokens with all centroids.
    pub(super) fn score_all(&mut self, kernel: Kernel, query: &BytePanels, tokens: usize, all: &ByteRows) {
        self.asked.clear();
        self.scores.resize(all.scales.len() * tokens + LANES, 0.0);
        kernel.scores_i8(query, tokens, all, &mut self.scores);
        for (slot, at) in self.slots.iter_mut().zip(0..) {
            *slot = at;
            self.next_slot = at + 1;
        }
        self.scored = self.next_slot;
    }
}
