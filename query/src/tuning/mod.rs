//! Settings of the token index for a recall that is asked for, found on sampled queries.
//!
//! The exhaustive answer to each query is computed once, and one walk of the index for each n_probe notes where the true
//! hits stand after each step, how far down codes must be read for them, and what each step took. From that follows what
//! every setting of the grid finds and costs; for each target the cheapest is kept whose 95% interval begins at the target
//! or above.

mod breadth;
mod grid;
mod interval;
mod prices;
mod table;
mod trace;
mod truth;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use latewood_codecs::MaxSimQuery;
use latewood_storage::Snapshot;
use rayon::ThreadPool;

pub use breadth::{BreadthEntry, BreadthTable, TunedBreadth, tune_breadth};
pub use interval::{Found, MeasuredRecall};
pub use table::{QuerySource, TUNED_TARGETS, TunedEntry, TunedTable};

use crate::candidates::Scope;
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::estimate::Estimator;
use crate::filter::Matches;
use crate::plan::ProbeSettings;
use crate::statistics::{TokenStatistics, statistics};
use crate::token_scorer::TokenScorer;
use grid::{Grid, MARGINS};
use prices::Prices;
use trace::Trace;
#[cfg(test)]
pub(crate) use trace::found_with;
use truth::Truth;
#[cfg(test)]
pub(crate) use truth::by_interaction;

/// Queries that are measured before time is looked at.
const FEWEST_QUERIES: usize = 48;
/// Queries answered both exhaustively and the faster way, before the faster way is trusted.
const COMPARED_QUERIES: usize = 4;

/// How [`tune`] works.
pub struct TuneOptions<'a> {
    /// The depth of recall@k.
    pub k: usize,
    /// Where the queries come from.
    pub source: QuerySource,
    /// When to stop taking more queries; a few are always measured.
    pub budget: Duration,
    /// Threads; without a pool the caller's.
    pub pool: Option<&'a ThreadPool>,
    /// Hears how many of how many queries are measured, and may break it off.
    pub progress: &'a dyn Fn(u64, u64) -> ControlFlow<()>,
}

/// What a tuning came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuned {
    /// A table.
    Table(TunedTable),
    /// Scanning everything costs no more than the narrowest settings, or there is no index: nothing to tune.
    NotNeeded,
    /// The caller broke it off.
    Cancelled,
}

/// Measures the token index of a snapshot with queries (token matrices row by row, of the schema's dimension), as many of
/// them as the time allows, and keeps the cheapest settings for each of [`TUNED_TARGETS`].
///
/// # Errors
/// A query that is not valid; a segment that cannot be read.
pub fn tune(
    snapshot: &Snapshot,
    queries: &[Vec<f32>],
    cost: &CostModel,
    options: &TuneOptions<'_>,
) -> Result<Tuned, QueryError> {
    let matches = Matches::evaluate(snapshot, None)?;
    let statistics = statistics(snapshot, &matches)?;
    let (Some(tokens), Some(first)) = (&statistics.tokens, queries.first()) else {
        return Ok(Tuned::NotNeeded);
    };
    for query in queries {
        truth::request(query, tokens.dim, options.k).validate(snapshot.schema())?;
    }
    let grid = Grid::of(tokens.indexed_documents, tokens.centroids);
    let typical = truth::request(first, tokens.dim, options.k);
    let estimator = Estimator {
        request: &typical,
        statistics: &statistics,
        cost,
    };
    let unread = [0.0; MARGINS.len()];
    if tokens.centroids == 0 || cheaper_than_a_scan(&grid, &unread, estimator, tokens).is_empty() {
        return Ok(Tuned::NotNeeded);
    }
    let run = Run {
        snapshot,
        matches: &matches,
        dim: tokens.dim,
        k: options.k,
        grid: &grid,
    };
    let Some(traces) = run.traces(queries, tokens.indexed_documents, options)? else {
        return Ok(Tuned::Cancelled);
    };
    let scored = mean_scored(&traces);
    let mut priced = cheaper_than_a_scan(&grid, &scored, estimator, tokens);
    if priced.is_empty() {
        return Ok(Tuned::NotNeeded);
    }
    let prices = Prices::of(&traces);
    priced.sort_by(|a, b| {
        let of = |priced: &Priced| prices.of_settings(priced, &scored, statistics.matching);
        of(a).total_cmp(&of(b))
    });
    Ok(Tuned::Table(TunedTable {
        k: options.k,
        queries: traces.len(),
        source: options.source,
        tokens: tokens.indexed_tokens,
        codebooks: tokens.codebooks.clone(),
        entries: entries(&priced, &traces),
    }))
}

/// A setting with its places in the grid.
#[derive(Clone, Copy)]
struct Priced {
    n_at: usize,
    cut_at: usize,
    margin_at: usize,
    settings: ProbeSettings,
}

/// How many documents a query scores from their codes with each margin, given candidates enough.
fn mean_scored(traces: &[Trace]) -> [f64; MARGINS.len()] {
    MARGINS.map(|margin| {
        let all: usize = traces.iter().map(|trace| trace.scored(margin)).sum();
        all as f64 / traces.len().max(1) as f64
    })
}

/// The settings that are estimated to cost less than a scan; `scored` is how many documents each margin has scored.
fn cheaper_than_a_scan(
    grid: &Grid,
    scored: &[f64],
    estimator: Estimator<'_>,
    tokens: &TokenStatistics,
) -> Vec<Priced> {
    let scan = estimator.maxsim_scan(tokens).microseconds;
    let all = grid
        .settings()
        .map(|([n_at, cut_at, margin_at], settings)| Priced {
            n_at,
            cut_at,
            margin_at,
            settings,
        });
    all.filter(|priced| {
        let scored = scored.get(priced.margin_at).copied().unwrap_or_default();
        let index = estimator.maxsim_index_of(tokens, &priced.settings, scored);
        index.microseconds < scan
    })
    .collect()
}

struct Run<'a> {
    snapshot: &'a Snapshot,
    matches: &'a Matches,
    dim: usize,
    k: usize,
    grid: &'a Grid,
}

impl Run<'_> {
    /// One trace a query, for as many queries as the time allows; none when it was broken off.
    fn traces(
        &self,
        queries: &[Vec<f32>],
        documents: u64,
        options: &TuneOptions<'_>,
    ) -> Result<Option<Vec<Trace>>, QueryError> {
        let begun = Instant::now();
        let scope = self.scope(options.pool);
        let threads = options.pool.map_or(1, ThreadPool::current_num_threads);
        let mut faster = Truth::by_interaction(documents);
        let mut traces = Vec::with_capacity(queries.len());
        for round in queries.chunks(threads) {
            let (done, all) = (traces.len(), queries.len());
            if (options.progress)(done as u64, all as u64).is_break() {
                return Ok(None);
            }
            if done >= FEWEST_QUERIES && begun.elapsed() >= options.budget {
                break;
            }
            let truths: Vec<Truth> = match faster {
                Some(faster) if done >= COMPARED_QUERIES => vec![faster],
                Some(faster) => vec![Truth::Exhaustive, faster],
                None => vec![Truth::Exhaustive],
            };
            for traced in scope.map(round, |query| self.trace(query, &truths)) {
                let (trace, agreed) = traced?;
                traces.push(trace);
                if !agreed {
                    faster = None;
                }
            }
        }
        Ok(Some(traces))
    }

    /// Traces the hits of the first of the `truths`; whether all of them have the same.
    fn trace(&self, query: &[f32], truths: &[Truth]) -> Result<(Trace, bool), QueryError> {
        let scope = self.scope(None);
        let bound = MaxSimQuery::new(self.dim, query)?;
        let mut scorer = TokenScorer::new(self.snapshot, &bound)?;
        scorer.bind()?;
        scorer.complete();
        let answer = |truth: &Truth| match truth {
            Truth::Exhaustive => truth::exhaustive(self.snapshot, query, self.dim, self.k),
            Truth::ByInteraction(depth) => Ok(truth::by_interaction(&scope, &scorer, *depth, self.k)),
        };
        let answers = truths.iter().map(answer).collect::<Result<Vec<_>, _>>()?;
        let agreed = answers.windows(2).all(|pair| pair[0] == pair[1]);
        let hits = answers.into_iter().next().unwrap_or_default();
        Ok((Trace::walk(&scope, &mut scorer, &hits, self.grid)?, agreed))
    }

    fn scope<'a>(&'a self, pool: Option<&'a ThreadPool>) -> Scope<'a> {
        Scope::new(self.snapshot, self.matches, pool)
    }
}

/// A setting and what it gave.
type Measured = (ProbeSettings, MeasuredRecall);

/// For each target the cheapest setting that is sure to meet it, else one that should.
fn entries(priced: &[Priced], traces: &[Trace]) -> Vec<TunedEntry> {
    let measured: Vec<Measured> = priced
        .iter()
        .map(|priced| {
            let found = |trace: &Trace| trace.found(priced.n_at, priced.cut_at, priced.settings.margin);
            let found: Vec<Found> = traces.iter().map(found).collect();
            (priced.settings, MeasuredRecall::of(&found))
        })
        .collect();
    let entry = |target: f64| {
        let sure = measured.iter().find(|(_, measured)| measured.low >= target);
        let (settings, measured) = *sure.or_else(|| likely(&measured, target))?;
        Some(TunedEntry {
            target,
            settings,
            measured,
        })
    };
    TUNED_TARGETS.into_iter().filter_map(entry).collect()
}

/// Where the queries were too few to be sure: the cheapest setting that missed half of what the target allows, or else
/// found most, with its candidates doubled and a wider margin.
fn likely(measured: &[Measured], target: f64) -> Option<&Measured> {
    let half_missed = 1.0 - (1.0 - target) / 2.0;
    let most = || {
        measured
            .iter()
            .reduce(|best, next| if next.1.recall > best.1.recall { next } else { best })
    };
    let half = measured
        .iter()
        .find(|(_, measured)| measured.recall >= half_missed);
    let base = half.or_else(most)?;
    let deepest = measured.iter().map(|(settings, _)| settings.candidates).max()?;
    let candidates = deepest.min(2 * base.0.candidates);
    let wider = MARGINS.into_iter().find(|margin| *margin > base.0.margin);
    let margin = wider.unwrap_or(base.0.margin);
    let as_wide = |(settings, _): &&Measured| {
        settings.n_probe >= base.0.n_probe && settings.candidates >= candidates && settings.margin >= margin
    };
    measured.iter().find(as_wide).or(Some(base))
}
