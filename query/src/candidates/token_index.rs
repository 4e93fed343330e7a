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
use super::probe::{Probe, best_centroids};
use crate::error::QueryError;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::{Scored, keep_best};

/// What the posting lists gave.
pub(crate) struct Gathered {
    /// The documents with the best sums, best first.
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
        best_centroids(bound.centroid_scores(), query_tokens, n_probe)
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
    keep_best(&mut out.candidates, keep);
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
        scratch.met.clear();
        gathered
    })
}

fn walk_with(task: &Task<'_>, keep: usize, scratch: &mut Scratch) -> Result<Gathered, QueryError> {
    let Scratch { cells, met, postings } = scratch;
    cells.resize(task.matches.rows() as usize, Cell::default());
    if !task.matches.is_all() {
        for (cell, ordinal) in cells.iter_mut().zip(0u32..) {
            cell.token = if task.matches.contains(ordinal) { 0 } else { CLOSED };
        }
    }
    let mut read = 0;
    let mut imputed = 0.0;
    for (probes, token) in task.lists.iter().zip(1u32..) {
        let missed = probes.last().map_or(0.0, |last| last.score);
        imputed += missed;
        for probe in probes {
            postings.clear();
            task.ivf.postings(probe.centroid, postings)?;
            read += postings.len() as u64;
            let gain = probe.score - missed;
            for &ordinal in postings.iter() {
                let Some(cell) = cells.get_mut(ordinal as usize) else {
                    continue;
                };
                if cell.token < token {
                    if cell.token == 0 {
                        met.push(ordinal);
                    }
                    *cell = Cell {
                        sum: cell.sum + gain,
                        token,
                    };
                }
            }
        }
    }
    let mut candidates: Vec<Scored> = met
        .iter()
        .map(|&ordinal| Scored {
            score: cells[ordinal as usize].sum + imputed,
            position: Position {
                segment: task.segment,
                ordinal,
            },
        })
        .collect();
    keep_best(&mut candidates, keep);
    Ok(Gathered {
        candidates,
        met: met.len() as u64,
        postings: read,
    })
}

/// Scores candidates anew with `score` and keeps the `keep` best; returns the document tokens that were scored.
pub(crate) fn narrow(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    candidates: &mut Vec<Scored>,
    keep: usize,
    score: impl Fn(Position) -> f32 + Sync + Send,
) -> u64 {
    // In the order of storage, so that pages and cache lines are met once.
    candidates.sort_unstable_by_key(|candidate| candidate.position);
    let tokens: u64 = candidates
        .iter()
        .map(|c| scorer.tokens_of(c.position) as u64)
        .sum();
    let scores = scope.map(candidates, |candidate| score(candidate.position));
    for (candidate, score) in candidates.iter_mut().zip(scores) {
        candidate.score = score;
    }
    keep_best(candidates, keep);
    tokens
}
