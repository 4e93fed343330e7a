//! Graph search over dense vectors: best-first with a beam, as Malkov and Yashunin describe for HNSW (2016, algorithms 2
//! and 5), that walks over every row and collects only those that match. It walks by codes of four bits a number; what it
//! found is scored from the dense vectors.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use latewood_codecs::{DenseQuery, DenseRows, Int4Codec, Int4Query};
use latewood_storage::{GraphSearch, GraphView, Scored, Upcoming};

use super::Scope;
use super::dense_field::{DenseField, SegmentRows};
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
    field: &DenseField<'_>,
    query: &DenseQuery,
    ef_search: usize,
    keep: usize,
    searched: &mut Vec<bool>,
) -> Searched {
    let mut tasks = Vec::new();
    for ((number, rows), segment) in field.segments.iter().enumerate().zip(0u32..) {
        let parts = rows.as_ref().and_then(|rows| Some((rows.graph?, rows)));
        searched.push(parts.is_some());
        if let Some((graph, field)) = parts {
            tasks.push(Task {
                number,
                segment,
                graph,
                rows: field.rows,
                matches: &field.matches,
                field,
            });
        }
    }
    let sketch = tasks.first().and_then(|task| {
        let rows = task.rows;
        let codec = Int4Codec::new(rows.metric(), rows.dim());
        tasks
            .iter()
            .any(|task| task.graph.codes().is_some())
            .then(|| codec.query(query.vector()))
    });
    let walks = scope.map(&tasks, |task| {
        walk(task, (query, sketch.as_ref()), ef_search.max(keep))
    });
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
        for Scored { score, row: place } in walked.found {
            let ordinal = task.field.row(place);
            out.top.push(
                score,
                Position {
                    segment: task.segment,
                    ordinal,
                },
            );
        }
    }
    out
}

struct Task<'a> {
    number: usize,
    segment: u32,
    graph: GraphView<'a>,
    rows: DenseRows<'a>,
    matches: &'a SegmentMatches,
    field: &'a SegmentRows<'a>,
}

/// The rows that a walk found, scored from the dense vectors, and how many it scored.
struct Walk {
    found: Vec<Scored>,
    hops: u64,
}

thread_local! {
    // Which rows were seen takes a bit a row; kept from one query of a thread to the next.
    static SEARCH: RefCell<GraphSearch> = RefCell::default();
}

fn walk(task: &Task<'_>, query: (&DenseQuery, Option<&Int4Query>), ef: usize) -> Walk {
    let exact = |row: u32| query.0.score(&task.rows, row as usize);
    match (task.graph.codes(), query.1) {
        (Some(codes), Some(sketch)) => {
            let score = |row: u32| sketch.score(&codes, row as usize);
            let fetch = |row: u32| codes.prefetch(row as usize);
            let mut walk = walk_by(task, ef, &score, &fetch);
            for near in walk.found.iter().take(AHEAD) {
                task.rows.prefetch(near.row as usize);
            }
            for at in 0..walk.found.len() {
                if let Some(ahead) = walk.found.get(at + AHEAD) {
                    task.rows.prefetch(ahead.row as usize);
                }
                let near = &mut walk.found[at];
                near.score = exact(near.row);
            }
            walk
        }
        // A graph of an earlier format has no codes.
        _ => walk_by(task, ef, &exact, &|row| task.rows.prefetch(row as usize)),
    }
}

/// How many rows ahead of the one that is scored are fetched.
const AHEAD: usize = 8;

fn walk_by(task: &Task<'_>, ef: usize, score: &impl Fn(u32) -> f32, fetch: &impl Fn(u32)) -> Walk {
    let (graph, mut hops) = (&task.graph, 1);
    let Some(entry) = graph.entry() else {
        let found = Vec::new();
        return Walk { found, hops: 0 };
    };
    let scored = |row: u32| Scored {
        score: score(row),
        row,
    };
    let mut nearest = scored(entry);
    for level in (1..=graph.max_level()).rev() {
        nearest = descend(graph, level, nearest, &scored, fetch, &mut hops);
    }
    if !task.matches.is_all() {
        return beam(task, nearest, ef, &scored, fetch, hops);
    }
    let reached = Cell::new(hops);
    let found = SEARCH.with_borrow_mut(|search| {
        search.search(
            graph.len(),
            &[nearest],
            ef,
            |row| graph.neighbours(0, row),
            |upcoming| match upcoming {
                Upcoming::Row(row) => fetch(row),
                Upcoming::Links(row) => graph.prefetch(row),
            },
            |row| {
                reached.set(reached.get() + 1);
                score(row)
            },
        )
    });
    let hops = reached.get();
    Walk { found, hops }
}

/// Walks greedily to the nearest row of a level.
fn descend(
    graph: &GraphView<'_>,
    level: u8,
    from: Scored,
    scored: &impl Fn(u32) -> Scored,
    fetch: &impl Fn(u32),
    hops: &mut u64,
) -> Scored {
    let mut nearest = from;
    loop {
        let neighbours = graph.neighbours(level, nearest.row);
        *hops += neighbours.len() as u64;
        neighbours.iter().for_each(|row| fetch(*row));
        match neighbours.iter().map(|row| scored(*row)).max() {
            Some(better) if better > nearest => nearest = better,
            _ => return nearest,
        }
    }
}

/// Walks level 0 with a beam of the `ef` best matching rows. It gives up, with what it has, when it has scored more
/// rows than match: a scan is cheaper then.
fn beam(
    task: &Task<'_>,
    entry: Scored,
    ef: usize,
    scored: &impl Fn(u32) -> Scored,
    fetch: &impl Fn(u32),
    mut hops: u64,
) -> Walk {
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
    let mut best: BinaryHeap<Reverse<Scored>> = BinaryHeap::with_capacity(ef + 1);
    visit(entry.row);
    if task.matches.contains(entry.row) {
        best.push(Reverse(entry));
    }
    let allowed = u64::from(task.matches.count());
    let mut fresh = Vec::new();
    while let Some(nearest) = frontier.pop() {
        let full = best.len() >= ef;
        if full && best.peek().is_some_and(|worst| nearest < worst.0) {
            break;
        }
        if hops > allowed {
            best.clear();
            break;
        }
        let rows = task.graph.neighbours(0, nearest.row).iter().copied();
        fresh.clear();
        fresh.extend(rows.filter(|row| visit(*row)).inspect(|row| fetch(*row)));
        hops += fresh.len() as u64;
        for &row in &fresh {
            let near = scored(row);
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
