//! First stages: which documents are worth a closer look. Each takes a snapshot and what matches, and returns the best,
//! scored.

pub(crate) mod dense_field;
pub(crate) mod dense_scan;
pub(crate) mod graph;
mod match_scan;
mod matching_walk;
pub(crate) mod maxsim_scan;
mod measure;
pub(crate) mod near_cells;
mod open_walk;
pub(crate) mod probe;
pub(crate) mod refine;
mod rescore;
pub(crate) mod token_index;
pub(crate) mod waiting;

use std::ops::Range;

use latewood_storage::{ReadAhead, Snapshot, Wanted};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::filter::{Matches, SegmentMatches};
use crate::top_k::TopK;

/// What every stage works on.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) matches: &'a Matches,
    pub(crate) pool: Option<&'a ThreadPool>,
    /// Whether pages are worth asking for before they are read.
    pub(crate) ahead: ReadAhead,
}

/// Rows that one task of a scan scores.
const BLOCK_ROWS: u32 = 512;

/// A range of rows of one segment, or of the matching slots of the memtable.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) segment: u32,
    pub(crate) rows: Range<u32>,
}

/// Appends the blocks of rows of which some match.
pub(crate) fn push_blocks(blocks: &mut Vec<Block>, segment: u32, matches: &SegmentMatches) {
    let mut first = 0;
    while matches.count() > 0 && first < matches.rows() {
        let end = first.saturating_add(BLOCK_ROWS).min(matches.rows());
        blocks.push(Block {
            segment,
            rows: first..end,
        });
        first = end;
    }
}

impl<'a> Scope<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, matches: &'a Matches, pool: Option<&'a ThreadPool>) -> Self {
        Self {
            snapshot,
            matches,
            pool,
            ahead: snapshot.read_ahead(),
        }
    }
}

impl Scope<'_> {
    /// The number that stands for the memtable in a position.
    pub(crate) fn memtable_number(&self) -> u32 {
        u32::try_from(self.snapshot.segments().len()).unwrap_or(u32::MAX)
    }

    /// Asks the disk for what a scan reads of the matching rows of a range, which `want` names: in one piece where all match.
    pub(crate) fn read_ahead(
        &self,
        matches: &SegmentMatches,
        rows: Range<u32>,
        want: impl Fn(Range<u32>, &mut Wanted),
    ) {
        if !self.ahead.is_on() {
            return;
        }
        self.ahead.all(|wanted| {
            if matches.is_all() {
                want(rows, wanted);
            } else {
                matches.iter_in(rows).for_each(|row| want(row..row + 1, wanted));
            }
        });
    }

    /// The blocks of the segments for which `wanted` holds.
    pub(crate) fn blocks(&self, wanted: impl Fn(usize) -> bool) -> Vec<Block> {
        let mut blocks = Vec::new();
        for ((number, matches), segment) in self.matches.segments().iter().enumerate().zip(0u32..) {
            if wanted(number) {
                push_blocks(&mut blocks, segment, matches);
            }
        }
        blocks
    }

    /// Whether several threads share the work of a query.
    pub(crate) fn is_shared(&self) -> bool {
        self.pool.is_some_and(|pool| pool.current_num_threads() > 1)
    }

    /// Applies `work` to every item, on the pool when it has more than one thread; results in the items' order.
    pub(crate) fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
        let work = |item: &T| {
            self.snapshot.relieve();
            work(item)
        };
        match self.pool {
            Some(pool) if pool.current_num_threads() > 1 && items.len() > 1 => {
                pool.install(|| items.par_iter().map(&work).collect())
            }
            _ => items.iter().map(work).collect(),
        }
    }

    /// Scores blocks and keeps the best; `score` returns the units of work it did.
    pub(crate) fn scan(
        &self,
        blocks: &[Block],
        keep: usize,
        score: impl Fn(&Block, &mut TopK) -> u64 + Sync + Send,
    ) -> (TopK, u64) {
        match self.pool {
            Some(pool) if pool.current_num_threads() > 1 && blocks.len() > 1 => pool.install(|| {
                let empty = || (TopK::new(keep), 0);
                let fold = |(mut top, work): (TopK, u64), block: &Block| {
                    let more = score(block, &mut top);
                    self.snapshot.relieve();
                    (top, work + more)
                };
                let merge = |(mut top, work): (TopK, u64), (other, more): (TopK, u64)| {
                    top.merge(other);
                    (top, work + more)
                };
                blocks.par_iter().fold(empty, fold).reduce(empty, merge)
            }),
            _ => {
                let mut top = TopK::new(keep);
                let work = |block| {
                    self.snapshot.relieve();
                    score(block, &mut top)
                };
                let work = blocks.iter().map(work).sum();
                (top, work)
            }
        }
    }
}
