//! `latewood eval`

use std::fmt::Write;
use std::time::Instant;

use serde::Serialize;

use super::args::{EvalArgs, Global};
use super::latency::{Latencies, rounded};
use super::output::{Failure, print, print_json};
use super::progress;
use super::search::tuned;
use crate::evaluation::{Judgments, Measures, mean_measures, pareto_front};
use crate::import::{TextQuery, read_queries};
use crate::{Collection, PlanChoice, PlanName};

/// How many hits are looked at: recall@100 needs as many.
const DEPTH: usize = 100;

/// One plan, judged.
#[derive(Debug, Serialize)]
struct Row {
    plan: String,
    queries: usize,
    #[serde(rename = "ndcg@10")]
    ndcg_at_10: f64,
    #[serde(rename = "mrr@10")]
    mrr_at_10: f64,
    #[serde(rename = "recall@10")]
    recall_at_10: f64,
    #[serde(rename = "recall@100")]
    recall_at_100: f64,
    p50_ms: f64,
    p95_ms: f64,
    /// Bytes of stored data read, and operations of scores without those of models: means of a query.
    bytes: f64,
    flops: f64,
    /// Whether no other plan is as quick (p50) and as good (nDCG@10), and better in one.
    pareto: bool,
}

pub(super) fn run(global: &Global, args: &EvalArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, None)?;
    let mut queries = read_queries(&args.queries)?;
    queries.truncate(args.limit_queries.unwrap_or(usize::MAX));
    let plans = if args.plans.is_empty() {
        possible_plans(&collection, args)
    } else {
        args.plans.clone()
    };
    let Some(qrels) = &args.qrels else {
        return super::agreement::run(global, args, &collection, plans, &queries);
    };
    let judgments = Judgments::read(qrels)?;
    queries.retain(|query| judgments.has_relevant(&query.id));
    if queries.is_empty() {
        let message = format!(
            "none of the queries of {} has a relevant document in {}",
            args.queries.display(),
            qrels.display()
        );
        return Err(Failure::Said(
            message,
            "check that both files use the same query ids",
        ));
    }
    let mut rows = Vec::with_capacity(plans.len());
    for plan in plans {
        let ran = Ran::ask(global, args, &collection, &plan, &queries, false)?;
        rows.push(judge(&plan, &ran, &queries, &judgments));
    }
    let points: Vec<(f64, f64)> = rows.iter().map(|row| (row.p50_ms, row.ndcg_at_10)).collect();
    for (row, on_front) in rows.iter_mut().zip(pareto_front(&points)) {
        row.pareto = on_front;
    }
    if global.json {
        print_json(&rows)
    } else {
        print(as_text(&rows))
    }
}

pub(super) fn possible_plans(collection: &Collection, args: &EvalArgs) -> Vec<PlanChoice> {
    let schema = collection.schema();
    let can_rerank = schema.reranker.is_some() || args.tuning.reranker.is_some();
    PlanName::ALL
        .into_iter()
        .filter(|plan| !plan.uses_dense() || schema.dense.is_some())
        .filter(|plan| !plan.uses_words() || schema.lexical.is_some())
        .filter(|plan| !plan.uses_tokens() || schema.tokens.is_some())
        .filter(|plan| !plan.reranks() || can_rerank)
        .map(PlanChoice::Named)
        .collect()
}

/// What a plan answered to each query, and what it took.
pub(super) struct Ran {
    pub(super) rankings: Vec<Vec<String>>,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    /// Means of a query.
    pub(super) bytes: f64,
    pub(super) flops: f64,
}

impl Ran {
    pub(super) fn ask(
        global: &Global,
        args: &EvalArgs,
        collection: &Collection,
        plan: &PlanChoice,
        queries: &[TextQuery],
        exact: bool,
    ) -> Result<Self, Failure> {
        let build = |text: &str| {
            let query = collection
                .query()
                .text(text)
                .plan(plan.clone())
                .limit(DEPTH)
                .with_payload(false);
            let query = tuned(query, &args.tuning);
            if exact { query.exact(true) } else { query }
        };
        if let Some(query) = queries.first() {
            // Loads the models and touches the files once: what is measured is a collection in use.
            build(&query.text).run()?;
        }
        let mut latencies = Latencies::default();
        let (mut bytes, mut flops) = (0.0, 0.0);
        let mut rankings = Vec::with_capacity(queries.len());
        let bar = progress::bar(global, "eval", Some(queries.len() as u64));
        bar.set_message(plan.to_string());
        for query in queries {
            let request = build(&query.text);
            let begun = Instant::now();
            let analysis = request.analyze()?;
            latencies.add(begun.elapsed());
            for stage in &analysis.profile.stages {
                bytes += stage.bytes as f64;
                flops += stage.flops as f64;
            }
            rankings.push(analysis.hits.iter().map(|hit| hit.id.to_string()).collect());
            bar.inc(1);
        }
        bar.finish_and_clear();
        let of_query = |sum: f64| rounded(sum / queries.len().max(1) as f64, 0);
        Ok(Self {
            rankings,
            p50_ms: rounded(latencies.percentile(0.5), 4),
            p95_ms: rounded(latencies.percentile(0.95), 4),
            bytes: of_query(bytes),
            flops: of_query(flops),
        })
    }
}

fn judge(plan: &PlanChoice, ran: &Ran, queries: &[TextQuery], judgments: &Judgments) -> Row {
    let measured: Vec<Measures> = queries
        .iter()
        .zip(&ran.rankings)
        .filter_map(|(query, ranking)| Measures::of(judgments, &query.id, ranking))
        .collect();
    let mean = mean_measures(&measured);
    Row {
        plan: plan.to_string(),
        queries: measured.len(),
        ndcg_at_10: rounded(mean.ndcg_at_10, 6),
        mrr_at_10: rounded(mean.mrr_at_10, 6),
        recall_at_10: rounded(mean.recall_at_10, 6),
        recall_at_100: rounded(mean.recall_at_100, 6),
        p50_ms: ran.p50_ms,
        p95_ms: ran.p95_ms,
        bytes: ran.bytes,
        flops: ran.flops,
        pareto: false,
    }
}

fn as_text(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<20} {:>8} {:>8} {:>8} {:>10} {:>11} {:>9} {:>9} {:>10} {:>9}\n",
        "plan",
        "queries",
        "nDCG@10",
        "MRR@10",
        "recall@10",
        "recall@100",
        "p50 ms",
        "p95 ms",
        "kB/query",
        "Mflops"
    );
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<20} {:>8} {:>8.4} {:>8.4} {:>10.4} {:>11.4} {:>9.3} {:>9.3} {:>10.1} {:>9.2}{}",
            row.plan,
            row.queries,
            row.ndcg_at_10,
            row.mrr_at_10,
            row.recall_at_10,
            row.recall_at_100,
            row.p50_ms,
            row.p95_ms,
            row.bytes / 1e3,
            row.flops / 1e6,
            if row.pareto { " *" } else { "" },
        );
    }
    text.push_str("* no other plan is as quick (p50) and as good (nDCG@10), and better in one\n");
    text
}
