//! Late interaction through posting lists: documents gather their score list by list, so that no document outside the
//! probed lists is ever touched, and the codes of few documents are read.
//!
//! Query tokens that point the same way are a group, which counts as one token of their sum: a ColBERT query of 32 has some
//! 15. For each group the lists of its nearest centroids are walked in descending order of score. The first time that
//! a document is met is then its best centroid for that group, and adds that score to the document's sum. A group that
//! meets the document in none of its lists counts as the score of its last list, the least that it can have missed by
//! (the imputation of WARP, arXiv 2501.17788). Filter and tombstones are tested where scores gather.

use std::cell::RefCell;

use latewood_storage::{IvfView, Wanted};

use super::Scope;
use super::probe::{CentroidLevels, Probe, best_centroids};
use crate::error::QueryError;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::token_scorer::{Centroids, TokenScorer};
use crate::top_k::{Scored, keep_best};

/// What the posting lists gave.
pub(crate) struct Gathered {
    /// The documents with the best sums, in no order.
    pub(crate) candidates: Vec<Scored>,
    /// Documents met.
    pub(crate) met: u64,
    /// Postings read.
    pub(crate) postings: u64,
}

/// Which lists to visit, for each codebook and group of query tokens.
pub(crate) fn probe(scorer: &TokenScorer<'_>, n_probe: usize) -> Vec<Vec<Vec<Probe>>> {
    let lists = |bound: &latewood_codecs::ResidualQuery<'_>| {
        let all = CentroidLevels {
            levels: bound.centroid_levels(),
            units: bound.level_units(),
            groups: bound.num_groups(),
        };
        best_centroids(all, n_probe)
    };
    scorer.bound().iter().map(lists).collect()
}

/// Which segments have posting lists to search.
pub(crate) fn indexed(scope: &Scope<'_>, scorer: &TokenScorer<'_>) -> Result<Vec<bool>, QueryError> {
    let segments = scope.snapshot.segments().iter().enumerate();
    segments
        .map(|(number, view)| Ok(scorer.is_coded(number) && view.segment.ivf()?.is_some()))
        .collect()
}

/// Walks the probed lists of every indexed segment and keeps the `keep` best documents.
pub(crate) fn gather(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    probes: &[Vec<Vec<Probe>>],
    keep: usize,
) -> Result<Gathered, QueryError> {
    let mut tasks = Vec::new();
    for ((number, view), segment) in scope.snapshot.segments().iter().enumerate().zip(0u32..) {
        let matches = &scope.matches.segments()[number];
        let lists = scorer
            .codebook_of(number)
            .and_then(|codebook| probes.get(codebook));
        if let (Some(ivf), Some(lists)) = (view.segment.ivf()?, lists)
            && matches.count() > 0
        {
            tasks.push(Task {
                segment,
                ivf,
                lists,
                matches,
            });
        }
    }
    let mut out = Gathered {
        candidates: Vec::new(),
        met: 0,
        postings: 0,
    };
    scope.ahead.each(&tasks, |task, wanted| task.read_ahead(wanted));
    for gathered in scope.map(&tasks, |task| walk(task, keep)) {
        let gathered = gathered?;
        out.met += gathered.met;
        out.postings += gathered.postings;
        out.candidates.extend(gathered.candidates);
    }
    cut(&mut out.candidates, keep);
    Ok(out)
}

struct Task<'a> {
    segment: u32,
    ivf: IvfView<'a>,
    lists: &'a [Vec<Probe>],
    matches: &'a SegmentMatches,
}

impl Task<'_> {
    fn read_ahead(&self, wanted: &mut Wanted) {
        let probes = self.lists.iter().flatten();
        probes.for_each(|probe| self.ivf.read_ahead(probe.centroid, wanted));
    }
}

/// A document's sum, and the last group that added to it: groups are counted from 1, and 0 is none. In 4 bytes, so that
/// the cells of many documents stay in the cache: the group in the high bits, the sum in steps of [`Steps`] in the rest.
type Cell = u32;

const SUM_BITS: u32 = 22;
const SUM: Cell = (1 << SUM_BITS) - 1;
/// The group of documents that cannot be hits: no group comes after it. A query has at most 512.
const CLOSED: Cell = Cell::MAX >> SUM_BITS;

/// What gains are counted in, so that the greatest sum there can be still fits.
#[derive(Clone, Copy)]
struct Steps {
    each: f32,
}

impl Steps {
    fn new(lists: &[Vec<Probe>]) -> Self {
        let most = |probes: &Vec<Probe>| probes.first().map_or(0.0, |first| first.score);
        let greatest: f32 = lists.iter().map(most).sum();
        // Rounding adds at most half a step a group.
        Self {
            each: greatest.max(f32::MIN_POSITIVE) / (SUM - 1024) as f32,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a gain is not negative and no greater than the greatest sum"
    )]
    fn count(self, gain: f32) -> Cell {
        ((gain.max(0.0) / self.each).round() as Cell).min(SUM)
    }

    fn value(self, cell: Cell) -> f32 {
        (cell & SUM) as f32 * self.each
    }
}

/// Memory of one thread's walks, kept from query to query; all cells are zero between walks.
#[derive(Default)]
struct Scratch {
    cells: Vec<Cell>,
    met: Vec<u32>,
    postings: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn walk(task: &Task<'_>, keep: usize) -> Result<Gathered, QueryError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let gathered = walk_with(task, keep, scratch);
        if gathered.is_err() || !task.matches.is_all() {
            scratch.cells.clear();
        }
        gathered
    })
}

fn walk_with(task: &Task<'_>, keep: usize, scratch: &mut Scratch) -> Result<Gathered, QueryError> {
    let Scratch { cells, met, postings } = scratch;
    let rows = task.matches.rows() as usize;
    if cells.len() < rows {
        cells.resize(rows, 0);
    }
    let cells = &mut cells[..rows];
    if !task.matches.is_all() {
        for (cell, ordinal) in cells.iter_mut().zip(0u32..) {
            *cell = if task.matches.contains(ordinal) {
                0
            } else {
                CLOSED << SUM_BITS
            };
        }
    }
    // One more than there are: the last place is written to and never counted.
    met.resize(rows + 1, 0);
    let steps = Steps::new(task.lists);
    let fetch = |probes: &Vec<Probe>| probes.iter().for_each(|probe| task.ivf.prefetch(probe.centroid));
    task.lists.first().map(fetch);
    let (mut read, mut met_count, mut imputed) = (0, 0, 0.0);
    for ((probes, next), group) in task.lists.iter().zip(1..).zip(1..) {
        task.lists.get(next).map(fetch);
        let missed = probes.last().map_or(0.0, |last| last.score);
        imputed += missed;
        for probe in probes {
            postings.clear();
            task.ivf.postings(probe.centroid, postings)?;
            read += postings.len() as u64;
            let gain = steps.count(probe.score - missed);
            met_count = add(cells, met, met_count, postings, group, gain);
        }
    }
    let met = &met[..met_count];
    let mut candidates = best_sums(task.segment, steps, cells, met, keep);
    for candidate in &mut candidates {
        candidate.score += imputed;
    }
    if task.matches.is_all() {
        for &ordinal in met {
            cells[ordinal as usize] = 0;
        }
    }
    Ok(Gathered {
        candidates,
        met: met_count as u64,
        postings: read,
    })
}

/// Adds one list's gain to the documents in it that the group meets for the first time. Whether a document is new cannot
/// be guessed, so nothing branches on it: a cell is written anew or as it was, and the document is noted where the next
/// one will overwrite it unless it is new. Returns how many are noted.
fn add(
    cells: &mut [Cell],
    met: &mut [u32],
    mut met_count: usize,
    postings: &[u32],
    group: Cell,
    gain: Cell,
) -> usize {
    let added = (group << SUM_BITS) + gain;
    for &ordinal in postings {
        let Some(cell) = cells.get_mut(ordinal as usize) else {
            continue;
        };
        if let Some(place) = met.get_mut(met_count) {
            *place = ordinal;
        }
        let before = *cell >> SUM_BITS;
        met_count += usize::from(before == 0);
        *cell = if before < group {
            (*cell & SUM) + added
        } else {
            *cell
        };
    }
    met_count
}

/// Sums that a threshold is guessed from.
const SAMPLE: usize = 1024;

/// About the best `keep` documents met, at least as many if there are, in the order of storage.
///
/// A sample of the sums gives a threshold that somewhat more than `keep` of them should reach, so that one pass finds
/// few; if they are too few after all, all are taken.
fn best_sums(segment: u32, steps: Steps, cells: &[Cell], met: &[u32], keep: usize) -> Vec<Scored> {
    let sum = |ordinal: u32| cells.get(ordinal as usize).map_or(0, |cell| cell & SUM);
    let above = |threshold: Cell| -> Vec<Scored> {
        let scored = met.iter().filter_map(|&ordinal| {
            let sum = sum(ordinal);
            let position = Position { segment, ordinal };
            (sum >= threshold).then(|| Scored {
                score: steps.value(sum),
                position,
            })
        });
        scored.collect()
    };
    let mut threshold = 0;
    if met.len() > 4 * keep.max(SAMPLE / 4) {
        let step = met.len() / SAMPLE;
        let mut sample: Vec<Cell> = met.iter().step_by(step).map(|&ordinal| sum(ordinal)).collect();
        // Two standard deviations of what a sample of this size may be off, and then some.
        let expected = keep * sample.len() / met.len();
        let rank = (expected + 2 * expected.isqrt() + 4).min(sample.len() - 1);
        sample.select_nth_unstable_by(rank, |a, b| b.cmp(a));
        threshold = sample[rank];
    }
    let mut best = above(threshold);
    if best.len() < keep && best.len() < met.len() {
        best = above(0);
    }
    cut(&mut best, keep);
    best
}

/// Keeps the best, in no order.
fn cut(scored: &mut Vec<Scored>, keep: usize) {
    if scored.len() > keep {
        scored.select_nth_unstable(keep.max(1) - 1);
        scored.truncate(keep);
    }
}

/// Every matching document of the indexed segments, not scored: when they are few, the interaction with each takes no
/// longer than walking lists would.
pub(crate) fn all_matching(scope: &Scope<'_>, indexed: &[bool]) -> Vec<Scored> {
    let mut all = Vec::new();
    for ((matches, indexed), segment) in scope.matches.segments().iter().zip(indexed).zip(0u32..) {
        if *indexed {
            let positions = matches.iter_in(0..matches.rows());
            all.extend(positions.map(|ordinal| Scored {
                score: 0.0,
                position: Position { segment, ordinal },
            }));
        }
    }
    all
}

/// Documents that one task scores.
const BLOCK: usize = 128;
/// How many documents ahead of the one that is scored are fetched.
const AHEAD: usize = 12;

/// Scores candidates by their full centroid interaction and keeps the `keep` best, in no order; returns the document tokens
/// that were scored.
pub(crate) fn interact(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    candidates: &mut Vec<Scored>,
    keep: usize,
) -> u64 {
    scope.ahead.each(candidates.as_slice(), |candidate, wanted| {
        scorer.centroids_of(candidate.position).read_ahead(wanted);
    });
    let blocks: Vec<&[Scored]> = candidates.chunks(BLOCK).collect();
    let scores = scope.map(&blocks, |block| {
        let documents: Vec<_> = block.iter().map(|c| scorer.centroids_of(c.position)).collect();
        documents.iter().take(AHEAD).for_each(Centroids::prefetch);
        let mut tokens = 0;
        let scores = documents.iter().zip(*block).enumerate();
        let scores = scores.map(|(at, (document, candidate))| {
            documents.get(at + AHEAD).map(Centroids::prefetch);
            tokens += document.len();
            scorer.interaction(document, candidate.position)
        });
        (scores.collect::<Vec<f32>>(), tokens)
    });
    let mut tokens = 0;
    for (block, (scores, scored)) in candidates.chunks_mut(BLOCK).zip(scores) {
        tokens += scored as u64;
        for (candidate, score) in block.iter_mut().zip(scores) {
            candidate.score = score;
        }
    }
    cut(candidates, keep);
    tokens
}

/// Scores candidates anew with `score` and keeps the `keep` best, best first.
pub(crate) fn narrow(
    scope: &Scope<'_>,
    candidates: &mut Vec<Scored>,
    keep: usize,
    score: impl Fn(Position) -> f32 + Sync + Send,
) {
    let scores = scope.map(candidates, |candidate| score(candidate.position));
    for (candidate, score) in candidates.iter_mut().zip(scores) {
        candidate.score = score;
    }
    keep_best(candidates, keep);
}
