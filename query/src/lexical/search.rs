//! The best documents of a snapshot for a lexical query.

use super::boolean::{Evaluator, Tree, counted};
use super::corpus::{Bound, Source, bind};
use super::syntax::LexicalQuery;
use super::term::Term;
use crate::candidates::Scope;
use crate::error::QueryError;
use crate::hits::Position;
use crate::maxscore::union;
use crate::top_k::TopK;
use latewood_storage::{Snapshot, TermInfo};

/// What a search found.
pub(crate) struct Found {
    pub(crate) top: TopK,
    /// Postings that were scored.
    pub(crate) scored: u64,
    /// Different terms of the query.
    pub(crate) terms: usize,
}

/// Postings of a query's terms, over all segments and the memtable: the most that a search reads.
pub(crate) fn postings(snapshot: &Snapshot, query: &LexicalQuery) -> Result<u64, QueryError> {
    let bound = bind(snapshot, query)?;
    let of = |bound: &Bound<'_>| -> u64 {
        let infos = bound.infos.iter().flatten().flatten();
        infos.map(|info| u64::from(info.documents)).sum()
    };
    Ok(bound.as_ref().map_or(0, of))
}

/// The best `keep` of the documents that match both the query and the filter. A document's score is that over the
/// statistics of all segments and the memtable, in which deleted documents count until they are merged away.
pub(crate) fn search(scope: &Scope<'_>, query: &LexicalQuery, keep: usize) -> Result<Found, QueryError> {
    let mut found = Found {
        top: TopK::new(keep),
        scored: 0,
        terms: 0,
    };
    let Some(bound) = bind(scope.snapshot, query)? else {
        return Ok(found);
    };
    for (source, infos) in bound.sources.iter().zip(&bound.infos) {
        found.terms = infos.len();
        in_source(scope, &bound, source, infos, &mut found)?;
    }
    Ok(found)
}

fn in_source(
    scope: &Scope<'_>,
    bound: &Bound<'_>,
    source: &Source<'_>,
    infos: &[Option<TermInfo>],
    found: &mut Found,
) -> Result<(), QueryError> {
    let wanted = |row: u32| {
        let ordinal = source.first.saturating_add(row);
        match scope.matches.segments().get(source.segment as usize) {
            Some(matches) => matches.contains(ordinal),
            None => scope.matches.memtable().binary_search(&ordinal).is_ok(),
        }
    };
    let at = |row: u32| Position {
        segment: source.segment,
        ordinal: source.first.saturating_add(row),
    };
    if let Tree::Any(terms) = &bound.tree {
        let mut here = Vec::new();
        for (number, times) in counted(terms) {
            if let Some(Some(info)) = infos.get(number) {
                here.push(Term::new(&source.view, info, times, number, &bound.weighting)?);
            }
        }
        let threshold = found.top.threshold();
        let top = &mut found.top;
        #[expect(clippy::cast_possible_truncation, reason = "scores are single")]
        let offer = |row, score: f64| {
            top.push(score as f32, at(row));
            Ok(top.threshold())
        };
        found.scored += union(source.view.rows(), here, threshold, wanted, offer)?;
        return Ok(());
    }
    let mut evaluator = Evaluator {
        source,
        infos,
        weighting: &bound.weighting,
        scored: 0,
    };
    for (row, score) in evaluator.rows(&bound.tree)? {
        #[expect(clippy::cast_possible_truncation, reason = "scores are single")]
        if wanted(row) {
            found.top.push(score as f32, at(row));
        }
    }
    found.scored += evaluator.scored;
    Ok(())
}
