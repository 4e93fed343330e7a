//! Graph search over dense vectors: best-first with a beam, as Malkov and Yashunin describe for HNSW (2016, algorithms 2
//! and 5), that walks over every row and collects only those that match.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use latewood_codecs::{DenseQuery, DenseRows};
use latewood_storage::GraphView;

use super::Scope;
use crate::error::QueryError;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::top_k::TopK;

/// What a graph search found.
pub(crate) struct Searched {
    pub(crate) top: TopK,
    /// Rows scored on the way.
    pub(crate) hops: u64,
    /// Segments whose beam left too few matches, to be scanned.
    pub(crate) scan: Vec<usize>,
}

/// Searches the graphs of all segments that have one; `searched` says which.
pub(crate) fn search(
    scope: &Scope<'_>,
    query: &DenseQuery,
    ef_search: usize,
    keep: usize,
    searched: &mut Vec<bool>,
) -> Result<Searched, QueryError> {
    let mut tasks = Vec::new();
    for ((number, view), segment) in scope.snapshot.segments().iter().enumerate().zip(0u32..) {
        let parts = view.segment.graph()?.zip(view.segment.dense()?);
        searched.push(parts.is_some());
        if let Some((graph, rows)) = parts {
            tasks.push(Task {
                number,
                segment,
                graph,
                rows,
                matches: &scope.matches.segments()[number],
            });
        }
    }
    let walks = scope.map(&tasks, |task| walk(task, query, ef_search.max(keep)));
    let mut out = Searched {
        top: TopK::new(keep),
        hops: 0,
        scan: Vec::new(),
    };
    for (task, walked) in tasks.iter().zip(walks) {
        out.hops += walked.hops;
        // If enough match, enough are returned: a beam that met too few gives way to a scan.
        if walked.found.len() < keep.min(task.matches.count() as usize) {
            out.scan.push(task.number);
            continue;
        }
        for Near {
            score,
            row: Reverse(ordinal),
        } in walked.found
        {
            out.top.push(
                score,
                Position {
                    segment: task.segment,
                    ordinal,
                },
            );
        }
    }
    Ok(out)
}

struct Task<'a> {
    number: usize,
    segment: u32,
    graph: GraphView<'a>,
    rows: DenseRows<'a>,
    matches: &'a SegmentMatches,
}

/// A row and its score; greater is nearer, and among equals the earlier row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Near {
    score: f32,
    row: Reverse<u32>,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Walk {
    found: Vec<Near>,
    hops: u64,
}

fn walk(task: &Task<'_>, query: &DenseQuery, ef: usize) -> Walk {
    let Some(entry) = task.graph.entry() else {
        return Walk {
            found: Vec::new(),
            hops: 0,
        };
    };
    let score = |row: u32| Near {
        score: query.score(&task.rows, row as usize),
        row: Reverse(row),
    };
    let mut hops = 1;
    let mut nearest = score(entry);
    for level in (1..=task.graph.max_level()).rev() {
        nearest = descend(&task.graph, level, nearest, &score, &mut hops);
    }
    beam(task, nearest, ef, &score, hops)
}

/// Walks greedily to the nearest row of a level.
fn descend(
    graph: &GraphView<'_>,
    level: u8,
    from: Near,
    score: &impl Fn(u32) -> Near,
    hops: &mut u64,
) -> Near {
    let mut nearest = from;
    loop {
        let neighbours = graph.neighbours(level, nearest.row.0);
        *hops += neighbours.len() as u64;
        match neighbours.iter().map(|row| score(*row)).max() {
            Some(better) if better > nearest => nearest = better,
            _ => return nearest,
        }
    }
}

/// Walks level 0 with a beam of the `ef` best matching rows. It gives up, with what it has, when it has scored more
/// rows than match: a scan is cheaper then.
fn beam(task: &Task<'_>, entry: Near, ef: usize, score: &impl Fn(u32) -> Near, mut hops: u64) -> Walk {
    let mut seen = vec![0u64; (task.matches.rows() as usize).div_ceil(64)];
    let mut visit = |row: u32| match seen.get_mut((row / 64) as usize) {
        Some(word) => {
            let bit = 1 << (row % 64);
            let first = *word & bit == 0;
            *word |= bit;
            first
        }
        None => false,
    };
    let mut frontier = BinaryHeap::from([entry]);
    let mut best: BinaryHeap<Reverse<Near>> = BinaryHeap::with_capacity(ef + 1);
    visit(entry.row.0);
    if task.matches.contains(entry.row.0) {
        best.push(Reverse(entry));
    }
    let allowed = if task.matches.is_all() {
        u64::MAX
    } else {
        u64::from(task.matches.count())
    };
    while let Some(nearest) = frontier.pop() {
        let full = best.len() >= ef;
        if full && best.peek().is_some_and(|worst| nearest < worst.0) {
            break;
        }
        if hops > allowed {
            best.clear();
            break;
        }
        for &row in task.graph.neighbours(0, nearest.row.0) {
            if !visit(row) {
                continue;
            }
            hops += 1;
            let near = score(row);
            if best.len() < ef || best.peek().is_some_and(|worst| near > worst.0) {
                frontier.push(near);
                if task.matches.contains(row) {
                    best.push(Reverse(near));
                    if best.len() > ef {
                        best.pop();
                    }
                }
            }
        }
    }
    Walk {
        found: best.into_iter().map(|near| near.0).collect(),
        hops,
    }
}
