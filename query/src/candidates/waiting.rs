//! Late interaction with what waits in the memtable, beside what an index has found: a first look in int8, and exact scores
//! for those that may be among the best.

use latewood_codecs::RoughQuery;

use super::{Scope, refine};
use crate::hits::Position;
use crate::token_scorer::TokenScorer;
use crate::top_k::{Scored, keep_best};

/// What was read.
pub(crate) struct Looked {
    /// Tokens of the first look.
    pub(crate) rough: u64,
    /// Tokens that were scored exactly.
    pub(crate) exact: u64,
}

/// The best matching documents of the memtable, as many as may count among the best `keep` beside those `found`, in no order;
/// `most` of them are scored exactly.
pub(crate) fn look(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    found: &[Scored],
    keep: usize,
    most: usize,
) -> (Vec<Scored>, Looked) {
    let segment = scope.memtable_number();
    let waiting: Vec<Position> = scope
        .matches
        .memtable()
        .iter()
        .map(|&ordinal| Position { segment, ordinal })
        .collect();
    let tokens = || waiting.iter().map(|at| scorer.tokens_of(*at) as u64).sum();
    let scored = |scores: Vec<f32>| {
        let all = waiting.iter().zip(scores);
        all.map(|(&position, score)| Scored { score, position }).collect()
    };
    if waiting.len() <= most {
        let all = scored(scope.map(&waiting, |at| scorer.exact(*at)));
        let (rough, exact) = (0, tokens());
        return (all, Looked { rough, exact });
    }
    let query = RoughQuery::new(scorer.query());
    let mut best: Vec<Scored> = scored(scope.map(&waiting, |at| scorer.rough(&query, *at)));
    keep_best(&mut best, most);
    let exact = refine::beside(scope, scorer, &mut best, found, keep);
    let rough = tokens();
    (best, Looked { rough, exact })
}
