//! What a unit of work costs on this machine: measured by running queries, and kept with the collection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use latewood_query::{
    Corrections, CostModel, Filter, Matches, Plan, PlanName, Profile, QueryRequest, Reranker, Resources,
    StageProfile, search,
};
use latewood_storage::{Record, Snapshot};

use super::Collection;
use super::costs::CALIBRATION;
use super::documents::{positions, record_at};
use crate::error::Error;

/// Documents that stand in for queries.
const QUERIES: usize = 32;
/// How far apart the documents of two queries in a row are.
const STRIDE: usize = 5;
/// Hits that they want.
const LIMITS: [usize; 4] = [10, 1, 100, 30];
/// How long the queries may take in all.
const TIME: Duration = Duration::from_millis(1_600);
/// Tokens of a document that make a query.
const QUERY_TOKENS: usize = 16;
/// Words of a document that make a query for the reranker.
const QUERY_WORDS: usize = 8;
/// Documents that the reranker reads a query.
const RERANK_DEPTH: usize = 8;
/// Less work than this says nothing about what a unit costs.
const LEAST_WORK: f64 = 64.0;

/// Time and work of a stage in one query.
#[derive(Clone, Copy)]
struct Measured {
    microseconds: f64,
    work: f64,
}

/// What each stage took, by its name.
type Stages = HashMap<String, Vec<Measured>>;

impl Collection {
    /// Measures what a unit of each kind of work costs here, for the planner's estimates: a few queries, made of stored
    /// documents, run by every plan that the collection can do; then others, by which the estimates are checked and
    /// corrected. It takes at most about two seconds beside loading the models, the first query of each plan being run in any
    /// case. The result is kept in the catalog; `optimize` ends with it.
    pub fn calibrate(&self) -> Result<CostModel, Error> {
        let snapshot = self.snapshot()?;
        let documents = sample(&snapshot)?;
        // A reranker that cannot be loaded is not measured; queries that need it will say so.
        let reranker = self.reranker().ok();
        let mut run = Measurement {
            snapshot: &snapshot,
            reranker: reranker.as_deref(),
            stages: Stages::new(),
            begun: Instant::now(),
        };
        let usual = CostModel::default();
        let (first, second) = documents.split_at(documents.len().div_ceil(2));
        run.each(
            first,
            TIME / 2,
            &usual,
            |_| (),
            |stages, _, profile| {
                profile.stages.iter().for_each(|stage| add(stages, stage));
            },
        )?;
        let mut cost = fitted(
            &snapshot,
            &run.stages,
            CostModel {
                corrections: Corrections::default(),
                ..(*self.cost_model()).clone()
            },
        );
        let planned_with = cost.clone();
        run.begun = Instant::now();
        let second = if second.is_empty() { first } else { second };
        // An encoder that cannot be loaded is not measured.
        let encoder = self.encoder().ok();
        let mut encoded = Vec::new();
        // Queries come one after the other from an encoder, which leaves the caches to them as it will later.
        let encode = |text: &str| {
            let begun = Instant::now();
            if encoder
                .as_ref()
                .is_some_and(|encoder| encoder.encode_query(text).is_ok())
            {
                encoded.push((text.to_owned(), begun.elapsed().as_secs_f64() * 1e6));
            }
        };
        run.each(second, TIME / 2, &planned_with, encode, |_, plan, profile| {
            cost.observe(plan, profile);
        })?;
        for (text, microseconds) in &encoded {
            cost.observe_encoding(text, *microseconds);
        }
        if !self.shared.read_only {
            self.catalog_put(CALIBRATION, &cost)?;
        }
        self.keep_costs(Arc::new(cost.clone()));
        Ok(cost)
    }
}

/// Queries that are run to be measured.
struct Measurement<'a> {
    snapshot: &'a Snapshot,
    reranker: Option<&'a dyn Reranker>,
    stages: Stages,
    begun: Instant,
}

impl Measurement<'_> {
    /// Runs the queries made of documents by every plan, until the time is over.
    fn each(
        &mut self,
        documents: &[Record],
        time: Duration,
        cost: &CostModel,
        mut before: impl FnMut(&str),
        mut seen: impl FnMut(&mut Stages, &Plan, &Profile),
    ) -> Result<(), Error> {
        for round in 0..documents.len() {
            // One query after the other is another one, as it will be; the caches help no more than they will then.
            for (place, plan) in PlanName::ALL.into_iter().enumerate() {
                if round > 0 && self.begun.elapsed() > time {
                    return Ok(());
                }
                let at = (round + STRIDE * place) % documents.len();
                let Some(record) = documents.get(at) else { continue };
                let request = QueryRequest {
                    plan: plan.clone().into(),
                    limit: LIMITS[round % LIMITS.len()],
                    filter: if round % 3 == 2 {
                        filter_of(self.snapshot, record)
                    } else {
                        None
                    },
                    ..query_of(record)
                };
                if !self.runs(&plan, &request) {
                    continue;
                }
                if let Some(text) = &request.text {
                    before(text);
                }
                self.run(&request, cost, &mut seen)?;
                if !plan.reranks() && !plan.rescores() {
                    let exact = QueryRequest {
                        exact: true,
                        ..request
                    };
                    self.run(&exact, cost, &mut seen)?;
                }
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        request: &QueryRequest,
        cost: &CostModel,
        seen: &mut impl FnMut(&mut Stages, &Plan, &Profile),
    ) -> Result<(), Error> {
        let resources = Resources {
            reranker: self.reranker,
            ..Resources::default()
        };
        let (plan, outcome) = search(self.snapshot, request, cost, resources)?;
        seen(&mut self.stages, &plan, &outcome.profile);
        Ok(())
    }

    fn runs(&self, plan: &PlanName, request: &QueryRequest) -> bool {
        let lacks_vectors =
            plan.uses_dense() && request.dense.is_none() || plan.uses_tokens() && request.tokens.is_none();
        let lacks_words =
            plan.uses_words() && (self.snapshot.schema().lexical.is_none() || request.text.is_none());
        let lacks_reranker = plan.reranks() && (self.reranker.is_none() || request.text.is_none());
        // What runs side by side takes what each takes alone.
        let composed = plan.legs().len() > 1 || plan.uses_words() && plan.uses_tokens();
        !(lacks_vectors || lacks_words || lacks_reranker || composed)
    }
}

/// Documents that share the value of a field with one.
fn filter_of(snapshot: &Snapshot, record: &Record) -> Option<Filter> {
    let fields = snapshot.schema().fields.iter();
    fields
        .filter_map(|field| Some((field.name.clone(), record.payload.get(&field.name)?)))
        .find_map(|(name, value)| match value {
            serde_json::Value::String(text) => Some(Filter::eq(name, text.as_str())),
            serde_json::Value::Number(number) => Some(Filter::eq(name, number.as_i64()?)),
            _ => None,
        })
}

/// A query as a document might have been asked for.
fn query_of(record: &Record) -> QueryRequest {
    QueryRequest {
        dense: record.dense.clone(),
        tokens: record.tokens.as_ref().map(|tokens| {
            let numbers = tokens.to_f32();
            (
                numbers.into_iter().take(QUERY_TOKENS * tokens.dim()).collect(),
                tokens.dim(),
            )
        }),
        text: record.text.as_ref().map(|text| first_words(text)),
        rerank_depth: Some(RERANK_DEPTH),
        ..QueryRequest::default()
    }
}

fn add(stages: &mut Stages, stage: &StageProfile) {
    let work = if stage.name == "texts" {
        stage.candidates_in
    } else {
        stage.work
    };
    stages.entry(stage.name.clone()).or_default().push(Measured {
        microseconds: stage.microseconds,
        work: work as f64,
    });
}

/// What a unit of work takes: the median over the queries, as a busy machine holds some of them up for long. Each counts
/// by its work. None where too little was done to tell.
fn unit(measured: &[Measured]) -> Option<f64> {
    let all: f64 = measured.iter().map(|m| m.work).sum();
    if all < LEAST_WORK {
        return None;
    }
    let mut units: Vec<(f64, f64)> = measured
        .iter()
        .filter(|m| m.work > 0.0)
        .map(|m| (m.microseconds / m.work, m.work))
        .collect();
    units.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut below = 0.0;
    let median = units.iter().find(|(_, work)| {
        below += work;
        2.0 * below >= all
    });
    median.map(|(unit, _)| *unit).filter(|unit| *unit > 0.0)
}

/// Documents spread evenly over the collection.
fn sample(snapshot: &Snapshot) -> Result<Vec<Record>, Error> {
    let matches = Matches::evaluate(snapshot, None)?;
    let total = usize::try_from(matches.count()).unwrap_or(usize::MAX);
    let mut records = Vec::with_capacity(QUERIES);
    for at in positions(&matches)
        .step_by((total / QUERIES).max(1))
        .take(QUERIES)
    {
        records.extend(record_at(snapshot, at)?);
    }
    Ok(records)
}

/// The cost model with every constant replaced that was measured.
fn fitted(snapshot: &Snapshot, stages: &Stages, before: CostModel) -> CostModel {
    let unit = |names: &[&str]| {
        let all: Vec<Measured> = names
            .iter()
            .filter_map(|name| stages.get(*name))
            .flatten()
            .copied()
            .collect();
        unit(&all)
    };
    let schema = snapshot.schema();
    let mut cost = before.clone();
    if let Some(dense) = &schema.dense {
        let dim = dense.dim as f64;
        set(
            &mut cost.dense_row_per_1000_dims,
            unit(&["dense scan"]),
            1000.0 / dim,
        );
        set(
            &mut cost.graph_hop,
            unit(&["dense graph"]),
            1.0 / (0.5 + dim / 768.0),
        );
    }
    if let Some(tokens) = &schema.tokens {
        let scale = 128.0 / tokens.dim as f64;
        set(&mut cost.centroid_pair, unit(&["maxsim: centroids"]), scale);
        set(&mut cost.term_posting, unit(&["bm25"]), 1.0);
        set(&mut cost.posting, unit(&["maxsim index: postings"]), 1.0);
        set(
            &mut cost.interaction_pair,
            unit(&["maxsim index: interaction"]),
            1.0,
        );
        let refined = unit(&["maxsim index: codes"]);
        set(&mut cost.refined_pair, refined, scale);
        // Where nothing was scanned, a scan costs as much more as it does by default.
        let usual = CostModel::default();
        let more = usual.maxsim_pair / usual.refined_pair;
        let scanned = unit(&["maxsim scan: codes"]).or(refined.map(|unit| unit * more));
        set(&mut cost.maxsim_pair, scanned, scale);
        let exact = [
            "maxsim scan",
            "maxsim scan: exact",
            "maxsim index: exact",
            "maxsim rescore",
        ];
        set(&mut cost.exact_pair, unit(&exact), scale);
    }
    set(&mut cost.text_read, unit(&["texts"]), 1.0);
    let tokens_read = mean_tokens(snapshot) + QUERY_TOKENS as f64;
    set(&mut cost.rerank_token, unit(&["rerank"]), 1.0 / tokens_read);
    if cost.is_sound() { cost } else { before }
}

fn set(constant: &mut f64, measured: Option<f64>, scale: f64) {
    if let Some(measured) = measured {
        *constant = measured * scale;
    }
}

/// Tokens of a document, or what is usual where none are stored.
fn mean_tokens(snapshot: &Snapshot) -> f64 {
    const USUAL: f64 = 128.0;
    if snapshot.schema().tokens.is_none() || snapshot.is_empty() {
        return USUAL;
    }
    snapshot.num_tokens() as f64 / snapshot.len() as f64
}

fn first_words(text: &str) -> String {
    text.split_whitespace()
        .take(QUERY_WORDS)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_was_held_up_does_not_count() {
        let measured = |microseconds, work| Measured { microseconds, work };
        let steady = measured(200.0, 100.0);
        assert_eq!(unit(&[steady, measured(90_000.0, 100.0), steady]), Some(2.0));
        assert_eq!(
            unit(&[measured(1.0, 10.0), steady]),
            Some(2.0),
            "a small stage counts for little"
        );
        assert_eq!(
            unit(&[measured(1.0, 10.0), measured(9.0, 0.0)]),
            None,
            "too little work"
        );
        assert_eq!(unit(&[]), None);
    }
}
