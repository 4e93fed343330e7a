//! Graph search over dense vectors: best-first with a beam, as Malkov and Yashunin describe for HNSW (2016, algorithms 2
//! and 5), by codes of four bits a number; what it found is scored from the dense vectors. Under a filter it walks over the
//! matching rows alone.

use std::cell::{Cell, RefCell};

use latewood_codecs::{DenseQuery, DenseRows, Int4Codec, Int4Query};
use latewood_storage::{GraphSearch, GraphView, Scored, Upcoming};

use super::Scope;
use super::dense_field::{DenseField, SegmentRows};
use super::matching_walk::{Ground, MatchingWalk};
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
    static MATCHING: RefCell<MatchingWalk> = RefCell::default();
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
    if !task.matches.is_all() && task.matches.count() as usize <= ef.saturating_mul(SCANNED) {
        return scan(task.matches, ef, score, fetch);
    }
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
        return walk_matching(task, nearest.row, ef, (score, fetch), hops);
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

/// Walks level 0 over the matching rows. Where that takes more scores than rows match, all of those are scored.
fn walk_matching(
    task: &Task<'_>,
    entry: u32,
    ef: usize,
    (score, fetch): (&impl Fn(u32) -> f32, &impl Fn(u32)),
    before: u64,
) -> Walk {
    let ground = Ground {
        graph: &task.graph,
        matches: task.matches,
    };
    let count = task.matches.count() as usize;
    if count <= ef.saturating_mul(SCANNED_FAR) && ground.is_far(entry) {
        return scan(task.matches, ef, score, fetch);
    }
    let most = u64::from(task.matches.count());
    let (found, hops) = MATCHING.with_borrow_mut(|walk| walk.walk(&ground, entry, (ef, most), score, fetch));
    let hops = before + hops;
    if found.len() >= ef.min(task.matches.count() as usize) {
        return Walk { found, hops };
    }
    // The rows that match hang together too loosely.
    let scanned = scan(task.matches, ef, score, fetch);
    Walk {
        hops: hops + scanned.hops,
        ..scanned
    }
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

/// The `ef` best of all matching rows.
fn scan(matches: &SegmentMatches, ef: usize, score: &impl Fn(u32) -> f32, fetch: &impl Fn(u32)) -> Walk {
    let mut best = TopK::new(ef);
    let mut rows = [0; TILE];
    let (mut matching, mut hops) = (matches.iter(), 0);
    loop {
        let mut filled = 0;
        for (place, row) in rows.iter_mut().zip(matching.by_ref()) {
            *place = row;
            filled += 1;
        }
        for (at, &ordinal) in rows[..filled].iter().enumerate() {
            if let Some(&ahead) = rows[..filled].get(at + AHEAD) {
                fetch(ahead);
            }
            let score = score(ordinal);
            if score >= best.threshold() {
                let segment = 0;
                best.push(score, Position { segment, ordinal });
            }
        }
        hops += filled as u64;
        if filled < TILE {
            break;
        }
    }
    let found = best.into_sorted().into_iter();
    let found = found.map(|near| Scored {
        score: near.score,
        row: near.position.ordinal,
    });
    Walk {
        found: found.collect(),
        hops,
    }
}

/// Rows that a scan of the matches takes from their bitmap at once.
const TILE: usize = 256;
/// Up to so many matching rows for each place of the beam, to score all of them takes no longer than to walk.
const SCANNED: usize = 24;
/// The same where what matches lies far from the query, and a walk must be wide.
const SCANNED_FAR: usize = 1024;
