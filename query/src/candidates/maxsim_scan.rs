//! Exhaustive late interaction: every matching token matrix is scored.

use super::{Block, Scope};
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::TopK;

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) top: TopK,
    /// Document tokens scored.
    pub(crate) tokens: u64,
}

/// How documents are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Straight from the codes.
    Codes,
    /// Over the best tier stored.
    Best,
}

/// Scores the matching documents of all segments and of the memtable.
pub(crate) fn scan(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    precision: Precision,
    keep: usize,
) -> Scanned {
    let mut scanned = segments(scope, scorer, precision, keep, |_| true);
    let segment = scope.memtable_number();
    for &ordinal in scope.matches.memtable() {
        scanned.tokens += score(scorer, precision, Position { segment, ordinal }, &mut scanned.top);
    }
    scanned
}

/// Scores the matching documents of the segments for which `wanted` holds.
pub(crate) fn segments(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    precision: Precision,
    keep: usize,
    wanted: impl Fn(usize) -> bool,
) -> Scanned {
    let blocks = scope.blocks(wanted);
    let (top, tokens) = scope.scan(&blocks, keep, |block, top| {
        let Block { segment, .. } = *block;
        let matches = &scope.matches.segments()[segment as usize];
        scope.read_ahead(matches, block.rows.clone(), |rows, wanted| match precision {
            Precision::Codes => scorer.read_rows_ahead(segment, rows, wanted),
            Precision::Best => scorer.read_best_rows_ahead(segment, rows, wanted),
        });
        matches
            .iter_in(block.rows.clone())
            .map(|ordinal| score(scorer, precision, Position { segment, ordinal }, top))
            .sum()
    });
    Scanned { top, tokens }
}

/// Scores a document; returns its tokens.
fn score(scorer: &TokenScorer<'_>, precision: Precision, position: Position, top: &mut TopK) -> u64 {
    let score = match precision {
        Precision::Codes => scorer.coded(position),
        Precision::Best => scorer.exact(position),
    };
    if score >= top.threshold() {
        top.push(score, position);
    }
    scorer.tokens_of(position) as u64
}
