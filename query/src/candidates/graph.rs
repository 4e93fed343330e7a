//! Graph search over dense vectors: best-first with a beam, as Malkov and Yashunin describe for HNSW (2016, algorithms 2
//! and 5), by codes of four bits a number; what it found is scored from the dense vectors. Under a filter it walks over
//! all rows and keeps those that match, or over these alone, or scores matching rows by their codes: all, or those of near cells.

use std::cell::{Cell, RefCell};

use latewood_codecs::{DenseQuery, DenseRows};
use latewood_storage::{GraphSearch, GraphView, ReadAhead, Scored, Upcoming};

use super::Scope;
use super::dense_field::{DenseField, SegmentRows};
use super::match_scan::MatchScan;
use super::matching_walk::{Ground, MatchingWalk};
use super::measure::{ByCodes, ByVectors, Measure};
use super::near_cells::NearCells;
use super::open_walk::{OpenWalk, Width};
use super::rescore::{FEWEST, Rescored};
use crate::breadth::Effort;
use crate::filter::SegmentMatches;
use crate::hits::Position;
use crate::top_k::TopK;

/// What a graph search found.
pub(crate) struct Searched {
    pub(crate) top: TopK,
    /// Rows scored on the way.
    pub(crate) hops: u64,
    /// Segments of which matching rows were scored by their codes in place of a walk: all, and those of near cells.
    pub(crate) scanned: usize,
    pub(crate) probed: usize,
    /// Segments whose beam left too few matches, to be scanned.
    pub(crate) scan: Vec<usize>,
}

impl Searched {
    /// What was done in place of walks, if anything was.
    pub(crate) fn note(&self) -> Option<String> {
        let ways = [
            (self.scanned, "all matching rows scored by their codes"),
            (
                self.probed,
                "the matching rows of near cells scored by their codes",
            ),
            (self.scan.len(), "the beam met too few matches: scanned instead"),
        ];
        let said = ways.into_iter().filter(|(segments, _)| *segments > 0);
        let said: Vec<String> = said
            .map(|(segments, way)| format!("{way} ({segments})"))
            .collect();
        (!said.is_empty()).then(|| format!("segments by another way than a walk: {}", said.join("; ")))
    }
}

/// Searches the graphs of all segments that have one; `searched` says which.
pub(crate) fn search(
    scope: &Scope<'_>,
    field: &DenseField<'_>,
    query: &DenseQuery,
    effort: Effort,
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
        let wanted = Wanted {
            ef: effort.ef_search.max(keep),
            keep,
            cell_rows: effort.cell_rows,
        };
        walk(task, query, wanted, scope.ahead)
    });
    let mut out = Searched {
        top: TopK::new(keep),
        hops: 0,
        scanned: 0,
        probed: 0,
        scan: Vec::new(),
    };
    for (task, walked) in tasks.iter().zip(walks) {
        out.hops += walked.hops;
        match walked.way {
            Way::Graph => {}
            Way::AllMatches => out.scanned += 1,
            Way::NearCells => out.probed += 1,
        }
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
    way: Way,
}

/// How rows were found.
enum Way {
    Graph,
    AllMatches,
    NearCells,
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
    cell_rows: Option<usize>,
}

fn walk(task: &Task<'_>, query: &DenseQuery, wanted: Wanted, ahead: ReadAhead) -> Walk {
    let rows = task.rows;
    let exact = ByVectors { rows, query, ahead };
    match task.graph.codes() {
        Some(codes) => {
            let sketch = query.sketch();
            let by_codes = ByCodes { codes, sketch, ahead };
            walk_by(task, wanted, &by_codes, &exact)
        }
        // A graph of an earlier format has no codes.
        None => walk_by(task, wanted, &exact, &exact),
    }
}

/// Finds rows by one measure, and the best of them by another.
fn walk_by(task: &Task<'_>, wanted: Wanted, by: &impl Measure, exact: &impl Measure) -> Walk {
    let near = find(task, wanted, by);
    let mut best = Rescored::new(exact, wanted.keep);
    let (hops, way) = match near {
        Found::Walked(found, hops) => {
            best.add_sorted(&found);
            (hops, Way::Graph)
        }
        Found::Scan(scanned, hops) => SCAN.with_borrow_mut(|scan| {
            let (rows, way) = match scanned {
                Scanned::All => (scan.gather(task.matches), Way::AllMatches),
                Scanned::Near(near) => (scan.gather_near(near, task.matches), Way::NearCells),
            };
            let found = scan.best(wanted.ef.max(FEWEST), by);
            if !best.add_sorted(&found)
                && let Some(last) = found.last()
            {
                // Where many are about as near, more than the beam may be among the best.
                let others = scan
                    .at_least(best.least())
                    .filter(|other| last.is_better_than(other));
                best.add_all(&others.collect::<Vec<_>>());
            }
            (hops + rows as u64, way)
        }),
    };
    Walk {
        found: best.finish(),
        hops,
        way,
    }
}

/// What a walk found, best first, or which rows are to be scored instead; and how many were.
enum Found<'t> {
    Walked(Vec<Scored>, u64),
    Scan(Scanned<'t>, u64),
}

/// What a scan goes through.
enum Scanned<'t> {
    /// All matching rows.
    All,
    /// Matching rows of the cells nearest to the query.
    Near(NearCells<'t>),
}

fn find<'t>(task: &'t Task<'_>, wanted: Wanted, by: &'t impl Measure) -> Found<'t> {
    let (graph, mut hops) = (&task.graph, 1);
    let count = f64::from(task.matches.count());
    let ef = wanted.ef;
    if !task.matches.is_all() && count <= open_cost(ef, 1.0) {
        return Found::Scan(Scanned::All, 0);
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
                Upcoming::Place(row) => {
                    graph.prefetch_place(row);
                    graph.read_ahead(row, by.ahead());
                }
                Upcoming::Links(row) => {
                    graph.prefetch(row);
                    graph.read_ahead(row, by.ahead());
                }
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
fn find_matching<'t>(
    task: &'t Task<'_>,
    nearest: Scored,
    Wanted { ef, keep, cell_rows }: Wanted,
    by: &'t impl Measure,
    before: u64,
) -> Found<'t> {
    let ground = Ground {
        graph: &task.graph,
        matches: task.matches,
    };
    let near = ground.share_near(nearest.row);
    let is_far = near < FAR * ground.share();
    let places = if is_far { FAR_WALK } else { MATCHING_WALK };
    let (scan, matching) = (task.matches.count() as usize, places.saturating_mul(ef));
    let is_even = !is_far && near < NEAR * ground.share() && near < MOST_PROBED;
    let cells = NearCells::of(task.graph.cells(), by, (ef, cell_rows), near).filter(|_| is_even);
    let probe = cells.map_or(f64::INFINITY, |cells| cells.cost(near));
    let (other, mut hops) = (rows(scan.min(matching)).min(probe), before);
    if !is_far && open_cost(ef, near) < other {
        // A walk that takes longer than what it was chosen before has gone wrong.
        let most = hops_of(other);
        let width = Width { ef, keep, most };
        let (found, walked) = OPEN.with_borrow_mut(|walk| walk.walk(&ground, nearest, width, by));
        hops += walked;
        if let Some(found) = found {
            return Found::Walked(found, hops);
        }
    }
    if let Some(cells) = cells.filter(|_| probe <= rows(scan.min(matching))) {
        return Found::Scan(Scanned::Near(cells), hops);
    }
    if scan <= matching {
        return Found::Scan(Scanned::All, hops);
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
    Found::Scan(Scanned::All, hops)
}

/// What a walk over all rows takes where this share of them matches, in rows of a scan.
fn open_cost(ef: usize, share: f64) -> f64 {
    OPEN_WALK * rows(ef) / share.sqrt()
}

/// How many rows a walk reaches in the time of so many rows of a scan.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, above 0"
)]
fn hops_of(rows: f64) -> u64 {
    (rows / HOP) as u64
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
const HOP: f64 = 10.0;
/// What a walk over all rows takes for each place of its beam, in rows of a scan.
const OPEN_WALK: f64 = 100.0;
/// The same of a walk over matching rows alone: what it takes and more, for a scan misses none.
const MATCHING_WALK: usize = 2_000;
/// The same where what matches lies far from the query, and such a walk misses one in six of the best: a scan is taken while it
/// can be borne.
const FAR_WALK: usize = 25_000;
/// Where more match round that row than elsewhere, by this, or more than this share of all, a walk takes less than cells for as many of
/// the best.
const NEAR: f64 = 3.0;
const MOST_PROBED: f64 = 0.3;
/// Where fewer match round the row that is nearest to the query than elsewhere, by this, a walk from there finds too few of the
/// best.
const FAR: f64 = 0.5;
