//! How much of the exhaustive answer the token index and the graph find, and how fast.

use std::time::{Duration, Instant};

use latewood_query::{Found, MeasuredRecall, PlanName, ProbeSettings, QueryError, Stage};
use latewood_storage::DocumentId;
use serde::Serialize;

use super::Collection;
use super::pseudo_queries::{pseudo_queries, pseudo_vectors};
use crate::error::Error;
use crate::search::{Hit, Query, QueryTokens};

/// What a measurement of the recall came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecallReport {
    /// The collection.
    pub collection: String,
    /// Live documents.
    pub documents: u64,
    /// Their tokens, those of deleted documents that still take space included.
    pub tokens: u64,
    /// The depth of recall@k.
    pub k: usize,
    /// Queries measured.
    pub queries: usize,
    /// One for each target, as they were asked; the exhaustive scan (target 1) comes last.
    pub targets: Vec<RecallAtTarget>,
}

/// What asking for one recall gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecallAtTarget {
    /// The recall asked for.
    pub target: f64,
    /// Settings of the token index; none where everything was scanned.
    pub settings: Option<ProbeSettings>,
    /// Breadth of the walk over the graph; none where everything was scanned.
    pub ef_search: Option<usize>,
    /// Recall against the exhaustive answer over the same codes.
    pub recall: MeasuredRecall,
    /// Recall against the exhaustive answer over the original tokens, where they are kept.
    pub original: Option<MeasuredRecall>,
    /// Half of the queries took no longer.
    pub p50_milliseconds: f64,
    /// 95% of the queries took no longer.
    pub p95_milliseconds: f64,
}

/// The exhaustive answers to one query.
struct Truth {
    codes: Vec<DocumentId>,
    original: Option<Vec<DocumentId>>,
}

impl Collection {
    /// Token matrices made of documents of the collection: runs of their tokens, disturbed so that they do not match
    /// themselves. Another seed makes others; `tune` uses one of its own.
    pub fn pseudo_queries(&self, count: usize, seed: u64) -> Result<Vec<QueryTokens>, Error> {
        let dim = self.schema().tokens.as_ref().map_or(0, |tokens| tokens.dim);
        let queries = pseudo_queries(&*self.snapshot()?, count, seed)?;
        Ok(queries
            .into_iter()
            .map(|numbers| QueryTokens::new(numbers, dim))
            .collect())
    }

    /// Asks every query for each of the recalls in `targets`, and exhaustively, on the threads of the database: what was
    /// found, and how long it took. `progress` hears how many of how many searches are done.
    ///
    /// # Errors
    /// No query; a recall or k out of range; a collection without token matrices; what a query is refused for.
    pub fn measure_recall(
        &self,
        queries: &[QueryTokens],
        k: usize,
        targets: &[f64],
        progress: impl Fn(u64, u64),
    ) -> Result<RecallReport, Error> {
        let keeps_original = self
            .schema()
            .tokens
            .as_ref()
            .is_some_and(|tokens| tokens.original.is_some());
        let query = |at: usize| {
            self.query()
                .tokens(queries[at].clone())
                .plan(PlanName::MAXSIM)
                .limit(k)
                .with_payload(false)
        };
        self.measure_targets(queries.len(), &query, keeps_original, k, targets, &progress)
    }

    /// The same for dense vectors: how much of what a scan finds the graph does.
    ///
    /// # Errors
    /// No query; a recall or k out of range; a collection without dense vectors; what a query is refused for.
    pub fn measure_dense_recall(
        &self,
        queries: &[Vec<f32>],
        k: usize,
        targets: &[f64],
        progress: impl Fn(u64, u64),
    ) -> Result<RecallReport, Error> {
        let query = |at: usize| {
            self.query()
                .dense(queries[at].clone())
                .plan(PlanName::DENSE)
                .limit(k)
                .with_payload(false)
        };
        self.measure_targets(queries.len(), &query, false, k, targets, &progress)
    }

    /// Dense vectors made of documents of the collection, each on the way from one to another, and aside of it. Another seed makes others;
    /// `tune_dense` uses one of its own.
    pub fn pseudo_vectors(&self, count: usize, seed: u64) -> Result<Vec<Vec<f32>>, Error> {
        pseudo_vectors(&*self.snapshot()?, count, seed)
    }

    fn measure_targets<'c>(
        &'c self,
        queries: usize,
        query: &dyn Fn(usize) -> Query<'c>,
        keeps_original: bool,
        k: usize,
        targets: &[f64],
        progress: &dyn Fn(u64, u64),
    ) -> Result<RecallReport, Error> {
        if queries == 0 {
            return Err(QueryError::NothingToSearch.into());
        }
        let searches = queries * (targets.len() + 1 + usize::from(keeps_original));
        let done = std::cell::Cell::new(0_u64);
        let tick = || {
            done.set(done.get() + 1);
            progress(done.get(), searches as u64);
        };
        // Touches the files once: what is measured is a collection in use.
        query(0).recall(1.0).run()?;
        let mut truths = Vec::with_capacity(queries);
        let mut scans = Vec::with_capacity(queries);
        for at in 0..queries {
            let (hits, time) = timed(query(at).recall(1.0))?;
            scans.push(time);
            tick();
            let original = if keeps_original {
                let (hits, _) = timed(query(at).exact(true))?;
                tick();
                Some(ids(hits))
            } else {
                None
            };
            truths.push(Truth {
                codes: ids(hits),
                original,
            });
        }
        let mut rows = Vec::with_capacity(targets.len() + 1);
        for &target in targets.iter().filter(|target| **target != 1.0) {
            let settings = settings_of(query(0).recall(target))?;
            let (mut answers, mut times) = (Vec::new(), Vec::new());
            for at in 0..queries {
                let (hits, time) = timed(query(at).recall(target))?;
                answers.push(ids(hits));
                times.push(time);
                tick();
            }
            rows.push(row(target, settings, &answers, &truths, times));
        }
        let answers: Vec<Vec<DocumentId>> = truths.iter().map(|truth| truth.codes.clone()).collect();
        rows.push(row(1.0, Settings::default(), &answers, &truths, scans));
        let snapshot = self.snapshot()?;
        Ok(RecallReport {
            collection: self.name().to_owned(),
            documents: snapshot.len(),
            tokens: snapshot.num_tokens(),
            k,
            queries,
            targets: rows,
        })
    }
}

fn timed(query: Query<'_>) -> Result<(Vec<Hit>, Duration), Error> {
    let begun = Instant::now();
    let hits = query.run()?;
    Ok((hits, begun.elapsed()))
}

fn ids(hits: Vec<Hit>) -> Vec<DocumentId> {
    hits.into_iter().map(|hit| hit.id).collect()
}

/// The settings of the index that a query would search; none of them where it scans everything.
#[derive(Clone, Copy, Default)]
struct Settings {
    token_index: Option<ProbeSettings>,
    ef_search: Option<usize>,
}

fn settings_of(query: Query<'_>) -> Result<Settings, Error> {
    let plan = query.explain()?;
    let mut settings = Settings::default();
    match plan.stages.first().map(|planned| &planned.stage) {
        Some(Stage::MaxsimIndex(token_index)) => settings.token_index = Some(*token_index),
        Some(Stage::DenseGraph { ef_search, .. }) => settings.ef_search = Some(*ef_search),
        _ => {}
    }
    Ok(settings)
}

fn row(
    target: f64,
    settings: Settings,
    answers: &[Vec<DocumentId>],
    truths: &[Truth],
    mut times: Vec<Duration>,
) -> RecallAtTarget {
    times.sort_unstable();
    let percentile = |share: usize| {
        let rank = (times.len() * share).div_ceil(100).max(1) - 1;
        times.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let against = |truth: &dyn Fn(&Truth) -> Option<Vec<DocumentId>>| {
        let found: Option<Vec<Found>> = answers
            .iter()
            .zip(truths)
            .map(|(answer, all)| Some(shared(answer, &truth(all)?)))
            .collect();
        found.map(|found| MeasuredRecall::of(&found))
    };
    RecallAtTarget {
        target,
        settings: settings.token_index,
        ef_search: settings.ef_search,
        recall: against(&|truth| Some(truth.codes.clone())).unwrap_or_default(),
        original: against(&|truth| truth.original.clone()),
        p50_milliseconds: percentile(50),
        p95_milliseconds: percentile(95),
    }
}

fn shared(answer: &[DocumentId], truth: &[DocumentId]) -> Found {
    let found = truth.iter().filter(|id| answer.contains(id)).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Found {
        found: count(found),
        of: count(truth.len()),
    }
}
