//! `latewood tune-fusion`

use std::fmt::Write;

use super::args::{Global, TuneFusionArgs};
use super::output::{Failure, print, print_json};
use crate::evaluation::Judgments;
use crate::import::read_queries;
use crate::{PlanChoice, PlanName, TunedFusion};

pub(super) fn run(global: &Global, args: &TuneFusionArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, None)?;
    let judgments = Judgments::read(&args.qrels)?;
    let mut queries = read_queries(&args.queries)?;
    queries.truncate(args.limit_queries.unwrap_or(usize::MAX));
    let queries: Vec<(String, String)> = queries.into_iter().map(|query| (query.id, query.text)).collect();
    let plan = match &args.plan {
        PlanChoice::Named(plan) => plan.clone(),
        PlanChoice::Auto => PlanName::BM25_BESIDE_MAXSIM,
    };
    let tuned = collection.tune_fusion(plan, &queries, &judgments, args.folds)?;
    if global.json {
        print_json(&tuned)
    } else {
        print(as_text(&tuned))
    }
}

fn as_text(tuned: &TunedFusion) -> String {
    let mut text = format!("{}: nDCG@10 of {} queries\n", tuned.plan, tuned.queries);
    // Writing to a string does not fail.
    for (leg, ndcg) in &tuned.alone {
        let _ = writeln!(text, "  {ndcg:.4}  {leg:?} alone");
    }
    let _ = writeln!(text, "  {:.4}  fused by reciprocal ranks, untuned", tuned.untuned);
    let _ = writeln!(
        text,
        "  {:.4}  tuned, on held-out queries ({} parts)",
        tuned.held_out, tuned.folds
    );
    let _ = writeln!(
        text,
        "  {:.4}  tuned, on the queries that it was tuned on",
        tuned.fitted
    );
    let _ = writeln!(text, "best: {}", tuned.fusion);
    text
}
