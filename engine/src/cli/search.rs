//! `latewood search`

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::args::{FusionArg, Global, SearchArgs, TuningArgs};
use super::output::{Failure, print, print_json};
use crate::{Fusion, FusionMethod, Hit, Query};

pub(super) fn run(global: &Global, args: &SearchArgs) -> Result<(), Failure> {
    let collection = super::open_to_read(global, &args.target, &args.models, None)?;
    let query = collection
        .query()
        .text(&args.text)
        .plan(args.plan.clone())
        .limit(args.limit)
        .offset(args.offset);
    let mut query = tuned(query, &args.tuning).with_text(true);
    if let Some(lexical) = &args.lexical {
        query = query.lexical(lexical.as_str());
    }
    for (name, vector) in args.vectors.iter().flatten() {
        query = query.named_vector(name, vector.clone());
    }
    if args.explain || args.analyze {
        // A reader does not see what the writer measured: the estimates shall be those of this machine all the same.
        collection.calibrate()?;
    }
    // An analysis begins with the plan: it holds what an explanation says.
    if args.explain && !args.analyze {
        let plan = query.explain()?;
        return if global.json {
            print_json(&json!({ "plan": plan }))
        } else {
            print(plan.to_string())
        };
    }
    let analysis = query.analyze()?;
    if !args.analyze {
        return if global.json {
            print_json(&analysis.hits)
        } else {
            print(as_text(&analysis.hits, args.offset))
        };
    }
    if global.json {
        return print_json(&analysis);
    }
    print(format!(
        "{}\n{}\n{}",
        analysis.plan,
        analysis.profile,
        as_text(&analysis.hits, args.offset)
    ))
}

fn fusion(tuning: &TuningArgs) -> Fusion {
    let method = match tuning.fusion {
        None | Some(FusionArg::Rrf) => tuning
            .rrf_k
            .map_or(FusionMethod::RRF, |k| FusionMethod::ReciprocalRank { k }),
        Some(FusionArg::Score) => FusionMethod::Score,
        Some(FusionArg::Distribution) => FusionMethod::Distribution,
    };
    Fusion {
        method,
        weights: tuning.weights.clone().unwrap_or_default(),
    }
}

/// A query with the tuning of the command line.
pub(super) fn tuned<'a>(mut query: Query<'a>, tuning: &TuningArgs) -> Query<'a> {
    query = query.exact(tuning.exact).rerank_depth(tuning.rerank_depth);
    if let Some(ef_search) = tuning.ef_search {
        query = query.ef_search(ef_search);
    }
    if let Some(recall) = tuning.recall {
        query = query.recall(recall);
    }
    if let Some(n_probe) = tuning.n_probe {
        query = query.n_probe(n_probe);
    }
    if let Some(candidates) = tuning.candidates {
        query = query.candidates(candidates);
    }
    if let Some(deadline) = tuning.rerank_deadline {
        query = query.rerank_deadline(Duration::from_millis(deadline));
    }
    query = query.fusion(fusion(tuning));
    if let Some(lambda) = tuning.diversity {
        query = query.diversity(lambda);
    }
    if let Some(field) = &tuning.group_by {
        query = query.group_by(field, tuning.group_size);
    }
    if let Some((field, descending)) = &tuning.order_by {
        query = query.order_by(field, *descending);
    }
    if let Some(reranker) = &tuning.reranker {
        query = query.reranker(reranker.as_str());
    }
    match &tuning.filter {
        Some(filter) => query.filter(filter.as_str()),
        None => query,
    }
}

fn as_text(hits: &[Hit], offset: usize) -> String {
    if hits.is_empty() {
        return "no document matches\n".to_owned();
    }
    let mut text = String::new();
    for (at, hit) in hits.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:>3}  {:>9.4}  {}", at + offset + 1, hit.score, hit.id);
        if let Some(line) = hit.text.as_deref().map(first_line) {
            let _ = writeln!(text, "                {line}");
        }
    }
    text
}

fn first_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST).collect();
    format!("{}...", cut.trim_end())
}
