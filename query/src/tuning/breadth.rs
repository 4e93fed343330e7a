//! The breadth of the graph walk for a recall that is asked for, found on sampled queries.
//!
//! Each query is answered exhaustively, and by the graph with each breadth of a ladder. For each target the narrowest breadth
//! is kept whose 95% interval begins at the target or above.

use std::collections::HashSet;
use std::time::Instant;

use latewood_codecs::DenseQuery;
use latewood_storage::Snapshot;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval::{Found, MeasuredRecall};
use super::table::{QuerySource, TUNED_TARGETS};
use super::{FEWEST_QUERIES, TuneOptions};
use crate::candidates::Scope;
use crate::candidates::near_cells::CellSample;
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::execute::{Resources, search};
use crate::filter::Matches;
use crate::hits::Position;
use crate::plan::{PlanChoice, PlanName};
use crate::request::{MAX_EFFORT, QueryRequest};
use crate::statistics::{DenseStatistics, statistics};

/// The breadths that are tried, in the order of their cost.
const LADDER: [usize; 17] = [
    10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024,
];
/// Queries between two looks at the time.
const AT_ONCE: usize = 16;
/// A table serves until the graphs have more than this many times the rows that it was measured on, or fewer than one in as
/// many.
const MOST_GROWTH: u64 = 2;

/// A breadth kept for a target, and what it was measured to give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreadthEntry {
    /// The recall that is aimed at.
    pub target: f64,
    /// The narrowest breadth whose interval begins at the target or above; where the queries were too few for any to, the
    /// narrowest that missed no more than half of what the target allows, or the widest tried.
    pub ef_search: usize,
    /// Matching rows of the cells near a query that are scored instead, under a filter that lets through a tenth: as many as find
    /// such a share of the best, measured likewise. `None` where there are no cells, or it was not measured.
    #[serde(default)]
    pub cell_rows: Option<usize>,
    /// What the breadth gave.
    pub measured: MeasuredRecall,
}

/// Breadths of the graph walk for each of [`TUNED_TARGETS`], measured against the exhaustive answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreadthTable {
    /// The depth of recall@k.
    pub k: usize,
    /// Queries measured.
    pub queries: usize,
    /// Where they came from.
    pub source: QuerySource,
    /// Rows of the graphs when it was measured.
    pub rows: u64,
    /// By target, rising.
    pub entries: Vec<BreadthEntry>,
}

impl BreadthTable {
    /// The entry for a recall: that of the lowest target which is at least as high, or the highest there is.
    pub fn entry(&self, recall: f64) -> Option<&BreadthEntry> {
        // A target written as 0.95 and one computed as 0.95 may differ in the last bit.
        let reaches = |entry: &&BreadthEntry| entry.target + 1e-9 >= recall;
        self.entries.iter().find(reaches).or(self.entries.last())
    }

    /// Why the table no longer speaks for the collection, if it does not.
    pub fn outdated(&self, dense: &DenseStatistics) -> Option<String> {
        let grown = dense.graph_rows > self.rows.saturating_mul(MOST_GROWTH);
        let shrunk = dense.graph_rows.saturating_mul(MOST_GROWTH) < self.rows;
        (grown || shrunk).then(|| {
            format!(
                "it was measured on graphs of {} rows, there are {} now",
                self.rows, dense.graph_rows
            )
        })
    }

    /// Whether everything in it is in range; what was read from a catalog may have been damaged.
    pub fn is_sound(&self) -> bool {
        let sound = |entry: &BreadthEntry| {
            let (target, ef_search) = (entry.target, entry.ef_search);
            target > 0.0
                && target <= 1.0
                && entry.measured.is_sound()
                && (1..=MAX_EFFORT).contains(&ef_search)
        };
        self.k > 0
            && self.queries > 0
            && !self.entries.is_empty()
            && self.entries.iter().all(sound)
            && self.entries.is_sorted_by(|a, b| a.target < b.target)
    }
}

/// What the tuning of the graph walk came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TunedBreadth {
    /// A table.
    Table(BreadthTable),
    /// There is no graph: nothing to tune.
    NotNeeded,
    /// The caller broke it off.
    Cancelled,
}

/// Measures the graphs of a snapshot with dense vectors of the schema's dimension, as many of them as the time allows.
///
/// # Errors
/// A query that is not valid; a segment that cannot be read.
pub fn tune_breadth(
    snapshot: &Snapshot,
    queries: &[Vec<f32>],
    options: &TuneOptions<'_>,
) -> Result<TunedBreadth, QueryError> {
    let matches = Matches::evaluate(snapshot, None)?;
    let dense = statistics(snapshot, &matches)?.dense;
    let Some(dense) = dense.filter(|dense| dense.graphs > 0 && !queries.is_empty()) else {
        return Ok(TunedBreadth::NotNeeded);
    };
    let begun = Instant::now();
    let scope = Scope::new(snapshot, &matches, None);
    let cells = CellSample::open(&scope)?;
    let mut found: Vec<Measured> = Vec::with_capacity(queries.len());
    for some in queries.chunks(AT_ONCE) {
        if found.len() >= FEWEST_QUERIES && begun.elapsed() >= options.budget {
            break;
        }
        let k = options.k;
        let one = |query: &Vec<f32>| measure(snapshot, query, cells.as_ref(), k);
        let measured: Result<Vec<Measured>, QueryError> = match options.pool {
            Some(pool) => pool.install(|| some.par_iter().map(one).collect()),
            None => some.iter().map(one).collect(),
        };
        found.extend(measured?);
        if (options.progress)(found.len() as u64, queries.len() as u64).is_break() {
            return Ok(TunedBreadth::Cancelled);
        }
    }
    Ok(TunedBreadth::Table(BreadthTable {
        k: options.k,
        queries: found.len(),
        source: options.source,
        rows: dense.graph_rows,
        entries: entries(&found),
    }))
}

/// What is found of the true hits of a query.
struct Measured {
    /// With each breadth of the ladder.
    by_breadth: Vec<Found>,
    /// How many rows of near cells are scored before each hit.
    before: Vec<usize>,
}

fn measure(
    snapshot: &Snapshot,
    query: &[f32],
    cells: Option<&CellSample<'_>>,
    k: usize,
) -> Result<Measured, QueryError> {
    let answer = |request: &QueryRequest| -> Result<HashSet<Position>, QueryError> {
        let (_, outcome) = search(snapshot, request, &cheap_graphs(), Resources::default())?;
        Ok(outcome.hits.iter().map(|hit| hit.position).collect())
    };
    let request = QueryRequest {
        dense: Some(query.to_vec()),
        plan: PlanChoice::Named(PlanName::DENSE),
        limit: k,
        ..QueryRequest::default()
    };
    let truth = answer(&QueryRequest {
        exact: true,
        ..request.clone()
    })?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let with = |ef_search: usize| -> Result<Found, QueryError> {
        let hits = answer(&QueryRequest {
            ef_search: Some(ef_search),
            ..request.clone()
        })?;
        Ok(Found {
            found: count(hits.intersection(&truth).count()),
            of: count(truth.len()),
        })
    };
    let before = match (cells, &snapshot.schema().dense) {
        (Some(cells), Some(spec)) => cells.before(&DenseQuery::new(spec.metric, spec.dim, query)?, k),
        _ => Vec::new(),
    };
    Ok(Measured {
        by_breadth: LADDER
            .into_iter()
            .map(with)
            .collect::<Result<Vec<Found>, QueryError>>()?,
        before,
    })
}

/// A cost model under which no scan is taken where there is a graph: it is the graph that is measured.
fn cheap_graphs() -> CostModel {
    CostModel {
        graph_hop: 1e-9,
        ..CostModel::default()
    }
}

/// What each target gets, of the hits of each query.
fn entries(found: &[Measured]) -> Vec<BreadthEntry> {
    let breadths: Vec<(usize, MeasuredRecall)> = LADDER
        .into_iter()
        .enumerate()
        .map(|(at, ef_search)| {
            let of = |query: &Measured| query.by_breadth.get(at).copied();
            let column: Vec<Found> = found.iter().filter_map(of).collect();
            (ef_search, MeasuredRecall::of(&column))
        })
        .collect();
    let cells = cell_ladder(found);
    let entry = |target: f64| {
        let (ef_search, measured) = *narrowest(&breadths, target)?;
        Some(BreadthEntry {
            target,
            ef_search,
            cell_rows: narrowest(&cells, target).map(|(rows, _)| *rows),
            measured,
        })
    };
    TUNED_TARGETS.into_iter().filter_map(entry).collect()
}

/// The first setting that is sure to reach a target, or likely to, or the last.
fn narrowest(settings: &[(usize, MeasuredRecall)], target: f64) -> Option<&(usize, MeasuredRecall)> {
    let sure = settings.iter().find(|(_, recall)| recall.low >= target);
    let likely = |(_, recall): &&(usize, MeasuredRecall)| 1.0 - recall.recall <= (1.0 - target) / 2.0;
    sure.or_else(|| settings.iter().find(likely)).or(settings.last())
}

/// Numbers of rows of near cells, rising by a quarter until all hits are before them, and what each finds.
fn cell_ladder(found: &[Measured]) -> Vec<(usize, MeasuredRecall)> {
    const FEWEST: usize = 64;
    let last = found.iter().flat_map(|query| &query.before).max();
    let Some(&last) = last else {
        return Vec::new();
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let rows = std::iter::successors(Some(FEWEST), |rows| Some(rows + rows / 4));
    let up_to = 1 + rows.clone().take_while(|rows| *rows <= last).count();
    let recall = |rows: usize| {
        let of = |query: &Measured| Found {
            found: count(query.before.iter().filter(|before| **before < rows).count()),
            of: count(query.before.len()),
        };
        let found: Vec<Found> = found.iter().map(of).collect();
        (rows, MeasuredRecall::of(&found))
    };
    rows.take(up_to).map(recall).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queries of ten hits, of which the breadths of the ladder find more and more; of one query in `hard` but half of that.
    fn queries(count: usize, hard: usize) -> Vec<Measured> {
        let of = |query: usize| {
            let found = |at: usize| {
                let all = u32::try_from(at + 3).unwrap().min(10);
                let found = if (query + 1).is_multiple_of(hard) {
                    all / 2
                } else {
                    all
                };
                Found { found, of: 10 }
            };
            Measured {
                by_breadth: (0..LADDER.len()).map(found).collect(),
                before: (0..10).map(|hit| 100 * hit + query % 7).collect(),
            }
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn each_target_gets_the_narrowest_breadth_that_is_sure_to_reach_it() {
        let entries = entries(&queries(400, 1_000_000));
        let breadths: Vec<usize> = entries.iter().map(|entry| entry.ef_search).collect();
        // 3 hits at first, one more at each step: 0.8 at the sixth, of which the interval begins below; all at the eighth.
        assert_eq!(breadths, [40, 48, 48, 48, 48, 48, 48]);
        assert!(entries[1].measured.low > 0.9 && entries[1].measured.recall > 0.99);
    }

    #[test]
    fn what_no_breadth_reaches_gets_the_widest() {
        let entries = entries(&queries(400, 4));
        assert!(entries.iter().all(|entry| entry.measured.recall < 0.9));
        assert_eq!(entries[0].ef_search, 48, "0.875, surely above 0.8");
        assert!(entries[1..].iter().all(|entry| entry.ef_search == 1024));
    }

    #[test]
    fn a_table_is_found_by_recall_and_ends_with_growth_or_damage() {
        let table = BreadthTable {
            k: 10,
            queries: 400,
            source: QuerySource::Documents,
            rows: 1_000,
            entries: entries(&queries(400, 4)),
        };
        assert_eq!(table.entry(0.75).unwrap().target.to_bits(), 0.8_f64.to_bits());
        assert_eq!(table.entry(1.0).unwrap().ef_search, 1024);
        let dense = |graph_rows| DenseStatistics {
            graph_rows,
            ..DenseStatistics::default()
        };
        assert!(table.outdated(&dense(2_000)).is_none() && table.outdated(&dense(500)).is_none());
        assert!(table.outdated(&dense(2_001)).is_some() && table.outdated(&dense(499)).is_some());
        let json = serde_json::to_string(&table).unwrap();
        assert!(json.len() < 2_000 && serde_json::from_str::<BreadthTable>(&json).unwrap() == table);
        assert!(table.is_sound());
        let damaged: [fn(&mut BreadthTable); 4] = [
            |t| t.entries.clear(),
            |t| t.entries[0].ef_search = 0,
            |t| t.entries[1].measured.low = f64::NAN,
            |t| t.entries[2].target = 0.5,
        ];
        for damage in damaged {
            let mut table = table.clone();
            damage(&mut table);
            assert!(!table.is_sound(), "{table:?}");
        }
    }
}
