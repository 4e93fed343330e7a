//! The most similar pairs of documents, by their dense vectors.

use std::collections::BinaryHeap;

use latewood_codecs::{DenseQuery, DenseRows};
use latewood_storage::Snapshot;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

use crate::breadth::Effort;
use crate::candidates::dense_field::DenseField;
use crate::candidates::{Scope, dense_scan, graph};
use crate::error::QueryError;
use crate::filter::{Filter, Matches};
use crate::hits::Position;
use crate::request::MAX_WINDOW;

/// Documents that are compared with all others at once: their vectors stay in the cache.
const BLOCK: usize = 64;
/// Rows that a block is compared with at once.
const TILE: usize = 256;
/// Blocks after which the best pairs of all threads are put together.
const ROUND: usize = 256;
/// Neighbours of each document that are looked for through the graph, itself among them.
const NEIGHBOURS: usize = 11;
/// The beam of those searches.
const BEAM: usize = 64;

/// Two documents, the one that is stored earlier first. Ordered best first: a higher score, then the earlier documents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionPair {
    /// Higher is more similar.
    pub score: f32,
    /// The earlier one.
    pub first: Position,
    /// The later one.
    pub second: Position,
}

impl Eq for PositionPair {}

impl Ord for PositionPair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let places = |pair: &Self| (pair.first, pair.second);
        other
            .score
            .total_cmp(&self.score)
            .then(places(self).cmp(&places(other)))
    }
}

impl PartialOrd for PositionPair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` most similar pairs of the documents that match, best first. Exact: every pair is scored, by blocks, in memory that
/// does not grow with the documents but for their places. Otherwise the ten nearest of each document are found through the
/// graphs (segments without one are scanned), and the best pairs of those kept.
///
/// # Errors
/// A schema without dense vectors, a `k` of 0 or beyond [`MAX_WINDOW`], a filter that does not fit, a segment that cannot be read.
pub fn pairs(
    snapshot: &Snapshot,
    filter: Option<&Filter>,
    (k, exact): (usize, bool),
    pool: Option<&ThreadPool>,
) -> Result<Vec<PositionPair>, QueryError> {
    if !(1..=MAX_WINDOW).contains(&k) {
        return Err(QueryError::Tunable {
            name: "the number of pairs",
            got: k,
            least: 1,
            most: MAX_WINDOW,
        });
    }
    let matches = Matches::evaluate(snapshot, filter)?;
    let rows = Rows::open(snapshot, &matches)?;
    let scope = Scope::new(snapshot, &matches, pool);
    let field = DenseField::open(&scope, None)?;
    let mut best = Vec::new();
    let starts: Vec<usize> = (0..rows.places.len()).step_by(BLOCK).collect();
    for round in starts.chunks(ROUND) {
        let found = scope.map(round, |&start| {
            if exact {
                rows.compare(start, k)
            } else {
                rows.neighbours(start, k, (&scope, &field))
            }
        });
        for pairs in found {
            best.extend(pairs?);
        }
        keep(&mut best, k);
    }
    if !exact {
        // Vectors are stored with rounding, queries are not: a pair has the score that it has from its first document.
        for pair in &mut best {
            pair.score = rows.score(&rows.query(pair.first)?, pair.second);
        }
        best.sort_unstable();
    }
    Ok(best)
}

/// Keeps the best of what may be there twice: pairs are found from both sides.
fn keep(pairs: &mut Vec<PositionPair>, k: usize) {
    pairs.sort_unstable_by_key(|pair| (pair.first, pair.second));
    pairs.dedup_by_key(|pair| (pair.first, pair.second));
    pairs.sort_unstable();
    pairs.truncate(k);
}

/// The dense vectors of the documents that match.
struct Rows<'a> {
    snapshot: &'a Snapshot,
    segments: Vec<Option<DenseRows<'a>>>,
    places: Vec<Position>,
}

impl<'a> Rows<'a> {
    fn open(snapshot: &'a Snapshot, matches: &Matches) -> Result<Self, QueryError> {
        if snapshot.schema().dense.is_none() {
            return Err(QueryError::PlanNeeds {
                plan: "pairs".to_owned(),
                needs: "dense vectors",
                cure: "create the collection with them",
            });
        }
        let mut segments = Vec::with_capacity(snapshot.segments().len());
        for view in snapshot.segments() {
            segments.push(view.segment.dense()?);
        }
        let stored = matches.segments().iter().zip(0u32..);
        let stored =
            stored.flat_map(|(rows, segment)| rows.iter().map(move |ordinal| Position { segment, ordinal }));
        let memtable = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        let waiting = matches.memtable().iter().map(|&ordinal| Position {
            segment: memtable,
            ordinal,
        });
        Ok(Self {
            snapshot,
            places: stored.chain(waiting).collect(),
            segments,
        })
    }

    fn block(&self, start: usize) -> &[Position] {
        &self.places[start..self.places.len().min(start + BLOCK)]
    }

    /// The vector of a document as a query.
    fn query(&self, at: Position) -> Result<DenseQuery, QueryError> {
        let gone = QueryError::OtherSnapshot { what: "filter" };
        let Some(spec) = &self.snapshot.schema().dense else {
            return Err(gone);
        };
        let mut vector = vec![0.0; spec.dim];
        match self.segments.get(at.segment as usize) {
            Some(rows) => rows
                .as_ref()
                .ok_or(gone)?
                .decode(at.ordinal as usize, &mut vector),
            None => {
                let record = self.snapshot.memtable().get(at.ordinal);
                let dense = record.and_then(|record| record.dense.as_deref()).ok_or(gone)?;
                vector.copy_from_slice(dense);
            }
        }
        Ok(DenseQuery::new(spec.metric, spec.dim, &vector)?)
    }

    fn score(&self, query: &DenseQuery, at: Position) -> f32 {
        match self.segments.get(at.segment as usize) {
            Some(Some(rows)) => query.score(rows, at.ordinal as usize),
            Some(None) => f32::NEG_INFINITY,
            None => {
                let record = self.snapshot.memtable().get(at.ordinal);
                let dense = record.and_then(|record| record.dense.as_deref());
                dense.map_or(f32::NEG_INFINITY, |vector| query.score_f32(vector))
            }
        }
    }

    /// The best pairs of a block with itself and all documents behind it.
    fn compare(&self, start: usize, k: usize) -> Result<Vec<PositionPair>, QueryError> {
        let block = self.block(start);
        let queries: Vec<DenseQuery> = block.iter().map(|&at| self.query(at)).collect::<Result<_, _>>()?;
        // The maximum is the worst kept, which is the first to go.
        let mut best = BinaryHeap::with_capacity(k + 1);
        for tile in (start..self.places.len()).step_by(TILE) {
            self.snapshot.relieve();
            let others = &self.places[tile..self.places.len().min(tile + TILE)];
            for ((query, &first), number) in queries.iter().zip(block).zip(start..) {
                for &second in others
                    .get((number + 1).saturating_sub(tile)..)
                    .unwrap_or_default()
                {
                    let score = self.score(query, second);
                    let pair = PositionPair { score, first, second };
                    if best.len() < k {
                        best.push(pair);
                    } else if let Some(mut worst) = best.peek_mut().filter(|worst| pair < **worst) {
                        *worst = pair;
                    }
                }
            }
        }
        Ok(best.into_vec())
    }

    /// The best pairs of the documents of a block with their nearest.
    fn neighbours(
        &self,
        start: usize,
        k: usize,
        (all, field): (&Scope<'_>, &DenseField<'_>),
    ) -> Result<Vec<PositionPair>, QueryError> {
        // Each search runs on the thread of its block.
        let scope = Scope { pool: None, ..*all };
        let mut best = Vec::new();
        for &at in self.block(start) {
            let query = self.query(at)?;
            let mut searched = Vec::new();
            let walked = graph::search(&scope, field, &query, Effort::of(BEAM), NEIGHBOURS, &mut searched);
            walked.scan.iter().for_each(|&number| searched[number] = false);
            let wanted = |segment: usize| !searched.get(segment).copied().unwrap_or(false);
            let mut top = walked.top;
            top.merge(dense_scan::scan(&scope, field, &query, NEIGHBOURS, wanted).top);
            let others = top.into_sorted().into_iter().filter(|near| near.position != at);
            best.extend(others.map(|near| PositionPair {
                score: near.score,
                first: at.min(near.position),
                second: at.max(near.position),
            }));
        }
        keep(&mut best, k);
        Ok(best)
    }
}
