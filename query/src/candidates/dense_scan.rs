//! Exhaustive dense search: every matching row is scored.

use latewood_codecs::{DenseQuery, DenseRows};

use super::{Block, Scope};
use crate::error::QueryError;
use crate::hits::Position;
use crate::top_k::TopK;

/// Rows scored at once, so that their scores stay in the cache until they are looked at.
const TILE: usize = 256;

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) top: TopK,
    /// Rows scored.
    pub(crate) rows: u64,
}

/// Scores the matching rows of the segments for which `wanted` holds, and of the memtable.
pub(crate) fn scan(
    scope: &Scope<'_>,
    query: &DenseQuery,
    keep: usize,
    wanted: impl Fn(usize) -> bool,
) -> Result<Scanned, QueryError> {
    let mut rows = Vec::with_capacity(scope.snapshot.segments().len());
    for view in scope.snapshot.segments() {
        rows.push(view.segment.dense()?);
    }
    let blocks = scope.blocks(|segment| wanted(segment) && rows[segment].is_some());
    let (mut top, mut scored) = scope.scan(&blocks, keep, |block, top| match &rows[block.segment as usize] {
        Some(rows) => scan_block(scope, query, rows, block, top),
        None => 0,
    });
    scored += scan_memtable(scope, query, &mut top);
    Ok(Scanned { top, rows: scored })
}

fn scan_block(
    scope: &Scope<'_>,
    query: &DenseQuery,
    rows: &DenseRows<'_>,
    block: &Block,
    top: &mut TopK,
) -> u64 {
    let Block { segment, .. } = *block;
    let matches = &scope.matches.segments()[segment as usize];
    if !matches.is_all() {
        let mut scored = 0;
        for ordinal in matches.iter_in(block.rows.clone()) {
            let score = query.score(rows, ordinal as usize);
            scored += 1;
            if score >= top.threshold() {
                top.push(score, Position { segment, ordinal });
            }
        }
        return scored;
    }
    let mut scores = [0.0; TILE];
    let mut first = block.rows.start;
    while first < block.rows.end {
        let count = (block.rows.end - first) as usize;
        let tile = &mut scores[..count.min(TILE)];
        query.score_range(rows, first as usize, tile);
        for (&score, ordinal) in tile.iter().zip(first..) {
            if score >= top.threshold() {
                top.push(score, Position { segment, ordinal });
            }
        }
        first = first
            .saturating_add(u32::try_from(TILE).unwrap_or(u32::MAX))
            .min(block.rows.end);
    }
    u64::from(block.rows.end - block.rows.start)
}

fn scan_memtable(scope: &Scope<'_>, query: &DenseQuery, top: &mut TopK) -> u64 {
    let segment = scope.memtable_number();
    let memtable = scope.snapshot.memtable();
    let mut scored = 0;
    for &ordinal in scope.matches.memtable() {
        if let Some(vector) = memtable.get(ordinal).and_then(|record| record.dense.as_deref()) {
            scored += 1;
            top.push(query.score_f32(vector), Position { segment, ordinal });
        }
    }
    scored
}
