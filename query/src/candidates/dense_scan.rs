//! Exhaustive dense search: every matching row is scored.

use latewood_codecs::DenseQuery;

use super::dense_field::{DenseField, SegmentRows};
use super::{Block, Scope, push_blocks};
use crate::hits::Position;
use crate::top_k::TopK;

/// Rows scored at once, so that their scores stay in the cache until they are looked at.
const TILE: usize = 256;
/// How many matching rows ahead of the one that is scored are fetched.
const AHEAD: usize = 8;

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) top: TopK,
    /// Rows scored.
    pub(crate) rows: u64,
}

/// Scores the matching rows of the segments for which `wanted` holds, and of the memtable.
pub(crate) fn scan(
    scope: &Scope<'_>,
    field: &DenseField<'_>,
    query: &DenseQuery,
    keep: usize,
    wanted: impl Fn(usize) -> bool,
) -> Scanned {
    let mut blocks = Vec::new();
    for ((number, rows), segment) in field.segments.iter().enumerate().zip(0u32..) {
        if let Some(rows) = rows.as_ref().filter(|_| wanted(number)) {
            push_blocks(&mut blocks, segment, &rows.matches);
        }
    }
    let (mut top, mut scored) = scope.scan(&blocks, keep, |block, top| {
        match &field.segments[block.segment as usize] {
            Some(rows) => {
                scope.read_ahead(&rows.matches, block.rows.clone(), |range, wanted| {
                    let planes = rows.rows.planes(range.start as usize..range.end as usize);
                    planes.iter().for_each(|plane| wanted.add(plane));
                });
                scan_block(query, rows, block, top)
            }
            None => 0,
        }
    });
    scored += scan_memtable(scope, field, query, &mut top);
    Scanned { top, rows: scored }
}

fn scan_block(query: &DenseQuery, field: &SegmentRows<'_>, block: &Block, top: &mut TopK) -> u64 {
    let Block { segment, .. } = *block;
    let (rows, matches) = (&field.rows, &field.matches);
    let mut offer = |score: f32, place: u32| {
        if score >= top.threshold() {
            let ordinal = field.row(place);
            top.push(score, Position { segment, ordinal });
        }
    };
    if !matches.is_all() {
        let mut scored = 0;
        let mut ahead = matches.iter_in(block.rows.clone());
        ahead
            .by_ref()
            .take(AHEAD)
            .for_each(|row| rows.prefetch(row as usize));
        for place in matches.iter_in(block.rows.clone()) {
            if let Some(row) = ahead.next() {
                rows.prefetch(row as usize);
            }
            offer(query.score(rows, place as usize), place);
            scored += 1;
        }
        return scored;
    }
    let mut scores = [0.0; TILE];
    let mut first = block.rows.start;
    while first < block.rows.end {
        let count = (block.rows.end - first) as usize;
        let tile = &mut scores[..count.min(TILE)];
        query.score_range(rows, first as usize, tile);
        for (&score, place) in tile.iter().zip(first..) {
            offer(score, place);
        }
        first = first
            .saturating_add(u32::try_from(TILE).unwrap_or(u32::MAX))
            .min(block.rows.end);
    }
    u64::from(block.rows.end - block.rows.start)
}

fn scan_memtable(scope: &Scope<'_>, field: &DenseField<'_>, query: &DenseQuery, top: &mut TopK) -> u64 {
    let segment = scope.memtable_number();
    let memtable = scope.snapshot.memtable();
    let mut scored = 0;
    for &ordinal in scope.matches.memtable() {
        if let Some(vector) = memtable.get(ordinal).and_then(|record| field.of(record)) {
            scored += 1;
            top.push(query.score_f32(vector), Position { segment, ordinal });
        }
    }
    scored
}
