//! `latewood eval` without judgments: how far plans agree, which says nothing of how good they are.

use std::fmt::Write;

use serde::Serialize;

use super::args::{EvalArgs, Global};
use super::eval::{Ran, possible_plans};
use super::latency::rounded;
use super::output::{Failure, print, print_json};
use crate::import::TextQuery;
use crate::{Collection, PlanChoice, PlanName};

/// Hits that are compared.
const HITS: usize = 10;

#[derive(Debug, Serialize)]
struct Row {
    plan: String,
    queries: usize,
    /// The share of the first ten hits of the same plan over everything, exactly, that it has among its own; a mean of queries.
    #[serde(rename = "agreement_with_exact@10")]
    with_exact: f64,
    /// The same of the deepest plan.
    #[serde(rename = "agreement_with_deepest@10")]
    with_deepest: f64,
    deepest: String,
    p50_ms: f64,
    p95_ms: f64,
    bytes: f64,
    flops: f64,
}

pub(super) fn run(
    global: &Global,
    args: &EvalArgs,
    collection: &Collection,
    plans: Vec<PlanChoice>,
    queries: &[TextQuery],
) -> Result<(), Failure> {
    let deepest = possible_plans(collection, args)
        .into_iter()
        .max_by_key(|plan| match plan {
            PlanChoice::Named(name) => depth(name),
            PlanChoice::Auto => Default::default(),
        });
    let Some(deepest) = deepest else {
        return Err(Failure::Said(
            "the collection cannot be searched by text".to_owned(),
            "create it with an encoder or a lexical index",
        ));
    };
    let reference = Ran::ask(global, args, collection, &deepest, queries, true)?;
    let mut rows = Vec::with_capacity(plans.len());
    for plan in plans {
        let ran = Ran::ask(global, args, collection, &plan, queries, false)?;
        let exact = Ran::ask(global, args, collection, &plan, queries, true)?;
        rows.push(Row {
            plan: plan.to_string(),
            queries: queries.len(),
            with_exact: rounded(agreement(&ran.rankings, &exact.rankings), 6),
            with_deepest: rounded(agreement(&ran.rankings, &reference.rankings), 6),
            deepest: deepest.to_string(),
            p50_ms: ran.p50_ms,
            p95_ms: ran.p95_ms,
            bytes: ran.bytes,
            flops: ran.flops,
        });
    }
    if global.json {
        print_json(&rows)
    } else {
        print(as_text(&rows, &deepest))
    }
}

/// More kinds of interaction make a deeper plan, a cross-encoder before anything else.
fn depth(plan: &PlanName) -> [bool; 4] {
    [
        plan.reranks(),
        plan.uses_tokens(),
        plan.uses_dense(),
        plan.uses_words(),
    ]
}

/// The mean over the queries of the share of a reference's first hits that are among the first hits.
fn agreement(rankings: &[Vec<String>], reference: &[Vec<String>]) -> f64 {
    let first = |ranking: &'_ [String]| ranking.len().min(HITS);
    let of = |(ranking, reference): (&Vec<String>, &Vec<String>)| {
        let (ranking, reference) = (&ranking[..first(ranking)], &reference[..first(reference)]);
        if reference.is_empty() {
            // Nothing was to be found: whoever finds nothing agrees.
            return f64::from(u8::from(ranking.is_empty()));
        }
        let shared = reference.iter().filter(|id| ranking.contains(id)).count();
        shared as f64 / reference.len() as f64
    };
    let sum: f64 = rankings.iter().zip(reference).map(of).sum();
    sum / rankings.len().max(1) as f64
}

fn as_text(rows: &[Row], deepest: &PlanChoice) -> String {
    let mut text = format!(
        "agreement@10, not quality: no judgments (--qrels) were given\n{:<28} {:>8} {:>9} {:>11} {:>9} {:>9} {:>10} {:>9}\n",
        "plan", "queries", "of exact", "of deepest", "p50 ms", "p95 ms", "kB/query", "Mflops"
    );
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<28} {:>8} {:>9.4} {:>11.4} {:>9.3} {:>9.3} {:>10.1} {:>9.2}",
            row.plan,
            row.queries,
            row.with_exact,
            row.with_deepest,
            row.p50_ms,
            row.p95_ms,
            row.bytes / 1e3,
            row.flops / 1e6,
        );
    }
    let _ = writeln!(
        text,
        "of exact: the same plan over everything; of deepest: {deepest}, over everything"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::agreement;

    #[test]
    fn agreement_is_the_share_of_the_reference_that_is_found() {
        let of = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let reference = [of(&["a", "b", "c", "d"]), of(&[])];
        assert_eq!(agreement(&[of(&["d", "x", "a"]), of(&[])], &reference), 0.75);
        assert_eq!(agreement(&[of(&["x"]), of(&["x"])], &reference), 0.0);
        let many: Vec<String> = (0..12).map(|id| id.to_string()).collect();
        let mut late = many.clone();
        late.rotate_left(2);
        assert_eq!(agreement(&[late], &[many]), 0.8, "only the first ten count");
    }
}
