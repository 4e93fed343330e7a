//! A walk over the matching rows of a graph alone: where a link leads to a row that does not match, the links of that row are
//! taken instead, as ACORN-1 does (Patel et al., "ACORN: performant and predicate-agnostic search over vector embeddings and
//! structured data", SIGMOD 2024). Rows that do not match are never scored.

use latewood_storage::{GraphView, Scored, Seen};

use crate::filter::SegmentMatches;

/// Matching rows that one step looks at, seen before or not, before it stops taking those behind rows that do not match: about
/// as many as a row has links.
const STEP: usize = 32;
/// Matching rows from all over the segment that are looked at first, so that a walk begins well also where nothing near the
/// query matches.
const SEEDS: u32 = 32;
/// By how much seeds and beam are widened where what matches lies far from the query: then the best matches are at the edge
/// of what matches, on all sides of the query, and few links lead from one to the next.
const WIDER: usize = 4;

/// The memory of walks, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct MatchingWalk {
    seen: Seen,
    /// Best first, and whether it has been walked from.
    best: Vec<(Scored, bool)>,
    fresh: Vec<u32>,
    /// Matching rows among as many as a step looks at, on average.
    behind: usize,
    /// Rows of one step that do not match.
    between: Vec<u32>,
}

/// Over what a walk goes.
pub(super) struct Ground<'a> {
    pub(super) graph: &'a GraphView<'a>,
    pub(super) matches: &'a SegmentMatches,
}

impl Ground<'_> {
    /// The share of rows that match round the one that is nearest to the query.
    pub(super) fn share_near(&self, entry: u32) -> f64 {
        const LISTS: usize = 8;
        let near = self.graph.neighbours(0, entry);
        // Links ascend, and rows that came at one time may match alike: the lists are of rows from all over.
        let apart = (near.len() / LISTS).max(1);
        let behind = near.step_by(apart).map(|row| self.graph.neighbours(0, row));
        let (mut matching, mut met) = (0u32, 0u32);
        for row in near.chain(behind.take(LISTS).flatten()) {
            met += 1;
            matching += u32::from(self.matches.contains(row));
        }
        f64::from(matching) / f64::from(met.max(1))
    }

    /// The share of all rows that match.
    pub(super) fn share(&self) -> f64 {
        f64::from(self.matches.count()) / f64::from(self.matches.rows().max(1))
    }

    /// Whether fewer rows match round the one that is nearest to the query than elsewhere, by a quarter.
    fn is_far(&self, entry: u32) -> bool {
        4.0 * self.share_near(entry) < 3.0 * self.share()
    }
}

impl MatchingWalk {
    /// The `ef` best matching rows that are reached from `entry` and from rows all over the segment, best first, and how many
    /// were scored. It gives up, with none, when that is more than `most`.
    pub(super) fn walk(
        &mut self,
        ground: &Ground<'_>,
        entry: u32,
        (ef, most): (usize, u64),
        score: &impl Fn(u32) -> f32,
        fetch: &impl Fn(u32),
    ) -> (Vec<Scored>, u64) {
        self.seen.begin(ground.graph.len());
        self.best.clear();
        let (count, rows) = (
            ground.matches.count() as usize,
            ground.matches.rows().max(1) as usize,
        );
        self.behind = STEP * count / rows;
        let (ef, seeds) = if ground.is_far(entry) {
            (ef.saturating_mul(WIDER), SEEDS * 8)
        } else {
            (ef, SEEDS)
        };
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.clear();
        for row in ground.matches.spread(seeds) {
            if self.seen.first_visit(row) {
                fetch(row);
                fresh.push(row);
            }
        }
        if ground.matches.contains(entry) && self.seen.first_visit(entry) {
            fresh.push(entry);
        } else {
            self.step(ground, entry, &mut fresh, fetch);
        }
        self.keep_all(&fresh, ef, score);
        let (mut hops, mut next) = (fresh.len() as u64, 0);
        while let Some((near, walked)) = self.best.get_mut(next) {
            if std::mem::replace(walked, true) {
                next += 1;
                continue;
            }
            let row = near.row;
            if let Some((after, false)) = self.best.get(next + 1) {
                ground.graph.prefetch(after.row);
            }
            fresh.clear();
            self.step(ground, row, &mut fresh, fetch);
            hops += fresh.len() as u64;
            if hops > most {
                self.fresh = fresh;
                return (Vec::new(), hops);
            }
            next = (next + 1).min(self.keep_all(&fresh, ef, score));
        }
        self.fresh = fresh;
        (self.best.iter().map(|(near, _)| *near).collect(), hops)
    }

    /// The matching rows that a row leads to and that were not seen before.
    fn step(&mut self, ground: &Ground<'_>, row: u32, fresh: &mut Vec<u32>, fetch: &impl Fn(u32)) {
        let mut between = std::mem::take(&mut self.between);
        between.clear();
        let mut met = 0;
        for near in ground.graph.neighbours(0, row) {
            if !ground.matches.contains(near) {
                ground.graph.prefetch_place(near);
                between.push(near);
                continue;
            }
            met += 1;
            if self.seen.first_visit(near) {
                fetch(near);
                fresh.push(near);
            }
        }
        for (at, &middle) in between.iter().enumerate() {
            const AHEAD: usize = 6;
            if met >= STEP {
                break;
            }
            if let Some(&ahead) = between.get(at + AHEAD) {
                ground.graph.prefetch(ahead);
            }
            // What lies behind a row that was walked through is seen already: it counts as met, as it would on average.
            if !self.seen.first_visit(middle) {
                met += self.behind;
                continue;
            }
            for far in ground.graph.neighbours(0, middle) {
                if ground.matches.contains(far) {
                    met += 1;
                    if self.seen.first_visit(far) {
                        fetch(far);
                        fresh.push(far);
                    }
                }
            }
        }
        self.between = between;
    }

    /// Keeps rows among the `ef` best; the first place that changed.
    fn keep_all(&mut self, rows: &[u32], ef: usize, score: &impl Fn(u32) -> f32) -> usize {
        let keep = |first: usize, &row: &u32| {
            let score = score(row);
            first.min(self.keep(Scored { score, row }, ef))
        };
        rows.iter().fold(usize::MAX, keep)
    }

    #[inline]
    fn keep(&mut self, near: Scored, ef: usize) -> usize {
        let full = self.best.len() >= ef;
        if full
            && self
                .best
                .last()
                .is_none_or(|(worst, _)| !near.is_better_than(worst))
        {
            return usize::MAX;
        }
        let place = self
            .best
            .partition_point(|(other, _)| other.is_better_than(&near));
        if full {
            self.best.pop();
        }
        self.best.insert(place, (near, false));
        place
    }
}
