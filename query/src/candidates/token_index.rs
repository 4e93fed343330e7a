//! Late interaction through posting lists: documents gather their score list by list, so that no document outside the
//! probed lists is ever touched, and the codes of few documents are read.
//!
//! For each query token the lists of its nearest centroids are walked in descending order of score. The first time that
//! a document is met is then its best centroid for that token, and adds that score to the document's sum. A token that
//! meets the document in none of its lists counts as the score of its last list, the least that it can have missed by
//! (the imputation of WARP, arXiv 2501.17788). Filter and tombstones are tested where scores gather.

use std::cell::RefCell;

use latewood_storage::IvfView;

use super::Scope;
use super::probe::{CentroidScores, Probe, best_centroids};
use crate::error::QueryError;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
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

/// Which lists to visit, for each codebook and query token.
pub(crate) fn probe(scorer: &TokenScorer<'_>, n_probe: usize) -> Vec<Vec<Vec<Probe>>> {
    let query_tokens = scorer.query().num_tokens();
    let lists = |bound: &latewood_codecs::ResidualQuery<'_>| {
        let all = CentroidScores {
            scores: bound.centroid_scores(),
            levels: bound.centroid_levels(),
            width: bound.level_units().len(),
            query_tokens,
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

/// A document's sum, and the last query token that added to it: 0 for none, counted from 1.
#[derive(Clone, Copy, Default)]
struct Cell {
    sum: f32,
    token: u32,
}

/// The token of documents that cannot be hits: no token comes after it.
const CLOSED: u32 = u32::MAX;

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
        scratch.cells.clear();
        gathered
    })
}

fn walk_with(task: &Task<'_>, keep: usize, scratch: &mut Scratch) -> Result<Gathered, QueryError> {
    let Scratch { cells, met, postings } = scratch;
    let rows = task.matches.rows() as usize;
    cells.resize(rows, Cell::default());
    if !task.matches.is_all() {
        for (cell, ordinal) in cells.iter_mut().zip(0u32..) {
            cell.token = if task.matches.contains(ordinal) { 0 } else { CLOSED };
        }
    }
    // One more than there are: the last place is written to and never counted.
    met.resize(rows + 1, 0);
    let (mut read, mut met_count, mut imputed) = (0, 0, 0.0);
    for (probes, token) in task.lists.iter().zip(1u32..) {
        let missed = probes.last().map_or(0.0, |last| last.score);
        imputed += missed;
        for probe in probes {
            postings.clear();
            task.ivf.postings(probe.centroid, postings)?;
            read += postings.len() as u64;
            met_count = add(cells, met, met_count, postings, token, probe.score - missed);
        }
    }
    let met = &met[..met_count];
    let mut candidates = best_sums(task.segment, cells, met, keep);
    for candidate in &mut candidates {
        candidate.score += imputed;
    }
    Ok(Gathered {
        candidates,
        met: met_count as u64,
        postings: read,
    })
}

/// Adds one list's score to the documents in it that the query token meets for the first time. Whether a document is new
/// cannot be guessed, so nothing branches on it: the sum grows by the gain or by nothing, and the document is noted where
/// the next one will overwrite it unless it is new. Returns how many are noted.
fn add(
    cells: &mut [Cell],
    met: &mut [u32],
    mut met_count: usize,
    postings: &[u32],
    token: u32,
    gain: f32,
) -> usize {
    for &ordinal in postings {
        let Some(cell) = cells.get_mut(ordinal as usize) else {
            continue;
        };
        if let Some(place) = met.get_mut(met_count) {
            *place = ordinal;
        }
        met_count += usize::from(cell.token == 0);
        cell.sum += if cell.token < token { gain } else { 0.0 };
        cell.token = cell.token.max(token);
    }
    met_count
}

/// Sums that a threshold is guessed from.
const SAMPLE: usize = 1024;

/// About the best `keep` documents met, at least as many if there are, in the order of storage.
///
/// A sample of the sums gives a threshold that somewhat more than `keep` of them should reach, so that one pass finds
/// few; if they are too few after all, all are taken.
fn best_sums(segment: u32, cells: &[Cell], met: &[u32], keep: usize) -> Vec<Scored> {
    let sum = |ordinal: u32| cells.get(ordinal as usize).map_or(0.0, |cell| cell.sum);
    let above = |threshold: f32| -> Vec<Scored> {
        let scored = met.iter().filter_map(|&ordinal| {
            let score = sum(ordinal);
            let position = Position { segment, ordinal };
            (score >= threshold).then_some(Scored { score, position })
        });
        scored.collect()
    };
    let mut threshold = f32::NEG_INFINITY;
    if met.len() > 4 * keep.max(SAMPLE / 4) {
        let step = met.len() / SAMPLE;
        let mut sample: Vec<f32> = met.iter().step_by(step).map(|&ordinal| sum(ordinal)).collect();
        // Two standard deviations of what a sample of this size may be off, and then some.
        let expected = keep * sample.len() / met.len();
        let rank = (expected + 2 * expected.isqrt() + 4).min(sample.len() - 1);
        sample.select_nth_unstable_by(rank, |a, b| b.total_cmp(a));
        threshold = sample[rank];
    }
    let mut best = above(threshold);
    if best.len() < keep && best.len() < met.len() {
        best = above(f32::NEG_INFINITY);
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

/// Scores candidates anew with `score` and keeps the `keep` best, in no order; returns the document tokens that were
/// scored.
pub(crate) fn rescore(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    candidates: &mut Vec<Scored>,
    keep: usize,
    score: impl Fn(Position) -> f32 + Sync + Send,
) -> u64 {
    // In the order of storage, so that pages and cache lines are met once.
    if !candidates.is_sorted_by_key(|candidate| candidate.position) {
        candidates.sort_unstable_by_key(|candidate| candidate.position);
    }
    let tokens: u64 = candidates
        .iter()
        .map(|c| scorer.tokens_of(c.position) as u64)
        .sum();
    let scores = scope.map(candidates, |candidate| score(candidate.position));
    for (candidate, score) in candidates.iter_mut().zip(scores) {
        candidate.score = score;
    }
    cut(candidates, keep);
    tokens
}

/// As [`rescore`], best first.
pub(crate) fn narrow(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    candidates: &mut Vec<Scored>,
    keep: usize,
    score: impl Fn(Position) -> f32 + Sync + Send,
) -> u64 {
    let tokens = rescore(scope, scorer, candidates, keep, score);
    keep_best(candidates, keep);
    tokens
}
