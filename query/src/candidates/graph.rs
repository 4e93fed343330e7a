//! Graph search over dense vectors: best-first with a beam, as Malkov and Yashunin describe for HNSW (2016, algorithms 2
//! and 5), by codes of four bits a number; what it found is scored from the dense vectors. Under a filter it walks over the
//! matching rows alone.

use std::cell::{Cell, RefCell};

use latewood_codecs::{DenseQuery, DenseRows};
use latewood_storage::{GraphSearch, GraphView, Scored, Upcoming};

use super::Scope;
use super::dense_field::{DenseField, SegmentRows};
use super::match_scan::MatchScan;
use super::matching_walk::{Ground, MatchingWalk};
use super::measure::{ByCodes, ByVectors, Measure};
use super::open_walk::{OpenWalk, Width};
use super::rescore::{FEWEST, Rescored};
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
    let walks = scope.map(&tasks, |task| {
        let ef = ef_search.max(keep);
        walk(task, query, Wanted { ef, keep })
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
    static OPEN: RefCell<OpenWalk> = RefCell::default();
    static SCAN: RefCell<MatchScan> = RefCell::default();
}

/// How wide a search is: its beam, and how many rows are wanted.
#[derive(Clone, Copy)]
struct Wanted {
    ef: usize,
    keep: usize,
}

fn walk(task: &Task<'_>, query: &DenseQuery, wanted: Wanted) -> Walk {
    let rows = task.rows;
    let exact = ByVectors { rows, query };
    match task.graph.codes() {
        Some(codes) => {
            let sketch = query.sketch();
            walk_by(task, wanted, &ByCodes { codes, sketch }, &exact)
        }
        // A graph of an earlier format has no codes.
        None => walk_by(task, wanted, &exact, &exact),
    }
}

/// Finds rows by one measure, and the best of them by another.
fn walk_by(task: &Task<'_>, wanted: Wanted, by: &impl Measure, exact: &impl Measure) -> Walk {
    let near = find(task, wanted, by);
    let mut best = Rescored::new(exact, wanted.keep);
    let hops = match near {
        Found::Walked(found, hops) => {
            best.add_sorted(&found);
            hops
        }
        Found::Scan(hops) => SCAN.with_borrow_mut(|scan| {
            let found = scan.scan(task.matches, wanted.ef.max(FEWEST), by);
            if !best.add_sorted(&found)
                && let Some(last) = found.last()
            {
                // Where many are about as near, more than the beam may be among the best.
                let others = scan
                    .at_least(best.least())
                    .filter(|other| last.is_better_than(other));
                best.add_all(&others.collect::<Vec<_>>());
            }
            hops + u64::from(task.matches.count())
        }),
    };
    Walk {
        found: best.finish(),
        hops,
    }
}

/// What a walk found, best first, or that all matching rows are to be scored; and how many were.
enum Found {
    Walked(Vec<Scored>, u64),
    Scan(u64),
}

fn find(task: &Task<'_>, wanted: Wanted, by: &impl Measure) -> Found {
    let (graph, mut hops) = (&task.graph, 1);
    let count = f64::from(task.matches.count());
    let ef = wanted.ef;
    if !task.matches.is_all() && count <= open_cost(ef, 1.0) {
        return Found::Scan(0);
    }
    let Some(entry) = graph.entry() else {
        return Found::Walked(Vec::new(), 0);
    };
    let mut nearest = Scored {
        score: by.score(entry),
        row: entry,
    };
    for level in (1..=graph.max_level()).rev() {
        nearest = descend(graph, level, nearest, by, &mut hops);
    }
    if !task.matches.is_all() {
        return find_matching(task, nearest, wanted, by, hops);
    }
    let reached = Cell::new(hops);
    let found = SEARCH.with_borrow_mut(|search| {
        search.search(
            graph.len(),
            &[nearest],
            ef,
            |row| graph.neighbours(0, row),
            |upcoming| match upcoming {
                Upcoming::Row(row) => by.fetch(row),
                Upcoming::Place(row) => graph.prefetch_place(row),
                Upcoming::Links(row) => graph.prefetch(row),
            },
            |rows, scores| {
                reached.set(reached.get() + rows.len() as u64);
                by.score_some(rows, scores);
            },
        )
    });
    Found::Walked(found, reached.get())
}

/// Walks level 0 over all rows, or over the matching ones alone, or leaves it to a scan of those: whichever should take least, by
/// how many match round the row that is nearest to the query.
fn find_matching(
    task: &Task<'_>,
    nearest: Scored,
    Wanted { ef, keep }: Wanted,
    by: &impl Measure,
    before: u64,
) -> Found {
    let ground = Ground {
        graph: &task.graph,
        matches: task.matches,
    };
    let near = ground.share_near(nearest.row);
    let is_far = near < FAR * ground.share();
    let places = if is_far { FAR_WALK } else { MATCHING_WALK };
    let (scan, matching) = (task.matches.count() as usize, places.saturating_mul(ef));
    let (other, mut hops) = (scan.min(matching), before);
    if !is_far && open_cost(ef, near) < rows(other) {
        // A walk that takes longer than what it was chosen before has gone wrong.
        let most = (other / HOP) as u64;
        let width = Width { ef, keep, most };
        let (found, walked) = OPEN.with_borrow_mut(|walk| walk.walk(&ground, nearest, width, by));
        hops += walked;
        if let Some(found) = found {
            return Found::Walked(found, hops);
        }
    }
    if scan <= matching {
        return Found::Scan(hops);
    }
    let most = u64::from(task.matches.count());
    let (score, fetch) = (|row| by.score(row), |row| by.fetch(row));
    // Matching rows hang together more loosely than all rows do.
    let ef = ef.saturating_mul(2);
    let walk = |walk: &mut MatchingWalk| walk.walk(&ground, nearest.row, (ef, most), &score, &fetch);
    let (found, walked) = MATCHING.with_borrow_mut(walk);
    hops += walked;
    if found.len() >= ef.min(task.matches.count() as usize) {
        return Found::Walked(found, hops);
    }
    // The rows that match hang together too loosely.
    Found::Scan(hops)
}

/// What a walk over all rows takes where this share of them matches, in rows of a scan.
fn open_cost(ef: usize, share: f64) -> f64 {
    OPEN_WALK * rows(ef) / share.sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn rows(count: usize) -> f64 {
    count as f64
}

/// Walks greedily to the nearest row of a level.
fn descend(graph: &GraphView<'_>, level: u8, from: Scored, by: &impl Measure, hops: &mut u64) -> Scored {
    let mut nearest = from;
    let (mut rows, mut scores) = (Vec::new(), Vec::new());
    loop {
        rows.clear();
        rows.extend(graph.neighbours(level, nearest.row).inspect(|row| by.fetch(*row)));
        *hops += rows.len() as u64;
        scores.resize(rows.len(), 0.0);
        by.score_some(&rows, &mut scores);
        let scored = rows.iter().zip(&scores);
        match scored.map(|(&row, &score)| Scored { score, row }).max() {
            Some(better) if better > nearest => nearest = better,
            _ => return nearest,
        }
    }
}

/// What a row that a walk reaches takes, in rows of a scan.
const HOP: usize = 10;
/// What a walk over all rows takes for each place of its beam, in rows of a scan.
const OPEN_WALK: f64 = 110.0;
/// The same of a walk over matching rows alone: what it takes and more, for a scan misses none.
const MATCHING_WALK: usize = 2_000;
/// The same where what matches lies far from the query, and such a walk misses one in six of the best: a scan is taken while it
/// can be borne.
const FAR_WALK: usize = 25_000;
/// Where fewer match round the row that is nearest to the query than elsewhere, by this, a walk from there finds too few of the
/// best.
const FAR: f64 = 0.5;
