//! Phrases and boolean queries: the rows that match, each with its score, part by part.

use std::collections::BTreeMap;

use latewood_storage::{PostingsBlock, TermInfo};

use super::bm25::Weighting;
use super::corpus::Source;
use crate::error::QueryError;

/// A query over numbers of terms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// Any of the terms; one that is repeated counts as often.
    Any(Vec<usize>),
    /// The terms one after another; at least two.
    Phrase(Vec<usize>),
    /// As in the query.
    Boolean {
        must: Vec<Tree>,
        should: Vec<Tree>,
        not: Vec<Tree>,
    },
}

/// Rows with their scores, ascending.
type Rows = Vec<(u32, f64)>;

impl Tree {
    /// A boolean query; one of alternatives of single terms alone is their union.
    pub(super) fn boolean(must: Vec<Self>, should: Vec<Self>, not: Vec<Self>) -> Self {
        let plain =
            must.is_empty() && not.is_empty() && should.iter().all(|tree| matches!(tree, Self::Any(_)));
        if !plain {
            return Self::Boolean { must, should, not };
        }
        let terms = should.into_iter().flat_map(|tree| match tree {
            Self::Any(terms) => terms,
            _ => Vec::new(),
        });
        Self::Any(terms.collect())
    }

    /// Whether nothing can match, as there are no terms.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Any(terms) | Self::Phrase(terms) => terms.is_empty(),
            Self::Boolean { must, should, .. } => must.is_empty() && should.is_empty(),
        }
    }
}

/// The terms of a union, each with how often it stands there.
pub(super) fn counted(terms: &[usize]) -> BTreeMap<usize, f64> {
    let mut counts = BTreeMap::new();
    for term in terms {
        *counts.entry(*term).or_insert(0.0) += 1.0;
    }
    counts
}

/// Evaluates queries in one source.
pub(super) struct Evaluator<'a, 's> {
    pub(super) source: &'a Source<'s>,
    pub(super) infos: &'a [Option<TermInfo>],
    pub(super) weighting: &'a Weighting,
    /// Postings read so far.
    pub(super) scored: u64,
}

impl Evaluator<'_, '_> {
    /// The rows that match.
    pub(super) fn rows(&mut self, tree: &Tree) -> Result<Rows, QueryError> {
        match tree {
            Tree::Any(terms) => {
                let mut all = Vec::new();
                for (term, times) in counted(terms) {
                    all = either(all, self.term(term, times)?);
                }
                Ok(all)
            }
            Tree::Phrase(terms) => self.phrase(terms),
            Tree::Boolean { must, should, not } => {
                let mut rows = None;
                for tree in must {
                    let own = self.rows(tree)?;
                    rows = Some(match rows {
                        None => own,
                        Some(rows) => both(rows, &own),
                    });
                }
                let mut more = Vec::new();
                for tree in should {
                    more = either(more, self.rows(tree)?);
                }
                let mut rows = match rows {
                    None => more,
                    Some(rows) => adding(rows, &more),
                };
                for tree in not {
                    let excluded = self.rows(tree)?;
                    rows.retain(|(row, _)| excluded.binary_search_by_key(row, |(row, _)| *row).is_err());
                }
                Ok(rows)
            }
        }
    }

    fn term(&mut self, term: usize, times: f64) -> Result<Rows, QueryError> {
        let mut rows = Vec::new();
        let Some(Some(info)) = self.infos.get(term) else {
            return Ok(rows);
        };
        let (view, weight) = (&self.source.view, self.weighting.weight(term) * times);
        let postings = view.postings(info)?;
        let mut block = PostingsBlock::default();
        for number in 0..postings.blocks() {
            postings
                .read(number, &mut block)
                .ok_or_else(|| view.corruption("a posting list"))?;
            for (&row, &frequency) in block.documents.iter().zip(&block.frequencies) {
                let share = self.weighting.share(frequency, view.lengths().get(row));
                rows.push((row, weight * share));
            }
        }
        self.scored += postings.len() as u64;
        Ok(rows)
    }

    /// A phrase counts as a term as rare as all of its terms together, as often as it stands there.
    fn phrase(&mut self, terms: &[usize]) -> Result<Rows, QueryError> {
        let weight: f64 = terms.iter().map(|term| self.weighting.weight(*term)).sum();
        let mut starts: Option<Vec<(u32, Vec<u32>)>> = None;
        for (offset, term) in (0u32..).zip(terms) {
            let own = self.starts(*term, offset, starts.as_deref())?;
            if own.is_empty() {
                return Ok(Vec::new());
            }
            starts = Some(own);
        }
        let score = |(row, starts): (u32, Vec<u32>)| {
            let frequency = u32::try_from(starts.len()).unwrap_or(u32::MAX);
            let share = self
                .weighting
                .share(frequency, self.source.view.lengths().get(row));
            (row, weight * share)
        };
        Ok(starts.unwrap_or_default().into_iter().map(score).collect())
    }

    /// Where phrases could begin that have a term at an offset, and began so before, if that is known.
    fn starts(
        &mut self,
        term: usize,
        offset: u32,
        before: Option<&[(u32, Vec<u32>)]>,
    ) -> Result<Vec<(u32, Vec<u32>)>, QueryError> {
        let mut out = Vec::new();
        let Some(Some(info)) = self.infos.get(term) else {
            return Ok(out);
        };
        let view = &self.source.view;
        let damaged = || view.corruption("a posting list");
        let postings = view.postings(info)?;
        let (mut block, mut at) = (PostingsBlock::default(), Vec::new());
        for number in 0..postings.blocks() {
            postings.read(number, &mut block).ok_or_else(damaged)?;
            let mut positions = postings.positions(number).ok_or_else(damaged)?;
            for (&row, &frequency) in block.documents.iter().zip(&block.frequencies) {
                let known = match before {
                    None => None,
                    Some(before) => match before.binary_search_by_key(&row, |(row, _)| *row) {
                        Ok(found) => Some(&before[found].1),
                        Err(_) => {
                            positions.skip(frequency).ok_or_else(damaged)?;
                            continue;
                        }
                    },
                };
                at.clear();
                positions.take(frequency, &mut at).ok_or_else(damaged)?;
                let starts: Vec<u32> = at
                    .iter()
                    .filter_map(|position| position.checked_sub(offset))
                    .filter(|start| known.is_none_or(|known| known.binary_search(start).is_ok()))
                    .collect();
                if !starts.is_empty() {
                    out.push((row, starts));
                }
            }
        }
        self.scored += postings.len() as u64;
        Ok(out)
    }
}

/// Rows of either, their scores added.
fn either(a: Rows, b: Rows) -> Rows {
    if a.is_empty() {
        return b;
    }
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(&(row, score)), Some(&(other, more))) = (a.peek(), b.peek()) {
        out.push(match row.cmp(&other) {
            std::cmp::Ordering::Less => (row, score),
            std::cmp::Ordering::Greater => (other, more),
            std::cmp::Ordering::Equal => (row, score + more),
        });
        if row <= other {
            a.next();
        }
        if other <= row {
            b.next();
        }
    }
    out.extend(a);
    out.extend(b);
    out
}

/// Rows of both, their scores added.
fn both(a: Rows, b: &[(u32, f64)]) -> Rows {
    let found = |row: u32| b.binary_search_by_key(&row, |(row, _)| *row).ok();
    a.into_iter()
        .filter_map(|(row, score)| found(row).map(|at| (row, score + b[at].1)))
        .collect()
}

/// Rows of the first, with the scores of the second added where it has them.
fn adding(a: Rows, b: &[(u32, f64)]) -> Rows {
    let found = |row: u32| b.binary_search_by_key(&row, |(row, _)| *row).ok();
    a.into_iter()
        .map(|(row, score)| (row, score + found(row).map_or(0.0, |at| b[at].1)))
        .collect()
}
