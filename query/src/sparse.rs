//! Search by sparse vectors: the documents of the largest inner products, exactly.
//!
//! The inverted index bounds scores from above; a document whose bound is among the best is scored from its vector.

use latewood_codecs::SparseVector;
use latewood_storage::{Snapshot, SparseBlock, SparseIndexView, SparseList, SparseRows, VectorValue};

use crate::candidates::Scope;
use crate::error::QueryError;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::maxscore::{List, union};
use crate::top_k::TopK;

/// Postings that cost as much as scoring a document from its vector.
const ROW_COST: u64 = 100;

/// What a search found.
pub(crate) struct Found {
    pub(crate) top: TopK,
    /// Postings that were read.
    pub(crate) postings: u64,
    /// Documents that were scored from their vectors.
    pub(crate) scored: u64,
}

/// The best `keep` of the documents that match the filter and have a dimension of the query.
pub(crate) fn search(
    scope: &Scope<'_>,
    name: &str,
    query: &SparseVector,
    keep: usize,
) -> Result<Found, QueryError> {
    let mut found = Found {
        top: TopK::new(keep),
        postings: 0,
        scored: 0,
    };
    let Some((field, _)) = scope.snapshot.schema().vector(name) else {
        return Ok(found);
    };
    for ((view, matches), segment) in scope
        .snapshot
        .segments()
        .iter()
        .zip(scope.matches.segments())
        .zip(0u32..)
    {
        scope.snapshot.relieve();
        let Some(rows) = view.segment.sparse(field)?.filter(|_| matches.count() > 0) else {
            continue;
        };
        let index = view.segment.sparse_index(field);
        let postings = index.as_ref().map(|index| listed(index, query));
        match index.filter(|_| postings.is_some_and(|all| all < u64::from(matches.count()) * ROW_COST)) {
            Some(index) => by_index((&index, &rows), matches, segment, query, &mut found)?,
            None => by_rows(&rows, matches, segment, query, &mut found)?,
        }
    }
    let (segment, memtable) = (scope.memtable_number(), scope.snapshot.memtable());
    for &ordinal in scope.matches.memtable() {
        let record = memtable.get(ordinal);
        let value = record.and_then(|record| record.vectors.get(name));
        if let Some(vector) = value.and_then(VectorValue::sparse) {
            found.scored += 1;
            if let Some(score) = query.dot(vector.indices(), vector.values()) {
                found.top.push(score, Position { segment, ordinal });
            }
        }
    }
    Ok(found)
}

/// Postings of a query's dimensions, over all segments, and documents that are in no index.
pub(crate) fn postings(snapshot: &Snapshot, name: &str, query: &SparseVector) -> (u64, u64) {
    let Some((field, _)) = snapshot.schema().vector(name) else {
        return (0, 0);
    };
    let (mut postings, mut others) = (0, snapshot.memtable().len() as u64);
    for view in snapshot.segments() {
        match view.segment.sparse_index(field) {
            Some(index) => postings += listed(&index, query),
            None => others += u64::from(view.segment.len()),
        }
    }
    (postings, others)
}

fn listed(index: &SparseIndexView<'_>, query: &SparseVector) -> u64 {
    let counts = query.indices().iter().map(|dimension| index.count(*dimension));
    counts.map(u64::from).sum()
}

fn by_index(
    (index, rows): (&SparseIndexView<'_>, &SparseRows<'_>),
    matches: &SegmentMatches,
    segment: u32,
    query: &SparseVector,
    found: &mut Found,
) -> Result<(), QueryError> {
    let mut lists = Vec::with_capacity(query.len());
    for (dimension, weight) in query.indices().iter().zip(query.values()) {
        if let Some(list) = index.list(*dimension)? {
            lists.push(Dimension::new(*index, list, f64::from(*weight)));
        }
    }
    let (threshold, mut dimensions) = (found.top.threshold(), Vec::new());
    let Found { top, scored, .. } = found;
    let offer = |ordinal, _| {
        let weights = rows.read(ordinal, &mut dimensions)?;
        *scored += 1;
        if let Some(score) = query.dot(&dimensions, weights) {
            top.push(score, Position { segment, ordinal });
        }
        Ok(top.threshold())
    };
    let wanted = |ordinal| matches.contains(ordinal);
    found.postings += union(index.rows(), lists, threshold, wanted, offer)?;
    Ok(())
}

/// Every matching row is scored.
fn by_rows(
    rows: &SparseRows<'_>,
    matches: &SegmentMatches,
    segment: u32,
    query: &SparseVector,
    found: &mut Found,
) -> Result<(), QueryError> {
    let mut dimensions = Vec::new();
    for ordinal in matches.iter() {
        let weights = rows.read(ordinal, &mut dimensions)?;
        found.scored += 1;
        if let Some(score) = query.dot(&dimensions, weights) {
            found.top.push(score, Position { segment, ordinal });
        }
    }
    Ok(())
}

/// A dimension of a query in one segment, as a list of rows with bounds of what it adds to their scores.
struct Dimension<'a> {
    index: SparseIndexView<'a>,
    list: SparseList<'a>,
    /// What a code is multiplied by.
    unit: f64,
    bound: f64,
    block: usize,
    read: usize,
    at: usize,
    decoded: SparseBlock,
}

const NOTHING: usize = usize::MAX;

impl<'a> Dimension<'a> {
    fn new(index: SparseIndexView<'a>, list: SparseList<'a>, weight: f64) -> Self {
        Self {
            index,
            unit: weight * list.unit(),
            bound: weight * f64::from(list.greatest()),
            list,
            block: 0,
            read: NOTHING,
            at: 0,
            decoded: SparseBlock::default(),
        }
    }
}

impl List for Dimension<'_> {
    fn len(&self) -> u64 {
        self.list.len() as u64
    }

    fn bound(&self) -> f64 {
        self.bound
    }

    fn seek(&mut self, row: u32) -> Result<Option<u32>, QueryError> {
        loop {
            if self.read != self.block {
                self.block = self.list.seek(self.block, row);
                if self.block >= self.list.blocks() {
                    return Ok(None);
                }
                self.list
                    .read(self.block, &mut self.decoded)
                    .ok_or_else(|| self.index.corruption("a posting list"))?;
                (self.read, self.at) = (self.block, 0);
            }
            let rows = &self.decoded.rows;
            if rows.last().is_none_or(|last| *last < row) {
                self.block += 1;
                continue;
            }
            while let Some(&met) = rows.get(self.at) {
                if met >= row {
                    return Ok(Some(met));
                }
                self.at += 1;
            }
            self.block += 1;
        }
    }

    fn score(&self) -> f64 {
        let code = self.decoded.codes.get(self.at).copied().unwrap_or(0);
        self.unit * f64::from(code.max(1))
    }

    fn pass(&mut self, end: u32, mut tell: impl FnMut(u32, f64)) -> usize {
        let rows = self.decoded.rows.get(self.at..).unwrap_or_default();
        let rows = match rows.last() {
            Some(last) if *last >= end => &rows[..rows.partition_point(|row| *row < end)],
            _ => rows,
        };
        let codes = self.decoded.codes.get(self.at..).unwrap_or_default();
        for (row, code) in rows.iter().zip(codes) {
            tell(*row, self.unit * f64::from((*code).max(1)));
        }
        self.at += rows.len();
        rows.len()
    }
}
